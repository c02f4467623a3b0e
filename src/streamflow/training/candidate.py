"""A model that was fitted and written as it would be served, and belongs to no run yet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamflow.training import canonical, export, fit, served_model
from streamflow.training.export import Proof
from streamflow.training.fit import Fitted, TrainingSet
from streamflow.training.served_model import Labels, Matrix

SCORES_FILE = "validation_scores.parquet"


@dataclass(frozen=True)
class Recipe:
    """What a fit takes. `threads` are per kind of numerical library; None leaves them as they are.

    `build` makes the unfitted estimator from a random_state.
    """

    training_set: TrainingSet
    build: Callable[[int], Any]
    random_state: int
    validation_share: float
    threads: dict[str, int] | None = None


@dataclass(frozen=True)
class Candidate:
    """`served` is the folder with the served form; `scores` has a row per validation row."""

    fitted: Fitted
    predictions: Labels
    probabilities: Matrix
    scores: Any
    scores_hash: str
    served: Path
    model_hash: str
    proof: Proof


def make(
    recipe: Recipe, served: Path, progress: Callable[[str], None] = lambda step: None
) -> Candidate:
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


def _limited(threads: dict[str, int] | None) -> Any:
    if threads is None:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=threads)


def _scores(
    training_set: TrainingSet, fitted: Fitted, predictions: Labels, probabilities: Matrix
) -> Any:
    """The validation rows, sorted by entity: the label, and what the model says of it."""
    order = fitted.validation_rows.argsort()
    entities = [training_set.entities[row] for row in fitted.validation_rows[order]]
    return canonical.table(
        [
            (training_set.schema.join_key, "STRING", entities),
            ("label", "BOOL", fitted.validation_labels[order].astype(bool)),
            ("prediction", "INT64", predictions[order]),
            ("probability", "FLOAT64", probabilities[order]),
        ]
    )
