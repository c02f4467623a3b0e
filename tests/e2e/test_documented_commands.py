"""Every command block of the Start pages is run in its order, and says what the page shows."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.documented import ROOT, Shell, commands, lacking, try_page

DOCS = ROOT / "docs"


@contextmanager
def reader(homes: Path, folder: Path, **replaced: str) -> Iterator[Shell]:
    """A shell with a home of its own, whose servers are at ports that are free."""
    ports = {name: free_port() for name in ("8000", "5000", "8080", "6566")}
    environment = {
        "STREAMFLOW_HOME": str(homes / folder.name),
        "STREAMFLOW_API_PORT": ports["8000"],
        "STREAMFLOW_MLFLOW_PORT": ports["5000"],
        "STREAMFLOW_CONSOLE_PORT": ports["8080"],
    }
    here = {f"127.0.0.1:{name}": f"127.0.0.1:{port}" for name, port in ports.items()}
    # Feast's server takes its port by an option alone.
    here["feast serve"] = f"feast serve --port {ports['6566']}"
    shell = Shell(folder, environment, {**here, **replaced})
    shell.run("unset STREAMFLOW_DATABASE_URL STREAMFLOW_MLFLOW_TRACKING_URI")
    try:
        yield shell
    finally:
        shell.close()


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


SERVERS = {
    "streamflow up": "http://127.0.0.1:8000/ready",
    "feast -c feast serve": "http://127.0.0.1:6566/health",
}


@pytest.mark.skipif(
    "STREAMFLOW_LONG_TESTS" not in os.environ,
    reason="minutes, on a machine that does nothing else: STREAMFLOW_LONG_TESTS=1",
)
def test_the_quickstart(homes: Path, tmp_path: Path) -> None:
    page = DOCS / "quickstart.md"
    elsewhere = {
        "make demo": "test_story.py",
        "source .venv": "it's the tests' own environment",
    }
    found = commands(page)
    assert len(found) > 20
    with reader(homes, tmp_path) as shell:
        wrong = list(try_page(shell, page, found, servers=SERVERS, elsewhere=elsewhere))
        assert wrong == [], "\n\n".join(wrong)
        (program,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        (tmp_path / "from_mlflow.py").write_text(shell._here(program), encoding="utf-8")
        code, output = shell.run("python from_mlflow.py")
        assert code == 0, output
        assert lacking(["       prediction  probability", "    0   0   0.143792"], output) == []


@pytest.mark.slow
def test_a_use_case_of_ones_own_by_hand(homes: Path, tmp_path: Path) -> None:
    page = DOCS / "bring-your-own-use-case.md"
    text = page.read_text(encoding="utf-8")
    (tmp_path / "pumps.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    # The page's last month is one whose labels aren't known yet.
    month = datetime.now(UTC).date() - timedelta(days=1)
    found = commands(page, after="## Check it")
    elsewhere = {"export STREAMFLOW_USE_CASE": "as below"}
    with reader(homes, tmp_path, **{"2026-10-31": month.isoformat()}) as shell:
        shell.run("export STREAMFLOW_USE_CASE=pumps PYTHONPATH=$PWD")
        wrong = list(try_page(shell, page, found, servers=SERVERS, elsewhere=elsewhere))
        assert wrong == [], "\n\n".join(wrong)


def test_a_page_that_shows_what_a_command_does_not_say_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "    $ echo 3 rows in 0.4 s \\\n        and more\n    1 rows in 2.1 s and more\n\n"
        "Words.\n\n    $ echo one\n    two\n    …\n    $ false\n    error: no\n",
        encoding="utf-8",
    )
    first, second, third = commands(page)
    assert first.text == "echo 3 rows in 0.4 s \\\n    and more"
    assert lacking(first.shown, "3 rows in 0.4 s and more") == []
    assert lacking(second.shown, "one") == ["two"]
    assert (third.line, third.shown) == (10, ["error: no"])
    shell = Shell(tmp_path, {}, {"one": "two"})
    assert [shell.run(each.text) for each in (first, second, third)] == [
        *((0, "3 rows in 0.4 s and more\n\n"), (0, "two\n\n"), (1, "\n")),
    ]
    shell.close()
