"""Split, fit, evaluate, explain: from a training set to a fitted estimator and what it's worth.

Pure: no file, no network, no clock but the stopwatch around `fit`, no chance but `random_state`.
The same training set, estimator and random_state give the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from streamflow.errors import UntrainableData
from streamflow.training.served_model import FeatureSchema, Labels, Matrix, encode, encoded_columns

RESAMPLES = 1000
MOST_CATEGORIES = 1000

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingSet:
    """Features and labels of one as_of, as known at `known_at` (in UTC), one row per entity.

    `entities` ascend and are unique, because the order of rows decides the split and with it every
    figure. `columns` holds per feature one Python value per entity, None for null. The categories
    in `schema` needn't be filled. Raises ValueError if that isn't so.
    """

    schema: FeatureSchema
    entities: list[str]
    columns: Mapping[str, list[Any]]
    labels: list[bool]
    as_of: date
    known_at: datetime

    def __post_init__(self) -> None:
        if not all(before < after for before, after in pairwise(self.entities)):
            raise ValueError("the entities of a training set must ascend and be unique")
        lengths = {len(self.labels), *(len(self.columns[f.name]) for f in self.schema.features)}
        if lengths != {len(self.entities)}:
            raise ValueError(f"{len(self.entities)} entities have columns of lengths {lengths}")


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator with what it was fitted on and what is left to judge it by.

    `schema` has its categories. `training_rows` and `validation_rows` are positions in the training
    set. `train_time_sec` is the one number here that another run won't repeat.
    """

    estimator: Any
    schema: FeatureSchema
    random_state: int
    training_rows: Rows
    validation_rows: Rows
    validation_matrix: Matrix
    validation_labels: Labels
    train_time_sec: float

    def predict(self) -> tuple[Labels, Matrix]:
        """The estimator's own labels and probabilities of 1, one per validation row."""
        labels = np.asarray(self.estimator.predict(self.validation_matrix), dtype=np.int64)
        probabilities = self.estimator.predict_proba(self.validation_matrix)[:, 1]
        return labels, np.asarray(probabilities, dtype=np.float64)


def fit(
    training_set: TrainingSet,
    build: Callable[[int], Any],
    random_state: int,
    validation_share: float = 0.25,
) -> Fitted:
    """Fit what `build` makes on all rows but a stratified `validation_share` of them.

    Raises UntrainableData if the training set is too small, has one class only, has a null where
    none may be, or a STRING feature with more than 1,000 values.
    """
    from sklearn.model_selection import train_test_split

    schema = with_categories(training_set)
    labels = np.asarray(training_set.labels, dtype=np.int64)
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2 or counts.min() * min(validation_share, 1 - validation_share) < 1:
        raise _too_small(training_set, int(labels.sum()))
    training_rows, validation_rows = train_test_split(
        np.arange(len(labels)),
        test_size=validation_share,
        stratify=labels,
        random_state=random_state,
    )
    matrix = encode(schema, training_set.columns)
    estimator = build(random_state)
    training_matrix, training_labels = matrix[training_rows], labels[training_rows]
    started = time.perf_counter()
    estimator.fit(training_matrix, training_labels)
    train_time_sec = time.perf_counter() - started
    return Fitted(
        estimator=estimator,
        schema=schema,
        random_state=random_state,
        training_rows=training_rows,
        validation_rows=validation_rows,
        validation_matrix=matrix[validation_rows],
        validation_labels=labels[validation_rows],
        train_time_sec=train_time_sec,
    )


def with_categories(training_set: TrainingSet) -> FeatureSchema:
    """The training set's schema with the categories that its STRING features take, sorted.

    Raises UntrainableData for a null where none may be and for more than 1,000 categories.
    """
    features = []
    for feature in training_set.schema.features:
        values = training_set.columns[feature.name]
        nulls = sum(value is None or value != value for value in values)
        if nulls and not feature.nullable:
            raise UntrainableData(
                f"Feature {feature.name!r} is null for {nulls:,} of {len(values):,} entities at "
                f"{training_set.as_of}, and its contract allows no null.",
                "Load the month's complete tables with `streamflow ingest`, "
                "or make the column nullable in its table's contract.",
            )
        if feature.type == "STRING":
            categories = {value for value in values if value is not None and value == value}
            if len(categories) > MOST_CATEGORIES:
                raise UntrainableData(
                    f"Feature {feature.name!r} takes {len(categories):,} values at "
                    f"{training_set.as_of}; up to {MOST_CATEGORIES:,} can be learnt from.",
                    "Take it out of the feature service, or group its values in the feature view.",
                )
            feature = replace(feature, categories=tuple(sorted(categories)))
        features.append(feature)
    return replace(training_set.schema, features=tuple(features))


