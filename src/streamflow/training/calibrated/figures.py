"""What a correction of probabilities has changed, on the rows that judge the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamflow.training.calibrated.estimator import CalibrationMethod, fold_count
from streamflow.training.fit import Fitted
from streamflow.training.served_model import Matrix
from streamflow.training.statistics.calibration import calibration


@dataclass(frozen=True)
class CalibrationFigures:
    """Brier score and calibration error with the correction, and `before` without it.

    They are of the validation rows, which had no part in it. `error` is as in the gate
    *calibration*: a root mean square over ten bins, without what chance adds.
    """

    method: CalibrationMethod
    folds: int
    brier_before: float
    brier: float
    error_before: float
    error: float

    def as_metrics(self) -> dict[str, float]:
        """The figures by the names that MLflow stores them under."""
        return {
            "brier_uncalibrated": self.brier_before,
            "calibration_error": self.error,
            "calibration_error_uncalibrated": self.error_before,
        }


def calibration_figures(
    judged: Fitted, probabilities: Matrix, entities: Sequence[str], random_state: int
) -> CalibrationFigures | None:
    """Those of the validation rows, whose `probabilities` are corrected; None if none are."""
    if judged.calibrate is None:
        return None
    _, without = judged.uncalibrated.predict()
    before, after = (
        calibration(judged.validation_labels, scores, entities, random_state)
        for scores in (without, probabilities)
    )
    return CalibrationFigures(
        method=judged.calibrate,
        folds=fold_count(judged.estimator),
        brier_before=before.brier,
        brier=after.brier,
        error_before=before.error.value,
        error=after.error.value,
    )
