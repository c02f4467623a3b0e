"""A candidate: a model that is fitted, written as it would be served, and not registered."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.errors import UnknownModel
from streamflow.progress import Progress, silent
from streamflow.training import canonical, export, fit, served_model
from streamflow.training.dataset import TrainingSet
from streamflow.training.dataset_table import LABEL
from streamflow.training.export import Proof
from streamflow.training.fit import Fitted
from streamflow.training.served_model import Labels, Matrix
from streamflow.use_case import EstimatorBuilder, UseCase

if TYPE_CHECKING:
    import pyarrow as pa

SCORES_FILE = "validation_scores.parquet"


@dataclass(frozen=True)
class Recipe:
    """What a fit takes. `threads` are per kind of numerical library; None leaves them alone."""

    training_set: TrainingSet
    build: EstimatorBuilder
    random_state: int
    validation_share: float
    threads: dict[str, int] | None = None


@dataclass(frozen=True)
class Candidate:
    """`served` is the folder with the served form; `scores` has a row per validation row.

    `predictions` and `probabilities` (of 1) are the estimator's, one per validation row.
    """

    fitted: Fitted
    predictions: Labels
    probabilities: Matrix
    scores: pa.Table
    scores_hash: str
    served: Path
    model_hash: str
    proof: Proof


def make_candidate(recipe: Recipe, served: Path, progress: Progress = silent) -> Candidate:
    """Fit by the recipe, write the served form into `served` and prove it equal.

    Raises UntrainableData, UnservableModel, ServedFormDiffers.
    """
    progress("fit")
    with _limited(recipe.threads):
        fitted = fit.fit(
            recipe.training_set, recipe.build, recipe.random_state, recipe.validation_share
        )
        predictions, probabilities = fitted.predict()
    progress("prove the served form")
    export.write(fitted, served)
    proof = export.prove(fitted, served)
    scores = _scores(recipe.training_set, fitted, predictions, probabilities)
    return Candidate(
        fitted=fitted,
        predictions=predictions,
        probabilities=probabilities,
        scores=scores,
        scores_hash=canonical.hashes(scores)[0],
        served=served,
        model_hash=served_model.digest(served),
        proof=proof,
    )


def _limited(threads: dict[str, int] | None) -> AbstractContextManager[object]:
    if threads is None:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limited: AbstractContextManager[object] = threadpool_limits(limits=threads)
    return limited


def _scores(
    training_set: TrainingSet, fitted: Fitted, predictions: Labels, probabilities: Matrix
) -> pa.Table:
    """The validation rows, sorted by entity, each with its label and the model's prediction."""
    order = fitted.validation_rows.argsort()
    entities = [training_set.entities[row] for row in fitted.validation_rows[order]]
    return canonical.table(
        [
            (training_set.schema.join_key, "STRING", entities),
            (LABEL, "BOOL", fitted.validation_labels[order].astype(bool)),
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
