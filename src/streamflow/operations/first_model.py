"""From a new use case and its first month to a first version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from streamflow.history.months import labelled_months
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import MonthFiles, ingest, ingest_months
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.progress import Progress
from streamflow.training.calibrated.estimator import CalibrationMethod, TooFewToCalibrate
from streamflow.training.evaluation import auc_in_words
from streamflow.training.split import Choice

# A model of few rows promises too much or too little, for which the gate *calibration* stops it.
CALIBRATION: CalibrationMethod = "sigmoid"


@dataclass(frozen=True)
class FirstModel:
    """The first version and what is known of it. `auc` is in words, with its interval; `judged_on`
    says which rows it is of; `warnings` are those of the training."""

    version: int
    as_of: date
    rows: int
    auc: str
    judged_on: str
    warnings: tuple[str, ...]


def first_model(
    platform: Platform,
    folder: Path,
    as_of: date,
    now: datetime,
    who: str,
    progress: Progress,
    months: Sequence[MonthFiles] | None = None,
) -> FirstModel:
    """Load the month, apply the definitions, put its features online and train by the default, with
    corrected probabilities where there are rows enough of both labels.

    Of several `months`, all are loaded, and those with labels are learned from.

    Raises what these steps raise; each can be run again.
    """
    progress("ingest")
    choice = Choice(calibrate=CALIBRATION)
    if months is None:
        ingest(platform, folder, as_of, None, now, who)
    else:
        list(ingest_months(platform, months, None, now, who, progress))
        known = labelled_months(platform.database, platform.use_case, now)
        as_of, choice = known[-1] if known else as_of, replace(choice, months=max(len(known), 1))
    progress("apply")
    apply(platform)
    progress("materialize")
    materialize(platform, None if months else as_of, now)
    progress("train")
    try:
        done = train.train(platform, as_of, None, 42, now, choice=choice, who=who)
    except TooFewToCalibrate:
        plain = replace(choice, calibrate=None)
        done = train.train(platform, as_of, None, 42, now, choice=plain, who=who)
    return FirstModel(
        done.version,
        as_of,
        done.rows,
        auc_in_words(done.metrics),
        done.judged_on,
        tuple(map(str, done.warnings)),
    )
