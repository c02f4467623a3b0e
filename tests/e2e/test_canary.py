"""A version in Staging from outside: `streamflow serve` with two workers, `promote --canary`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from tests import tiny_case
from tests.conftest import Cli
from tests.e2e.serve import serving
from tests.e2e.two_versions import PATIENCE_SECONDS, two_versions, until
from tests.statements import execute

from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.promotion import promote as deployment
from streamflow.serving.challenger.canary import percentile
from streamflow.settings import Settings
from streamflow.training import served_model

MODEL = tiny_case.use_case.registered_model
MACHINES = [f"m-{number:04}" for number in range(40)]
SHARE = 30
CANARY = {machine for machine in MACHINES if percentile(MODEL, machine) < SHARE}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"use_case": "tests.tiny_case"})


@pytest.fixture
def versions(ready: Platform) -> list[int]:
    """A version in Production and one in Staging, and a month online."""
    return two_versions(ready, deployment.promote, ("Production", "Staging"))


@contextmanager
def api(settings: Settings, environment: dict[str, str]) -> Iterator[str]:
    """The address of an API with two workers, who refuse nobody for how busy the machine is."""
    busy = {"STREAMFLOW_API_WORKERS": "2", "STREAMFLOW_LATENCY_BUDGET_MS": "30000"}
    with serving(settings.home, {**environment, **busy}) as child:
        yield child.command.ready_url.removesuffix("/ready")


def ask(url: str, machine: str) -> int:
    """The version that answers; whichever worker takes the new connection."""
    with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:
        answer = client.post("/predict", json={"machine_id": machine})
        assert answer.status_code == 200
        version: int = answer.json()["model"]["version"]
        return version


def by_second(url: str, versions: list[int]) -> set[str]:
    """The machines that the version in Staging answers for."""
    return {machine for machine in MACHINES if ask(url, machine) == versions[1]}


def break_it(ready: Platform, version: int) -> None:
    """Another model in the place of the version: it knows none of the kinds that machines have."""
    registered = ready.registry.version(version)
    folder = ready.production.download(registered)
    broken = folder.with_name("broken")
    shutil.copytree(folder, broken)
    schema = broken / served_model.SCHEMA_FILE
    text = schema.read_text(encoding="utf-8")
    schema.write_text(
        text.replace("lathe", "crane").replace("mill", "pump").replace("press", "saw")
    )
    digest = served_model.digest(broken)
    broken.rename(folder.with_name(digest))
    execute(
        ready.database,
        "UPDATE mlflow.model_version_tags SET value = %s WHERE value = %s AND version = %s",
        [digest, registered.model_hash, version],
    )


@pytest.mark.slow
def test_a_canary_has_the_same_entities_and_ends_by_itself_without_a_client_noticing(
    ready: Platform,
    versions: list[int],
    settings: Settings,
    environment: dict[str, str],
    cli: Cli,
) -> None:
    assert 0 < len(CANARY) < len(MACHINES)
    share, why = ["--canary", str(SHARE)], ["--why", "a try", "--json"]
    refused = cli("promote", str(versions[0]), *share, *why)
    assert refused.returncode == 1
    assert "only the version in Staging" in json.loads(refused.stdout)["message"]
    started = cli("promote", str(versions[1]), *share, *why)
    assert json.loads(started.stdout)["percent"] == SHARE

    with api(settings, environment) as url:
        # Both workers: each connection may be taken by either.
        until(lambda: all(by_second(url, versions) == CANARY for _ in range(3)))
        body = {"machine_ids": MACHINES}
        answer = httpx.post(f"{url}/predict/batch", json=body, timeout=PATIENCE_SECONDS).json()
        rows = answer["predictions"]
        assert {row["machine_id"] for row in rows if "model" in row} == CANARY
        asked = httpx.post(f"{url}/predict", json={"machine_id": min(CANARY)}).json()
        parts = {one["name"]: one for one in json.loads(cli("status", "--json").stdout)}
        assert f"canary: answers {SHARE} % of the entities" in parts["Staging"]["detail"]
        assert "one worker has scored" in parts["Staging"]["detail"]
    # Its answers have receipts as those of Production have.
    explained = json.loads(cli("explain-prediction", asked["request_id"], "--json").stdout)
    (one,) = explained["predictions"]
    assert (one["verdict"], one["receipt"]["model"]["stage"]) == ("same", "Staging")
    assert (one["promotion"]["action"], one["promotion"]["why"]) == ("canary started", "a try")
    shown = cli("history", "--at", one["receipt"]["predicted_at"])
    assert f"version {versions[1]}, the canary in Staging" in shown.stdout
    with api(settings, environment) as url:
        until(lambda: all(by_second(url, versions) == CANARY for _ in range(3)))
        break_it(ready, versions[1])

        def ended() -> bool:
            by_second(url, versions)
            kinds = [one.kind for one in model_history.changes(ready.database, MODEL)]
            return kinds[-1] == "canary ended"

        until(ended)
        until(lambda: by_second(url, versions) == set())

    change = model_history.changes(ready.database, MODEL)[-1]
    assert (change.who, change.version) == ("the API", versions[1])
    verified = cli("history", "--verify")
    assert verified.returncode == 0
    assert "Whole: " in verified.stdout
    assert f"Row {change.number} came after it: canary ended by the API" in verified.stdout
    assert "have no prediction by the version in Staging" in change.why
    found = cli("compare", *map(str, versions), "--json")
    compared = json.loads(found.stdout)
    assert compared["requests"] > len(MACHINES)
    assert compared["problems"][str(versions[0])] == {}
    assert compared["problems"][str(versions[1])].keys() == {"unseen_category"}
    assert compared["quality"]["trained_on"] > 0
    shown = cli("compare", *map(str, versions))
    assert "Labels agree in" in shown.stdout
    assert "Traceback" not in (settings.home / "api.log").read_text()
