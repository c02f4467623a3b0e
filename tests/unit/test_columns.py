"""Pipelines on columns: what they are given, that what is served is theirs, and what can't be."""

from __future__ import annotations

import json
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
from tests.orchard import SCHEMA, orchard, small_forest

from streamflow.errors import UnservableModel, UntrainableData
from streamflow.reasons import explanation
from streamflow.reasons.forms.model_columns import model_columns
from streamflow.reasons.forms.served_form import score_sum
from streamflow.reasons.forms.trees import Unexplainable
from streamflow.reasons.shapley import Question
from streamflow.training import export, fit
from streamflow.training.columns.data_frame import data_frame, other_text
from streamflow.training.dataset import TrainingSet
from streamflow.training.estimator_findings import column_findings, estimator_findings
from streamflow.training.feature_importance import feature_importances
from streamflow.training.search.search import Search, search
from streamflow.training.served_model import (
    SCHEMA_FILE,
    Feature,
    FeatureSchema,
    digest,
    encode,
    load,
)
from streamflow.training.split import Validation
from streamflow.use_case import OneOf, on_columns

NUMBERS = ["age_years", "height_m", "noise"]


def columns_first(last: Any, words: Any = None, **options: Any) -> Any:
    """Imputed and scaled numbers, encoded texts and booleans; then the classifier."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    words = words or OneHotEncoder(handle_unknown="ignore")
    steps = [("numbers", numbers, [*NUMBERS, "grafted"]), ("words", words, ["variety", "grafted"])]
    return make_pipeline(ColumnTransformer(steps, **options), last)


def forest(random_state: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(8, min_samples_leaf=3, random_state=random_state)


def lightgbm(random_state: int) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=8,
        min_child_samples=5,
        random_state=random_state,
        n_jobs=1,
        force_row_wise=True,
        deterministic=True,
        verbose=-1,
    )


def regression(**options: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=2000, **options)


def target_encoder(random_state: int) -> Any:
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import TargetEncoder

    return TargetEncoder(cv=StratifiedKFold(3, shuffle=True, random_state=random_state))


@on_columns
def target_encoded_forest(random_state: int) -> Any:
    return columns_first(forest(random_state), target_encoder(random_state))


@on_columns
def boosted(random_state: int) -> Any:
    return columns_first(lightgbm(random_state))


@on_columns
def weighted_regression(random_state: int) -> Any:
    return columns_first(regression(class_weight="balanced"))


@on_columns
def ordinal_regression(random_state: int) -> Any:
    from sklearn.preprocessing import OrdinalEncoder

    return columns_first(regression(), OrdinalEncoder(encoded_missing_value=-1))


@on_columns
def calibrated_forest(random_state: int) -> Any:
    from sklearn.calibration import CalibratedClassifierCV

    return columns_first(CalibratedClassifierCV(forest(random_state), cv=2))


@on_columns
def selected_components(random_state: int) -> Any:
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.decomposition import PCA
    from sklearn.feature_selection import SelectKBest
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

    words = (OneHotEncoder(), make_column_selector(dtype_include=object))
    columns = make_column_transformer(words, remainder=MinMaxScaler(clip=True))
    return make_pipeline(columns, SelectKBest(k=6), PCA(3), regression())


@on_columns
def united(random_state: int) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion, make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, RobustScaler

    both = FeatureUnion([("one", RobustScaler()), ("other", MaxAbsScaler())])
    return make_pipeline(ColumnTransformer([("numbers", both, slice(0, 2))]), regression())


@on_columns
def vectorized_forest(random_state: int) -> Any:
    skrub = pytest.importorskip("skrub", reason="an optional library of the user's")
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    return make_pipeline(skrub.TableVectorizer(), SimpleImputer(), forest(random_state))


PIPELINES: dict[str, Callable[[int], Any]] = {
    "target_encoded_forest": target_encoded_forest,
    "boosted": boosted,
    "weighted_regression": weighted_regression,
    "ordinal_regression": ordinal_regression,
    "calibrated_forest": calibrated_forest,
    "selected_components": selected_components,
    "united": united,
    "vectorized_forest": vectorized_forest,
}
TO_THE_LAST_BIT = ("target_encoded_forest", "boosted", "vectorized_forest")


@pytest.mark.parametrize("name", PIPELINES)
def test_what_is_served_is_the_pipeline_s_own_answer(name: str, tmp_path: Path) -> None:
    training_set = orchard()
    fitted = fit.fit(training_set, PIPELINES[name], 42)
    export.write(fitted, tmp_path)
    proof = export.prove(fitted, tmp_path)
    assert (proof.rows, proof.label_flips) == (100, 0)
    assert proof.largest_difference <= (0 if name in TO_THE_LAST_BIT else 1e-6)
    # From the values themselves, as they are served.
    labels, probabilities = load(tmp_path).predict(training_set.columns)
    frame = data_frame(fitted.schema, encode(fitted.schema, training_set.columns))
    inner: Any = fitted.estimator
    assert labels.tolist() == inner.inner.predict(frame).tolist()
    assert probabilities == pytest.approx(inner.inner.predict_proba(frame)[:, 1], abs=1e-6)


def test_the_same_training_gives_the_same_bytes(tmp_path: Path) -> None:
    hashes = set()
    for number in range(2):
        export.write(fit.fit(orchard(), target_encoded_forest, 42), tmp_path / str(number))
        hashes.add(digest(tmp_path / str(number)))
    assert len(hashes) == 1


def test_a_release_without_pipelines_refuses_to_serve_one(tmp_path: Path) -> None:
    """Its encoder would be as wide as the model takes here, so that it would score, wrongly."""
    export.write(fit.fit(orchard(), target_encoded_forest, 42), tmp_path / "on columns")
    export.write(fit.fit(orchard(), small_forest, 42), tmp_path / "on a matrix")
    assert as_releases_without_pipelines_read(tmp_path / "on a matrix") == fit_schema()
    with pytest.raises(TypeError, match="unexpected keyword argument 'format'"):
        as_releases_without_pipelines_read(tmp_path / "on columns")


def as_releases_without_pipelines_read(folder: Path) -> FeatureSchema:
    """What they do with `feature_schema.json` before they look at any other file."""
    document = json.loads((folder / SCHEMA_FILE).read_text())
    features = tuple(
        Feature(**{**feature, "categories": tuple(feature["categories"])})
        for feature in document.pop("features")
    )
    return FeatureSchema(features=features, **document)


def fit_schema() -> FeatureSchema:
    return fit.fit(orchard(), small_forest, 42).schema


def test_a_model_of_a_newer_release_is_refused_with_what_to_do(tmp_path: Path) -> None:
    fitted = fit.fit(orchard(), target_encoded_forest, 42)
    export.write(fitted, tmp_path)
    assert load(tmp_path).schema == fitted.schema
    (tmp_path / SCHEMA_FILE).write_text(fitted.schema.to_json(99))
    with pytest.raises(ValueError, match=r"in the format 99, .*: install the release"):
        load(tmp_path)


def test_a_pipeline_is_given_the_features_with_their_own_types() -> None:
    seen: list[Any] = []

    class Looks:
        def get_params(self) -> dict[str, object]:
            return {}

        def fit(self, frame: Any, labels: Any) -> None:
            seen.append(frame)

    training_set = orchard(40)
    fit.fit(training_set, on_columns(lambda random_state: Looks()), 42)
    (frame,) = seen
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "age_years": "float64",
        "height_m": "float64",
        "grafted": "object",  # a boolean that may be null
        "variety": "object",
        "noise": "float64",
    }
    assert set(frame["variety"]) <= {"Boskoop", "Cox", "Jonathan"}
    assert {str(one) for one in frame["grafted"]} == {"True", "False", "nan"}


@st.composite
def rows_of_columns(draw: st.DrawFn) -> tuple[FeatureSchema, dict[str, list[Any]]]:
    texts = st.text(max_size=3)
    kinds: dict[str, Any] = {
        "STRING": texts,
        "BOOL": st.booleans(),
        "INT64": st.integers(-(2**53), 2**53),
        "FLOAT64": st.floats(allow_nan=False),
    }
    count = draw(st.integers(1, 5))
    features, columns = [], {}
    for number in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(sorted(kinds)))
        nullable = draw(st.booleans())
        one = st.none() | kinds[kind] if nullable else kinds[kind]
        values = draw(st.lists(one, min_size=count, max_size=count))
        categories = tuple(sorted({one for one in values if one is not None}, key=str))
        features.append(
            Feature(
                f"f{number}",
                "view",
                kind,
                nullable,
                categories=categories if kind == "STRING" else (),
            )
        )
        columns[f"f{number}"] = values
    return FeatureSchema("service", "entity", "id", tuple(features)), columns


@settings(deadline=None, max_examples=60)
@given(rows=rows_of_columns())
def test_columns_are_what_was_encoded(rows: tuple[FeatureSchema, dict[str, list[Any]]]) -> None:
    schema, columns = rows
    frame = data_frame(schema, encode(schema, columns))
    for name, values in columns.items():
        found = [None if one != one else one for one in frame[name].tolist()]
        assert found == values


def test_the_text_for_others_is_no_category() -> None:
    feature = Feature("word", "view", "STRING", False, categories=("other", "other_"))
    assert other_text(feature) == "other__"


def with_rule(training_set: TrainingSet, rule: Any) -> TrainingSet:
    schema = training_set.schema
    changed = tuple(
        replace(one, unseen=rule) if one.name == "variety" else one for one in schema.features
    )
    return replace(training_set, schema=replace(schema, features=changed))


def test_a_text_that_training_never_saw_is_served_as_the_encoder_takes_it(tmp_path: Path) -> None:
    fitted = fit.fit(with_rule(orchard(), "other"), target_encoded_forest, 42)
    export.write(fitted, tmp_path)
    row = {"age_years": [9], "height_m": [3.5], "grafted": [None], "variety": ["Elstar"]}
    row["noise"] = [0.1]
    _, served = load(tmp_path).predict(row)
    frame = data_frame(fitted.schema, encode(fitted.schema, row))
    inner: Any = fitted.estimator
    assert frame["variety"].tolist() == ["other"]
    assert served.tolist() == inner.inner.predict_proba(frame)[:, 1].tolist()


def test_an_encoder_that_refuses_what_the_use_case_allows_is_told(tmp_path: Path) -> None:
    from sklearn.preprocessing import OneHotEncoder

    strict = on_columns(lambda random_state: columns_first(regression(), OneHotEncoder()))
    fitted = fit.fit(with_rule(orchard(), "other"), strict, 42)
    with pytest.raises(UnservableModel, match="unknown categories") as refused:
        export.write(fitted, tmp_path)
    assert "ColumnTransformer" in refused.value.message


def test_a_step_without_a_form_is_named_with_its_columns(tmp_path: Path) -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

    @on_columns
    def quantiles(random_state: int) -> Any:
        numbers = ("numbers", QuantileTransformer(n_quantiles=20), ["height_m"])
        words = ("words", OneHotEncoder(), ["variety"])
        return make_pipeline(ColumnTransformer([numbers, words]), regression())

    with pytest.raises(
        UnservableModel, match=r"QuantileTransformer of numbers \(height_m\)"
    ) as one:
        export.write(fit.fit(orchard(), quantiles, 42), tmp_path)
    assert "SimpleImputer" in one.value.next


def test_a_calibration_around_the_pipeline_is_told_where_it_can_be(tmp_path: Path) -> None:
    from sklearn.calibration import CalibratedClassifierCV

    outside = on_columns(
        lambda random_state: CalibratedClassifierCV(columns_first(regression()), cv=2)
    )
    with pytest.raises(UnservableModel, match="make it the pipeline's last step"):
        export.write(fit.fit(orchard(), outside, 42), tmp_path)


@pytest.mark.parametrize("calibrated", [False, True])
def test_trees_that_split_off_nulls_are_refused_at_once(calibrated: bool, tmp_path: Path) -> None:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.tree import DecisionTreeClassifier

    @on_columns
    def by_nulls(random_state: int) -> Any:
        tree = DecisionTreeClassifier(max_depth=3, random_state=random_state)
        last = CalibratedClassifierCV(tree, cv=2) if calibrated else tree
        return make_pipeline(ColumnTransformer([("as it is", "passthrough", ["grafted"])]), last)

    training_set = orchard()
    unknown = [one is None for one in training_set.columns["grafted"]]
    fitted = fit.fit(replace(training_set, labels=unknown), by_nulls, 42)
    with pytest.raises(UnservableModel, match=r"nulls that reach .*; put SimpleImputer in front"):
        export.write(fitted, tmp_path)


def misnamed(random_state: int) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline

    return make_pipeline(ColumnTransformer([("a", "passthrough", ["hight_m"])]), regression())


def test_a_column_that_is_no_feature_is_told_before_and_in_training() -> None:
    wrong = on_columns(misnamed)
    (found,) = column_findings({"wrong": wrong}, SCHEMA)
    assert "names the column 'hight_m'" in found.what
    assert found.instead == "'height_m'"
    with pytest.raises(UntrainableData, match="names the column 'hight_m'"):
        fit.fit(orchard(), wrong, 42)
    (found,) = estimator_findings({"misnamed": misnamed})
    assert "@on_columns" in found.instead


def test_a_search_goes_through_a_pipeline_s_own_parameters() -> None:
    space = {"weighted_regression": {"logisticregression__C": OneOf((0.01, 1.0))}}
    wanted = Search(3, {"weighted_regression": weighted_regression}, space)
    training_set = orchard(200)
    rows = np.arange(150)
    found = search(wanted, training_set, rows, Validation("random", 0.25), *_no_horizon())
    assert len(found.trials) == 3
    assert all(trial.aucs for trial in found.trials)


def _no_horizon() -> tuple[Any, int]:
    from datetime import timedelta

    return timedelta(0), 42


def test_importances_are_of_the_features() -> None:
    found = feature_importances(fit.fit(orchard(), boosted, 42))
    assert set(found) == {one.name for one in SCHEMA.features}
    assert max(found, key=lambda name: found[name]) == "age_years"


@pytest.mark.parametrize("name", ["target_encoded_forest", "boosted", "weighted_regression"])
def test_reasons_are_the_shapley_values_of_the_features(name: str, tmp_path: Path) -> None:
    fitted = fit.fit(orchard(), PIPELINES[name], 42)
    export.write(fitted, tmp_path)
    taken, score, model = (
        model_columns(tmp_path, fitted.schema),
        score_sum(tmp_path),
        load(tmp_path),
    )
    rows = {one: values[:4] for one, values in orchard().columns.items()}
    background = {one: values[50:56] for one, values in orchard().columns.items()}
    question = Question(taken.matrix(rows), taken.matrix(background), taken.blocks)
    found = explanation.explain(score, question, model.predict(rows)[1])
    assert not found.refused.any()
    for row in range(4):
        expected = by_all_subsets(model, rows, row, background, score.scale == "log-odds")
        assert found.contributions[row] == pytest.approx(expected, abs=1e-9)


def by_all_subsets(model: Any, rows: Any, row: int, background: Any, log_odds: bool) -> list[float]:
    """By definition, over the values themselves: features of the row in rows of the background."""
    names = list(rows)

    def worth(coalition: tuple[str, ...]) -> float:
        mixed = {
            one: [rows[one][row]] * 6 if one in coalition else background[one] for one in names
        }
        found = model.predict(mixed)[1]
        return float((np.log(found / (1 - found)) if log_odds else found).mean())

    contributions = []
    for player in names:
        others = [one for one in names if one != player]
        total = 0.0
        for size in range(len(names)):
            weight = factorial(size) * factorial(len(names) - size - 1) / factorial(len(names))
            for some in combinations(others, size):
                total += weight * (worth((*some, player)) - worth(some))
        contributions.append(total)
    return contributions


def test_a_null_that_reaches_the_model_has_no_exact_reasons(tmp_path: Path) -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    @on_columns
    def by_itself(random_state: int) -> Any:
        words = ("words", OrdinalEncoder(), ["variety", "grafted"])
        columns = ColumnTransformer([words], remainder="passthrough")
        return make_pipeline(columns, lightgbm(random_state))

    fitted = fit.fit(orchard(), by_itself, 42)
    export.write(fitted, tmp_path)
    export.prove(fitted, tmp_path)
    with pytest.raises(Unexplainable, match="decides about nulls itself"):
        model_columns(tmp_path, fitted.schema).matrix(orchard().columns)
