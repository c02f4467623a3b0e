"""Fingerprints: the same for the same, another for anything else."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.git import commit, git
from tests.training_tables import data_hash

from streamflow.lineage.code import Code, code, package, uncommitted
from streamflow.lineage.environment import environment
from streamflow.training.dataset import TrainingSet
from streamflow.training.served_model import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    feature_service="example_v1",
    entity="user",
    join_key="user_id",
    features=(
        Feature("visits", "activity", "INT64", nullable=True),
        Feature("fee", "billing", "FLOAT64", nullable=True),
        Feature("coupon", "billing", "BOOL", nullable=True),
        Feature("plan", "billing", "STRING", nullable=True),
    ),
)
EXAMPLE = TrainingSet(
    schema=SCHEMA,
    entities=["ann", "bob", "zoë"],
    as_ofs=[date(2024, 1, 31)] * 3,
    columns={
        "visits": [3, -(2**63), None],
        "fee": [29.85, None, -0.0],
        "coupon": [True, False, None],
        "plan": ["basic", "", None],
    },
    labels=[True, False, True],
    known_at=datetime(2024, 3, 1, tzinfo=UTC),
)

Change = Callable[[TrainingSet], TrainingSet]


def with_value(column: str, row: int, value: Any) -> Change:
    def change(example: TrainingSet) -> TrainingSet:
        values = list(example.columns[column])
        values[row] = value
        return replace(example, columns={**example.columns, column: values})

    return change


def with_features(*features: Feature) -> Change:
    return lambda example: replace(example, schema=replace(example.schema, features=features))


VISITS, FEE, COUPON, PLAN = SCHEMA.features
CHANGES: dict[str, Change] = {
    "an integer": with_value("visits", 0, 4),
    "a null integer that is 0": with_value("visits", 2, 0),
    "the last bit of a float": with_value("fee", 0, 29.850000000000005),
    "the sign of zero": with_value("fee", 2, 0.0),
    "a null float that is 0": with_value("fee", 1, 0.0),
    "a boolean": with_value("coupon", 0, False),
    "a null boolean that is false": with_value("coupon", 2, False),
    "a text": with_value("plan", 0, "Basic"),
    "an empty text that is null": with_value("plan", 1, None),
    "a null text that is empty": with_value("plan", 2, ""),
    "two values of a row that change places": lambda e: with_value("plan", 1, "basic")(
        with_value("plan", 0, "")(e)
    ),
    "a label": lambda e: replace(e, labels=[False, False, True]),
    "an entity": lambda e: replace(e, entities=["ann", "bob", "zoe"]),
    "the features' order": with_features(FEE, VISITS, COUPON, PLAN),
    "a feature's name": lambda e: with_features(replace(VISITS, name="calls"), FEE, COUPON, PLAN)(
        replace(e, columns={**e.columns, "calls": e.columns["visits"]})
    ),
    "a feature less": with_features(VISITS, FEE, COUPON),
    "the join key": lambda e: replace(e, schema=replace(e.schema, join_key="account_id")),
    "a row less": lambda e: replace(
        e,
        entities=e.entities[:2],
        as_ofs=e.as_ofs[:2],
        labels=e.labels[:2],
        columns={name: values[:2] for name, values in e.columns.items()},
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_data_hash_tells(what: str) -> None:
    assert data_hash(CHANGES[what](EXAMPLE)) != data_hash(EXAMPLE)


def test_no_two_of_these_changes_have_the_same_hash() -> None:
    hashes = [data_hash(change(EXAMPLE)) for change in CHANGES.values()]
    assert len(set(hashes)) == len(hashes)


SAME: dict[str, Change] = {
    "the as_of": lambda e: replace(e, as_ofs=[date(2024, 2, 29)] * 3),
    "when it was known": lambda e: replace(e, known_at=datetime(2025, 1, 1, tzinfo=UTC)),
    "the order of the columns' dict": lambda e: replace(
        e, columns=dict(reversed(list(e.columns.items())))
    ),
    "a column that no feature names": lambda e: replace(
        e, columns={**e.columns, "note": [1, 2, 3]}
    ),
    "the categories": with_features(VISITS, FEE, COUPON, replace(PLAN, categories=("", "basic"))),
    "the allowed age": with_features(VISITS, replace(FEE, max_age_seconds=1.0), COUPON, PLAN),
}


@pytest.mark.parametrize("what", SAME)
def test_the_data_hash_is_of_the_data_alone(what: str) -> None:
    assert data_hash(SAME[what](EXAMPLE)) == data_hash(EXAMPLE)


def test_the_data_hash_is_this_one_for_good() -> None:
    """Runs are compared by it over years, so no version of StreamFlow may make another."""
    assert data_hash(EXAMPLE) == "8b8ada0aa34f4811b12b9a4830c8c2ae93a1a0891a0dea0987da1502278f8da4"


def test_the_data_hash_is_over_these_bytes() -> None:
    little = TrainingSet(
        schema=replace(SCHEMA, features=(VISITS, PLAN)),
        entities=["a"],
        as_ofs=EXAMPLE.as_ofs[:1],
        columns={"visits": [258], "plan": [None]},
        labels=[True],
        known_at=EXAMPLE.known_at,
    )
    written = (
        b"user_id\0STRING\x001\0" + b"\1" + b"\1\0\0\0\0\0\0\0" + b"a"
        b"visits\0INT64\x001\0" + b"\1" + b"\2\1\0\0\0\0\0\0"
        b"plan\0STRING\x001\0" + b"\0"
        b"label\0BOOL\x001\0" + b"\1\1"
    )
    assert data_hash(little) == hashlib.sha256(written).hexdigest()


def test_an_integer_beyond_64_bits_is_refused_and_not_cut() -> None:
    with pytest.raises(OverflowError):
        data_hash(with_value("visits", 0, 2**63)(EXAMPLE))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout with one commit."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    (folder / "file").write_text("1")
    git(folder, "init", "--quiet")
    git(folder, "add", "file")
    commit(folder)
    return folder


def test_code_is_the_commit_and_what_differs_from_it(checkout: Path) -> None:
    clean = code([], checkout)
    assert clean.commit is not None
    assert len(clean.commit) == 40
    assert not clean.dirty
    (checkout / "untracked").write_text("a scratch file")
    assert code([], checkout) == clean
    (checkout / "file").write_text("2")
    dirty = code([], checkout)
    assert dirty.commit == clean.commit
    assert dirty.dirty
    assert dirty.diff_hash == hashlib.sha256(uncommitted(checkout)).hexdigest()
    (checkout / "file").write_text("3")
    assert code([], checkout) != dirty


def test_outside_of_a_checkout_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert code([], tmp_path) == Code(None, None, {})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code([], tmp_path) == Code(None, None, {})


def test_a_package_is_its_files_with_git_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a_package"
    for inner in ("inner", ".cache"):
        (folder / inner).mkdir(parents=True)
    for file in ("__init__.py", "inner/queries.sql", "inner/__init__.pyc", ".hidden", ".cache/a"):
        (folder / file).write_text(file)
    monkeypatch.syspath_prepend(tmp_path)
    before = package("a_package")
    assert list(before.files) == ["__init__.py", "inner/queries.sql"]

    (folder / "inner/queries.sql").write_text("SELECT 1")
    after = package("a_package")
    assert after.hash != before.hash
    assert {file for file in after.files if after.files[file] != before.files[file]} == {
        "inner/queries.sql"
    }
    assert package("a_package_that_isnt_there").files == {}


def test_a_module_that_is_one_file_is_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one_module.py").write_text("use_case = 1")
    (tmp_path / "another.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert list(package("one_module").files) == ["one_module.py"]


def test_the_environment_is_what_is_installed_and_its_lock(tmp_path: Path) -> None:
    unlocked = environment(tmp_path)
    (tmp_path / "requirements.lock").write_bytes(b"numpy==2.0\n")
    locked = environment(tmp_path)

    assert locked.lock_hash == hashlib.sha256(b"numpy==2.0\n").hexdigest()
    assert unlocked.lock_hash != locked.lock_hash
    assert unlocked.versions == locked.versions
    assert list(locked.versions) == sorted(locked.versions)
    assert json.loads(json.dumps(locked.versions))["pytest"] == pytest.__version__
    assert locked.python == ".".join(map(str, sys.version_info[:3]))
