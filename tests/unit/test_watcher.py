from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.fakes import (
    AMOUNT,
    FEBRUARY,
    JANUARY,
    VISITS,
    FakeRegistry,
    eventually,
    model,
    schema,
    stocked,
)

from streamflow.api.telemetry.recorder import Recorder
from streamflow.errors import (
    FeatureStoreUnavailable,
    MlflowUnavailable,
    NoProductionModel,
    UnservableModel,
)
from streamflow.promotion.admission.admitted import UngatedProduction
from streamflow.registry.trial import Superseded
from streamflow.serving import responses
from streamflow.serving.predictor import Predictor
from streamflow.serving.watcher import Watcher
from streamflow.serving.watcher_state import RETRY_SECONDS
from streamflow.training import served_model
from streamflow.training.served_model import ServedModel


class World:
    """A watcher over fakes; `look` lets a moment pass and looks once."""

    def __init__(self, poll_seconds=60.0, trial=None, last_served=None):
        self.registry = FakeRegistry()
        self.online = stocked()
        self.telemetry = Recorder()
        self.time = 0.0
        self.predictor = Predictor(
            self.online, registered_model="example_model", join_key="user_id"
        )
        self.watcher = Watcher(
            self.predictor,
            self.registry,
            self.online,
            self.telemetry,
            poll_seconds=poll_seconds,
            now=lambda: FEBRUARY + timedelta(seconds=self.time),
            load=self.registry.load,
            trial=trial,
            last_served=last_served,
            admission=self.registry,
            monotonic=lambda: self.time,
        )

    def look(self, seconds_later=0.0):
        self.time += seconds_later
        self.watcher.poll()
        return self.watcher.state

    def version(self):
        return self.predictor.production().version.version

    def metric(self, name, **labels):
        return self.telemetry.registry.get_sample_value(name, labels)


@pytest.fixture
def world():
    return World()


def test_a_promoted_version_takes_over(world):
    world.look()
    with pytest.raises(NoProductionModel):
        world.version()
    world.registry.promote(1, model(0.1))
    world.look()
    assert world.version() == 1
    assert world.metric("streamflow_model_swaps_total") == 1
    assert world.metric("streamflow_production_version") == 1


def test_a_model_is_fetched_once_while_its_version_stays(world):
    world.registry.promote(1, model(0.1))
    for _ in range(3):
        world.look()
    assert world.registry.downloads == [1]


def test_a_rollback_is_followed(world):
    for version in (1, 2, 1):
        world.registry.promote(version, model(version / 10))
        world.look()
    assert world.version() == 1
    assert world.predictor.predict("ann", FEBRUARY).probability == 0.1


def test_another_model_under_the_same_version_number_is_loaded(world):
    world.registry.promote(1, model(0.1), model_hash="one")
    world.look()
    world.registry.promote(1, model(0.2), model_hash="other")
    world.look()
    assert world.predictor.predict("ann", FEBRUARY).probability == 0.2


def test_another_alias_of_the_same_model_is_shown_without_loading_it_again(world):
    world.registry.promote(1, model(0.1))
    world.look()
    world.registry.current = replace(world.registry.current, aliases=("champion",))
    world.look()
    assert world.predictor.production().version.aliases == ("champion",)
    assert world.registry.downloads == [1]


def test_an_archived_version_answers_no_more(world):
    world.registry.promote(1, model(0.1))
    world.look()
    world.registry.archive()
    world.look()
    with pytest.raises(NoProductionModel):
        world.version()
    assert world.metric("streamflow_production_version") == 0


def test_a_model_whose_needs_cannot_be_met_is_refused_and_the_last_served_one_keeps_serving(world):
    world.registry.promote(1, model(0.1))
    world.look()
    world.online.known = {"plan"}
    world.registry.promote(2, model(0.2))
    state = world.look()
    assert world.version() == 1
    assert isinstance(state.rejection.error, UnservableModel)
    assert state.rejection.version.version == 2


