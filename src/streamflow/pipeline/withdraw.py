"""The step that takes an ingestion back."""

from __future__ import annotations

from datetime import datetime

from streamflow.history.withdrawals import withdrawal
from streamflow.platform import Platform


def withdraw(
    platform: Platform, ingestion_id: int, why: str, now: datetime, who: str
) -> withdrawal.Withdrawn:
    """Record that an ingestion doesn't count from `now` (UTC) on; see `history.withdrawal`."""
    return withdrawal.withdraw(platform.database, platform.use_case, ingestion_id, why, now, who)
