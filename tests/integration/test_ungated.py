"""What is changed in MLflow, and not by StreamFlow: noticed, written down once, and not served."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tests import promoting as deployment

from streamflow.bootstrap import production
from streamflow.errors import DatabaseUnavailable, MlflowUnavailable
from streamflow.operations.status import status
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.promotion import model_history
from streamflow.promotion.admission.admitted_reader import AdmittedReader
from streamflow.registry.records import MODEL_HASH_TAG, ModelVersion, Placed

NOW = datetime(2024, 3, 15, 12, tzinfo=UTC)


@pytest.fixture
def world(ready: Platform) -> Platform:
    """Three versions, each with a model of its own; 1 was promoted, then 2."""
    client = MlflowClient(ready.registry.uri, ready.registry.uri)
    client.create_registered_model(ready.registry.model)
    for number in (1, 2, 3):
        run_id = ready.registry.create_run("by hand")
        client.create_model_version(
            ready.registry.model,
            f"runs:/{run_id}/model",
            run_id,
            {MODEL_HASH_TAG: f"{number}" * 64},
        )
    easy = replace(ready, use_case=replace(ready.use_case, acceptance={}))
    for version in (1, 2):
        deployment.promote(easy, version, "Production", "better", "ada", NOW)
    return easy


def reader(ready: Platform, **given: Any) -> AdmittedReader:
    named = {"serve_ungated": False, "now": lambda: NOW, **given}
    thin = production(ready.settings, ready.database, ready.registry)
    return AdmittedReader(thin, ready.database, ready.registry.model, **named)


def served(one: AdmittedReader) -> int | None:
    version = one.production()
    return version.version if version is not None else None


def move(ready: Platform, version: int, stage: str) -> None:
    MlflowClient(ready.registry.uri, ready.registry.uri).transition_model_version_stage(
        ready.registry.model, str(version), stage, archive_existing_versions=stage != "Archived"
    )


def elsewhere(ready: Platform) -> list[tuple[Any, ...]]:
    return [
        (one.version, one.to_stage, one.replaced, one.details)
        for one in model_history.changes(ready.database, ready.registry.model)
        if one.kind == "changed elsewhere"
    ]


def test_overrides_are_told_of_the_version_that_they_let_through(world: Platform) -> None:
    by_hash = {one.version: one for one in world.registry.versions()}
    gate = {"gate": "latency", "outcome": "failed", "message": "It is slow.", "override": "hurry"}
    for version, gates in ((2, [{**gate, "override": None}]), (3, [gate])):
        change = model_history.about(
            *(by_hash[version], "promoted", "ada", "hurry", NOW), details={"gates": gates}
        )
        model_history.record(world.database, change)
    one = reader(world)
    assert served(one) == 2
    assert one.overrides(2, by_hash[2].model_hash) == []
    (told,) = one.overrides(3, by_hash[3].model_hash)
    assert told == {
        "gate": "latency",
        "outcome": "failed",
        "why": "hurry",
        "at": NOW.isoformat(),
    }
    assert one.overrides(3, "another model's") == []
    deployment.promote(world, 3, "Production", "better", "ada", NOW)
    shown = {part.name: part.detail for part in status(world.settings)}
    assert shown["Production"].endswith("in spite of the gate latency (failed): hurry")


def test_what_was_promoted_is_served_and_nothing_is_noticed(world: Platform) -> None:
    one = reader(world)
    assert served(one) == 2
    assert one.ungated is None
    deployment.rollback(world, "worse", "ada", NOW)
    assert served(one) == 1
    deployment.promote(world, 1, "Archived", "stop", "ada", NOW)
    assert served(one) is None
    assert one.ungated is None
    assert elsewhere(world) == []


def test_what_no_promotion_brought_there_isnt_served_and_is_written_down_once(
    world: Platform,
) -> None:
    workers = [reader(world), reader(world)]
    assert [served(one) for one in workers] == [2, 2]
    move(world, 3, "Production")
    client = MlflowClient(world.registry.uri, world.registry.uri)
    client.set_registered_model_alias(world.registry.model, "staging", "3")
    # One that starts now goes on with what was promoted, as the others do.
    workers.append(reader(world))
    for _ in range(2):
        for one in workers:
            assert served(one) == 2
            assert one.ungated is not None
            assert "Version 3" in one.ungated.message
            assert "Version 2 keeps answering" in one.ungated.message
            assert "streamflow promote 3 --to production" in one.ungated.next
            assert "streamflow rollback" in one.ungated.next
    assert elsewhere(world) == [
        (3, "Production", 2, {}),
        (3, None, None, {"alias": "staging", "before": None}),
    ]
    # The history's and MLflow's own story come together again by either of the two commands.
    deployment.rollback(world, "not ours", "ada", NOW)
    assert [served(one) for one in workers] == [2, 2, 2]
    assert workers[0].ungated is None
    move(world, 3, "Production")
    assert served(workers[1]) == 2
    assert deployment.promote(world, 3, "Production", "ours now", "ada", NOW).changed
    assert [served(one) for one in workers] == [3, 3, 3]
    assert len(elsewhere(world)) == 3


def test_a_version_that_was_promoted_before_is_followed_and_written_down(world: Platform) -> None:
    one = reader(world)
    move(world, 1, "Production")
    assert served(one) == 1
    assert one.ungated is None
    move(world, 3, "Production")
    assert served(one) == 1, "the last one that was admitted"
    assert served(reader(world)) == 1
    assert [change[:3] for change in elsewhere(world)] == [
        (1, "Production", 2),
        (3, "Production", 1),
    ]
    done = deployment.rollback(world, "back", "ada", NOW)
    assert (done.version, done.replaced) == (1, 3)


def test_another_model_under_a_promoted_version_isnt_served(world: Platform) -> None:
    one = reader(world)
    assert served(one) == 2
    client = MlflowClient(world.registry.uri, world.registry.uri)
    client.set_model_version_tag(world.registry.model, "2", MODEL_HASH_TAG, "f" * 64)
    version = one.production()
    assert version is not None
    assert version.model_hash == "2" * 64
    assert one.ungated is not None
    assert "another model" in one.ungated.message
    assert deployment.promote(world, 2, "Production", "it is meant", "ada", NOW).changed
    version = one.production()
    assert version is not None
    assert version.model_hash == "f" * 64
    assert one.ungated is None


def test_a_stage_that_was_emptied_elsewhere_goes_on_and_one_that_we_emptied_doesnt(
    world: Platform,
) -> None:
    one = reader(world)
    move(world, 2, "Archived")
    assert served(one) == 2
    assert one.ungated is not None
    assert "emptied" in one.ungated.message
    assert elsewhere(world)[0][:3] == (None, "Production", 2)
    deployment.promote(world, 2, "Archived", "stop it", "ada", NOW)
    assert served(one) is None


def test_with_the_setting_everything_is_served_and_still_written_down(world: Platform) -> None:
    one = reader(world, serve_ungated=True)
    move(world, 3, "Production")
    assert served(one) == 3
    assert one.ungated is None
    assert [change[:3] for change in elsewhere(world)] == [(3, "Production", 2)]


def test_a_promotion_under_way_is_no_news(world: Platform) -> None:
    """Its stage has moved, and its line isn't there yet."""
    one = reader(world)
    assert served(one) == 2
    with Database(world.database.url) as other, other.transaction():
        other.execute("lock_promotion", model=world.registry.model)
        move(world, 3, "Production")
        assert served(one) == 2
        assert one.ungated is None
    assert served(one) == 2
    assert one.ungated is not None


