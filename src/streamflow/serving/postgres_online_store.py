"""Online features in our own tables: one prepared statement per model, and no Feast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from feast_postgres import online_statement
from feast_postgres.event_loop_connection import EventLoopConnection
from feast_postgres.online_statement import NotReadable, Statement
from streamflow.errors import FeatureStoreUnavailable, StreamFlowError, UnservableModel
from streamflow.features.engines.feature_errors import unavailable
from streamflow.features.feature_store import ONLINE_SCHEMA
from streamflow.features.feature_types import VALUE_TYPES
from streamflow.features.kept.pruning import tables_read
from streamflow.features.kept.views import kept_name
from streamflow.postgres.database import Database
from streamflow.serving.callbacks import Callback
from streamflow.serving.feature_status import MISSING, EntityRow
from streamflow.serving.online_store import (
    NotRecorded,
    OnlineConnection,
    newest_materialized,
    newest_not_recorded,
    other_type,
)
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    from feast_postgres.online_rows import ResultRows
    from streamflow.serving.columns.online_columns import ReadColumns


class PostgresStore:
    """The tables that `feast_postgres` fills, in the schema `online` of `database`.

    A read that takes longer than `patience_seconds` is given up.
    """

    def __init__(
        self, database: Database, use_case: UseCase, patience_seconds: float = 1.0
    ) -> None:
        self._database = database
        self._use_case = use_case
        self._patience_seconds = patience_seconds
        self._connections: list[EventLoopConnection] = []
        self._kept: tuple[Statement | None, dict[str, str]] = None, {}

    def newest_event_timestamps(self) -> dict[str, datetime]:
        """Per feature view, the event timestamp (UTC) of the newest month materialized."""
        return newest_materialized(self._database, self._use_case)

    def not_recorded(self) -> NotRecorded:
        """What a null means: the features that whole months hadn't recorded."""
        return newest_not_recorded(self._database, self._use_case)

    def plan(self, schema: FeatureSchema) -> Statement:
        """The statement that reads the features, of each feature view from the newest of its
        tables that has them all in the model's types.

        Raises UnservableModel for the first one that is missing or of another type,
        FeatureStoreUnavailable.
        """
        project = self._use_case.name
        tables = tables_read(self._database, self._use_case, schema)
        try:
            with (
                unavailable("The online store's tables can't be read"),
                self._database.connection() as connection,
            ):
                statement = online_statement.prepare_statement(
                    connection,
                    ONLINE_SCHEMA,
                    project,
                    schema.join_key,
                    [(tables[feature.feature_view], feature.name) for feature in schema.features],
                )
        except FeatureStoreUnavailable as error:
            if isinstance(error.__cause__, NotReadable):
                raise _unservable(error.__cause__) from error
            raise
        for feature, found in zip(schema.features, statement.value_types, strict=True):
            if found != VALUE_TYPES[feature.type]:
                raise other_type(feature, found)
        return statement

    def require_values(self, plan: Statement) -> None:
        """Raises UnservableModel, FeatureStoreUnavailable."""
        with (
            unavailable("The online store's tables can't be read"),
            self._database.connection() as connection,
        ):
            lacking = online_statement.views_without_values(
                connection,
                ONLINE_SCHEMA,
                self._use_case.name,
                self._use_case.join_key,
                plan.requested,
            )
        # A view may have been materialized from a table without a row. One that was removed and
        # came again has been materialized with rows, and has none yet.
        found = self._database.rows("materialized_without_rows", use_case=self._use_case.name)
        without_rows = {row["feature_view"] for row in found}
        empty = [
            view
            for view, has_rows in lacking.items()
            if has_rows or view.partition("@v")[0] not in without_rows
        ]
        if empty and len(lacking) < len(plan.views):
            raise UnservableModel(
                f"No entity has the model's features of {', '.join(empty)} online yet: they are "
                "new.",
                "Run `streamflow materialize`; the API tries again by itself.",
            )

    def kept_views(self, plan: Statement) -> dict[str, str]:
        """By the name that models have for a view, that of the kept view with its table."""
        known, kept = self._kept
        if known is not plan:
            kept = {view.partition("@v")[0]: kept_name(view) for view in plan.views}
            self._kept = plan, kept
        return kept

    def read(self, plan: Statement, entity_ids: Sequence[str]) -> list[EntityRow]:
        """A row per id, in their order. Raises FeatureStoreUnavailable, UnservableModel."""
        try:
            with (
                unavailable("The online store doesn't answer"),
                self._database.connection() as connection,
            ):
                rows = online_statement.read(connection, plan, entity_ids)
        except FeatureStoreUnavailable as error:
            if isinstance(error.__cause__, NotReadable):
                raise _unservable(error.__cause__) from error
            raise
        return _entity_rows(plan, rows)

    @contextmanager
    def column_reader(self, plan: Statement, schema: FeatureSchema) -> Iterator[ReadColumns]:
        """While the block runs: a function that reads columns, for one thread, over a connection of
        its own, which takes 0.1 s to open. It raises UnservableModel, DatabaseUnavailable."""
        from streamflow.serving.columns.postgres_columns import read_columns

        try:
            with read_columns(self._database, plan, schema) as read:
                yield read
        except NotReadable as error:
            raise _unservable(error) from error

    def connect(self, on_change: Callable[[], None]) -> OnlineConnection:
        """A connection that reads without blocking the running event loop; it must be opened."""
        connection = EventLoopConnection(
            self._database.address,
            on_change,
            patience_seconds=self._patience_seconds,
            on_silence=self._drop_connections,
        )
        self._connections.append(connection)
        return _PostgresConnection(connection)

    def _drop_connections(self) -> None:
        """A server that is silent on one connection hangs for all: every caller learns it now."""
        for connection in self._connections:
            connection.drop()


class _PostgresConnection:
    def __init__(self, connection: EventLoopConnection) -> None:
        self._connection = connection
        self.open = connection.open
        self.close = connection.close

    @property
    def connected(self) -> bool:
        return self._connection.connected

    @property
    def idle(self) -> bool:
        return self._connection.idle

    def send(
        self, plan: Statement, entity_ids: Sequence[str], callback: Callback[list[EntityRow]]
    ) -> None:
        def received(outcome: ResultRows | Exception) -> None:
            if isinstance(outcome, Exception):
                callback(_as_ours(outcome))
            else:
                callback(_entity_rows(plan, outcome))

        self._connection.send(plan.text, entity_ids, received, plan.result_types)


def _entity_rows(plan: Statement, rows: ResultRows) -> list[EntityRow]:
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


def _unservable(reason: NotReadable) -> UnservableModel:
    return UnservableModel(
        f"The model's features can't be read: {reason}.",
        "Bring the definitions back with `streamflow apply`, or train again.",
    )


def _as_ours(error: Exception) -> StreamFlowError:
    problem: StreamFlowError
    if isinstance(error, NotReadable):
        problem = _unservable(error)
    else:
        problem = FeatureStoreUnavailable(
            f"The online store doesn't answer: {error}.", "See `streamflow status`."
        )
    problem.__cause__ = error
    return problem
