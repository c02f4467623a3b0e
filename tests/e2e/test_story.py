"""One story, from nothing to a followed rollback, told from outside: processes, HTTP and MLflow.

It's told of two use cases of different domains: the machinery knows neither.
"""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.e2e import forked

from streamflow.operations import processes
from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.promotion.gates.result import GATES
from streamflow.settings import Settings

PATIENCE_SECONDS = 120
JANUARY, FEBRUARY = "2024-01-31", "2024-02-29"
END_OF_FEBRUARY = "2024-02-29T23:59:59.999999+00:00"

# So few rows can't tell how good a model is.
IN_SPITE_OF = [
    *("--override", "quality", "--override", "calibration"),
]

Answer = dict[str, Any]
Start = Callable[..., "Future[Any]"]


@pytest.fixture(params=[pytest.param("churn", marks=pytest.mark.slow), "tests.tiny_case"])
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    return settings.model_copy(update={"use_case": request.param})


@pytest.fixture
def start(
    cli: Callable[..., subprocess.CompletedProcess[str]],
    environment: dict[str, str],
    settings: Settings,
    tmp_path: Path,
) -> Iterator[Start]:
    """Starts `streamflow … --json`; the answer is the future's result."""

    def answer(*arguments: str) -> Any:
        if settings.use_case == "churn":
            done = cli(*arguments, "--json")
        else:
            done = forked.run((*arguments, "--json"), environment, tmp_path)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    with ThreadPoolExecutor(4) as pool:
        yield lambda *arguments: pool.submit(answer, *arguments)


@pytest.fixture
def api(environment: dict[str, str], settings: Settings) -> Iterator[httpx.Client]:
    """A client of `streamflow serve`, which was just started and runs as long as the test does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    serve = processes.Command(
        name="API",
        arguments=[sys.executable, "-m", "streamflow", "serve", "--port", str(port), "--json"],
        environment=environment,
        ready_url=f"{url}/health",
        log=settings.home / "api.log",
    )
    with processes.running([serve]) as (child,):
        with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:
            yield client
        assert child.alive, "the API ended by itself"


def until(true: Callable[[], Any]) -> Any:
    """What `true` gives as soon as that's something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, "it didn't become true in time"
        time.sleep(0.05)
    return found


class Load:
    """Requests without a pause from a thread of its own, and what came back."""

    def __init__(self, api: httpx.Client, question: Answer) -> None:
        self.statuses: set[int] = set()
        self.versions: list[int] = []
        self._url, self._question = f"{api.base_url}/predict", question
        self._stopping = threading.Event()

    def _run(self) -> None:
        with httpx.Client(timeout=PATIENCE_SECONDS) as client:
            while not self._stopping.is_set():
                answer = client.post(self._url, json=self._question)
                self.statuses.add(answer.status_code)
                self.versions.append(answer.json().get("model", {}).get("version"))
                self._stopping.wait(0.02)

    @contextmanager
    def running(self) -> Iterator[Load]:
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(self._run)
            try:
                until(lambda: self.versions or ended.done())
                yield self
            finally:
                self._stopping.set()
            ended.result()


