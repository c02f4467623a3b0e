"""A candidate: a model that is fitted, written as it would be served, and not registered."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamflow.errors import UnknownModel
from streamflow.progress import Progress, silent
from streamflow.training import canonical, export, fit, served_model
from streamflow.training.calibrated.estimator import CalibrationMethod
from streamflow.training.dataset import TrainingSet
from streamflow.training.dataset_table import AS_OF, LABEL
from streamflow.training.export import Proof
from streamflow.training.fit import Fitted
from streamflow.training.rows.entities import entities
from streamflow.training.search.search import Search, Searched, search
from streamflow.training.served_model import Labels, Matrix
from streamflow.training.split import Choice, Validation
from streamflow.use_case import Estimator, EstimatorBuilder, UseCase

if TYPE_CHECKING:
    import pyarrow as pa

SCORES_FILE = "validation_scores.parquet"


@dataclass(frozen=True)
class Recipe:
    """What a fit takes.

    `horizon` is the label's. With `refit`, the model that is served is fitted on all rows, and a
    twin that hasn't seen the validation rows is judged. With `calibrate`, probabilities are
    corrected. `threads` are per kind of numerical library; None leaves them alone.
    """

    training_set: TrainingSet
    build: EstimatorBuilder
    random_state: int
    validation: Validation
    horizon: timedelta = timedelta(0)
    refit: bool = False
    threads: dict[str, int] | None = None
    search: Search | None = None
    calibrate: CalibrationMethod | None = None


@dataclass(frozen=True)
class Candidate:
    """`fitted` is what is served, from the folder `served`. `judged` is what the validation rows
    judge: the same, or the twin of a model that was fitted to all rows.

    `predictions` and `probabilities` (of 1) are of `judged`, one per validation row; `scores` has a
    row for each. `searched` has the trials of a search.
    """

    fitted: Fitted
    judged: Fitted
    predictions: Labels
    probabilities: Matrix
    scores: pa.Table
    scores_hash: str
    served: Path
    model_hash: str
    proof: Proof
    searched: Searched | None = None


def make_candidate(recipe: Recipe, served: Path, progress: Progress = silent) -> Candidate:
    """Fit by the recipe, write the served form into `served` and prove it equal.

    Raises UntrainableData, UnservableModel, ServedFormDiffers.
    """
    searched = None
    with _limited(recipe.threads):
        if recipe.search is not None:
            searched = _search(recipe, recipe.search, progress)
            recipe = replace(recipe, build=searched.winner.build(recipe.search.builders))
        progress("fit")
        judged = fit.fit(
            recipe.training_set,
            recipe.build,
            recipe.random_state,
            recipe.validation,
            recipe.horizon,
            recipe.calibrate,
        )
        predictions, probabilities = judged.predict()
        fitted = judged
        if recipe.refit:
            progress("fit to all rows")
            fitted = fit.refit(judged, recipe.training_set, recipe.build)
    progress("prove the served form")
    export.write(fitted, served)
    proof = export.prove(fitted, served)
    scores = _scores(recipe.training_set, judged, predictions, probabilities)
    return Candidate(
        fitted=fitted,
        judged=judged,
        predictions=predictions,
        probabilities=probabilities,
        scores=scores,
        scores_hash=canonical.hashes(scores)[0],
        served=served,
        model_hash=served_model.digest(served),
        proof=proof,
        searched=searched,
    )


def _search(recipe: Recipe, wanted: Search, progress: Progress) -> Searched:
    parts = fit.parts_of(
        recipe.training_set, recipe.validation, recipe.horizon, recipe.random_state
    )
    return search(
        wanted,
        recipe.training_set,
        parts.training_rows,
        recipe.validation,
        recipe.horizon,
        recipe.random_state,
        progress,
    )


def _limited(threads: dict[str, int] | None) -> AbstractContextManager[object]:
    if threads is None:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limited: AbstractContextManager[object] = threadpool_limits(limits=threads)
    return limited


def _scores(
    training_set: TrainingSet, judged: Fitted, predictions: Labels, probabilities: Matrix
) -> pa.Table:
    """The validation rows in the training set's order, each with its label and its prediction."""
    order = judged.validation_rows.argsort()
    rows = judged.validation_rows[order]
    as_ofs = np.datetime_as_string(training_set.days[rows])
    names = entities(training_set.entities).of_rows(rows).array
    several = len(training_set.months) > 1
    return canonical.table(
        [
            (training_set.schema.join_key, "STRING", names),
            *([(AS_OF, "STRING", as_ofs)] if several else []),
            (LABEL, "BOOL", judged.validation_labels[order].astype(bool)),
            ("prediction", "INT64", predictions[order]),
            ("probability", "FLOAT64", probabilities[order]),
        ]
    )


def estimator_builder(use_case: UseCase, name: str) -> EstimatorBuilder:
    """The builder of the use case's model `name`. Raises UnknownModel."""
    if name not in use_case.models:
        raise UnknownModel(
            f"The use case {use_case.name!r} has no model {name!r}; it has: "
            f"{', '.join(use_case.models)}.",
            "Name one of them: `streamflow train --model NAME`.",
        )
    return use_case.models[name]


def search_of(
    use_case: UseCase,
    model: str | None,
    trials: int,
    minutes: float | None = None,
    made: int | None = None,
) -> Search:
    """The search among the use case's models, or by one of them alone. Raises UnknownModel."""
    for name in use_case.search:
        estimator_builder(use_case, name)  # a slip of the pen in the space's name is told
    names = list(use_case.models) if model is None else [model]
    builders = {name: estimator_builder(use_case, name) for name in names}
    return Search(trials, builders, use_case.search, minutes, made)


def models_of(
    use_case: UseCase, model: str | None, choice: Choice
) -> tuple[EstimatorBuilder, Search | None]:
    """What builds the model; or what it is searched among: all models where none is named.

    Raises UnknownModel.
    """
    build = estimator_builder(use_case, model or use_case.default_model)
    if choice.trials is None:
        return build, None
    return build, search_of(use_case, model, choice.trials, choice.search_minutes)


def built(recipe: Recipe, trained: Candidate | None) -> Estimator:
    """The estimator by the recipe, unfitted: of a search, that of its best trial."""
    build = recipe.build
    if recipe.search is not None and trained is not None and trained.searched is not None:
        build = trained.searched.winner.build(recipe.search.builders)
    return build(recipe.random_state)
