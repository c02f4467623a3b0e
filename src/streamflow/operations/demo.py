"""From nothing to a served prediction: every step that a user would type, in one go."""

from __future__ import annotations

import csv
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from streamflow import progress
from streamflow.errors import InvalidSettings, KeyRefused, ProcessFailed
from streamflow.operations import processes, servers
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.promotion import promote
from streamflow.promotion.promoter import promoter
from streamflow.use_case import Generation

MONTHS = (date(2024, 1, 31), date(2024, 2, 29))
SEED = 42


@dataclass(frozen=True)
class Demo:
    prediction: dict[str, Any]
    entity_id: str
    api: str
    mlflow: str


@contextmanager
def running(
    platform: Platform, users: int, who: str, tell: progress.Progress
) -> Iterator[tuple[Demo, list[processes.Child]]]:
    """A served prediction and the servers that gave it, while the block runs.

    What an earlier demo left in STREAMFLOW_HOME is used again: data, history, model, features.
    """
    settings = platform.settings
    platform.registry.prepare()

    def port(name: str, host: str, wanted: int) -> int:
        found = processes.next_free(host, wanted)
        if found != wanted:
            tell(f"port {wanted} is in use: {name} takes {found}")
        return found

    api_port = port("the API", settings.api_host, settings.api_port)
    commands = [servers.api_server(platform, api_port)]
    mlflow = settings.mlflow_tracking_uri
    if mlflow is None:
        mlflow_port = port("MLflow", "127.0.0.1", settings.mlflow_port)
        commands.append(servers.mlflow_server(platform, mlflow_port))
        mlflow = f"http://127.0.0.1:{mlflow_port}"
    with processes.running(commands) as children:
        entity_id = _pipeline(platform, users, who, tell)
        for child in children:
            child.wait_until_ready()
        api = commands[0].ready_url.removesuffix("/health")
        answer = _ask(platform, api, entity_id, tell)
        yield Demo(answer, entity_id, api, mlflow), children


def on_stack(platform: Platform, users: int, who: str, tell: progress.Progress, api: str) -> Demo:
    """The same with servers that run already: the API is asked at the address `api`.

    It and MLflow are told as those outside find them: on the ports of the settings.
    """
    settings = platform.settings
    entity_id = _pipeline(platform, users, who, tell)
    answer = _ask(platform, api, entity_id, tell)
    outside = "http://127.0.0.1"
    return Demo(
        answer, entity_id, f"{outside}:{settings.api_port}", f"{outside}:{settings.mlflow_port}"
    )


def _ask(platform: Platform, api: str, entity_id: str, tell: progress.Progress) -> dict[str, Any]:
    _until_ready(f"{api}/ready")
    tell("MLflow and the API are up")
    key = platform.settings.api_key
    answer = _post(
        f"{api}/predict",
        {platform.use_case.join_key: entity_id},
        key.get_secret_value() if key is not None else None,
    )
    tell(f"asked for {entity_id}")
    return answer


def _pipeline(platform: Platform, users: int, who: str, tell: progress.Progress) -> str:
    """All steps up to online features; the answer is an entity to ask about."""
    use_case, registry = platform.use_case, platform.registry
    if use_case.generate is None:
        raise InvalidSettings(
            f"The use case {use_case.name!r} has no generator for the demo to use.",
            "Run the steps with your own data: `streamflow ingest`, `apply`, `train`, …",
        )
    data = platform.settings.home / "data" / f"{use_case.name}-{users}-{SEED}"
    folders = [data / f"month_{i:03d}" for i in range(len(MONTHS))]
    if all(folder.is_dir() for folder in folders):
        tell(f"{users:,} {use_case.entity_table} are there from before: {data}")
    else:
        use_case.generate(Generation(data, users, len(MONTHS), SEED))
        tell(f"generated {users:,} {use_case.entity_table} over {len(MONTHS)} months: {data}")
    for folder, as_of in zip(folders, MONTHS, strict=True):
        ingested = ingest(platform, folder, as_of, None, _now(), who)
        added = sum(table.added for table in ingested.tables.values())
        rows = sum(table.rows for table in ingested.tables.values())
        tell(f"ingested {folder.name} as of {as_of}: {rows:,} rows, {added:,} of them new")
    applied = apply(platform)
    tell(f"applied {len(applied.feature_views)} feature views to Feast")
    done = materialize(platform, MONTHS[-1], _now())
    tell(f"materialized {sum(view.rows for view in done):,} feature rows into the online store")
    serving = registry.production()
    if serving is not None:
        tell(f"version {serving.version} is in Production from before")
    else:
        trained = train.train(platform, MONTHS[0], None, 42, _now())
        tell(
            f"trained version {trained.version} on {trained.rows:,} rows as of {MONTHS[0]}: "
            f"AUC {trained.metrics['auc']:.3f}"
        )
        promoting = promoter(platform, "demo", who, _now())
        promote.promote(platform, trained.version, "Production", "demo", promoting, _now())
        tell(f"promoted version {trained.version} to Production")
    return _first_entity(folders[-1] / f"{use_case.entity_table}.csv", use_case.join_key)


def _first_entity(file: Path, join_key: str) -> str:
    with file.open(encoding="utf-8", newline="") as lines:
        return next(csv.DictReader(lines))[join_key]


def _until_ready(url: str) -> None:
    deadline = time.monotonic() + processes.READY_SECONDS
    while not processes.answers(url):
        if time.monotonic() > deadline:
            raise ProcessFailed(
                f"The API isn't ready: {url} doesn't say so.",
                "Ask that address which part is missing, and look into the API's log.",
            )
        time.sleep(0.1)


def _post(url: str, question: dict[str, str], key: str | None) -> dict[str, Any]:
    """The answer, as soon as the worker that is asked is ready too. Raises KeyRefused."""
    request = urllib.request.Request(
        url, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    if key is not None:
        request.add_header("Authorization", f"Bearer {key}")
    deadline = time.monotonic() + processes.READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                answer: dict[str, Any] = json.load(response)
            return answer
        except urllib.error.HTTPError as error:
            if error.headers["WWW-Authenticate"]:
                raise KeyRefused(
                    json.load(error)["detail"],
                    "Set STREAMFLOW_API_KEY to one: `streamflow keys create --scope predict`.",
                ) from error
            if error.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _now() -> datetime:
    return datetime.now(UTC)
