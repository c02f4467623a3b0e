"""API keys from the command line to the database to a server's answers."""

from __future__ import annotations

import json
import os
import pwd
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from tests.conftest import Cli
from tests.statements import execute

from streamflow.operations import processes
from streamflow.platform import Platform
from streamflow.settings import Settings

PATIENCE_SECONDS = 60
QUESTION = {"user_id": "ann"}


@contextmanager
def serving(
    settings: Settings, environment: dict[str, str], host: str, **given: str
) -> Iterator[tuple[str, processes.Child]]:
    """An API that has no model: it says so to whoever may ask, and that is enough here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    serve = processes.Command(
        name="API",
        arguments=[
            *(sys.executable, "-m", "streamflow", "serve"),
            *("--host", host, "--port", str(port), "--json"),
        ],
        environment={**environment, **given},
        ready_url=f"{url}/health",
        log=settings.home / "api.log",
    )
    with processes.running([serve]) as (child,):
        child.wait_until_ready()
        yield url, child


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, "it didn't become true in time"
        time.sleep(0.02)
    return found


def told(url: str, key: str | None, **options: Any) -> tuple[int, str]:
    """The status and the code of the answer to a prediction that is asked for with `key`."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = httpx.post(
        f"{url}/predict", headers=headers, timeout=PATIENCE_SECONDS, **{"json": QUESTION, **options}
    )
    return answer.status_code, answer.json()["code"]


def created(cli: Cli, *arguments: str) -> dict[str, Any]:
    done = cli("keys", "create", *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


LET_IN = (503, "no_production_model")


def test_keys_are_made_shown_once_listed_and_revoked(cli: Cli, ready: Platform) -> None:
    made = created(
        cli, "--scope", "predict", "--scope", "read", "--expires", "90d", "--name", "shop"
    )
    assert made["key"].startswith("streamflow_")
    shown = cli("keys", "list").stdout
    assert "predict, read" in shown
    assert "shop" in shown
    (listed,) = json.loads(cli("keys", "list", "--json").stdout)
    me = pwd.getpwuid(os.getuid()).pw_name
    assert (listed["key_id"], listed["created_by"], listed["scopes"]) == (1, me, made["scopes"])
    everything = str(execute(ready.database, "TABLE streamflow.api_keys").fetchall())
    for text in (shown, str(listed), everything):
        assert made["key"] not in text
        assert made["key"].removeprefix("streamflow_") not in text

    for _ in range(2):
        revoked = json.loads(cli("keys", "revoke", "1", "--json", USER="somebody else").stdout)
        assert (revoked["revoked_by"], revoked["key_id"]) == (me, 1)
    assert "revoked" in cli("keys", "list").stdout
    unknown = cli("keys", "revoke", "2", "--json")
    assert (unknown.returncode, json.loads(unknown.stdout)["error"]) == (1, "key_not_found")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scope", "everything"], "predict, read, promote"),
        (["--scope", "read", "--expires", "soon"], "90d"),
        (["--scope", "read", "--expires", "0d"], "over already"),
        (["--scope", "read", "--expires", "2020-01-01"], "over already"),
        ([], "--scope"),
    ],
)
def test_a_key_that_cant_be_meant_isnt_made(cli: Cli, arguments: list[str], said: str) -> None:
    done = cli("keys", "create", *arguments, "--json")
    assert done.returncode == 2
    assert said in json.loads(done.stdout)["message"]


@pytest.mark.slow
def test_a_key_that_another_tool_drew_is_taken_and_taken_again(cli: Cli) -> None:
    arguments = ("keys", "create", "--scope", "read", "--from-environment", "A_KEY", "--json")
    given = "0123456789abcdef" * 3
    first, again = (json.loads(cli(*arguments, A_KEY=given).stdout) for _ in range(2))
    assert first == again
    assert "key" not in first
    assert json.loads(cli(*arguments, A_KEY="hunter2").stdout)["error"] == "key_refused"
    unset = json.loads(cli(*arguments).stdout)
    assert (unset["error"], "A_KEY" in unset["message"]) == ("usage", True)
    cli("keys", "revoke", "1")
    refused = json.loads(cli(*arguments, A_KEY=given).stdout)
    assert (refused["error"], given in str(refused)) == ("key_refused", False)


