"""Versions that each gate stops, with the real registry, feature store and database."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from sklearn.ensemble import RandomForestClassifier
from tests import tiny_case
from tests.conftest import OwnDatabase

from streamflow.bootstrap import platform
from streamflow.lineage import judged_version
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.train import train
from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.promotion.change import Change
from streamflow.promotion.check_version import check_version
from streamflow.promotion.errors import GateFailed
from streamflow.promotion.facts.segment_values import segment_values
from streamflow.promotion.gates.result import GATES, GateReport, GateResult
from streamflow.promotion.lookup import anchors
from streamflow.promotion.promote import promote, rollback
from streamflow.settings import load_settings
from streamflow.training.split import Choice
from streamflow.use_case import Gates, Generation, Table

pytestmark = pytest.mark.slow

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
MACHINES = 3000


class Forest(RandomForestClassifier):  # type: ignore[misc]
    """A small forest; others below spoil it."""


class Shuffled(Forest):
    """Learns from labels that are anybody's."""

    def fit(self, features: Any, labels: Any) -> Shuffled:
        order = np.random.default_rng(self.random_state).permutation(len(labels))
        super().fit(features, labels[order])
        return self


class Unrepeatable(Forest):
    """Learns from other rows each time."""

    def fit(self, features: Any, labels: Any) -> Unrepeatable:
        rows = np.random.default_rng().permutation(len(labels))[1:]
        super().fit(features[rows], labels[rows])
        return self


class WorseForPresses(Forest):
    """Learns nothing of the machines of one kind, which are in the third column."""

    def fit(self, features: Any, labels: Any) -> WorseForPresses:
        labels = labels.copy()
        presses = np.flatnonzero(features[:, 2] == 1)
        random = np.random.default_rng(self.random_state)
        labels[presses] = random.permutation(labels[presses])
        super().fit(features, labels)
        return self


class Halved(Forest):
    """Ranks as well as before, and promises half of what comes true."""

    def fit(self, features: Any, labels: Any) -> Halved:
        super().fit(features, labels)
        for tree in self.estimators_:
            values = tree.tree_.value
            values[:, 0, 1] /= 2
            values[:, 0, 0] = 1 - values[:, 0, 1]
        return self


class Slow(Forest):
    """Asks each tree many times."""

    def fit(self, features: Any, labels: Any) -> Slow:
        super().fit(features, labels)
        self.estimators_ = self.estimators_ * 150
        return self


def built(kind: type[Forest], trees: int = 20) -> Callable[[int], Any]:
    return lambda random_state: kind(
        n_estimators=trees, min_samples_leaf=20, random_state=random_state
    )


# By model, what stops it: first its own gate, then those that see the same fault in segments.
SPOILED = {
    "shuffled": (Shuffled, ["quality", "segments"]),
    "unrepeatable": (Unrepeatable, ["recreated"]),
    "halved": (Halved, ["calibration", "segments"]),
    "worse for presses": (WorseForPresses, ["segments"]),
    "slow": (Slow, ["latency"]),
}


def tables() -> tuple[Table, ...]:
    """Those of the machines, and what repairs cost, which no model is to know."""
    from pandera.pandas import Column, DataFrameSchema

    columns = {"machine_id": Column("string"), "cost": Column("Float64")}
    return (*tiny_case.tables(), Table("repairs", DataFrameSchema(columns)))


def write_repairs(folder: Path) -> None:
    """Whatever failed was repaired."""
    with (folder / "failures.csv").open(newline="") as failures:
        costs = [
            (row["machine_id"], 99.0 * (row["fails"] == "True")) for row in csv.DictReader(failures)
        ]
    with (folder / "repairs.csv").open("w", newline="") as repairs:
        csv.writer(repairs).writerows([("machine_id", "cost"), *costs])


USE_CASE = replace(
    tiny_case.use_case,
    tables=tables,
    models={"forest": built(Forest), **{name: built(kind) for name, (kind, _) in SPOILED.items()}},
    default_model="forest",
    acceptance={"auc": 0.5},
    # The small forests shrink their scores a little.
    gates=Gates(
        auc_margin=0.1,
        average_precision_margin=0.2,
        calibration_error=0.12,
        segments=("machines.kind",),
    ),
)


