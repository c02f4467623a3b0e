"""A backup of the running stack, restored onto an empty one, which then tells the same."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.stack import scan
from tests.stack.conftest import DOWN, PROJECT, ROOT, Stack, docker, environment, prepared, run
from tests.stack.test_stack import shown

IN_VOLUME = "/backups/of the stack"


@pytest.fixture(scope="module")
def another(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack without volumes, of which nothing runs."""
    empty = prepared(tmp_path_factory.mktemp("another"), f"{PROJECT}-restored", 21_000)
    down = (*empty.compose_command, *DOWN)
    run(*down)
    try:
        yield empty
    finally:
        run(*down)


def told(stack: Stack, service: str, *arguments: str) -> Any:
    done = stack.compose("run", "--rm", "-T", service, *arguments, "--json")
    return json.loads(done.stdout)


def in_container(stack: Stack, command: str, **options: Any) -> None:
    """A shell's command where the backups are, its input and output files of ours."""
    shell = ("run", "--rm", "--no-deps", "-T", "--entrypoint", "sh", "backup", "-c", command)
    line = [*stack.compose_command, *shell]
    subprocess.run(line, cwd=ROOT, env=environment(), check=True, **options)


@pytest.fixture(scope="module")
def taken(stack: Stack) -> Any:
    """What was told of the backup that is in the stack's volume now."""
    return told(stack, "backup", "backup", IN_VOLUME)


def answered(stack: Stack, entity_id: str) -> dict[str, Any]:
    answer = stack.predict(entity_id)
    return {name: value for name, value in answer.items() if name != "request_id"}


def test_a_backup_of_the_stack_makes_another_one_that_tells_the_same(
    stack: Stack, another: Stack, taken: Any, tmp_path: Path
) -> None:
    entity_id = shown(stack)["user_id"]
    expected = answered(stack, entity_id)
    assert taken["artifacts"] > 10
    copy = tmp_path / "copy"
    with copy.open("wb") as out:
        in_container(stack, f"cat '{IN_VOLUME}'", stdout=out)
    assert copy.stat().st_size == taken["bytes"]
    secrets = [value for name, value in stack.values.items() if name.endswith(("WORD", "KEY"))]
    whole = copy.read_bytes()
    assert [secret for secret in secrets if secret.encode() in whole] == []

    with copy.open("rb") as given:
        in_container(another, f"umask 077; cat > '{IN_VOLUME}'", stdin=given)
    restored = told(another, "backup", "restore", IN_VOLUME)
    assert restored["taken_at"] == taken["taken_at"]
    another.compose("up", "--detach", "--no-build", "--wait", "mlflow")
    reproduced = told(another, "pipeline", "reproduce", "--all")
    assert {one["verdict"] for one in reproduced} == {"identical"}
    another.compose("up", "--detach", "--no-build", "--wait", "api")
    assert answered(another, entity_id) == expected

    # Its own passwords and keys hold, and each role does its work.
    told(another, "pipeline", "apply")
    told(another, "pipeline", "materialize")
    assert answered(another, entity_id) == expected
    mlflow = f"{another.url('STREAMFLOW_MLFLOW_PORT')}/api/2.0/mlflow/registered-models/search"
    assert httpx.get(mlflow, auth=another.user("api")).status_code == 200
    assert httpx.get(mlflow, auth=stack.user("api")).status_code == 401
    # It was restored; what is there now stays.
    again = told(another, "backup", "restore", IN_VOLUME)
    assert again["restored_before"]


def test_what_is_there_stays_as_it_is(stack: Stack, taken: Any) -> None:
    cut = f"{IN_VOLUME}, cut short"
    in_container(stack, f"head -c -8000 '{IN_VOLUME}' > '{cut}'")
    refused = {
        ("restore", cut): "tampered_backup",
        ("restore", IN_VOLUME): "not_empty",
        ("backup", IN_VOLUME): "backup_refused",
    }
    for arguments, error in refused.items():
        command = ("run", "--rm", "-T", "backup", *arguments, "--json")
        done = stack.compose(*command, check=False)
        assert done.returncode == 1
        assert json.loads(done.stdout)["error"] == error


def test_the_service_that_takes_them_can_do_what_it_must_and_no_more(stack: Stack) -> None:
    waiting = ("run", "--detach", "--no-deps", "--entrypoint", "sleep", "backup", "120")
    container = stack.compose(*waiting).stdout.strip().splitlines()[-1]
    try:
        assert scan.faults(container) == []
        assert scan.writable(container) == {"/tmp", "/state/mlflow", "/backups"}
    finally:
        docker("rm", "--force", container)
