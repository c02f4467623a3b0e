"""How good a model's scores are, with the interval of its AUC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from streamflow.errors import UntrainableData
from streamflow.training.served_model import Labels, Matrix
from streamflow.training.statistics.ranked_scores import RankedScores
from streamflow.training.statistics.resamples import (
    Times,
    have_several_rows,
    resamples_of_entities,
    resamples_of_rows,
)

# With fewer rows of a class, resamples are too much alike to show what is due to chance.
FEWEST_OF_A_CLASS = 10


@dataclass(frozen=True)
class Evaluation:
    """How good scores are on rows that training didn't see.

    `auc_low` and `auc_high` bound the AUC's 95 % interval over resamples of these rows; they are 0
    and 1 where too few rows have one of the labels to tell (see `too_few_to_tell`). `f1` and
    `accuracy` are of the estimator's own labels (the greater probability; a tie is 0).
    """

    auc: float
    auc_low: float
    auc_high: float
    f1: float
    accuracy: float
    average_precision: float
    log_loss: float
    brier: float

    def as_metrics(self) -> dict[str, float]:
        """The figures by the names that MLflow stores them under."""
        return asdict(self)


def evaluate(
    labels: Labels,
    predictions: Labels,
    probabilities: Matrix,
    random_state: int,
    entities: Sequence[str] | None = None,
) -> Evaluation:
    """Compare `predictions` and `probabilities` of 1 with the true `labels` (0 or 1).

    `entities` names each row's entity where one may have several rows (months): the interval then
    resamples entities, because the rows of one aren't independent of each other. Raises
    UntrainableData if `labels` are of one class, where an AUC doesn't exist.
    """
    from sklearn import metrics

    if len(np.unique(labels)) < 2:
        raise UntrainableData(
            f"All {len(labels):,} rows to evaluate on have the same label.",
            "Choose an --as-of with both labels.",
        )
    low, high = 0.0, 1.0
    if not too_few_to_tell(labels):
        if entities is not None and have_several_rows(entities):
            low, high = auc_interval_of_entities(labels, probabilities, entities, random_state)
        else:
            low, high = auc_interval(labels, probabilities, random_state)
    return Evaluation(
        auc=float(metrics.roc_auc_score(labels, probabilities)),
        auc_low=low,
        auc_high=high,
        f1=float(metrics.f1_score(labels, predictions, zero_division=0.0)),
        accuracy=float(metrics.accuracy_score(labels, predictions)),
        average_precision=float(metrics.average_precision_score(labels, probabilities)),
        log_loss=float(metrics.log_loss(labels, probabilities)),
        brier=float(metrics.brier_score_loss(labels, probabilities)),
    )


def too_few_to_tell(labels: Labels) -> list[str]:
    """The sentence that so few `labels` (0 or 1) can't tell how good a model is, if that is so."""
    positives = int(np.sum(labels == 1))
    negatives = len(labels) - positives
    if min(positives, negatives) >= FEWEST_OF_A_CLASS:
        return []
    return [
        f"How good the model is can't be told: only {positives:,} rows with the label true and "
        f"{negatives:,} with false judge it, {FEWEST_OF_A_CLASS} of each are needed."
    ]


def can_tell(figures: Mapping[str, float]) -> bool:
    """Whether enough rows of each label were behind the figures, named as MLflow stores them.

    Figures without an interval were measured before there was one: then it isn't known.
    """
    return (figures.get("auc_low", 0.5), figures.get("auc_high", 0.5)) != (0.0, 1.0)


def auc_in_words(figures: Mapping[str, float]) -> str:
    """The AUC with its interval, or that it can't be told; `figures` as MLflow stores them."""
    if "auc" not in figures:
        return "not measured"
    auc = f"{figures['auc']:.4f}"
    if not can_tell(figures):
        return f"can't tell ({auc} by fewer than {FEWEST_OF_A_CLASS} rows of a label)"
    if "auc_low" not in figures or "auc_high" not in figures:
        return auc
    return f"{auc} ({figures['auc_low']:.4f} to {figures['auc_high']:.4f})"


def auc_interval(labels: Labels, probabilities: Matrix, random_state: int) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the AUC over 1,000 resamples of the rows.

    Each class is resampled for itself, as the split is stratified.
    """
    return _interval(labels, probabilities, resamples_of_rows(labels, random_state))


def auc_interval_of_entities(
    labels: Labels, probabilities: Matrix, entities: Sequence[str], random_state: int
) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the AUC over 1,000 resamples of the entities.

    An entity that is drawn brings all its rows. A resample without both labels has no AUC and is
    left out.
    """
    return _interval(labels, probabilities, resamples_of_entities(entities, random_state))


def _interval(labels: Labels, probabilities: Matrix, drawn: Iterable[Times]) -> tuple[float, float]:
    ranked = RankedScores(labels, probabilities)
    areas = [auc for times in drawn if (auc := ranked.counted(times).auc) is not None]
    low, high = np.percentile(areas, [2.5, 97.5])
    return float(low), float(high)
