from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes import (
    DAY,
    FEBRUARY,
    JANUARY,
    FakeRegistry,
    eventually,
    model,
    serving,
    stocked,
)

from streamflow import log as logs
from streamflow.api.telemetry import metrics
from streamflow.api.telemetry.recorder import Recorder


class Scrape:
    def __init__(self, service):
        families = text_string_to_metric_families(service.metrics())
        self.samples = [sample for family in families for sample in family.samples]

    def __call__(self, name, **labels):
        """The sum of the samples with these labels, among others."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == f"streamflow_{name}" and labels.items() <= sample.labels.items()
        )


@pytest.fixture
def registry():
    made = FakeRegistry()
    made.promote(3, model(0.62))
    return made


def test_scores_are_told_by_version_in_the_bucket_that_they_are_in(registry):
    with serving(registry) as service:
        service.predict()
        service.client.post("/predict/batch", json={"user_ids": ["ann", "ann", "nobody"]})
        told = Scrape(service)
    below, above = (
        told("prediction_probability_bucket", version="3", le=le) for le in ("0.6", "0.65")
    )
    assert (below, above) == (0, 3)
    assert told("prediction_probability_sum", version="3") == pytest.approx(3 * 0.62)
    assert told("predictions_total", version="3", label="1") == 3


def test_stages_are_told_once_for_questions_that_are_answered_together(registry):
    with serving(registry) as service:
        service.predict()
        service.client.post("/predict/batch", json={"user_ids": ["ann"] * 200})
        told = Scrape(service)
    assert told("stage_duration_seconds_count", stage="features") == 2
    assert told("stage_duration_seconds_count", stage="score") == 2


def test_what_is_lacking_is_told_by_feature_view(registry):
    online = stocked()
    online.put("activity_view", "old", JANUARY - timedelta(days=21), visits=3)
    online.put("billing_view", "old", JANUARY, plan="family", amount=1.0, coupon=None, member=True)
    for stale_features in ("refuse", "warn"):
        with serving(registry, online, stale_features=stale_features) as service:
            service.predict("nobody")
            service.client.post("/predict/batch", json={"user_ids": ["ann", "bob", "old", "x"]})
            told = Scrape(service)

        def lacked(view, told=told):
            problems = ("unknown", "missing", "stale")
            return [
                told("feature_problems_total", feature_view=view, problem=one) for one in problems
            ]

        assert lacked("activity_view") == [2, 0, 1]
        assert lacked("billing_view") == [2, 1, 0]


def test_what_is_in_hand_and_the_connections_are_told(registry):
    with serving(registry) as service:
        told = Scrape(service)
        assert (told("questions_under_way"), told("questions_limit") > 0) == (0, True)
        assert told("online_store_connections", state="idle") == 2
        assert told("online_store_connections", state="away") == 0


def test_data_that_cannot_be_looked_at_grows_older_all_the_same():
    world = Recorder()
    newest = {"activity_view": JANUARY}
    world.record_data_age(newest, JANUARY + timedelta(days=1))
    labels = {"feature_view": "activity_view"}
    assert world.registry.get_sample_value("streamflow_data_age_seconds", labels) == DAY

    registry, online = FakeRegistry(), stocked()
    with serving(registry, online, now=FEBRUARY) as service:
        online.down()
        eventually(lambda: Scrape(service)("dependency_up", dependency="online_store") == 0)
        assert Scrape(service)("dependency_up", dependency="registry") == 1
        assert Scrape(service)("data_age_seconds", **labels) == 29 * DAY


@pytest.mark.skipif(sys.platform != "linux", reason="has no disk that is always full")
def test_a_log_that_cannot_be_written_costs_no_answer(registry, log):
    # It can't be closed without an error.
    full = open("/dev/full", "w")  # noqa: SIM115
    with serving(registry) as service:
        logs.write_json_to(full)
        for _ in range(3):
            assert service.predict().status_code == 200
        log.clear()  # from here on there is room again
        service.predict()
        assert len(log.lines("request")) == 1
    with suppress(OSError):
        full.close()


def test_what_a_killed_process_had_under_way_is_forgotten(monkeypatch, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    names = [
        f"{kind}_{pid}.db"
        for pid in (dead.pid, os.getpid())
        for kind in ("gauge_livesum", "gauge_mostrecent", "counter", "histogram")
    ]
    for name in names:
        (tmp_path / name).touch()
    metrics.forget_dead_processes()
    gone = set(names) - {path.name for path in tmp_path.iterdir()}
    assert gone == {f"gauge_livesum_{dead.pid}.db"}


def test_rows_that_died_with_a_process_are_counted_once(tmp_path):
    killed = """
import os, signal
from streamflow.api.telemetry.recorder import Recorder
recorder = Recorder()
recorder.record_log_added(7)
recorder.record_log_rows(written=2, dropped=1, waiting=4)
os.kill(os.getpid(), signal.SIGKILL)
"""
    after = """
from streamflow.api.telemetry import metrics
from streamflow.api.telemetry.recorder import Recorder
print(metrics.forget_dead_processes(), metrics.forget_dead_processes())
print(Recorder().exposition().decode())
"""

    def run(code):
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
        ).stdout.splitlines()

    run(killed)
    counted, *lines = run(after)
    assert counted == "4 0"
    assert "streamflow_prediction_log_dropped_rows_total 5.0" in lines


def test_with_several_processes_too_having_no_model_is_told(tmp_path):
    code = """
from streamflow.api.telemetry.recorder import Recorder
recorder = Recorder()
print(recorder.exposition().decode())
recorder.model_swapped(3)
recorder.record_predictions(3, [(1, 0.62)])
print(recorder.exposition().decode())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = [line for line in done.stdout.splitlines() if "production_version " in line]
    versions = [line.split()[-1] for line in told if not line.startswith("#")]
    assert versions == ["0.0", "3.0"]
    assert 'streamflow_prediction_probability_bucket{le="0.65",version="3"} 1.0' in done.stdout