def _too_small(training_set: TrainingSet, positives: int) -> UntrainableData:
    rows = len(training_set.labels)
    return UntrainableData(
        f"The training set at {training_set.as_of} has {rows:,} rows, {positives:,} of them "
        f"with the label true and {rows - positives:,} with false: too few to learn and to judge.",
        "Choose an --as-of with more labels, or load them with `streamflow ingest`.",
    )


@dataclass(frozen=True)
class Evaluation:
    """How good scores are on rows that training didn't see.

    `auc_low` and `auc_high` bound the AUC's 95 % interval over resamples of these rows. `f1` and
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
        return asdict(self)


def evaluate(
    labels: Labels, predictions: Labels, probabilities: Matrix, random_state: int
) -> Evaluation:
    """Compare `predictions` and `probabilities` of 1 with the true `labels` (0 or 1).

    Raises UntrainableData if `labels` are of one class, where an AUC doesn't exist.
    """
    from sklearn import metrics

    if len(np.unique(labels)) < 2:
        raise UntrainableData(
            f"All {len(labels):,} rows to evaluate on have the same label.",
            "Choose an --as-of with both labels.",
        )
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


def auc_interval(labels: Labels, probabilities: Matrix, random_state: int) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the AUC over 1,000 resamples of the rows.

    Each class is resampled for itself, as the split is stratified. A resample only has to count how
    often each score was drawn per class; scores are ranked once.
    """
    scores, rank = np.unique(probabilities, return_inverse=True)
    positive, negative = rank[labels == 1], rank[labels == 0]
    random = np.random.default_rng(random_state)
    twice_won = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = positive[random.integers(0, len(positive), len(positive))]
        above = np.bincount(drawn, minlength=len(scores))
        drawn = negative[random.integers(0, len(negative), len(negative))]
        below = np.bincount(drawn, minlength=len(scores))
        # A positive wins over the negatives below it, and half over those that score the same.
        # In whole numbers, so that the order of summing can't show.
        twice_won[i] = above @ (2 * np.cumsum(below) - below)
    areas = twice_won / (2 * len(positive) * len(negative))
    low, high = np.percentile(areas, [2.5, 97.5])
    return float(low), float(high)


def explain(fitted: Fitted) -> dict[str, float]:
    """Each feature's share of what the model relies on, greatest first; the shares sum to 1.

    It's the model's own importances, or the size of its weights times their columns' standard
    deviations, or (if it has neither) the AUC lost when the feature's values are shuffled.
    """
    names = [feature.name for feature in fitted.schema.features]
    blocks = encoded_columns(fitted.schema)
    per_column = _column_importances(fitted)
    if per_column is not None:
        totals = [float(per_column[block].sum()) for block in blocks]
    else:
        totals = _permutation_importances(fitted, blocks)
    whole = sum(totals)
    shares = [total / whole if whole else 0.0 for total in totals]
    ranked = sorted(range(len(names)), key=lambda i: (-shares[i], i))
    return {names[i]: shares[i] for i in ranked}


def _column_importances(fitted: Fitted) -> Matrix | None:
    matrix = fitted.validation_matrix
    steps = [step for _, step in getattr(fitted.estimator, "steps", [])] or [fitted.estimator]
    for step in steps[:-1]:
        if step not in (None, "passthrough"):
            matrix = step.transform(matrix)
    columns = fitted.validation_matrix.shape[1]
    if hasattr(steps[-1], "feature_importances_"):
        importances = np.asarray(steps[-1].feature_importances_, dtype=np.float64)
    elif hasattr(steps[-1], "coef_"):
        importances = np.abs(np.ravel(steps[-1].coef_)) * np.std(matrix, axis=0)
    else:
        return None
    # Steps that select or derive columns leave nothing to sum per feature.
    return importances if importances.shape == (columns,) else None


def _permutation_importances(fitted: Fitted, blocks: list[slice], repeats: int = 5) -> list[float]:
    from sklearn.metrics import roc_auc_score

    def auc(matrix: Matrix) -> float:
        scores = fitted.estimator.predict_proba(matrix)[:, 1]
        return float(roc_auc_score(fitted.validation_labels, scores))

    random = np.random.default_rng(fitted.random_state)
    whole, losses = auc(fitted.validation_matrix), []
    for block in blocks:
        areas = []
        for _ in range(repeats):
            shuffled = fitted.validation_matrix.copy()
            shuffled[:, block] = shuffled[random.permutation(len(shuffled)), block]
            areas.append(auc(shuffled))
        losses.append(max(0.0, whole - float(np.mean(areas))))
    return losses
