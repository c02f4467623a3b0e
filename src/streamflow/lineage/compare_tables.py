"""What two training sets differ by: rows, labels and single values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MOST_NAMED = 1_000


@dataclass(frozen=True)
class Change:
    """One value of an entity that both training sets have; `column` is the label's or a feature."""

    entity: str
    column: str
    before: Any
    after: Any


@dataclass(frozen=True)
class ChangedColumn:
    """`changes` names the first thousand of `rows`."""

    name: str
    rows: int
    changes: list[Change]


@dataclass(frozen=True)
class Difference:
    """`gone` and `came` are entities; `columns` are those that both have, the label last."""

    gone: list[str]
    came: list[str]
    columns: list[ChangedColumn]

    @property
    def changes(self) -> Iterator[Change]:
        for column in self.columns:
            yield from column.changes


def find(before: Any, after: Any) -> Difference:
    """The difference of two training sets' tables, entity by entity, to the last bit."""
    import pyarrow.compute as pc

    keys, other_keys = before.column(0).combine_chunks(), after.column(0).combine_chunks()
    gone = keys.filter(pc.invert(pc.is_in(keys, other_keys))).to_pylist()
    came = other_keys.filter(pc.invert(pc.is_in(other_keys, keys))).to_pylist()
    if gone or came:
        both = keys.filter(pc.is_in(keys, other_keys))
        before = before.take(pc.index_in(both, keys))
        after = after.take(pc.index_in(both, other_keys))
    entities = before.column(0)
    columns = []
    for field in list(before.schema)[1:]:
        if field.name not in after.column_names or after.schema.field(field.name) != field:
            continue
        old, new = before[field.name].combine_chunks(), after[field.name].combine_chunks()
        rows = pc.indices_nonzero(_differ(old, new)).to_pylist()
        if rows:
            changes = [
                Change(entities[i].as_py(), field.name, old[i].as_py(), new[i].as_py())
                for i in rows[:MOST_NAMED]
            ]
            columns.append(ChangedColumn(field.name, len(rows), changes))
    return Difference(gone, came, columns)


def _differ(old: Any, new: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    is_null = pc.xor(old.is_null(), new.is_null())
    if pa.types.is_floating(old.type):  # 0.0 equals -0.0, and NaN nothing; bits tell
        old, new = old.view(pa.int64()), new.view(pa.int64())
    return pc.or_(is_null, pc.fill_null(pc.not_equal(old, new), False))
