"""Old runs and versions taken away from a real MLflow, with their files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mlflow import MlflowClient
from tests.registered import register_four

from streamflow.errors import MlflowUnavailable, UnknownRun
from streamflow.operations import prune
from streamflow.platform import Platform
from streamflow.registry import mlflow_deletion

LATER = datetime.now(UTC) + timedelta(days=200)
HALF_A_YEAR = timedelta(days=180)


@pytest.fixture
def four(ready: Platform) -> tuple[Platform, list[tuple[int, str]]]:
    """Four versions, the second one in Production."""
    return ready, register_four(ready)


def folder_of(ready: Platform, run_id: str) -> Path:
    client = MlflowClient(tracking_uri=ready.registry.uri)
    return Path(unquote(urlsplit(client.get_run(run_id).info.artifact_uri).path))


def files_of(ready: Platform) -> int:
    return sum(path.is_file() for path in ready.artifacts.rglob("*"))


def test_old_runs_go_with_their_versions_and_files_and_production_stays(
    four: tuple[Platform, list[tuple[int, str]]],
) -> None:
    ready, made = four
    gone, production, kept = made[0], made[1], made[3]
    folder = folder_of(ready, gone[1])
    assert folder.is_dir()
    assert files_of(ready) == 8

    planned = prune.plan(ready, 1, HALF_A_YEAR, LATER)
    assert files_of(ready) == 8
    done = prune.prune(ready, 1, HALF_A_YEAR, LATER)

    assert done == planned
    assert [one.versions for one in done.removed] == [(gone[0],), (made[2][0],)]
    assert [(one.versions, one.reasons) for one in done.kept] == [
        ((production[0],), ("in Production",))
    ]
    assert [one.version for one in ready.registry.versions()] == [kept[0], production[0]]
    assert not folder.exists()
    assert files_of(ready) == 4
    with pytest.raises(UnknownRun):
        ready.registry.run(gone[1])
    assert prune.prune(ready, 1, HALF_A_YEAR, LATER).removed == []


def test_a_deletion_that_was_interrupted_goes_on(
    four: tuple[Platform, list[tuple[int, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, made = four

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(mlflow_deletion, "_delete_files", killed)
        with pytest.raises(MlflowUnavailable):
            prune.prune(ready, 1, HALF_A_YEAR, LATER)
    assert files_of(ready) == 8

    done = prune.prune(ready, 1, HALF_A_YEAR, LATER)

    assert [one.run_id for one in done.removed] == [made[0][1], made[2][1]]
    assert files_of(ready) == 4


def test_what_is_promoted_meanwhile_stays(
    four: tuple[Platform, list[tuple[int, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, made = four
    planned = prune.plan(ready, 1, HALF_A_YEAR, LATER)
    monkeypatch.setattr(prune, "plan", lambda *_: replace(planned))
    ready.registry.set_stage(made[0][0], "Staging")

    done = prune.prune(ready, 1, HALF_A_YEAR, LATER)

    assert [one.run_id for one in done.removed] == [made[2][1]]
    assert made[0][0] in [one.version for one in ready.registry.versions()]