@pytest.mark.parametrize(
    ("package", "file"), [("lightgbm", "model.lightgbm.txt"), ("xgboost", "model.xgboost.json")]
)
def test_a_model_whose_library_isnt_installed_is_refused_with_what_to_do(
    world, monkeypatch, tmp_path, package, file
):
    """As in the slim image, which has ONNX Runtime alone."""
    (tmp_path / served_model.SCHEMA_FILE).write_text(schema().to_json())
    (tmp_path / file).touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError) as missing:
        served_model.load(tmp_path)
    world.registry.promote(1, model(0.1))
    world.look()
    world.registry.promote(2, missing.value)
    refusal = world.look().rejection
    assert world.version() == 1
    assert isinstance(refusal.error, UnservableModel)
    assert "Version 2 of 'example_model'" in refusal.error.message
    assert f"needs {package}" in refusal.error.message
    assert "STREAMFLOW_API_IMAGE=full" in refusal.error.next
    world.registry.promote(2, model(0.2))
    world.look(seconds_later=RETRY_SECONDS)
    assert world.version() == 2


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (FileNotFoundError("no model.onnx"), "no model.onnx"),
        (model(float("nan")), "probability nan"),
        (model(1.5), "probability 1.5"),
        (model(0.2, join_key="shop_id"), "shop_id"),
        (ServedModel(schema(VISITS), lambda matrix: 1 / 0), "ZeroDivisionError"),
    ],
)
def test_a_model_that_cannot_answer_is_refused_before_any_request(world, broken, told):
    world.registry.promote(1, model(0.1))
    world.look()
    world.registry.promote(2, broken)
    state = world.look()
    assert world.version() == 1
    assert told in state.rejection.error.message


def test_without_a_last_served_model_a_refusal_is_told_as_what_it_is(world):
    world.registry.promote(1, FileNotFoundError("no model.onnx"))
    world.look()
    with pytest.raises(UnservableModel, match=r"no model\.onnx"):
        world.version()


def test_a_refused_version_is_tried_again_after_a_pause(world):
    world.online.known = set()
    world.registry.promote(1, model(0.1))
    world.look()
    world.look(RETRY_SECONDS - 0.1)
    assert world.registry.downloads == [1]
    world.online.known = None
    state = world.look(0.2)
    assert (world.version(), state.rejection) == (1, None)


def test_a_refusal_is_logged_once_per_version(world, log):
    for version in (1, 2):
        world.registry.promote(version, FileNotFoundError("no model.onnx"))
        for _ in range(3):
            world.look(RETRY_SECONDS + 1)
    refused = [line["model_version"] for line in log.lines("model_refused")]
    assert refused == [1, 2]


def test_gates_that_were_overridden_are_told_with_the_version(world):
    world.registry.promote(1, model(0.1))
    world.look()
    told = responses.ready(world.predictor, world.watcher.state, FEBRUARY)["model"]
    assert "overrides" not in told
    world.registry.overridden = [{"gate": "latency", "why": "nobody is in a hurry"}]
    world.look()
    told = responses.ready(world.predictor, world.watcher.state, FEBRUARY)["model"]
    assert told["overrides"] == world.registry.overridden


def test_what_no_gate_has_seen_is_told_and_logged_once_while_the_version_before_answers(world, log):
    world.registry.promote(1, model(0.1))
    assert world.look().ungated is None
    assert world.metric("streamflow_production_ungated") == 0
    world.registry.ungated = UngatedProduction("Version 9 is in Production.", "Promote it.")
    for _ in range(2):
        ungated = world.look().ungated
    assert world.version() == 1
    assert world.metric("streamflow_production_ungated") == 1
    told = responses.ready(world.predictor, world.watcher.state, FEBRUARY)
    assert told["ready"]
    assert told["model"]["ungated"] == responses.problem(ungated)
    assert told["model"]["ungated"]["code"] == "ungated_production"
    world.registry.ungated = None
    world.look()
    assert "ungated" not in responses.ready(world.predictor, world.watcher.state, FEBRUARY)["model"]
    assert len(log.lines("production_ungated")) == 1
    assert len(log.lines("production_ungated_ended")) == 1


def test_a_rollback_that_the_history_alone_tells_is_followed_while_mlflow_is_down(world):
    world.registry.promote(1, model(0.1))
    world.registry.promote(2, model(0.2))
    world.look()
    world.registry.promote(1, model(0.1))
    world.registry.registry_error = MlflowUnavailable("MLflow doesn't answer.", "Start it.")
    state = world.look()
    assert world.version() == 1
    assert state.registry_error is world.registry.registry_error
    assert world.metric("streamflow_dependency_up", dependency="registry") == 0


