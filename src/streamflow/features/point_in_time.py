"""The training set of one or several as_ofs, by Feast's point-in-time join."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from streamflow.errors import (
    AsOfRefused,
    FeatureStoreUnavailable,
    LabelsNotMatured,
    UntrainableData,
)
from streamflow.features.complete_rows import (
    complete_rows,
    entities_without_row,
    may_lack_rows,
)
from streamflow.features.feature_join import FeatureJoin, join_of_today
from streamflow.features.feature_views import FeatureViewDefinition
from streamflow.features.unrecorded_features import (
    UnrecordedFeature,
    require_recorded,
    unrecorded_features,
)
from streamflow.history.history_changes import require_history
from streamflow.history.ingestions import Ingestion, ingestions
from streamflow.history.labels import known_labels, matured_at
from streamflow.history.months import require_month
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier, subquery
from streamflow.training import dataset_table
from streamflow.training.dataset import TrainingSet
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import Table, UseCase

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Assembled:
    """A training set, with the number of rows of its months that were left out, by reason.

    A row is an entity at an as_of. Of those `without_label`, `null_labels` have a null one: not
    known; `premature_labels` have one that was recorded before it could be known. `without_row`
    counts by table those without features that have no row there, `taken_as_null` those that have
    none and are in the training set, with nulls. `table` holds the same rows. `feature_views` are
    the definitions that were joined, `ingestions` the ones that the rows come from. `unrecorded`
    are features that months haven't recorded.
    """

    training_set: TrainingSet
    table: pa.Table
    without_label: int
    without_features: int
    null_labels: int
    premature_labels: int
    without_row: dict[str, int]
    taken_as_null: dict[str, int]
    feature_views: dict[str, FeatureViewDefinition]
    ingestions: list[Ingestion]
    unrecorded: list[UnrecordedFeature]


def assemble(
    database: Database,
    use_case: UseCase,
    months: Sequence[date],
    known_at: datetime,
    join: FeatureJoin | None = None,
) -> Assembled:
    """The training set of all entities with a row at each of the as_ofs `months`.

    There is one row per entity and as_of, each with the features of its own as_of and before, and
    all as known at `known_at` (UTC). Rows are sorted by as_of and entity. A row without a label or
    with a null one, without a row in a table whose rule is `absent="refuse"`, or with a null in a
    feature that isn't nullable, is left out and counted. Features are joined as the use case has
    them today, or by `join`.
    Raises AsOfRefused if a month has no rows, UntrainableData if none of them is complete or a
    month hasn't recorded a feature that is never null, LabelsNotMatured, FeatureStoreUnavailable.
    """
    months = sorted(set(months))
    database.execute("wait_for_ingestion", use_case=use_case.name)
    for as_of in months:
        require_month(database, use_case, as_of, known_at)
    require_history(database, use_case)
    label = use_case.label
    names = {
        "key": identifier(use_case.join_key),
        "label": identifier(label.column),
        "entity_history": known_rows(
            database, use_case, Table.history_of(use_case.entity_table), known_at
        ),
        "label_history": known_labels(database, use_case, known_at),
        "all_labels": known_rows(database, use_case, Table.history_of(label.table), known_at),
    }
    moment = {"as_ofs": months, "known_at": known_at}
    query = database.render("entity_rows", names, **moment)
    entities = database.row(
        "count_entities", {**names, "history": names["entity_history"]}, **moment
    )["entities"]
    names["query"] = subquery(query)

    def by_month(count: str, **values: object) -> dict[date, int]:
        rows = database.rows(count, names, **moment, **values)
        return {row["event_timestamp"].astimezone(UTC).date(): row["labels"] for row in rows}

    labelled = by_month("count_labelled")
    expected, null_labels, premature = sum(labelled.values()), 0, {}
    if expected < entities:
        null_labels = database.row("count_null_labels", names, **moment)["nulls"]
        if label.horizon:
            premature = by_month("count_premature_labels", horizon=label.horizon)
    _require_labels(use_case, months, labelled, premature, known_at, entities)
    join = join or join_of_today(database, use_case, known_at)
    schema, definitions = join.schema, join.views
    unrecorded = unrecorded_features(database, use_case, schema, definitions, query, known_at)
    require_recorded(unrecorded, labelled)
    table = _in_order(join.rows(query), schema, label.column, several=len(months) > 1)
    _require_unique(table, expected)
    complete = complete_rows(
        table,
        schema,
        definitions,
        {
            name: entities_without_row(database, use_case, view, query, known_at)
            for name, view in definitions.items()
            if may_lack_rows(table, schema, name)
        },
    )
    if not complete.table.num_rows:
        raise _nothing_complete(months, expected, complete.without_row)
    return Assembled(
        dataset_table.training_set(complete.table, schema, months[-1], known_at),
        complete.table,
        without_label=entities - expected,
        without_features=expected - complete.table.num_rows,
        null_labels=null_labels,
        premature_labels=sum(premature.values()),
        without_row=complete.without_row,
        taken_as_null=complete.taken_as_null,
        feature_views=definitions,
        ingestions=ingestions(
            database.rows(
                "ingestions_known_at", use_case=use_case.name, as_of=months[-1], known_at=known_at
            ),
            {use_case.entity_table, label.table, *(view.source for view in definitions.values())},
        ),
        unrecorded=unrecorded,
    )


def _require_labels(
    use_case: UseCase,
    months: Sequence[date],
    labelled: Mapping[date, int],
    premature: Mapping[date, int],
    known_at: datetime,
    entities: int,
) -> None:
    """Raise LabelsNotMatured or AsOfRefused for the newest month without labels."""
    label = use_case.label
    for as_of in reversed(months):
        moment = matured_at(use_case, as_of)
        if known_at < moment:
            raise LabelsNotMatured(
                f"{labelled.get(as_of) or entities} label(s) of AS_OF {as_of} mature at "
                f"{moment.isoformat()}, after known_at {known_at.isoformat()}.",
                "Train on an earlier AS_OF: `streamflow train --as-of DATE`; "
                "or name a later --known-at.",
            )
        if not labelled.get(as_of):
            early = premature.get(as_of, 0)
            said = f" {early:,} were recorded before they could be known, and don't count."
            raise AsOfRefused(
                f"No {label.column!r} of AS_OF {as_of} was known at {known_at.isoformat()}."
                f"{said if early else ''}",
                f"Load {label.table} with `streamflow ingest`, or name a later --known-at.",
            )


def _in_order(joined: pa.Table, schema: FeatureSchema, label: str, several: bool) -> pa.Table:
    """Feast's rows, sorted by as_of and entity, as a training set's table."""
    import pyarrow as pa

    rows = joined.sort_by([("event_timestamp", "ascending"), (schema.join_key, "ascending")])
    # Feast's times are in UTC, without a zone.
    as_ofs = rows["event_timestamp"].cast(pa.date32()).cast(pa.string()) if several else None
    return dataset_table.dataset_table(rows, schema, label, as_ofs)


def _require_unique(table: pa.Table, expected: int) -> None:
    import pyarrow.compute as pc

    rows = pc.count_distinct(dataset_table.row_names(table)).as_py()
    if table.num_rows != expected or rows != expected:
        raise FeatureStoreUnavailable(
            f"The point-in-time join made {table.num_rows} rows ({rows} entities) "
            f"out of {expected}.",
            "Look for rows with the same key and time in the history tables.",
        )


def _nothing_complete(
    months: Sequence[date], labelled: int, without_row: dict[str, int]
) -> UntrainableData:
    as_ofs = ", ".join(map(str, months))
    lacking = ", ".join(f"{count:,} have no row in {table}" for table, count in without_row.items())
    return UntrainableData(
        f"None of the {labelled:,} entities with a label at AS_OF {as_ofs} has all features"
        f"{f': {lacking}' if lacking else ''}.",
        "Load the month's complete tables with `streamflow ingest`; or, where a missing row says "
        'something itself, write Table(..., absent="null") in the use case.',
    )
