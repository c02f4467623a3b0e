"""The rows of a person are deleted from all tables, and a line of it is kept: one transaction."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from streamflow.errors import DataRefused, NotPermitted
from streamflow.history.forgotten.forgotten import ForgottenLine, forgotten_lines
from streamflow.history.forgotten.salted_hash import salted_hash
from streamflow.operations.forgetting import history_files
from streamflow.operations.forgetting.tables import OWN_SCHEMA, delete, entity_tables
from streamflow.postgres.database import Database
from streamflow.use_case import UseCase

SHOWN_IDS = 5


class UnknownPerson(DataRefused):
    """No table has a row of an entity that is to be forgotten."""


@dataclass(frozen=True)
class Person:
    """An entity that was forgotten: the number and the hash of its line, and by table how many rows
    were deleted now. `already` says since when (UTC) it was, if it was before."""

    forgotten_id: int
    hash: str
    already: datetime | None
    tables: dict[str, int] = field(default_factory=dict)


def forget_rows(
    database: Database,
    use_case: UseCase,
    entities: Sequence[str],
    why: str,
    who: str,
    now: datetime,
    new_salt: bytes,
    *,
    even_if_unknown: bool = False,
) -> list[Person]:
    """Delete every row of the entities, and record that they were forgotten at `now` (UTC).

    `new_salt` is taken if nobody was forgotten before. Entities that were already are looked for
    again. Raises UnknownPerson if one of the others has no row, unless `even_if_unknown`;
    NotPermitted if the user doesn't own the tables. All of it is done, or nothing.
    """
    wanted = list(dict.fromkeys(entities))
    try:
        with database.transaction():
            # No ingestion under way brings a row back.
            database.execute("lock_ingestion", use_case=use_case.name)
            # What the API has answered before and not written yet, it writes after this.
            database.execute("lock_forgetting")
            lines = forgotten_lines(database, use_case)
            deleted: dict[str, Counter[str]] = {entity: Counter() for entity in wanted}
            for table in entity_tables(database, use_case):
                for entity, rows in delete(database, use_case, table, wanted).items():
                    deleted[entity].update(rows)
            for entity, rows in history_files.delete(database, use_case, wanted).items():
                deleted[entity].update(rows)
            before = _lines_of(wanted, lines)
            if not even_if_unknown:
                _require_known(
                    entity for entity in wanted if not deleted[entity] and not before[entity]
                )
            salt = lines[-1].salt if lines else new_salt
            people = []
            for entity in wanted:
                line, rows = before[entity], in_order(deleted[entity])
                if line is not None:
                    already = line.forgotten_at
                    if rows:
                        database.execute(
                            "record_forgotten_again",
                            forgotten_id=line.forgotten_id,
                            tables=json.dumps(rows),
                        )
                    people.append(Person(line.forgotten_id, line.hash.hex(), already, rows))
                    continue
                hashed = salted_hash(salt, entity)
                recorded = database.row(
                    "record_forgotten",
                    use_case=use_case.name,
                    salt=salt,
                    hash=hashed,
                    forgotten_at=now,
                    forgotten_by=who,
                    why=why,
                    tables=json.dumps(rows),
                )
                people.append(Person(recorded["forgotten_id"], hashed.hex(), None, rows))
            return people
    except NotPermitted as error:
        raise NotPermitted(
            f"Only the user that owns the tables may delete rows of them: {error.message}",
            "Run it as the user that runs `streamflow migrate`; in the stack: "
            '`docker compose run --rm forget forget ID --why "…"`.',
        ) from error


def in_order(rows: Mapping[str, int]) -> dict[str, int]:
    """Our own tables in the order in which they were met, then history and features by name: the
    same wherever history is."""
    own = {name: count for name, count in rows.items() if name.startswith(f"{OWN_SCHEMA}.")}
    return {**own, **{name: rows[name] for name in sorted(rows.keys() - own.keys())}}


def _lines_of(
    entities: Iterable[str], lines: Iterable[ForgottenLine]
) -> dict[str, ForgottenLine | None]:
    by_hash = {(line.salt, line.hash): line for line in lines}
    known = {salt for salt, _ in by_hash}
    return {
        entity: next(
            (
                by_hash[salt, hashed]
                for salt in known
                if (salt, hashed := salted_hash(salt, entity)) in by_hash
            ),
            None,
        )
        for entity in entities
    }


def _require_known(unknown: Iterable[str]) -> None:
    names = list(unknown)
    if names:
        shown = ", ".join(map(repr, names[:SHOWN_IDS])) + (", …" if len(names) > SHOWN_IDS else "")
        raise UnknownPerson(
            f"No table has a row of {shown}; nothing was changed.",
            "Look at the spelling. If that is the id, and it is only in files or shall never come "
            "in: add --even-if-unknown.",
        )
