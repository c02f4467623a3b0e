"""What in a training set is no error, and still not what anybody means."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamflow.training.dataset_table import LABEL
from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    import pyarrow as pa

Counts = npt.NDArray[np.float64]

# So few of the values of a column, of any type, may each stand for a label by chance at most.
MOST_VALUES_PER_ROW = 0.1

# A column decides the label if it is wrong in this share of the rows of the rarer label at most.
MOST_WRONG = 0.01

# Siddiqi (2006), "Credit Risk Scorecards": from here on, a population has shifted.
SHIFTED = 0.25
_BINS = 10
_ONE_IN_A_THOUSAND = 3.09  # standard deviations


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
    pair = pa.table({"value": column, "label": table[LABEL].cast(pa.int64())})
    groups = pair.group_by("value").aggregate([("label", "sum"), ("label", "count")])
    if groups.num_rows == 1:
        yield f"has one value for all {rows:,} entities: nothing can be learnt from it."
        return
    wrong = _wrong_labels(groups, rows)
    if wrong is not None:
        entities = f"all but {wrong:,} of {rows:,} entities" if wrong else "every entity"
        yield (
            f"tells the label of {entities} by itself. Is it known at the as_of, "
            "or is it a copy of the label?"
        )


def _wrong_labels(groups: pa.Table, rows: int) -> int | None:
    """How many labels are another one than their value's, if that is so few that the value decides
    the label, and not only because each row has its own value; else None."""
    import pyarrow as pa

    ones = groups["label_sum"].to_numpy().astype(np.int64)
    zeros = groups["label_count"].to_numpy().astype(np.int64) - ones
    most = int(MOST_WRONG * min(ones.sum(), zeros.sum()))
    if not ones.sum() or not zeros.sum():
        return None
    wrong = None
    if groups.num_rows <= max(2, rows * MOST_VALUES_PER_ROW):
        wrong = int(np.minimum(ones, zeros).sum())
    elif pa.types.is_integer(groups["value"].type) or pa.types.is_floating(groups["value"].type):
        # Numbers on the one side of a threshold have the one label; a null stands apart.
        is_null = groups["value"].is_null().to_numpy()
        order = np.argsort(groups["value"].filter(groups["value"].is_valid()).to_numpy())
        ones_below = np.cumsum(np.append(0, ones[~is_null][order]))
        zeros_below = np.cumsum(np.append(0, zeros[~is_null][order]))
        ones_above, zeros_above = ones_below[-1] - ones_below, zeros_below[-1] - zeros_below
        of_numbers = min((ones_below + zeros_above).min(), (zeros_below + ones_above).min())
        wrong = int(of_numbers + np.minimum(ones, zeros)[is_null].sum())
    return wrong if wrong is not None and wrong <= most else None


def most_shifted(
    table: pa.Table, schema: FeatureSchema, trained: list[date], judging: list[date]
) -> list[str]:
    """A sentence on the feature whose values differ most between the months `trained` on and the
    months `judging`, if any differs by more than `SHIFTED` and than chance makes likely.

    `table` is of several months, as `dataset_table` makes it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    def rows_of(months: list[date]) -> pa.Table:
        texts = pa.array([month.isoformat() for month in months], pa.large_string())
        return table.filter(pc.is_in(table["as_of"], value_set=texts))

    before, after = rows_of(trained), rows_of(judging)
    shifts = {
        feature.name: shift
        for feature in schema.features
        if (shift := stability_index(before[feature.name], after[feature.name])) > SHIFTED
    }
    if not shifts:
        return []
    name = max(shifts, key=lambda one: shifts[one])
    others = f" So do {len(shifts) - 1} others, less." if len(shifts) > 1 else ""
    return [
        f"Feature {name!r} has other values in the months that judge than in those that were "
        f"trained on: its population stability index is {shifts[name]:.2f}, and from "
        f"{SHIFTED} on a population counts as shifted.{others}"
    ]


def stability_index(before: pa.ChunkedArray, after: pa.ChunkedArray) -> float:
    """The population stability index of a column's values after against before: 0 if they are as
    often, and if the difference may be chance.

    Numbers are compared by tenths of those before, texts and flags value by value; null is a value.
    It is Kullback and Leibler's divergence in both directions (1951); its distribution under chance
    is that of Yurdakul (2018), "Statistical Properties of Population Stability Index".
    """
    counts_before, counts_after = _binned(before, after)
    rows_before, rows_after = counts_before.sum(), counts_after.sum()
    bins = np.count_nonzero(counts_before + counts_after)
    if not rows_before or not rows_after or bins < 2:
        return 0.0
    # A bin that one side lacks counts as half a row of it; else the index would be infinite.
    share_before = np.maximum(counts_before, 0.5) / rows_before
    share_after = np.maximum(counts_after, 0.5) / rows_after
    index = float(((share_after - share_before) * np.log(share_after / share_before)).sum())
    # Wilson and Hilferty's quantile of the chi-squared distribution.
    degrees = bins - 1
    spread = 2 / (9 * degrees)
    chance = degrees * (1 - spread + _ONE_IN_A_THOUSAND * spread**0.5) ** 3
    return index if index > chance * (1 / rows_before + 1 / rows_after) else 0.0


def _binned(before: pa.ChunkedArray, after: pa.ChunkedArray) -> tuple[Counts, Counts]:
    """How many values of each side are in each bin; the last bin is for nulls."""
    import pyarrow as pa

    if pa.types.is_integer(before.type) or pa.types.is_floating(before.type):
        numbers = [_numbers(side) for side in (before, after)]
        known = numbers[0][~np.isnan(numbers[0])]
        inner = np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]) if len(known) else []
        edges = np.unique(inner)
        places = [
            np.where(np.isnan(side), len(edges) + 1, np.searchsorted(edges, side, side="right"))
            for side in numbers
        ]
        bins = len(edges) + 2
    else:
        values = pa.chunked_array([*before.chunks, *after.chunks], before.type)
        coded = values.combine_chunks().dictionary_encode()
        bins = len(coded.dictionary) + 1
        codes = coded.indices.fill_null(bins - 1).to_numpy()
        places = [codes[: len(before)], codes[len(before) :]]
    made = [np.bincount(place, minlength=bins).astype(np.float64) for place in places]
    return made[0], made[1]


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    import pyarrow as pa

    numbers: npt.NDArray[Any] = column.cast(pa.float64(), safe=False).to_numpy()
    return numbers
