"""Sources of features: the histories of a use case's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
        PostgreSQLSource,
    )


def history_source(table: str) -> PostgreSQLSource:
    """Feast's source for a table of the use case: its history, with both times."""
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
        PostgreSQLSource,
    )

    return PostgreSQLSource(
        name=table,
        table=f"{table}_history",
        timestamp_field="event_timestamp",
        created_timestamp_column="recorded_at",
    )
