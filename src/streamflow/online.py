"""Online features: brought there by `materialize`, read by `OnlineFeatures`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from psycopg import sql

from streamflow.as_of import event_timestamp
from streamflow.database import Database
from streamflow.errors import FeatureStoreUnavailable, UnservableModel
from streamflow.features import FEATURE_TYPES, open_store, quiet, unavailable
from streamflow.point_in_time import require_month
from streamflow.served_model import FeatureSchema
from streamflow.use_case import UseCase


@dataclass(frozen=True)
class Materialized:
    feature_view: str
    rows: int
    seconds: float


def materialize(
    database: Database,
    use_case: UseCase,
    as_of: date,
    now: datetime,
    progress: Callable[[str], None] = lambda feature_view: None,
) -> list[Materialized]:
    """Bring each entity's newest features up to the end of `as_of`, as known at `now`, online.

    The window is explicit and ends in the past. The online store keeps the newest event timestamp,
    so that an older month never replaces a newer one. Raises AsOfRefused, FeatureStoreUnavailable.
    """
    require_month(database, use_case, as_of, now)
    end = event_timestamp(as_of)
    store = open_store(database.url, use_case, known_at=now)
    done = []
    with unavailable("Feast doesn't know the feature views"):
        views = store.list_feature_views()
    if not views:
        raise FeatureStoreUnavailable(
            f"No feature view of {use_case.name!r} is in Feast's registry.",
            "Run `streamflow apply`.",
        )
    for view in views:
        progress(view.name)
        names = {
            "history": sql.Identifier(
                use_case.name, view.batch_source.get_table_query_string().strip('"')
            ),
            "key": sql.Identifier(use_case.join_key),
        }
        oldest = database.row("oldest_as_of", names)["as_of"]
        started = time.perf_counter()
        with unavailable(f"Materializing {view.name} failed"), quiet():
            store.materialize(event_timestamp(oldest) - timedelta(days=1), end, [view.name])
        seconds = time.perf_counter() - started
        rows = database.row("count_window", names, end=end, known_at=now)["entities"]
        database.execute(
            "record_materialization",
            use_case=use_case.name,
            feature_view=view.name,
            as_of=as_of,
            event_timestamp=end,
            known_at=now,
            rows=rows,
            seconds=seconds,
        )
        done.append(Materialized(view.name, rows, seconds))
    return done


@dataclass(frozen=True)
class OnlineValue:
    """`found` is False where the feature view has no row for the entity; a stored null is None."""

    found: bool
    value: Any
    event_timestamp: datetime | None


class OnlineFeatures:
    """Online features through the Feast SDK, with whatever online store is configured."""

    def __init__(self, store: Any, database: Database, use_case: UseCase) -> None:
        self._store = store
        self._database = database
        self._use_case = use_case

    def read(
        self, references: list[str], entity_rows: list[dict[str, Any]]
    ) -> list[list[OnlineValue]]:
        """Per entity row, a value per reference (`view:feature`), in the references' order.

        Raises FeatureStoreUnavailable.
        """
        from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
        from feast.type_map import feast_value_type_to_python_type

        with unavailable("The online store doesn't answer"):
            response = self._store.get_online_features(
                features=references, entity_rows=entity_rows, full_feature_names=True
            ).proto
        by_name = dict(zip(response.metadata.feature_names.val, response.results, strict=True))
        answer: list[list[OnlineValue]] = [[] for _ in entity_rows]
        for reference in references:
            result = by_name[reference.replace(":", "__")]
            for i, values in enumerate(answer):
                found = result.statuses[i] in (FieldStatus.PRESENT, FieldStatus.NULL_VALUE)
                stamp = result.event_timestamps[i].ToDatetime(UTC) if found else None
                value = feast_value_type_to_python_type(result.values[i]) if found else None
                values.append(OnlineValue(found, value, stamp))
        return answer

    def newest_event_timestamps(self) -> dict[str, datetime]:
        """Per feature view, the event timestamp (UTC) of the newest month materialized."""
        rows = self._database.rows("newest_materialized", use_case=self._use_case.name)
        return {row["feature_view"]: row["event_timestamp"] for row in rows}

    def check(self, schema: FeatureSchema) -> None:
        """Raises UnservableModel for the first feature that isn't there as the model needs it."""
        with unavailable("Feast's registry can't be read"):
            views = {view.name: view for view in self._store.list_feature_views()}
        for feature in schema.features:
            view = views.get(feature.feature_view)
            types = {field.name: str(field.dtype) for field in view.features} if view else {}
            found = FEATURE_TYPES.get(types.get(feature.name, ""))
            if found != feature.type:
                raise UnservableModel(
                    f"The model needs {feature.feature_view}:{feature.name} as {feature.type}, "
                    f"the feature store has {found or 'no such feature'}.",
                    "Bring the definitions back with `streamflow apply`, or train again.",
                )
