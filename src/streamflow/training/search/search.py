"""Trials of models and parameters by Optuna's sampler, seeded; the best on inner folds wins.

Pure but for the stopwatch between trials. The same rows, space, seed and number of trials give the
same trials and the same winner.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamflow.errors import InvalidSettings, UntrainableData
from streamflow.progress import Progress, silent
from streamflow.training.columns.estimator import with_columns
from streamflow.training.dataset import TrainingSet
from streamflow.training.search.folds import Folds, folds
from streamflow.training.served_model import FeatureSchema, Labels, Matrix, encode
from streamflow.training.split import Split, Validation
from streamflow.training.values_seen import RowNumbers, columns_of_rows, with_values_seen
from streamflow.use_case import Estimator, EstimatorBuilder, OneOf, Range, SearchSpace, inner
from streamflow.use_case.findings import one_line
from streamflow.use_case.search_space import ParameterValue

if TYPE_CHECKING:
    from datetime import timedelta

    from optuna import Trial as OptunaTrial


@dataclass(frozen=True)
class Search:
    """What is searched: so many `trials`, or those that begin within `minutes`; at least one.

    `builders` and `spaces` are by model. Each model is tried first as it is built. `made` is how
    many trials an earlier search by the same definition made, which this one is to repeat.
    """

    trials: int
    builders: Mapping[str, EstimatorBuilder]
    spaces: Mapping[str, SearchSpace]
    minutes: float | None = None
    made: int | None = None


@dataclass(frozen=True)
class Trial:
    """A model with the parameters that differ from how it is built, and its AUC on each fold.

    `failure` says why there is none.
    """

    number: int
    model: str
    parameters: dict[str, ParameterValue]
    aucs: tuple[float, ...] = ()
    failure: str = ""

    @property
    def auc(self) -> float:
        """The mean over the folds; -1 for a trial that failed."""
        return float(np.mean(self.aucs)) if self.aucs else -1.0

    def build(self, builders: Mapping[str, EstimatorBuilder]) -> EstimatorBuilder:
        """What builds the trial's estimator."""
        return _with_parameters(builders[self.model], self.parameters)


@dataclass(frozen=True)
class Searched:
    """The trials in their order, and the best of them; of equal ones the first."""

    trials: tuple[Trial, ...]
    winner: Trial
    folds: str


def search(
    wanted: Search,
    training_set: TrainingSet,
    rows: RowNumbers,
    validation: Validation,
    horizon: timedelta,
    random_state: int,
    progress: Progress = silent,
) -> Searched:
    """Try models and parameters on folds of `rows` alone, the training rows.

    Raises UntrainableData if the rows can't be divided or no trial can be fitted, InvalidSettings
    for a parameter that an estimator doesn't have.
    """
    labels = training_set.label_numbers
    parts = folds(
        *(validation, training_set.entities, training_set.as_ofs, labels),
        *(horizon, random_state, rows),
    )
    if not parts.splits:
        raise UntrainableData(
            f"The {len(rows):,} rows to train on can't be divided for a search: there are too few "
            "of one label.",
            "Train without --search, or take in more months with `--months`.",
        )
    _require_parameters(wanted)
    schema = with_values_seen(training_set, rows)
    matrix = encode(schema, columns_of_rows(training_set, rows))
    judge = _Judge(schema, matrix, labels[rows], _within(parts, rows), random_state)
    trials: list[Trial] = []
    began = time.monotonic()
    sampler = _Sampler(wanted, random_state)
    # Without a space each model is tried once.
    most = wanted.trials if sampler.searches else min(wanted.trials, len(wanted.builders))
    most = min(most, wanted.made or most)
    limit = math.inf if wanted.minutes is None or wanted.made else wanted.minutes * 60
    while len(trials) < most:
        if trials and time.monotonic() - began >= limit:
            break
        number = len(trials)
        progress(f"trial {number + 1} of {most}")
        trials.append(judge(sampler.trial(number), wanted.builders))
        sampler.tell(trials[-1])
    winner = max(trials, key=lambda one: (one.auc, -one.number))
    if not winner.aucs:
        raise UntrainableData(
            f"None of {len(trials)} trials could be fitted; the first: {trials[0].failure}.",
            "Correct the use case's models and search.",
        )
    return Searched(tuple(trials), winner, parts.said)


