"""Online features through the Feast SDK, from whatever online store is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from streamflow.features.engines.feature_errors import unavailable
from streamflow.features.feature_store import open_store
from streamflow.features.feature_types import FEATURE_TYPES
from streamflow.postgres.database import Database
from streamflow.serving.callbacks import Callback
from streamflow.serving.feature_status import MISSING, EntityRow
from streamflow.serving.online_store import (
    NotRecorded,
    OnlineConnection,
    Plan,
    newest_materialized,
    newest_not_recorded,
    other_type,
)
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    from feast import FeatureStore


class FeastStore:
    """The online store of Feast's configuration `online_store`."""

    def __init__(
        self, online_store: Mapping[str, object] | None, database: Database, use_case: UseCase
    ) -> None:
        self._online_store = online_store
        self._database = database
        self._use_case = use_case

    @cached_property
    def _store(self) -> FeatureStore:
        return open_store(self._database.url, self._use_case, online_store=self._online_store)

    def newest_event_timestamps(self) -> dict[str, datetime]:
        """Per feature view, the event timestamp (UTC) of the newest month materialized."""
        return newest_materialized(self._database, self._use_case)

    def not_recorded(self) -> NotRecorded:
        """What a null means: the features that whole months hadn't recorded."""
        return newest_not_recorded(self._database, self._use_case)

    def plan(self, schema: FeatureSchema) -> FeatureSchema:
        """The schema itself, after each of its features was found in Feast's registry.

        Raises UnservableModel for the first one that is missing or of another type,
        FeatureStoreUnavailable.
        """
        with unavailable("Feast's registry can't be read"):
            views = {view.name: view for view in self._store.list_feature_views()}
        for feature in schema.features:
            view = views.get(feature.feature_view)
            types = {field.name: str(field.dtype) for field in view.features} if view else {}
            found = FEATURE_TYPES.get(types.get(feature.name, ""))
            if found != feature.type:
                raise other_type(feature, found)
        return schema

    def require_values(self, plan: FeatureSchema) -> None:
        """What other stores have isn't known: nothing is refused."""

    def kept_views(self, plan: FeatureSchema) -> dict[str, str]:
        """Other stores have one definition of a view."""
        return {}

    def read(self, plan: FeatureSchema, entity_ids: Sequence[str]) -> list[EntityRow]:
        """A row per id, in their order. Raises FeatureStoreUnavailable."""
        from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
        from feast.type_map import feast_value_type_to_python_type

        references = [f"{feature.feature_view}:{feature.name}" for feature in plan.features]
        with unavailable("The online store doesn't answer"):
            response = self._store.get_online_features(
                features=references,
                entity_rows=[{plan.join_key: entity_id} for entity_id in entity_ids],
                full_feature_names=True,
            ).proto
        by_name = dict(zip(response.metadata.feature_names.val, response.results, strict=True))
        results = [by_name[reference.replace(":", "__")] for reference in references]
        found_statuses = (FieldStatus.PRESENT, FieldStatus.NULL_VALUE)
        rows = []
        for i in range(len(entity_ids)):
            times: dict[str, datetime | None] = dict.fromkeys(plan.views)
            values = []
            for feature, result in zip(plan.features, results, strict=True):
                found = result.statuses[i] in found_statuses
                # A row always has an event timestamp: without one, it looks the same as no row.
                if found and result.event_timestamps[i].ByteSize():
                    times[feature.feature_view] = result.event_timestamps[i].ToDatetime(UTC)
                value = feast_value_type_to_python_type(result.values[i]) if found else MISSING
                values.append(value)
            has_row = [times[feature.feature_view] is not None for feature in plan.features]
            known = (value if row else None for value, row in zip(values, has_row, strict=True))
            rows.append(EntityRow(tuple(times.values()), tuple(known)))
        return rows

    def connect(self, on_change: Callable[[], None]) -> OnlineConnection:
        """A connection that reads in a thread; it is always connected."""
        return ThreadConnection(self, on_change)


class Reader(Protocol):
    """A store that only responds to callers that wait."""

    def read(self, plan: Plan, entity_ids: Sequence[str]) -> list[EntityRow]:
        """A row per id, in their order."""


class ThreadConnection:
    """A connection to a store that blocks: each read runs in a thread."""

    connected = True

    def __init__(self, store: Reader, on_change: Callable[[], None]) -> None:
        self.idle = True
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="online-store")

    async def open(self, patience_seconds: float) -> None:
        """There is nothing to connect."""

    async def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False)

    def send(
        self, plan: Plan, entity_ids: Sequence[str], callback: Callback[list[EntityRow]]
    ) -> None:
        """Read a row per id; `callback` receives them, or the reason why there are none."""
        self.idle = False
        reading = asyncio.get_running_loop().run_in_executor(
            self._thread, self._store.read, plan, entity_ids
        )

        def done(future: asyncio.Future[list[EntityRow]]) -> None:
            self.idle = True
            error = future.exception()
            callback(error if isinstance(error, Exception) else future.result())

        reading.add_done_callback(done)
