"""The training set: what was known of everyone at one as_of, by Feast's point-in-time join."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from psycopg import sql

from streamflow.as_of import event_timestamp
from streamflow.database import Database
from streamflow.errors import AsOfRefused, FeatureStoreUnavailable, LabelsNotMatured
from streamflow.features import feature_schema, open_store, quiet, unavailable
from streamflow.training import TrainingSet
from streamflow.use_case import UseCase


@dataclass(frozen=True)
class Assembled:
    """A training set, and how many entities of its as_of are not in it, by reason."""

    training_set: TrainingSet
    without_label: int
    without_features: int


def assemble(database: Database, use_case: UseCase, as_of: date, known_at: datetime) -> Assembled:
    """The training set of everyone with a snapshot at `as_of`, as known at `known_at` (UTC).

    Feast's point-in-time join does the work; rows come back sorted by entity, one per entity. Who
    has no label, or lacks a feature that may not be null, is left out and counted.
    Raises AsOfRefused if there is no snapshot, LabelsNotMatured, FeatureStoreUnavailable.
    """
    database.execute("wait_for_ingestion", use_case=use_case.name)
    require_month(database, use_case, as_of, known_at)
    label = use_case.label
    names = {
        "key": sql.Identifier(use_case.join_key),
        "label": sql.Identifier(label.column),
        "entity_history": sql.Identifier(use_case.name, f"{use_case.entity_table}_history"),
        "label_history": sql.Identifier(use_case.name, f"{label.table}_history"),
    }
    query = database.render("entity_rows", names, as_of=as_of, known_at=known_at)
    matured_at = event_timestamp(as_of) + label.horizon
    counts = {"as_of": as_of, "known_at": known_at}
    entities = database.row(
        "count_entities", {**names, "history": names["entity_history"]}, **counts
    )
    labelled = database.row("count_labelled", {"query": sql.SQL(query)})["labelled"]
    if known_at < matured_at:
        raise LabelsNotMatured(
            f"{labelled} label(s) of AS_OF {as_of} mature at {matured_at.isoformat()}, "
            f"after known_at {known_at.isoformat()}.",
            "Train on an earlier AS_OF: `streamflow train --as-of DATE`.",
        )
    if not labelled:
        raise AsOfRefused(
            f"No {label.column!r} is known at AS_OF {as_of}.",
            f"Load {label.table} with `streamflow ingest`.",
        )
    store = open_store(database.url, use_case, known_at)
    schema = feature_schema(store, use_case)
    with unavailable("Feast's point-in-time join failed"), quiet():
        service = store.get_feature_service(use_case.feature_service)
        joined = store.get_historical_features(entity_df=query, features=service).to_arrow()
    rows = joined.sort_by(use_case.join_key)
    columns = {feature.name: rows[feature.name].to_pylist() for feature in schema.features}
    keys = rows[use_case.join_key].to_pylist()
    if len(keys) != labelled or len(set(keys)) != labelled:
        raise FeatureStoreUnavailable(
            f"The point-in-time join made {len(keys)} rows ({len(set(keys))} entities) "
            f"out of {labelled}.",
            "Look for rows with the same key and time in the history tables.",
        )
    required = [columns[feature.name] for feature in schema.features if not feature.nullable]
    complete = [i for i in range(len(keys)) if all(column[i] is not None for column in required)]
    labels = rows[label.column].to_pylist()
    training_set = TrainingSet(
        schema=schema,
        entities=[keys[i] for i in complete],
        columns={name: [column[i] for i in complete] for name, column in columns.items()},
        labels=[labels[i] for i in complete],
        as_of=as_of,
        known_at=known_at,
    )
    return Assembled(
        training_set,
        without_label=entities["entities"] - labelled,
        without_features=labelled - len(complete),
    )


def months(database: Database, use_case: UseCase) -> list[date]:
    """The as_of of every month that has been ingested, oldest first."""
    return [row["as_of"] for row in database.rows("months", use_case=use_case.name)]


def require_month(database: Database, use_case: UseCase, as_of: date, now: datetime) -> None:
    """Raises AsOfRefused if `as_of` hasn't ended at `now`, or nothing was ingested for it."""
    if event_timestamp(as_of) > now:
        raise AsOfRefused(
            f"AS_OF {as_of} hasn't ended yet at {now:%Y-%m-%d %H:%M} UTC.",
            "Name a month that has: `--as-of YYYY-MM-DD`.",
        )
    known = months(database, use_case)
    if as_of not in known:
        raise AsOfRefused(
            f"There is no data at AS_OF {as_of}; there is at: "
            f"{', '.join(str(month) for month in known) or 'no month yet'}.",
            f"Load it with `streamflow ingest DIR --as-of {as_of}`.",
        )
