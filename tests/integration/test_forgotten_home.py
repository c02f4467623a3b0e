"""All that is kept of a person in a home that was used: forgotten, and every byte is looked at."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet
import pytest
from tests import promoting, tiny_case
from tests.logged_answers import log_answer
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.errors import ContractViolation
from streamflow.lineage import reproduce
from streamflow.operations.backup import backup
from streamflow.operations.forgetting import forget, listed
from streamflow.operations.restore import restore
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.month import explain_scores
from streamflow.pipeline.month.lists.export_list import Choice, export_list
from streamflow.pipeline.month.monitor import monitor
from streamflow.pipeline.month.report import report
from streamflow.platform import Platform
from streamflow.promotion.lookup import anchors
from streamflow.registry.run_files import keep_file
from streamflow.scores.campaigns import list_file
from streamflow.scores.campaigns.selection import Limits
from streamflow.scores.everyone import score
from streamflow.settings import Settings, load_settings
from streamflow.training import plots
from streamflow.use_case import Generation

MONTHS = (date(2024, 1, 31), date(2024, 2, 29))
NOW = datetime(2024, 9, 1, 12, tzinfo=UTC)
# Distinctive: no file has it by chance, nor a diff of this one.
PERSON = "-".join(("m", "jane", "doe", "7c1f"))


@dataclass(frozen=True)
class Used:
    """A home with two months, a version in Production, predictions, scores, a list, reports, logs,
    a copy of history for DuckDB, and leftovers; and a backup of it."""

    ready: Platform
    backup: Path
    version: int
    run_id: str


def others_of(ready: Platform) -> dict[str, list[str]]:
    """All rows of others, in history, online and in the prediction log."""
    tables = execute(
        ready.database,
        """
        SELECT format('%I.%I', nspname, relname) AS name, attname AS key
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relkind IN ('r', 'p', 'v') AND nspname IN ('failures', 'online', 'streamflow')
          AND NOT relispartition AND attname IN ('machine_id', 'entity_id', 'entity')
        """,
    ).fetchall()
    return {
        row["name"]: sorted(
            one["row"]
            for one in execute(
                ready.database,
                f"SELECT one::text AS row FROM {row['name']} AS one WHERE {row['key']} <> %s",
                [PERSON],
            )
        )
        for row in tables
    }


def use(ready: Platform) -> tuple[int, str]:
    """Do with the home what is done every month; returns the version and its run."""
    settings, months = ready.settings, ready.settings.home / "data"
    tiny_case.generate(Generation(months, users=200, months=2, seed=7))
    for file in months.rglob("*.csv"):
        file.write_text(file.read_text().replace("m-0007,", f"{PERSON},"))
    for number, as_of in enumerate(MONTHS):
        recorded_at = NOW - timedelta(days=20 - number)
        ingest(ready, months / f"month_{number:03}", as_of, recorded_at, NOW, "test")
    apply(ready)
    materialize(ready, MONTHS[1], NOW)
    trained = train.train(ready, MONTHS[0], None, 42, NOW)
    promoting.promote(ready, trained.version, "Production", "first", "test", NOW)
    log_answer(ready, PERSON, "a-request", NOW)
    score_and_list(ready)  # which clears scratch away
    report_and_refuse(ready, months / "month_001")
    for folder in ("logs/errors", "scratch/left over"):
        (settings.home / folder).mkdir(parents=True, exist_ok=True)
    (settings.home / "logs" / "errors" / "one.txt").write_text(f"Key (machine_id)=({PERSON})")
    (settings.home / "logs" / "api.log").write_text(f'{{"id": "{PERSON}"}}\nanother line\n')
    (settings.home / "logs" / "console.log").write_text(f'{{"path": "/entities?q={PERSON}"}}\n')
    page = settings.home / "reports" / "notes.html"
    page.write_text(f"<ul><li>{PERSON}</li></ul>")
    keep_file(ready.mlflow_uri, trained.run_id, page, "reports")
    (settings.home / "scratch" / "left over" / "rows.csv").write_text(PERSON)
    ready.registry.tag(
        trained.run_id, {"streamflow.reproduced_why": f"data moved; first: machine {PERSON} 1 → 2"}
    )
    return trained.version, trained.run_id


def score_and_list(ready: Platform) -> None:
    """Everyone has a score with reasons, and is on a list, which is in a file of the home too."""
    score(ready, MONTHS[1], "test", NOW)
    explain_scores.explain_scores(ready, MONTHS[1], 200, "test", NOW, cores=1)
    choice = Choice(MONTHS[1], Limits(top=200))
    lists = ready.settings.home / "data" / "lists"
    lists.mkdir()
    export_list(
        ready,
        choice,
        "test",
        NOW,
        lambda columns: list_file.write(lists / "contacts.csv", "csv", columns),
    )


def report_and_refuse(ready: Platform, month: Path) -> None:
    """A report of the month is with its run, and a list of what broke the contract names the
    person, whom a file has twice."""
    monitor(ready, MONTHS[1], NOW)
    report(ready, MONTHS[1])
    again = month.parent / "again"
    shutil.copytree(month, again)
    for file in again.glob("*.csv"):
        (line,) = [one for one in file.read_text().splitlines() if one.startswith(f"{PERSON},")]
        file.write_text(f"{file.read_text()}{line}\n")
    with pytest.raises(ContractViolation):
        ingest(ready, again, MONTHS[1], None, NOW, "test")


def at(home: Path) -> Settings:
    """Settings with an embedded PostgreSQL in that home, and a history in Apache Iceberg, if it is
    there, at a location of its own."""
    settings = load_settings(home=home, use_case="tests.tiny_case", engine="duckdb")
    if settings.history == "postgres":
        return settings
    return settings.model_copy(update={"history": f"{settings.history}/{home.name}"})


@pytest.fixture(scope="module")
def used(homes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    settings = at(homes / "used")
    with pytest.MonkeyPatch.context() as patch, platform(settings) as ready:
        patch.setattr(plots, "draw", lambda *_: None)
        version, run_id = use(ready)
        execute(ready.database, "CHECKPOINT")
        file = tmp_path_factory.mktemp("backups") / "before.backup"
        backup(settings, file, NOW)
        yield Used(ready, file, version, run_id)


def contents(file: Path) -> Iterator[bytes]:
    """The file's bytes, and what is compressed in them: rows of Parquet, members of an archive."""
    whole = file.read_bytes()
    yield whole
    if whole.startswith(b"PAR1"):
        yield repr(pyarrow.parquet.ParquetFile(file).read().to_pydict()).encode()
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            yield from map(archive.read, archive.namelist())


