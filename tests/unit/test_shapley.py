"""Reasons are exact Shapley values of the score that is served: all subsets, on tiny models."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.reasons import explanation, processes, shapley
from streamflow.reasons.forms.served_form import score_sum
from streamflow.reasons.forms.trees import LEAF, Scale, ScoreSum, Tree, TreeSum, Unexplainable
from streamflow.reasons.shapley import Question
from streamflow.training import export
from streamflow.training.fit import Fitted
from streamflow.training.served_model import (
    Feature,
    FeatureSchema,
    Matrix,
    ServedModel,
    encode,
    encoded_columns,
    load,
)

SCHEMA = FeatureSchema(
    feature_service="tiny",
    entity="entity",
    join_key="entity_id",
    features=(
        Feature("number", "view", "FLOAT64", nullable=True),
        Feature("count", "view", "INT64", nullable=False),
        Feature("word", "view", "STRING", nullable=True, categories=("a", "b", "c")),
        Feature("flag", "view", "BOOL", nullable=True),
        Feature("unused", "view", "FLOAT64", nullable=False),
    ),
)
BLOCKS = encoded_columns(SCHEMA)

Value = Callable[[Matrix], Matrix]


def tiny_columns(rows: int, seed: int) -> dict[str, list[Any]]:
    random = np.random.default_rng(seed)
    return {
        "number": [None if one < -1 else float(one) for one in random.normal(size=rows)],
        "count": random.integers(0, 6, rows).tolist(),
        "word": random.choice(np.array(["a", "b", "c", None], object), rows).tolist(),
        "flag": random.choice(np.array([True, False, None], object), rows).tolist(),
        "unused": random.normal(size=rows).tolist(),
    }


def tiny_labels(columns: dict[str, list[Any]], seed: int) -> Any:
    random = np.random.default_rng(seed)
    risk = np.array([one or 0.0 for one in columns["number"]]) * np.array(columns["count"])
    risk += np.array([1.5 * (one == "b") for one in columns["word"]])
    risk += np.array([2.0 * (one is None) for one in columns["flag"]])
    return (risk + random.normal(size=len(risk)) > 1).astype(np.int64)


def by_all_subsets(value: Value, row: Matrix, background: Matrix) -> Matrix:
    """Shapley values by their definition: the players are the features, and what a coalition is
    worth is the mean over the background in which its features are the row's."""
    players = range(len(BLOCKS))

    def worth(coalition: tuple[int, ...]) -> float:
        mixed = background.copy()
        for player in coalition:
            mixed[:, BLOCKS[player]] = row[BLOCKS[player]]
        return float(value(mixed).mean())

    found = np.zeros(len(BLOCKS))
    for player in players:
        others = [one for one in players if one != player]
        for size in range(len(others) + 1):
            weight = factorial(size) * factorial(len(others) - size) / factorial(len(players))
            for coalition in combinations(others, size):
                found[player] += weight * (worth((*coalition, player)) - worth(coalition))
    return found


def log_odds(probability: Matrix) -> Matrix:
    found: Matrix = np.log(probability / (1 - probability))
    return found


def estimators() -> dict[str, tuple[Any, Scale]]:
    from lightgbm import LGBMClassifier
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler
    from sklearn.tree import DecisionTreeClassifier
    from xgboost import XGBClassifier

    forest: dict[str, Any] = {"n_estimators": 7, "random_state": 0}
    boosted = {"n_estimators": 9, "learning_rate": 0.3, "random_state": 0, "n_jobs": 1}
    light = {**boosted, "min_child_samples": 5, "num_leaves": 8, "verbose": -1}
    standardized = [("scale", StandardScaler()), ("classify", LogisticRegression())]
    scaled = [
        ("scale", MinMaxScaler()),
        ("classify", SGDClassifier(loss="log_loss", alpha=0.05, random_state=0)),
    ]
    return {
        "forest": (RandomForestClassifier(min_samples_leaf=4, **forest), "probability"),
        "full forest": (RandomForestClassifier(**forest), "probability"),
        "tree": (DecisionTreeClassifier(max_depth=4, random_state=0), "probability"),
        "tree without a split": (
            DecisionTreeClassifier(max_depth=1, min_samples_leaf=99),
            "probability",
        ),
        "LightGBM": (LGBMClassifier(**light), "log-odds"),
        "XGBoost": (XGBClassifier(max_depth=4, **boosted), "log-odds"),
        "linear": (Pipeline(standardized), "log-odds"),
        "linear, scaled": (Pipeline(scaled), "log-odds"),
        "linear alone": (LogisticRegression(), "log-odds"),
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, ServedModel]]:
    made: dict[str, tuple[Path, ServedModel]] = {}

    def of(name: str) -> tuple[Path, ServedModel]:
        if name not in made:
            folder = tmp_path_factory.mktemp("model")
            write(estimators()[name][0], folder)
            made[name] = folder, load(folder)
        return made[name]

    return of


