"""The query of the point-in-time join, in place of the one that Feast's own store makes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from types import FunctionType
from typing import Any

from feast.infra.offline_stores.contrib.postgres_offline_store.postgres import (
    PostgreSQLOfflineStore,
    PostgreSQLRetrievalJob,
)

# Private parts of Feast used in this module: the name of the template of its point-in-time join and
# what is rendered into it, and the name of its function for the range of event timestamps.


def point_in_time_join(moment: datetime | None = None) -> Callable[..., PostgreSQLRetrievalJob]:
    """Feast's `get_historical_features` with our query in place of its own.

    `moment` is the event timestamp of all entity rows, where it is known beforehand: then they
    aren't read once more to find it, and PostgreSQL finds the rows of features by it.
    """
    theirs = PostgreSQLOfflineStore.get_historical_features
    names: dict[str, Any] = {
        **theirs.__globals__,
        "MULTIPLE_FEATURE_VIEW_POINT_IN_TIME_JOIN": _template(),
    }
    if moment is not None:
        text = moment.astimezone(UTC).isoformat()
        names["MULTIPLE_FEATURE_VIEW_POINT_IN_TIME_JOIN"] = (
            f"{{%- set moment = '{text}' -%}}{_template()}"
        )
        names["_get_entity_df_event_timestamp_range"] = lambda *_: (moment, moment)
    ours = FunctionType(theirs.__code__, names, theirs.__name__, theirs.__defaults__)
    ours.__kwdefaults__ = theirs.__kwdefaults__
    return ours


@cache
def _template() -> str:
    """Feast takes it from its module's names."""
    return files("feast_postgres").joinpath("point_in_time.sql").read_text(encoding="utf-8")
