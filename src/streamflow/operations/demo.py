"""The demo: all steps from generated data to a served prediction."""

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

from streamflow.errors import InvalidSettings, KeyRefused, ProcessFailed
from streamflow.features import use_case_check
from streamflow.operations import processes, servers
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.progress import Progress
from streamflow.promotion import promote
from streamflow.promotion.promoter import promoter
from streamflow.use_case import Generation

MONTHS = (date(2024, 1, 31), date(2024, 2, 29))
SEED = 42


@dataclass(frozen=True)
class Demo:
    """The result: the API's response for `entity_id`, and the addresses of the API, MLflow and the
    console."""

    prediction: dict[str, object]
    entity_id: str
    api: str
    mlflow: str
    console: str


@contextmanager
def running(
    platform: Platform, users: int, operator: str, progress: Progress
) -> Iterator[tuple[Demo, list[processes.Child]]]:
    """Run the demo and its servers; they stay up while the block runs.

    Data, history, model and features of an earlier demo in STREAMFLOW_HOME are used again.
    """
    settings = platform.settings
    platform.registry.prepare()

    def free_port(name: str, host: str, preferred: int) -> int:
        port = processes.next_free(host, preferred)
        if port != preferred:
            progress(f"port {preferred} is in use: {name} takes {port}")
        return port

    api_port = free_port("the API", settings.api_host, settings.api_port)
    console_port = free_port("the console", settings.console_host, settings.console_port)
    commands = [
        servers.api_server(platform, api_port),
        servers.console_server(platform, console_port),
    ]
    mlflow = settings.mlflow_tracking_uri
    if mlflow is None:
        mlflow_port = free_port("MLflow", "127.0.0.1", settings.mlflow_port)
        commands.append(servers.mlflow_server(platform, mlflow_port))
        mlflow = f"http://127.0.0.1:{mlflow_port}"
    with servers.running(platform, commands) as children:
        entity_id = _pipeline(platform, users, operator, progress)
        for child in children:
            child.wait_until_ready()
        api, console = (one.ready_url.removesuffix("/health") for one in commands[:2])
        prediction = _predict(platform, api, entity_id, progress)
        yield Demo(prediction, entity_id, api, mlflow, console), children


def with_running_api(
    platform: Platform, users: int, operator: str, progress: Progress, api: str
) -> Demo:
    """Run the demo with servers that run already: the prediction is requested from `api`.

    The addresses in the result are those that the user's browser can reach: on 127.0.0.1, with the
    ports of the settings.
    """
    settings = platform.settings
    entity_id = _pipeline(platform, users, operator, progress)
    prediction = _predict(platform, api, entity_id, progress)
    host = "http://127.0.0.1"
    return Demo(
        prediction,
        entity_id,
        *(f"{host}:{settings.api_port}", f"{host}:{settings.mlflow_port}"),
        f"{host}:{settings.console_port}",
    )


def _predict(platform: Platform, api: str, entity_id: str, progress: Progress) -> dict[str, object]:
    _until_ready(f"{api}/ready")
    progress("MLflow, the API and the console are up")
    key = platform.settings.api_key
    response = _post(
        f"{api}/predict",
        {platform.use_case.join_key: entity_id},
        key.get_secret_value() if key is not None else None,
    )
    progress(f"asked for {entity_id}")
    return response


def _pipeline(platform: Platform, users: int, operator: str, progress: Progress) -> str:
    """Run all steps up to a version in Production; returns the id of an entity."""
    use_case, registry = platform.use_case, platform.registry
    if use_case.generate is None:
        raise InvalidSettings(
            f"The use case {use_case.name!r} has no generator for the demo to use.",
            "Run the steps with your own data: `streamflow ingest`, `apply`, `train`, …",
        )
    use_case_check.require_usable(use_case)
    data = platform.settings.home / "data" / f"{use_case.name}-{users}-{SEED}"
    folders = [data / f"month_{i:03d}" for i in range(len(MONTHS))]
    if all(folder.is_dir() for folder in folders):
        progress(f"{users:,} {use_case.entity_table} already exist: {data}")
    else:
        use_case.generate(Generation(data, users, len(MONTHS), SEED))
        progress(f"generated {users:,} {use_case.entity_table} over {len(MONTHS)} months: {data}")
    for folder, as_of in zip(folders, MONTHS, strict=True):
        ingested = ingest(platform, folder, as_of, None, _now(), operator)
        added = sum(table.added for table in ingested.tables.values())
        rows = sum(table.rows for table in ingested.tables.values())
        progress(f"ingested {folder.name} as of {as_of}: {rows:,} rows, {added:,} of them new")
    applied = apply(platform)
    progress(f"applied {len(applied.registry.feature_views)} feature views to Feast")
    views = materialize(platform, MONTHS[-1], _now())
    progress(
        f"materialized {sum(view.rows for view in views):,} feature rows into the online store"
    )
    version = registry.production()
    if version is not None:
        progress(f"version {version.version} is already in Production")
    else:
        trained = train.train(platform, MONTHS[0], None, 42, _now(), who=operator)
        progress(
            f"trained version {trained.version} on {trained.rows:,} rows as of {MONTHS[0]}: "
            f"AUC {trained.metrics['auc']:.3f} on rows of that month that it hadn't seen"
        )
        who = promoter(platform, "demo", operator, _now())
        _promote(platform, trained.version, users, who, progress)
    return _first_entity(folders[-1] / f"{use_case.entity_table}.csv", use_case.join_key)


def _promote(platform: Platform, version: int, users: int, who: str, progress: Progress) -> None:
    """A demo of few entities goes on where so few rows can't tell how good a model is."""
    why = f"a demo of {users:,} {platform.use_case.entity_table}"
    few = dict.fromkeys(("quality", "calibration"), why)
    done = promote.promote(platform, version, "Production", "demo", who, _now(), overrides=few)
    overridden = done.report.overridden if done.report is not None else ()
    in_spite_of = ", ".join(f"{one.gate}, {one.outcome}" for one in overridden)
    said = f"in spite of the gate {in_spite_of}" if in_spite_of else "all gates passed"
    progress(f"promoted version {version} to Production: {said}")


def _first_entity(file: Path, join_key: str) -> str:
    with file.open(encoding="utf-8", newline="") as lines:
        return next(csv.DictReader(lines))[join_key]


def _until_ready(url: str) -> None:
    deadline = time.monotonic() + processes.READY_SECONDS
    while not processes.responds(url):
        if time.monotonic() > deadline:
            raise ProcessFailed(
                f"The API isn't ready: {url} doesn't return status 200.",
                "Open that address to see which part is missing, and read the API's log.",
            )
        time.sleep(0.1)


def _post(url: str, body: dict[str, str], key: str | None) -> dict[str, object]:
    """The response's JSON. A worker that isn't ready yet is tried again. Raises KeyRefused."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    if key is not None:
        request.add_header("Authorization", f"Bearer {key}")
    deadline = time.monotonic() + processes.READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                result: dict[str, object] = json.load(response)
            return result
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
