"""A month of history in PostgreSQL is a partition: a new one, a late one, and those of before."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pandera.pandas import Column, DataFrameSchema
from psycopg import sql
from tests.statements import execute
from tests.tiny_case import use_case

from streamflow.errors import ContractViolation
from streamflow.history.history_changes import follow_contract
from streamflow.history.ingest import ingest
from streamflow.platform import Platform
from streamflow.postgres import migrations
from streamflow.postgres.database import Database
from streamflow.use_case import Generation, Table

pytestmark = pytest.mark.history_in_postgres("partitions of PostgreSQL")

MACHINES = 30
JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
RECORDED = datetime(2024, 4, 2, 6, tzinfo=UTC)
CORRECTED = datetime(2024, 4, 9, 6, tzinfo=UTC)
NOW = datetime(2024, 4, 15, 12, tzinfo=UTC)
BEFORE = migrations.migrations()[:26]


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("months")
    use_case.generate(Generation(folder, MACHINES, months=3, seed=1))  # type: ignore[misc]
    return folder


@pytest.fixture
def database(ready: Platform) -> Database:
    return ready.database


@pytest.fixture
def database_of_before(new_database: Callable[..., str]) -> Iterator[Database]:
    """With January in tables that aren't partitioned, as the release before left them."""
    with Database(new_database()) as opened:
        migrations.apply(opened, BEFORE)
        for table in use_case.tables():
            with opened.transaction():
                follow_contract(opened, use_case, table)
        execute(
            opened,
            "INSERT INTO failures.machines_history "
            "(machine_id, as_of, recorded_at, ingestion_id, kind, age_weeks) "
            "SELECT 'old-' || one, %s, %s, 7, 'mill', one FROM generate_series(1, 5) AS one",
            [JANUARY, RECORDED],
        )
        yield opened


def load(
    database: Database, folder: Path, as_of: date, recorded_at: datetime = RECORDED, **other: Any
) -> None:
    reports = folder.parent / "reports"
    ingest(database, use_case, folder, as_of, recorded_at, NOW, "ada", reports, **other)


def partitions(database: Database, table: str = "machines") -> dict[str, int]:
    """How many rows each partition of a table's history has."""
    found = execute(
        database,
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
        "WHERE inhparent = to_regclass(%s) ORDER BY relname",
        [f"failures.{table}_history"],
    ).fetchall()
    return {row["relname"]: rows_of(database, row["relname"]) for row in found}


def rows_of(database: Database, table: str) -> int:
    query = sql.SQL("SELECT count(*) AS rows FROM {}").format(sql.Identifier("failures", table))
    row = execute(database, query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row["rows"])


def correct(folder: Path, copy: Path) -> Path:
    """The month with another age of each machine."""
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    machines = copy / "machines.csv"
    header, *lines = machines.read_text().splitlines()
    machines.write_text("\n".join([header, *(f"{line}0" for line in lines)]) + "\n")
    return copy


def test_each_month_is_a_partition_with_a_key_and_a_correction_goes_to_its_own(
    database: Database, months: Path, tmp_path: Path
) -> None:
    load(database, months / "month_000", JANUARY)
    load(database, months / "month_001", FEBRUARY)
    assert partitions(database) == {
        "machines_history_20240131": MACHINES,
        "machines_history_20240229": MACHINES,
    }

    load(database, correct(months / "month_000", tmp_path / "corrected"), JANUARY, CORRECTED)

    assert partitions(database) == {
        "machines_history_20240131": 2 * MACHINES,
        "machines_history_20240229": MACHINES,
    }
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(
            database,
            "INSERT INTO failures.machines_history (machine_id, as_of, recorded_at, ingestion_id) "
            "SELECT machine_id, as_of, recorded_at, 9 FROM failures.machines_history LIMIT 1",
        )


def test_a_partition_has_the_columns_of_history_and_nothing_of_the_file(
    database: Database, months: Path
) -> None:
    load(database, months / "month_000", JANUARY)
    of_history, of_month = (
        {
            (row["column_name"], row["data_type"], row["is_nullable"], row["column_default"])
            for row in execute(
                database,
                "SELECT * FROM information_schema.columns "
                "WHERE table_schema = 'failures' AND table_name = %s",
                [name],
            )
        }
        for name in ("machines_history", "machines_history_20240131")
    )
    assert of_month == of_history


@pytest.mark.parametrize(
    "condition",
    ["as_of = '2024-02-29'", "event_timestamp = '2024-02-29 23:59:59.999999+00'::timestamptz"],
)
def test_a_query_of_a_month_reads_its_partition_alone(
    database: Database, months: Path, condition: str
) -> None:
    load(database, months / "month_000", JANUARY)
    load(database, months / "month_001", FEBRUARY)
    plan = "\n".join(
        row["QUERY PLAN"]
        for row in execute(
            database,
            f"EXPLAIN SELECT * FROM failures.machines_history WHERE {condition}",  # type: ignore[arg-type]
        )
    )
    assert "machines_history_20240229" in plan
    assert "machines_history_20240131" not in plan


