"""Commands say what they did where that isn't what their user may expect."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from shlex import quote

import pytest
from tests import tiny_case

from streamflow.bootstrap import platform
from streamflow.cli.main import main
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.platform import Platform
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Generation

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def prepared(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """Two months of machines in history; a machine of January is gone in February."""
    home = tmp_path_factory.mktemp("a home")
    tiny_case.generate(Generation(home / "months", users=20, months=2, seed=5))
    for file in (home / "months" / "month_001").iterdir():
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if not line.startswith("m-0003")))
    url = new_database(prepared_database)
    settings = load_settings(home=home, database_url=url, use_case="tests.tiny_case")
    with platform(settings) as ready:
        for number, as_of in enumerate((JANUARY, FEBRUARY)):
            ingest(ready, home / "months" / f"month_00{number}", as_of, None, NOW, "test")
        apply(ready)
        yield ready


@pytest.fixture
def settings(prepared: Platform) -> Settings:
    """For `environment`."""
    return prepared.settings


@pytest.fixture
def run(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs `streamflow …` in this process; returns its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["streamflow", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        out, err = capsys.readouterr()
        return ended.value.code, " ".join(out.split()), " ".join(err.split())

    return run


def test_an_older_month_that_is_materialized_later_leaves_the_newer_one_online(run: Run) -> None:
    stays = "2024-02-29 stays online"
    code, out, _ = run("materialize")
    assert (code, stays in out) == (0, False)
    assert "materialized up to 2024-02-29" in out
    code, out, _ = run("materialize", "--as-of", "2024-01-31")
    assert (code, stays in out) == (0, True)
    assert "materialized up to 2024-01-31" in out
    _, out, _ = run("materialize", "--as-of", "2024-01-31", "--json")
    for view in json.loads(out).values():
        assert (view["as_of"], view["newest"], view["rows"]) == ("2024-01-31", "2024-02-29", 20)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("predict", "m-0001"), 1),
        (("train", "--as-of", "2024-01-31"), 1),
        (("materialize",), 1),
        (("promote", "1", "--to", "production", "--why", "x"), 1),
        (("ingest", "nowhere", "--as-of", "2024-01-31"), 1),
        (("reproduce", "--all"), 2),
        (("explain-prediction", "x"), 2),
        (("models",), 0),
        (("runs",), 0),
    ],
)
def test_a_forgotten_use_case_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: int
) -> None:
    told = "The use case 'churn' has no month; this database has months of 'failures'."
    monkeypatch.delenv("STREAMFLOW_USE_CASE")
    code, out, err = run(*arguments)
    assert code == expected
    assert told in out + err
    assert "If you meant another use case, set STREAMFLOW_USE_CASE" in out + err


def test_an_error_of_the_use_case_that_was_meant_names_no_other(run: Run) -> None:
    for arguments in (("predict", "m-0001"), ("models",)):
        _, out, err = run(*arguments)
        assert "STREAMFLOW_USE_CASE" not in out + err


def test_status_names_the_use_case_and_the_others(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts() -> dict[str, tuple[str, str]]:
        code, out, _ = run("status", "--json")
        assert code == 0
        return {part["name"]: (part["state"], part["detail"]) for part in json.loads(out)}

    meant = parts()
    assert meant["use case"] == ("failures", "tests.tiny_case, STREAMFLOW_USE_CASE")
    assert "other use cases" not in meant
    assert meant["months"] == ("2", "2024-01-31, 2024-02-29")
    monkeypatch.delenv("STREAMFLOW_USE_CASE")
    forgotten = parts()
    assert forgotten["use case"] == ("churn", "churn, the default")
    assert forgotten["other use cases"] == ("1", "failures")
    monkeypatch.setenv("STREAMFLOW_USE_CASE", "nothing.there")
    assert parts()["use case"][0] == "refused"


def test_without_a_month_there_is_nothing_to_materialize(
    run: Run,
    new_database: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    prepared_database: str,
) -> None:
    monkeypatch.setenv("STREAMFLOW_DATABASE_URL", new_database(prepared_database))
    code, out, err = run("materialize")
    assert (code, out) == (1, "")
    assert err == (
        "error: No month of 'failures' has been ingested yet. "
        "next: Load one with `streamflow ingest DIR --as-of YYYY-MM-DD`."
    )


def test_a_single_entity_that_a_later_file_lacks_is_told_in_the_singular(
    run: Run, prepared: Platform, tmp_path: Path
) -> None:
    corrected = tmp_path / "corrected"
    corrected.mkdir()
    for file in (prepared.settings.home / "months" / "month_000").iterdir():
        lines = file.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("m-0005")]
        (corrected / file.name).write_text("".join(kept))
    code, out, _ = run("ingest", "corrected", "--as-of", str(JANUARY))
    assert code == 0
    assert "machines: 1 entity isn't in machines.csv; it stays." in " ".join(out.split())


def test_a_folder_of_another_month_is_refused_with_what_to_type(
    run: Run, prepared: Platform
) -> None:
    january = prepared.settings.home / "months" / "month_000"
    code, _, err = run("ingest", str(january), "--as-of", "2024-03-31")
    told = " ".join(err.split())
    assert code == 1
    assert f"{january} has the rows of AS_OF {JANUARY}" in told
    command = f"streamflow ingest {quote(str(january))} --as-of"
    assert f"`{command} {JANUARY}`" in told
    assert f"`{command} 2024-03-31 --really`" in told
