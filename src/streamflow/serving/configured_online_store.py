"""Which online store the settings name."""

from __future__ import annotations

from streamflow.postgres.database import Database
from streamflow.serving.online_store import OnlineStore
from streamflow.settings import Settings
from streamflow.use_case import UseCase

# A whole prediction may take the latency budget: after this many times that, nobody waits for a
# part of it any more. But a cold disk may take a second.
_BUDGETS = 4
_LEAST_PATIENCE_SECONDS = 1.0


def configured_online_store(
    settings: Settings, database: Database, use_case: UseCase
) -> OnlineStore:
    """The online store that the settings name; without a name, our own tables in `database`."""
    if settings.online_store is None:
        from streamflow.serving.postgres_online_store import PostgresStore

        patience = max(_LEAST_PATIENCE_SECONDS, _BUDGETS * settings.latency_budget_ms / 1000)
        return PostgresStore(database, use_case, patience)
    from streamflow.serving.feast_online_store import FeastStore

    return FeastStore(settings.online_store, database, use_case)
