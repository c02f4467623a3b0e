"""Corrected probabilities: scikit-learn's own, in the served form too, the same each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.orchard import orchard, small_forest
from tests.unit.test_columns import lightgbm, regression, target_encoded_forest, weighted_regression

from streamflow.errors import UntrainableData
from streamflow.reasons import explanation
from streamflow.reasons.forms.model_columns import model_columns
from streamflow.reasons.forms.served_form import score_sum
from streamflow.reasons.forms.trees import Unexplainable
from streamflow.reasons.shapley import Question
from streamflow.training import export, fit
from streamflow.training.calibrated.estimator import calibrated, calibration_folds, uncalibrated
from streamflow.training.calibrated.figures import calibration_figures
from streamflow.training.dataset import TrainingSet
from streamflow.training.fit import Fitted
from streamflow.training.served_model import CALIBRATION_FILE, SCHEMA_FILE, digest, load


def xgboost(random_state: int) -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=8, max_depth=3, random_state=random_state, n_jobs=1)


MODELS: dict[str, Callable[[int], Any]] = {
    "forest": small_forest,
    "lightgbm": lightgbm,
    "xgboost": xgboost,
    "regression": lambda random_state: regression(class_weight="balanced"),
    "forest on columns": target_encoded_forest,
    "regression on columns": weighted_regression,
}
METHODS: list[Any] = ["sigmoid", "isotonic"]


def calibrated_fit(name: str, method: Any, training_set: TrainingSet | None = None) -> Fitted:
    return fit.fit(training_set or orchard(), MODELS[name], 42, calibrate=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_what_is_served_is_the_corrected_probability(
    name: str, method: Any, tmp_path: Path
) -> None:
    fitted = calibrated_fit(name, method)
    export.write(fitted, tmp_path)
    proof = export.prove(fitted, tmp_path)
    assert (proof.rows, proof.label_flips) == (100, 0)
    # XGBoost's curve is between float32 numbers.
    allowed = 1e-7 if (name, method) == ("xgboost", "isotonic") else 1e-12
    assert proof.largest_difference <= allowed
    # It's a correction: the model without it says something else.
    assert not np.allclose(fitted.predict()[1], fitted.uncalibrated.predict()[1], atol=1e-3)
    labels, served = load(tmp_path).predict(orchard().columns)
    assert set(labels.tolist()) == {0, 1}
    assert served.min() >= 0
    assert served.max() <= 1


@pytest.mark.parametrize("name", ["forest", "forest on columns"])
def test_the_model_below_is_the_one_without_a_correction(name: str, tmp_path: Path) -> None:
    export.write(fit.fit(orchard(), MODELS[name], 42), tmp_path / "without")
    export.write(calibrated_fit(name, "isotonic"), tmp_path / "with")
    without, corrected = (
        {one.name: one.read_bytes() for one in (tmp_path / folder).iterdir()}
        for folder in ("without", "with")
    )
    assert corrected.keys() - without.keys() == {CALIBRATION_FILE}
    assert {one for one in without if without[one] != corrected[one]} == {SCHEMA_FILE}


@pytest.mark.parametrize("method", METHODS)
def test_the_same_training_gives_the_same_bytes(method: Any, tmp_path: Path) -> None:
    hashes = set()
    for number in range(2):
        export.write(calibrated_fit("forest on columns", method), tmp_path / str(number))
        hashes.add(digest(tmp_path / str(number)))
    assert len(hashes) == 1


def test_a_model_that_exaggerates_is_corrected_and_that_is_said() -> None:
    fitted = calibrated_fit("regression", "sigmoid", orchard(2000, seed=3))
    found = calibration_figures(fitted, fitted.predict()[1], [str(one) for one in range(500)], 42)
    assert found is not None
    assert (found.method, found.folds) == ("sigmoid", 5)
    assert found.brier < found.brier_before
    assert found.error < found.error_before
    assert set(found.as_metrics()) == {
        *("brier_uncalibrated", "calibration_error", "calibration_error_uncalibrated"),
    }


def test_no_entity_is_on_both_sides_of_a_fold() -> None:
    names = [f"e{number % 60}" for number in range(180)]
    labels = np.array([number % 3 == 0 for number in range(180)], dtype=np.int64)
    folds = calibration_folds(names, labels, 42)
    assert sorted(np.concatenate([judging for _, judging in folds]).tolist()) == [*range(180)]
    for training, judging in folds:
        assert not {names[one] for one in training} & {names[one] for one in judging}


def test_too_few_of_a_label_are_refused() -> None:
    with pytest.raises(UntrainableData, match="can't be divided to calibrate on"):
        calibration_folds(["a", "b", "c"], np.array([0, 0, 1]), 42)


def test_a_refit_is_corrected_too(tmp_path: Path) -> None:
    training_set = orchard()
    judged = calibrated_fit("forest", "sigmoid", training_set)
    again = fit.refit(judged, training_set, MODELS["forest"])
    assert again.calibrate == "sigmoid"
    _, correction = uncalibrated(again.estimator)
    assert correction != uncalibrated(judged.estimator)[1]
    export.write(again, tmp_path)
    assert export.prove(again, tmp_path).label_flips == 0


@pytest.mark.parametrize("name", ["forest", "lightgbm", "regression", "regression on columns"])
def test_reasons_add_up_to_the_corrected_score(name: str, tmp_path: Path) -> None:
    fitted = calibrated_fit(name, "sigmoid")
    export.write(fitted, tmp_path)
    taken, score = model_columns(tmp_path, fitted.schema), score_sum(tmp_path)
    assert score.scale == "log-odds"
    rows = {one: values[:20] for one, values in orchard().columns.items()}
    background = {one: values[50:80] for one, values in orchard().columns.items()}
    question = Question(taken.matrix(rows), taken.matrix(background), taken.blocks)
    found = explanation.explain(score, question, load(tmp_path).predict(rows)[1])
    assert not found.refused.any()


@pytest.mark.parametrize(("name", "method"), [("xgboost", "sigmoid"), ("forest", "isotonic")])
def test_a_score_that_is_no_sum_any_more_has_no_reasons(
    name: str, method: Any, tmp_path: Path
) -> None:
    export.write(calibrated_fit(name, method), tmp_path)
    with pytest.raises(Unexplainable, match=f"corrected \\({method}, of a probability\\)"):
        score_sum(tmp_path)


def test_several_months_of_an_entity_stay_together() -> None:
    one = orchard(300)
    february = replace(one, as_ofs=[date(2024, 2, 29)] * 300)
    both = replace(
        one,
        entities=[*one.entities, *february.entities],
        as_ofs=[*one.as_ofs, *february.as_ofs],
        labels=[*one.labels, *february.labels],
        columns={name: [*values, *values] for name, values in one.columns.items()},
    )
    fitted = calibrated_fit("forest", "isotonic", both)
    outer: Any = fitted.estimator
    names = [both.entities[row] for row in fitted.training_rows]
    for training, judging in outer.cv:
        assert not {names[row] for row in training} & {names[row] for row in judging}
    assert calibrated(small_forest(1), "isotonic", outer.cv).get_params()["ensemble"] is False
