"""What runs the month on a schedule, each by its own parser or by running it with a stand-in."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.main import get_command

from streamflow.cli.main import app
from streamflow.cli.month import run_month

FOLDER = Path(__file__).parents[2] / "deploy" / "month"
SCRIPT = FOLDER / "run-last-month"
INSTALLED = "/opt/streamflow/deploy/month/run-last-month"
DAILY = "15 4 * * *"
WAITING = 99


def last_month(day: date) -> str:
    return str(day.replace(day=1) - timedelta(days=1))


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[int], dict[str, str]]:
    """An environment whose `streamflow` writes down its arguments and ends with a code."""

    def environment(code: int) -> dict[str, str]:
        program = tmp_path / "streamflow"
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nexit {code}\n')
        program.chmod(0o755)
        return {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "STREAMFLOW_MONTHS": str(tmp_path / "months"),
        }

    return environment


def run(arguments: list[str], environment: dict[str, str]) -> int:
    return subprocess.run(arguments, env=environment).returncode


@pytest.mark.parametrize("code", [0, 1, 3, 4, WAITING])
def test_the_script_runs_the_month_that_ended_last_and_ends_as_it_does(
    code: int, stand_in: Callable[[int], dict[str, str]], tmp_path: Path
) -> None:
    before = last_month(datetime.now(UTC).date())
    assert run([str(SCRIPT)], stand_in(code)) == code
    said = (tmp_path / "arguments").read_text().split()
    if last_month(datetime.now(UTC).date()) == before:  # or a month ended just now
        assert said[1:4] == [str(tmp_path / "months" / before), "--as-of", before]
    options = {option for one in command("run-month").params for option in one.opts}
    assert {word for word in said if word.startswith("--")} <= options
    assert said[said.index("--skip-code") + 1] == str(WAITING)


def test_the_script_runs_a_month_that_is_named(
    stand_in: Callable[[int], dict[str, str]], tmp_path: Path
) -> None:
    assert run([str(SCRIPT), "2024-02-29"], stand_in(0)) == 0
    assert (
        (tmp_path / "arguments")
        .read_text()
        .startswith(f"run-month {tmp_path}/months/2024-02-29 --as-of 2024-02-29 ")
    )


def command(name: str) -> Any:
    return get_command(app).commands[name]  # type: ignore[attr-defined]


def cron_line() -> str:
    lines = (FOLDER / "streamflow-month.cron").read_text().splitlines()
    (line,) = [one for one in lines if one and not re.match(r"#|[A-Z_]+=", one)]
    return line


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (WAITING, 0), (3, 1), (4, 1), (1, 1)])
def test_cron_is_silent_about_files_that_are_not_there_yet(
    code: int, ends: int, stand_in: Callable[[int], dict[str, str]]
) -> None:
    fields = cron_line().split(maxsplit=6)
    assert " ".join(fields[:5]) == DAILY
    assert fields[5] == "streamflow"
    said = fields[6]
    assert "%" not in said  # cron takes it for a new line
    assert (
        run(["sh", "-c", said.replace(INSTALLED, shlex.quote(str(SCRIPT)))], stand_in(code)) == ends
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_timer_and_its_service(tmp_path: Path) -> None:
    for unit in ("streamflow-month.service", "streamflow-month.timer"):
        text = (FOLDER / unit).read_text().replace(INSTALLED, f'"{SCRIPT}"')
        (tmp_path / unit).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.glob("*.*")))],
        capture_output=True,
        text=True,
    )
    ours = [line for line in done.stderr.splitlines() if "streamflow-month" in line]
    assert ours == []
    service = (FOLDER / "streamflow-month.service").read_text()
    assert f"SuccessExitStatus={WAITING}\n" in service


class Job(SimpleNamespace):
    """What a stand-in for a scheduler's library was given."""


def given(monkeypatch: pytest.MonkeyPatch, **modules: dict[str, Any]) -> None:
    for name, attributes in modules.items():
        dotted = name.replace("__", ".")
        parts = dotted.split(".")
        for end in range(1, len(parts) + 1):
            module = ModuleType(".".join(parts[:end]))
            vars(module).update(attributes if end == len(parts) else {})
            if module.__name__ not in sys.modules:
                monkeypatch.setitem(sys.modules, module.__name__, module)
            vars(sys.modules[module.__name__]).update(vars(module))


