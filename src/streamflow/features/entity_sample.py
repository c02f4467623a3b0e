"""A sample of entities: those with the lowest hashes of their ids.

The same entities come on every machine, in every engine and in every month that has them, and a
larger sample has all entities of a smaller one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, subquery


@dataclass(frozen=True)
class EntitySample:
    """The `size` entities with the lowest hashes of their ids: those whose hashes come before
    `bound`. All of them, if `bound` is None: there aren't more.

    The hash is the MD5 of the id's UTF-8 bytes in lower-case hexadecimal digits, compared as text.
    `bound` is the beginning of a hash, so short that it tells nobody's id.
    """

    size: int
    bound: str | None


def draw(
    database: Database,
    names: Mapping[str, Composable],
    months: Sequence[date],
    known_at: datetime,
    size: int,
) -> EntitySample:
    """The sample of the entities with a row at one of the as_ofs `months`, known at `known_at`
    (UTC). `names` has the key and the history of entities."""
    rows = database.rows(
        "entity_hashes", names, as_ofs=months, known_at=known_at, last=max(size - 1, 0)
    )
    hashes = [row["hash"] for row in rows]
    return EntitySample(size, _between(*hashes) if len(hashes) > 1 else None)


def sampled(
    database: Database, names: Mapping[str, Composable], sample: EntitySample | None
) -> dict[str, Composable]:
    """`names` with each history cut to the sample's entities; they need an alias, as before."""
    if sample is None or sample.bound is None:
        return dict(names)
    return {
        name: subquery(
            database.render(
                "sampled_rows", {"history": part, "key": names["key"]}, bound=sample.bound
            )
        )
        if name not in ("key", "label")
        else part
        for name, part in names.items()
    }


def _between(last: str, next_one: str) -> str:
    """The shortest beginning of the second text that comes after the first one."""
    return next(
        next_one[:length] for length in range(1, len(next_one) + 1) if next_one[:length] > last
    )
