"""Lists and contacts as they are recorded. Append-only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from streamflow.errors import DataRefused
from streamflow.history.labels import known_labels
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier, subquery
from streamflow.scores.campaigns.effect import Side
from streamflow.use_case import Table


class UnknownList(DataRefused):
    """No list has this number, or it isn't said which of several is meant."""


@dataclass(frozen=True)
class Listed:
    """The entities of a list, in its order; all sequences are as long.

    `worths` and `expected` are None where the use case says nothing of value.
    """

    entities: Sequence[str]
    held_out: Sequence[bool]
    probabilities: Sequence[float]
    worths: Sequence[float] | None
    expected: Sequence[float] | None


@dataclass(frozen=True)
class ListFacts:
    """What decides a list, and how many are on it.

    `rates` are those of the expected value, empty without; `limits` say where the list ends.
    `departed` were scored, and aren't in the newest month any more.
    """

    model: str
    version: int
    model_hash: str
    run_id: str
    scoring_id: int
    campaign: str
    as_of: date
    known_at: datetime
    hold_out: float
    rates: Mapping[str, Any]
    limits: Mapping[str, Any]
    entities: int
    held_out: int
    without_value: int
    departed: int

    def content_hash(self, listed: Listed) -> str:
        """The hash of all that decides the list, and of who is on it."""
        said = json.dumps(
            [asdict(self), asdict(listed)], sort_keys=True, default=str, allow_nan=False
        )
        return hashlib.sha256(said.encode()).hexdigest()


@dataclass(frozen=True)
class RecordedList:
    """A list as it was recorded; times are in UTC."""

    list_id: int
    facts: ListFacts
    content_hash: str
    exported_at: datetime
    exported_by: str


@dataclass(frozen=True)
class RecordedContacts:
    """What recording contacts did.

    `added` are new, `known` were recorded before, of which `other_day` (ids) have another day
    there, which stays. `unknown` are ids that aren't on the list: nothing is recorded of them.
    `held_out` are ids that were to be left alone, and are recorded all the same.
    """

    added: int
    known: int
    other_day: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)


def lists(database: Database, model: str) -> list[RecordedList]:
    """All lists of the registered model, oldest first."""
    found = []
    for row in database.rows("lists", model=model):
        outer = {name: row.pop(name) for name in ("list_id", "content_hash")}
        by = {name: row.pop(name) for name in ("exported_at", "exported_by")}
        found.append(RecordedList(facts=ListFacts(**row), **outer, **by))
    return found


def record_list(
    database: Database, facts: ListFacts, listed: Listed, who: str, now: datetime
) -> tuple[RecordedList, bool]:
    """Record the list with its entities, unless it is there; returns it, and whether it was there.

    Call it in a transaction, so that all of it is there or nothing.
    """
    content_hash = facts.content_hash(listed)
    database.execute("lock_lists", model=facts.model)
    for one in lists(database, facts.model):
        if one.content_hash == content_hash:
            return one, True
    documents = {name: json.dumps(getattr(facts, name)) for name in ("rates", "limits")}
    list_id: int = database.row(
        "record_list",
        **{**asdict(facts), **documents},
        content_hash=content_hash,
        exported_at=now,
        exported_by=who,
    )["list_id"]
    empty = [None] * len(listed.entities)
    database.execute(
        "record_listed",
        list_id=list_id,
        entities=list(listed.entities),
        held_out=list(listed.held_out),
        probabilities=list(listed.probabilities),
        worths=empty if listed.worths is None else list(listed.worths),
        expected=empty if listed.expected is None else list(listed.expected),
    )
    return RecordedList(list_id, facts, content_hash, now, who), False


def list_of(database: Database, model: str, list_id: int | None) -> RecordedList:
    """The list with this number; the only one there is if None. Raises UnknownList."""
    there = lists(database, model)
    if not there:
        raise UnknownList(
            f"No list of {model!r} was exported.", "Export one: `streamflow export --as-of DATE`."
        )
    said = ", ".join(f"{one.list_id} ({one.facts.campaign})" for one in there[-10:])
    if list_id is None:
        if len(there) == 1:
            return there[0]
        raise UnknownList(
            f"The file has no column 'list', and {len(there)} lists were exported: {said}.",
            "Name the one whose entities were contacted: `--list NUMBER`.",
        )
    for one in there:
        if one.list_id == list_id:
            return one
    raise UnknownList(
        f"No list of {model!r} has the number {list_id}; there are {said}.", "Name one of these."
    )


def record_contacts(
    database: Database,
    list_id: int,
    contacts: Mapping[str, date | None],
    file_hash: str,
    who: str,
    now: datetime,
) -> RecordedContacts:
    """Record who of the list was contacted, and when (None: it isn't known), all at once.

    What is recorded already stays, so that the same file again adds nothing.
    """
    with database.transaction():
        rows = database.rows("listed_among", list_id=list_id, entities=list(contacts))
        there = {row["entity_id"]: row for row in rows}
        listed = {entity: day for entity, day in contacts.items() if entity in there}
        added = database.execute(
            "record_contacts",
            list_id=list_id,
            entities=list(listed),
            days=list(listed.values()),
            recorded_at=now,
            recorded_by=who,
            file_hash=file_hash,
        ).rowcount
    return RecordedContacts(
        added=added,
        known=len(listed) - added,
        other_day=[
            entity
            for entity, day in listed.items()
            if day is not None
            and there[entity]["recorded"]
            and there[entity]["contacted_on"] != day
        ],
        unknown=[entity for entity in contacts if entity not in there],
        held_out=[entity for entity in listed if there[entity]["held_out"]],
    )


@dataclass(frozen=True)
class Sides:
    """Those of a list who were to be contacted, and those held out.

    `early` of both have a label that was known before the list was exported.
    """

    to_contact: Side
    held_out: Side
    early: int


def sides(platform: Platform, one: RecordedList, known_at: datetime) -> Sides:
    """Both sides of a list, with the labels of its month that count at `known_at` (UTC)."""
    use_case, database = platform.use_case, platform.database
    label = use_case.label
    there = {"schema": use_case.name, "table": Table.history_of(label.table)}
    names = {"key": identifier(use_case.join_key), "label": identifier(label.column)}
    if database.rows("history_columns", **there):
        history = known_labels(database, use_case, known_at)
    else:
        history = subquery(database.render("no_labels", names))
    rows = database.rows(
        "campaign_sides",
        {**names, "label_history": history},
        list_id=one.list_id,
        as_of=one.facts.as_of,
        known_at=known_at,
        exported_at=one.exported_at,
    )
    early = sum(row.pop("early") for row in rows)
    found = {row.pop("held_out"): Side(**row) for row in rows}
    nobody = Side(0, 0, 0, 0, 0)
    return Sides(found.get(False, nobody), found.get(True, nobody), early)
