"""A thousand predictions over HTTP, each made again when features and model are others."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests import promoting
from tests.e2e.serve import serving
from tests.e2e.two_versions import JANUARY, MACHINES, PATIENCE_SECONDS, two_versions, until
from tests.statements import execute

from streamflow.operations import processes
from streamflow.pipeline import explain
from streamflow.pipeline.explain import Explanation
from streamflow.pipeline.ingest import ingest as ingest_month
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.promotion.promote import Promoted
from streamflow.settings import Settings

SINGLE, TOGETHER = 700, 300

Answer = dict[str, Any]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"use_case": "tests.tiny_case"})


@pytest.fixture
def versions(ready: Platform) -> list[int]:
    """Two versions of a model, the first of them in Production, and a month online."""

    def first(ready: Platform, version: int, *_: object) -> Promoted:
        return promote(ready, version, "the first")

    return two_versions(ready, first, known_at=now(), now=now())


@pytest.fixture
def server(
    versions: list[int], environment: dict[str, str], settings: Settings
) -> Iterator[processes.Child]:
    with serving(settings.home, environment) as child:
        yield child


@pytest.fixture
def api(server: processes.Child) -> Iterator[httpx.Client]:
    url = server.command.ready_url.removesuffix("/ready")
    with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:
        yield client


def now() -> datetime:
    return datetime.now(UTC)


def ingest(ready: Platform) -> None:
    month = ready.settings.home / "months" / "month_000"
    ingest_month(ready, month, JANUARY, None, now(), "test")


def promote(ready: Platform, version: int, why: str) -> Promoted:
    return promoting.promote(ready, version, "Production", why, "somebody", now())


def heat(ready: Platform) -> None:
    """January's readings come again, all of them hotter and with another alarm."""
    file = ready.settings.home / "months" / "month_000" / "readings.csv"
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        for row in rows:
            hotter = str(float(row["temperature_c"]) + 9.75)
            writer.writerow({**row, "temperature_c": hotter, "alarms": int(row["alarms"]) + 1})
    ingest(ready)
    materialize(ready, JANUARY, now())


def name(number: int) -> str:
    return f"m-{number % MACHINES:04}"


def ask(api: httpx.Client, numbers: range) -> dict[tuple[str, str], Answer]:
    """The answers to single questions, by request and machine."""
    found = {}
    for number in numbers:
        answer = api.post("/predict", json={"machine_id": name(number)})
        assert answer.status_code == 200
        found[answer.json()["request_id"], name(number)] = answer.json()
    return found


def ask_together(api: httpx.Client, numbers: range) -> dict[tuple[str, str], Answer]:
    ids = [name(number) for number in numbers]
    answer = api.post("/predict/batch", json={"machine_ids": ids}).json()
    return {
        (answer["request_id"], row["machine_id"]): {**row, "model": answer["model"]}
        for row in answer["predictions"]
    }


def assert_told(one: Explanation, answer: Answer, version: int, why: str) -> None:
    """The receipt is what the API had answered, and both ways come out the same."""
    receipt = one.receipt
    assert (receipt.prediction, receipt.probability) == (
        *(answer["prediction"], answer["probability"]),
    )
    assert receipt.values == answer["features_used"]
    told = {view: time.isoformat() for view, time in (receipt.times or {}).items()}
    assert told == answer["feature_times"]
    assert (receipt.model.version, receipt.model.run_id) == (version, answer["model"]["run_id"])
    assert one.promotion is not None
    assert (one.promotion.promoted_by, one.promotion.why) == ("somebody", why)
    assert (one.from_log.verdict, one.from_log.why) == ("same", ())
    assert (one.from_history.verdict, one.from_history.why) == ("same", ())
    for replay in (one.from_log, one.from_history):
        assert replay.probability == answer["probability"]


