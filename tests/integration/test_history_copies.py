"""The copy of history in Parquet: what is in it, whatever happens to it or beside it."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.changing_case import ENTITIES, LABEL, OUTCOMES
from tests.columnar_history import (
    FEBRUARY,
    JANUARY,
    TABLES,
    Ingestion,
    append,
    new_case,
    opened,
    stored,
    write,
)
from tests.statements import execute

from streamflow.errors import FeatureStoreUnavailable
from streamflow.history.as_of import event_timestamp
from streamflow.history.parquet.history_files import HistoryFiles, history_files, parquet_folder
from streamflow.postgres.database import Database
from streamflow.use_case import Table, UseCase

pytestmark = pytest.mark.history_in_postgres("a history in PostgreSQL is copied to Parquet")

FIRST, SECOND = event_timestamp(JANUARY), event_timestamp(FEBRUARY)
VALUES = {"age": 1, "kind": "x"}


@pytest.fixture(scope="module")
def database(new_database: Callable[..., str], prepared_database: str) -> Iterator[Database]:
    with Database(new_database(prepared_database)) as made:
        yield made


@pytest.mark.parametrize(
    ("folder", "neighbour"),
    [
        ("item_id=zz", "other"),
        ("as_of=2020-01-01", "other"),
        ("a*b", "axb"),
        ("c[de]", "cd"),
        ("q?", "qz"),
        ("it's", "other"),
    ],
)
def test_the_name_of_the_home_changes_no_row(
    database: Database, tmp_path: Path, folder: str, neighbour: str
) -> None:
    """Nor is what lies in a folder read that the name would be a pattern of."""
    case_of_this = new_case("folder")
    write(database, case_of_this, [Ingestion(JANUARY, FIRST, {ENTITIES: {"a": VALUES}})])
    history_files(database, case_of_this.name, tmp_path / neighbour)
    with opened(database, case_of_this, tmp_path / folder) as session:
        for table in TABLES:
            assert stored(session, case_of_this, table) == stored(database, case_of_this, table)


class Interrupted(Database):
    """A database in which something happens when the files of history were asked for twice."""

    def __init__(self, address: Any, happens: Callable[[], None]) -> None:
        super().__init__(address)
        self._happens, self._asked = happens, 0

    def rows(self, name: str, *parts: Any, **values: object) -> list[Any]:
        found = super().rows(name, *parts, **values)
        if name == "parquet_files":
            self._asked += 1
            if self._asked == 2:
                self._happens()
        return found


def test_a_file_that_another_process_has_just_written_stays(
    database: Database, tmp_path: Path
) -> None:
    """Files that aren't needed any more are removed, but by one that knows less only older ones."""
    case_of_this, table = new_case("race"), Table.history_of(ENTITIES)
    write(database, case_of_this, [Ingestion(JANUARY, FIRST, {ENTITIES: {"a": VALUES}})])
    others: list[HistoryFiles] = []

    def another() -> None:
        later = Ingestion(FEBRUARY, SECOND, {ENTITIES: {"b": VALUES}})
        append(database, case_of_this, later)
        others.append(history_files(database, case_of_this.name, tmp_path))

    with Interrupted(database.address, another) as interrupted:
        known = history_files(interrupted, case_of_this.name, tmp_path)
    assert len(known.tables[table].files) == 1
    files = others[0].tables[table].files
    assert [pq.read_metadata(file).num_rows for file in files] == [1, 1]

    # A file that nobody needs any more goes.
    needless = parquet_folder(tmp_path) / case_of_this.name / table / "0-0.parquet"
    needless.write_bytes(b"")
    assert history_files(database, case_of_this.name, tmp_path) == others[0]
    assert not needless.exists()


