"""Feast's online store in PostgreSQL: a table per feature view, with an entity's newest row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig
from psycopg import Connection, sql
from pydantic import model_validator

from feast_postgres.columns import table_layout
from feast_postgres.connections import Connections, Result
from feast_postgres.online_fetch import Request, fetch, fetch_async
from feast_postgres.online_request import Grouped, Plans, populate
from feast_postgres.online_rows import (
    ReadResult,
    Selection,
    key_arrays,
    online_read_results,
    select,
    select_features,
)
from feast_postgres.online_tables import drop_tables, table_to_write, update_tables
from feast_postgres.online_writes import WriteRow, write
from feast_postgres.unsupported import (
    no_document_search,
    refuse_vector_index,
    without_unsupported,
)
from feast_postgres.versions import known_table, missing_table_named, served_table

if TYPE_CHECKING:
    from feast import Entity, FeatureView
    from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.repo_config import RepoConfig


class PostgresOnlineStoreConfig(PostgreSQLConfig):  # type: ignore[misc]
    """Where the tables live: schema `db_schema`, which `update` creates if it does not exist.

    `host` may be the folder of a Unix socket. Raises ValueError for a setting of Feast's other
    online stores that this one has not.
    """

    type: Literal["feast_postgres.PostgresOnlineStore", "feast_postgres.online.PostgresOnlineStore"]
    connect_timeout_seconds: float = 5.0

    _explain_unsupported = model_validator(mode="before")(without_unsupported)


class PostgresOnlineStore(OnlineStore):  # type: ignore[misc]
    """Stores an entity's row with the newest event timestamp, then the newest created timestamp,
    in any order of writing. Of rows with equal timestamps, the last one written wins.

    A write of some of a view's features leaves the others unchanged. A write that is older than the
    stored row changes nothing, not even features that the row lacks. Timestamps without a time zone
    are in UTC; timestamps read are in UTC. A request for online features is one round trip for any
    number of feature views.
    """

    _versioned_read_supported = True  # a private attribute of Feast, which knows its own stores

    def __init__(self) -> None:
        self._connections = Connections()
        self._plans = Plans()

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Feast may read and write asynchronously."""
        return SupportedAsyncMethods(read=True, write=True)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Create, change or drop tables to match the feature views, in one transaction per view;
        reads continue meanwhile.

        A feature that was removed or changed its type loses its values. If the join keys changed,
        the view's table is created again, empty: materialize it again.

        Raises ValueError, and changes nothing, if a feature has a vector index.
        """
        for view in tables_to_keep:
            refuse_vector_index(view)

        def work(connection: Connection[object]) -> None:
            update_tables(connection, config, tables_to_delete, tables_to_keep)

        self._connections.run(config.online_store, work)

    def teardown(
        self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]
    ) -> None:
        """Drop the tables of the feature views."""

        def work(connection: Connection[object]) -> None:
            for view in tables:
                drop_tables(connection, config, view)

        self._connections.run(config.online_store, work)

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[WriteRow],
        progress: Callable[[int], object] | None,
    ) -> None:
        """Write all of the rows in one transaction, or none.

        Raises ValueError for a value that its column can't hold, a feature not in the view, or an
        entity key that isn't the view's.
        """
        layout = table_layout(table)

        def work(connection: Connection[object]) -> None:
            version = config.entity_key_serialization_version
            write(connection, table_to_write(connection, config, table), layout, data, version)

        with missing_table_named():
            self._connections.run(config.online_store, work)
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[WriteRow],
        progress: Callable[[int], object] | None,
    ) -> None:
        """`online_write_batch` in a thread: most of its time goes into encoding rows."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadResult]:
        """In the order of `entity_keys`, event timestamp (UTC) and values by feature; (None, None)
        for an entity never written. A null is an empty Value; a feature never written is left out.

        Raises ValueError for keys whose join keys aren't the view's.
        """
        [name] = self._tables(config, [table])
        selection, statement = _read_request(config, table, name, entity_keys, requested_features)
        return online_read_results(selection, fetch(self._connections, config, [statement])[0])

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadResult]:
        """`online_read` without blocking the event loop."""
        [name] = await self._tables_async(config, [table])
        selection, statement = _read_request(config, table, name, entity_keys, requested_features)
        return online_read_results(
            selection, (await fetch_async(self._connections, config, [statement]))[0]
        )

    def retrieve_online_documents(self, *positional: Any, **named: Any) -> Any:
        """Raises NotImplementedError."""
        raise no_document_search()

    def retrieve_online_documents_v2(self, *positional: Any, **named: Any) -> Any:
        """Raises NotImplementedError."""
        raise no_document_search()

    # Private methods of Feast used here: OnlineStore._read_features_per_fv and its asynchronous
    # twin, overridden. get_online_features calls them; Feast's own read one view after another.

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: Grouped,
        join_key_values: Mapping[str, Sequence[Value]],
        entity_name_to_join_key_map: Mapping[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        tables = self._tables(config, [view for view, _ in grouped_refs])
        reads, statements = self._plans.prepare(
            config, grouped_refs, tables, join_key_values, entity_name_to_join_key_map
        )
        populate(
            online_features_response,
            grouped_refs,
            reads,
            fetch(self._connections, config, statements),
            full_feature_names,
            include_feature_view_version_metadata,
        )

    async def _read_features_per_fv_async(
        self,
        config: RepoConfig,
        grouped_refs: Grouped,
        join_key_values: Mapping[str, Sequence[Value]],
        entity_name_to_join_key_map: Mapping[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        tables = await self._tables_async(config, [view for view, _ in grouped_refs])
        reads, statements = self._plans.prepare(
            config, grouped_refs, tables, join_key_values, entity_name_to_join_key_map
        )
        populate(
            online_features_response,
            grouped_refs,
            reads,
            await fetch_async(self._connections, config, statements),
            full_feature_names,
            include_feature_view_version_metadata,
        )

    def _tables(self, config: RepoConfig, views: Sequence[FeatureView]) -> list[str]:
        known = [name for view in views if (name := known_table(config, view)) is not None]
        if len(known) == len(views):
            return known

        def work(connection: Connection[object]) -> list[str]:
            return [served_table(connection, config, view) for view in views]

        return self._connections.run(config.online_store, work)

    async def _tables_async(self, config: RepoConfig, views: Sequence[FeatureView]) -> list[str]:
        known = [name for view in views if (name := known_table(config, view)) is not None]
        if len(known) == len(views):
            return known
        return await asyncio.to_thread(self._tables, config, views)

    def run(self, config: RepoConfig, work: Callable[[Connection[object]], Result]) -> Result:
        """Call `work` with a connection in autocommit and return its result.

        It is called again after a lost connection or a deadlock.
        """
        return self._connections.run(config.online_store, work)

    async def close(self) -> None:
        """Close the connections of threads and of the running event loop."""
        await self._connections.close()


def _read_request(
    config: RepoConfig,
    view: FeatureView,
    table_name: str,
    entity_keys: Sequence[EntityKey],
    names: Sequence[str] | None,
) -> tuple[Selection, Request]:
    layout = table_layout(view)
    known = [name for name in names or layout.features if name in layout.features]
    table = sql.Identifier(config.online_store.db_schema, table_name)
    selection = select_features(table, layout, known)
    arrays = key_arrays(layout, entity_keys, config.entity_key_serialization_version)
    return selection, (select([selection]).as_bytes(None), arrays)
