"""What the validation rows say of a model, as a whole and month by month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from streamflow.training.calibrated.figures import CalibrationFigures, calibration_figures
from streamflow.training.candidate import Candidate, Recipe
from streamflow.training.evaluation import Evaluation, evaluate
from streamflow.training.rows.entities import entities
from streamflow.training.split import judged_on


@dataclass(frozen=True)
class Judgement:
    """`judged_on` says in words which rows the figures are of, and what they say.

    `by_month` is empty where the rows are of one month, and lacks a month whose rows all have the
    same label. `calibrated` says what a correction of the probabilities has changed.
    """

    overall: Evaluation
    by_month: dict[date, Evaluation]
    judged_on: str
    calibrated: CalibrationFigures | None = None

    def as_metrics(self) -> dict[str, float]:
        """The figures by the names that MLflow stores them under; slashes make groups there."""
        months = {
            f"validation_{month}/{name}": value
            for month, one in self.by_month.items()
            for name, value in one.as_metrics().items()
        }
        calibrated = self.calibrated.as_metrics() if self.calibrated is not None else {}
        return {**self.overall.as_metrics(), **months, **calibrated}


def judge(recipe: Recipe, trained: Candidate) -> Judgement:
    """The figures of a candidate that was made by the recipe.

    Where an entity has several rows, intervals resample entities. Raises UntrainableData if the
    validation rows all have the same label.
    """
    judged, training_set = trained.judged, recipe.training_set
    names = entities(training_set.entities).of_rows(judged.validation_rows)
    as_ofs = training_set.days[judged.validation_rows]
    labels = judged.validation_labels
    months: list[date] = np.unique(as_ofs).tolist()
    by_month = {}
    for month in months if len(months) > 1 else []:
        here = as_ofs == np.datetime64(month)
        if len(np.unique(labels[here])) > 1:
            by_month[month] = evaluate(
                labels[here],
                trained.predictions[here],
                trained.probabilities[here],
                recipe.random_state,
            )
    overall = evaluate(
        labels, trained.predictions, trained.probabilities, recipe.random_state, names
    )
    learned: list[date] = np.unique(training_set.days[judged.training_rows]).tolist()
    said = judged_on(recipe.validation, learned, months)
    if recipe.refit:
        said += " The model that is served was fitted to all rows; these figures are of its twin."
    changed = calibration_figures(judged, trained.probabilities, names, recipe.random_state)
    return Judgement(overall, by_month, said, changed)
