"""The bins of a run's features and their counts in its training months, kept with the run.

They are made when they are first needed, from history as it was known when the run was trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from streamflow.monitoring.counts import FeatureCounts
from streamflow.monitoring.reading.feature_counts import (
    NUMBERS,
    Bins,
    as_document,
    feature_counts,
    from_document,
)
from streamflow.monitoring.reading.learned import Learned
from streamflow.monitoring.reading.month_rows import History
from streamflow.monitoring.statistics.bins import LEVELS, edges
from streamflow.postgres.queries import identifier, literal, subquery

# Quantiles are those of so many rows, about; the ends of the range are those of all.
MOST_SAMPLED = 100_000


@dataclass(frozen=True)
class Reference:
    """Per feature the edges of its bins, and its counts in the months of training.

    `rows` is how many entities are behind the counts of a table, as each is counted once a month.
    """

    bins: Bins
    counts: Mapping[str, FeatureCounts]
    rows: int


def reference(history: History, learned: Learned) -> Reference:
    """The run's bins and counts, made and recorded if they aren't there yet."""
    database, run_id = history.database, learned.version.run_id
    found = database.rows("monitoring_bins", run_id=run_id)
    if not found:
        made = _made(replace(history, known_at=learned.known_at), learned)
        database.execute(
            "record_monitoring_bins",
            run_id=run_id,
            model=learned.version.name,
            bins=json.dumps(made, allow_nan=False),
        )
        found = database.rows("monitoring_bins", run_id=run_id)
    document: dict[str, Any] = found[0]["bins"]
    return Reference(document["edges"], from_document(document["counts"]), document["rows"])


def _made(history: History, learned: Learned) -> dict[str, Any]:
    bins: dict[str, tuple[float, ...] | None] = {}
    counts: dict[str, FeatureCounts] = {}
    most = 0
    for table, features in learned.features_by_history().items():
        columns = {one.name: history.column(table, one.name) for one in features}
        there = {*history.stored_columns(table)}
        numbers = [
            one.name for one in features if one.type in NUMBERS and columns[one.name] in there
        ]
        bins |= {one.name: None for one in features if one.type not in NUMBERS}
        if numbers:
            bins |= _edges(history, learned, table, {name: columns[name] for name in numbers})
        counts |= feature_counts(history, table, features, bins, learned.months)
        names = {
            "rows": history.rows(table, [], learned.months),
            "key": identifier(history.use_case.join_key),
        }
        most = max(most, history.database.row("count_rows", names)["rows"])
    return {
        "edges": bins,
        "counts": as_document(counts),
        "rows": most // max(len(learned.months), 1),
    }


def _edges(
    history: History, learned: Learned, table: str, columns: Mapping[str, str]
) -> dict[str, tuple[float, ...] | None]:
    """The edges of each column's bins; a column without a value has none and is left out."""
    database = history.database
    names = {
        "rows": history.rows(table, [*columns.values()], learned.months),
        "key": identifier(history.use_case.join_key),
        "values": subquery(
            ", ".join(
                database.render(
                    "one_number", {"number": literal(name), "column": identifier(column)}
                )
                for name, column in columns.items()
            )
        ),
    }
    rows = database.row("count_rows", names)["rows"]
    ends = database.row(
        "summarize_features",
        {**names, "summaries": subquery(", ".join(_range(history, columns)))},
    )
    quantiles = {
        row["feature"]: row["quantiles"]
        for row in database.rows(
            "feature_quantiles",
            names,
            levels=list(LEVELS),
            every=-(-rows // MOST_SAMPLED) or 1,
        )
    }
    return {
        name: edges(ends[f"least_{number}"], ends[f"greatest_{number}"], quantiles.get(name) or ())
        for number, name in enumerate(columns)
        if ends[f"least_{number}"] is not None
    }


def _range(history: History, columns: Mapping[str, str]) -> list[str]:
    return [
        history.database.render(
            "number_range",
            {
                "column": identifier(column),
                "least": identifier(f"least_{number}"),
                "greatest": identifier(f"greatest_{number}"),
            },
        )
        for number, column in enumerate(columns.values())
    ]
