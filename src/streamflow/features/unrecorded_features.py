"""Features that a month hasn't recorded, because its files had no such column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from streamflow.errors import UntrainableData
from streamflow.features.feature_views import FeatureViewDefinition
from streamflow.history.history_changes import name_now
from streamflow.history.ingestions import recorded_ingestions
from streamflow.history.recorded_columns import recorded_columns
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier, subquery
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import Table, UseCase


@dataclass(frozen=True)
class UnrecordedFeature:
    """A feature that isn't recorded in `rows` of the rows of an as_of, where it is null.

    `left_out` says whether the rows are left out, as the contract allows no null.
    """

    as_of: date
    feature: str
    table: str
    rows: int
    left_out: bool

    def __str__(self) -> str:
        become = "they are left out" if self.left_out else "it is null there"
        return (
            f"Not recorded at {self.as_of}: feature {self.feature!r} of {self.table}, "
            f"{self.rows:,} rows; {become}."
        )


def unrecorded_features(
    database: Database,
    use_case: UseCase,
    schema: FeatureSchema,
    views: Mapping[str, FeatureViewDefinition],
    entity_rows: str,
    known_at: datetime,
) -> list[UnrecordedFeature]:
    """The features that the rows joined to the query `entity_rows` haven't recorded, oldest as_of
    first."""
    recorded = recorded_columns(database, use_case)
    found = []
    for name, view in views.items():
        history = view.table.strip('"')
        features = [feature for feature in schema.features if feature.feature_view == name]
        lacking = {
            feature.name: {
                *recorded.not_recorded(history, [name_now(recorded.changes, history, feature.name)])
            }
            for feature in features
        }
        ingestions = sorted(set().union(*lacking.values()))
        if not ingestions:
            continue
        rows = database.rows(
            "rows_of_ingestions",
            {
                "key": identifier(use_case.join_key),
                "query": subquery(entity_rows),
                "history": known_rows(database, use_case, history, known_at),
            },
            ttl=view.ttl,
            known_at=known_at,
            ingestions=ingestions,
        )
        counts = [
            (row["event_timestamp"].astimezone(UTC).date(), row["ingestion_id"], row["rows"])
            for row in rows
        ]
        for feature in features:
            by_month: dict[date, int] = {}
            for as_of, ingestion, count in counts:
                if ingestion in lacking[feature.name]:
                    by_month[as_of] = by_month.get(as_of, 0) + count
            found += [
                UnrecordedFeature(as_of, feature.name, view.source, count, not feature.nullable)
                for as_of, count in by_month.items()
            ]
    return sorted(found, key=lambda one: one.as_of)


def unrecorded_months(
    database: Database,
    use_case: UseCase,
    table: str,
    features: Mapping[str, str],
    known_at: datetime,
) -> dict[date, list[str]]:
    """By as_of, the features that no file of the table had of those that count at `known_at` (UTC).

    `features` has the column of each, by any name that it ever had. A month of which one file had
    the column and another hadn't isn't among them: a null in it may be a value.
    """
    recorded, history = recorded_columns(database, use_case), Table.history_of(table)
    lacking = {
        feature: {*recorded.not_recorded(history, [name_now(recorded.changes, history, column)])}
        for feature, column in features.items()
    }
    files: dict[date, set[int]] = {}
    for one in recorded_ingestions(database, use_case):
        if one.counts_at(known_at):
            for as_of in one.months_of(table):
                files.setdefault(as_of, set()).add(one.ingestion_id)
    found = {
        as_of: [feature for feature, without in lacking.items() if ingestions <= without]
        for as_of, ingestions in files.items()
    }
    return {as_of: names for as_of, names in sorted(found.items()) if names}


def require_recorded(found: Sequence[UnrecordedFeature], labelled: Mapping[date, int]) -> None:
    """Raise UntrainableData if a whole month hasn't recorded a feature that is never null.

    `labelled` counts the rows of each as_of.
    """
    for one in found:
        if one.left_out and one.rows == labelled.get(one.as_of):
            raise UntrainableData(
                f"AS_OF {one.as_of} hasn't recorded feature {one.feature!r}: the files of "
                f"{one.table} had no such column then, and its contract allows no null.",
                "Train on months that have it; or load the month again with the column: "
                f"`streamflow ingest DIR --as-of {one.as_of}`; or learn from the others without: "
                f'"{one.feature}": Column(…, nullable=True).',
            )
