"""A month's features as counts, one pass over each table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
from streamflow.postgres.queries import columns as names_of
from streamflow.training.served_model import Feature

# By feature the edges of its bins; None for one of texts or booleans.
Bins = Mapping[str, Sequence[float] | None]
NUMBERS = ("INT64", "FLOAT64")
# In one statement; a mask has 31 bits.
_FEATURES_AT_A_TIME = 12
_KEYS = ("least", "greatest", "deviations", "squares")


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
    counted = [one.name for one in features if columns[one.name] in there and one.name in bins]
    names = {"rows": history.rows(table, [columns[name] for name in counted], months)}
    rows = history.database.row("count_rows", names)["rows"]
    made: dict[str, FeatureCounts] = {}
    for start in range(0, len(counted), _FEATURES_AT_A_TIME):
        part = {name: columns[name] for name in counted[start : start + _FEATURES_AT_A_TIME]}
        groups = _groups(history, names, part, bins)
        summary = _summary(history, names, part, bins)
        for number, name in enumerate(part):
            edges, group = bins[name], groups[number]
            made[name] = (
                _categories(group, rows)
                if edges is None
                else _numbers(
                    group, rows, edges, {key: summary[f"{key}_{number}"] for key in _KEYS}
                )
            )
    return made


def _groups(
    history: History, names: Mapping[str, Composable], columns: Mapping[str, str], bins: Bins
) -> list[list[Row]]:
    """By feature, how many rows are in each of its bins or categories."""
    database = history.database
    values, sets = [], []
    for number, (feature, column) in enumerate(columns.items()):
        parts: dict[str, Composable] = {
            "column": identifier(column),
            "bin": identifier(f"bin_{number}"),
            "magnitude": identifier(f"magnitude_{number}"),
        }
        edges = bins[feature]
        if edges is None:
            values.append(database.render("counted_category", parts))
            sets.append(database.render("category_set", parts))
        else:
            values.append(database.render("counted_number", parts, edges=list(edges)))
            sets.append(database.render("number_set", parts))
    numbers = [n for n, feature in enumerate(columns) if bins[feature] is not None]
    texts = [n for n, feature in enumerate(columns) if bins[feature] is None]
    with database.transaction():
        database.execute("enlarge_memory")
        found = database.rows(
            "count_features",
            {
                **names,
                "bins": _named("bin", range(len(columns))),
                "number_bins": _named("bin", numbers),
                "categories": _named("bin", texts),
                "magnitudes": _named("magnitude", numbers),
                "values": subquery(", ".join(values)),
                "sets": subquery(", ".join(sets)),
            },
        )
    everyone = (1 << len(columns)) - 1
    place = {
        everyone ^ (1 << (len(columns) - 1 - number)): number for number in range(len(columns))
    }
    groups: list[list[Row]] = [[] for _ in columns]
    for row in found:
        groups[place[row["others"]]].append(row)
    return groups


def _named(prefix: str, numbers: Iterable[int]) -> Composable:
    """The columns of these numbers; null if there is none."""
    names = [f"{prefix}_{number}" for number in numbers]
    return names_of(names) if names else literal(None)


def _summary(
    history: History, names: Mapping[str, Composable], columns: Mapping[str, str], bins: Bins
) -> Row:
    """The least and the greatest value of each feature of numbers, and its sums."""
    summaries = [
        history.database.render(
            "number_summary",
            {
                "column": identifier(column),
                **{key: identifier(f"{key}_{number}") for key in _KEYS},
            },
            center=_center(edges),
        )
        for number, (feature, column) in enumerate(columns.items())
        if (edges := bins[feature]) is not None
    ]
    if not summaries:
        return {}
    summed = {**names, "summaries": subquery(", ".join(summaries))}
    return history.database.row("summarize_features", summed)


def _center(edges: Sequence[float]) -> float:
    """A number near the values, so that squares lose no digits."""
    return edges[len(edges) // 2]


def _numbers(
    group: Sequence[Row], rows: int, edges: Sequence[float], summary: Mapping[str, Any]
) -> NumberCounts:
    bins, magnitudes = [0] * (len(edges) + 1), Counter[int]()
    for row in group:
        if row["bin"] is None:
            continue
        bins[row["bin"]] += row["rows"]
        if row["magnitude"] is not None:
            magnitudes[row["magnitude"]] += row["rows"]
    count = sum(bins)
    if not count:
        return NumberCounts(rows, rows, tuple(bins), {})
    first, second = summary["deviations"] / count, summary["squares"] / count
    return NumberCounts(
        rows=rows,
        missing=rows - count,
        bins=tuple(bins),
        magnitudes=dict(sorted(magnitudes.items())),
        least=summary["least"],
        greatest=summary["greatest"],
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
