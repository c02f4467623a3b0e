"""A person is forgotten: gone from every table and every byte of the home; the others stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from psycopg import sql
from tests import tiny_case
from tests.conftest import HISTORIES, OwnDatabase
from tests.scored import record_scores
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.errors import UnreadableFile
from streamflow.history.forgotten.forgotten import forgotten_lines
from streamflow.history.forgotten.salted_hash import pads, salted_hash
from streamflow.history.ingest import IngestedMonth, ingest
from streamflow.lineage import reproduce
from streamflow.lineage.rows import recorded_rows, row_hashes
from streamflow.operations.forgetting import (
    again,
    forget,
    home_files,
    listed,
    rows,
    space,
    tables,
)
from streamflow.operations.forgetting.rows import UnknownPerson
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.platform import Platform
from streamflow.postgres import embedded_server
from streamflow.postgres.database import Database
from streamflow.serving import prediction_log_partitions as partitions
from streamflow.settings import load_settings
from streamflow.training import dataset_table, plots
from streamflow.use_case import Generation

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
NOW = datetime(2024, 9, 1, 12, tzinfo=UTC)
SALT = bytes(range(32))
# Distinctive: no file has it by chance.
PERSON, OTHER = "m-jane-doe-7c1f", "m-0008"
use_case = tiny_case.use_case
_locations = count()


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months of a hundred machines, one of which is the person."""
    folder = tmp_path_factory.mktemp("months")
    tiny_case.generate(Generation(folder, users=100, months=2, seed=7))
    for file in folder.rglob("*.csv"):
        file.write_text(file.read_text().replace("m-0007,", f"{PERSON},"))
    return folder


def load(database: Database, months: Path, number: int, reports: Path) -> IngestedMonth:
    as_of = (JANUARY, FEBRUARY)[number]
    recorded_at = NOW - timedelta(days=20 - number)
    folder = months / f"month_{number:03}"
    return ingest(database, use_case, folder, as_of, recorded_at, NOW, "test", reports)


