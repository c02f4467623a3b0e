"""What runs and what is there, looked at without starting anything."""

from __future__ import annotations

from dataclasses import dataclass

from streamflow.bootstrap import platform
from streamflow.errors import MlflowUnavailable, StreamFlowError
from streamflow.history import months
from streamflow.operations import processes
from streamflow.platform import Platform
from streamflow.postgres import embedded_server, migrations, roles
from streamflow.settings import Settings


@dataclass(frozen=True)
class Part:
    name: str
    state: str
    detail: str


def look(settings: Settings) -> list[Part]:
    """PostgreSQL and its schema, MLflow, the API, the months in history, what is in Production."""
    api = f"http://{settings.api_host}:{settings.api_port}"
    mlflow = settings.mlflow_tracking_uri or f"http://127.0.0.1:{settings.mlflow_port}"
    servers = [
        Part("MLflow", "up" if processes.answers(f"{mlflow}/health") else "down", mlflow),
        Part("API", "up" if processes.answers(f"{api}/ready") else _api_state(api), api),
    ]
    if settings.database_url is None and embedded_server.server_pid(settings.home) is None:
        asleep = Part("PostgreSQL", "asleep", "embedded; any command that needs it starts it")
        return [asleep, *servers]
    try:
        with platform(settings) as ready:
            known = months.months(ready.database, ready.use_case)
            parts = [Part("PostgreSQL", "up", "embedded" if not settings.database_url else "yours")]
            parts += [_schema(ready), *servers]
            parts.append(Part("months", str(len(known)), ", ".join(str(month) for month in known)))
            return [*parts, _production(ready)]
    except StreamFlowError as error:
        return [Part("PostgreSQL", "down", error.message), *servers]


def _schema(ready: Platform) -> Part:
    granted = [role.name for role in roles.existing(ready.database) if role.may_connect]
    detail = f"roles: {', '.join(granted)}" if granted else "no roles: one user does everything"
    return Part("schema", f"{migrations.migrations()[-1].number:04d}", detail)


def _production(ready: Platform) -> Part:
    try:
        serving = ready.production.production()
    except MlflowUnavailable as error:
        return Part("Production", "unknown", error.message)
    if serving is None:
        return Part("Production", "empty", "")
    return Part("Production", "set", f"version {serving.version}, run {serving.run_id}")


def _api_state(api: str) -> str:
    return "not ready" if processes.answers(f"{api}/health") else "down"
