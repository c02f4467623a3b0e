"""What in a training set is no error, and still not what anybody means."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from streamflow.training.dataset_table import LABEL
from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    import pyarrow as pa

# So few of the values of a column, of any type, may each stand for a label by chance at most.
MOST_VALUES_PER_ROW = 0.1


def training_set_warnings(table: pa.Table, schema: FeatureSchema) -> list[str]:
    """A sentence for each feature that is always null, always the same, or gives the label away.

    `table` is a training set's table, as `dataset_table` makes it.
    """
    return [
        f"Feature {feature.name!r} {said}"
        for feature in schema.features
        for said in _said(table, feature.name)
    ]


def _said(table: pa.Table, name: str) -> Iterator[str]:
    import pyarrow as pa

    column = table[name]
    rows = len(column)
    if column.null_count == rows:
        yield f"is null for all {rows:,} entities: nothing can be learnt from it."
        return
    pair = pa.table({"value": column, "label": table[LABEL]})
    groups = pair.group_by("value").aggregate([("label", "min"), ("label", "max")])
    if groups.num_rows == 1:
        yield f"has one value for all {rows:,} entities: nothing can be learnt from it."
    elif _gives_label_away(groups, rows):
        yield (
            "tells the label of every entity by itself. Is it known at the as_of, "
            "or is it a copy of the label?"
        )


def _gives_label_away(groups: pa.Table, rows: int) -> bool:
    """Whether each value goes with one label, and not only because each row has its own value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = groups["label_min"]
    if not pc.all(pc.equal(labels, groups["label_max"])).as_py() or len(pc.unique(labels)) < 2:
        return False
    if groups.num_rows <= max(2, rows * MOST_VALUES_PER_ROW):
        return True
    if not (
        pa.types.is_integer(groups["value"].type) or pa.types.is_floating(groups["value"].type)
    ):
        return False
    # Numbers on the one side of a threshold have the one label; a null stands apart.
    sides = groups.filter(groups["value"].is_valid()).sort_by("value")["label_min"].to_pylist()
    return len([1 for before, after in pairwise(sides) if before != after]) <= 1