def write(estimator: Any, folder: Path) -> None:
    columns = tiny_columns(150, seed=1)
    matrix, labels = encode(SCHEMA, columns), tiny_labels(columns, seed=2)
    estimator.fit(matrix, labels)
    rows = np.arange(len(labels))
    export.write(Fitted(estimator, SCHEMA, 0, rows, rows, matrix, labels, 0.0), folder)


NAMES = tuple(estimators())


@pytest.mark.parametrize("name", NAMES)
def test_contributions_are_the_shapley_values_of_what_is_served(
    served: Callable[[str], tuple[Path, ServedModel]], name: str
) -> None:
    folder, model = served(name)
    rows, background = (encode(SCHEMA, tiny_columns(count, seed=count)) for count in (6, 9))

    def value(matrix: Matrix) -> Matrix:
        probability = model.score(matrix)[1]
        return probability if estimators()[name][1] == "probability" else log_odds(probability)

    score = score_sum(folder)
    found = explanation.explain(score, Question(rows, background, BLOCKS), model.score(rows)[1])
    assert found.scale == estimators()[name][1]
    assert not found.refused.any()
    # XGBoost computes a row's log-odds in float32, and what is served has no more digits.
    exact = 2e-6 if name == "XGBoost" else 1e-9
    assert found.base == pytest.approx(value(background).mean(), abs=exact)
    for row, contributions in zip(rows, found.contributions, strict=True):
        expected = by_all_subsets(value, row, background)
        assert contributions == pytest.approx(expected, abs=exact)


@st.composite
def random_tree(draw: st.DrawFn, depth: int) -> Tree:
    columns, thresholds, lefts, rights, values = [], [], [], [], []

    def grow(left_depth: int) -> int:
        node = len(columns)
        is_leaf = left_depth == 0 or draw(st.integers(0, 4)) == 0
        columns.append(LEAF if is_leaf else draw(st.integers(0, BLOCKS[-1].stop - 1)))
        thresholds.append(draw(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])))
        values.append(draw(st.integers(-4, 4)) / 4 if is_leaf else 0.0)
        lefts.append(0)
        rights.append(0)
        if not is_leaf:
            lefts[node], rights[node] = grow(left_depth - 1), grow(left_depth - 1)
        return node

    grow(depth)
    return Tree(*(np.array(one) for one in (columns, thresholds, lefts, rights, values)))


