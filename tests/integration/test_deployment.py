"""Promotion and rollback on a real MLflow registry, with the audit in a real PostgreSQL."""

from __future__ import annotations

import errno
import itertools
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from tests import promoting as deployment

from churn.generator import generate
from streamflow.bootstrap import platform, production_predictor
from streamflow.errors import MlflowUnavailable, NothingToRollBack, UnknownVersion, UnservableModel
from streamflow.features import definitions, feature_store
from streamflow.pipeline import train as training_run
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.train import Trained
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.promotion import model_history
from streamflow.promotion.change import RecordedChange
from streamflow.promotion.errors import GateFailed, NotInProduction, PromotedMeanwhile
from streamflow.promotion.gates.result import GateReport, GateResult
from streamflow.promotion.promote import Promoted
from streamflow.promotion.rival import rival
from streamflow.registry.mlflow_registry import Registry
from streamflow.settings import Settings, load_settings
from streamflow.training import served_model
from streamflow.use_case import Generation

JANUARY = date(2024, 1, 31)
KNOWN = datetime(2024, 2, 3, 6, tzinfo=UTC)
NOW = datetime(2024, 3, 15, 12, tzinfo=UTC)
BAR = {"auc": 0.7}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def shared(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """A platform that knows one small month."""
    home = tmp_path_factory.mktemp("a home")
    generate(Generation(home / "months", users=200, months=1, seed=5))
    url = new_database(prepared_database)
    with platform(load_settings(home=home, database_url=url, use_case="churn")) as ready:
        ingest(ready, home / "months" / "month_000", JANUARY, None, KNOWN, "test")
        definitions.apply(feature_store.open_store(url, ready.use_case), ready.use_case)
        # A model of so few users is judged by chance.
        yield replace(ready, use_case=replace(ready.use_case, acceptance={"auc": 0.5}))


def of_another_model(shared: Platform, url: str | None = None) -> Platform:
    name = f"another_model_{next(_numbers)}"
    home = shared.settings.home
    return replace(
        shared,
        use_case=replace(shared.use_case, registered_model=name, acceptance=BAR),
        database=Database(url or shared.database.url),
        registry=Registry(shared.registry.uri, name, home / "mlflow", shared.registry.cache),
    )


@pytest.fixture
def ready(shared: Platform) -> Iterator[Platform]:
    """The same platform with a registered model of its own, which has no version yet."""
    own = of_another_model(shared)
    client_of(own).create_registered_model(own.registry.model)
    with own.database:
        yield own


def client_of(ready: Platform) -> MlflowClient:
    return MlflowClient(tracking_uri=ready.registry.uri, registry_uri=ready.registry.uri)


def register(ready: Platform, **metrics: float) -> int:
    """A new version whose run measured these metrics; there are no files behind it."""
    client = client_of(ready)
    run_id = ready.registry.create_run("by hand")
    measured = [Metric(name, value, 0, 0) for name, value in metrics.items()]
    client.log_batch(run_id, metrics=measured)
    client.set_terminated(run_id)
    version = client.create_model_version(
        ready.registry.model, source=f"runs:/{run_id}/model", run_id=run_id
    )
    return int(version.version)


@pytest.fixture
def versions(ready: Platform) -> list[int]:
    """Three versions that are good enough."""
    return [register(ready, auc=0.8) for _ in range(3)]


def promote(ready: Platform, version: int, to_stage: str = "Production", **how: Any) -> Promoted:
    named = {"why": "it's better", "who": "ada", "now": NOW, **how}
    return deployment.promote(ready, version, to_stage, **named)


def rollback(ready: Platform, leaving: int | None = None) -> Promoted:
    return deployment.rollback(ready, "it was worse", "bob", NOW, leaving=leaving)


def stages(ready: Platform) -> dict[int, tuple[str, tuple[str, ...]]]:
    return {one.version: (one.stage, one.aliases) for one in ready.registry.versions()}


def audit(ready: Platform) -> list[RecordedChange]:
    return model_history.changes(ready.database, ready.registry.model)


def moves(ready: Platform) -> list[tuple[Any, ...]]:
    return [
        (one.kind, one.version, one.from_stage, one.to_stage, one.replaced) for one in audit(ready)
    ]


def in_production(ready: Platform) -> int | None:
    """What MLflow itself takes `models:/NAME/Production` for; ours has to agree."""
    found = client_of(ready).get_latest_versions(ready.registry.model, stages=["Production"])
    version = int(found[0].version) if found else None
    ours = ready.registry.production()
    assert (ours.version if ours else None) == version
    return version


def move_in_mlflow(ready: Platform, version: int, stage: str, archive: bool = True) -> None:
    """What a click in MLflow's own page does; it knows nothing of our audit."""
    client_of(ready).transition_model_version_stage(
        ready.registry.model, str(version), stage, archive_existing_versions=archive
    )


def test_a_promotion_moves_stage_and_alias_and_archives_the_one_before(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    assert stages(ready) == {
        1: ("Production", ("production",)),
        2: ("None", ()),
        3: ("None", ()),
    }
    done = promote(ready, 2)
    assert (done.from_stage, done.to_stage, done.replaced) == ("None", "Production", 1)
    assert done.changed
    assert stages(ready) == {
        1: ("Archived", ()),
        2: ("Production", ("production",)),
        3: ("None", ()),
    }


def test_a_promotion_is_written_down_with_who_when_why_and_what_the_gates_said(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1, now=NOW - timedelta(days=1))
    promote(ready, 2, why="better on March", who="bob")

    (_, row) = audit(ready)
    assert (row.at, row.who, row.why) == (NOW, "bob", "better on March")
    assert (row.version, row.kind, row.replaced) == (2, "promoted", 1)
    assert (row.from_stage, row.to_stage) == ("None", "Production")
    assert row.details == {
        **{"version": 2, "model_hash": "", "against": 1},
        **{"passed": True, "gates": []},
    }


def test_the_same_promotion_again_changes_nothing(ready: Platform, versions: list[int]) -> None:
    promote(ready, 1)
    before = (stages(ready), audit(ready))
    again = promote(ready, 1, why="again", now=NOW + timedelta(days=1))
    assert not again.changed
    assert (stages(ready), audit(ready)) == before


def test_staging_has_its_own_version_and_alias(ready: Platform, versions: list[int]) -> None:
    promote(ready, 1)
    promote(ready, 2, "Staging")
    promote(ready, 3, "Staging")
    assert stages(ready) == {
        1: ("Production", ("production",)),
        2: ("Archived", ()),
        3: ("Staging", ("staging",)),
    }
    promote(ready, 3)
    assert stages(ready) == {
        1: ("Archived", ()),
        2: ("Archived", ()),
        3: ("Production", ("production",)),
    }
    assert moves(ready)[-1] == ("promoted", 3, "Staging", "Production", 1)


def test_an_archived_version_is_no_longer_in_production(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    promote(ready, 1, "Archived")
    assert stages(ready)[1] == ("Archived", ())
    assert in_production(ready) is None
    # And it may come back, which is a new line of the audit.
    promote(ready, 1)
    assert in_production(ready) == 1
    assert [move[2:4] for move in moves(ready)] == [
        ("None", "Production"),
        ("Production", "Archived"),
        ("Archived", "Production"),
    ]


def test_any_number_of_versions_is_archived_and_none_replaces_another(
    ready: Platform, versions: list[int]
) -> None:
    for version in (1, 2):
        promote(ready, version, "Archived")
    assert not promote(ready, 1, "Archived").changed
    assert moves(ready) == [
        ("promoted", 1, "None", "Archived", None),
        ("promoted", 2, "None", "Archived", None),
    ]


def test_archiving_what_a_promotion_has_archived_already_changes_nothing(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    promote(ready, 2)
    assert not promote(ready, 1, "Archived").changed
    assert len(audit(ready)) == 2


def test_a_version_that_doesnt_exist_is_refused_and_those_that_do_are_named(
    ready: Platform, versions: list[int]
) -> None:
    with pytest.raises(UnknownVersion, match="has no version 9; it has: 3, 2, 1"):
        promote(ready, 9)
    assert audit(ready) == []


def failing(ready: Platform, version: int, *_: Any) -> GateReport:
    serves = rival(ready)
    results = (GateResult("quality", "failed", "It is worse.", "Train again."),)
    return GateReport(version, serves.version if serves else None, results)


def test_a_gate_keeps_out_of_production_and_not_out_of_staging(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    before = stages(ready)
    with pytest.raises(GateFailed, match="Version 2 may not go to Production: quality failed"):
        promote(ready, 2, check=failing, who="bob")
    assert stages(ready) == before
    refused = audit(ready)[-1]
    assert (refused.kind, refused.version, refused.who, refused.to_stage) == (
        *("refused", 2, "bob"),
        "Production",
    )
    (gate,) = refused.details["gates"]
    assert (gate["gate"], gate["outcome"], gate["override"]) == ("quality", "failed", None)
    assert promote(ready, 2, "Staging", check=failing).changed
    assert audit(ready)[-1].details == {}
    assert in_production(ready) == 1


def test_what_is_in_production_already_isnt_judged_again(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    assert not promote(ready, 1, check=failing).changed


def test_a_promotion_while_the_gates_were_evaluated_makes_them_worth_nothing(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)

    def overtaken(*arguments: Any) -> GateReport:
        report = deployment.let_through(*arguments)
        promote(ready, 3)
        return report

    with pytest.raises(PromotedMeanwhile, match="version 3 took the place of version 1"):
        promote(ready, 2, check=overtaken)
    assert in_production(ready) == 3
    assert [one.version for one in audit(ready)] == [1, 3]


def test_gates_of_another_model_are_worth_nothing(ready: Platform, versions: list[int]) -> None:
    def of_another(*arguments: Any) -> GateReport:
        return replace(deployment.let_through(*arguments), model_hash="0" * 64)

    with pytest.raises(PromotedMeanwhile, match="version 2 was given another model"):
        promote(ready, 2, check=of_another)
    assert in_production(ready) is None


def test_a_change_made_elsewhere_while_the_gates_were_evaluated_is_no_rival(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)

    def disturbed(*arguments: Any) -> GateReport:
        move_in_mlflow(ready, 3, "Production")
        return deployment.let_through(*arguments)

    assert promote(ready, 2, check=disturbed).changed
    assert in_production(ready) == 2


def test_after_promoting_an_older_version_production_is_that_one(
    ready: Platform, versions: list[int]
) -> None:
    """`models:/NAME/Production` is the highest version in the stage, so no other may be in it."""
    promote(ready, 3)
    promote(ready, 1)
    assert in_production(ready) == 1
    assert stages(ready)[3] == ("Archived", ())


def test_several_versions_in_production_are_one_after_a_promotion(
    ready: Platform, versions: list[int]
) -> None:
    for version in (1, 3):
        move_in_mlflow(ready, version, "Production", archive=False)
    assert in_production(ready) == 3
    assert promote(ready, 2).replaced == 3
    assert in_production(ready) == 2
    assert {stages(ready)[version] for version in (1, 3)} == {("Archived", ())}


def test_a_rollback_returns_to_the_version_before_and_is_written_down(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    promote(ready, 2)
    done = rollback(ready)
    assert (done.version, done.replaced) == (1, 2)
    assert in_production(ready) == 1
    assert stages(ready)[1] == ("Production", ("production",))
    assert moves(ready)[-1] == ("rolled back", 1, "Archived", "Production", 2)
    assert (audit(ready)[-1].who, audit(ready)[-1].why) == ("bob", "it was worse")


def test_a_second_rollback_goes_one_further_back_until_there_is_nothing(
    ready: Platform, versions: list[int]
) -> None:
    for version in versions:
        promote(ready, version)
    assert [rollback(ready).version, rollback(ready).version] == [2, 1]
    with pytest.raises(NothingToRollBack):
        rollback(ready)
    assert in_production(ready) == 1
    assert len(audit(ready)) == 5


def test_a_rollback_from_a_version_that_is_run_again_goes_no_further_back(
    ready: Platform, versions: list[int]
) -> None:
    for version in versions:
        promote(ready, version)
    assert rollback(ready, leaving=3).changed
    again = rollback(ready, leaving=3)
    assert (again.version, again.changed) == (2, False)
    assert in_production(ready) == 2
    with pytest.raises(NotInProduction, match="is version 2, not version 1"):
        rollback(ready, leaving=1)
    assert rollback(ready, leaving=2).version == 1


def test_what_was_promoted_after_a_rollback_is_rolled_back_to_where_it_came_from(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    promote(ready, 2)
    rollback(ready)
    promote(ready, 3)
    assert rollback(ready).version == 1


def test_without_any_promotion_there_is_nothing_to_roll_back(
    ready: Platform, versions: list[int]
) -> None:
    with pytest.raises(NothingToRollBack):
        rollback(ready)


def test_a_version_that_got_there_in_mlflow_is_rolled_back_to_ours(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    move_in_mlflow(ready, 2, "Production")
    done = rollback(ready)
    assert (done.version, done.replaced) == (1, 2)
    assert in_production(ready) == 1
    assert stages(ready)[1][1] == ("production",)


def test_promoting_what_mlflow_has_promoted_writes_it_down_and_brings_the_alias(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    move_in_mlflow(ready, 2, "Production")
    done = promote(ready, 2)
    assert (done.changed, done.replaced) == (True, 1)
    assert stages(ready)[2] == ("Production", ("production",))
    assert moves(ready)[-1] == ("promoted", 2, "None", "Production", 1)


def test_an_alias_that_was_moved_by_hand_is_put_right_by_the_same_promotion(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    client_of(ready).set_registered_model_alias(ready.registry.model, "production", "3")
    assert promote(ready, 1).changed
    assert stages(ready)[1][1] == ("production",)
    assert stages(ready)[3][1] == ()
    assert [(one.kind, one.version, one.to_stage) for one in audit(ready)] == [
        ("promoted", 1, "Production"),
        ("changed elsewhere", 3, None),
        ("promoted", 1, "Production"),
    ]
    assert not promote(ready, 1).changed


def interrupted(ready: Platform, at: str, *command: Any) -> None:
    """Do the command up to the named query, where a kill would leave it."""
    with pytest.MonkeyPatch.context() as patched:
        whole = Database.execute

        def dying(self: Database, name: str, *arguments: Any, **values: Any) -> Any:
            if name == at:
                raise KeyboardInterrupt
            return whole(self, name, *arguments, **values)

        patched.setattr(Database, "execute", dying)
        with pytest.raises(KeyboardInterrupt):
            command[0](ready, *command[1:])


def test_a_promotion_killed_before_its_line_is_completed_by_the_same_command(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    interrupted(ready, "record_model_change", promote, 2)
    assert in_production(ready) == 2
    assert len(audit(ready)) == 1
    done = promote(ready, 2)
    assert (done.changed, done.from_stage, done.replaced) == (True, "None", 1)
    assert moves(ready)[1:] == [("promoted", 2, "None", "Production", 1)]
    assert not promote(ready, 2).changed


def test_a_version_that_comes_back_is_written_down_the_same_after_a_kill(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    promote(ready, 2)
    interrupted(ready, "record_model_change", promote, 1)
    promote(ready, 1)
    assert moves(ready)[2:] == [("promoted", 1, "Archived", "Production", 2)]


def test_what_left_the_stage_earlier_wasnt_replaced_after_a_kill(
    ready: Platform, versions: list[int]
) -> None:
    promote(ready, 1)
    promote(ready, 1, "Archived")
    interrupted(ready, "record_model_change", promote, 2)
    promote(ready, 2)
    assert moves(ready)[2:] == [("promoted", 2, "None", "Production", None)]


def test_a_rollback_killed_before_its_line_is_completed_by_the_same_command(
    ready: Platform, versions: list[int]
) -> None:
    for version in versions:
        promote(ready, version)
    interrupted(ready, "record_model_change", rollback)
    assert in_production(ready) == 2
    rollback(ready)
    assert in_production(ready) == 2
    assert moves(ready)[3:] == [("rolled back", 2, "Archived", "Production", 3)]
    rollback(ready)
    assert in_production(ready) == 1


def test_of_two_promotions_at_the_same_time_the_second_is_told_that_its_gates_are_out_of_date(
    ready: Platform, versions: list[int]
) -> None:
    url, told = ready.database.url, list[int]()
    stages(ready)  # MLflow's store is opened here, and not by two threads at once

    def work(version: int) -> None:
        with Database(url) as database:
            try:
                promote(replace(ready, database=database), version)
            except PromotedMeanwhile:
                told.append(version)

    threads = [threading.Thread(target=work, args=(version,)) for version in (1, 2)]
    with Database(url) as gate, gate.transaction():
        gate.execute("lock_promotion", model=ready.registry.model)
        for thread in threads:
            thread.start()
        until_waiting(url, 2)
    for thread in threads:
        thread.join(60)
    ((_, first, _, _, before),) = moves(ready)
    assert before is None
    assert {first, *told} == {1, 2}
    assert in_production(ready) == first


def until_waiting(url: str, number: int) -> None:
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as connection:
        waiting = (
            "SELECT FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
        )
        while len(connection.execute(waiting).fetchall()) < number:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def train(ready: Platform, random_state: int = 1) -> Trained:
    return training_run.train(ready, JANUARY, "logistic_regression", random_state, NOW)


@pytest.fixture(scope="module")
def trained(shared: Platform) -> list[Trained]:
    """Two versions with files behind them."""
    return [train(shared, 1), train(shared, 2)]


def test_any_mlflow_user_gets_the_promoted_version_by_its_stage(
    shared: Platform, trained: list[Trained]
) -> None:
    import mlflow

    mlflow.set_tracking_uri(shared.registry.uri)
    mlflow.set_registry_uri(shared.registry.uri)
    for one in (trained[1], trained[0]):
        promote(shared, one.version)
        loaded = mlflow.pyfunc.load_model("models:/streamflow_churn/Production")
        assert loaded.metadata.run_id == one.run_id
        assert in_production(shared) == one.version


def test_a_version_is_registered_with_its_run_its_metrics_and_its_hash(
    shared: Platform, trained: list[Trained]
) -> None:
    for one in trained:
        version = shared.registry.version(one.version)
        assert version.run_id == one.run_id
        assert version.model_hash == one.model_hash
        assert version.metrics["auc"] == one.metrics["auc"]
        (run,) = [run for run in shared.registry.runs() if run.run_id == one.run_id]
        assert run.status == "FINISHED"
        assert run.tags["streamflow.data_hash"] == one.data_hash
        assert (run.params["as_of"], run.params["random_state"]) == (
            "2024-01-31",
            str(one.random_state),
        )


@pytest.fixture
def own_cache(shared: Platform, tmp_path: Path) -> Registry:
    """The shared registry as seen from a place that has downloaded nothing yet."""
    cache = replace(shared.registry.cache, folder=tmp_path / "models")
    return Registry(shared.registry.uri, shared.registry.model, shared.artifacts, cache)


def test_a_download_is_what_was_registered_and_is_kept(
    own_cache: Registry, trained: list[Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = own_cache.version(trained[0].version)
    folder = own_cache.download(version)
    assert served_model.digest(folder) == trained[0].model_hash
    assert served_model.load(folder).schema.feature_service == "churn_v1"

    import mlflow

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", None)
    assert own_cache.download(version) == folder


def test_a_kept_download_that_was_changed_is_fetched_again(
    own_cache: Registry, trained: list[Trained]
) -> None:
    version = own_cache.version(trained[0].version)
    folder = own_cache.download(version)
    (folder / "model.onnx").write_bytes(b"something else")
    assert served_model.digest(own_cache.download(version)) == trained[0].model_hash


def served_form_of(shared: Platform, one: Trained) -> Path:
    """Where the artifact store keeps the version's model."""
    (file,) = [
        file
        for file in shared.artifacts.rglob("model.onnx")
        if served_model.digest(file.parent) == one.model_hash
    ]
    return file


def test_files_that_arent_the_registered_ones_are_refused(
    shared: Platform, own_cache: Registry, trained: list[Trained], tmp_path: Path
) -> None:
    file = served_form_of(shared, trained[1])
    kept = Path(shutil.copy(file, tmp_path / "kept.onnx"))
    version = own_cache.version(trained[1].version)
    try:
        file.write_bytes(kept.read_bytes() + b"\0")
        with pytest.raises(UnservableModel, match=f"version {trained[1].version}.*hash differs"):
            own_cache.download(version)
        file.unlink()
        with pytest.raises((UnservableModel, MlflowUnavailable)):
            own_cache.download(version)
    finally:
        shutil.copy(kept, file)
    assert own_cache.download(version).is_dir()
    assert not list((tmp_path / "models").glob("tmp*"))


def test_a_version_that_somebody_else_registered_is_refused(
    shared: Platform, own_cache: Registry, trained: list[Trained]
) -> None:
    """Nobody has proved that it scores as its estimator did."""
    client = client_of(shared)
    source = client.get_model_version(shared.registry.model, str(trained[0].version)).source
    made = client.create_model_version(shared.registry.model, source, trained[0].run_id)
    try:
        with pytest.raises(UnservableModel, match="wasn't registered by `streamflow train`"):
            own_cache.download(own_cache.version(int(made.version)))
        # `streamflow predict` says it as the API does.
        client.transition_model_version_stage(
            shared.registry.model, made.version, "Production", archive_existing_versions=True
        )
        with pytest.raises(UnservableModel, match="wasn't registered by `streamflow train`"):
            settings = shared.settings.model_copy(update={"ungated": "serve"})
            production_predictor(replace(shared, settings=settings))
    finally:
        client.delete_model_version(shared.registry.model, made.version)


def test_a_training_that_fails_while_it_registers_leaves_no_run(
    shared: Platform, trained: list[Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {run.run_id for run in shared.registry.runs()}

    def failing(*arguments: Any, **named: Any) -> None:
        raise ConnectionError("the server went away")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "create_model_version", failing)
        with pytest.raises(MlflowUnavailable, match="the server went away"):
            train(shared)
    assert {run.run_id for run in shared.registry.runs()} == before


def test_a_training_on_a_full_disk_leaves_no_run_and_no_file(
    shared: Platform, trained: list[Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    def files() -> set[Path]:
        return set(shared.artifacts.rglob("*"))

    def full(*arguments: Any, **named: Any) -> None:
        assert files() > before
        raise OSError(errno.ENOSPC, "No space left on device", "/a/file")

    before, runs = files(), {run.run_id for run in shared.registry.runs()}
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "create_model_version", full)
        with pytest.raises(OSError, match="No space left"):
            train(shared)
    assert files() == before
    assert {run.run_id for run in shared.registry.runs()} == runs


def test_a_run_that_a_killed_training_left_is_gone_after_the_next(
    shared: Platform, trained: list[Trained]
) -> None:
    left = shared.registry.create_run("killed")
    assert "RUNNING" in {run.status for run in shared.registry.runs()}
    done = train(shared)
    seen = {run.run_id: run.status for run in shared.registry.runs()}
    assert left not in seen
    assert seen[done.run_id] == "FINISHED"
    assert set(seen.values()) == {"FINISHED"}


def test_models_and_runs_are_told_as_json(
    shared: Platform, trained: list[Trained], cli: Callable[..., Any]
) -> None:
    assert shared.settings.database_url is not None
    place = {
        "STREAMFLOW_DATABASE_URL": shared.settings.database_url.get_secret_value(),
        "STREAMFLOW_HOME": str(shared.settings.home),
    }
    told = cli("models", "--json", **place)
    assert told.returncode == 0, told.stdout + told.stderr
    expected = shared.registry.versions()
    found = json.loads(told.stdout)
    assert [one["version"] for one in found] == [one.version for one in expected]
    assert [one["stage"] for one in found] == [one.stage for one in expected]
    assert {"version", "run_id", "stage", "aliases", "metrics"} <= found[0].keys()


@pytest.fixture
def settings(shared: Platform) -> Settings:
    """For `cli`: no database of its own."""
    return shared.settings
