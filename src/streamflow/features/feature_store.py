"""Feast: its configuration and its definitions; what it gives is in `point_in_time` and `online`.

Registry, offline store and online store are in the same PostgreSQL, built from Settings; there is
no second configuration to keep. Feast takes seconds to import, so it's imported where it's used.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streamflow.errors import (
    FeatureStoreUnavailable,
    InvalidSettings,
    StreamFlowError,
)
from streamflow.features.feature_types import FEATURE_TYPES
from streamflow.postgres.database_url import sqlalchemy_url, url_parts
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.use_case import UseCase

ONLINE_SCHEMA = "online"
REGISTRY_SCHEMA = "feast"


def configuration(
    database_url: str,
    use_case: UseCase,
    known_at: datetime | None = None,
    online_store: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Feast's `feature_store.yaml` as a dict: what Feast's own CLI and UI need as well.

    `online_store` is Feast's configuration of another online store than our own.
    """
    parts = url_parts(database_url)
    host = str(parts.get("host") or "localhost")
    # An embedded server has no TLS, and on a socket or loopback there is nothing to protect from.
    local = host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")
    connection = {
        "host": host,
        "port": int(parts.get("port") or 5432),
        "database": str(parts.get("dbname") or "streamflow"),
        "user": str(parts.get("user") or "streamflow"),
        "password": str(parts.get("password") or ""),
        "sslmode": str(parts.get("sslmode") or ("disable" if local else "require")),
    }
    offline = {
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
        "offline_store": offline,
        "online_store": online_store
        or {
            "type": "feast_postgres.PostgresOnlineStore",
            "db_schema": ONLINE_SCHEMA,
            **connection,
        },
        # It does by itself what it can't do inside the database.
        "batch_engine": {"type": "feast_postgres.PostgresEngine"},
        "entity_key_serialization_version": 3,
    }


def open_store(
    database_url: str,
    use_case: UseCase,
    known_at: datetime | None = None,
    online_store: dict[str, Any] | None = None,
) -> Any:
    """A Feast FeatureStore. Raises FeatureStoreUnavailable if its registry can't be reached."""
    from feast import FeatureStore, RepoConfig

    with unavailable("Feast's registry can't be opened"):
        described = configuration(database_url, use_case, known_at, online_store)
        return FeatureStore(config=RepoConfig(**described))


@dataclass(frozen=True)
class Applied:
    entities: list[str]
    feature_views: list[str]
    feature_services: list[str]
    removed: list[str]


def apply(store: Any, use_case: UseCase) -> Applied:
    """Bring the registry and the online store to the use case's definitions; what is gone, goes."""
    from feast import Entity, FeatureService, FeatureView

    objects = use_case.features()
    if use_case.feature_service not in {object.name for object in objects}:
        raise InvalidSettings(
            f"The definitions of {use_case.name!r} have no feature service "
            f"{use_case.feature_service!r}.",
            "Add it to the use case's features module.",
        )
    named = {(type(object), object.name) for object in objects}
    there = [*store.list_feature_services(), *store.list_feature_views()]
    gone = [object for object in there if (type(object), object.name) not in named]
    with unavailable("Feast's definitions can't be applied"), quiet():
        store.apply(objects, objects_to_delete=gone, partial=False)

    def names(kind: Any) -> list[str]:
        return [object.name for object in objects if isinstance(object, kind)]

    return Applied(
        names(Entity), names(FeatureView), names(FeatureService), [object.name for object in gone]
    )


def feature_schema(store: Any, use_case: UseCase) -> FeatureSchema:
    """The feature service as the one list of features, with what each is allowed to be.

    Nullability comes from the source table's contract, the allowed age from the view's ttl.
    Raises FeatureStoreUnavailable if the definitions haven't been applied.
    """
    with unavailable(f"Feast doesn't know the feature service {use_case.feature_service!r}"):
        service = store.get_feature_service(use_case.feature_service)
        views = {view.name: view for view in store.list_feature_views()}
    contracts = {table.name: table.contract for table in use_case.tables()}
    features = []
    for projection in service.feature_view_projections:
        view = views[projection.name]
        columns = contracts[view.batch_source.name].columns
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
                    nullable=columns[field.name].nullable,
                    max_age_seconds=view.ttl.total_seconds() if view.ttl else None,
                )
            )
    entity = views[features[0].feature_view].entities[0]
    return FeatureSchema(service.name, entity, use_case.join_key, tuple(features))


@contextlib.contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Whatever Feast and its drivers raise, as one error that says what didn't work."""
    try:
        yield
    except StreamFlowError:
        raise
    except Exception as error:
        raise FeatureStoreUnavailable(
            f"{what}: {type(error).__name__}: {error}.",
            "See `streamflow status`; run `streamflow apply` if it never was.",
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Feast prints and draws bars where a program's output belongs to its caller."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
