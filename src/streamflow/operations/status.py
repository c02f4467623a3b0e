"""Which servers run and what is loaded; an embedded PostgreSQL that sleeps is started to look."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from streamflow import bootstrap
from streamflow.errors import InvalidSettings, MlflowUnavailable, StreamFlowError
from streamflow.history import ingestions, months
from streamflow.history.ingestions import Recorded
from streamflow.operations import processes, running_servers
from streamflow.platform import Platform
from streamflow.postgres import embedded_server, migrations, roles
from streamflow.promotion import canary
from streamflow.promotion.admission.admitted import UngatedProduction
from streamflow.promotion.admission.admitted_reader import AdmittedReader
from streamflow.promotion.events.delivery import backlog
from streamflow.registry.records import ModelVersion
from streamflow.serving.online_store import newest_materialized
from streamflow.settings import Settings
from streamflow.use_case.module import load_use_case

MOST_INGESTIONS = 12


@dataclass(frozen=True)
class Part:
    """A part of the installation; `detail` is an address, a version or a list."""

    name: str
    state: str
    detail: str


def status(settings: Settings) -> list[Part]:
    """The states of PostgreSQL and its schema, MLflow, the API, the console, the use case, history
    and Production."""
    servers = [_mlflow(settings), _api(settings), _console(settings)]
    try:
        use_case = Part("use case", load_use_case(settings.use_case).name, _chosen_by(settings))
    except InvalidSettings as error:
        return [*servers, Part("use case", "refused", error.message)]
    database = Part("PostgreSQL", "up", "embedded" if not settings.database_url else "yours")
    if settings.database_url is None and embedded_server.server_pid(settings.home) is None:
        detail = "embedded; any command that needs it starts it, as this one did"
        database = Part("PostgreSQL", "asleep", detail)
        if not embedded_server.has_cluster(settings.home):
            nothing = "embedded; the first command that needs it makes it"
            return [replace(database, detail=nothing), *servers, use_case]
    try:
        with bootstrap.platform(settings) as opened:
            loaded = months.months(opened.database, opened.use_case)
            parts = [database, _schema(opened), *servers, use_case]
            if others := months.other_use_cases(opened.database, opened.use_case):
                parts.append(Part("other use cases", str(len(others)), ", ".join(others)))
            parts.append(
                Part("months", str(len(loaded)), ", ".join(str(month) for month in loaded))
            )
            recorded = ingestions.recorded_ingestions(opened.database, opened.use_case)
            parts.append(Part("ingestions", str(len(recorded)), _newest_first(recorded)))
            parts += [*_absent(opened, loaded), _production(opened), *_staging(opened)]
            return [*parts, *_events(opened)]
    except StreamFlowError as error:
        return [Part("PostgreSQL", "down", error.message), *servers, use_case]


def _chosen_by(settings: Settings) -> str:
    by = "STREAMFLOW_USE_CASE" if "use_case" in settings.model_fields_set else "the default"
    return f"{settings.use_case}, {by}"


def _schema(platform: Platform) -> Part:
    granted = [role.name for role in roles.existing(platform.database) if role.may_connect]
    detail = f"roles: {', '.join(granted)}" if granted else "no roles: one user does everything"
    return Part("schema", f"{migrations.migrations()[-1].number:04d}", detail)


def _newest_first(recorded: Sequence[Recorded]) -> str:
    """The newest ingestions with their numbers, which `streamflow withdraw` takes."""
    shown = [
        f"{one.ingestion_id} ({one.as_of}{', by --really' if one.overridden else ''}"
        f"{', withdrawn' if one.withdrawn_at else ''})"
        for one in recorded[: -MOST_INGESTIONS - 1 : -1]
    ]
    return ", ".join([*shown, *(["…"] if len(recorded) > MOST_INGESTIONS else [])])


def _absent(platform: Platform, loaded: Sequence[date]) -> list[Part]:
    """How many entities the newest month in the online store lacks, else the newest one loaded."""
    if not loaded:
        return []
    newest = newest_materialized(platform.database, platform.use_case).values()
    month = max(newest).astimezone(UTC).date() if newest else loaded[-1]
    found = months.absent_entities(platform.database, platform.use_case, month)
    parts = [
        Part(
            "absent entities",
            str(found.absent),
            f"of {found.entities} in history, not in the month {month}",
        )
    ]
    if (allowed := platform.use_case.departed_after) is not None and found.departed is not None:
        last_seen = f"last seen more than {allowed.days} days before {month}"
        parts.append(Part("departed entities", str(found.departed), last_seen))
    return parts


def _production(platform: Platform) -> Part:
    reader = AdmittedReader.of(platform, lambda: datetime.now(UTC))
    try:
        version = reader.production()
        if reader.registry_error is not None:
            raise reader.registry_error
    except (MlflowUnavailable, UngatedProduction) as error:
        return Part("Production", "unknown", error.message)
    if reader.ungated is not None:
        return Part("Production", "ungated", str(reader.ungated))
    if version is None:
        return Part("Production", "empty", "")
    return Part("Production", "set", _with_overrides(reader, version))


def _with_overrides(reader: AdmittedReader, version: ModelVersion) -> str:
    found = reader.overrides(version.version, version.model_hash)
    spite = "".join(
        f"; in spite of the gate {one['gate']} ({one['outcome']}): {one['why']}" for one in found
    )
    return f"version {version.version}, run {version.run_id}{spite}"


def _staging(platform: Platform) -> list[Part]:
    """The version in Staging with its canary, and what one worker of the API has scored with it."""
    try:
        version = platform.production.staging()
    except MlflowUnavailable:
        return []
    if version is None:
        return []
    details = [f"version {version.version}"]
    on = canary.current(platform.database, version.name)
    if on is not None and on.version == version.version:
        details.append(f"canary: answers {on.share:g} % of the entities")
    for url in running_servers.urls(platform.settings.home, "api"):
        told = _challenger(f"{url}/ready")
        if "scored" in told:
            details.append(
                f"one worker has scored {told['scored']:,} predictions with it, and dropped "
                f"{told['dropped']:,}"
            )
        elif "detail" in told:
            details.append(f"can't be served: {told['detail']}")
        if "canary_ended" in told:
            details.append(f"a canary has ended: {told['canary_ended']}")
    return [Part("Staging", "set", "; ".join(details))]


def _challenger(url: str) -> dict[str, Any]:
    """What a worker of the API tells of the version in Staging; nothing if it doesn't respond."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            told: dict[str, Any] = json.load(answer).get("challenger", {})
            return told
    except (OSError, ValueError):  # also where it isn't ready
        return {}


