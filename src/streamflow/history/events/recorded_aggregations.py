"""How the features of events were made, by the ingestions that made them."""

from __future__ import annotations

from collections.abc import Callable

from streamflow.errors import InvalidSettings
from streamflow.history.ingestions import recorded_ingestions
from streamflow.postgres.database import Database
from streamflow.use_case import Events, Table, UseCase


def aggregations_as_text(events: Events) -> dict[str, str]:
    """By feature how it is made, as it is kept with an ingestion."""
    return {
        name: f"{aggregation!r} by {events.time!r}"
        for name, aggregation in events.aggregations.items()
    }


def require_same_aggregations(
    database: Database, use_case: UseCase, table: Table, name_now: Callable[[str], str]
) -> None:
    """Raise InvalidSettings if a feature of the table was made another way before by its name.

    `name_now` says which name a column of the history has today.
    """
    if table.events is None:
        return
    before = {
        name_now(name): text
        for one in recorded_ingestions(database, use_case)
        for name, text in one.tables.get(table.name, {}).get("aggregations", {}).items()
    }
    for name, text in aggregations_as_text(table.events).items():
        old = before.get(name) or before.get(table.renamed_from.get(name, ""), text)
        if old != text:
            raise InvalidSettings(
                f"{name!r} of table {table.name!r} is {text} now, and was {old}: "
                "old runs know that one by this name.",
                f'Give the new one a name of its own, such as "{name}_2": '
                f"{table.events.aggregations[name]!r}.",
            )