def _within(parts: Folds, rows: RowNumbers) -> tuple[Split, ...]:
    """The splits by positions among `rows`, which ascend or not."""
    order = np.argsort(rows)
    place = {row: int(position) for row, position in zip(rows[order].tolist(), order, strict=True)}

    def places(chosen: RowNumbers) -> RowNumbers:
        return np.array([place[row] for row in chosen.tolist()], dtype=np.int64)

    return tuple(
        Split(places(one.training_rows), places(one.validation_rows)) for one in parts.splits
    )


@dataclass(frozen=True)
class _Judge:
    schema: FeatureSchema
    matrix: Matrix
    labels: Labels
    splits: tuple[Split, ...]
    random_state: int

    def __call__(self, trial: Trial, builders: Mapping[str, EstimatorBuilder]) -> Trial:
        from sklearn.metrics import roc_auc_score

        build, aucs = trial.build(builders), []
        for split in self.splits:
            training, judging = split.training_rows, split.validation_rows
            try:
                estimator = with_columns(build(self.random_state), self.schema)
                estimator.fit(self.matrix[training], self.labels[training])
                scores = estimator.predict_proba(self.matrix[judging])[:, 1]
                aucs.append(float(roc_auc_score(self.labels[judging], scores)))
            except Exception as error:  # a team's estimator, with values that it may not take
                return Trial(trial.number, trial.model, trial.parameters, (), one_line(error))
        return Trial(trial.number, trial.model, trial.parameters, tuple(aucs))


class _Sampler:
    """Each model as it is built, then Optuna's choices among models and parameters."""

    def __init__(self, wanted: Search, random_state: int) -> None:
        self._models = list(wanted.builders)
        self._searched = [one for one in self._models if wanted.spaces.get(one)]
        self._spaces = wanted.spaces
        self._asked: OptunaTrial | None = None
        self._study: Any = None
        if self._searched:
            import optuna

            optuna.logging.set_verbosity(optuna.logging.WARNING)
            sampler = optuna.samplers.TPESampler(seed=random_state)
            self._study = optuna.create_study(direction="maximize", sampler=sampler)

    @property
    def searches(self) -> bool:
        """Whether a model has a space."""
        return self._study is not None

    def trial(self, number: int) -> Trial:
        """The next trial, not judged yet."""
        if number < len(self._models):
            return Trial(number, self._models[number], {})
        asked: OptunaTrial = self._study.ask()
        self._asked = asked
        model = self._searched[0]
        if len(self._searched) > 1:
            model = asked.suggest_categorical("model", self._searched)
        chosen = {
            name: _suggested(asked, f"{model}.{name}", values)
            for name, values in self._spaces[model].items()
        }
        return Trial(number, model, chosen)

    def tell(self, trial: Trial) -> None:
        """What came of the trial that was asked for last."""
        if self._asked is None:
            return
        from optuna.trial import TrialState

        if trial.aucs:
            self._study.tell(self._asked, trial.auc)
        else:
            self._study.tell(self._asked, state=TrialState.FAIL)
        self._asked = None


def _suggested(asked: OptunaTrial, name: str, values: Range | OneOf) -> ParameterValue:
    if isinstance(values, OneOf):
        # By position: values may be of several types, and None.
        return values.values[asked.suggest_categorical(name, list(range(len(values.values))))]
    if values.whole:
        return asked.suggest_int(name, int(values.low), int(values.high), log=values.log)
    return asked.suggest_float(name, values.low, values.high, log=values.log)


def _with_parameters(
    build: EstimatorBuilder, parameters: Mapping[str, ParameterValue]
) -> EstimatorBuilder:
    if not parameters:
        return build

    def tuned(random_state: int) -> Estimator:
        return build(random_state).set_params(**parameters)

    return tuned


def _require_parameters(wanted: Search) -> None:
    for model, space in wanted.spaces.items():
        if model not in wanted.builders:
            continue
        there = wanted.builders[model](0).get_params()
        if strange := [name for name in space if name not in there]:
            raise InvalidSettings(
                f"The search space of {model!r} has the parameter {strange[0]!r}, which "
                f"{type(inner(wanted.builders[model](0))).__name__} doesn't have.",
                f"Use one of {', '.join(sorted(there))}.",
            )
