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
from streamflow.features.entity_sample import EntitySample, draw, sampled
from streamflow.features.feature_join import FeatureJoin, join_of_today
from streamflow.features.feature_views import FeatureViewDefinition
from streamflow.features.unrecorded_features import (
    UnrecordedFeature,
    require_recorded,
    unrecorded_features,
)
from streamflow.history.as_of import event_timestamp
from streamflow.history.history_changes import require_history
from streamflow.history.ingestions import Ingestion, ingestions
from streamflow.history.labels import known_labels, matured_at
from streamflow.history.months import require_month
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, identifier, subquery
from streamflow.training import dataset_table
from streamflow.training.dataset import TrainingSet
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
    are features that months haven't recorded. With a `sample`, all of this is of its entities.
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
    sample: EntitySample | None = None


def assemble(
    database: Database,
    use_case: UseCase,
    months: Sequence[date],
    known_at: datetime,
    join: FeatureJoin | None = None,
    sample: int | EntitySample | None = None,
) -> Assembled:
    """The training set of all entities with a row at each of the as_ofs `months`.

    There is one row per entity and as_of, each with the features of its own as_of and before, and
    all as known at `known_at` (UTC). Rows are sorted by as_of and entity. A row without a label or
    with a null one, without a row in a table whose rule is `absent="refuse"`, or with a null in a
    feature that isn't nullable, is left out and counted. Features are joined as the use case has
    them today, or by `join`. With `sample`, other entities aren't read: so many are drawn, or those
    of a sample that was drawn before.
    Raises AsOfRefused if a month has no rows, UntrainableData if none of them is complete or a
    month hasn't recorded a feature that is never null, LabelsNotMatured, FeatureStoreUnavailable.
    """
    months = sorted(set(months))
    database.execute("wait_for_ingestion", use_case=use_case.name)
    for as_of in months:
        require_month(database, use_case, as_of, known_at)
    require_history(database, use_case)
    label = use_case.label
    names: dict[str, Composable] = {
        "key": identifier(use_case.join_key),
        "label": identifier(label.column),
        "entity_history": known_rows(
            database, use_case, Table.history_of(use_case.entity_table), known_at
        ),
        "label_history": known_labels(database, use_case, known_at),
        "all_labels": known_rows(database, use_case, Table.history_of(label.table), known_at),
    }
    if isinstance(sample, int):
        sample = draw(database, names, months, known_at, sample)
    names = sampled(database, names, sample)
    every_month = {"as_ofs": months, "known_at": known_at}
    query = database.render("entity_rows", names, **every_month)
    _require_labels(database, use_case, names, months, known_at)
    join = join or join_of_today(database, use_case, known_at)
    schema, definitions = join.schema, join.views
    joined = _joined(database, use_case, join, names, months, known_at)
    labelled = {as_of: month.table.num_rows for as_of, month in joined.items()}
    for as_of in reversed(months):
        if not labelled[as_of]:
            raise _without_labels(database, use_case, names, as_of, known_at)
    entities, expected = sum(month.entities for month in joined.values()), sum(labelled.values())
    null_labels, premature = 0, {}
    if expected < entities:
        null_labels = database.row("count_null_labels", names, **every_month)["nulls"]
        premature = _premature(database, use_case, names, months, known_at)
    unrecorded = unrecorded_features(database, use_case, schema, definitions, query, known_at)
    require_recorded(unrecorded, labelled)
    table = dataset_table.of_months([month.table for month in joined.values()])
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
            months[-1],
        ),
        unrecorded=unrecorded,
        sample=sample,
    )


def _require_labels(
    database: Database,
    use_case: UseCase,
    names: Mapping[str, Composable],
    months: Sequence[date],
    known_at: datetime,
) -> None:
    """Raise LabelsNotMatured or AsOfRefused for the newest month without labels."""
    for as_of in reversed(months):
        moment = matured_at(use_case, as_of)
        if known_at < moment:
            values = {"as_ofs": [as_of], "known_at": known_at}
            query = subquery(database.render("entity_rows", names, **values))
            found = database.rows("count_labelled", {"query": query})
            count = (
                found[0]["labels"]
                if found
                else database.row("count_entities", names, **values)["entities"]
            )
            raise LabelsNotMatured(
                f"{count} label(s) of AS_OF {as_of} mature at "
                f"{moment.isoformat()}, after known_at {known_at.isoformat()}.",
                "Train on an earlier AS_OF: `streamflow train --as-of DATE`; "
                "or name a later --known-at.",
            )
        if not database.row("label_exists", names, as_of=as_of, known_at=known_at)["exists"]:
            raise _without_labels(database, use_case, names, as_of, known_at)


def _without_labels(
    database: Database,
    use_case: UseCase,
    names: Mapping[str, Composable],
    as_of: date,
    known_at: datetime,
) -> AsOfRefused:
    label = use_case.label
    early = _premature(database, use_case, names, [as_of], known_at).get(as_of, 0)
    said = f" {early:,} were recorded before they could be known, and don't count."
    return AsOfRefused(
        f"No {label.column!r} of AS_OF {as_of} was known at {known_at.isoformat()}."
        f"{said if early else ''}",
        f"Load {label.table} with `streamflow ingest`, or name a later --known-at.",
    )


def _premature(
    database: Database,
    use_case: UseCase,
    names: Mapping[str, Composable],
    months: Sequence[date],
    known_at: datetime,
) -> dict[date, int]:
    horizon = use_case.label.horizon
    if not horizon:
        return {}
    values = {"as_ofs": months, "known_at": known_at, "horizon": horizon}
    rows = database.rows("count_premature_labels", names, **values)
    return {row["event_timestamp"].astimezone(UTC).date(): row["labels"] for row in rows}


@dataclass(frozen=True)
class _Month:
    """How many entities have a row at an as_of, and the rows of those with a label."""

    entities: int
    table: pa.Table


def _joined(
    database: Database,
    use_case: UseCase,
    join: FeatureJoin,
    names: Mapping[str, Composable],
    months: Sequence[date],
    known_at: datetime,
) -> dict[date, _Month]:
    """The months' rows by Feast's point-in-time join, of each month by entity.

    A month at a time, its hash tables fit in memory, and its rows of history are found by its event
    timestamp.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    as_ofs = {event_timestamp(as_of): as_of for as_of in months}
    label = use_case.label.column

    def month(moment: datetime, joined: pa.Table) -> _Month:
        rows = joined.sort_by(join.schema.join_key)
        _require_unique(rows[join.schema.join_key])
        labels = rows[label]
        known = rows.filter(pc.is_valid(labels)) if labels.null_count else rows
        day = pa.repeat(as_ofs[moment].isoformat(), known.num_rows) if len(months) > 1 else None
        table = dataset_table.dataset_table(known, join.schema, label, day)
        return _Month(rows.num_rows, table)

    queries = {
        moment: database.render("entities_with_label", names, as_of=as_of, known_at=known_at)
        for moment, as_of in as_ofs.items()
    }
    return dict(zip(months, join.rows(queries, month), strict=True))


def _require_unique(entities: pa.ChunkedArray) -> None:
    """Raise FeatureStoreUnavailable if an entity comes twice; `entities` ascend."""
    import pyarrow.compute as pc

    rows = len(entities)
    repeated = pc.sum(pc.equal(entities[1:], entities[:-1])).as_py() or 0
    if repeated:
        raise FeatureStoreUnavailable(
            f"The point-in-time join made {rows} rows ({rows - repeated} entities) out of "
            f"{rows - repeated}.",
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
