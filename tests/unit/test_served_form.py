"""The served form: that it equals the estimator, that it's the same bytes, that damage shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.orchard import orchard, real_month, small_forest

from churn.model import MODELS
from streamflow.errors import ServedFormDiffers, UnservableModel
from streamflow.training import export
from streamflow.training.export import prove, write
from streamflow.training.fit import Fitted, fit
from streamflow.training.onnx import forest_float32
from streamflow.training.onnx.forest_float32 import is_exact
from streamflow.training.served_model import SCHEMA_FILE, digest, load


def boosting(random_state: int) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(n_estimators=20, random_state=random_state)


def extra_trees(random_state: int) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(10, random_state=random_state)


def one_tree(random_state: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=4, random_state=random_state)


def forest_without_a_split(random_state: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(3, min_samples_leaf=200, random_state=random_state)


def weighted_forest(random_state: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(10, class_weight="balanced", random_state=random_state, n_jobs=1)


def weighted_regression(random_state: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(class_weight={0: 1, 1: 5}, max_iter=500, random_state=random_state)


def imputed_regression(random_state: int) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        SimpleImputer(strategy="median"),
        StandardScaler(),
        LogisticRegression(random_state=random_state),
    )


def searched_regression(random_state: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    regression = LogisticRegression(max_iter=500, random_state=random_state)
    return GridSearchCV(regression, {"C": [0.1, 1.0]}, cv=3, scoring="roc_auc", n_jobs=1)


def calibrated_forest(random_state: int) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(10, random_state=random_state, n_jobs=1)
    return CalibratedClassifierCV(forest, cv=3)


ESTIMATORS = {
    **MODELS,
    "weighted_forest": weighted_forest,
    "weighted_regression": weighted_regression,
    "imputed_regression": imputed_regression,
    "searched_regression": searched_regression,
    "calibrated_forest": calibrated_forest,
    "boosting": boosting,
    "extra_trees": extra_trees,
    "one_tree": one_tree,
    "forest_without_a_split": forest_without_a_split,
}


# skl2onnx writes these with numbers of 32 bits: equal within the tolerance, not to the last bit.
IN_FLOAT32 = {"boosting", "imputed_regression", "calibrated_forest"}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_served_form_is_proved_equal_to_the_estimator(name: str, tmp_path: Path) -> None:
    fitted = fit(orchard(), ESTIMATORS[name], 42)
    write(fitted, tmp_path)
    proof = prove(fitted, tmp_path)
    assert (proof.rows, proof.label_flips) == (100, 0)
    assert proof.largest_difference <= 1e-5
    if name not in IN_FLOAT32:
        assert proof.largest_difference <= 1e-15
    assert load(tmp_path).schema == fitted.schema


@pytest.mark.parametrize("name", MODELS)
def test_one_row_scores_as_it_does_among_others(name: str, tmp_path: Path) -> None:
    training_set = orchard()
    fitted = fit(training_set, MODELS[name], 42)
    write(fitted, tmp_path)
    model = load(tmp_path)
    labels, probabilities = model.predict(training_set.columns)
    for row in range(20):
        one = {name: values[row : row + 1] for name, values in training_set.columns.items()}
        label, probability = model.predict(one)
        assert label.tolist() == [labels[row]]
        assert probability[0] == pytest.approx(probabilities[row], abs=1e-15)


def test_no_rows_are_scored_as_no_rows(tmp_path: Path) -> None:
    fitted = fit(orchard(), small_forest, 42)
    write(fitted, tmp_path)
    labels, probabilities = load(tmp_path).predict({f.name: [] for f in fitted.schema.features})
    assert (labels.tolist(), probabilities.tolist()) == ([], [])


@pytest.mark.parametrize(
    ("ones", "leaf_rows", "label"),
    [
        ([3, 3, 3], 6, 0),
        # The mean share of 1 is 0.5, that of 0 is 0.49999999999999994: so its sum is rounded.
        ([2, 3, 4], 6, 1),
        ([3, 4, 8], 10, 1),
        ([4, 3, 2], 6, 0),
    ],
)
def test_a_tie_gets_the_forests_own_label_however_its_sums_are_rounded(
    ones: list[int], leaf_rows: int, label: int, tmp_path: Path
) -> None:
    fitted = fit(orchard(), forest_without_a_split, 42)
    for tree, one in zip(fitted.estimator.estimators_, ones, strict=True):
        tree.tree_.value[0, 0, :] = [(leaf_rows - one) / leaf_rows, one / leaf_rows]
    assert fitted.predict()[0].tolist() == [label] * 100
    write(fitted, tmp_path)
    proof = prove(fitted, tmp_path)
    assert (proof.label_flips, proof.largest_difference) == (0, 0.0)


def three_stumps(random_state: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(3, max_depth=1, random_state=random_state)


def test_rows_at_a_tie_among_rows_far_from_one_each_get_their_own_label(tmp_path: Path) -> None:
    fitted = fit(orchard(), three_stumps, 42)
    for tree, one in zip(fitted.estimator.estimators_, (2, 3, 4), strict=True):
        tree.tree_.feature[0], tree.tree_.threshold[0] = 0, 0.5
        tree.tree_.value[1, 0, :] = [(6 - one) / 6, one / 6]  # a tie that the forest calls 1
        tree.tree_.value[2, 0, :] = [0.9, 0.1]
    write(fitted, tmp_path)
    matrix = np.zeros_like(fitted.validation_matrix[:5])
    matrix[:, 0] = [0, 1, 0, 1, 0]
    labels, probabilities = load(tmp_path).score(matrix)
    assert labels.tolist() == fitted.estimator.predict(matrix).tolist() == [1, 0, 1, 0, 1]
    assert (probabilities == fitted.estimator.predict_proba(matrix)[:, 1]).all()


def forest_of_50(random_state: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(50, random_state=random_state, n_jobs=1)


@pytest.mark.parametrize(
    ("shares", "exact"),
    [
        ([[0.0, 1.0], [1.0, 0.0]], True),
        ([[0.25, 0.75], [0.5, 0.5]], True),
        ([[1 / 3, 2 / 3], [1.0, 0.0]], False),
        ([[1.0, 0.0], [0.1, 0.9]], False),
        # Three trees: sums of these have 25 bits.
        ([[1.0, 0.0], [1 - 2**-23, 2**-23]], False),
        # They don't add up to 1, so that class 0's sum isn't the rest.
        ([[0.5, 0.75], [1.0, 0.0]], False),
    ],
)
def test_float32_is_used_where_it_holds_every_sum_of_shares(
    shares: list[list[float]], exact: bool, tmp_path: Path
) -> None:
    fitted = fit(orchard(), three_stumps, 42)
    for tree in fitted.estimator.estimators_:
        for leaf in (1, 2):
            tree.tree_.value[leaf, 0, :] = shares[leaf - 1]
    assert is_exact(fitted.estimator.estimators_) is exact
    write(fitted, tmp_path)
    assert (b"TreeEnsembleRegressor" in (tmp_path / "model.onnx").read_bytes()) is exact
    matrix = np.array(fitted.validation_matrix)
    probabilities = load(tmp_path).score(matrix)[1]
    assert (probabilities == fitted.estimator.predict_proba(matrix)[:, 1]).all()


def test_splits_of_a_full_forest_share_leaves(tmp_path: Path) -> None:
    import onnx

    fitted = fit(orchard(), forest_of_50, 42)
    write(fitted, tmp_path)
    written = sum(
        len(attribute.ints)
        for node in onnx.load(tmp_path / "model.onnx").graph.node
        for attribute in node.attribute
        if attribute.name == "nodes_nodeids"
    )
    grown = sum(tree.tree_.node_count for tree in fitted.estimator.estimators_)
    assert written < 0.75 * grown
    assert (prove(fitted, tmp_path).label_flips, prove(fitted, tmp_path).largest_difference) == (
        0,
        0,
    )


def test_a_forest_of_several_groups_of_trees_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = fit(orchard(), forest_of_50, 42)
    write(fitted, tmp_path)
    whole = load(tmp_path).score(fitted.validation_matrix)
    monkeypatch.setattr(forest_float32, "_NODES_TOGETHER", 400)
    write(fitted, tmp_path)
    assert (tmp_path / "model.onnx").read_bytes().count(b"TreeEnsembleRegressor") > 5
    parted = load(tmp_path).score(fitted.validation_matrix)
    assert all((one == other).all() for one, other in zip(whole, parted, strict=True))


@pytest.mark.parametrize("leaf_rows", [1, 3])
def test_a_value_on_a_threshold_or_beside_it_goes_the_forests_own_way(
    leaf_rows: int, tmp_path: Path
) -> None:
    fitted = fit(orchard(), forest_of_50, 0)
    fitted.estimator.set_params(min_samples_leaf=leaf_rows)
    # On whole numbers, so that values can be on thresholds: half of them are wholes themselves.
    wholes = np.round(fitted.validation_matrix * 2)
    fitted.estimator.fit(wholes, fitted.validation_labels)
    write(fitted, tmp_path)
    rows = []
    for tree in fitted.estimator.estimators_:
        for column, threshold in zip(tree.tree_.feature, tree.tree_.threshold, strict=True):
            if column >= 0:
                on = np.float32(threshold)
                for value in (on, np.nextafter(on, -np.inf), np.nextafter(on, np.inf)):
                    row = wholes[len(rows) % len(wholes)].copy()
                    row[column] = value
                    rows.append(row)
    matrix = np.array(rows)
    labels, probabilities = load(tmp_path).score(matrix)
    assert (labels == fitted.estimator.predict(matrix)).all()
    assert (probabilities == fitted.estimator.predict_proba(matrix)[:, 1]).all()


def test_on_the_real_month_a_forest_with_many_ties_flips_no_label(tmp_path: Path) -> None:
    fitted = fit(real_month(), forest_of_50, 0)
    assert np.sum(fitted.predict()[1] == 0.5) > 10
    write(fitted, tmp_path)
    proof = prove(fitted, tmp_path)
    assert (proof.rows, proof.label_flips, proof.largest_difference) == (1761, 0, 0.0)


DIGEST_IN_A_NEW_PROCESS = """
import sys
from pathlib import Path
from churn.model import MODELS
from streamflow.training.export import write
from streamflow.training.served_model import digest
from streamflow.training.fit import fit
from tests.orchard import orchard
for name, build in MODELS.items():
    folder = Path(sys.argv[1]) / name
    write(fit(orchard(), build, 42), folder)
    print(name, digest(folder))