@settings(deadline=None, max_examples=1000 if os.environ.get("STREAMFLOW_LONG_TESTS") else 20)
@given(trees=st.lists(random_tree(depth=6), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_any_tree_has_its_shapley_values_by_whatever_way_they_are_computed(
    trees: list[Tree], seed: int
) -> None:
    score = TreeSum("log-odds", np.float64, 0.25, trees)
    rows, background = (encode(SCHEMA, tiny_columns(count, seed)) for count in (3, 4))
    question = Question(rows, background, BLOCKS)
    found = shapley.tree_contributions(score, question)
    for row, contributions in zip(rows, found, strict=True):
        expected = by_all_subsets(score.values, row, background)
        assert contributions == pytest.approx(expected, abs=1e-12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapley, "_MOST_TABULATED", 0)
        assert shapley.tree_contributions(score, question) == pytest.approx(found, abs=1e-12)


def test_a_feature_that_the_model_does_not_use_has_no_part_in_a_score(
    served: Callable[[str], tuple[Path, ServedModel]],
) -> None:
    rows, background = (encode(SCHEMA, tiny_columns(count, seed=3)) for count in (20, 30))
    score = score_sum(served("tree")[0])
    assert isinstance(score, TreeSum)
    used = {int(column) for tree in score.trees for column in tree.column}
    found = shapley.tree_contributions(score, Question(rows, background, BLOCKS))
    for number, block in enumerate(BLOCKS):
        assert found[:, number].any() == bool(used & {*range(block.start, block.stop)})


@pytest.mark.slow
def test_the_number_of_processes_changes_no_bit(
    served: Callable[[str], tuple[Path, ServedModel]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_TREES_TOGETHER", 2)
    score = score_sum(served("LightGBM")[0])
    assert isinstance(score, TreeSum)
    rows, background = (encode(SCHEMA, tiny_columns(count, seed=3)) for count in (20, 30))
    question = Question(rows, background, BLOCKS)
    alone, together = (processes.tree_contributions(score, question, number) for number in (1, 2))
    assert alone.tobytes() == together.tobytes()
    assert alone == pytest.approx(shapley.tree_contributions(score, question), abs=1e-12)


def test_an_explanation_that_does_not_add_up_is_refused(
    served: Callable[[str], tuple[Path, ServedModel]],
) -> None:
    folder, model = served("forest")
    rows, background = (encode(SCHEMA, tiny_columns(count, seed=3)) for count in (5, 30))
    score, probabilities = score_sum(folder), model.score(rows)[1]
    question = Question(rows, background, BLOCKS)

    def broken(score: TreeSum, question: Question) -> Matrix:
        found = shapley.tree_contributions(score, question)
        found[1, 0] += 2e-6
        found[3, 0] = np.nan
        return found

    found = explanation.explain(score, question, probabilities, broken)
    assert found.refused.tolist() == [False, True, False, True, False]
    # The file that is read isn't the one that gave the scores.
    probabilities[2] += 2e-6
    found = explanation.explain(score, question, probabilities)
    assert found.refused.tolist() == [False, False, True, False, False]


def test_a_sum_read_wrongly_is_refused(served: Callable[[str], tuple[Path, ServedModel]]) -> None:
    folder, model = served("XGBoost")
    rows, background = (encode(SCHEMA, tiny_columns(count, seed=3)) for count in (5, 30))
    score = score_sum(folder)
    assert isinstance(score, TreeSum)
    wrong: ScoreSum = replace(score, trees=score.trees[1:])
    question = Question(rows, background, BLOCKS)
    assert explanation.explain(wrong, question, model.score(rows)[1]).refused.all()


def test_what_is_not_one_sum_is_not_explained(tmp_path: Path) -> None:
    from lightgbm import LGBMClassifier
    from sklearn.neural_network import MLPClassifier
    from xgboost import XGBClassifier

    sizes: dict[str, Any] = {"hidden_layer_sizes": (3,), "max_iter": 20, "random_state": 0}
    network, logistic = MLPClassifier(**sizes), MLPClassifier(activation="logistic", **sizes)
    for number, (estimator, why) in enumerate(
        [
            (network, "isn't one weighted sum|isn't of a weighted sum"),
            (logistic, "isn't one weighted sum|isn't of a weighted sum|3 sums"),
            (
                LGBMClassifier(boosting_type="rf", subsample=0.5, subsample_freq=1, verbose=-1),
                "added",
            ),
            (LGBMClassifier(linear_tree=True, verbose=-1), "linear models"),
            (LGBMClassifier(zero_as_missing=True, verbose=-1), "0 for a missing value"),
            (XGBClassifier(booster="dart", n_estimators=3), "dart"),
            (XGBClassifier(booster="gblinear", n_estimators=3), "gblinear"),
        ]
    ):
        folder = tmp_path / str(number)
        write(estimator, folder)
        with pytest.raises(Unexplainable, match=why):
            score_sum(folder)