def test_the_story(start: Start, api: httpx.Client, ready: Platform, tmp_path: Path) -> None:
    import mlflow

    use_case = ready.use_case
    name, key = use_case.registered_model, use_case.join_key

    def problem(answer: httpx.Response) -> tuple[int, str]:
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()["code"]

    def promote(version: int, why: str) -> Any:
        to_production = ("promote", str(version), "--to", "production", "--why", why)
        return start(*to_production, *IN_SPITE_OF).result()

    def serving() -> Any:
        return api.get("/ready").json()["model"].get("version")

    applying = start("apply")

    # Months are generated and loaded; the same again adds nothing.
    generated = start("generate", "data", "--users", "400", "--months", "2").result()
    assert len(generated["files"]) == 2 * len(use_case.tables())
    month_of = {JANUARY: "data/month_000", FEBRUARY: "data/month_001"}
    for as_of, added, unchanged in ((JANUARY, 400, 0), (FEBRUARY, 400, 0), (JANUARY, 0, 400)):
        ingested = start("ingest", month_of[as_of], "--as-of", as_of).result()
        assert ingested.keys() == {table.name for table in use_case.tables()}
        for table in ingested.values():
            counts = {what: table[what] for what in ("rows", "added", "unchanged")}
            assert counts == {"rows": 400, "added": added, "unchanged": unchanged}
    with (tmp_path / "data/month_001" / f"{use_case.entity_table}.csv").open(newline="") as rows:
        entities = [row[key] for row in csv.DictReader(rows)][:40]
    question = {key: entities[0]}

    # The API lives without a model, and says so.
    until(lambda: processes.responds(f"{api.base_url}/health"))
    unready = api.get("/ready")
    assert unready.status_code == 503
    assert unready.json()["not_ready"] == ["model", "feature_store"]
    assert problem(api.post("/predict", json=question)) == (503, "no_production_model")

    # The first model is trained, and deployed by its promotion.
    applied = applying.result()
    assert use_case.feature_service in applied["feature_services"]
    first = start("train", "--as-of", JANUARY).result()
    assert first["as_of"] == JANUARY
    assert first["rows"] == 400
    assert len(first["categorical"]) == 1
    assert {"auc", "f1", "accuracy"} <= first["metrics"].keys()
    assert first["train_time_sec"] > 0
    assert first["known_at"] > END_OF_FEBRUARY
    assert len(first["data_hash"]) == len(first["model_hash"]) == 64
    old = first["version"]
    promoted = promote(old, "the first")
    assert (promoted["version"], promoted["to_stage"], promoted["changed"]) == (
        *(old, "Production"),
        True,
    )
    assert [one["gate"] for one in promoted["report"]["gates"]] == list(GATES)
    until(lambda: serving() == old)

    # Features come online, while a second model is trained.
    assert api.get("/ready").json()["not_ready"] == ["feature_store"]
    assert problem(api.post("/predict", json=question)) == (404, "unknown_entity")
    training = start("train", "--as-of", JANUARY, "--random-state", "7")
    materialized = start("materialize").result()
    assert materialized.keys() == set(applied["feature_views"])
    for view in materialized.values():
        assert view["rows"] >= 400
        assert view["seconds"] > 0
    until(lambda: api.get("/ready").status_code == 200)
    answer = api.post("/predict", json=question)
    assert answer.status_code == 200
    told = answer.json()
    assert told[key] == entities[0]
    assert told["prediction"] in (0, 1)
    assert 0 <= told["probability"] <= 1
    assert told["model"] == {
        "name": name,
        "version": old,
        "run_id": first["run_id"],
        "stage": "Production",
    }
    assert told["features_as_of"] == END_OF_FEBRUARY
    assert told["request_id"] == answer.headers["x-request-id"]
    shown = api.get(f"/features/{entities[0]}").json()["features"]
    assert {feature: one["value"] for feature, one in shown.items()} == told["features_used"]
    assert problem(api.post("/predict", json={key: "nobody"})) == (404, "unknown_entity")
    assert problem(api.post("/predict", json={})) == (422, "invalid_request")

    # The second takes over under load; nobody notices but by the receipt.
    second = training.result()
    assert second["data_hash"] == first["data_hash"]
    assert second["model_hash"] != first["model_hash"]
    new = second["version"]
    with Load(api, question).running() as load:
        promote(new, "the second")
        until(lambda: load.versions[-1] == new)
    assert_swapped(load, old, new)

    # A rollback is followed, and so is a change made in MLflow, as its UI makes it.
    with Load(api, question).running() as load:
        rolled_back = start("rollback", "--why", "scores shifted").result()
        assert (rolled_back["version"], rolled_back["replaced"]) == (old, new)
        until(lambda: load.versions[-1] == old)
    assert_swapped(load, new, old)
    client = mlflow.MlflowClient(ready.mlflow_uri, ready.mlflow_uri)
    with Load(api, question).running() as load:
        client.transition_model_version_stage(
            name, str(new), "Production", archive_existing_versions=True
        )
        until(lambda: load.versions[-1] == new)
    assert_swapped(load, old, new)
    promote(new, "by hand")

    # Everybody tells the same: the API, the command line, MLflow, the audit.
    commands = start("predict", entities[0]), start("models"), start("runs"), start("status")
    answers = [api.post("/predict", json={key: entity}).json() for entity in entities]
    assert {answer["model"]["version"] for answer in answers} == {new}
    assert any(None in answer["features_used"].values() for answer in answers)
    predicted = mlflow_predictions(ready.mlflow_uri, f"models:/{name}/Production", answers)
    assert predicted == [(answer["prediction"], answer["probability"]) for answer in answers]
    by_command, models, runs, status = (command.result() for command in commands)
    assert {**by_command, "request_id": None} == {**answers[0], "request_id": None}
    by_version = {one["version"]: one for one in models}
    assert (by_version[new]["stage"], by_version[new]["aliases"]) == ("Production", ["production"])
    assert (by_version[old]["stage"], by_version[old]["aliases"]) == ("Archived", [])
    for trained in (first, second):
        assert by_version[trained["version"]]["run_id"] == trained["run_id"]
        assert by_version[trained["version"]]["metrics"] == trained["metrics"]
    assert {run["run_id"] for run in runs} == {first["run_id"], second["run_id"]}
    assert {"name": "months", "state": "2", "detail": f"{JANUARY}, {FEBRUARY}"} in status
    kept = client.get_run(second["run_id"])
    assert kept.data.metrics == second["metrics"]
    assert kept.data.params["random_state"] == "7"
    assert kept.data.params["as_of"] == JANUARY
    assert {file.path for file in client.list_artifacts(second["run_id"])} >= {
        "feature_schema.json",
        "plots",
    }
    again = start("reproduce", "--all").result()
    assert [(one["version"], one["verdict"]) for one in again] == [
        (new, "identical"),
        (old, "identical"),
    ]
    audit = model_history.changes(ready.database, name)
    assert [(one.kind, one.version, one.why) for one in audit if one.ours] == [
        ("promoted", old, "the first"),
        ("promoted", new, "the second"),
        ("rolled back", old, "scores shifted"),
        ("promoted", new, "by hand"),
    ]


def assert_swapped(load: Load, before: int, after: int) -> None:
    """No request failed, and the version changed once."""
    assert load.statuses == {200}
    changes = [
        pair for pair in zip(load.versions, load.versions[1:], strict=False) if len({*pair}) > 1
    ]
    assert load.versions[0] == before
    assert changes == [(before, after)]


def mlflow_predictions(uri: str, model: str, answers: list[Answer]) -> list[tuple[int, float]]:
    """What any user of MLflow gets for the same features."""
    import mlflow
    import pandas

    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    frame = pandas.DataFrame([answer["features_used"] for answer in answers])
    predicted = mlflow.pyfunc.load_model(model).predict(frame)
    return list(zip(predicted["prediction"], predicted["probability"], strict=True))