@pytest.fixture(scope="module")
def loaded(
    new_database: Callable[..., str],
    prepared_database: str,
    months: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """A database with both months, to copy. With none of them where history is in Apache Iceberg:
    what is forgotten in a copy is in files that the other copies have too."""
    url = new_database(prepared_database)
    if HISTORIES != "postgres":
        return url
    with Database(url) as database:
        for number in (0, 1):
            load(database, months, number, tmp_path_factory.mktemp("reports"))
    return url


@contextmanager
def opened(url: str, home: Path, months: Path) -> Iterator[Platform]:
    """The platform of a copy of `loaded`, with both months."""
    settings = load_settings(home=home, database_url=url, use_case="tests.tiny_case")
    if HISTORIES != "postgres":
        own = f"{settings.history}/{next(_locations)}"
        settings = settings.model_copy(update={"history": own})
    with platform(settings) as ready:
        if HISTORIES != "postgres":
            for number in (0, 1):
                load(ready.database, months, number, home / "reports")
        yield ready


@pytest.fixture
def ready(
    loaded: str, own_database: OwnDatabase, months: Path, tmp_path: Path
) -> Iterator[Platform]:
    with own_database(loaded) as url, opened(url, tmp_path / "home", months) as ready:
        yield ready


def files_with(folder: Path, text: str = PERSON) -> dict[str, int]:
    """How often each file below the folder has the text, byte by byte."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and (count := path.read_bytes().count(text.encode())):
            found[path.relative_to(folder).as_posix()] = count
    return found


def rows_of_others(database: Database) -> dict[str, list[str]]:
    found = {}
    for table in ("machines_history", "readings_history", "failures_history"):
        query = sql.SQL("SELECT one::text FROM {} AS one WHERE machine_id <> %s").format(
            sql.Identifier("failures", table)
        )
        found[table] = sorted(row["one"] for row in execute(database, query, [PERSON]))
    return found


@pytest.mark.history_in_postgres(
    "PostgreSQL's files; test_forgotten_in_iceberg.py is of the others"
)
def test_no_byte_of_the_person_is_left_in_postgresqls_files(homes: Path, months: Path) -> None:
    home = homes / "forgetting"
    with embedded_server.running(home) as url, Database(url) as database:
        for number in (0, 1):
            load(database, months, number, home / "reports")
        # Of a table without rows, PostgreSQL keeps the statistics of before.
        alone = [PERSON, f"{PERSON}-too"]
        record_scores(database, dict.fromkeys(alone, 0.5), model=use_case.registered_model)
        execute(database, "ANALYZE")
        database.execute("checkpoint")
        cluster = (home / "postgres").resolve()
        places = {Path(name).parts[1] for name in files_with(cluster)}
        assert {"base", "pg_wal"} <= places  # else this test can't fail

        done = rows.forget_rows(database, use_case, alone, "asked for it", "me", NOW, SALT)
        assert files_with(cluster)
        left = space.reclaim(database, use_case, done[0].tables)
        database.execute("checkpoint")

        assert left == []
        assert files_with(cluster) == {}
        again = load(database, months, 1, home / "reports")
        assert {name: one.forgotten for name, one in again.tables.items()} == {
            "machines": 1,
            "readings": 1,
            "failures": 1,
        }
        database.execute("checkpoint")
        assert files_with(cluster) == {}
        assert execute(
            database, "SELECT setting FROM pg_settings WHERE name = 'wal_recycle'"
        ).fetchall() == [{"setting": "on"}]
    assert files_with(home) == {}


def test_the_rows_go_and_a_line_stays_and_the_others_are_as_they_were(ready: Platform) -> None:
    before = rows_of_others(ready.database)

    done = forget.forget(ready, [PERSON], "asked for it", "me", NOW, later=True)

    assert rows_of_others(ready.database) == before
    assert done.people[0].tables == {
        f"failures.{table}_history": 2 for table in ("failures", "machines", "readings")
    }
    (line,) = forgotten_lines(ready.database, use_case)
    assert (line.hash, line.why, line.forgotten_by) == (
        salted_hash(line.salt, PERSON),
        "asked for it",
        "me",
    )
    assert PERSON not in str(line)

    again = forget.forget(ready, [PERSON], "asked again", "me", NOW, later=True)

    assert [one.already for one in again.people] == [NOW]
    assert [one.tables for one in again.people] == [{}]
    assert len(forgotten_lines(ready.database, use_case)) == 1


def test_what_was_interrupted_is_finished_by_the_same_command(
    ready: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(home_files, "forget_in_home", killed)
        forget.forget(ready, [PERSON], "asked for it", "me", NOW)
    (line,) = forgotten_lines(ready.database, use_case)
    assert line.steps == ()

    done = forget.forget(ready, [PERSON], "asked for it", "me", NOW, later=True)

    assert done.people[0].already == NOW
    (line,) = forgotten_lines(ready.database, use_case)
    assert line.steps == ("files", "runs")
    assert line.tables == tuple(
        f"failures.{table}_history" for table in ("failures", "machines", "readings")
    )


def test_what_cannot_be_reached_is_told_with_what_to_type(ready: Platform) -> None:
    elsewhere = ready.settings.model_copy(update={"mlflow_tracking_uri": "http://elsewhere"})

    done = forget.forget(
        replace(ready, settings=elsewhere), [PERSON], "asked for it", "me", NOW, later=True
    )

    runs, database = done.left
    assert "MLflow server" in runs.why
    assert "STREAMFLOW_MLFLOW_DATABASE_URL" in runs.next
    assert database.next == "`streamflow forget --finish`"
    (line,) = forgotten_lines(ready.database, use_case)
    assert line.steps == ("files",)


def test_who_is_there_again_is_found_by_the_hash(ready: Platform) -> None:
    forget.forget(ready, [PERSON], "asked for it", "me", NOW, later=True)
    assert again.forget_again(ready).people == []
    execute(
        ready.database,
        """
        INSERT INTO failures.machines_history
            (machine_id, as_of, recorded_at, ingestion_id, kind, age_weeks)
        VALUES (%s, '2024-01-31', now(), 1, 'mill', 7)
        """,
        [PERSON],
    )

    done = again.forget_again(ready)

    assert [one.tables for one in done.people] == [{"failures.machines_history": 1}]
    assert again.forget_again(ready).people == []
    assert len(forgotten_lines(ready.database, use_case)) == 1


def test_the_list_in_the_home_is_what_a_database_without_it_takes(
    ready: Platform, loaded: str, own_database: OwnDatabase
) -> None:
    forget.forget(ready, [PERSON], "asked for it", "me", NOW, later=True)
    file = ready.settings.home / listed.FILE
    assert file.stat().st_mode & 0o077 == 0

    with own_database(loaded) as url, Database(url) as another:
        assert [listed.take_list(file, another) for _ in range(2)] == [1, 1]
        (line,) = forgotten_lines(another, use_case)
    assert (line.forgotten_at, line.why) == (NOW, "asked for it")
    file.write_text("[{}]")
    with pytest.raises(UnreadableFile, match="list of those who were forgotten"):
        listed.take_list(file, ready.database)


def test_an_id_that_no_table_has_is_refused_and_nothing_is_changed(ready: Platform) -> None:
    with pytest.raises(UnknownPerson, match="m-nobody"):
        forget.forget(ready, [PERSON, "m-nobody"], "asked", "me", NOW)
    assert forgotten_lines(ready.database, use_case) == []

    forget.forget(ready, ["m-nobody"], "asked", "me", NOW, even_if_unknown=True, later=True)

    assert len(forgotten_lines(ready.database, use_case)) == 1


def test_a_reason_with_the_id_is_refused(ready: Platform) -> None:
    with pytest.raises(forget.NotForgotten):
        forget.forget(ready, [PERSON], f"{PERSON} asked", "me", NOW)


def test_who_was_forgotten_does_not_come_back_and_is_counted(
    ready: Platform, months: Path, tmp_path: Path
) -> None:
    forget.forget(ready, [PERSON, OTHER], "asked", "me", NOW, later=True)
    changed = tmp_path / "month_001"
    for file in (months / "month_001").glob("*.csv"):
        changed.mkdir(exist_ok=True)
        (changed / file.name).write_text(file.read_text().replace("lathe", "mill"))

    later = NOW - timedelta(days=1)
    done = ingest(*(ready.database, use_case, changed, FEBRUARY, later, NOW, "test", tmp_path))

    assert [one.forgotten for one in done.tables.values()] == [2, 2, 2]
    assert done.tables["machines"].rows == 98
    found = execute(
        ready.database,
        "SELECT count(*) AS rows FROM failures.machines_history WHERE machine_id = ANY(%s)",
        [[PERSON, OTHER]],
    )
    assert found.fetchall() == [{"rows": 0}]


def test_sql_computes_the_hash_as_python_does(ready: Platform) -> None:
    for entity in ("1", "jané", "x" * 64, "日本"):
        found = ready.database.rows(
            "entities_with_hash",
            {
                "table": sql.SQL("(VALUES ({})) AS one (entity)").format(sql.Literal(entity)),
                "column": sql.Identifier("entity"),
                "condition": sql.SQL("true"),
            },
            hashes=[salted_hash(SALT, entity)],
            **pads(SALT),
        )
        assert found == [{"entity": entity}]


def test_every_table_with_an_entity_is_known_to_forgetting(ready: Platform) -> None:
    """A table that comes later is in `ENTITY_TABLES`, or a person's rows would stay in it."""
    found = execute(
        ready.database,
        """
        SELECT relname AS table, attname AS column
        FROM pg_class
        JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        WHERE relnamespace = 'streamflow'::regnamespace AND relkind IN ('r', 'p')
          AND NOT relispartition AND attname = ANY(%s)
          AND atttypid IN ('text'::regtype, 'text[]'::regtype)
        """,
        [list(tables.ENTITY_COLUMN_NAMES)],
    )
    names = {f"{row['table']}.{row['column']}" for row in found}
    known = {f"{table}.{column}" for table, (column, _) in tables.ENTITY_TABLES.items()}
    assert names == known


def test_the_rows_of_another_use_case_stay(ready: Platform) -> None:
    database = ready.database
    partitions.create_partitions(database, [NOW.date()])
    for number, (name, model) in enumerate(
        [("failures", "workshop_failures"), ("another", "another_model")]
    ):
        key = f"00000000-0000-0000-0000-00000000000{number}"
        for statement, values in (
            ("absences VALUES (%s, 'a', %s, now(), now(), 1)", [name, PERSON]),
            ("served_models VALUES (%s, %s, 1, 'r', 's', 'h', '[]')", [key, model]),
            ("predictions VALUES (%s, %s, 1, 0.5, 'r', %s)", [NOW, key, PERSON]),
            (
                "shadow_scores VALUES (%s, %s, 1, 0.5, NULL, %s, 1, 0.5, NULL, 'r', %s)",
                [NOW, key, key, PERSON],
            ),
        ):
            execute(database, f"INSERT INTO streamflow.{statement}", values)

    done = forget.forget(ready, [PERSON], "asked for it", "me", NOW, later=True)

    day = f"{NOW:%Y%m%d}"
    for table in ("absences", f"predictions_{day}", f"shadow_scores_{day}"):
        assert done.people[0].tables[f"streamflow.{table}"] == 1
        left = execute(database, f"SELECT count(*) AS rows FROM streamflow.{table}")
        assert left.fetchall() == [{"rows": 1}]


@dataclass(frozen=True)
class Trained:
    """Two runs of before the person was forgotten; one of them keeps its training set."""

    ready: Platform
    kept: str
    not_kept: str
    forgotten: forget.Forgotten


@pytest.fixture(scope="module")
def trained(
    loaded: str,
    new_database: Callable[..., str],
    months: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Trained]:
    home = tmp_path_factory.mktemp("trained")
    with (
        pytest.MonkeyPatch.context() as patch,
        opened(new_database(loaded), home, months) as ready,
    ):
        patch.setattr(plots, "draw", lambda *_: None)
        apply(ready)
        kept = train.train(ready, JANUARY, None, 42, NOW)
        not_keeping = ready.settings.model_copy(update={"keep_training_sets": False})
        without = replace(ready, settings=not_keeping)
        not_kept = train.train(without, JANUARY, None, 42, NOW)
        done = forget.forget(ready, [PERSON], "asked for it", "me", NOW, later=True)
        yield Trained(ready, kept.run_id, not_kept.run_id, done)


def made_again(trained: Trained, run_id: str) -> reproduce.Reproduction:
    return reproduce.reproduce(trained.ready, trained.ready.registry.run(run_id), NOW)


def files_of(trained: Trained, run_id: str) -> Path:
    return next(trained.ready.artifacts.rglob(f"{run_id}/artifacts"))


def test_a_run_of_before_says_that_a_row_was_forgotten_and_the_others_are_as_they_were(
    trained: Trained,
) -> None:
    for run_id in (trained.kept, trained.not_kept):
        made = made_again(trained, run_id)

        assert (made.verdict, made.forgotten) == ("forgotten", 1)
        assert made.why == (
            "1 row was forgotten; the other 99 are as they were, and the model can't be made again "
            "to the last bit"
        )
        assert "streamflow train" in made.next
    assert ("training_set.parquet", 1) in {(one.file, one.rows) for one in trained.forgotten.runs}


def test_another_row_that_moved_is_named_beside_the_one_that_was_forgotten(
    trained: Trained,
) -> None:
    change = "UPDATE failures.readings_history SET alarms = alarms + %s WHERE machine_id = %s"
    execute(trained.ready.database, change, [1, OTHER])
    try:
        kept, not_kept = (made_again(trained, one) for one in (trained.kept, trained.not_kept))
    finally:
        execute(trained.ready.database, change, [-1, OTHER])

    assert (kept.verdict, not_kept.verdict) == ("different", "different")
    assert OTHER in kept.factors[0].said[0]
    assert "1 row was forgotten" in kept.factors[0].said
    # What is kept of the verdict names nobody.
    assert OTHER in kept.why
    tags = trained.ready.registry.run(trained.kept).tags
    assert tags["streamflow.reproduced_why"].startswith("data moved: 1 row of readings")
    assert not [value for value in tags.values() if OTHER in value]


def test_a_run_without_hashes_of_its_rows_says_what_it_can(trained: Trained) -> None:
    hashes = files_of(trained, trained.not_kept) / "training_set.rows.parquet"
    aside = hashes.rename(hashes.with_suffix(".aside"))
    try:
        made = made_again(trained, trained.not_kept)
    finally:
        aside.rename(hashes)

    assert made.verdict == "can't tell"
    assert made.why.startswith("1 person was forgotten since")


def test_hashes_that_were_exchanged_prove_nothing(trained: Trained) -> None:
    file = files_of(trained, trained.kept) / "training_set.parquet"
    original = file.read_bytes()
    table = dataset_table.read(file)
    dataset_table.write(table.slice(1), file)
    forged = row_hashes.row_hashes(table.slice(1), bytes(range(16)) * 98, with_ids=False)
    beside = recorded_rows.hashes_file(file)
    hashes = beside.read_bytes()
    row_hashes.write(forged, beside)
    try:
        made = made_again(trained, trained.kept)
    finally:
        file.write_bytes(original)
        beside.write_bytes(hashes)

    assert made.verdict != "forgotten"
