"""The stack as `make stack` leaves it: what it tells, who gets in, and what a container may do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from bench import image, machine
from tests.stack import scan
from tests.stack.conftest import ROOT, Stack, docker, environment, run

SERVICES = ("postgres", "mlflow", "feast", "feast-ui", "api", "console")
# What each may write to, beside /tmp.
WRITABLE = {
    "postgres": {"/var/lib/postgresql", "/var/run/postgresql"},
    "mlflow": {"/artifacts"},
    "feast": set(),
    "feast-ui": set(),
    "api": {"/state", "/state/models"},
    "console": {"/state"},
}


def shown(stack: Stack) -> dict:
    """The prediction that `make stack` printed."""
    _, _, after = stack.told.partition(f"POST {stack.api}/predict\n")
    return json.JSONDecoder().raw_decode(after)[0]


def test_it_ends_with_a_prediction_told_as_the_demo_tells_it(stack: Stack) -> None:
    steps = [line.split(" s  ", 1)[1] for line in stack.told.splitlines() if " s  " in line[:14]]
    assert [step.split()[0] for step in steps] == [
        *("PostgreSQL", "generated", "ingested", "ingested", "applied", "materialized"),
        *("trained", "promoted", "MLflow,", "asked"),
    ]
    prediction = shown(stack)
    assert prediction["model"]["stage"] == "Production"
    assert 0 < prediction["probability"] < 1
    assert f"API docs   {stack.api}/docs\n" in stack.told
    assert f"MLflow UI  {stack.url('STREAMFLOW_MLFLOW_PORT')}\n" in stack.told
    assert f"Console    {stack.url('STREAMFLOW_CONSOLE_PORT')}\n" in stack.told
    assert httpx.get(f"{stack.api}/docs").status_code == 200


def test_the_console_shows_production_to_those_with_a_key(stack: Stack) -> None:
    url = stack.url("STREAMFLOW_CONSOLE_PORT")
    assert httpx.get(url).status_code == 401
    seen = httpx.get(url, headers={**stack.key, "Accept": "application/json"}, timeout=30)
    assert seen.status_code == 200
    assert seen.json()["production"]["version"] == shown(stack)["model"]["version"]
    assert httpx.get(url, headers={**stack.key, "Host": "attacker.example"}).status_code == 421


def test_every_service_is_healthy_and_the_api_is_ready(stack: Stack) -> None:
    assert [service for service in SERVICES if not stack.is_healthy(service)] == []
    assert httpx.get(f"{stack.api}/ready").json()["ready"]


def test_api_pipeline_and_feast_agree(stack: Stack) -> None:
    told = shown(stack)
    entity_id = told["user_id"]
    alone = {"request_id"}
    by_api, by_pipeline = stack.predict(entity_id), stack.pipeline("predict", entity_id)
    for answer in (by_api, by_pipeline):
        assert {k: v for k, v in answer.items() if k not in alone} == {
            k: v for k, v in told.items() if k not in alone
        }
    answer = httpx.post(
        f"{stack.url('STREAMFLOW_FEAST_PORT')}/get-online-features",
        json={"feature_service": "churn_v1", "entities": {"user_id": [entity_id]}},
        timeout=30,
    ).json()
    names = answer["metadata"]["feature_names"]
    values = [result["values"][0] for result in answer["results"]]
    found = dict(zip(names, values, strict=True))
    assert {name: found[name] for name in told["features_used"]} == told["features_used"]


def test_the_user_interface_of_feast_shows_the_registry(stack: Stack) -> None:
    ui = stack.url("STREAMFLOW_FEAST_UI_PORT")
    assert "<html" in httpx.get(ui).text
    assert "churn" in httpx.get(f"{ui}/projects-list.json").text
    views = httpx.get(f"{ui}/api/v1/feature_views", params={"project": "churn"}).text
    assert "subs_profile_fv" in views


SEARCH = "api/2.0/mlflow/registered-models/search"


@pytest.mark.parametrize(
    ("user", "path", "status"),
    [
        (None, SEARCH, 401),
        (None, "", 401),
        (("admin", "not the password"), SEARCH, 401),
        (("nobody", "a password of some length"), SEARCH, 401),
        ("api", SEARCH, 200),
        ("pipeline", SEARCH, 200),
        ("admin", SEARCH, 200),
    ],
)
def test_mlflow_lets_in_whom_it_knows_and_no_further(
    stack: Stack, user: str | tuple[str, str] | None, path: str, status: int
) -> None:
    credentials = stack.user(user) if isinstance(user, str) else user
    url = f"{stack.url('STREAMFLOW_MLFLOW_PORT')}/{path}"
    assert httpx.get(url, auth=credentials).status_code == status


def test_the_api_can_read_models_and_not_change_them(stack: Stack) -> None:
    mlflow = stack.url("STREAMFLOW_MLFLOW_PORT")
    change = {"name": "streamflow_churn", "version": "1", "stage": "Archived", "source": "x:/y"}
    for method, path in (
        ("POST", "model-versions/transition-stage"),
        ("POST", "model-versions/create"),
        ("PATCH", "model-versions/update"),
        ("DELETE", "registered-models/delete"),
    ):
        answer = httpx.request(
            method, f"{mlflow}/api/2.0/mlflow/{path}", json=change, auth=stack.user("api")
        )
        assert answer.status_code == 403, path
    # By default, a user may do nothing with what is others'.
    stranger = ("stranger", "a password of some length")
    for maker, status in ((stack.user("pipeline"), 403), (stack.user("admin"), 200)):
        made = httpx.post(
            f"{mlflow}/api/2.0/mlflow/users/create",
            json={"username": stranger[0], "password": stranger[1]},
            auth=maker,
        )
        assert made.status_code == status
    assert httpx.get(f"{mlflow}/{SEARCH}", auth=stranger).json() == {}
    experiment = httpx.get(
        f"{mlflow}/api/2.0/mlflow/experiments/get-by-name",
        params={"experiment_name": "streamflow_churn"},
        auth=stranger,
    )
    assert experiment.status_code == 403


def test_the_api_lets_nobody_in_without_a_key(stack: Stack) -> None:
    question, metrics = {"user_id": shown(stack)["user_id"]}, f"{stack.api}/metrics"
    assert httpx.post(f"{stack.api}/predict", json=question).status_code == 401
    assert httpx.get(metrics).status_code == 401
    only_reads = {"Authorization": f"Bearer {stack.values['PROMETHEUS_API_KEY']}"}
    assert httpx.get(metrics, headers=only_reads).status_code == 200
    refused = httpx.post(f"{stack.api}/predict", json=question, headers=only_reads)
    assert refused.status_code == 403


def test_a_promotion_out_of_a_container_carries_the_name_of_a_key(stack: Stack) -> None:
    create = "python -m streamflow keys create --scope promote --name release --json"
    made = json.loads(stack.compose("run", "--rm", "-T", "migrate", create).stdout)
    version = str(shown(stack)["model"]["version"])
    promote = ("promote", version, "--to", "production", "--why", "a test", "--json")

    def promoted(key: str) -> dict:
        given = environment(STREAMFLOW_PROMOTE_KEY=key)
        done = stack.compose("run", "--rm", "-T", "pipeline", *promote, env=given, check=False)
        return json.loads(done.stdout)

    assert promoted(made["key"])["who"] == f"key {made['key_id']} (release)"
    assert promoted(stack.values["STREAMFLOW_API_KEY"])["error"] == "scope_missing"


def test_mlflow_answers_to_its_own_names_alone(stack: Stack) -> None:
    url = f"{stack.url('STREAMFLOW_MLFLOW_PORT')}/{SEARCH}"
    answer = httpx.get(url, auth=stack.user("api"), headers={"Host": "attacker.example"})
    assert answer.status_code == 403


def test_mlflow_runs_lean(stack: Stack) -> None:
    """Without job runners and extra workers: a server and the process that watches it."""
    processes = docker("top", stack.container("mlflow"), "-eo", "pid,args").splitlines()[1:]
    # The health check is a process of a moment.
    python = [line for line in processes if "python" in line and "ready.py" not in line]
    assert len(python) <= 3, processes


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_can_do_what_it_must_and_no_more(stack: Stack, service: str) -> None:
    container = stack.container(service)
    assert scan.faults(container) == []
    assert scan.writable(container) == WRITABLE[service] | {"/tmp"}


def test_the_scan_finds_what_is_wrong(stack: Stack) -> None:
    container = docker(
        "run",
        "--detach",
        "--rm",
        "--publish=0:80",
        "--user=0",
        "--entrypoint=sleep",
        "streamflow-api",
        "60",
    )
    try:
        found = "\n".join(scan.faults(container))
    finally:
        docker("rm", "--force", container)
    for fault in (
        *("root file system can be written", "it has capabilities", "sleep has capabilities"),
        *("sleep runs as root", "may gain privileges", "have no limit", "published on"),
        "/opt/venv can be written",
    ):
        assert fault in found


def test_the_slim_image_has_what_serving_needs_and_nothing_else(stack: Stack) -> None:
    code = (
        "import importlib.util, json, sys;"
        "print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name)]))"
    )
    absent = ("pandas", "sklearn", "feast", "mlflow", "scipy", "pyarrow", "pip", "pytest")
    there = ("onnxruntime", "fastapi", "psycopg", "streamflow", "churn", "feast_postgres")
    found = docker(
        "run", "--rm", "--entrypoint=python", "streamflow-api", "-c", code, *absent, *there
    )
    assert json.loads(found) == list(there)


def test_the_slim_image_is_small_and_a_worker_too(stack: Stack) -> None:
    measured = image.measure(list(stack.compose_command), rounds=1, seconds=2)
    image.show({"claim": image.CLAIM, "machine": machine(), **measured})
    # The base isn't ours; the official one is 130 MB.
    assert measured["added_to_base"] < 270e6
    assert measured["medians"]["bytes_after_load"] < 250e6


def test_the_images_have_no_developers_tools_and_no_secrets(stack: Stack) -> None:
    code = (
        "import importlib.util;"
        "print([n for n in ('pytest', 'mypy', 'hypothesis', 'hatchling', 'pip')"
        " if importlib.util.find_spec(n)])"
    )
    assert docker("run", "--rm", "--entrypoint=python", "streamflow-full", "-c", code) == "[]"
    secrets = [value for name, value in stack.values.items() if name.endswith(("WORD", "KEY"))]
    for built in ("streamflow-full", "streamflow-api"):
        layers = docker("history", "--no-trunc", built) + docker("inspect", built)
        assert not [secret for secret in secrets if secret in layers]


def test_without_the_passwords_compose_says_what_to_do(stack: Stack, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    file = stack.compose_command.index("--env-file") + 1
    command = (*stack.compose_command[:file], str(empty), "config")
    refused = run(*command, check=False)
    assert refused.returncode != 0
    assert re.search(r"_PASSWORD.*run `make env`", refused.stderr)
    assert stack.compose("config", "--quiet").stdout == ""


def test_no_secret_reaches_a_log(stack: Stack) -> None:
    logs = stack.compose("logs", "--no-color").stdout
    secrets = [value for name, value in stack.values.items() if name.endswith(("WORD", "KEY"))]
    assert len(secrets) > 10
    assert [secret for secret in secrets if secret in logs] == []


def test_the_dockerfile_is_as_hadolint_wants_it() -> None:
    if run("sh", "-c", "command -v hadolint", check=False).returncode:
        pytest.skip("hadolint isn't on the path")
    assert run("hadolint", str(ROOT / "Dockerfile"), check=False).stdout == ""