def test_the_last_served_model_keeps_serving_while_mlflow_is_down(world):
    world.registry.promote(1, model(0.1))
    world.look()
    world.registry.down = True
    state = world.look()
    assert world.version() == 1
    assert isinstance(state.registry_error, MlflowUnavailable)
    world.registry.down = False
    assert world.look().registry_error is None


def test_without_a_model_mlflow_being_down_is_told_as_what_it_is(world):
    world.registry.down = True
    world.look()
    with pytest.raises(MlflowUnavailable):
        world.version()


def test_an_unforeseen_failure_of_the_registry_leaves_the_model_in_place(world):
    world.registry.promote(1, model(0.1))
    world.look()
    world.registry.production = lambda: 1 / 0
    state = world.look()
    assert world.version() == 1
    assert "ZeroDivisionError" in state.registry_error.message


def test_a_feature_store_that_is_down_at_the_start_is_told_and_its_return_noticed(world):
    world.online.down()
    world.registry.promote(1, model(0.1))
    assert isinstance(world.look().feature_store_error, FeatureStoreUnavailable)
    with pytest.raises(FeatureStoreUnavailable):
        world.version()
    world.online.failure = None
    assert world.look().feature_store_error is None
    assert world.version() == 1


def test_the_newest_month_is_refreshed_with_each_look(world):
    world.registry.promote(1, model(0.1))
    world.look()
    assert world.predictor.newest["activity_view"] == JANUARY
    assert world.metric("streamflow_data_age_seconds", feature_view="activity_view") == 29 * 86400
    world.online.put("activity_view", "new", FEBRUARY, visits=1)
    del world.online.newest["billing_view"]
    world.look()
    assert world.predictor.newest == {"activity_view": FEBRUARY}
    assert world.metric("streamflow_data_age_seconds", feature_view="activity_view") == 0
    assert world.metric("streamflow_data_age_seconds", feature_view="billing_view") is None


@pytest.mark.parametrize("moment", ["reading", "scoring"])
def test_a_request_keeps_its_model_when_another_takes_over_meanwhile(world, moment):
    first, second = model(0.1, VISITS), model(0.9, AMOUNT)

    def swap():
        world.registry.promote(2, second)
        world.look()

    def score(matrix):
        if moment == "scoring" and world.registry.current.version == 1 and started:
            swap()
        return first.score(matrix)

    started = False
    world.registry.promote(1, ServedModel(first.schema, score))
    world.look()
    started = True
    if moment == "reading":
        read = world.online.read

        def read_and_swap(plan, entity_ids):
            world.online.read = read
            swap()
            return read(plan, entity_ids)

        world.online.read = read_and_swap
    answer = world.predictor.predict("ann", FEBRUARY)
    assert (answer.model.version, answer.probability) == (1, 0.1)
    assert dict(answer.features_used) == {"visits": 3}
    assert world.version() == 2


# A candidate is tried in a process of its own; here, a function stands for it.


def test_a_version_that_fails_its_trial_is_never_loaded_and_the_last_good_one_keeps_serving():
    def trial(version, folder, wanted):
        if version.version == 2:
            raise UnservableModel("Version 2 doesn't come back.", "Promote another.")

    world = World(trial=trial)
    world.registry.promote(1, model(0.1))
    world.look()
    world.registry.promote(2, AssertionError("it was loaded"))
    state = world.look()
    assert world.version() == 1
    assert state.rejection.error.message == "Version 2 doesn't come back."


def test_while_a_version_is_tried_the_registry_is_looked_at_and_its_going_ends_the_trial():
    asked = []

    def trial(version, folder, wanted):
        if version.version != 2:
            return
        for seconds in range(1, 4):
            world.time += 1
            asked.append(wanted())
            polled_at.append(world.watcher.state.polled_at)
            if not asked[-1]:
                raise Superseded
            if seconds == 2:
                world.registry.promote(1, model(0.1))

    polled_at = []
    world = World(trial=trial)
    world.registry.promote(1, model(0.1))
    world.look()
    world.registry.promote(2, model(0.2))
    state = world.look()
    assert asked == [True, True, False]
    assert polled_at == [FEBRUARY + timedelta(seconds=n) for n in (1, 2, 3)]
    assert (world.version(), state.rejection) == (1, None)


