"""A month's features as counts, made from arrays as PostgreSQL makes them from tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from churn import population
from streamflow.monitoring.counts import CategoryCounts, FeatureCounts, NumberCounts
from streamflow.monitoring.statistics.bins import LEVELS, edges

Columns = Mapping[str, Any]


def churn_columns(month: population.Month) -> dict[str, Any]:
    """The features of the churn case, as the generator writes them; None and NaN are null."""
    people, seen = month.people, month.observed
    offline = people["net"] == population.NO_INTERNET
    columns: dict[str, Any] = {
        "months_active": population.months_active(people, month.number),
        "monthly_fee": population.price(people, month.shift) / 100,
        "watch_hours_30d": seen["watch"] / 10_000,
        "avg_session_mins_7d": seen["session"] / 100,
        "unique_devices_30d": seen["devices"],
        "skips_7d": seen["skips"],
        "rebuffer_events_7d": seen["rebuffers"],
        "failed_payments_90d": seen["failed_payments"],
        "support_tickets_90d": seen["tickets"],
        "ticket_avg_resolution_hrs_90d": seen["resolution"] / 10,
    }
    columns = {name: np.asarray(values, np.float64).copy() for name, values in columns.items()}
    columns["paperless_billing"] = people["paperless"].tolist()
    for plan in ("stream_tv", "stream_movies"):
        columns[f"plan_{plan}"] = [
            None if without else bool(has)
            for has, without in zip(people[plan], offline, strict=True)
        ]
    columns["net_service"] = [population.NET_SERVICES[one] for one in people["net"]]
    return columns


def bin_edges(columns: Columns) -> dict[str, tuple[float, ...]]:
    """The bins of each feature of numbers, from training's columns."""
    found = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and np.isfinite(values).any():
            there = values[np.isfinite(values)]
            quantiles = np.quantile(there, LEVELS, method="inverted_cdf").tolist()
            found[name] = edges(float(there.min()), float(there.max()), quantiles)
    return found


def counts(columns: Columns, bins: Mapping[str, Sequence[float]]) -> dict[str, FeatureCounts]:
    """Each feature's counts."""
    return {
        name: _numbers(values, bins[name]) if name in bins else _categories(values)
        for name, values in columns.items()
    }


def _numbers(values: Any, bins: Sequence[float]) -> NumberCounts:
    there = values[~np.isnan(values)]
    placed = np.bincount(np.searchsorted(bins, there, side="right"), minlength=len(bins) + 1)
    positive = there[there > 0]
    magnitudes = np.floor(200 * np.log10(positive)).astype(int)
    some = len(there) > 0
    return NumberCounts(
        rows=len(values),
        missing=len(values) - len(there),
        bins=tuple(placed.tolist()),
        magnitudes=Counter(magnitudes.tolist()),
        least=float(there.min()) if some else None,
        greatest=float(there.max()) if some else None,
        mean=float(there.mean()) if some else None,
        deviation=float(there.std()) if some else None,
    )


def _categories(values: Any) -> CategoryCounts:
    found = Counter(str(one) for one in values if one is not None)
    return CategoryCounts(len(values), len(values) - sum(found.values()), found)
