"""Every command block of the Start pages is run in its order, and says what the page shows."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import quote

import pytest
from tests.conftest import url_of
from tests.documented import ROOT, Shell, commands, lacking, try_page

from streamflow.settings import Settings

DOCS = ROOT / "docs"


@contextmanager
def reader(homes: Path, folder: Path, database: str = "", **replaced: str) -> Iterator[Shell]:
    """A shell with a home of its own, whose servers are at ports that are free; with the embedded
    server, or a database of another one."""
    ports = {name: free_port() for name in ("8000", "5000", "8080", "6566")}
    environment = {
        "STREAMFLOW_HOME": str(homes / folder.name),
        "STREAMFLOW_API_PORT": ports["8000"],
        "STREAMFLOW_MLFLOW_PORT": ports["5000"],
        "STREAMFLOW_CONSOLE_PORT": ports["8080"],
        "STREAMFLOW_API_WORKERS": "1",
    }
    here = {f"127.0.0.1:{name}": f"127.0.0.1:{port}" for name, port in ports.items()}
    # Feast's server takes its port by an option alone.
    here["feast serve"] = f"feast serve --port {ports['6566']}"
    shell = Shell(folder, environment, {**here, **replaced})
    shell.run("unset STREAMFLOW_DATABASE_URL STREAMFLOW_MLFLOW_TRACKING_URI")
    if database:
        shell.run(f"export STREAMFLOW_DATABASE_URL={quote(database)}")
    try:
        yield shell
    finally:
        shell.close()


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


SERVERS = {
    "streamflow serve": "http://127.0.0.1:8000/ready",
    "streamflow up": "http://127.0.0.1:8000/ready",
    "feast -c feast serve": "http://127.0.0.1:6566/health",
}


def prepare(shell: Shell, *several: str) -> None:
    """Run what was done before a page begins."""
    for one in several:
        code, output = shell.run(one)
        assert code == 0, f"{one}\n{output}"


@pytest.mark.skipif(
    "STREAMFLOW_LONG_TESTS" not in os.environ,
    reason="minutes, on a machine that does nothing else: STREAMFLOW_LONG_TESTS=1",
)
def test_the_quickstart(homes: Path, tmp_path: Path) -> None:
    page = DOCS / "quickstart.md"
    found = commands(page)
    assert len(found) > 20
    with reader(homes, tmp_path) as shell:
        wrong = list(try_page(shell, page, found, servers=SERVERS))
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
    with reader(homes, tmp_path, **{"2026-10-31": month.isoformat()}) as shell:
        shell.run("export STREAMFLOW_USE_CASE=pumps PYTHONPATH=$PWD")
        wrong = list(try_page(shell, page, found, servers=SERVERS))
        assert wrong == [], "\n\n".join(wrong)


# Exports of each month, in folders whose names have it, and in one file for each table.
EXPORTS = """
import csv
from pathlib import Path

Path("export").mkdir()
for number in range(14):
    month = f"{2024 + number // 12}-{number % 12 + 1:02d}"
    Path(f"data/month_{number:03d}").rename(f"exports/{month}")
    for path in sorted(Path(f"exports/{month}").iterdir()):
        with path.open(newline="") as file, Path("export", path.name).open("a", newline="") as long:
            head, *rows = csv.reader(file)
            write = csv.writer(long, lineterminator="\\n")
            write.writerows([["month", *head]] if number == 0 else [])
            write.writerows([month, *row] for row in rows)
"""


@pytest.mark.slow
def test_the_guide_to_several_months(homes: Path, tmp_path: Path, settings: Settings) -> None:
    page = DOCS / "several-months.md"
    found = commands(page)
    generate = next(one.text for one in found if one.text.startswith("streamflow generate"))
    ingest = next(one.text for one in found if "--as-of-pattern" in one.text)
    (tmp_path / "exports.py").write_text(EXPORTS, encoding="utf-8")
    before = {
        "streamflow ingest data/month_001": "cp -r exports/2024-02 data/month_001",
        "streamflow models": "streamflow evaluate 4 --as-of 2024-07-31",
        "curl": "streamflow promote 1 --to production --override quality "
        "--override calibration --why first && streamflow materialize --as-of 2024-03-31",
    }
    serve = {"curl": "streamflow serve"}
    with reader(homes, tmp_path, url_of(settings)) as shell:
        prepare(shell, generate, "mkdir exports", "python exports.py", ingest, "streamflow apply")
        prepare(shell, "streamflow train --as-of 2024-01-31")
        wrong = list(try_page(shell, page, found, before=before, serve=serve, servers=SERVERS))
        assert wrong == [], "\n\n".join(wrong)


# The day of a contact for most of those who are to be contacted.
CONTACTED = """
import csv

with open("contacts.csv", newline="") as file:
    rows = list(csv.DictReader(file))
for number, row in enumerate(rows):
    row["contacted_on"] = "2024-02-05" * (row["assignment"] == "contact" and number % 8 > 0)
with open("contacts.csv", "w", newline="") as file:
    write = csv.DictWriter(file, rows[0])
    write.writeheader()
    write.writerows(rows)
"""


@pytest.mark.slow
def test_the_guides_of_a_month(homes: Path, tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "contacted.py").write_text(CONTACTED, encoding="utf-8")
    asked = "curl -s http://127.0.0.1:8000/predict -H 'X-Request-Id: {}' " + (
        "-H 'Content-Type: application/json' -d '{{\"user_id\": \"7089-QCXNI\"}}' && sleep 2"
    )
    before = {
        "streamflow campaign record": "python contacted.py",
        "streamflow explain-prediction": asked.format("200317fc1e824d048763c459dd2c2175"),
        # The API's processes learn of a key within two seconds.
        "curl -H": "KEY=$(streamflow keys create --scope predict --name mine | head -1); sleep 3",
    }
    other_home = {
        "STREAMFLOW_HOME=elsewhere": f"STREAMFLOW_DATABASE_URL= STREAMFLOW_HOME={homes}/elsewhere",
        "/srv/history": str(tmp_path / "history"),
        "curl -H": "curl --silent --show-error --fail -H",
    }
    wrong: list[str] = []
    with reader(homes, tmp_path, url_of(settings), **other_home) as shell:

        def run(page: str, *, sections: str = "", without: str = "\0") -> None:
            found = [
                one
                for one in commands(DOCS / page)
                if (not sections or one.section in sections) and one.section not in without
            ]
            assert found
            wrong.extend(try_page(shell, DOCS / page, found, before=before, servers=SERVERS))

        prepare(
            shell,
            "streamflow generate data --users 7043 --months 2 --seed 42 --drift 0.5",
            "streamflow ingest data/month_000 --as-of 2024-01-31",
            "streamflow apply",
            "streamflow train --as-of 2024-01-31",
            'streamflow promote 1 --to production --why "first model"',
            "streamflow materialize",
        )
        run("month.md", without="Report, Forget")
        run("month.md", sections="Report")
        run("operations.md")
        shell.serve("streamflow serve", shell._here(SERVERS["streamflow serve"]), [])
        run("receipts.md")
        run("reproduce.md", sections="Re-creating a run")
        run("month.md", sections="Forget")
        run("reproduce.md", sections="When somebody was forgotten")
        run("models.md")
        run("access.md")
        run("history.md")
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