@pytest.mark.slow
def test_a_thousand_predictions_come_out_again_after_features_and_model_changed(
    server: processes.Child,
    api: httpx.Client,
    ready: Platform,
    versions: list[int],
    cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    first = {**ask(api, range(SINGLE)), **ask_together(api, range(TOGETHER))}
    assert len(first) == 1_000
    refused = api.post("/predict", json={"machine_id": "m-9999"})
    assert refused.status_code == 404

    heat(ready)
    hotter = ask(api, range(20))
    promote(ready, versions[1], "the second")
    until(lambda: api.get("/ready").json()["model"]["version"] == versions[1])
    second = ask(api, range(20))

    # The end of the API is the end of its log: nothing of it is still under way.
    written = api.get("/metrics").text
    assert "streamflow_prediction_log_dropped_rows_total 0.0" in written
    os.kill(server.pid, signal.SIGTERM)
    until(lambda: not processes.responds(f"{api.base_url}/health"))
    everyone = {**first, **hotter, **second}
    assert len({answer["probability"] for answer in everyone.values()}) == MACHINES + 20 + 20
    requests = sorted({request_id for request_id, _ in everyone})
    receipts = until(
        lambda: len(found := explain.find(ready, requests, None)) == len(everyone) and found
    )

    explained = {
        (one.receipt.request_id, one.receipt.entity_id): one
        for one in explain.explain(ready, receipts)
    }
    assert explained.keys() == everyone.keys()
    for answers, version, why in (
        (first, versions[0], "the first"),
        (hotter, versions[0], "the first"),
        (second, versions[1], "the second"),
    ):
        for key, answer in answers.items():
            assert_told(explained[key], answer, version, why)
    # Each comes from the ingestion that was online, not from the newest.
    for answers, ingestion in ((first, 1), (hotter, 2), (second, 2)):
        behind = {explained[key].behind["readings_fv"].ingestion_id for key in answers}
        assert behind == {ingestion}

    # What wasn't predicted is told as that, and comes out again too.
    (unknown,) = explain.explain(
        ready, explain.find(ready, [refused.json()["request_id"]], "m-9999")
    )
    assert (unknown.receipt.problem, unknown.verdict) == ("unknown_entity", "same")

    assert_named_when_changed(ready, first)
    assert_commands(cli, next(iter(second)), next(iter(first)))


def assert_named_when_changed(ready: Platform, first: dict[tuple[str, str], Answer]) -> None:
    """Whoever changes history, or the log, is found out: by feature."""
    (request_id, machine), answer = next(iter(first.items()))
    value = answer["features_used"]["temperature_c"]
    execute(
        ready.database,
        "UPDATE failures.readings_history SET temperature_c = temperature_c + 1 "
        "WHERE machine_id = %s AND ingestion_id = 1",
        [machine],
    )
    (one,) = explain.explain(ready, explain.find(ready, [request_id], machine))
    assert (one.verdict, one.from_log.verdict, one.from_history.verdict) == (
        *("different", "same", "different"),
    )
    assert one.from_history.why[0] == (
        f"temperature_c is {value + 1!r} in history, {value!r} in the log."
    )
    assert len(one.from_history.why) == 2
    execute(
        ready.database,
        "UPDATE streamflow.predictions SET probability = 0.25 WHERE request_id = %s",
        [request_id],
    )
    (one,) = explain.explain(ready, explain.find(ready, [request_id], machine))
    assert one.from_log.verdict == "different"
    assert one.from_log.why == (f"The score is {answer['probability']!r}, it was 0.25.",)


def assert_commands(
    cli: Callable[..., subprocess.CompletedProcess[str]],
    good: tuple[str, str],
    changed: tuple[str, str],
) -> None:
    with ThreadPoolExecutor() as pool:
        told, different, unknown = pool.map(
            lambda arguments: cli("explain-prediction", *arguments),
            [(good[0], "--json"), (changed[0],), ("never-asked", "--json")],
        )
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    assert answer["verdict"] == "same"
    assert answer["predictions"][0]["receipt"]["entity_id"] == good[1]
    assert different.returncode == 1, different.stderr
    assert "temperature_c is" in different.stdout
    assert unknown.returncode == 2
    assert json.loads(unknown.stdout)["error"] == "unknown_prediction"
