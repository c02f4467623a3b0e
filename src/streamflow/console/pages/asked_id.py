"""The id of an entity in the address of a page."""

from __future__ import annotations

from streamflow.console.access.errors import FieldRefused
from streamflow.console.access.visit import Visit
from streamflow.console.texts import text

_LONGEST = 256


def asked_id(visit: Visit) -> str:
    """The id as it was given, white space too. Raises FieldRefused if there is none, or if no id is
    like it."""
    entity_id = id_or_nothing(visit, "id")
    if not entity_id:
        raise no_id()
    return entity_id


def id_or_nothing(visit: Visit, name: str) -> str:
    """The same by another name in the address; empty if it isn't there."""
    entity_id = visit.query.get(name, "")
    if len(entity_id) > _LONGEST or "\x00" in entity_id:
        raise no_id()
    return entity_id


def no_id() -> FieldRefused:
    """What is said where no entity is meant."""
    return FieldRefused(text("entity.no_id"), text("entity.no_id.next"))