@pytest.mark.slow
def test_without_keys_only_this_machine_is_served(
    cli: Cli, ready: Platform, environment: dict[str, str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    refused = cli("serve", "--host", "0.0.0.0", "--port", str(port), "--json")
    error = json.loads(refused.stdout)
    assert (refused.returncode, error["error"]) == (1, "key_refused")
    assert "streamflow keys create" in error["next"]

    with serving(ready.settings, environment, "127.0.0.1") as (url, child):
        assert "open to everybody on this machine" in child.command.log.read_text()
        assert told(url, None) == LET_IN
        assert httpx.get(f"{url}/metrics").status_code == 200
        key = created(cli, "--scope", "predict")["key"]
        until(lambda: told(url, None) == (401, "key_missing"))
        assert told(url, key) == LET_IN
        cli("keys", "revoke", "1")
        until(lambda: told(url, key) == (401, "key_revoked"))
        assert told(url, None) == (401, "key_missing")

    again = cli("serve", "--host", "0.0.0.0", "--port", str(port), "--json")
    assert json.loads(again.stdout)["error"] == "key_refused"


def audited(ready: Platform) -> Counter[str]:
    """Attempts per code."""
    counts: Counter[str] = Counter()
    for row in execute(ready.database, "TABLE streamflow.audit").fetchall():
        assert "streamflow_" not in str(row)
        counts[row["code"]] += row["attempts"]
    return counts


def test_a_server_for_others_holds_against_what_is_tried(
    cli: Cli, ready: Platform, environment: dict[str, str]
) -> None:
    key = created(cli, "--scope", "predict", "--expires", "2999-12-31")["key"]
    reads = created(cli, "--scope", "read")["key"]
    given = {"STREAMFLOW_API_WORKERS": "2", "STREAMFLOW_API_KEY_RATE": "10"}
    with serving(ready.settings, environment, "0.0.0.0", **given) as (url, child):
        until(lambda: told(url, key) == LET_IN)
        assert told(url, None) == (401, "key_missing")
        assert told(url, reads) == (403, "scope_missing")
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(f"{url}/metrics").status_code == 401
        in_query = httpx.get(f"{url}/features/ann", params={"key": reads})
        assert (in_query.status_code, in_query.json()["code"]) == (400, "key_in_query")

        megabyte = b"x" * 1024 * 1024
        pieces = (megabyte for _ in range(100))
        as_json = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        large = refused_while_sending(url, pieces, as_json)
        assert large in ((413, "content_too_large"), None)
        assert told(url, key) == LET_IN

        head = (
            f"POST /predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nX-Filler: "
        ).encode()
        assert raw(url, head + megabyte + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")
        assert raw(url, head + megabyte * 20).startswith(b"HTTP/1.1 431 ")
        assert told(url, key) == LET_IN

        with httpx.Client(timeout=PATIENCE_SECONDS) as client:
            for number in range(1000):
                wrong = {"Authorization": f"Bearer streamflow_{number}"}
                answer = client.post(f"{url}/predict", json=QUESTION, headers=wrong)
                assert answer.status_code == 401
            own = {"Authorization": f"Bearer {key}"}
            answers = (client.post(f"{url}/predict", json=QUESTION, headers=own) for _ in range(99))
            limited = next(answer for answer in answers if answer.status_code == 429)
        assert int(limited.headers["retry-after"]) == 1
        log = child.command.log
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    found = audited(ready)
    assert found["key_unknown"] == 1000
    codes = {"key_missing", "scope_missing", "key_in_query", "head_too_large", "rate_limited"}
    assert codes <= found.keys()
    assert found["head_too_large"] == 2
    (written,) = execute(
        ready.database, "SELECT count(*) AS lines FROM streamflow.audit WHERE code = 'key_unknown'"
    ).fetchall()
    assert written["lines"] <= 4  # two for each worker
    refused = [line for line in lines if line.get("event") == "refused"]
    assert {line["code"] for line in refused} == found.keys()
    text = log.read_text()
    assert "Traceback" not in text
    for secret in (key, reads, "streamflow_999"):
        assert secret not in text


def refused_while_sending(
    url: str, pieces: Iterator[bytes], headers: dict[str, str]
) -> tuple[int, str] | None:
    """What a client that sends without listening is told; None if it's cut off before."""
    try:
        answer = httpx.post(f"{url}/predict", content=pieces, headers=headers, timeout=60)
    except httpx.TransportError:
        return None
    return answer.status_code, answer.json()["code"]


def raw(url: str, content: bytes) -> bytes:
    """The answer to these bytes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(content)
        return b"".join(iter(lambda: connection.recv(65536), b""))
