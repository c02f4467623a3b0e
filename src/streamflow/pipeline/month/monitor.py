"""The step that monitors a month: what has moved, what came true, and whether to train again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from streamflow.errors import NoProductionModel
from streamflow.history.months import require_month, require_past
from streamflow.monitoring import month, recorded
from streamflow.monitoring.recorded import Monitored
from streamflow.pipeline.month.online_skew import online_skew
from streamflow.platform import Platform
from streamflow.progress import Progress, silent


@dataclass(frozen=True)
class MonitorResult:
    """The monitoring of a month; `added` is False if the newest one said the same already."""

    monitored: Monitored
    added: bool


def monitor(
    platform: Platform,
    as_of: date,
    now: datetime,
    progress: Progress = silent,
    known_at: datetime | None = None,
    version: int | None = None,
) -> MonitorResult:
    """Compare the month `as_of` with the months that the version learned from and with the month
    before it, and record figures, alarms and advice.

    The version is the one in Production without `version`. Rows, labels and scores are those that
    were known at `known_at` (UTC; `now` if it is None). The same again adds nothing.
    Raises NoProductionModel, UnknownVersion, NoLineage, KnownAtRefused, AsOfRefused,
    MlflowUnavailable, FeatureStoreUnavailable.
    """
    known_at = known_at or now
    require_past(known_at, now)
    require_month(platform.database, platform.use_case, as_of, known_at)
    if version is None:
        serves = platform.production.production()
        if serves is None:
            raise NoProductionModel(platform.registry.model)
        version = serves.version
    made = month.monitored(
        platform,
        platform.registry.version(version),
        as_of,
        known_at,
        now,
        lambda since: online_skew(platform, since, known_at),
        progress,
    )
    progress("record")
    kept = recorded.record(platform.database, made)
    return MonitorResult(kept, added=kept.made_at == made.made_at)
