"""Settings into real collaborators: the only wiring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from streamflow import embedded
from streamflow.database import Database
from streamflow.errors import DatabaseUnavailable
from streamflow.features import sqlalchemy_url
from streamflow.migrations import migrate
from streamflow.production import InDatabase, OnServer, Production
from streamflow.registry import Registry
from streamflow.settings import Settings
from streamflow.use_case import UseCase, load_use_case

MLFLOW_SCHEMA = "mlflow"


@dataclass(frozen=True)
class Platform:
    """What the pipeline works with. `mlflow_uri` is a server's, or the database's own."""

    settings: Settings
    use_case: UseCase
    database: Database
    registry: Registry
    mlflow_uri: str
    production: Production

    @property
    def artifacts(self) -> Path:
        return self.settings.home / "mlflow"


@contextmanager
def connected(settings: Settings) -> Iterator[Database]:
    """The database as it is, while the block runs; the embedded PostgreSQL if no other is named."""
    with ExitStack() as stack:
        if settings.database_url is not None:
            url = settings.database_url.get_secret_value()
        else:
            url = stack.enter_context(embedded.running(settings.home, settings.postgres_binaries))
        yield stack.enter_context(Database(url))


@contextmanager
def platform(settings: Settings, *, even_without_database: bool = False) -> Iterator[Platform]:
    """The platform while the block runs, with the embedded PostgreSQL if no other is named.

    A server that is away may be back later: `even_without_database` leaves that to whoever asks it
    next. Raises InvalidSettings, DatabaseUnavailable, and what `migrate` does.
    """
    use_case = load_use_case(settings.use_case)
    with connected(settings) as database:
        url = database.url
        try:
            migrate(database)
        except DatabaseUnavailable:
            if not even_without_database:
                raise
        artifacts = settings.home / "mlflow"
        registry = Registry(
            # MLflow 3.17 compares version numbers with text when it moves a stage, which psycopg 3
            # refuses and psycopg 2 lets PostgreSQL decide.
            uri=settings.mlflow_tracking_uri or sqlalchemy_url(url, MLFLOW_SCHEMA, "psycopg2"),
            model=use_case.registered_model,
            artifacts=None if settings.mlflow_tracking_uri else artifacts,
            cache=settings.home / "models",
        )
        production = _production(settings, database, registry)
        yield Platform(settings, use_case, database, registry, registry.uri, production)


def _production(settings: Settings, database: Database, registry: Registry) -> Production:
    """The thinnest way to see which version is in Production."""
    uri, cache = settings.mlflow_tracking_uri, settings.home / "models"
    if uri is None:
        return InDatabase(database, registry.model, cache, registry)
    if uri.startswith(("http://", "https://")):
        return OnServer(uri, registry.model, cache, registry)
    return registry
