"""The rule about what is expected of the scores before labels are there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from streamflow.monitoring.alarm import Alarm, Figure, Severity
from streamflow.monitoring.rules.quality import Promised
from streamflow.monitoring.statistics.estimate import Calibrator, Estimate
from streamflow.use_case import Monitoring

# Alarms after which scores needn't be calibrated any more: values unlike those of before.
UNLIKE = ("missing", "categories", "unit", "scale", "range")


def estimated(
    as_of: date,
    found: Estimate | None,
    calibrated: Calibrator | None,
    promise: Promised,
    entities: str,
    raised: Sequence[Alarm],
    level: float,
    bounds: Monitoring,
) -> tuple[list[Figure], list[Alarm]]:
    """The estimate's figures, and the alarm that it is lower than was promised.

    `doubts` among the figures say why it isn't to be believed; with one, no alarm is raised.
    `raised` are the alarms about features.
    """
    from scipy.stats import norm

    what = f"all {entities}"
    doubts = _doubts(found, calibrated, raised)
    figures = {
        "month": as_of.isoformat(),
        "doubts": doubts,
        "calibrated_on": calibrated.rows if calibrated else 0,
    }
    if found is None or calibrated is None:
        return [Figure("estimate", what, "", figures)], []
    figures |= {
        **found.figures.as_metrics(),
        "share_true": found.share_true,
        "recalibrated": calibrated.needed,
        "offset": calibrated.offset,
        "slope": calibrated.slope,
    }
    alarms = []
    bound, auc = bounds.estimate, found.figures.auc
    if bound is not None and promise.auc is not None and not doubts:
        lower = promise.auc - auc
        error = float(np.hypot(found.standard_error, promise.standard_error))
        if lower >= bound and (not error or norm.sf(lower / error) <= level):
            said = (
                f"{what}: the AUC of {as_of} is estimated to be {auc:.3f}, {promise.auc:.3f} was "
                "promised; labels aren't there yet."
            )
            severity: Severity = "critical" if lower >= 2 * bound else "warning"
            alarms.append(Alarm("estimate", what, severity, lower, bound, "", said))
    return [Figure("estimate", what, "", figures)], alarms


def _doubts(
    found: Estimate | None, calibrated: Calibrator | None, raised: Sequence[Alarm]
) -> list[str]:
    doubts = []
    if calibrated is None:
        doubts.append("Too few rows with labels are there that the model wasn't fitted to.")
    elif found is None:
        doubts.append("Too few rows of a label are expected.")
    unlike = sorted({one.what for one in raised if one.rule in UNLIKE})
    if unlike:
        doubts.append(
            f"The scores were calibrated on other values of {', '.join(unlike)} than there are now."
        )
    worse = [one for one in raised if one.rule in ("quality", "calibration")]
    if worse:
        doubts.append("What came true differs from what the scores say, so they aren't calibrated.")
    return doubts
