"""Where the API reads online features: our own tables straight, any other store through Feast.

Both say what to read for a model once (`plan`), and then read it for any ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from feast_postgres import direct, lane
from streamflow.errors import FeatureStoreUnavailable, UnservableModel
from streamflow.features.feature_store import ONLINE_SCHEMA, open_store, unavailable
from streamflow.features.feature_types import FEATURE_TYPES, VALUE_TYPES
from streamflow.postgres.database import Database
from streamflow.serving.feature_status import MISSING, EntityRow
from streamflow.settings import Settings
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    from feast_postgres.reading import Rows

Told = Callable[[list[EntityRow] | Exception], None]


class OnlineStore(Protocol):
    def newest_event_timestamps(self) -> dict[str, datetime]:
        """Per feature view, the event timestamp (UTC) of the newest month materialized."""

    def plan(self, schema: FeatureSchema) -> Any:
        """What to read. Raises UnservableModel for the first feature that isn't there as needed."""

    def read(self, plan: Any, entity_ids: Sequence[str]) -> list[EntityRow]:
        """A row per id, in their order. Raises FeatureStoreUnavailable."""

    def lane(self, changed: Callable[[], None]) -> Lane:
        """A way to read without blocking the running event loop."""


class Lane(Protocol):
    """Reads for one caller at a time; `connected` and `idle` may change behind its back, which
    `changed` is told."""

    @property
    def connected(self) -> bool: ...
    @property
    def idle(self) -> bool: ...
    def open(self, patience_seconds: float) -> Awaitable[None]: ...
    def close(self) -> Awaitable[None]: ...
    def send(self, plan: Any, entity_ids: Sequence[str], told: Told) -> None: ...


# The latency budget is what a whole prediction may take: after so many times that, nobody waits for
# a part of it any more. But a cold disk may take a second.
_BUDGETS = 4
_LEAST_PATIENCE_SECONDS = 1.0


def online_store(settings: Settings, database: Database, use_case: UseCase) -> OnlineStore:
    if settings.online_store is None:
        patience = max(_LEAST_PATIENCE_SECONDS, _BUDGETS * settings.latency_budget_ms / 1000)
        return PostgresStore(database, use_case, patience)
    return FeastStore(settings.online_store, database, use_case)


class PostgresStore:
    """Online features in our own tables: one prepared statement per model, and no Feast."""

    def __init__(
        self,
        database: Database,
        use_case: UseCase,
        patience_seconds: float = _LEAST_PATIENCE_SECONDS,
    ) -> None:
        self._database = database
        self._use_case = use_case
        self._patience_seconds = patience_seconds
        self._lanes: list[lane.Lane] = []

    def newest_event_timestamps(self) -> dict[str, datetime]:
        return _newest(self._database, self._use_case)

    def plan(self, schema: FeatureSchema) -> direct.Statement:
        asked = [(feature.feature_view, feature.name) for feature in schema.features]
        try:
            with (
                unavailable("The online store's tables can't be looked at"),
                self._database.connection() as connection,
            ):
                statement = direct.statement(
                    connection,
                    ONLINE_SCHEMA,
                    self._use_case.name,
                    schema.join_key,
                    asked,
                )
        except FeatureStoreUnavailable as error:
            if isinstance(error.__cause__, direct.NotReadable):
                raise UnservableModel(
                    f"The model's features can't be read: {error.__cause__}.",
                    "Bring the definitions back with `streamflow apply`, or train again.",
                ) from error
            raise
        for feature, found in zip(schema.features, statement.value_types, strict=True):
            if found != VALUE_TYPES[feature.type]:
                raise _other_type(feature.feature_view, feature.name, feature.type, found)
        return statement

    def read(self, plan: direct.Statement, entity_ids: Sequence[str]) -> list[EntityRow]:
        with (
            unavailable("The online store doesn't answer"),
            self._database.connection() as connection,
        ):
            rows = direct.read(connection, plan, entity_ids)
        return _entity_rows(plan, rows)

    def lane(self, changed: Callable[[], None]) -> Lane:
        made = lane.Lane(
            self._database.url,
            changed,
            patience_seconds=self._patience_seconds,
            silent=self._drop_lanes,
        )
        self._lanes.append(made)
        return _DirectLane(made)

    def _drop_lanes(self) -> None:
        """A server that is silent to one hangs for all; who asks now is told so at once."""
        for one in self._lanes:
            one.drop()