def test_a_month_that_is_refused_leaves_no_table(
    database: Database, months: Path, tmp_path: Path
) -> None:
    folder = correct(months / "month_000", tmp_path / "twice")
    with (folder / "readings.csv").open("a") as file:
        file.write("m-0003,50,0,\n")
    with pytest.raises(ContractViolation, match="a key is there once"):
        load(database, folder, JANUARY)
    assert partitions(database, "machines") == {}
    left = execute(
        database, "SELECT relname FROM pg_class WHERE relname LIKE '%\\_20240131'"
    ).fetchall()
    assert left == []
    load(database, months / "month_000", JANUARY)
    assert partitions(database, "readings") == {"readings_history_20240131": MACHINES}


@pytest.mark.parametrize("table", ["machines", "readings"])
def test_a_key_that_no_index_takes_is_told_as_the_others_are(
    database: Database, months: Path, tmp_path: Path, table: str
) -> None:
    folder = correct(months / "month_000", tmp_path / "long")
    numbers = random.Random(1)  # what repeats would be compressed
    key = "".join(numbers.choice("0123456789abcdef") for _ in range(9_000))
    with (folder / f"{table}.csv").open("a") as file:
        file.write({"machines": f"{key},mill,1\n", "readings": f"{key},50,0,\n"}[table])
    with pytest.raises(ContractViolation, match=rf"{table}\.csv, line 32, column 'machine_id'"):
        load(database, folder, JANUARY)


def test_rows_that_are_written_past_our_commands_are_noticed_in_a_partition_too(
    database: Database, months: Path
) -> None:
    load(database, months / "month_000", JANUARY)
    assert execute(database, "TABLE streamflow.rewritten_history").fetchall() == []
    execute(database, "UPDATE failures.machines_history_20240131 SET age_weeks = 1")
    noticed = execute(database, "TABLE streamflow.rewritten_history").fetchone()
    assert noticed is not None
    assert (noticed["use_case"], noticed["history"]) == ("failures", "machines_history")


def test_long_names_that_begin_alike_have_partitions_of_their_own(
    database: Database, months: Path, tmp_path: Path
) -> None:
    names = [f"{'of_a_long_name' * 3}_of_machine_{number}" for number in (1, 2)]
    contract = DataFrameSchema({"machine_id": Column("string")})
    longer = (*use_case.tables(), *(Table(name, contract) for name in names))
    folder = correct(months / "month_000", tmp_path / "longer")
    for name in names:
        (folder / f"{name}.csv").write_text("machine_id\nm-0003\n")
    case = replace(use_case, tables=lambda: longer)
    ingest(database, case, folder, JANUARY, RECORDED, NOW, "ada", tmp_path / "reports")
    found = [partitions(database, name) for name in names]
    assert [[*one.values()] for one in found] == [[1], [1]]
    assert found[0] != found[1]


def test_months_of_before_stay_as_they_are_and_later_ones_are_partitions(
    database_of_before: Database, months: Path
) -> None:
    execute(database_of_before, "GRANT SELECT, INSERT ON failures.machines_history TO pg_monitor")
    known = "SELECT * FROM failures.machines_history ORDER BY machine_id, as_of"
    before = execute(database_of_before, known).fetchall()  # type: ignore[arg-type]

    migrations.migrate(database_of_before)

    assert execute(database_of_before, known).fetchall() == before  # type: ignore[arg-type]
    assert partitions(database_of_before) == {"machines_history_before": 5}
    assert partitions(database_of_before, "readings") == {}  # it had no row
    granted = execute(
        database_of_before,
        "SELECT privilege_type FROM information_schema.role_table_grants "
        "WHERE table_name = 'machines_history' AND grantee = 'pg_monitor' ORDER BY 1",
    ).fetchall()
    assert [row["privilege_type"] for row in granted] == ["INSERT", "SELECT"]

    # A month of those times goes where they are.
    load(database_of_before, months / "month_000", date(2023, 12, 31))
    load(database_of_before, months / "month_001", FEBRUARY)
    assert partitions(database_of_before) == {
        "machines_history_20240229": MACHINES,
        "machines_history_before": 5 + MACHINES,
    }
    assert partitions(database_of_before, "readings") == {
        "readings_history_20231231": MACHINES,
        "readings_history_20240229": MACHINES,
    }
    load(database_of_before, months / "month_002", MARCH)
    counted = execute(
        database_of_before,
        "SELECT as_of, count(*) AS rows FROM failures.machines_history GROUP BY 1 ORDER BY 1",
    ).fetchall()
    assert [(row["as_of"], row["rows"]) for row in counted] == [
        (date(2023, 12, 31), MACHINES),
        (JANUARY, 5),
        (FEBRUARY, MACHINES),
        (MARCH, MACHINES),
    ]