def files_with(settings: Settings) -> list[str]:
    """The files below the home, of its cluster, and of history, that have the person's id in
    them."""
    folders = [settings.home, (settings.home / "postgres").resolve()]
    if settings.history != "postgres":
        folders.append(Path(settings.history.removeprefix("file://")))
    return sorted(
        {
            str(path.relative_to(folder))
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file() and any(PERSON.encode() in one for one in contents(path))
        }
    )


def tables_with(ready: Platform) -> list[str]:
    """The tables of any schema with the person's id in a row: PostgreSQL compresses long values."""
    tables = execute(
        ready.database,
        "SELECT format('%I.%I', nspname, relname) AS name FROM pg_class"
        " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema')"
        " ORDER BY 1",
    ).fetchall()
    return [
        one["name"]
        for one in tables
        if execute(
            ready.database,
            f"SELECT FROM {one['name']} AS row WHERE strpos(row::text, %s) > 0 LIMIT 1",
            [PERSON],
        ).fetchall()
    ]


@pytest.mark.slow
def test_no_byte_of_the_home_names_the_person_any_more(used: Used) -> None:
    ready, home = used.ready, used.ready.settings.home
    others = others_of(ready)
    before = files_with(ready.settings)
    # Else it can't fail.
    assert {
        *("data", "logs", "reports", "scratch", "base", "pg_wal", "mlflow"),
        "parquet" if ready.settings.history == "postgres" else "machines_history",
        *("training_set.parquet", "validation_scores.parquet", "notes.html", "console.log"),
        *("contacts.csv", "api.log"),
    } <= {part for name in before for part in Path(name).parts}
    assert [name for name in before if Path(name).name.startswith("violations-")]
    assert "mlflow.tags" in tables_with(ready)
    for table in ("scores", "reasons", "listed", "predictions"):
        query = f"SELECT count(*) AS rows FROM streamflow.{table} WHERE entity_id = %s"
        found = execute(ready.database, query, [PERSON]).fetchone()
        assert found is not None
        assert found["rows"], table

    done = forget.forget(ready, [PERSON], "asked for it", "me", NOW)

    assert done.left == []
    execute(ready.database, "CHECKPOINT")
    assert files_with(ready.settings) == []
    assert tables_with(ready) == []
    assert others_of(ready) == others
    assert anchors.verify(ready).bent is None
    assert done.runs[0].run_id == used.run_id
    assert (home / "logs" / "api.log").read_text().endswith("another line\n")

    made = reproduce.reproduce(ready, ready.registry.run(used.run_id), NOW)

    assert (made.verdict, made.forgotten) == ("forgotten", 1)
    assert made.why.startswith("1 row was forgotten; the other 199 are as they were")


@pytest.mark.slow
def test_a_backup_of_before_forgets_the_person_again(used: Used, homes: Path) -> None:
    forget.forget(used.ready, [PERSON], "asked for it", "me", NOW, later=True)
    settings = at(homes / "restored")

    done = restore(settings, used.backup, forgotten=used.ready.settings.home / listed.FILE)

    assert (done.forgotten, len(done.again.people), done.again.left) == (1, 1, [])
    with platform(settings) as ready:
        execute(ready.database, "CHECKPOINT")
        assert files_with(settings) == []
        assert tables_with(ready) == []
        made = reproduce.reproduce(ready, ready.registry.run(used.run_id), NOW)
    assert made.verdict == "forgotten"
