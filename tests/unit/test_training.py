"""Split, fit, evaluate, explain, and the pictures of it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.orchard import SCHEMA, orchard, real_month, small_forest
from tests.training_tables import encoded_names

from churn.model import ACCEPTANCE, MODELS
from streamflow.errors import DataRefused
from streamflow.training.dataset import TrainingSet
from streamflow.training.evaluation import (
    auc_interval,
    auc_interval_of_entities,
    evaluate,
    too_few_to_tell,
)
from streamflow.training.feature_importance import feature_importances
from streamflow.training.fit import Fitted, fit
from streamflow.training.served_model import digest, encode


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit(orchard(), small_forest, 42)


def test_categories_are_found_from_the_training_sets_types_and_values(fitted: Fitted) -> None:
    assert fitted.schema.categorical == ["variety"]
    assert fitted.schema.features[3].categories == ("Boskoop", "Cox", "Jonathan")
    assert encoded_names(fitted.schema)[2:4] == ["grafted", "grafted=null"]


def test_what_training_saw_of_nulls_is_found_in_its_rows(fitted: Fitted) -> None:
    assert [one.name for one in fitted.schema.features if one.null_seen] == ["grafted"]
    whole = orchard(40)
    strict, lenient = SCHEMA.features[1], replace(SCHEMA.features[1], absent="null")
    columns = {**whole.columns, "height_m": [None, *whole.columns["height_m"][1:]]}
    features = tuple(lenient if one is strict else one for one in SCHEMA.features)
    absent = replace(whole, columns=columns, schema=replace(SCHEMA, features=features))
    schema = fit(absent, small_forest, 42).schema
    assert [one.name for one in schema.features if one.null_seen] == ["height_m", "grafted"]
    assert "height_m=null" in encoded_names(schema)


def test_validation_has_its_share_of_the_rows_and_of_each_class(fitted: Fitted) -> None:
    labels = np.array(orchard().labels)
    everything = np.sort(np.concatenate([fitted.training_rows, fitted.validation_rows]))
    assert everything.tolist() == list(range(400))
    assert len(fitted.validation_rows) == 100
    assert labels[fitted.validation_rows].sum() == 30
    assert fitted.validation_labels.tolist() == labels[fitted.validation_rows].astype(int).tolist()


def test_the_same_training_set_and_random_state_give_the_same_bits(fitted: Fitted) -> None:
    again = fit(orchard(), small_forest, 42)
    assert np.array_equal(again.predict()[1], fitted.predict()[1])
    assert np.array_equal(again.validation_rows, fitted.validation_rows)
    assert feature_importances(again) == feature_importances(fitted)


def test_another_random_state_gives_another_split(fitted: Fitted) -> None:
    other = fit(orchard(), small_forest, 43)
    assert not np.array_equal(other.validation_rows, fitted.validation_rows)


def test_the_stopwatch_times_the_fit_alone() -> None:
    class Slow:
        def fit(self, matrix: Any, labels: Any) -> None:
            time.sleep(0.02)

    assert 0.02 <= fit(orchard(), lambda random_state: Slow(), 1).train_time_sec < 5


@pytest.mark.parametrize("entities", [["b", "a"], ["a", "a"]])
def test_a_training_set_in_another_order_cant_be_made(entities: list[str]) -> None:
    columns = {"age_years": [1, 2]}
    schema = replace(SCHEMA, features=SCHEMA.features[:1])
    with pytest.raises(ValueError, match="ascend"):
        TrainingSet(
            schema,
            entities,
            [date(2024, 1, 31)] * 2,
            columns,
            [True, False],
            datetime.now(tz=UTC),
        )


def test_a_training_set_with_a_column_cut_short_cant_be_made() -> None:
    whole = orchard(10)
    with pytest.raises(ValueError, match="lengths"):
        replace(whole, columns={**whole.columns, "noise": [0.5]})


@pytest.mark.parametrize(
    "labels", [[False] * 40, [True] * 40, [True] * 3 + [False] * 37, [False] * 3 + [True] * 37]
)
def test_too_few_of_a_class_are_refused_with_the_counts(labels: list[bool]) -> None:
    with pytest.raises(DataRefused, match=f"40 rows, {sum(labels)} of them with the label true"):
        fit(replace(orchard(40), labels=labels), small_forest, 42)


def test_an_empty_training_set_is_refused() -> None:
    empty = replace(
        orchard(1),
        entities=[],
        as_ofs=[],
        labels=[],
        columns={f.name: [] for f in SCHEMA.features},
    )
    with pytest.raises(DataRefused, match="0 rows"):
        fit(empty, small_forest, 42)


@pytest.mark.parametrize("null", [None, float("nan")])
def test_a_null_where_none_may_be_is_refused_with_the_feature_and_how_many(null: Any) -> None:
    whole = orchard(40)
    holed = {**whole.columns, "height_m": [null, null, *whole.columns["height_m"][2:]]}
    with pytest.raises(DataRefused, match="'height_m' is null for 2 of 40 entities at 2024-01-31"):
        fit(replace(whole, columns=holed), small_forest, 42)


def test_a_text_that_is_an_identifier_is_refused() -> None:
    whole = orchard(1200)
    columns = {**whole.columns, "variety": whole.entities}
    with pytest.raises(DataRefused, match="'variety' takes 1,200 values"):
        fit(replace(whole, columns=columns), small_forest, 42)


def test_a_perfect_score_is_called_perfect() -> None:
    labels = np.repeat([0, 1], 10)
    evaluation = evaluate(labels, labels, np.repeat([0.1, 0.2, 0.8, 0.9], 5), 42)
    assert (evaluation.auc, evaluation.auc_low, evaluation.auc_high) == (1.0, 1.0, 1.0)
    assert (evaluation.f1, evaluation.accuracy, evaluation.average_precision) == (1.0, 1.0, 1.0)
    assert evaluation.brier == pytest.approx((0.01 + 0.04 + 0.04 + 0.01) / 4)
    assert evaluation.log_loss == pytest.approx(-np.mean(np.log([0.9, 0.8, 0.8, 0.9])))


@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (9, 400), (400, 9), (1, 400)])
def test_too_few_rows_of_a_class_cant_tell_how_good_a_model_is(
    positives: int, negatives: int
) -> None:
    labels = np.repeat([1, 0], [positives, negatives])
    evaluation = evaluate(labels, labels, np.full(len(labels), 0.5), 42)
    assert (evaluation.auc_low, evaluation.auc_high) == (0, 1)
    (said,) = too_few_to_tell(labels)
    assert f"{positives} rows with the label true and {negatives} with false" in said
    assert too_few_to_tell(np.repeat([1, 0], 10)) == []


def test_labels_are_judged_as_given_and_not_thresholded_again() -> None:
    labels, halves = np.array([0, 1]), np.array([0.5, 0.5])
    assert evaluate(labels, np.array([0, 0]), halves, 42).accuracy == 0.5
    assert evaluate(labels, np.array([0, 1]), halves, 42).accuracy == 1.0


def test_metrics_are_plain_numbers_by_name(fitted: Fitted) -> None:
    labels, probabilities = fitted.predict()
    metrics = evaluate(fitted.validation_labels, labels, probabilities, 42).as_metrics()
    assert list(metrics) == [
        "auc",
        "auc_low",
        "auc_high",
        "f1",
        "accuracy",
        "average_precision",
        "log_loss",
        "brier",
    ]
    assert all(type(value) is float for value in metrics.values())
    assert metrics["auc_low"] < metrics["auc"] < metrics["auc_high"]


def test_evaluating_on_one_class_is_refused() -> None:
    with pytest.raises(DataRefused, match="All 3 rows"):
        evaluate(np.zeros(3, int), np.zeros(3, int), np.array([0.1, 0.2, 0.3]), 42)


def test_the_interval_is_that_of_resampled_aucs_ties_and_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sklearn.metrics import roc_auc_score

    monkeypatch.setattr("streamflow.training.statistics.resamples.RESAMPLES", 100)
    random = np.random.default_rng(3)
    labels = (random.random(120) < 0.4).astype(int)
    probabilities = np.clip(random.normal(0.4 + 0.2 * labels, 0.25), 0, 1).round(1)
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    random = np.random.default_rng(42)
    areas = []
    for _ in range(100):
        rows = [
            positive[random.integers(0, len(positive), len(positive))],
            negative[random.integers(0, len(negative), len(negative))],
        ]
        drawn = np.concatenate(rows)
        areas.append(roc_auc_score(labels[drawn], probabilities[drawn]))
    expected = np.percentile(areas, [2.5, 97.5])
    assert auc_interval(labels, probabilities, 42) == pytest.approx(expected, abs=1e-12)
    assert auc_interval(labels, probabilities, 42) == auc_interval(labels, probabilities, 42)


def logistic(random_state: int) -> Any:
    return MODELS["logistic_regression"](random_state)


def neighbours(random_state: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), KNeighborsClassifier(15))


def selected(random_state: int) -> Any:
    from sklearn.feature_selection import SelectKBest
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SelectKBest(k=4), LogisticRegression(max_iter=1000))


@pytest.mark.parametrize("build", [small_forest, logistic, neighbours, selected])
def test_importances_are_shares_per_feature_with_what_matters_first(build: Any) -> None:
    shares = feature_importances(fit(orchard(), build, 42))
    assert set(shares) == {feature.name for feature in SCHEMA.features}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert set(list(shares)[:2]) == {"age_years", "variety"}
    assert shares == feature_importances(fit(orchard(), build, 42))


def test_each_model_of_the_use_case_beats_chance_and_runs_on_one_thread() -> None:
    for name, build in MODELS.items():
        fitted = fit(orchard(), build, 42)
        labels, probabilities = fitted.predict()
        auc = evaluate(fitted.validation_labels, labels, probabilities, 42).auc
        assert auc > ACCEPTANCE["auc"], name
        assert fitted.estimator.get_params().get("n_jobs", 1) == 1, name


def test_five_pictures_are_drawn_and_are_the_same_when_drawn_again(
    fitted: Fitted, tmp_path: Path
) -> None:
    from streamflow.training.plots import draw

    labels, probabilities = fitted.predict()
    digests = []
    for folder in (tmp_path / "once", tmp_path / "again"):
        paths = draw(
            fitted.validation_labels, probabilities, labels, feature_importances(fitted), folder
        )
        assert [path.name for path in paths] == [
            "roc_curve.png",
            "precision_recall_curve.png",
            "calibration.png",
            "confusion_matrix.png",
            "feature_importance.png",
        ]
        assert sorted(paths) == sorted(folder.iterdir())
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
        digests.append(digest(folder))
    assert digests[0] == digests[1]


def test_on_the_real_month_the_default_model_is_as_good_as_published() -> None:
    month = real_month()
    fitted = fit(month, MODELS["random_forest"], 42)
    labels, probabilities = fitted.predict()
    assert 0.80 < evaluate(fitted.validation_labels, labels, probabilities, 42).auc < 0.84
    assert len(month.entities) == 7043
    assert fitted.schema.categorical == ["net_service"]
    row = month.entities.index("3413-BMNZE")
    subscriber = {name: values[row : row + 1] for name, values in month.columns.items()}
    assert fitted.estimator.predict(encode(fitted.schema, subscriber)).tolist() == [0]


def test_the_interval_of_a_panel_resamples_entities_with_all_their_rows() -> None:
    random = np.random.default_rng(3)
    people, months = 150, 6
    labels = np.repeat(random.integers(0, 2, people), months)
    probabilities = np.repeat(random.random(people), months) * 0.7 + labels * 0.3
    entities = [f"e-{number:03}" for number in range(people) for _ in range(months)]
    low, high = auc_interval(labels, probabilities, 42)
    wide_low, wide_high = auc_interval_of_entities(labels, probabilities, entities, 42)
    # The same 150 people six times say no more than once: the interval is about √6 as wide.
    assert 2.0 < (wide_high - wide_low) / (high - low) < 3.0
    once = slice(None, None, months)
    single = auc_interval(labels[once], probabilities[once], 42)
    assert (wide_low, wide_high) == pytest.approx(single, abs=0.02)
    found = evaluate(labels, labels, probabilities, 42, entities)
    assert (found.auc_low, found.auc_high) == (wide_low, wide_high)
    alone = evaluate(labels[once], labels[once], probabilities[once], 42, entities[once])
    assert (alone.auc_low, alone.auc_high) == single  # one row per entity: as it always was
