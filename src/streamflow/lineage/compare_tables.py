"""The difference of two training sets: rows, labels and single values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamflow.training.dataset_table import AS_OF, row_names

if TYPE_CHECKING:
    import pyarrow as pa

MAX_CHANGES = 1_000


@dataclass(frozen=True)
class Change:
    """One changed value of an entity that is in both tables; `column` is a feature or the label."""

    entity: str
    column: str
    before: object
    after: object


@dataclass(frozen=True)
class ChangedColumn:
    """`rows` counts the changed values; `changes` has the first `MAX_CHANGES` of them."""

    name: str
    rows: int
    changes: list[Change]


@dataclass(frozen=True)
class Difference:
    """`removed` and `added` are entities; `columns` are the changed ones, the label last."""

    removed: list[str]
    added: list[str]
    columns: list[ChangedColumn]

    @property
    def changes(self) -> Iterator[Change]:
        """The changes of all columns, column by column."""
        for column in self.columns:
            yield from column.changes


def table_difference(before: pa.Table, after: pa.Table) -> Difference:
    """Compare two tables row by row, values to the last bit.

    The first column of each has the entities; with several months, a row's name has its as_of too.
    Columns that only one table has are left out.
    """
    import pyarrow.compute as pc

    keys, other_keys = row_names(before).combine_chunks(), row_names(after).combine_chunks()
    removed = keys.filter(pc.invert(pc.is_in(keys, other_keys))).to_pylist()
    added = other_keys.filter(pc.invert(pc.is_in(other_keys, keys))).to_pylist()
    if removed or added:
        both = keys.filter(pc.is_in(keys, other_keys))
        before = before.take(pc.index_in(both, keys))
        after = after.take(pc.index_in(both, other_keys))
    entities = row_names(before)
    columns = []
    for field in list(before.schema)[1:]:
        if (
            field.name == AS_OF
            or field.name not in after.column_names
            or after.schema.field(field.name) != field
        ):
            continue
        old, new = before[field.name].combine_chunks(), after[field.name].combine_chunks()
        rows = pc.indices_nonzero(_unequal(old, new)).to_pylist()
        if rows:
            changes = [
                Change(entities[i].as_py(), field.name, old[i].as_py(), new[i].as_py())
                for i in rows[:MAX_CHANGES]
            ]
            columns.append(ChangedColumn(field.name, len(rows), changes))
    return Difference(removed, added, columns)


def changed_predictions(before: pa.Table | None, after: pa.Table | None) -> list[str]:
    """How many predictions differ, of the validation rows that both tables of scores have.

    One line of text, or none if nothing differs or a table is missing.
    """
    if before is None or after is None:
        return []
    difference = table_difference(before, after)
    changed = {one.name: one.rows for one in difference.columns}
    both = before.num_rows - len(difference.removed)
    if not changed.keys() & {"prediction", "probability"}:
        return []
    return [
        f"{changed.get('prediction', 0):,} of {both:,} validation predictions change side, "
        f"{changed.get('probability', 0):,} probabilities differ"
    ]


def _unequal(old: pa.Array, new: pa.Array) -> pa.BooleanArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    is_null = pc.xor(old.is_null(), new.is_null())
    if pa.types.is_floating(old.type):  # as numbers, 0.0 equals -0.0, and NaN not itself
        old, new = old.view(pa.int64()), new.view(pa.int64())
    return pc.or_(is_null, pc.fill_null(pc.not_equal(old, new), False))
