"""The model as it's served: its matrix, its digest, and its use through MLflow."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.orchard import orchard, small_forest
from tests.training_tables import encoded_names

from streamflow.training.export import write
from streamflow.training.fit import fit
from streamflow.training.served_model import (
    SCHEMA_FILE,
    Feature,
    FeatureSchema,
    UnseenCategory,
    UnseenNull,
    _load_pyfunc,
    digest,
    encode,
    encoded_columns,
    load,
)

SCHEMA = FeatureSchema(
    "orchard_v1",
    "tree",
    "tree_id",
    (
        Feature("age_years", "tree_fv", "INT64", nullable=False),
        Feature("grafted", "tree_fv", "BOOL", nullable=True),
        Feature("variety", "tree_fv", "STRING", nullable=True, categories=("Boskoop", "Cox")),
    ),
)
COLUMNS = {
    "age_years": [3, 50, 7],
    "grafted": [True, None, False],
    "variety": ["Cox", "Boskoop", None],
}
MATRIX = [
    [3, 1, 0, 0, 1, 0],
    [50, 0, 1, 1, 0, 0],
    [7, 0, 0, 0, 0, 1],
]


def test_a_null_is_a_column_of_its_own_and_a_category_one_of_several() -> None:
    assert encoded_names(SCHEMA) == [
        "age_years",
        "grafted",
        "grafted=null",
        "variety=Boskoop",
        "variety=Cox",
        "variety=null",
    ]
    assert encode(SCHEMA, COLUMNS).tolist() == MATRIX
    assert encoded_columns(SCHEMA) == [slice(0, 1), slice(1, 3), slice(3, 6)]


def test_arrays_and_nans_are_encoded_like_lists_and_nones() -> None:
    arrays = {
        "age_years": np.array([3, 50, 7], dtype=np.int32),
        "grafted": np.array([1.0, np.nan, 0.0]),
        "variety": np.array(["Cox", "Boskoop", float("nan")], dtype=object),
    }
    assert encode(SCHEMA, arrays).tolist() == MATRIX


def test_rows_are_encoded_one_by_one_as_all_at_once() -> None:
    for row in range(3):
        one = {name: values[row : row + 1] for name, values in COLUMNS.items()}
        assert encode(SCHEMA, one).tolist() == [MATRIX[row]]


@pytest.mark.parametrize("null", [None, float("nan")])
def test_a_null_that_the_model_doesnt_allow_is_refused(null: Any) -> None:
    with pytest.raises(ValueError, match="'age_years' is null"):
        encode(SCHEMA, {**COLUMNS, "age_years": [null, 50, 7]})
    strict = replace(
        SCHEMA, features=(*SCHEMA.features[:2], replace(SCHEMA.features[2], nullable=False))
    )
    with pytest.raises(ValueError, match="'variety' is null"):
        encode(strict, {**COLUMNS, "variety": ["Cox", "Boskoop", null]})


def test_the_refused_null_is_named_and_not_one_before_it_that_is_allowed() -> None:
    height = Feature("height_cm", "tree_fv", "FLOAT64", nullable=False)
    schema = replace(SCHEMA, features=(SCHEMA.features[1], height))
    with pytest.raises(ValueError, match="'height_cm' is null"):
        encode(schema, {"grafted": [None, True], "height_cm": [80.5, None]})


def test_a_category_that_training_never_saw_is_refused_by_name() -> None:
    with pytest.raises(UnseenCategory) as refused:
        encode(SCHEMA, {**COLUMNS, "variety": ["Cox", "Elstar", None]})
    assert (refused.value.feature, refused.value.value) == ("variety", "Elstar")


NULL_UNSEEN = replace(
    SCHEMA,
    features=(
        replace(SCHEMA.features[0], absent="null", null_seen=False),
        replace(SCHEMA.features[1], null_seen=False),
        replace(SCHEMA.features[2], null_seen=False),
    ),
)


def with_rule(rule: Any) -> FeatureSchema:
    features = tuple(replace(feature, unseen=rule) for feature in NULL_UNSEEN.features)
    return replace(NULL_UNSEEN, features=features)


@pytest.mark.parametrize("name", ["age_years", "grafted", "variety"])
def test_a_null_that_training_never_saw_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnseenNull) as refused:
        encode(NULL_UNSEEN, {"age_years": [3], "grafted": [True], "variety": ["Cox"], name: [None]})
    assert refused.value.feature == name


def test_what_training_never_saw_is_encoded_where_the_model_allows_it() -> None:
    unseen = {
        "age_years": [None, 50],
        "grafted": [None, False],
        "variety": [None, "Elstar"],
    }
    assert encoded_names(NULL_UNSEEN)[:2] == ["age_years", "age_years=null"]
    null, category = encode(with_rule("warn"), unseen).tolist()
    assert null == [0, 1, 0, 1, 0, 0, 1]
    assert category == [50, 0, 0, 0, 0, 0, 0]
    # As of no known category: the column of nulls was 0 in all of the training set too.
    null, category = encode(with_rule("other"), unseen).tolist()
    assert null[-3:] == [0, 0, 0]
    assert category == [50, 0, 0, 0, 0, 0, 0]


def test_a_model_of_before_is_served_as_it_was() -> None:
    document = json.loads(SCHEMA.to_json())
    for feature in document["features"]:
        for name in ("absent", "unseen", "null_seen"):
            del feature[name]
    before = FeatureSchema.from_json(json.dumps(document))
    assert before == SCHEMA
    assert [(one.absent, one.unseen, one.null_seen) for one in before.features] == [
        ("refuse", "refuse", True)
    ] * 3
    assert encode(before, COLUMNS).tolist() == MATRIX


def test_the_document_of_a_model_without_a_rule_for_the_departed_is_what_it_always_was() -> None:
    assert list(json.loads(SCHEMA.to_json())) == [
        *("feature_service", "entity", "join_key", "features")
    ]
    ruled = replace(SCHEMA, departed_after_seconds=0.0)
    assert FeatureSchema.from_json(ruled.to_json()) == ruled


def test_a_missing_column_and_one_of_another_length_are_refused() -> None:
    with pytest.raises(KeyError, match="variety"):
        encode(SCHEMA, {"age_years": [3], "grafted": [True]})
    with pytest.raises(ValueError, match="'grafted' has 1 values for 3 rows"):
        encode(SCHEMA, {**COLUMNS, "grafted": [True]})


def test_many_rows_are_encoded_in_parts_and_refused_like_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamflow.training.served_model.encoding._PART_ROWS", 2)
    assert encode(SCHEMA, COLUMNS).tolist() == MATRIX
    with pytest.raises(UnseenCategory, match="'variety' has the unseen value 'Elstar'"):
        encode(SCHEMA, {**COLUMNS, "variety": ["Cox", "Boskoop", "Elstar"]})
    with pytest.raises(ValueError, match="'age_years' is null"):
        encode(SCHEMA, {**COLUMNS, "age_years": [3, 50, None]})


def test_a_schema_survives_its_file() -> None:
    assert FeatureSchema.from_json(SCHEMA.to_json()) == SCHEMA


def test_a_folder_without_a_model_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / SCHEMA_FILE).write_text(SCHEMA.to_json())
    with pytest.raises(FileNotFoundError, match=r"model\.onnx"):
        load(tmp_path)


def test_the_digest_depends_on_every_byte_and_name(tmp_path: Path) -> None:
    digests = set()
    for name, content in (("a", b"12"), ("b", b"12"), ("a", b"13")):
        (tmp_path / name).write_bytes(content)
        digests.add(digest(tmp_path))
    assert len(digests) == 3


def test_the_pyfunc_model_takes_a_frame_with_every_kind_of_null(tmp_path: Path) -> None:
    import pandas

    training_set = orchard()
    fitted = fit(training_set, small_forest, 42)
    write(fitted, tmp_path)
    expected = load(tmp_path).predict(training_set.columns)[1].tolist()
    frame = pandas.DataFrame(
        {
            name: pandas.Series(values, dtype=object if name == "grafted" else None)
            for name, values in training_set.columns.items()
        }
    ).set_axis(training_set.entities)
    for same in (frame, frame.convert_dtypes(), frame.astype({"grafted": float})):
        result = _load_pyfunc(str(tmp_path)).predict(same)
        assert result["probability"].tolist() == expected
        assert result.index.tolist() == training_set.entities


def test_what_travels_with_a_model_needs_numpy_alone(tmp_path: Path) -> None:
    from streamflow.training import served_model

    package = Path(served_model.__file__).parent
    shutil.copytree(package, tmp_path / package.name)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import served_model; "
        "print(served_model.__file__, served_model._load_pyfunc is not None); "
        "print([m for m in ('streamflow', 'pandas', 'onnxruntime', 'sklearn') if m in sys.modules])"
    )
    where, loaded = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert where == f"{tmp_path / package.name / '__init__.py'} True"
    assert loaded == "[]"


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "name",
    ["model.onnx", "model.lightgbm.txt", "model.xgboost.json", "model.pkl", "python_model.pkl"],
)
def test_a_pickle_in_a_model_is_never_opened(tmp_path: Path, name: str) -> None:
    folder, opened = tmp_path / "model", tmp_path / "opened"
    folder.mkdir()
    (folder / SCHEMA_FILE).write_text(SCHEMA.to_json())
    (folder / name).write_bytes(pickle.dumps(Trap(opened)))
    with pytest.raises(Exception, match=r"."):
        load(folder)
    assert not opened.exists()
    pickle.loads((folder / name).read_bytes())
    assert opened.exists(), "the trap itself must work"
