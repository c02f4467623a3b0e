"""Each command with history in Apache Iceberg: it works, or is refused with what to type next."""

from __future__ import annotations

import csv
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.consoles import Visitor, running
from tests.e2e.serve import serving

from streamflow.bootstrap import platform
from streamflow.cli import main
from streamflow.settings import load_settings

pytestmark = pytest.mark.slow

JANUARY, FEBRUARY, MARCH = "2024-01-31", "2024-02-29", "2024-03-31"
PAGES = {
    *("/", "/entities", "/entities/one?id={id}", "/entities/answers?id={id}"),
    *("/entities/answers/replay?id={id}&request={request}", "/entities/contacts", "/models"),
    *("/models/compare?first=1&second=2", "/data", "/history"),
    *("/data/corrections?table=users&as_of=2024-01-31", "/data/versions?table=users&id={id}"),
    *("/months", "/months/report?as_of=2024-02-29"),
}

Run = Callable[..., str]


@pytest.fixture
def run(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Run:
    """Runs `streamflow …` in this process with a history in Iceberg, and returns what it printed.

    `code` is how it has to end.
    """
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STREAMFLOW_DATABASE_URL", new_database(prepared_database))
    monkeypatch.setenv("STREAMFLOW_USE_CASE", "churn")
    monkeypatch.setenv("STREAMFLOW_HISTORY", f"file://{tmp_path}/the place")
    monkeypatch.setenv("STREAMFLOW_ENGINE", "duckdb")
    monkeypatch.setenv("STREAMFLOW_API_WORKERS", "1")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["streamflow", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert ended.value.code in (code, None if code == 0 else code), f"{arguments}: {out} {err}"
        if code == 1:
            assert re.search(r"error: .+\nnext: +.+", err), err
        return out + err

    return run


def test_each_command_works_or_is_refused_with_what_to_type_next(run: Run, tmp_path: Path) -> None:
    run("compact-history")
    run("generate", "months", "--users", "400", "--months", "4", "--seed", "3")
    run("ingest", "months/month_000", "--as-of", JANUARY)
    run("ingest", "months/month_001", "--as-of", FEBRUARY)
    run("check")
    run("apply")
    run("apply", "--plan")
    run("train", "--as-of", JANUARY)
    run("train", "--as-of", FEBRUARY, "--months", "2")
    run("check", "2", code=3)
    run("materialize")
    run(*("promote", "1", "--to", "production", "--why", "first", "--override", "calibration"))
    run("training-set", "--as-of", JANUARY, "--output", "rows.parquet")
    run("evaluate", "1", "--as-of", FEBRUARY)
    run("backtest", "--from", JANUARY, "--to", FEBRUARY, "--model", "logistic_regression")
    run("score", "--as-of", FEBRUARY)
    run("export", "--as-of", FEBRUARY, "--top", "5%", "--output", "list.csv")
    contacted(tmp_path / "list.csv")
    run("campaign", "record", "list.csv")
    run("campaign", "effect")
    run("monitor", "--as-of", FEBRUARY)
    run("report", "--as-of", FEBRUARY)
    run("run-month", "months/month_002", "--as-of", MARCH)
    run("reproduce", "--all")
    run("diff", "1", "2")
    for read_only in ("status", "models", "runs", "history", "migrate"):
        run(read_only)
    run("feast-config", "feast")

    entity, second = first_ids(tmp_path / "months/month_000/users.csv")
    run("predict", entity)
    (tmp_path / "ids.csv").write_text(f"user_id\n{entity}\n")
    run("predict", "--file", "ids.csv", "--output", "scores.csv")
    with serving(tmp_path, os.environ) as server:
        url = server.command.ready_url.removesuffix("/ready")
        answer = httpx.post(f"{url}/predict", json={"user_id": entity}, timeout=60).json()
    run("explain-prediction", answer["request_id"])

    run("withdraw", "1", "--why", "wrong")
    run("ingest", "months/month_000", "--as-of", JANUARY)
    assert "files before" in run("compact-history")
    run("explain-prediction", answer["request_id"])
    run("reproduce", "--all")
    run("prune", "--keep", "0", "--older-than", "0d", "--dry-run")

    place = load_settings().history
    assert "forgotten" in run("forget", entity, "--why", "asked", "--later")
    run("reproduce", "--all", code=3)
    run("score", "--as-of", MARCH)
    run("backup", "kept.backup")
    assert "empty" in run("restore", "kept.backup", code=1)
    assert "already" in run("move-history", "--to", place)
    assert place in run("move-history", "--to", "file:///elsewhere", code=1)
    pages_answer(second, answer["request_id"])


def pages_answer(entity: str, request: str) -> None:
    """Each page of the console is there, and has what history has."""
    with platform(load_settings()) as ready, running(ready) as console:
        visitor = Visitor(console)
        for page in sorted(PAGES):
            told = visitor.get(page.format(id=entity, request=request))
            assert told.status_code in (200, 303), (page, told.status_code, told.text)
        filtered = "/entities?segment_1=One+year"
        assert visitor.get(filtered, accept="application/json").json()["users"]
        versions = f"/data/versions?table=users&id={entity}"
        found = visitor.get(versions, accept="application/json").json()["versions"]
        # January came twice, the first time withdrawn; then February and March.
        assert [one["withdrawn"] for one in found] == [False, False, False, True]
        corrections = "/data/corrections?table=users&as_of=2024-01-31"
        assert visitor.get(corrections, accept="application/json").json()["corrections"]


def first_ids(file: Path) -> list[str]:
    return [line.partition(",")[0] for line in file.read_text().splitlines()[1:3]]


def contacted(file: Path) -> None:
    """Those of the list who aren't held out were contacted on a day."""
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        chosen = [row for row in rows if row["assignment"] == "contact"]
        writer.writerows({**row, "contacted_on": "2024-03-05"} for row in chosen)