class _DirectLane:
    def __init__(self, connection: lane.Lane) -> None:
        self._lane = connection
        self.open = connection.open
        self.close = connection.close

    @property
    def connected(self) -> bool:
        return self._lane.connected

    @property
    def idle(self) -> bool:
        return self._lane.idle

    def send(self, plan: direct.Statement, entity_ids: Sequence[str], told: Told) -> None:
        def done(answer: Rows | Exception) -> None:
            if isinstance(answer, Exception):
                told(_away(answer))
            else:
                told(_entity_rows(plan, answer))

        self._lane.send(plan.text, entity_ids, done)


class FeastStore:
    """Online features through the Feast SDK, from whatever online store is configured."""

    def __init__(
        self, online_store: dict[str, Any] | None, database: Database, use_case: UseCase
    ) -> None:
        self._online_store = online_store
        self._database = database
        self._use_case = use_case

    @cached_property
    def _store(self) -> Any:
        return open_store(self._database.url, self._use_case, online_store=self._online_store)

    def newest_event_timestamps(self) -> dict[str, datetime]:
        return _newest(self._database, self._use_case)

    def plan(self, schema: FeatureSchema) -> FeatureSchema:
        with unavailable("Feast's registry can't be read"):
            views = {view.name: view for view in self._store.list_feature_views()}
        for feature in schema.features:
            view = views.get(feature.feature_view)
            types = {field.name: str(field.dtype) for field in view.features} if view else {}
            found = FEATURE_TYPES.get(types.get(feature.name, ""))
            if found != feature.type:
                raise _other_type(feature.feature_view, feature.name, feature.type, found)
        return schema

    def read(self, plan: FeatureSchema, entity_ids: Sequence[str]) -> list[EntityRow]:
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
        there = (FieldStatus.PRESENT, FieldStatus.NULL_VALUE)
        rows = []
        for i in range(len(entity_ids)):
            times: dict[str, datetime | None] = dict.fromkeys(plan.views)
            values = []
            for feature, result in zip(plan.features, results, strict=True):
                found = result.statuses[i] in there
                # A row always has an event timestamp: without one it can't be told from no row.
                if found and result.event_timestamps[i].ByteSize():
                    times[feature.feature_view] = result.event_timestamps[i].ToDatetime(UTC)
                value = feast_value_type_to_python_type(result.values[i]) if found else MISSING
                values.append(value)
            there_too = [times[feature.feature_view] is not None for feature in plan.features]
            known = (value if row else None for value, row in zip(values, there_too, strict=True))
            rows.append(EntityRow(tuple(times.values()), tuple(known)))
        return rows

    def lane(self, changed: Callable[[], None]) -> Lane:
        return ThreadLane(self, changed)


class ThreadLane:
    """A store that only answers to callers who wait, asked from a thread."""

    connected = True

    def __init__(self, store: Any, changed: Callable[[], None]) -> None:
        self.idle = True
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="online-store")

    async def open(self, patience_seconds: float) -> None:
        pass

    async def close(self) -> None:
        self._thread.shutdown(wait=False)

    def send(self, plan: Any, entity_ids: Sequence[str], told: Told) -> None:
        self.idle = False
        reading = asyncio.get_running_loop().run_in_executor(
            self._thread, self._store.read, plan, entity_ids
        )

        def done(future: asyncio.Future[list[EntityRow]]) -> None:
            self.idle = True
            error = future.exception()
            told(error if isinstance(error, Exception) else future.result())

        reading.add_done_callback(done)


def _newest(database: Database, use_case: UseCase) -> dict[str, datetime]:
    rows = database.rows("newest_materialized", use_case=use_case.name)
    return {row["feature_view"]: row["event_timestamp"] for row in rows}


def _entity_rows(plan: direct.Statement, rows: Rows) -> list[EntityRow]:
    found = []
    for row in rows:
        unwritten = plan.unwritten(row)
        values = plan.values(row)
        if any(unwritten):
            values = tuple(
                MISSING if unwritten[view] and column in unwritten[view] else value
                for value, (view, column) in zip(values, plan.columns, strict=True)
            )
        found.append(EntityRow(plan.times(row), values))
    return found


def _away(error: Exception) -> FeatureStoreUnavailable:
    problem = FeatureStoreUnavailable(
        f"The online store doesn't answer: {error}.", "See `streamflow status`."
    )
    problem.__cause__ = error
    return problem


def _other_type(view: str, feature: str, wanted: str, found: str | None) -> UnservableModel:
    return UnservableModel(
        f"The model needs {view}:{feature} as {wanted}, "
        f"the feature store has {found or 'no such feature'}.",
        "Bring the definitions back with `streamflow apply`, or train again.",
    )
