"""The step that gives the rows that a training would learn from, without training."""

from __future__ import annotations

from datetime import date, datetime

from streamflow.features import point_in_time, use_case_check
from streamflow.features.point_in_time import Assembled
from streamflow.history.months import months_up_to, require_past
from streamflow.platform import Platform
from streamflow.progress import Progress, silent


def training_set(
    platform: Platform,
    as_of: date,
    now: datetime,
    progress: Progress = silent,
    *,
    months: int | None = None,
    since: date | None = None,
    known_at: datetime | None = None,
) -> Assembled:
    """The training set that `train` has for the same arguments, with the same order and hash.

    It is of `as_of` alone; of so many `months` up to it; or of all months from `since` on. Only
    rows that were recorded by `known_at` (UTC; `now` if it is None) are used.
    Raises KnownAtRefused, AsOfRefused, LabelsNotMatured, UntrainableData, FeatureStoreUnavailable.
    """
    known_at = known_at or now
    require_past(known_at, now)
    use_case_check.require_usable(platform.use_case)
    database, use_case = platform.database, platform.use_case
    wanted = months_up_to(database, use_case, as_of, known_at, months, since)
    progress("point-in-time join")
    return point_in_time.assemble(platform.history, use_case, wanted, known_at)