def test_airflow_skips_the_task_until_the_files_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Job] = []

    class Dag(Job):
        def __enter__(self) -> Dag:
            return self

        def __exit__(self, *_: object) -> None:
            made.append(self)

    def operator(**options: Any) -> None:
        made.append(Job(**options))

    given(
        monkeypatch,
        airflow={"DAG": Dag},
        airflow__providers__standard__operators__bash={"BashOperator": operator},
    )
    runpy.run_path(str(FOLDER / "airflow_dag.py"))
    task, dag = made
    assert (dag.schedule, dag.catchup, dag.max_active_runs) == (DAILY, False, 1)
    assert shlex.split(task.bash_command) == [INSTALLED]
    assert task.bash_command.endswith(" ")  # else it is taken for a template's name
    assert task.skip_on_exit_code == WAITING


DOCUMENT = {"status": "alarms", "as_of": "2024-03-31", "alarms": [{"sentence": "It has moved."}]}


def ends_with(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def ended(arguments: list[str], **_: Any) -> Any:
        assert arguments == [INSTALLED]
        return SimpleNamespace(returncode=code, stdout=json.dumps(DOCUMENT) + "\n")

    monkeypatch.setattr(subprocess, "run", ended)


class Failure(Exception):
    def __init__(self, said: str, allow_retries: bool = True) -> None:
        super().__init__(said)
        self.allow_retries = allow_retries


@pytest.mark.parametrize("code", [0, WAITING, 1, 3, 4])
def test_dagster_retries_errors_and_neither_alarms_nor_refused_versions(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(**options: Any) -> Job:
        return Job(**options)

    given(
        monkeypatch,
        dagster={
            "Backoff": SimpleNamespace(LINEAR=1),
            "Definitions": keep,
            "Failure": Failure,
            "RetryPolicy": keep,
            "ScheduleDefinition": keep,
            "job": lambda function: function,
            "op": lambda **_: lambda function: function,
        },
    )
    found = runpy.run_path(str(FOLDER / "dagster_job.py"))
    assert found["definitions"].schedules[0].cron_schedule == DAILY
    ends_with(monkeypatch, code)
    context = SimpleNamespace(log=SimpleNamespace(info=lambda _: None))
    if code in (0, WAITING):
        assert found["run_month"](context) == "alarms"
        return
    with pytest.raises(Failure, match="It has moved") as failed:
        found["run_month"](context)
    assert failed.value.allow_retries is (code == run_month.FAILED)


@pytest.mark.parametrize("code", [0, WAITING, 1, 3, 4])
def test_prefect_fails_the_flow_for_alarms_and_retries_errors_alone(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(**_: Any) -> Callable[[Any], Any]:
        return lambda function: function

    given(monkeypatch, prefect={"flow": plain, "task": plain})
    found = runpy.run_path(str(FOLDER / "prefect_flow.py"))
    ends_with(monkeypatch, code)
    if code == run_month.FAILED:
        with pytest.raises(RuntimeError):
            found["run_month"]()
        return
    assert found["run_month"]()[0] == code
    if code in (0, WAITING):
        assert found["streamflow_month"]() == "alarms"
    else:
        with pytest.raises(RuntimeError, match="It has moved"):
            found["streamflow_month"]()


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (WAITING, 0), (3, 3), (4, 4), (1, 1)])
def test_kubernetes_runs_one_month_at_a_time_and_fails_only_where_something_is_wrong(
    code: int, ends: int, stand_in: Callable[[int], dict[str, str]], tmp_path: Path
) -> None:
    job = yaml.safe_load((FOLDER / "kubernetes-cronjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    spec = job["spec"]
    assert (spec["schedule"], spec["concurrencyPolicy"]) == (DAILY, "Forbid")
    (rule,) = spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [*run_month.EXIT_CODES.values()][1:]
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy needs it
    (container,) = pod["containers"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["volumes"]}
    assert run([*container["command"], *container["args"]], stand_in(code)) == ends
    folder = (tmp_path / "arguments").read_text().split()[1]
    assert re.fullmatch(r"/months/\d{4}-\d\d-\d\d", folder)