@pytest.fixture(scope="module")
def world(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """Two months of machines, and a version that was trained on the first is in Production."""
    home = tmp_path_factory.mktemp("a home")
    tiny_case.generate(Generation(home / "months", users=MACHINES, months=2, seed=5))
    url = new_database(prepared_database)
    settings = load_settings(home=home, database_url=url, use_case="tests.tiny_case")
    with platform(settings) as opened:
        ready = replace(opened, use_case=USE_CASE)
        for number, month in enumerate((JANUARY, FEBRUARY)):
            write_repairs(home / "months" / f"month_{number:03}")
            ingest(ready, home / "months" / f"month_{number:03}", month, None, NOW, "test")
        apply(ready)
        materialize(ready, FEBRUARY, NOW)
        trained(ready)
        promote(ready, 1, "Production", "the first", "ada", NOW)
        yield ready


@pytest.fixture
def own(world: Platform, own_database: OwnDatabase) -> Iterator[Platform]:
    """A copy of that world."""
    with own_database(world.database.url) as url:
        settings = world.settings.model_copy(update={"database_url": SecretStr(url)})
        with platform(settings) as opened:
            yield replace(opened, use_case=USE_CASE)


def trained(ready: Platform, model: str | None = None, random_state: int = 1) -> int:
    return train(ready, JANUARY, model, random_state, NOW, who="ada").version


def stops(report: GateReport) -> list[str]:
    assert [one.gate for one in report.results] == list(GATES)
    return [one.gate for one in report.stopped_by]


def stages(ready: Platform) -> list[tuple[int, str, tuple[str, ...]]]:
    return [(one.version, one.stage, one.aliases) for one in ready.registry.versions()]


def refusals(ready: Platform) -> list[tuple[int | None, list[str]]]:
    """The refused versions, and the gates that didn't pass."""
    changes = model_history.changes(ready.database, ready.registry.model)
    return [
        (
            one.version,
            [each["gate"] for each in one.details["gates"] if each["outcome"] != "passed"],
        )
        for one in changes
        if one.kind == "refused"
    ]


def result(report: GateReport, gate: str) -> GateResult:
    return next(one for one in report.results if one.gate == gate)


def test_the_first_version_has_no_rival_and_says_so(world: Platform) -> None:
    (first,) = model_history.changes(world.database, world.registry.model)[:1]
    said = {one["gate"]: one["message"] for one in first.details["gates"]}
    assert first.details["against"] is None
    assert list(said) == list(GATES)
    for gate in ("quality", "segments", "stability"):
        assert "no version is in Production" in said[gate]
    assert "3,000 rows" in said["quality"]  # of the newest month


@pytest.mark.parametrize("model", SPOILED)
def test_a_spoiled_version_is_stopped_by_its_gate_and_nothing_is_changed(
    world: Platform, model: str
) -> None:
    version = trained(world, model)
    before = stages(world)
    with pytest.raises(GateFailed) as stopped:
        promote(world, version, "Production", "why not", "bob", NOW)
    assert refusals(world)[-1] == (version, SPOILED[model][1]), stopped.value.report
    assert stages(world) == before
    assert anchors.verify(world).after_anchor == []


def test_a_version_that_knows_what_it_cost_afterwards_is_stopped_by_the_store(
    world: Platform,
) -> None:
    def leaky() -> list[Any]:
        from feast import FeatureService, FeatureView, Field
        from feast.types import Float64

        from streamflow.features import history_source

        machine, machines, readings, _ = tiny_case.features()
        leak = FeatureView(
            name="repairs_fv",
            entities=[machine],
            schema=[Field(name="cost", dtype=Float64)],
            source=history_source("repairs"),
        )
        service = FeatureService(name="failures_v1", features=[machines, readings, leak])
        return [machine, machines, readings, leak, service]

    other = replace(world, use_case=replace(USE_CASE, features=leaky))
    apply(other)
    version = trained(other)
    apply(world)
    with pytest.raises(GateFailed) as stopped:
        promote(world, version, "Production", "what an AUC", "bob", NOW)
    assert refusals(world)[-1][1][0] == "servable"
    (servable, *_) = stopped.value.report["gates"]
    assert "repairs_fv:cost" in servable["message"]


def test_an_equal_version_passes_and_is_recorded_with_what_each_gate_said(
    own: Platform,
) -> None:
    version = trained(own, random_state=2)
    report = check_version(own, version, "bob", NOW)
    assert report.passed, report
    assert report.against == 1
    # It was made again for the check, and isn't for the promotion.
    assert result(report, "recreated").figures["seconds"] > 0
    done = promote(own, version, "Production", "as good", "bob", NOW)
    assert (done.replaced, done.changed) == (1, True)
    change = model_history.changes(own.database, own.registry.model)[-1]
    assert [one["outcome"] for one in change.details["gates"]] == ["passed"] * len(GATES)
    assert change.details["gates"][1]["figures"]["seconds"] is None
    assert rollback(own, "as before", "bob", NOW).version == 1


def test_a_gate_is_overridden_for_a_reason_that_stays(own: Platform) -> None:
    version = trained(own, "slow")
    why = "nobody is in a hurry"
    overrides = {"latency": why, "quality": why}
    done = promote(own, version, "Production", why, "bob", NOW, overrides=overrides)
    assert done.report is not None
    assert [one.gate for one in done.report.overridden] == ["latency"]
    change = model_history.changes(own.database, own.registry.model)[-1]
    kept = {one["gate"]: one["override"] for one in change.details["gates"]}
    assert kept == {**dict.fromkeys(GATES), "latency": why}


def test_a_second_person_has_to_approve_this_very_model(own: Platform) -> None:
    asking = replace(own, use_case=replace(USE_CASE, gates=replace(USE_CASE.gates, approval=True)))
    version = trained(asking, random_state=2)  # by ada
    registered = asking.registry.version(version)

    def approve(who: str, model_hash: str) -> None:
        model_history.record(
            asking.database,
            Change(
                *("approved", registered.name, version, who, "it looks good", NOW),
                model_hash=model_hash,
            ),
        )

    def stopped_by(promoter: str | None) -> list[str]:
        return stops(check_version(asking, version, promoter, NOW))

    assert stopped_by("bob") == ["approval"]
    approve("ada", registered.model_hash)
    approve("cleo", "0" * 64)
    assert stopped_by("bob") == ["approval"]
    approve("bob", registered.model_hash)
    assert stopped_by("bob") == ["approval"]
    assert stopped_by("cleo") == []


def test_the_values_of_a_segment_are_those_of_the_rows_own_month(own: Platform) -> None:
    def values(segment: str, month: date) -> list[object] | None:
        return segment_values(own, segment, month, NOW, ["m-0001", "nobody"])

    assert values("machines.kind", JANUARY) == ["mill", None]
    assert values("machines.age_weeks", JANUARY) == [11, None]
    assert values("machines.age_weeks", FEBRUARY) == [15, None]
    assert values("machines.colour", FEBRUARY) is None
    assert values("visits.by", FEBRUARY) is None


def test_a_version_that_was_fitted_to_all_rows_is_judged_by_its_twin(own: Platform) -> None:
    choice = Choice(months=2, refit=True)
    version = train(own, FEBRUARY, None, 1, NOW, choice=choice, who="ada").version
    report = check_version(own, version, "bob", NOW)
    for gate in ("quality", "calibration"):
        said = result(report, gate)
        assert said.outcome == "passed", said
        assert f"version {version} by its twin that was fitted without them" in said.message
        assert [one["by_twins_of"] for one in said.figures["pairs"]] == [[version]]


def test_without_its_twins_scores_a_version_that_was_fitted_to_all_rows_cant_be_judged(
    own: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judged_version, "twins_scores", lambda *_: {})
    choice = Choice(months=2, refit=True)
    version = train(own, FEBRUARY, None, 1, NOW, choice=choice, who="ada").version
    report = check_version(own, version, "bob", NOW)
    assert stops(report) == ["quality", "calibration", "segments"]
    assert {one.outcome for one in report.stopped_by} == {"can't tell"}
