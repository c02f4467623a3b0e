"""A small synthetic training set, and the real month where its files exist."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamflow.training.dataset import TrainingSet
from streamflow.training.served_model import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    feature_service="orchard_v1",
    entity="tree",
    join_key="tree_id",
    features=(
        Feature("age_years", "tree_fv", "INT64", nullable=False),
        Feature("height_m", "tree_fv", "FLOAT64", nullable=False),
        Feature("grafted", "tree_fv", "BOOL", nullable=True),
        Feature("variety", "tree_fv", "STRING", nullable=False),
        Feature("noise", "tree_fv", "FLOAT64", nullable=False),
    ),
)


def orchard(rows: int = 400, seed: int = 7) -> TrainingSet:
    random = np.random.default_rng(seed)
    age = random.integers(1, 60, rows)
    grafted = random.choice([True, False, None], rows)
    variety = random.choice(["Boskoop", "Cox", "Jonathan"], rows)
    risk = age / 30 + (variety == "Cox") + random.normal(0, 0.6, rows)
    return TrainingSet(
        schema=SCHEMA,
        entities=[f"t{i:06}" for i in range(rows)],
        as_ofs=[date(2024, 1, 31)] * rows,
        columns={
            "age_years": age.tolist(),
            "height_m": random.uniform(1, 9, rows).tolist(),
            "grafted": grafted.tolist(),
            "variety": variety.tolist(),
            "noise": random.normal(size=rows).tolist(),
        },
        labels=(risk > np.quantile(risk, 0.7)).tolist(),
        known_at=datetime(2024, 2, 1, tzinfo=UTC),
    )


def small_forest(random_state: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(20, min_samples_leaf=3, random_state=random_state, n_jobs=1)


REAL_MONTH = Path(__file__).parents[2] / "shared" / "data" / "month_000"

READ: dict[str, Callable[[str], Any]] = {
    "INT64": int,
    "FLOAT64": float,
    "BOOL": lambda text: text == "True",
    "STRING": str,
}


def _service() -> FeatureSchema:
    features = (
        ("subs_profile_fv", "months_active", "INT64"),
        ("subs_profile_fv", "monthly_fee", "FLOAT64"),
        ("subs_profile_fv", "paperless_billing", "BOOL"),
        ("subs_profile_fv", "plan_stream_tv", "BOOL"),
        ("subs_profile_fv", "plan_stream_movies", "BOOL"),
        ("subs_profile_fv", "net_service", "STRING"),
        ("usage_agg_30d_fv", "watch_hours_30d", "FLOAT64"),
        ("usage_agg_30d_fv", "avg_session_mins_7d", "FLOAT64"),
        ("usage_agg_30d_fv", "unique_devices_30d", "INT64"),
        ("usage_agg_30d_fv", "skips_7d", "INT64"),
        ("usage_agg_30d_fv", "rebuffer_events_7d", "INT64"),
        ("payments_agg_90d_fv", "failed_payments_90d", "INT64"),
        ("support_agg_90d_fv", "support_tickets_90d", "INT64"),
        ("support_agg_90d_fv", "ticket_avg_resolution_hrs_90d", "FLOAT64"),
    )
    return FeatureSchema(
        "churn_v1",
        "user",
        "user_id",
        tuple(
            Feature(name, view, kind, nullable=name.startswith("plan_stream_"))  # type: ignore[arg-type]
            for view, name, kind in features
        ),
    )


# Columns of the real month that churn_v1 doesn't have.
OTHERS = (
    Feature("contract_type", "subs_profile_fv", "STRING", nullable=False),
    Feature("total_paid", "subs_profile_fv", "FLOAT64", nullable=False),
    Feature("user_gender", "users_fv", "STRING", nullable=False),
    Feature("user_is_senior", "users_fv", "BOOL", nullable=False),
    Feature("has_family", "users_fv", "BOOL", nullable=False),
    Feature("has_dependents", "users_fv", "BOOL", nullable=False),
)


def real_month(others: tuple[Feature, ...] = ()) -> TrainingSet:
    """The real month as churn_v1 joins it, with `others` beside; the test is skipped where its
    files don't exist."""
    if not REAL_MONTH.is_dir():
        pytest.skip("the real month isn't in ../shared/data")
    rows: dict[str, dict[str, str]] = {}
    for path in sorted(REAL_MONTH.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                rows.setdefault(row["user_id"], {}).update(row)
    schema, users = _service(), sorted(rows)
    schema = replace(schema, features=(*schema.features, *others))
    return TrainingSet(
        schema=schema,
        entities=users,
        as_ofs=[date(2024, 1, 31)] * len(users),
        columns={
            feature.name: [
                READ[feature.type](text) if (text := rows[user][feature.name]) else None
                for user in users
            ]
            for feature in schema.features
        },
        labels=[rows[user]["churn_label"] == "True" for user in users],
        known_at=datetime(2024, 2, 1, tzinfo=UTC),
    )
