"""Feast's configuration, its feature store, and the features in its registry.

Registry, offline store and online store are in the same PostgreSQL, configured from Settings: there
is no feature_store.yaml to maintain. Feast takes seconds to import, so functions import it.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from streamflow.errors import InvalidSettings
from streamflow.features.applied_definitions import require_applied
from streamflow.features.definition_findings import projections
from streamflow.features.engines.feature_errors import unavailable
from streamflow.features.engines.offline_store import offline_store
from streamflow.features.feature_types import FEATURE_TYPES
from streamflow.features.kept.views import source_table
from streamflow.history.ingestions import recorded_ingestions
from streamflow.history.withdrawals.known_rows import known_condition
from streamflow.postgres.database import Database
from streamflow.postgres.database_url import sqlalchemy_url, url_parts
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.use_case import Table, UseCase

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView
    from feast.feature_view_projection import FeatureViewProjection

ONLINE_SCHEMA = "online"
REGISTRY_SCHEMA = "feast"


def configuration(
    database_url: str,
    use_case: UseCase,
    known_at: datetime | None = None,
    online_store: Mapping[str, object] | None = None,
    offline_store: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The contents of Feast's `feature_store.yaml`, which Feast's own CLI and UI need too.

    With `known_at` (UTC) only rows recorded by then are read. `online_store` and `offline_store`
    are Feast's configuration of others than ours in PostgreSQL.
    """
    parts = url_parts(database_url)
    host = str(parts.get("host") or "localhost")
    # The embedded server has no TLS, and a socket or the loopback interface needs none.
    local = host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")
    connection = {
        "host": host,
        "port": int(parts.get("port") or 5432),
        "database": str(parts.get("dbname") or "streamflow"),
        "user": str(parts.get("user") or "streamflow"),
        "password": str(parts.get("password") or ""),
        "sslmode": str(parts.get("sslmode") or ("disable" if local else "require")),
    }
    offline: dict[str, object] = {
        "type": "feast_postgres.PostgresOfflineStore",
        "db_schema": use_case.name,
        **connection,
    }
    if known_at is not None:
        offline["known_at"] = known_at
    return {
        "project": use_case.name,
        "provider": "local",
        "registry": {
            "registry_type": "sql",
            "path": sqlalchemy_url(database_url, REGISTRY_SCHEMA),
            "cache_ttl_seconds": 5,
        },
        "offline_store": offline_store or offline,
        "online_store": online_store
        or {
            "type": "feast_postgres.PostgresOnlineStore",
            "db_schema": ONLINE_SCHEMA,
            **connection,
        },
        # It materializes inside the database where it can, and like Feast's own engine elsewhere.
        "batch_engine": {"type": "feast_postgres.PostgresEngine"},
        "entity_key_serialization_version": 3,
    }


def open_store(
    database_url: str,
    use_case: UseCase,
    known_at: datetime | None = None,
    online_store: Mapping[str, object] | None = None,
    offline_store: Mapping[str, object] | None = None,
) -> FeatureStore:
    """Feast's store; see `configuration`. Raises FeatureStoreUnavailable without its registry.

    A store can't be closed. So its registry keeps no connection: each reading has one of its own.
    """
    from feast import FeatureStore, RepoConfig
    from sqlalchemy import NullPool

    with unavailable("Feast's registry can't be opened"):
        described = configuration(database_url, use_case, known_at, online_store, offline_store)
        config = RepoConfig(**described)
        config.registry.sqlalchemy_config_kwargs = {"poolclass": NullPool}
        return FeatureStore(config=config)


def known_store(
    database: Database,
    use_case: UseCase,
    known_at: datetime,
    online_store: Mapping[str, object] | None = None,
) -> FeatureStore:
    """Feast's store of what was recorded by `known_at` (UTC), and not withdrawn by then.

    It joins by the engine that reads history of `database`.
    Raises FeatureStoreUnavailable without Feast's registry.
    """
    offline = offline_store(database, use_case, known_at)
    store = open_store(database.url, use_case, known_at, online_store, offline)
    with unavailable("Feast doesn't know the feature views"):
        views = store.list_feature_views()
    tables = {view.batch_source.name: source_table(view) for view in views}
    # A run of before may be joined from a table that no view has any more.
    for one in recorded_ingestions(database, use_case):
        tables |= {table: table for table in one.tables}
    conditions = {
        source: known_condition(database, use_case, Table.history_of(table), known_at)
        for source, table in tables.items()
    }
    store.config.offline_store.conditions = {
        source: condition for source, condition in conditions.items() if condition is not None
    }
    return store


def feature_schema(store: FeatureStore, use_case: UseCase) -> FeatureSchema:
    """The features of the use case's feature service, in its order.

    Nullability comes from the source table's contract, the allowed age from the view's ttl.
    Raises FeatureStoreUnavailable if no definitions have been applied, InvalidSettings if others
    have than those of the use case.
    """
    with unavailable(f"Feast doesn't know the feature service {use_case.feature_service!r}"):
        service = store.get_feature_service(use_case.feature_service)
        views = {view.name: view for view in store.list_feature_views()}
    require_applied(service, views, use_case)
    return _schema(service.name, service.feature_view_projections, views, use_case)


def declared_schema(use_case: UseCase) -> FeatureSchema:
    """The same by the use case's own definitions, which nothing is wrong with; no service is
    needed."""
    from feast import FeatureService, FeatureView

    objects = use_case.features()
    views = {one.name: one for one in objects if isinstance(one, FeatureView)}
    service = next(
        one
        for one in objects
        if isinstance(one, FeatureService) and one.name == use_case.feature_service
    )
    return _schema(service.name, projections(service, views), views, use_case)


def _schema(
    service: str,
    chosen: Sequence[FeatureViewProjection],
    views: Mapping[str, FeatureView],
    use_case: UseCase,
) -> FeatureSchema:
    tables = {table.name: table for table in use_case.tables()}
    features = []
    for projection in chosen:
        view = views[projection.name]
        table = tables[view.batch_source.name]
        for field in projection.features:
            kind = str(field.dtype)
            if kind not in FEATURE_TYPES:
                raise InvalidSettings(
                    f"Feature {view.name}:{field.name} has the type {kind}.",
                    f"Use one of {', '.join(FEATURE_TYPES)}.",
                )
            features.append(
                Feature(
                    name=field.name,
                    feature_view=view.name,
                    type=FEATURE_TYPES[kind],  # type: ignore[arg-type]
                    nullable=table.contract.columns[field.name].nullable,
                    max_age_seconds=view.ttl.total_seconds() if view.ttl else None,
                    absent=table.absent,
                    unseen=use_case.unseen.get(field.name, "refuse"),
                )
            )
    entity = views[features[0].feature_view].entities[0]
    departed = use_case.departed_after
    return FeatureSchema(
        service,
        entity,
        use_case.join_key,
        tuple(features),
        departed.total_seconds() if departed is not None else None,
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard what Feast prints in the block: messages and progress bars."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
