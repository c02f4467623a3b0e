"""A backup has all of it, comes back anywhere, and neither a kill nor a wrong file does any harm.

`STREAMFLOW_TEST_KILLS` is the number of random instants at which each is killed (1).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr
from tests import promoting, tiny_case
from tests.columnar_history import stored
from tests.conftest import beside, url_of
from tests.statements import execute

from streamflow.bootstrap import platform, production_predictor
from streamflow.errors import InvalidSettings, NotPermitted, SchemaTooNew
from streamflow.features.engines.history_database import up_to_date
from streamflow.keys import api_keys
from streamflow.keys.api_keys import Scope
from streamflow.lineage import reproduce
from streamflow.operations import backup_archive
from streamflow.operations.backup import backup
from streamflow.operations.backup_errors import BackupRefused, NotEmpty, TamperedBackup
from streamflow.operations.backup_manifest import HISTORY, MLFLOW_DUMP, STREAMFLOW_DUMP, Member
from streamflow.operations.restore import restore
from streamflow.pipeline import explain, train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.predict import predict
from streamflow.postgres import client_programs, embedded_server, migrations
from streamflow.postgres.database import Database
from streamflow.promotion import model_history
from streamflow.promotion.change import Change
from streamflow.promotion.lookup import anchors
from streamflow.serving.prediction_log_rows import Encoder
from streamflow.serving.prediction_log_writer import PredictionWriter
from streamflow.serving.scoring import ScoringRequest
from streamflow.settings import Settings, load_settings
from streamflow.training import plots
from streamflow.use_case import Generation

KILLS = int(os.environ.get("STREAMFLOW_TEST_KILLS", "1"))
JANUARY = date(2024, 1, 31)
NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)
# Schemas that could be backed up.
OLDEST, NEWEST = 3, migrations.migrations()[-1].number
MACHINE = "m-0001"
CATALOG = ("iceberg_tables", "iceberg_namespace_properties")
SCHEMAS = ["failures", "feast", "online", "streamflow", "mlflow"]
ROLES = ("pipeline", "api", "feast", "mlflow", "reader")
PASSWORDS = {name: SecretStr(f"{name}'s password") for name in ROLES}

_locations = itertools.count()

Answer = dict[str, Any]
Empty = Callable[[], Settings]


@dataclass(frozen=True)
class Source:
    """What there was, a backup of it, and what was answered."""

    settings: Settings
    file: Path
    rows: dict[str, list[str]]
    files: dict[str, str]
    answer: Answer


def rows_in(url: str, schemas: list[str], location: str) -> dict[str, list[str]]:
    """Every row of every table as text, with a word for where the artifacts are."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s)", [schemas]
        ).fetchall()
        found = {}
        for schema, table in sorted(tables):
            query = sql.SQL("SELECT one::text FROM {} AS one").format(sql.Identifier(schema, table))
            rows = [str(row).replace(location, "ARTIFACTS") for (row,) in connection.execute(query)]
            found[f"{schema}.{table}"] = sorted(rows)
    return found


def rows_of(
    settings: Settings, schemas: list[str] = SCHEMAS, location: str | None = None
) -> dict[str, list[str]]:
    """Those, with the rows of a history in Apache Iceberg in the place of where its files are."""
    location = location or (settings.home / "mlflow").as_uri()
    found = rows_in(url_of(settings), schemas, location)
    catalog = [found.pop(f"streamflow.{table}", []) for table in CATALOG]
    if any(catalog):
        with platform(settings) as ready:
            history, use_case = up_to_date(ready.database, ready.use_case), ready.use_case
            for table in use_case.tables():
                rows = stored(history, use_case, table)
                found[f"{use_case.name}.{table.history}"] = rows
    return found


