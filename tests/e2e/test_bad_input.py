"""Each bad input has its clear error and changes nothing; odd dress is read as what it is."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from psycopg import sql
from tests import promoting
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.errors import (
    AsOfRefused,
    ContractViolation,
    MissingFiles,
    NothingToRollBack,
    RecordedAtRefused,
    StreamFlowError,
    UnknownModel,
    UnknownVersion,
)
from streamflow.history.ingest import IngestedMonth
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest as ingest_month
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.promotion import promote
from streamflow.promotion.errors import GateFailed
from streamflow.settings import load_settings
from streamflow.use_case import Generation
from streamflow.use_case.module import load_use_case

USERS = 200
JANUARY = date(2024, 1, 31)
LOADED_AT = datetime(2024, 2, 1, 8, tzinfo=UTC)
NOW = LOADED_AT + timedelta(days=1)

Rows = list[list[str]]
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def good_month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    generate = load_use_case("churn").generate
    assert generate is not None
    generate(Generation(folder, USERS, 1, 42))
    return folder / "month_000"


@pytest.fixture(scope="module")
def loaded(
    new_database: Callable[..., str],
    prepared_database: str,
    good_month: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """A platform with the good month in its history, which no test here may change."""
    home = tmp_path_factory.mktemp("home")
    url = new_database(prepared_database)
    with platform(load_settings(home=home, database_url=url, use_case="churn")) as opened:
        ingest_month(opened, good_month, JANUARY, None, LOADED_AT, "test")
        yield opened


@pytest.fixture
def month(good_month: Path, tmp_path: Path) -> Path:
    """A copy of the good month, to be damaged."""
    return Path(shutil.copytree(good_month, tmp_path / "month"))


def rows_in(opened: Platform) -> dict[str, int]:
    """How many rows every table of ours has."""
    tables = execute(
        opened.database,
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('streamflow', 'churn') "
        "UNION ALL SELECT schemaname, viewname FROM pg_views WHERE schemaname = 'churn'",
    ).fetchall()
    counts = {}
    for table in tables:
        name = sql.Identifier(table["schemaname"], table["tablename"])
        count = sql.SQL("SELECT count(*) AS rows FROM {}").format(name)
        row = execute(opened.database, count).fetchone()
        assert row is not None
        counts[table["tablename"]] = row["rows"]
    return counts


@contextmanager
def refused(opened: Platform, kind: type[StreamFlowError], *said: str, next: str) -> Iterator[None]:
    """The block is refused with this error, which says all this, and nothing changes."""
    before = rows_in(opened)
    with pytest.raises(kind) as caught:
        yield
    error = caught.value
    for part in said:
        assert part in error.message
    assert len(error.message) < 5000
    assert next in error.next
    assert rows_in(opened) == before
    assert before["users_history"] == USERS


def ingest(
    opened: Platform, folder: Path, as_of: date = JANUARY, recorded_at: datetime | None = None
) -> IngestedMonth:
    return ingest_month(opened, folder, as_of, recorded_at, NOW, "test")


def read(folder: Path, table: str) -> Rows:
    with (folder / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def write(folder: Path, table: str, rows: Rows) -> None:
    with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def value(table: str, column: str, value: str) -> Damage:
    """Puts the value into the file's line 4."""

    def damage(folder: Path) -> None:
        rows = read(folder, table)
        rows[3][rows[0].index(column)] = value
        write(folder, table, rows)

    return damage


def every_row(table: str, change: Callable[[list[str]], list[str]]) -> Damage:
    return lambda folder: write(folder, table, [change(row) for row in read(folder, table)])


def content(table: str, text: bytes) -> Damage:
    return lambda folder: (folder / f"{table}.csv").write_bytes(text)


def first_row_again(folder: Path) -> None:
    rows = read(folder, "payments_agg_90d")
    write(folder, "payments_agg_90d", [*rows, rows[1]])