"""


@pytest.mark.parametrize("hash_seed", ["1", "30"])  # with 30, skl2onnx has another order of sets
def test_the_same_fit_gives_the_same_bytes_in_another_process(
    hash_seed: str, tmp_path: Path
) -> None:
    output = subprocess.run(
        [sys.executable, "-c", DIGEST_IN_A_NEW_PROCESS, str(tmp_path / "other")],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    digests = dict(line.split() for line in output.splitlines())
    for name, build in MODELS.items():
        write(fit(orchard(), build, 42), tmp_path / name)
        assert digest(tmp_path / name) == digests[name], name


def test_writing_again_in_another_form_leaves_no_trace_of_the_first(tmp_path: Path) -> None:
    write(fit(orchard(), small_forest, 42), tmp_path)
    write(fit(orchard(), MODELS["lightgbm"], 42), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [SCHEMA_FILE, "model.lightgbm.txt"]
    write(fit(orchard(), MODELS["lightgbm"], 42), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [SCHEMA_FILE, "model.lightgbm.txt"]


def with_one_threshold_moved(content: bytes) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    trees = next(node for node in model.graph.node if node.op_type == "TreeEnsemble")
    splits = next(attribute for attribute in trees.attribute if attribute.name == "nodes_splits")
    thresholds = np.frombuffer(splits.t.raw_data).copy()
    thresholds[0] = 1e9
    splits.t.raw_data = thresholds.tobytes()
    damaged: bytes = model.SerializeToString()
    return damaged


def test_a_model_with_one_threshold_changed_is_refused_with_how_far_it_is_off(
    tmp_path: Path,
) -> None:
    fitted = fit(orchard(), small_forest, 42)
    write(fitted, tmp_path)
    path = tmp_path / "model.onnx"
    path.write_bytes(with_one_threshold_moved(path.read_bytes()))
    with pytest.raises(ServedFormDiffers, match=r"RandomForestClassifier .* of 100 labels flip"):
        prove(fitted, tmp_path)


def test_a_model_that_differs_by_its_labels_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = fit(orchard(), small_forest, 42)
    write(fitted, tmp_path)
    labels, probabilities = fitted.predict()
    labels[0] = 1 - labels[0]
    monkeypatch.setattr(Fitted, "predict", lambda self: (labels, probabilities))
    with pytest.raises(ServedFormDiffers, match="1 of 100 labels flip"):
        prove(fitted, tmp_path)


def test_a_probability_that_is_no_number_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = fit(orchard(), small_forest, 42)
    write(fitted, tmp_path)
    labels, probabilities = fitted.predict()
    monkeypatch.setattr(Fitted, "predict", lambda self: (labels, probabilities * np.nan))
    with pytest.raises(ServedFormDiffers, match="up to nan apart"):
        prove(fitted, tmp_path)


@pytest.mark.parametrize("name", ["random_forest", "lightgbm", "xgboost"])
def test_a_model_cut_short_is_refused(name: str, tmp_path: Path) -> None:
    fitted = fit(orchard(), MODELS[name], 42)
    write(fitted, tmp_path)
    path = next(path for path in tmp_path.iterdir() if path.name != SCHEMA_FILE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ServedFormDiffers):
        prove(fitted, tmp_path)


def test_an_estimator_without_a_form_free_of_code_is_refused_by_name(tmp_path: Path) -> None:
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Oracle(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        def fit(self, matrix: Any, labels: Any) -> Any:
            self.classes_ = np.unique(labels)
            return self

        def predict(self, matrix: Any) -> Any:
            return np.zeros(len(matrix), dtype=int)

        def predict_proba(self, matrix: Any) -> Any:
            return np.tile([0.9, 0.1], (len(matrix), 1))

    with pytest.raises(UnservableModel, match="Oracle") as refused:
        write(fit(orchard(), lambda random_state: Oracle(), 42), tmp_path)
    assert "--model" in refused.value.next


def test_a_converters_error_is_one_line_however_long_the_library_makes_it(tmp_path: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    fitted = fit(orchard(), lambda state: HistGradientBoostingClassifier(random_state=state), 42)
    with pytest.raises(UnservableModel, match="HistGradientBoostingClassifier") as refused:
        write(fitted, tmp_path)
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 500
    assert "scikit-learn's forests" in refused.value.next


def test_importing_the_writer_of_served_forms_imports_no_library_of_models() -> None:
    code = (
        f"import sys, {export.__name__}, streamflow.training.plots, churn.model; "
        "print([m for m in ('sklearn', 'onnx', 'skl2onnx', 'matplotlib', 'lightgbm', 'xgboost', "
        "'pandas') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "[]"