class Away:
    """Stands before a reader or a database that may go away."""

    def __init__(self, what: Any, error: Exception, *names: str) -> None:
        self._what, self._error, self._names, self.away = what, error, names, False

    def __getattr__(self, name: str) -> Any:
        if self.away and name in self._names:
            raise self._error
        return getattr(self._what, name)


def test_while_mlflow_is_away_a_rollback_is_followed_by_the_history(world: Platform) -> None:
    thin = production(world.settings, world.database, world.registry)
    mlflow = Away(thin, MlflowUnavailable("MLflow is away.", "Start it."), "placed")
    model = world.registry.model
    workers = [
        AdmittedReader(mlflow, world.database, model, serve_ungated=False, now=lambda: NOW)
        for _ in range(2)
    ]
    assert served(workers[0]) == 2
    mlflow.away = True
    deployment.rollback(world, "worse", "ada", NOW)
    for one in workers:
        version = one.production()
        assert version is not None
        assert (version.version, version.model_hash) == (1, "1" * 64)
        assert one.registry_error is not None
    mlflow.away = False
    assert [served(one) for one in workers] == [1, 1]
    assert workers[0].registry_error is None


def test_while_the_history_is_away_what_was_known_last_holds(world: Platform) -> None:
    database = Away(world.database, DatabaseUnavailable("It is away.", "Start it."), "rows")
    thin = production(world.settings, world.database, world.registry)
    one = AdmittedReader(
        thin,
        database,  # type: ignore[arg-type]
        world.registry.model,
        serve_ungated=False,
        now=lambda: NOW,
    )
    database.away = True
    with pytest.raises(DatabaseUnavailable):
        one.production()
    database.away = False
    assert served(one) == 2
    database.away = True
    assert served(one) == 2
    move(world, 3, "Production")
    assert served(one) == 2
    move(world, 1, "Production")
    assert served(one) == 1


def test_a_change_that_no_api_saw_is_written_down_by_the_next_promotion(world: Platform) -> None:
    move(world, 3, "Production")
    deployment.promote(world, 1, "Production", "the first again", "ada", NOW)
    kinds = [
        (one.kind, one.version, one.replaced)
        for one in model_history.changes(world.database, world.registry.model)
    ]
    assert kinds[2:] == [("changed elsewhere", 3, 2), ("promoted", 1, 3)]


@pytest.mark.usefixtures("tmp_path")
def test_a_model_that_is_new_has_no_history(ready: Platform, tmp_path: Path) -> None:
    one = reader(ready)
    assert one.production() is None
    assert one.ungated is None
    assert Placed({}, {}) == ready.registry.placed()
    assert not isinstance(one.production(), ModelVersion)