def test_a_registry_that_is_away_during_a_trial_ends_it_not():
    def trial(version, folder, wanted):
        world.registry.down = True
        assert wanted()
        world.registry.down = False

    world = World(trial=trial)
    world.registry.promote(1, model(0.1))
    world.look()
    assert world.version() == 1


def test_a_trial_ends_with_the_watcher():
    def trial(version, folder, wanted):
        world.watcher.stop()
        assert not wanted()
        raise Superseded

    world = World(trial=trial)
    world.registry.promote(1, model(0.1))
    world.look()
    with pytest.raises(NoProductionModel):
        world.version()


def test_after_a_start_the_last_good_version_serves_while_another_is_tried():
    versions = []

    def trial(version, folder, wanted):
        if version.version == 2:
            assert wanted()
            versions.append(world.version())
            raise UnservableModel("Version 2 doesn't come back.", "Promote another.")

    class LastServed:
        def read(self):
            return replace(world.registry.current, version=1, model_hash="hash-1"), Path("hash-1")

        def record(self, version):
            pass

    world = World(trial=trial, last_served=LastServed())
    world.registry.models["hash-1"] = model(0.1)
    world.registry.promote(2, model(0.2))
    world.look()
    assert versions == [1]
    assert world.version() == 1


def test_a_version_that_is_tried_after_a_start_is_not_tried_again_inside_its_own_trial():
    tried = []

    def trial(version, folder, wanted):
        tried.append(version.version)
        assert len(tried) == 1
        assert wanted()

    class LastServed:
        def read(self):
            return world.registry.current, Path("hash-1")

        def record(self, version):
            pass

    world = World(trial=trial, last_served=LastServed())
    world.registry.promote(1, model(0.1))
    world.look()
    assert tried == [1]
    assert world.version() == 1


def test_what_takes_long_to_refuse_is_tried_the_less_often():
    tried = []

    def trial(version, folder, wanted):
        tried.append(world.time)
        world.time += 20
        raise UnservableModel("Version 1 doesn't come back.", "Promote another.")

    world = World(trial=trial)
    world.registry.promote(1, model(0.1))
    for _ in range(130):
        world.look(1.0)
    assert tried == [1.0, 121.0]


def test_when_the_registry_was_last_looked_at_is_told_and_measured(world):
    world.registry.promote(1, model(0.1))
    began = time.time()
    world.look()
    name = "streamflow_registry_last_poll_timestamp_seconds"
    first = world.metric(name)
    assert first >= began
    world.registry.down = True
    world.look(10)
    assert world.metric(name) >= first

    def ready(seconds):
        moment = FEBRUARY + timedelta(seconds=10 + seconds)
        return responses.ready(world.predictor, world.watcher.state, moment)

    assert ready(5)["looked_seconds_ago"] == 5
    assert ready(5)["model"]["registry"]["code"] == "mlflow_unavailable"
    assert ready(responses.FOLLOWED_SECONDS + 1)["ready"]
    told = ready(responses.FOLLOWED_SECONDS + 1)["model"]["registry"]
    assert told["code"] == "registry_not_followed"
    assert "31 s ago" in told["detail"]


def test_the_thread_looks_before_the_start_returns_and_ends_when_told():
    world = World(poll_seconds=0.01)
    world.registry.promote(1, model(0.1))
    world.watcher.start(patience_seconds=5)
    assert world.version() == 1
    world.registry.promote(2, model(0.2))
    eventually(lambda: world.version() == 2)
    world.watcher.stop()
    assert "watcher" not in [thread.name for thread in threading.enumerate()]


def test_a_registry_that_hangs_does_not_keep_the_api_from_starting_or_ending():
    world = World()
    answered = threading.Event()

    def hang():
        answered.wait()
        return None

    world.registry.production = hang
    world.watcher.start(patience_seconds=0.05)
    with pytest.raises(NoProductionModel):
        world.version()
    world.watcher.stop(patience_seconds=0.05)
    answered.set()
    world.watcher.stop()