def test_rows_that_were_changed_by_plain_sql_are_read_as_they_are(
    database: Database, tmp_path: Path
) -> None:
    case_of_this = new_case("plain")
    rows = {ENTITIES: {"a": VALUES, "b": VALUES}, OUTCOMES: {"a": {LABEL: True}}}
    write(database, case_of_this, [Ingestion(JANUARY, FIRST, rows)])
    items, outcomes = (f"{case_of_this.name}.{name}_history" for name in (ENTITIES, OUTCOMES))
    copied = f"INSERT INTO {items} (item_id, as_of, recorded_at, ingestion_id, age, kind) SELECT"
    statements = [
        f"UPDATE {items} SET age = 2 WHERE item_id = 'a'",
        f"DELETE FROM {items} WHERE item_id = 'b'",
        f"{copied} 'c', as_of, recorded_at, ingestion_id, 3, kind FROM {items}",
        f"{copied} 'd', as_of, recorded_at, 999999, 4, kind FROM {items} LIMIT 1",
        f"UPDATE {items} SET age = 5 WHERE ingestion_id = 999999",
        f"TRUNCATE {items}",
    ]
    with opened(database, case_of_this, tmp_path) as session:
        before = history_files(database, case_of_this.name, tmp_path).tables
        for statement in statements:
            execute(database, statement)
            session.refresh(case_of_this.name)
            for table in TABLES:
                assert stored(session, case_of_this, table) == stored(database, case_of_this, table)
        after = history_files(database, case_of_this.name, tmp_path).tables
    name = outcomes.partition(".")[2]
    assert after[name] == before[name] != after[items.partition(".")[2]]


# Copies the history of a use case; is killed in the middle of the file whose number is given.
COPIES = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from streamflow.history.parquet.history_files import history_files
from streamflow.postgres.database import Database
url, use_case, home, kill = sys.argv[1:]
files, write_batch = [], pq.ParquetWriter.write_batch
def writing(self, *arguments, **named):
    write_batch(self, *arguments, **named)
    files.append(self)
    if len(files) == int(kill):
        os.kill(os.getpid(), signal.SIGKILL)
pq.ParquetWriter.write_batch = writing
with Database(url) as database:
    history_files(database, use_case, Path(home))
"""


def copying(
    database: Database, case: UseCase, home: Path, kill: int = 0
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", COPIES, database.url, case.name, str(home), str(kill)]
    return subprocess.Popen(command)


def some_rows(case: UseCase) -> list[Ingestion]:
    rows = {ENTITIES: {f"i{number}": VALUES for number in range(50)}}
    return [Ingestion(JANUARY, FIRST, rows), Ingestion(FEBRUARY, SECOND, rows)]


@pytest.mark.slow
def test_a_copy_that_was_killed_leaves_no_file_that_is_read_and_goes_on(
    database: Database, tmp_path: Path
) -> None:
    case = new_case("killed")
    write(database, case, some_rows(case))
    assert copying(database, case, tmp_path, kill=2).wait() == -signal.SIGKILL
    folder = parquet_folder(tmp_path)
    (whole,) = folder.rglob("*.parquet")
    assert pq.read_metadata(whole).num_rows == 50
    assert len([*folder.rglob("*.partial")]) == 1
    with opened(database, case, tmp_path) as session:
        for table in TABLES:
            assert stored(session, case, table) == stored(database, case, table)
    assert not [*folder.rglob("*.partial")]
    # The file that was whole isn't written again.
    assert whole.exists()


@pytest.mark.slow
def test_processes_that_copy_at_the_same_time_disturb_nobody(
    database: Database, tmp_path: Path
) -> None:
    case = new_case("two")
    write(database, case, some_rows(case))
    with opened(database, case, tmp_path) as session:
        others = [copying(database, case, tmp_path) for _ in range(2)]
        assert [other.wait() for other in others] == [0, 0]
        for table in TABLES:
            assert stored(session, case, table) == stored(database, case, table)


def test_where_there_is_no_room_nothing_is_seen_and_it_is_said_what_to_do(
    database: Database, tmp_path: Path
) -> None:
    case = new_case("room")
    write(database, case, some_rows(case))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(FeatureStoreUnavailable) as raised:
            history_files(database, case.name, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "can't be copied" in raised.value.message
    assert "STREAMFLOW_ENGINE=postgres" in raised.value.next
    assert [path for path in parquet_folder(tmp_path).rglob("*") if path.is_file()] == []
    # With room again, the same command does it.
    with opened(database, case, tmp_path) as session:
        assert stored(session, case, TABLES[0]) == stored(database, case, TABLES[0])


def test_two_databases_may_have_one_home(
    database: Database,
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path: Path,
) -> None:
    case = new_case("both")
    with Database(new_database(prepared_database)) as other:
        for one, kind, moment in ((database, "x", FIRST), (other, "y", SECOND)):
            rows = {ENTITIES: {"a": {"age": 1, "kind": kind}}}
            write(one, case, [Ingestion(JANUARY, moment, rows)])
        for one in (database, other, database):
            with opened(one, case, tmp_path) as session:
                assert stored(session, case, TABLES[0]) == stored(one, case, TABLES[0])