def _events(platform: Platform) -> list[Part]:
    """What waits for the webhook; nothing if there is none."""
    if platform.settings.webhook_url is None:
        return []
    left = backlog(platform.database, platform.registry.model)
    if not left.waiting or left.oldest_at is None:
        return [Part("events", "delivered", "")]
    failed = f", {left.attempts} attempts, the last one: {left.problem}" if left.problem else ""
    since = f"the oldest of {left.oldest_at:%Y-%m-%d %H:%M:%S} UTC{failed}"
    return [Part("events", "waiting", f"{left.waiting}, {since}")]


def _mlflow(settings: Settings) -> Part:
    if settings.mlflow_tracking_uri is not None:
        url = settings.mlflow_tracking_uri
        return Part("MLflow", "up" if processes.responds(f"{url}/health") else "down", url)
    for url in running_servers.urls(settings.home, "mlflow"):
        return Part("MLflow", "up" if processes.responds(f"{url}/health") else "not ready", url)
    return _down("MLflow", "127.0.0.1", settings.mlflow_port)


def _api(settings: Settings) -> Part:
    for url in running_servers.urls(settings.home, "api"):
        return Part("API", "up" if processes.responds(f"{url}/ready") else "not ready", url)
    return _down("API", settings.api_host, settings.api_port)


def _console(settings: Settings) -> Part:
    for url in running_servers.urls(settings.home, "console"):
        up = processes.responds(f"{url}/health")
        return Part("console", "up" if up else "not ready", url)
    return _down("console", settings.console_host, settings.console_port)


def _down(name: str, host: str, port: int) -> Part:
    url = f"http://{host}:{port}"
    taken = not processes.is_free(host, port)
    return Part(name, "down", f"{url} is used by another program or home" if taken else url)
