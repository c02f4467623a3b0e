"""A month's features as counts, one pass over each table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from streamflow.monitoring.counts import (
    MOST_CATEGORIES,
    CategoryCounts,
    FeatureCounts,
    NumberCounts,
)
from streamflow.monitoring.reading.month_rows import History
from streamflow.postgres.database import Row
from streamflow.postgres.queries import Composable, identifier, literal, subquery
from streamflow.training.served_model import Feature

# By feature the edges of its bins; None for one of texts or booleans.
Bins = Mapping[str, Sequence[float] | None]
NUMBERS = ("INT64", "FLOAT64")


def feature_counts(
    history: History,
    table: str,
    features: Sequence[Feature],
    bins: Bins,
    months: Sequence[date],
) -> dict[str, FeatureCounts]:
    """The counts of a history table's features in the rows of the months together.

    A feature whose column isn't there any more is left out.
    """
    there = {*history.stored_columns(table)}
    columns = {one.name: history.column(table, one.name) for one in features}
    counted = [one for one in features if columns[one.name] in there and one.name in bins]
    names = {"rows": history.rows(table, [columns[one.name] for one in counted], months)}
    rows = history.database.row("count_rows", names)["rows"]
    if not counted:
        return {}
    values = [
        _value(history, number, columns[one.name], bins[one.name])
        for number, one in enumerate(counted)
    ]
    with history.database.transaction():
        history.database.execute("enlarge_memory")
        found = history.database.rows(
            "count_features", {**names, "values": subquery(", ".join(values))}
        )
    groups: list[list[Row]] = [[] for _ in counted]
    for row in found:
        groups[row["feature"]].append(row)
    made: dict[str, FeatureCounts] = {}
    for feature, group in zip(counted, groups, strict=True):
        edges = bins[feature.name]
        made[feature.name] = (
            _categories(group, rows) if edges is None else _numbers(group, rows, edges)
        )
    return made


def _value(history: History, number: int, column: str, edges: Sequence[float] | None) -> str:
    names: dict[str, Composable] = {"number": literal(number), "column": identifier(column)}
    if edges is None:
        return history.database.render("counted_category", names)
    return history.database.render(
        "counted_number", names, center=_center(edges), edges=list(edges)
    )


def _center(edges: Sequence[float]) -> float:
    """A number near the values, so that squares lose no digits."""
    return edges[len(edges) // 2]


def _numbers(group: Sequence[Row], rows: int, edges: Sequence[float]) -> NumberCounts:
    bins, magnitudes = [0] * (len(edges) + 1), Counter[int]()
    there = [row for row in group if row["bin"] is not None]
    for row in there:
        bins[row["bin"]] += row["rows"]
        if row["magnitude"] is not None:
            magnitudes[row["magnitude"]] += row["rows"]
    count = sum(bins)
    if not count:
        return NumberCounts(rows, rows, tuple(bins), {})
    first = math.fsum(row["deviations"] for row in there) / count
    second = math.fsum(row["squares"] for row in there) / count
    return NumberCounts(
        rows=rows,
        missing=rows - count,
        bins=tuple(bins),
        magnitudes=dict(sorted(magnitudes.items())),
        least=min(row["least"] for row in there),
        greatest=max(row["greatest"] for row in there),
        mean=_rounded(_center(edges) + first),
        deviation=_rounded(math.sqrt(max(second - first * first, 0.0))),
    )


def _rounded(value: float) -> float:
    """To ten digits: PostgreSQL adds in another order each time."""
    return float(f"{value:.10g}")


def _categories(group: Sequence[Row], rows: int) -> CategoryCounts:
    found = [(row["category"], row["rows"]) for row in group if row["category"] is not None]
    found.sort(key=lambda one: (-one[1], one[0]))
    common, rare = found[:MOST_CATEGORIES], found[MOST_CATEGORIES:]
    count = sum(number for _, number in found)
    return CategoryCounts(rows, rows - count, dict(common), sum(number for _, number in rare))


def as_document(counts: Mapping[str, FeatureCounts]) -> dict[str, Any]:
    """The counts as JSON has them."""
    return {name: dict(vars(one)) for name, one in counts.items()}


def from_document(document: Mapping[str, Any]) -> dict[str, FeatureCounts]:
    """The counts that `as_document` gave."""
    made: dict[str, FeatureCounts] = {}
    for name, one in document.items():
        if "categories" in one:
            made[name] = CategoryCounts(**one)
        else:
            magnitudes = {int(key): count for key, count in one["magnitudes"].items()}
            made[name] = NumberCounts(
                **{**one, "bins": tuple(one["bins"]), "magnitudes": magnitudes}
            )
    return made
