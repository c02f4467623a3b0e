"""Where features come from: the history of a use case's table."""

from __future__ import annotations

from typing import Any


def history_source(table: str) -> Any:
    """The Feast source of a use case's table: its history, with both time axes."""
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
        PostgreSQLSource,
    )

    return PostgreSQLSource(
        name=table,
        table=f"{table}_history",
        timestamp_field="event_timestamp",
        created_timestamp_column="recorded_at",
    )