def at(settings: Settings, home: Path, database_url: str | None) -> Settings:
    """The settings with this home and database, and a history in Apache Iceberg, if it is there, at
    a location of its own."""
    changed = {
        "home": home,
        "database_url": SecretStr(database_url) if database_url else None,
        "history": beside(settings.history, str(next(_locations))),
    }
    return settings.model_copy(update=changed)


def files_of(settings: Settings) -> dict[str, str]:
    folder = settings.home / "mlflow"
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def predicted(settings: Settings) -> Answer:
    with platform(settings) as ready:
        answer = predict(production_predictor(ready), MACHINE, NOW)
    return {name: value for name, value in answer.items() if name != "request_id"}


@pytest.fixture(scope="module")
def source(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Source:
    folder = tmp_path_factory.mktemp("source")
    settings = load_settings(
        home=folder / "a home",
        database_url=new_database(prepared_database),
        use_case="tests.tiny_case",
    )
    tiny_case.generate(Generation(folder / "months", users=300, months=1, seed=5))
    with pytest.MonkeyPatch.context() as patched, platform(settings) as ready:
        patched.setattr(plots, "draw", lambda *arguments: None)
        month = folder / "months" / "month_000"
        ingest(ready, month, JANUARY, None, NOW, "test")
        apply(ready)
        materialize(ready, JANUARY, NOW)
        for random_state in (1, 2):
            train.train(ready, JANUARY, None, random_state, NOW)
        for version in (1, 2):
            promoting.promote(ready, version, "Production", "a test", "test", NOW)
        for change in more_changes(ready):
            model_history.record(ready.database, change)
        keys = ready.database
        api_keys.create(keys, api_keys.new_key(), [Scope.READ], "", None, "ann", NOW)
        log_a_prediction(ready)
    file = folder / "a backup.tar"
    backup(settings, file, NOW)
    return Source(settings, file, rows_of(settings), files_of(settings), predicted(settings))


def more_changes(ready: Any) -> list[Change]:
    """Of all kinds, with what a text form of JSON and of times could lose."""
    version = ready.registry.version(1)
    figures = {
        "auc": 0.1 + 0.2,
        "tiny": 5e-324,
        "whole": 1.0,
        "none": None,
        "said": "naïve ≤ 5 %\n",
    }
    moment = NOW.replace(microsecond=123456)
    return [
        model_history.about(version, "approved", "ben", "Grüße, \\ and 'quotes'", moment),
        model_history.about(
            *(version, "refused", "ben", "", moment),
            to_stage="Production",
            details={"gates": [{"gate": "quality", "figures": figures}]},
        ),
        model_history.about(version, "canary started", "ben", "a few", NOW, details={"share": 2.5}),
    ]


def log_a_prediction(ready: Any) -> None:
    predictor = production_predictor(ready)
    answer = predictor.predict(MACHINE, NOW, "a-request")
    writer = PredictionWriter(ready.database, 7, lambda: NOW)
    writer.prepare()
    served = predictor.production()
    writer.write([Encoder().rows(served, [ScoringRequest(MACHINE, "a-request")], [answer], NOW)])


@pytest.fixture
def empty(new_database: Callable[..., str], tmp_path: Path) -> Empty:
    """Makes settings with an empty database and a home that isn't there yet."""
    settings = load_settings(use_case="tests.tiny_case")
    homes = iter(range(100))
    return lambda: at(settings, tmp_path / f"it's home {next(homes)}", new_database())


def assert_as_the_source(settings: Settings, source: Source) -> None:
    assert rows_of(settings) == source.rows
    assert files_of(settings) == source.files


def test_a_backup_is_one_file_for_its_owner_alone(source: Source) -> None:
    assert stat.S_IMODE(source.file.stat().st_mode) == 0o600
    assert {path.name for path in source.file.parent.iterdir()} == {
        *(source.file.name, "a home", "months")
    }
    manifest = backup_archive.read(source.file).manifest
    assert manifest.schema == migrations.migrations()[-1].number
    assert manifest.taken_at == NOW
    assert {member.name.removeprefix("artifacts/") for member in manifest.artifacts} == set(
        source.files
    )
    assert manifest.location == (source.settings.home / "mlflow").as_uri()


def test_no_password_is_in_a_backup(source: Source, new_database: Callable[..., str]) -> None:
    whole = source.file.read_bytes()
    with psycopg.connect(url_of(source.settings)) as connection:
        assert connection.info.password.encode() not in whole


def test_another_home_has_every_row_and_file_and_tells_the_same(
    source: Source, empty: Empty
) -> None:
    settings = empty()
    done = restore(settings, source.file)
    assert (done.before, done.migrated) == (False, [])
    assert_as_the_source(settings, source)
    assert predicted(settings) == source.answer
    with platform(settings) as ready:
        assert [one.version for one in ready.registry.versions()] == [2, 1]
        for run in ready.registry.runs():
            reproduced = reproduce.reproduce(ready, run, NOW)
            assert (reproduced.verdict, reproduced.why[:35]) == (
                "identical",
                "the same model to the last bit, fro",
            )
            assert all(factor.same for factor in reproduced.factors)
        (explained,) = explain.explain(ready, explain.find(ready, ["a-request"], None))
        assert explained.verdict == "same"
        found = anchors.verify(ready)
        assert (found.rows, found.bent, found.without_anchor) == (5, None, None)
        assert promoting.rollback(ready, "as before", "test", NOW).version == 1
        assert production_predictor(ready).production().version.version == 1
        found = anchors.verify(ready)
        assert (found.rows, found.bent) == (6, None)
        with ready.database.transaction(), ready.database.connection() as connection:
            connection.execute("ALTER TABLE streamflow.model_history DISABLE TRIGGER USER")
            connection.execute("UPDATE streamflow.model_history SET why = 'so' WHERE number = 4")
            bent = anchors.verify(ready).bent
            assert bent is not None
            assert bent.number == 4
            raise psycopg.Rollback
    # The source is as it was, and so is its backup: restored once more, it changes nothing.
    assert rows_of(source.settings) == source.rows
    assert restore(settings, source.file).before
    with platform(settings) as ready:
        assert production_predictor(ready).production().version.version == 1


def test_a_restored_database_can_be_backed_up_and_restored_in_turn(
    source: Source, empty: Empty, tmp_path: Path
) -> None:
    first, second = empty(), empty()
    restore(first, source.file)
    backup(first, tmp_path / "second.backup", NOW)
    restore(second, tmp_path / "second.backup")
    assert_as_the_source(second, source)
    assert restore(second, tmp_path / "second.backup").before
    with pytest.raises(NotEmpty):
        restore(second, source.file)


@pytest.mark.slow
def test_what_happens_meanwhile_is_in_the_next_backup(
    source: Source, empty: Empty, tmp_path: Path
) -> None:
    settings = empty()
    restore(settings, source.file)
    happened: list[str] = []

    def happen(step: str) -> None:
        """Between the dumps: tables, registry and artifacts change, and the log is written."""
        if step != STREAMFLOW_DUMP:
            return
        with platform(settings) as ready:
            promoting.rollback(ready, "meanwhile", "test", NOW)
            log_a_prediction(ready)
        (settings.home / "mlflow" / "meanwhile").write_text("new")
        happened.append(step)

    for name in ("first", "second"):
        backup(settings, tmp_path / name, NOW, happen if name == "first" else lambda step: None)
    assert happened
    first, second = empty(), empty()
    restore(first, tmp_path / "first")
    assert_as_the_source(first, source)
    restore(second, tmp_path / "second")
    assert_as_the_source(second, replace(source, rows=rows_of(settings), files=files_of(settings)))
    assert rows_of(second) != source.rows


@pytest.mark.parametrize("step", ["apply", "materialize", "train", "promote"])
def test_a_backup_waits_for_a_step_under_way(
    step: str, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is held up in the middle; the backup waits until it has ended."""
    waiting, seen = threading.Event(), []
    taken = threading.Thread(
        target=lambda: backup(source.settings, tmp_path / "file", NOW, lambda step: waiting.set())
    )

    def held_up(*arguments: Any, **named: Any) -> None:
        taken.start()
        assert waiting.wait(60)
        with psycopg.connect(url_of(source.settings), autocommit=True) as connection:
            while not connection.execute(
                "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND "
                "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchall():
                assert taken.is_alive()
                time.sleep(0.01)
        seen.append((tmp_path / "file").exists())
        raise InterruptedError

    with platform(source.settings) as ready, pytest.raises(InterruptedError):
        match step:
            case "apply":
                monkeypatch.setattr("streamflow.features.definitions.apply", held_up)
                apply(ready)
            case "materialize":
                monkeypatch.setattr("streamflow.features.materialization.materialize", held_up)
                materialize(ready, JANUARY, NOW)
            case "train":
                monkeypatch.setattr(type(ready.registry), "create_run", held_up)
                monkeypatch.setattr(plots, "draw", lambda *arguments: None)
                train.train(ready, JANUARY, None, 3, NOW)
            case "promote":
                monkeypatch.setattr(type(ready.registry), "version", held_up)
                promoting.promote(ready, 1, "Staging", "", "test", NOW)
    taken.join(60)
    assert seen == [False]
    assert backup_archive.read(tmp_path / "file").manifest.members


def test_an_older_schema_is_migrated_and_a_newer_one_refused(
    source: Source, empty: Empty, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = migrations.migrations()
    another = migrations.Migration(
        known[-1].number + 1, "another", "CREATE TABLE streamflow.another (one integer)"
    )
    monkeypatch.setattr(migrations, "migrations", lambda: (*known, another))
    settings = empty()
    done = restore(settings, source.file)
    assert done.migrated == [str(another)]
    backup(settings, tmp_path / "newer", NOW)

    monkeypatch.setattr(migrations, "migrations", lambda: known)
    with pytest.raises(SchemaTooNew, match=f"{another.number:04d}.*{known[-1].number:04d}"):
        restore(empty(), tmp_path / "newer")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=() if number in (OLDEST, NEWEST) else pytest.mark.slow)
        for number in range(OLDEST, NEWEST + 1)
    ],
)
def test_a_backup_of_each_schema_that_could_be_backed_up_is_restored(
    number: int, empty: Empty, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known, older, settings = migrations.migrations(), empty(), empty()
    with monkeypatch.context() as patched, Database(url_of(older)) as database:
        patched.setattr(migrations, "migrations", lambda: known[:number])
        migrations.migrate(database)
        database.execute("create_history_schema", {"schema": sql.Identifier("failures")})
        if number > OLDEST:
            add_history(database)
        backup(older, tmp_path / "older", NOW)
    assert restore(settings, tmp_path / "older").migrated == list(map(str, known[number:]))
    with Database(url_of(settings)) as database:
        assert migrations.deviations(database) == []
        if number == OLDEST:
            add_history(database)
        assert [row["id"] for row in execute(database, "TABLE failures.one_history")] == ["x"]


def add_history(database: Database) -> None:
    """A history of one row."""
    use_case, history, key = "failures", "one_history", "id"
    database.execute(
        "create_history", use_case=use_case, history=history, key=key, columns='[["a", "text"]]'
    )
    if database.row("newest_migration")["number"] > 26:
        database.execute("create_month", use_case=use_case, history=history, key=key, as_of=JANUARY)
    execute(
        database,
        "INSERT INTO failures.one_history (id, as_of, recorded_at, ingestion_id) "
        "VALUES ('x', %s, now(), 1)",
        [JANUARY],
    )


def test_a_file_that_is_there_is_never_replaced(source: Source, tmp_path: Path) -> None:
    for name, make in (("file", Path.touch), ("folder", Path.mkdir)):
        make(tmp_path / name)
        with pytest.raises(BackupRefused, match=f"{name} is there already") as refused:
            backup(source.settings, tmp_path / name, NOW)
        assert "another file" in refused.value.next
    assert (tmp_path / "file").stat().st_size == 0


def test_where_nothing_can_be_written_that_is_said(source: Source, tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match=r"can't be written: No such file|Not a directory"):
        (tmp_path / "file").touch()
        backup(source.settings, tmp_path / "file" / "in a file", NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_there_is_no_backup_of_nothing(empty: Empty, tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="nothing of StreamFlow"):
        backup(empty(), tmp_path / "file", NOW)
    assert not (tmp_path / "file").exists()


def test_a_strangers_mlflow_server_is_refused(source: Source, tmp_path: Path) -> None:
    server = {"mlflow_tracking_uri": "http://mlflow.example.org"}
    for act in (
        lambda settings: backup(settings, tmp_path / "file", NOW),
        lambda settings: restore(settings, source.file),
    ):
        with pytest.raises(InvalidSettings, match="on an MLflow server"):
            act(source.settings.model_copy(update=server))


def test_what_is_there_is_left_alone_and_told(source: Source, empty: Empty) -> None:
    settings = empty()
    with platform(settings):
        pass  # which makes tables
    before = rows_of(settings)
    with pytest.raises(NotEmpty, match=r"streamflow \(\d+ tables\)") as refused:
        restore(settings, source.file)
    assert "STREAMFLOW_HOME" in refused.value.next
    assert rows_of(settings) == before
    assert files_of(settings) == {}


@pytest.mark.history_in_postgres("the backup's is there, and is asked for elsewhere")
def test_another_place_for_the_history_is_refused_before_anything_is_written(
    source: Source, empty: Empty, tmp_path: Path
) -> None:
    settings = empty()
    elsewhere = {"history": f"file://{tmp_path}/histories", "engine": "duckdb"}
    with pytest.raises(InvalidSettings, match="in PostgreSQL, and STREAMFLOW_HISTORY=file"):
        restore(settings.model_copy(update=elsewhere), source.file)
    assert not files_of(settings)
    assert not restore(settings, source.file).before


def test_another_file_in_the_place_of_an_artifact_is_refused(source: Source, empty: Empty) -> None:
    settings = empty()
    name = min(source.files)
    there = settings.home / "mlflow" / name
    there.parent.mkdir(parents=True)
    there.write_text("somebody else's")
    with pytest.raises(NotEmpty, match=name):
        restore(settings, source.file)
    assert there.read_text() == "somebody else's"
    assert rows_of(settings) == {}


def test_a_flipped_byte_is_named_before_anything_is_changed(
    source: Source, empty: Empty, tmp_path: Path
) -> None:
    settings = empty()
    found = backup_archive.read(source.file)
    whole = source.file.read_bytes()
    for member in found.manifest.members:
        at = found.offsets[member.name] + member.size // 2
        damaged = tmp_path / "damaged"
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(TamperedBackup) as refused:
            restore(settings, damaged)
        assert member.name in refused.value.message
    assert rows_of(settings) == {}
    assert not settings.home.exists()


# Does one step in a process of its own, which imports first, so that an instant hits the step. With
# a place such as "dump run 1" it dies after the first time that this function has ended.
CHILD = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from streamflow.operations import backup, backup_archive as archive
from streamflow.operations import backup_artifacts as artifacts, restore
from streamflow.postgres import client_programs as dump
from streamflow.postgres.database import Database
from streamflow.settings import load_settings
from streamflow.use_case.module import load_use_case

step, file, place = sys.argv[1:]
settings = load_settings()
load_use_case(settings.use_case)
if place:
    module, name, count = place.split()
    whole, left = getattr(globals()[module], name), int(count)

    def dying(*arguments, **named):
        global left
        answer = whole(*arguments, **named)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(globals()[module], name, dying)
print("ready", flush=True)
if step == "backup":
    backup.backup(settings, Path(file), datetime(2024, 3, 1, 8, tzinfo=UTC))
else:
    restore.restore(settings, Path(file))
"""


def environment(settings: Settings) -> dict[str, str]:
    """What a process needs in its environment to work on these settings."""
    passwords = {name: one.get_secret_value() for name, one in settings.role_passwords.items()}
    given = {
        "STREAMFLOW_HOME": str(settings.home),
        "STREAMFLOW_USE_CASE": settings.use_case,
        "STREAMFLOW_ROLE_PASSWORDS": json.dumps(passwords),
        "STREAMFLOW_ENGINE": settings.engine,
        "STREAMFLOW_HISTORY": settings.history,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    for name in ("database_url", "mlflow_database_url"):
        if (secret := getattr(settings, name)) is not None:
            given[f"STREAMFLOW_{name.upper()}"] = secret.get_secret_value()
    others = {name: value for name, value in os.environ.items() if "STREAMFLOW" not in name}
    return {**others, **given}


def test_the_commands_tell_what_they_did(source: Source, empty: Empty, tmp_path: Path) -> None:
    def told(settings: Settings, *arguments: str) -> tuple[int, Answer]:
        done = subprocess.run(
            [sys.executable, "-m", "streamflow", *arguments, "file", "--json"],
            env=environment(settings),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, json.loads(done.stdout)

    code, taken = told(source.settings, "backup")
    manifest = backup_archive.read(tmp_path / "file").manifest
    assert code == 0
    assert taken["file"] == str(tmp_path / "file")
    assert taken["bytes"] == (tmp_path / "file").stat().st_size
    assert [one["sha256"] for one in taken["members"]] == [one.sha256 for one in manifest.members]
    assert datetime.fromisoformat(taken["taken_at"]) == manifest.taken_at
    code, refused = told(source.settings, "backup")
    assert (code, refused["error"]) == (1, "backup_refused")

    settings = empty()
    code, restored = told(settings, "restore")
    assert (code, restored["restored_before"]) == (0, False)
    assert restored["artifacts"] == len(source.files)
    assert_as_the_source(settings, source)


def started(settings: Settings, step: str, file: Path, place: str = "") -> subprocess.Popen[str]:
    """A process that has imported all and does the step now."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, step, str(file), place],
        env=environment(settings),
        cwd=file.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "ready\n", process.communicate()[1]
    return process


def killed_after(process: subprocess.Popen[str], seconds: float) -> int:
    time.sleep(seconds)
    process.kill()
    process.communicate()
    return process.returncode


def seconds_of(settings: Settings, step: str, file: Path) -> float:
    begun = time.monotonic()
    process = started(settings, step, file)
    begun = time.monotonic()
    _, told = process.communicate()
    assert process.returncode == 0, told
    return time.monotonic() - begun


def scripts(file: Path) -> list[list[bytes]]:
    """The dumps as SQL, but for a key that each has drawn for itself."""
    found = backup_archive.read(file)
    programs = client_programs.programs(None)
    return [
        [
            line
            for line in b"".join(client_programs.script(programs, found.content(name))).splitlines()
            if b"restrict" not in line
        ]
        for name in (MLFLOW_DUMP, STREAMFLOW_DUMP)
    ]


def history_members(file: Path) -> list[Member]:
    """Those with a history in Apache Iceberg."""
    members = backup_archive.read(file).manifest.members
    return [one for one in members if one.name.startswith(HISTORY)]


def assert_whole(file: Path, expected: Path) -> None:
    """Nothing but the file is there, and in it is what is in the other one."""
    assert os.listdir(file.parent) == [file.name]
    manifest = backup_archive.read(file).manifest
    assert manifest.artifacts == backup_archive.read(expected).manifest.artifacts
    assert scripts(file) == scripts(expected)
    assert history_members(file) == history_members(expected)


def again(settings: Settings, file: Path) -> None:
    """The same command: what it has done already, it doesn't do twice."""
    if not file.exists():
        backup(settings, file, NOW)
        return
    with pytest.raises(BackupRefused, match="is there already"):
        backup(settings, file, NOW)


@pytest.fixture(scope="module")
def undisturbed(
    source: Source, new_database: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, float]:
    """The seconds that each step takes without a kill."""
    folder = tmp_path_factory.mktemp("undisturbed")
    target = at(source.settings, folder / "home", new_database())
    return {
        "backup": seconds_of(source.settings, "backup", folder / "file"),
        "restore": seconds_of(target, "restore", source.file),
    }


@pytest.mark.parametrize("number", range(KILLS))
def test_a_backup_killed_at_any_instant_is_taken_by_the_same_command(
    number: int, source: Source, undisturbed: dict[str, float], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    share = random.Random(f"backup {number}").random()
    killed_after(started(source.settings, "backup", file), share * undisturbed["backup"])
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "file.partial"}
    again(source.settings, file)
    assert_whole(file, source.file)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["dump dump 1", "archive write 1", "artifacts sync 1"])
def test_a_backup_killed_between_two_writes_is_taken_by_the_same_command(
    place: str, source: Source, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    process = started(source.settings, "backup", file, place)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    again(source.settings, file)
    assert_whole(file, source.file)


@pytest.mark.parametrize("number", range(KILLS))
def test_a_restore_killed_at_any_instant_is_finished_by_the_same_command(
    number: int, source: Source, empty: Empty, undisturbed: dict[str, float]
) -> None:
    settings = empty()
    share = random.Random(f"restore {number}").random()
    killed_after(started(settings, "restore", source.file), share * undisturbed["restore"])
    restore(settings, source.file)
    assert_as_the_source(settings, source)
    assert predicted(settings) == source.answer


# In the midst of the artifacts, before the database, in the midst of its script, and after it.
@pytest.mark.slow
@pytest.mark.parametrize(
    "place", ["os fsync 3", "artifacts put 1", "Database render 4", "dump run 1"]
)
def test_a_restore_killed_between_two_writes_is_finished_by_the_same_command(
    place: str, source: Source, empty: Empty
) -> None:
    settings = empty()
    process = started(settings, "restore", source.file, place)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = restore(settings, source.file)
    assert done.before == (place == "dump run 1")
    assert_as_the_source(settings, source)


def test_of_two_restores_at_once_one_finds_the_others(source: Source, empty: Empty) -> None:
    settings = empty()
    both = [started(settings, "restore", source.file) for _ in range(2)]
    for process in both:
        _, told = process.communicate()
        assert process.returncode == 0, told
    assert_as_the_source(settings, source)


@pytest.fixture(scope="module")
def embedded_home(source: Source, homes: Path) -> Settings:
    """The backup restored into a home with an embedded PostgreSQL of its own."""
    settings = at(source.settings, homes / "of a backup", None)
    restore(settings, source.file)
    backup(settings, settings.home / "undisturbed", NOW)
    return settings


def test_an_embedded_home_answers_the_same(embedded_home: Settings, source: Source) -> None:
    assert predicted(embedded_home) == source.answer
    with embedded_server.running(embedded_home.home) as url:
        given = embedded_home.model_copy(update={"database_url": SecretStr(url)})
        assert_as_the_source(given, source)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("step", ["backup", "restore"])
def test_with_postgresql_killed_the_same_command_is_undisturbed_afterwards(
    step: str,
    number: int,
    source: Source,
    embedded_home: Settings,
    undisturbed: dict[str, float],
    homes: Path,
    tmp_path: Path,
) -> None:
    settings, file = embedded_home, tmp_path / "file"
    if step == "restore":
        settings = at(settings, homes / f"restored {number}", None)
        file = source.file
    share = random.Random(f"postgresql {step} {number}").random()
    with embedded_server.running(settings.home):
        process = started(settings, step, file)
        time.sleep(share * undisturbed[step])
        server = embedded_server.server_pid(settings.home)
        assert server is not None
        os.kill(server, signal.SIGKILL)
        _, told = process.communicate(timeout=120)
    if process.returncode:
        raised = re.findall(r"^([\w.]+): ", told, re.MULTILINE)
        assert raised[-1] == "streamflow.errors.DatabaseUnavailable", told
    if step == "backup":
        assert file.exists() == (process.returncode == 0)
        again(settings, file)
        assert_whole(file, settings.home / "undisturbed")
    else:
        restore(settings, file)
        assert predicted(settings) == source.answer


@pytest.fixture(scope="module")
def stack(
    source: Source, homes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """As in the stack: roles, and MLflow's tables in a database of their own; nothing is there."""
    with embedded_server.running(homes / "as in the stack") as url:
        settings = at(source.settings, tmp_path_factory.mktemp("stack") / "state", url)
        yield settings.model_copy(
            update={
                "mlflow_database_url": SecretStr(make_conninfo(url, dbname="mlflow")),
                "role_passwords": PASSWORDS,
            }
        )


@pytest.mark.slow
def test_a_backup_is_restored_onto_a_stack_and_back_with_a_kill_between_its_databases(
    source: Source, stack: Settings, empty: Empty, tmp_path: Path
) -> None:
    process = started(stack, "restore", source.file, "dump run 1")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not restore(stack, source.file).before
    assert stack.mlflow_database_url is not None
    theirs = stack.mlflow_database_url.get_secret_value()

    # Every row is where the stack has it, and names artifacts as MLflow's server does.
    own = [name for name in SCHEMAS if name != "mlflow"]
    expected = {name: rows for name, rows in source.rows.items() if not name.startswith("mlflow.")}
    assert rows_of(stack, own, "no such place") == expected
    assert files_of(stack) == {f"1/{name}": digest for name, digest in source.files.items()}
    with psycopg.connect(theirs) as connection:
        for column in ("artifact_uri FROM runs", "storage_location FROM model_versions"):
            found = connection.execute(f"SELECT {column}").fetchall()  # type: ignore[call-overload]
            assert found
            for (location,) in found:
                scheme, _, path = location.partition("/")
                assert scheme == "mlflow-artifacts:"
                assert path.startswith("1/"), "MLflow's server looks there for the experiment"
                assert (stack.home / "mlflow" / path).is_dir()
        owners = connection.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        assert owners == [("streamflow_mlflow",)]

    # Each role may do its work, and nobody ends days of the prediction log but the pipeline.
    for role in ("pipeline", "api", "feast", "reader"):
        password = PASSWORDS[role].get_secret_value()
        url = make_conninfo(url_of(stack), user=f"streamflow_{role}", password=password)
        with Database(url) as database:
            assert database.row("may_drop_predictions")["may"] == (role == "pipeline")
            assert database.rows("migrations")
        with pytest.raises(NotPermitted):  # or a backup would lack what that role doesn't see
            backup(stack.model_copy(update={"database_url": SecretStr(url)}), tmp_path / role, NOW)

    # And back again, where there is one database; and onto a stack as that had it.
    settings = empty()
    backup(stack, tmp_path / "of the stack", NOW)
    restore(settings, tmp_path / "of the stack")
    assert files_of(settings) == files_of(stack)
    moved = {
        name: [row.replace("ARTIFACTS/1", "ARTIFACTS") for row in rows]
        for name, rows in rows_of(settings).items()
    }
    assert moved == source.rows
    assert predicted(settings) == source.answer
    backup(settings, tmp_path / "of that", NOW)
    assert backup_archive.read(tmp_path / "of that").manifest.experiment is None
