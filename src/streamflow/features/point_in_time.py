"""The training set of an as_of, by Feast's point-in-time join."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from streamflow.errors import AsOfRefused, FeatureStoreUnavailable, LabelsNotMatured
from streamflow.features.feature_store import feature_schema, open_store, quiet, unavailable
from streamflow.features.feature_views import FeatureViewDefinition, feature_views
from streamflow.history.as_of import event_timestamp
from streamflow.history.ingestions import Ingestion, ingestions
from streamflow.history.months import require_month
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier, subquery
from streamflow.training import dataset_table
from streamflow.training.dataset import TrainingSet
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Assembled:
    """A training set, with the number of entities of its as_of that were left out, by reason.

    Of those `without_label`, `null_labels` have a null one: not known. `table` holds the same rows.
    `feature_views` are the definitions that were joined, `ingestions` the ones that the rows come
    from.
    """

    training_set: TrainingSet
    table: pa.Table
    without_label: int
    without_features: int
    null_labels: int
    feature_views: dict[str, FeatureViewDefinition]
    ingestions: list[Ingestion]


def assemble(database: Database, use_case: UseCase, as_of: date, known_at: datetime) -> Assembled:
    """The training set of all entities with a row at `as_of`, as known at `known_at` (UTC).

    Rows are sorted by entity, one per entity. An entity without a label or with a null one, or with
    a null in a feature that isn't nullable, is left out and counted.
    Raises AsOfRefused if there are no rows, LabelsNotMatured, FeatureStoreUnavailable.
    """
    database.execute("wait_for_ingestion", use_case=use_case.name)
    require_month(database, use_case, as_of, known_at)
    label = use_case.label
    names = {
        "key": identifier(use_case.join_key),
        "label": identifier(label.column),
        "entity_history": identifier(use_case.name, f"{use_case.entity_table}_history"),
        "label_history": identifier(use_case.name, f"{label.table}_history"),
    }
    query = database.render("entity_rows", names, as_of=as_of, known_at=known_at)
    matured_at = event_timestamp(as_of) + label.horizon
    counts = {"as_of": as_of, "known_at": known_at}
    entities = database.row(
        "count_entities", {**names, "history": names["entity_history"]}, **counts
    )
    labelled = database.row("count_labelled", {"query": subquery(query)})["labelled"]
    null_labels = 0
    if labelled < entities["entities"]:
        null_labels = database.row("count_null_labels", names, **counts)["nulls"]
    if known_at < matured_at:
        raise LabelsNotMatured(
            f"{labelled or entities['entities']} label(s) of AS_OF {as_of} mature at "
            f"{matured_at.isoformat()}, after known_at {known_at.isoformat()}.",
            "Train on an earlier AS_OF: `streamflow train --as-of DATE`; "
            "or name a later --known-at.",
        )
    if not labelled:
        raise AsOfRefused(
            f"No {label.column!r} of AS_OF {as_of} was known at {known_at.isoformat()}.",
            f"Load {label.table} with `streamflow ingest`, or name a later --known-at.",
        )
    store = open_store(database.url, use_case, known_at)
    schema = feature_schema(store, use_case)
    with unavailable("Feast's point-in-time join failed"), quiet():
        service = store.get_feature_service(use_case.feature_service)
        definitions = feature_views(store, schema)
        joined = store.get_historical_features(entity_df=query, features=service).to_arrow()
    rows = joined.sort_by(use_case.join_key)
    keys = rows[use_case.join_key].to_pylist()
    if len(keys) != labelled or len(set(keys)) != labelled:
        raise FeatureStoreUnavailable(
            f"The point-in-time join made {len(keys)} rows ({len(set(keys))} entities) "
            f"out of {labelled}.",
            "Look for rows with the same key and time in the history tables.",
        )
    complete = dataset_table.dataset_table(rows, schema, label.column)
    for feature in schema.features:
        if not feature.nullable:
            complete = complete.filter(complete[feature.name].is_valid())
    return Assembled(
        dataset_table.training_set(complete, schema, as_of, known_at),
        complete,
        without_label=entities["entities"] - labelled,
        without_features=labelled - complete.num_rows,
        null_labels=null_labels,
        feature_views=definitions,
        ingestions=ingestions(
            database.rows(
                "ingestions_known_at", use_case=use_case.name, as_of=as_of, known_at=known_at
            ),
            {use_case.entity_table, label.table, *(view.source for view in definitions.values())},
        ),
    )
