"""Promotions in tests that are about something else than the gates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.promotion import promote as promotion
from streamflow.promotion.gates.result import GateReport
from streamflow.promotion.promote import Promoted
from streamflow.promotion.rival import rival
from streamflow.use_case import Gates

# For commands and processes: all gates are evaluated, and few of them can stop a version.
LENIENT = Gates(
    auc_margin=None,
    average_precision_margin=None,
    calibration_error=None,
    segment_auc_margin=None,
    segment_calibration_margin=None,
    one_row_ms=None,
    thousand_rows_ms=None,
    latency_ratio=None,
    recreated="show",
)


def let_through(
    platform: Platform,
    version: int,
    promoter: str | None,
    now: datetime,
    progress: Progress = silent,
    overrides: Mapping[str, str] | None = None,
) -> GateReport:
    """No gate is evaluated, and none stops the version."""
    serves = rival(platform)
    return GateReport(version, serves.version if serves else None, ())


def promote(
    platform: Platform,
    version: int,
    to_stage: str,
    why: str,
    who: str,
    now: datetime,
    **how: Any,
) -> Promoted:
    """Move the version to the stage without asking the gates."""
    return promotion.promote(
        *(platform, version, to_stage, why, who, now), **{"check": let_through, **how}
    )


def rollback(
    platform: Platform, why: str, who: str, now: datetime, leaving: int | None = None
) -> Promoted:
    """Bring back the version before without asking the gates."""
    return promotion.rollback(platform, why, who, now, check=let_through, leaving=leaving)
