"""Hostile models in the registry: two workers refuse each, and the last good one answers.

It takes a minute of a machine for itself, so that it runs where STREAMFLOW_LONG_TESTS is set.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from tests.e2e.test_workers import (  # noqa: F401 (fixtures)
    QUESTION,
    server,
    settings,
    until,
    versions,
)
from tests.fakes import repeating
from tests.unit.test_trial import endless, graph, large

from streamflow.operations import processes
from streamflow.platform import Platform
from streamflow.registry.records import MODEL_HASH_TAG
from streamflow.training import served_model

REFUSED_WITHIN_SECONDS = 30.0


def register(ready: Platform, name: str, content: bytes, schema: str, **given: Any) -> int:
    """A version whose model.onnx has this content, as who may write to the registry makes it."""
    client = ready.registry._client
    folder = ready.settings.home / "hostile" / name
    folder.mkdir(parents=True)
    (folder / served_model.SCHEMA_FILE).write_text(schema)
    (folder / "model.onnx").write_bytes(content)
    if size := given.get("size"):
        os.truncate(folder / "model.onnx", size)
    model_hash = given.get("model_hash") or served_model.digest(folder)
    run = client.create_run(ready.registry.experiment())
    stored = Path(unquote(urlsplit(run.info.artifact_uri).path)) / "model"
    if given.get("outside"):
        stored = folder
    else:
        stored.parent.mkdir(parents=True)
        folder.rename(stored)
    made = client.create_model_version(
        ready.registry.model,
        stored.as_uri(),
        run.info.run_id,
        tags={MODEL_HASH_TAG: model_hash},
    )
    return int(made.version)


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """No gate has seen these models."""
    return {**environment, "STREAMFLOW_UNGATED": "serve"}


@pytest.mark.skipif("STREAMFLOW_LONG_TESTS" not in os.environ, reason="it takes a minute")
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_hostile_models_are_refused_by_every_worker_and_the_last_good_one_answers(
    ready: Platform,
    versions: list[int],  # noqa: F811
    server: processes.Child,  # noqa: F811
) -> None:
    url = server.command.ready_url.removesuffix("/ready")
    good = ready.registry.download(ready.registry.version(versions[0]))
    schema = (good / served_model.SCHEMA_FILE).read_text()
    hostile = {
        "doesn't come back": register(ready, "loops", graph(*endless()), schema),
        "more than 500 MB of memory": register(ready, "memory", graph(*large(1_000_000)), schema),
        "takes more than 500 MB": register(ready, "constant", graph(*large(1_000)), schema),
        "larger than 500 MB": register(ready, "large", b"", schema, size=1_000_000_000),
        "hash differs": register(ready, "hash", graph(), schema, model_hash="0" * 64),
        "is '../../..'": register(ready, "path", graph(), schema, model_hash="../../.."),
        "outside the store": register(ready, "outside", graph(), schema, outside=True),
    }
    answers: list[tuple[int, int | None]] = []

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            answer = client.post("/predict", json=QUESTION)
            answers.append((answer.status_code, answer.json().get("model", {}).get("version")))

    def refused_by_all(version: int) -> dict[str, str] | None:
        """What twenty connections in a row are told of it; None if one isn't told."""
        told: dict[str, str] | None = None
        for _ in range(20):
            with httpx.Client(base_url=url, timeout=60) as client:
                body = client.get("/ready").json()
            told = body["model"].get("refused")
            if not body["ready"] or not told or told["version"] != version:
                return None
        return told

    client = ready.registry._client
    seconds = {}
    with repeating(ask):
        for what, version in hostile.items():
            client.transition_model_version_stage(
                ready.registry.model, str(version), "Production", archive_existing_versions=True
            )
            began = time.monotonic()
            told = until(lambda version=version: refused_by_all(version))
            seconds[what] = time.monotonic() - began
            print(f"{seconds[what]:.1f} s: {told['detail']}")
            assert what in told["detail"]
        # After all of them, a good one is followed at once.
        client.transition_model_version_stage(
            ready.registry.model, str(versions[1]), "Production", archive_existing_versions=True
        )
        until(lambda: [one[1] for one in answers[-20:]] == [versions[1]] * 20)
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == set(versions)
    assert max(seconds.values()) < REFUSED_WITHIN_SECONDS, seconds
