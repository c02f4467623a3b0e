"""What would have been reported of models in the past, and what came true.

On the day after a month, a model can learn from the months whose labels are known by then. It is
fitted to all their rows; twins of it, fitted to some, are judged on the others, as a training would
report it. What comes true are its figures on the months whose labels weren't known yet. Pure: the
rows come from a function.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from streamflow.errors import UntrainableData
from streamflow.progress import Progress, silent
from streamflow.training.dataset import TrainingSet
from streamflow.training.evaluation import FEWEST_OF_A_CLASS, Evaluation, evaluate
from streamflow.training.fit import Fitted, fit, refit
from streamflow.training.rows.entities import entities
from streamflow.training.served_model import Labels, encode
from streamflow.training.split import Validation
from streamflow.training.values_seen import columns_of_rows, rows_with_unseen_values
from streamflow.use_case import EstimatorBuilder


@dataclass(frozen=True)
class Judged:
    """Figures on `rows` of these months, `positives` of them with the label true.

    `figures` is None if all rows have the same label.
    """

    months: tuple[date, ...]
    rows: int
    positives: int
    figures: Evaluation | None

    @property
    def told(self) -> Evaluation | None:
        """The figures, if enough rows of each label are behind them to tell how good a model is."""
        negatives = self.rows - self.positives
        return self.figures if min(self.positives, negatives) >= FEWEST_OF_A_CLASS else None


@dataclass(frozen=True)
class Backtested:
    """A model as it would have been made on the day after `as_of`, from these `months`.

    `at_random` and `out_of_time` are what its training would have reported; the latter needs
    several months. `came_true` has each month whose label wasn't known then, oldest first.
    `problem` says why there is no model or no report.
    """

    as_of: date
    model: str
    months: tuple[date, ...]
    at_random: Judged | None
    out_of_time: Judged | None
    came_true: tuple[Judged, ...]
    problem: str = ""

    @property
    def next(self) -> Judged | None:
        """What came true first."""
        return self.came_true[0] if self.came_true else None


@dataclass(frozen=True)
class Plan:
    """What to train and judge: at each of `as_ofs`, each of `models` (unfitted, by name).

    `months` are those of which rows with labels exist, in any order. A model learns from the newest
    `most_months` of those whose labels were known, all if None, and another from the newest alone.
    It is judged on the first `ahead` months whose labels weren't. `horizon` is how long after its
    month a label is known; `share` of the rows judge at random. Where an as_of is in `recorded`,
    labels are known of those months at most.
    """

    as_ofs: Sequence[date]
    months: Sequence[date]
    horizon: timedelta
    models: Mapping[str, EstimatorBuilder]
    random_state: int
    share: float
    most_months: int | None = None
    ahead: int | None = None
    recorded: Mapping[date, Collection[date]] = field(default_factory=dict)

    def learned_from(self, as_of: date) -> list[date]:
        """The months whose labels are known on the day after `as_of`, oldest first."""
        recorded = self.recorded.get(as_of, self.months)
        known = sorted(one for one in recorded if one + self.horizon <= as_of)
        return known[-self.most_months :] if self.most_months else known

    def judged_on(self, as_of: date) -> list[date]:
        """The first months whose labels aren't known on the day after `as_of`, oldest first."""
        later = sorted(one for one in self.months if one >= as_of and one + self.horizon > as_of)
        return later[: self.ahead]


# The rows of these months as they were known on the day after the as_of; None: as known today.
Rows = Callable[[Sequence[date], date | None], TrainingSet]


def backtest(plan: Plan, rows: Rows, progress: Progress = silent) -> Iterator[Backtested]:
    """Each model at each as_of, oldest first; from the newest month alone, then from all.

    At any time the rows of one as_of's training and of one other month are in memory.
    """
    for as_of in sorted(plan.as_ofs):
        known = plan.learned_from(as_of)
        if not known:
            for name in plan.models:
                yield Backtested(as_of, name, (), None, None, (), _nothing_known(as_of))
            continue
        made = list(_made(plan, as_of, known, rows, progress))
        came_true: list[list[Judged]] = [[] for _ in made]
        for month in plan.judged_on(as_of):
            progress(f"{as_of}: what came true in {month}")
            later = rows([month], None)
            for (_, fitted), judged in zip(made, came_true, strict=True):
                if fitted is not None:
                    judged.append(_judge(fitted, later, plan.random_state))
        for (one, _), judged in zip(made, came_true, strict=True):
            yield Backtested(
                one.as_of,
                one.model,
                one.months,
                one.at_random,
                one.out_of_time,
                tuple(judged),
                one.problem,
            )


def _nothing_known(as_of: date) -> str:
    return f"On the day after {as_of} no label was known yet."


def _made(
    plan: Plan, as_of: date, known: list[date], rows: Rows, progress: Progress
) -> Iterator[tuple[Backtested, Fitted | None]]:
    """What would have been reported, and the model; without what came true."""
    for months in dict.fromkeys([(known[-1],), tuple(known)]):
        training_set = rows(months, as_of)
        for name, build in plan.models.items():
            progress(f"{as_of}: {name} from {len(months)} month{'s' if len(months) > 1 else ''}")
            yield _one(plan, as_of, name, build, training_set)


def _one(
    plan: Plan, as_of: date, name: str, build: EstimatorBuilder, training_set: TrainingSet
) -> tuple[Backtested, Fitted | None]:
    reports: dict[str, Judged | None] = {"random": None, "out-of-time": None}
    fitted, problem, months = None, "", tuple(training_set.months)
    try:
        for method in ("random", "out-of-time") if len(months) > 1 else ("random",):
            validation = Validation(method, plan.share)
            twin = fit(training_set, build, plan.random_state, validation, plan.horizon)
            reports[method] = _reported(training_set, twin, plan.random_state)
            fitted = fitted or refit(twin, training_set, build)
    except UntrainableData as error:
        problem = error.message
    random, out_of_time = reports["random"], reports["out-of-time"]
    return Backtested(as_of, name, months, random, out_of_time, (), problem), fitted


def _reported(training_set: TrainingSet, twin: Fitted, random_state: int) -> Judged:
    predictions, probabilities = twin.predict()
    rows = twin.validation_rows
    months = tuple(np.unique(training_set.days[rows]).tolist())
    names = entities(training_set.entities).of_rows(rows)
    labels = twin.validation_labels
    return _judged(months, labels, predictions, probabilities, random_state, names)


def _judge(fitted: Fitted, later: TrainingSet, random_state: int) -> Judged:
    """The model on the rows of another month that it has a prediction for."""
    every_row = np.arange(len(later.labels))
    unseen = rows_with_unseen_values(fitted.schema, later, every_row)
    kept = np.setdiff1d(every_row, unseen)
    labels = later.label_numbers[kept]
    months = tuple(later.months)
    if not len(kept):
        return Judged(months, 0, 0, None)
    matrix = encode(fitted.schema, columns_of_rows(later, kept))
    predictions, probabilities = fitted.predict_rows(matrix)
    return _judged(months, labels, predictions, probabilities, random_state, None)


def _judged(
    months: tuple[date, ...],
    labels: Labels,
    predictions: Labels,
    probabilities: np.ndarray[tuple[int], np.dtype[np.float64]],
    random_state: int,
    entities: Sequence[str] | None,
) -> Judged:
    positives, figures = int(labels.sum()), None
    if 0 < positives < len(labels):
        figures = evaluate(labels, predictions, probabilities, random_state, entities)
    return Judged(months, len(labels), positives, figures)
