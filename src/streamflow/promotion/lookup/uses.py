"""What each version served: how many predictions, the first and the last one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from streamflow.postgres.database import Database
from streamflow.serving.prediction_log_partitions import count_days


@dataclass(frozen=True)
class VersionUse:
    """Predictions of one version with one model; the times (UTC) are of the first and the last."""

    version: int
    model_hash: str
    predictions: int
    first_at: datetime
    last_at: datetime


def uses(database: Database, model: str, today: date) -> list[VersionUse]:
    """What each version of the model served, as far as it is known; by version.

    The last two days are counted each time: rows may still come.
    """
    count_days(database, today - timedelta(days=1))
    return [VersionUse(**row) for row in database.rows("served_model_uses", model=model)]
