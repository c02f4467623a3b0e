"""Two lineages in words: each factor that moved, and how."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from streamflow.features.feature_views import FeatureViewDefinition
from streamflow.history.ingestions import Ingestion
from streamflow.lineage.code import Code, Package
from streamflow.lineage.compare import Factor, compare
from streamflow.lineage.compare_tables import Difference, table_difference
from streamflow.lineage.configuration import Configuration, LabelDefinition
from streamflow.lineage.data import Data
from streamflow.lineage.document import Lineage, Model
from streamflow.lineage.environment import Blas, Environment, Processor, Randomness
from streamflow.training import canonical
from streamflow.training.served_model import Feature, FeatureSchema

FEE = Feature("fee", "billing_fv", "FLOAT64", nullable=False)
PLAN = Feature("plan", "billing_fv", "STRING", nullable=False)
VISITS = Feature("visits", "activity_fv", "INT64", nullable=False)
KNOWN = datetime(2024, 2, 5, tzinfo=UTC)


def view(table: str, **features: str) -> FeatureViewDefinition:
    return FeatureViewDefinition(
        ["user"], 3600.0, table, table, "event_timestamp", "recorded_at", {}, features
    )


CONFIGURATION = Configuration(
    use_case="example",
    entity_table="users",
    label=LabelDefinition("labels", "left", 0.0),
    feature_schema=FeatureSchema("example_v1", "user", "user_id", (FEE, PLAN, VISITS)),
    feature_views={
        "billing_fv": view("billing", fee="Float64", plan="String"),
        "activity_fv": view("activity", visits="Int64"),
    },
    model="forest",
    estimator="sklearn.ensemble.Forest",
    parameters={"trees": 10, "depth": None},
    validation_share=0.25,
)
ENVIRONMENT = Environment(
    python="3.11.2",
    platform="Linux",
    lock_hash="a" * 64,
    versions={"numpy": "2.0", "scikit-learn": "1.8.0"},
    processor=Processor("Good CPU", ["avx2", "fma"]),
    blas=[Blas("numpy", "openblas", "0.3.31", "Zen")],
    kernels={},
)


def table(**changed: Any) -> Any:
    columns = {"fee": [1.0, 2.0], "plan": ["a", "b"], "visits": [3, 4], **changed}
    kinds = {"fee": "FLOAT64", "plan": "STRING", "visits": "INT64"}
    return canonical.table(
        [
            ("user_id", "STRING", changed.get("user_id", ["ann", "bob"])),
            *((name, kind, columns[name]) for name, kind in kinds.items()),
            ("label", "BOOL", columns.get("label", [True, False])),
        ]
    )


def lineage(rows: Any = None) -> Lineage:
    whole, columns = canonical.hashes(rows or table())
    return Lineage(
        format=1,
        data=Data(date(2024, 1, 31), KNOWN, whole, 2, 0, 0, columns, []),
        code=Code("1" * 40, None, {"churn": Package("c" * 64, {"model.py": "d" * 64})}),
        environment=ENVIRONMENT,
        configuration=CONFIGURATION,
        randomness=Randomness(42, {"n_jobs": 1}, {"blas": 2}, {}),
        model=Model("e" * 64, "f" * 64, 1),
    )


def moved(
    after: Lineage, before: Lineage | None = None, difference: Difference | None = None
) -> dict[str, list[str]]:
    return {
        factor.name: factor.said
        for factor in compare(before or lineage(), after, difference)
        if not factor.same
    }


def test_two_alike_are_the_same_in_every_factor() -> None:
    factors = compare(lineage(), lineage(), None)
    assert all(factor.same for factor in factors)
    assert factors[0] == Factor("data", True, ["2 rows"])


ENVIRONMENTS = {
    "scikit-learn 1.8.0 → 1.9.1": {"versions": {"numpy": "2.0", "scikit-learn": "1.9.1"}},
    "numpy 2.0 → (none)": {"versions": {"scikit-learn": "1.8.0"}},
    "Python 3.11.2 → 3.12.1": {"python": "3.12.1"},
    "Platform Linux → Darwin": {"platform": "Darwin"},
    "processor Good CPU → Old CPU": {"processor": Processor("Old CPU", ["avx2", "fma"])},
    "processor's flags gone: fma": {"processor": Processor("Good CPU", ["avx2"])},
    "processor's flags new: sse": {"processor": Processor("Good CPU", ["avx2", "fma", "sse"])},
    "BLAS of numpy: openblas 0.3.31 for Zen → openblas 0.3.31 for Haswell": {
        "blas": [Blas("numpy", "openblas", "0.3.31", "Haswell")]
    },
    "MKL_CBWR (none) → AVX2": {"kernels": {"MKL_CBWR": "AVX2"}},
}


@pytest.mark.parametrize("words", ENVIRONMENTS)
def test_an_environment_that_moved_is_told(words: str) -> None:
    after = replace(lineage(), environment=replace(ENVIRONMENT, **ENVIRONMENTS[words]))
    assert moved(after) == {"environment": [words]}


def test_another_lock_with_the_same_versions_is_the_same_environment() -> None:
    locked = replace(ENVIRONMENT, lock_hash="b" * 64)
    assert compare(lineage(), replace(lineage(), environment=locked), None)[2] == Factor(
        "environment", True, ["2 packages; lock aaaaaaa → bbbbbbb changes none of them"]
    )
    older = replace(lineage(), environment=replace(locked, python="3.10.1"))
    assert moved(older)["environment"] == ["Python 3.11.2 → 3.10.1", "lock aaaaaaa → bbbbbbb"]


def code(commit: str | None, **files: str) -> Code:
    return Code(
        commit, None, {"churn": Package("0" * 64, {f"{n}.py": h for n, h in files.items()})}
    )


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (code("2" * 40, model="0"), "commit 1111111 → 2222222, 1 file: churn/model.py"),
        (code("1" * 40, model="0"), "changed at commit 1111111, 1 file: churn/model.py"),
        (
            code(None, model="0", label="1"),
            "commit 1111111 → no commit, 2 files: churn/label.py, churn/model.py",
        ),
        (
            code("2" * 40, **{f"m{i}": "0" for i in range(7)}),
            "commit 1111111 → 2222222, 8 files: churn/m0.py, churn/m1.py, churn/m2.py, "
            "churn/m3.py, churn/m4.py, …",
        ),
    ],
)
def test_code_that_moved_is_told(after: Code, words: str) -> None:
    assert moved(replace(lineage(), code=after)) == {"code": [words]}


def test_another_commit_with_the_same_sources_is_the_same_code() -> None:
    after = replace(lineage(), code=replace(lineage().code, commit="2" * 40))
    assert moved(after) == {}
    assert compare(lineage(), after, None)[1].said == [
        "the same sources; commit 1111111 → 2222222 touches none of it"
    ]


def test_what_configuration_asks_for_is_told_by_its_path() -> None:
    features = FeatureSchema("example_v1", "user", "user_id", (PLAN, FEE, VISITS))
    for words, changed in {
        "parameters.trees 10 → 20": {"parameters": {"trees": 20, "depth": None}},
        "parameters.depth (none) → 3": {"parameters": {"trees": 10, "depth": 3}},
        "validation_share 0.25 → 0.3": {"validation_share": 0.3},
        "label.horizon_seconds 0.0 → 86400.0": {
            "label": LabelDefinition("labels", "left", 86400.0)
        },
        "feature_schema.features in another order": {"feature_schema": features},
    }.items():
        after = replace(lineage(), configuration=replace(CONFIGURATION, **changed))
        assert moved(after) == {"configuration": [words]}


def test_another_rule_for_absent_rows_explains_the_rows_that_come_and_go() -> None:
    rows = canonical.table(
        [(f.name, kind, [v]) for f, kind, v in zip(table().schema, KINDS, VALUES, strict=True)]
    )
    features = (replace(FEE, absent="null"), replace(PLAN, absent="null"), VISITS)
    schema = replace(CONFIGURATION.feature_schema, features=features)
    before = lineage(rows)
    refused = replace(before.data, without_features=1, without_row={"billing": 1})
    before = replace(before, data=refused)
    after = replace(lineage(), configuration=replace(CONFIGURATION, feature_schema=schema))
    found = moved(after, before, table_difference(rows, table()))
    assert "data" not in found
    assert "feature_schema.features.fee.absent refuse → null" in found["configuration"]
    assert "1 row came; first: user bob" in found["configuration"]
    # Under the same rule it is the data that has moved.
    told = moved(lineage(), before, table_difference(rows, table()))["data"]
    assert "left out without a row in billing: 1 → 0" in told


def test_a_lineage_of_before_has_the_rules_of_before() -> None:
    document = json.loads(lineage().to_json())
    for feature in document["configuration"]["feature_schema"]["features"]:
        for name in ("absent", "unseen", "null_seen"):
            del feature[name]
    for name in ("without_row", "taken_as_null"):
        del document["data"][name]
    assert Lineage.from_json(json.dumps(document)) == lineage()


def test_randomness_is_told_apart_from_configuration() -> None:
    after = replace(lineage(), randomness=Randomness(7, {"n_jobs": 2}, {"blas": 1}, {"X": "1"}))
    assert moved(after) == {
        "randomness": [
            "parameters.n_jobs 1 → 2",
            "random_state 42 → 7",
            "threads.blas 2 → 1",
            "variables.X (none) → 1",
        ]
    }


def test_values_that_a_changed_definition_changes_are_told_under_configuration() -> None:
    after_table = table(fee=[1.0, 9.0], visits=[3, 5])
    billing = view("other", fee="Float64", plan="String")
    views = {**CONFIGURATION.feature_views, "billing_fv": replace(billing, source="billing")}
    after = replace(lineage(after_table), configuration=replace(CONFIGURATION, feature_views=views))
    found = moved(after, difference=table_difference(table(), after_table))
    assert found["data"] == ["1 row of activity: visits; first: user bob 4 → 5"]
    assert "1 row of billing: fee; first: user bob 2.0 → 9.0" in found["configuration"]


def test_rows_that_a_changed_definition_loses_are_told_under_configuration() -> None:
    rows = canonical.table(
        [(f.name, kind, [v]) for f, kind, v in zip(table().schema, KINDS, VALUES, strict=True)]
    )
    views = {**CONFIGURATION.feature_views, "billing_fv": view("other", fee="Float64")}
    after = lineage(rows)
    after = replace(
        after,
        data=replace(after.data, without_features=1),
        configuration=replace(CONFIGURATION, feature_views=views),
    )
    found = moved(after, difference=table_difference(table(), rows))
    assert "data" not in found
    assert "1 row gone; first: user bob" in found["configuration"]


KINDS = ("STRING", "FLOAT64", "STRING", "INT64", "BOOL")
VALUES = ("ann", 1.0, "a", 3, True)


def test_ingestions_that_came_or_went_explain_other_data() -> None:
    rows = table(fee=[1.0, 9.0])
    ingestion = Ingestion(3, date(2024, 1, 31), KNOWN, datetime(2024, 3, 1, tzinfo=UTC), [])
    after = lineage(rows)
    after = replace(after, data=replace(after.data, ingestions=[ingestion]))
    told = (
        "ingestion 3 (as of 2024-01-31, recorded 2024-02-05T00:00:00+00:00, "
        "loaded 2024-03-01T00:00:00+00:00)"
    )
    assert moved(after, difference=table_difference(table(), rows))["data"][-1] == f"{told} came"
    assert moved(lineage(), after, table_difference(rows, table()))["data"][-1] == f"{told} is gone"


def test_forgotten_rows_are_told_from_rows_that_moved() -> None:
    before = lineage()
    one = table(user_id=["ann"], fee=[1.0], plan=["a"], visits=[3], label=[True])
    after = replace(lineage(one), data=replace(lineage(one).data, rows=1))
    nothing = Difference([], [], [])
    told = "1 row was forgotten; the other 1 is as it was"

    for old, new in ((before, after), (after, before)):
        data = compare(old, new, nothing, forgotten=1)[0]
        assert data == Factor("data", False, [told])
    gone = compare(before, after, Difference(["bob"], [], []), forgotten=1)[0]
    assert gone.said[:2] == ["1 row gone; first: user bob", "1 row was forgotten"]
