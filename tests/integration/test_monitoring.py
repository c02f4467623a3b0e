"""Alert rules and dashboard, held against a real Prometheus that scrapes a real API."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml
from tests.fakes import JANUARY, FakeRegistry, api, eventually, model, repeating, stocked

from streamflow.operations import processes
from streamflow.promotion.admission.admitted import UngatedProduction

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
CONFIGURATION = ROOT / "deploy" / "prometheus" / "prometheus.yml"
DASHBOARD = ROOT / "deploy/grafana/provisioning/dashboards/streamflow.json"
ALERT_TESTS = Path(__file__).with_name("alerts.yml")
PATIENCE_SECONDS = 40
BATCH = {"user_ids": ["ann"] * 200 + ["bob", "nobody"]}
# A week of monitoring in a minute.
QUICK = {
    r"\[7d\] offset 1h": "[1m] offset 5s",
    r"\[1h\]": "[5s]",
    r"\[(5m|10m|\$__rate_interval)\]": "[3s]",
    r"for: \w+": "for: 0s",
    r"interval: \w+": "interval: 500ms",
    r"timestamp_seconds > 60": "timestamp_seconds > 3",
}


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} isn't here: it comes with Debian's package `prometheus`")
    return found


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def quick(text: str) -> str:
    for slow, fast in QUICK.items():
        text = re.sub(slow, fast, text)
    return text


def test_rules_and_configuration_are_what_prometheus_reads() -> None:
    promtool("check", "rules", RULES)
    promtool("check", "config", "--syntax-only", CONFIGURATION)


@pytest.mark.parametrize("hourly", [False, True])
def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path, hourly: bool) -> None:
    """Rules about weeks are evaluated by the hour: every 15 seconds would take minutes."""
    written = yaml.safe_load(ALERT_TESTS.read_text())
    chosen = [one for one in written["tests"] if (one["interval"] == "1h") == hourly]
    evaluated = {"evaluation_interval": "1h"} if hourly else {}
    tests = tmp_path / "alerts.yml"
    tests.write_text(
        yaml.safe_dump({**written, **evaluated, "rule_files": [str(RULES)], "tests": chosen})
    )
    assert chosen
    promtool("test", "rules", tests)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class RefusingWriter:
    """A prediction log's, which writes nowhere, or refuses every row."""

    def __init__(self) -> None:
        self.refuses = False

    def prepare(self) -> None:
        pass

    def write(self, batches: Any) -> None:
        if self.refuses:
            raise ValueError("no such row")

    def close(self) -> None:
        pass


@contextmanager
def listening(app: Any, port: int) -> Iterator[Callable[[], None]]:
    """The app on that port while the block runs, or until it's stopped."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)

    def stop() -> None:
        server.should_exit = True
        thread.join()

    thread.start()
    try:
        eventually(lambda: server.started, PATIENCE_SECONDS)
        yield stop
    finally:
        stop()


@contextmanager
def asked(url: str) -> Iterator[None]:
    """Predictions are asked for all the time while the block runs."""
    with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:

        def ask() -> None:
            with suppress(httpx.TransportError):  # it was stopped
                client.post("/predict", json={"user_id": "ann"})
                client.post("/predict/batch", json=BATCH)

        with repeating(ask):
            yield


class Prometheus:
    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=PATIENCE_SECONDS)

    def ask(self, expression: str) -> list[dict[str, Any]]:
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        return [one for one in answer["data"]["result"] if one["value"][1] != "NaN"]

    def firing(self) -> set[str]:
        return {one["metric"]["alertname"] for one in self.ask('ALERTS{alertstate="firing"}')}

    def until_firing(self, *alerts: str) -> None:
        eventually(lambda: set(alerts) <= self.firing(), PATIENCE_SECONDS)

    def until_calm(self) -> None:
        eventually(lambda: not self.firing(), PATIENCE_SECONDS)


@contextmanager
def scraping(port: int, folder: Path) -> Iterator[Prometheus]:
    """Prometheus as it is configured for the stack, but quicker, and told where the API is."""
    (folder / "rules.yml").write_text(quick(RULES.read_text()))
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    configuration["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    (job,) = configuration["scrape_configs"]
    configuration["scrape_configs"] = [
        {
            "job_name": job["job_name"],
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    own_port = free_port()
    command = processes.Command(
        name="Prometheus",
        arguments=[
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{own_port}",
        ],
        environment={},
        ready_url=f"http://127.0.0.1:{own_port}/-/ready",
        log=folder / "prometheus.log",
    )
    with processes.running([command]) as (child,):
        child.wait_until_ready()
        yield Prometheus(f"http://127.0.0.1:{own_port}")


def dashboard_queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [quick(target["expr"]) for panel in panels for target in panel["targets"]]


@pytest.mark.skipif(sys.platform != "linux", reason="Prometheus is Debian's here")
def test_real_scrapes_fill_the_dashboard_and_make_each_alert_fire(tmp_path: Path) -> None:
    program("prometheus")
    registry, online, writer = FakeRegistry(), stocked(), RefusingWriter()
    registry.promote(1, model(0.1), model_hash="calm")
    app = api(registry, online, now=JANUARY + timedelta(days=1), log_writer=writer)
    port = free_port()
    with (
        listening(app, port) as stop,
        scraping(port, tmp_path) as prometheus,
        asked(f"http://127.0.0.1:{port}"),
    ):
        shift = "version:streamflow_prediction_probability:shift1h"
        eventually(lambda: bool(prometheus.ask(shift)), PATIENCE_SECONDS)
        prometheus.until_calm()

        registry.promote(1, model(0.9), model_hash="shifted")
        prometheus.until_firing("StreamFlowScoreShift")
        empty = [query for query in dashboard_queries() if not prometheus.ask(query)]
        assert empty == []

        online.newest["activity_view"] = JANUARY - timedelta(days=40)
        prometheus.until_firing("StreamFlowDataTooOld")

        writer.refuses = True
        prometheus.until_firing("StreamFlowPredictionLogDrops")

        read, pause = online.read, threading.Event()
        online.read = lambda plan, ids: (pause.wait(0.2), read(plan, ids))[1]  # type: ignore[method-assign]
        prometheus.until_firing("StreamFlowLatency")

        registry.ungated = UngatedProduction("Version 9 is in Production.", "Promote it.")
        prometheus.until_firing("StreamFlowProductionUngated")
        registry.ungated = None

        app.recorder.record_challenger(0, 0.0, refused=True)
        with repeating(lambda: app.recorder.record_shadow_dropped(1)):
            prometheus.until_firing("StreamFlowChallengerRefused", "StreamFlowShadowDrops")
        app.recorder.record_challenger(0, 0.0)

        app.recorder.record_events_waiting(1, 1000.0)
        prometheus.until_firing("StreamFlowEventsWait")
        app.recorder.record_events_waiting(0, 0.0)

        app.recorder.record_monitoring(JANUARY - timedelta(days=80), {"critical": 1}, {"age": 0.5})
        prometheus.until_firing("StreamFlowMonthAlarm", "StreamFlowMonthNotMonitored")
        app.recorder.record_monitoring(JANUARY + timedelta(days=20_000), {"critical": 0}, {})

        online.down()
        prometheus.until_firing("StreamFlowErrorRate", "StreamFlowDependencyAway")

        registry.archive()
        prometheus.until_firing("StreamFlowNoProductionModel")

        answered = threading.Event()
        registry.production = lambda: answered.wait() and None  # type: ignore[method-assign]
        prometheus.until_firing("StreamFlowRegistryNotFollowed")
        answered.set()

        stop()
        prometheus.until_firing("StreamFlowTargetDown")