BAD_VALUES = {
    "wrong type": (
        value("subscriptions", "months_active", "twelve"),
        ("subscriptions.csv, line 4, column 'months_active': 'twelve'", "a whole number"),
    ),
    "out of range": (
        value("usage_agg_30d", "watch_hours_30d", "745"),
        ("usage_agg_30d.csv, line 4, column 'watch_hours_30d': '745", "in range(0, 744)"),
    ),
    "a value that isn't allowed": (
        value("subscriptions", "net_service", "Cable"),
        ("subscriptions.csv, line 4, column 'net_service': 'Cable'", "isin("),
    ),
    "nothing where a value has to be": (
        value("support_agg_90d", "support_tickets_90d", ""),
        ("support_agg_90d.csv, line 4, column 'support_tickets_90d'", "a value is there"),
    ),
    "ten million characters": (
        value("users", "user_gender", "x" * 10_000_000),
        ("users.csv, line 4, column 'user_gender': 'xxxx", "isin("),
    ),
    "duplicate key": (
        first_row_again,
        (f"payments_agg_90d.csv, line {USERS + 2}, column 'user_id'", "a key is there once"),
    ),
    "unknown user": (
        value("labels", "user_id", "nobody"),
        ("labels.csv, line 4, column 'user_id': 'nobody'", "a key is in users"),
    ),
    "missing column": (
        every_row("labels", lambda row: row[:1]),
        ("labels.csv, line 1, column 'churn_label'", "the column is there"),
    ),
    "extra column": (
        every_row("labels", lambda row: [*row, "x"]),
        ("labels.csv, line 1, column 'x'", "only the contract's columns"),
    ),
    "empty file": (content("labels", b""), ("labels.csv", "a header and at least one row")),
    "header only": (
        content("labels", b"user_id,churn_label\n"),
        ("labels.csv", "a header and at least one row"),
    ),
    "not UTF-8": (
        content("labels", "user_id,churn_label\na,True\nÄ,True\n".encode("latin-1")),
        ("labels.csv, line 3: '\\\\xc4'", "a file is UTF-8"),
    ),
    "not CSV": (content("labels", b"\x89PNG\r\n\x1a\n\0\0"), ("labels.csv", "a file is UTF-8")),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_what_breaks_a_contract_is_told_with_its_place(
    loaded: Platform, month: Path, name: str
) -> None:
    damage, said = BAD_VALUES[name]
    damage(month)
    with refused(loaded, ContractViolation, *said, str(month), next="`streamflow ingest`"):
        ingest(loaded, month)


def test_a_missing_file_is_named(loaded: Platform, month: Path) -> None:
    (month / "payments_agg_90d.csv").unlink()
    (month / "labels.csv").unlink()
    with refused(
        loaded, MissingFiles, "payments_agg_90d.csv, labels.csv", next="`streamflow ingest DIR`"
    ):
        ingest(loaded, month)


def test_a_missing_folder_is_named(loaded: Platform, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with refused(loaded, MissingFiles, f"no folder {nowhere}", next="`streamflow ingest DIR`"):
        ingest(loaded, nowhere)


def test_two_files_of_one_table_are_named(loaded: Platform, month: Path) -> None:
    (month / "labels.parquet").write_bytes(b"")
    with refused(loaded, MissingFiles, "labels.csv and labels.parquet", next="Remove"):
        ingest(loaded, month)


def test_all_violations_are_in_one_list(loaded: Platform, month: Path) -> None:
    rows = read(month, "payments_agg_90d")
    write(month, "payments_agg_90d", [rows[0], *([user, "-1"] for user, _ in rows[1:])])
    with refused(
        loaded,
        ContractViolation,
        f"{USERS} value(s)",
        f"{USERS} x payments_agg_90d.csv, column 'failed_payments_90d'",
        next="`streamflow ingest`",
    ):
        ingest(loaded, month)
    report = max((loaded.settings.home / "reports").glob("*.csv"), key=os.path.getmtime)
    assert len(report.read_text().splitlines()) == 1 + USERS


def test_a_month_that_has_not_ended_is_refused(loaded: Platform, month: Path) -> None:
    tomorrow = NOW.date() + timedelta(days=1)
    for as_of in (NOW.date(), tomorrow):
        with refused(loaded, AsOfRefused, str(as_of), "hasn't ended", next="--as-of"):
            ingest(loaded, month, as_of)
    with refused(loaded, AsOfRefused, str(tomorrow), next="--as-of"):
        train.train(loaded, tomorrow, None, 42, NOW)
    with refused(loaded, AsOfRefused, str(tomorrow), next="--as-of"):
        materialize(loaded, tomorrow, NOW)


def test_a_month_without_data_is_refused_with_those_that_have_it(loaded: Platform) -> None:
    before = date(2023, 12, 31)
    with refused(loaded, AsOfRefused, str(before), str(JANUARY), next="`streamflow ingest DIR"):
        train.train(loaded, before, None, 42, NOW)
    with refused(loaded, AsOfRefused, str(before), str(JANUARY), next="`streamflow ingest DIR"):
        materialize(loaded, before, NOW)


def test_a_time_of_arrival_in_the_future_is_refused(loaded: Platform, month: Path) -> None:
    later = NOW + timedelta(seconds=1)
    with refused(loaded, RecordedAtRefused, later.isoformat(), "future", next="leave it out"):
        ingest(loaded, month, recorded_at=later)


def test_a_correction_that_arrived_before_what_it_corrects_is_refused(
    loaded: Platform, month: Path
) -> None:
    value("subscriptions", "monthly_fee", "99.5")(month)
    for moment in (LOADED_AT, LOADED_AT - timedelta(days=1)):
        with refused(
            loaded,
            RecordedAtRefused,
            "1 changed row(s) of 'subscriptions'",
            LOADED_AT.isoformat(),
            moment.isoformat(),
            next="--recorded-at",
        ):
            ingest(loaded, month, recorded_at=moment)


def test_an_unknown_model_is_refused_with_those_that_there_are(loaded: Platform) -> None:
    with refused(
        loaded, UnknownModel, "'nope'", "random_forest, logistic_regression", next="--model"
    ):
        train.train(loaded, JANUARY, "nope", 42, NOW)


def test_a_version_that_does_not_exist_is_refused(loaded: Platform) -> None:
    for stage in ("Production", "Staging", "Archived"):
        with refused(
            loaded, UnknownVersion, "no version 99", "none yet", next="`streamflow models`"
        ):
            promoting.promote(loaded, 99, stage, "why not", "test", NOW)
    with refused(loaded, NothingToRollBack, "No other version", next="`streamflow promote"):
        promoting.rollback(loaded, "why not", "test", NOW)


@pytest.mark.slow
def test_a_version_below_the_bar_is_refused(loaded: Platform) -> None:
    apply(loaded)
    trained = train.train(loaded, JANUARY, "logistic_regression", 42, NOW)
    demanding = replace(loaded, use_case=replace(loaded.use_case, acceptance={"auc": 0.999}))
    before = loaded.registry.versions()
    with pytest.raises(GateFailed) as stopped:
        promote.promote(demanding, trained.version, "Production", "why not", "test", NOW)
    assert f"Version {trained.version} may not go to Production: quality failed" in str(
        stopped.value
    )
    assert "`streamflow train`" in stopped.value.next
    (quality,) = (one for one in stopped.value.report["gates"] if one["gate"] == "quality")
    assert f"auc is {trained.metrics['auc']:.4f}, at least 0.999 is asked" in quality["message"]
    assert loaded.registry.versions() == before
    assert [one.stage for one in before] == ["None"]
    with refused(loaded, UnknownVersion, "no version 99; it has: 1.", next="`streamflow models`"):
        promoting.promote(loaded, 99, "Production", "why not", "test", NOW)


def dressed(rows: Rows, **how: object) -> str:
    text = io.StringIO()
    csv.writer(text, **how).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue()


DRESSES: dict[str, Callable[[Rows], bytes]] = {
    "a byte-order mark": lambda rows: dressed(rows).encode("utf-8-sig"),
    "CRLF": lambda rows: dressed(rows, lineterminator="\r\n").encode(),
    "LF": lambda rows: dressed(rows, lineterminator="\n").encode(),
    "quoted fields": lambda rows: dressed(rows, quoting=csv.QUOTE_ALL).encode(),
    "columns in another order": lambda rows: dressed([row[::-1] for row in rows]).encode(),
    "rows in another order": lambda rows: dressed([rows[0], *rows[:0:-1]]).encode(),
    "a blank last line": lambda rows: (dressed(rows, lineterminator="\n") + "\n").encode(),
    "no last line end": lambda rows: dressed(rows).rstrip().encode(),
}


def require_nothing_new(done: IngestedMonth) -> None:
    assert len(done.tables) == 6
    for table in done.tables.values():
        assert (table.rows, table.added, table.unchanged, table.only_in_history) == (
            USERS,
            0,
            USERS,
            0,
        )


@pytest.mark.parametrize("name", DRESSES)
def test_the_same_month_in_another_dress_adds_nothing(
    loaded: Platform, month: Path, name: str
) -> None:
    for file in month.iterdir():
        before = file.read_bytes()
        file.write_bytes(DRESSES[name](read(month, file.stem)))
        assert file.read_bytes() != before or name in ("LF", "CRLF")
    require_nothing_new(ingest(loaded, month))


def test_the_same_month_in_parquet_adds_nothing(loaded: Platform, month: Path) -> None:
    import pandas

    for file in month.glob("*.csv"):
        # pandas has a column of booleans with gaps as objects, as anyone's export would.
        pandas.read_csv(file).to_parquet(file.with_suffix(".parquet"))
        file.unlink()
    require_nothing_new(ingest(loaded, month))


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


WRONG_USAGE = [
    (("train",), "--as-of"),
    (("train", "--as-of", "yesterday"), "'yesterday'"),
    (("promote", "1", "--to", "mars", "--why", "x"), "'mars'"),
    (("promote", "one", "--to", "production", "--why", "x"), "'VERSION'"),
    (("ingest", "month", "--as-of", "2024-01-31", "--recorded-at", "noon"), "'noon'"),
    (("conjure",), "'conjure'"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG_USAGE)
def test_wrong_usage_is_told_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    from streamflow.cli import main

    monkeypatch.setattr(sys, "argv", ["streamflow", *arguments, "--json"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {"error", "message", "next"}
    assert told["error"] == "usage"
    assert said in told["message"]
    assert "--help`" in told["next"]


@pytest.mark.slow
def test_each_kind_of_error_ends_its_command_with_exit_code_1(
    environment: dict[str, str], tmp_path: Path
) -> None:
    dead = unused_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        cases: dict[str, tuple[tuple[str, ...], dict[str, str], tuple[str, ...], str]] = {
            "invalid_settings": (
                *(("models",), {"STREAMFLOW_API_PORT": "none"}),
                *(("STREAMFLOW_API_PORT", "'none'"), "STREAMFLOW_API_PORT"),
            ),
            "missing_files": (
                *(("ingest", "nowhere", "--as-of", "2024-01-31"), {}),
                *(("nowhere",), "`streamflow ingest DIR`"),
            ),
            "unknown_model": (
                *(("train", "--as-of", "2024-01-31", "--model", "nope"), {}),
                *(("'nope'", "random_forest"), "`streamflow train --model NAME`"),
            ),
            "no_production_model": (
                *(("predict", "nobody"), {}),
                *(("'streamflow_churn'",), "`streamflow promote`"),
            ),
            "port_in_use": (
                *(("serve", "--port", str(taken)), {}),
                *((f"Port {taken}",), "STREAMFLOW_API_PORT="),
            ),
            "database_unavailable": (
                ("models",),
                {"STREAMFLOW_DATABASE_URL": f"postgresql://me:secret@127.0.0.1:{dead}/db"},
                *((f"127.0.0.1:{dead}", "me:***@"), "STREAMFLOW_DATABASE_URL"),
            ),
            "mlflow_unavailable": (
                ("models",),
                {"STREAMFLOW_MLFLOW_TRACKING_URI": f"http://127.0.0.1:{dead}"},
                *((f"http://127.0.0.1:{dead}",), "STREAMFLOW_MLFLOW_TRACKING_URI"),
            ),
        }
        commands = {
            code: subprocess.Popen(
                [sys.executable, "-m", "streamflow", *arguments, "--json"],
                env={**environment, **overrides},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for code, (arguments, overrides, _, _) in cases.items()
        }
        try:
            # An MLflow that is down is told in seconds; left to itself, it retries for minutes.
            answers = {code: command.communicate(timeout=180) for code, command in commands.items()}
        finally:
            for command in commands.values():
                command.kill()
                command.wait()
    for code, (_, _, said, next) in cases.items():
        output, errors = answers[code]
        assert commands[code].returncode == 1, output + errors
        told = json.loads(output)
        assert told.keys() == {"error", "message", "next"}
        assert told["error"] == code
        for part in said:
            assert part in told["message"]
        assert next in told["next"]
        assert "secret" not in output + errors
        assert "Traceback" not in errors


def test_for_eyes_an_error_is_on_standard_error(
    cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = cli("ingest", "nowhere", "--as-of", "2024-01-31")
    assert done.returncode == 1
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first == "error: There is no folder nowhere."
    assert second.startswith("next:  Name a folder")
