"""History on a real PostgreSQL: only added to, whole or not at all, and known by when."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.statements import execute

from churn import use_case
from churn.generator import generate
from streamflow.errors import (
    AsOfRefused,
    ContractViolation,
    InvalidSettings,
    MissingFiles,
    RecordedAtRefused,
    StreamFlowError,
)
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.ingest import IngestedMonth, ingest
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.use_case import Generation, Table, UseCase

USERS = 40
JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
DELIVERED = datetime(2024, 3, 2, 6, tzinfo=UTC)
CORRECTED = datetime(2024, 3, 9, 6, tzinfo=UTC)
NOW = datetime(2024, 3, 15, 12, tzinfo=UTC)
TABLES = [table.name for table in use_case.tables()]

Row = dict[str, str]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    generate(Generation(folder, users=USERS, months=2, seed=3))
    return folder


@pytest.fixture
def month(generated: Path, tmp_path: Path) -> Path:
    """January's files, free to be changed."""
    return shutil.copytree(generated / "month_000", tmp_path / "january")


@pytest.fixture(params=["postgres", pytest.param("iceberg", marks=pytest.mark.slow)])
def database(ready: Platform, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """Each kind of history."""
    if request.param == "postgres":
        yield ready.database
        return
    if isinstance(ready.database, IcebergSession):
        pytest.skip("history is in Apache Iceberg: the other one has it")
    location = f"file://{tmp_path}/history of it"
    session = IcebergSession(ready.database, location, "1GB", tmp_path / "spill")
    yield session
    session.close()


def load(
    database: Database,
    folder: Path,
    recorded_at: datetime = DELIVERED,
    as_of: date = JANUARY,
    now: datetime = NOW,
    use_case: UseCase = use_case,
    who: str = "ada",
) -> IngestedMonth:
    reports = folder.parent / "reports"
    return ingest(database, use_case, folder, as_of, recorded_at, now, who, reports)


def read(folder: Path, table: str) -> list[Row]:
    with (folder / f"{table}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write(folder: Path, table: str, rows: list[Row]) -> None:
    with (folder / f"{table}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def correct(folder: Path, table: str, user: int, **values: str) -> str:
    """Give a user other values; who that is."""
    rows = read(folder, table)
    rows[user].update(values)
    write(folder, table, rows)
    return rows[user]["user_id"]


def remove(folder: Path, user_id: str) -> None:
    for table in TABLES:
        write(folder, table, [row for row in read(folder, table) if row["user_id"] != user_id])


def stored(database: Database, table: str) -> list[dict[str, Any]]:
    """Every row of history, and where it lies on disk: rewriting it would show."""
    if isinstance(database, IcebergSession):
        database.refresh("churn")
        text = f"SELECT * FROM churn.{table}_history ORDER BY user_id, as_of, recorded_at"
        return [row for batch in database.batches(text) for row in batch.to_pylist()]
    history = sql.Identifier("churn", f"{table}_history")
    query = sql.SQL("SELECT ctid::text, xmin::text, * FROM {} ORDER BY user_id, as_of, recorded_at")
    return execute(database, query.format(history)).fetchall()


def everything(database: Database) -> dict[str, Any]:
    found: dict[str, Any] = {table: stored(database, table) for table in TABLES}
    found["ingestions"] = ingestions(database)
    return found


def ingestions(database: Database) -> list[dict[str, Any]]:
    query = "SELECT * FROM streamflow.ingestions ORDER BY ingestion_id"
    return execute(database, query).fetchall()


def added(ingestion: IngestedMonth) -> dict[str, int]:
    return {name: table.added for name, table in ingestion.tables.items() if table.added}


def test_a_first_load_adds_every_row_as_the_file_has_it(database: Database, month: Path) -> None:
    done = load(database, month)

    assert list(done.tables) == TABLES
    for name, table in done.tables.items():
        assert (table.rows, table.added, table.unchanged, table.only_in_history) == (
            USERS,
            USERS,
            0,
            0,
        )
        rows = stored(database, name)
        assert [row["user_id"] for row in rows] == sorted(r["user_id"] for r in read(month, name))
        assert {(row["as_of"], row["recorded_at"]) for row in rows} == {(JANUARY, DELIVERED)}
        assert {row["event_timestamp"] for row in rows} == {
            datetime(2024, 1, 31, 23, 59, 59, 999999, UTC)
        }
    subscriptions = {row["user_id"]: row for row in stored(database, "subscriptions")}
    for line in read(month, "subscriptions"):
        row = subscriptions[line["user_id"]]
        assert row["monthly_fee"] == float(line["monthly_fee"])
        assert row["months_active"] == int(line["months_active"])
        assert row["net_service"] == line["net_service"]
        assert (
            row["plan_stream_tv"]
            == {"": None, "True": True, "False": False}[line["plan_stream_tv"]]
        )


def test_the_same_files_again_add_nothing_and_say_so(
    cli: Callable[..., Any], ready: Platform, month: Path
) -> None:
    command = ("ingest", str(month), "--as-of", "2024-01-31")
    first = cli(*command, "--json")
    assert first.returncode == 0, first.stdout + first.stderr
    before = stored(ready.database, "users")
    again, told = cli(*command, "--json"), cli(*command)

    counts = json.loads(again.stdout)["users"]
    assert (counts["rows"], counts["added"], counts["unchanged"]) == (USERS, 0, USERS)
    assert "Nothing is new" not in first.stdout
    assert "Nothing is new" in told.stdout
    assert stored(ready.database, "users") == before


def test_the_same_rows_in_another_order_or_format_add_nothing(
    database: Database, month: Path, tmp_path: Path
) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    load(database, month)
    before = everything(database)
    shuffled = shutil.copytree(month, tmp_path / "shuffled")
    for table in TABLES:
        rows = read(shuffled, table)
        random.Random(1).shuffle(rows)
        write(shuffled, table, [dict(reversed(row.items())) for row in rows])
    as_parquet = tmp_path / "parquet"
    as_parquet.mkdir()
    for table in TABLES:
        content = pyarrow.csv.read_csv(month / f"{table}.csv")
        pyarrow.parquet.write_table(content, as_parquet / f"{table}.parquet")

    assert added(load(database, shuffled, CORRECTED)) == {}
    assert added(load(database, as_parquet, CORRECTED)) == {}
    after = everything(database)
    assert {table: after[table] for table in TABLES} == {table: before[table] for table in TABLES}


def test_a_corrected_month_adds_only_changed_rows_and_leaves_the_old_as_they_were(
    database: Database, month: Path
) -> None:
    load(database, month)
    before = everything(database)
    anna = correct(month, "subscriptions", 3, monthly_fee="99.5")
    correct(month, "labels", 5, churn_label="True")
    correct(month, "labels", 6, churn_label="False")
    flipped = sum(
        old["churn_label"] != (new["churn_label"] == "True")
        for old, new in zip(
            before["labels"],
            sorted(read(month, "labels"), key=lambda row: row["user_id"]),
            strict=True,
        )
    )
    assert flipped, "the seed should leave something to correct"

    done = load(database, month, CORRECTED)

    assert added(done) == {"subscriptions": 1, "labels": flipped}
    assert done.tables["subscriptions"].unchanged == USERS - 1
    after = everything(database)
    for table in TABLES:
        old = [row for row in after[table] if row["recorded_at"] == DELIVERED]
        assert old == before[table]
    (new,) = [row for row in after["subscriptions"] if row["recorded_at"] == CORRECTED]
    assert (new["user_id"], new["monthly_fee"], new["as_of"]) == (anna, 99.5, JANUARY)


def test_a_value_that_goes_to_null_and_back_is_a_change_each_time(
    database: Database, month: Path
) -> None:
    rows = read(month, "subscriptions")
    user = next(number for number, row in enumerate(rows) if row["plan_stream_tv"] == "True")
    load(database, month)
    values = ["", "False", "", "True"]
    for day, value in enumerate(values):
        user_id = correct(month, "subscriptions", user, plan_stream_tv=value)
        done = load(database, month, CORRECTED + timedelta(days=day))
        assert added(done) == {"subscriptions": 1}

    told = [
        row["plan_stream_tv"]
        for row in stored(database, "subscriptions")
        if row["user_id"] == user_id
    ]
    assert told == [True, None, False, None, True]


def test_whatever_is_corrected_each_past_knowledge_stays_as_it_was(
    database: Database, month: Path
) -> None:
    """What was known at each moment, after any number of corrections, is that moment's file."""
    chance = random.Random(7)
    known: dict[datetime, dict[str, float]] = {}
    file: dict[str, float] = {}
    for day in range(6):
        for user in chance.sample(range(USERS), 8):
            fee = chance.choice(["10", "20", "30"])
            correct(month, "subscriptions", user, monthly_fee=fee)
        moment = DELIVERED + timedelta(days=day)
        load(database, month, moment)
        file = {row["user_id"]: float(row["monthly_fee"]) for row in read(month, "subscriptions")}
        known[moment] = file

    rows = stored(database, "subscriptions")
    for moment, expected in known.items():
        # In order of recorded_at, so that the last one known then is the one that stays.
        then = {row["user_id"]: row["monthly_fee"] for row in rows if row["recorded_at"] <= moment}
        assert then == expected
    assert len(rows) < USERS * len(known)


def test_entities_that_a_later_file_lacks_stay_and_are_counted(
    database: Database, month: Path
) -> None:
    load(database, month)
    before = everything(database)
    gone = read(month, "users")[4]["user_id"]
    remove(month, gone)

    done = load(database, month, CORRECTED)

    assert added(done) == {}
    assert {table.only_in_history for table in done.tables.values()} == {1}
    assert {table.unchanged for table in done.tables.values()} == {USERS - 1}
    assert [stored(database, table) for table in TABLES] == [before[table] for table in TABLES]


def test_another_month_leaves_the_first_as_it_was(
    database: Database, month: Path, generated: Path
) -> None:
    load(database, month)
    before = everything(database)
    done = load(database, generated / "month_001", CORRECTED, FEBRUARY)

    assert {table.added for table in done.tables.values()} == {USERS}
    assert {table.only_in_history for table in done.tables.values()} == {0}
    for table in TABLES:
        rows = stored(database, table)
        assert [row for row in rows if row["as_of"] == JANUARY] == before[table]


@pytest.mark.history_in_postgres("a plan of PostgreSQL")
def test_the_planner_knows_each_month_as_soon_as_it_is_ingested(
    ready: Platform, generated: Path
) -> None:
    # Of a month that it doesn't know it expects one row, and reads others again for each of them.
    load(ready.database, generated / "month_000")
    load(ready.database, generated / "month_001", as_of=FEBRUARY)

    for table in TABLES:
        known = execute(
            ready.database,
            "SELECT unnest(most_common_vals::text::date[]) AS as_of FROM pg_stats"
            " WHERE schemaname = 'churn' AND tablename = %s AND attname = 'as_of'",
            [f"{table}_history"],
        )
        assert {row["as_of"] for row in known.fetchall()} == {JANUARY, FEBRUARY}


def test_a_violation_in_the_last_table_leaves_nothing_at_all(
    database: Database, month: Path
) -> None:
    correct(month, TABLES[-1], USERS - 1, churn_label="perhaps")
    with pytest.raises(ContractViolation, match="perhaps"):
        load(database, month)

    there = execute(database, "SELECT to_regnamespace('churn') AS it").fetchone()
    assert there == {"it": None}
    assert ingestions(database) == []


def test_a_violation_in_a_correction_leaves_history_as_it_was(
    database: Database, month: Path
) -> None:
    load(database, month)
    before = everything(database)
    correct(month, "users", 0, user_gender="Other")
    correct(month, TABLES[-1], 0, churn_label="perhaps")
    with pytest.raises(ContractViolation):
        load(database, month, CORRECTED)
    assert everything(database) == before


def test_a_failure_in_the_last_write_leaves_nothing_at_all(
    database: Database, month: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Database.execute

    def failing(self: Database, name: str, *arguments: Any, **values: Any) -> Any:
        if name == "record_ingestion":
            raise KeyboardInterrupt
        return whole(self, name, *arguments, **values)

    monkeypatch.setattr(Database, "execute", failing)
    with pytest.raises(KeyboardInterrupt):
        load(database, month)
    there = execute(database, "SELECT to_regnamespace('churn') AS it").fetchone()
    assert there == {"it": None}


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        (NOW + timedelta(microseconds=1), "in the future"),
        (DELIVERED, "isn't after that"),
        (DELIVERED - timedelta(days=1), "isn't after that"),
    ],
)
def test_a_change_recorded_in_the_future_or_not_after_the_last_is_refused(
    database: Database, month: Path, moment: datetime, reason: str
) -> None:
    load(database, month)
    before = everything(database)
    correct(month, "users", 0, user_gender="Other")
    correct(month, "subscriptions", 0, monthly_fee="1")
    with pytest.raises(RecordedAtRefused, match=reason):
        load(database, month, moment)
    assert everything(database) == before


def test_an_earlier_time_is_good_for_what_isnt_known_yet(database: Database, month: Path) -> None:
    """An archive may fill a gap; what is recorded already is neither changed nor in the way."""
    late = shutil.copytree(month, month.with_name("late"))
    newcomer = read(month, "users")[0]["user_id"]
    remove(month, newcomer)
    load(database, month)
    done = load(database, late, DELIVERED - timedelta(days=10))
    assert {table.added for table in done.tables.values()} == {1}


def test_a_day_that_hasnt_ended_is_refused(database: Database, month: Path) -> None:
    during = datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC)
    with pytest.raises(AsOfRefused, match="hasn't ended"):
        load(database, month, during, now=during)
    assert ingestions(database) == []
    load(database, month, datetime(2024, 2, 1, tzinfo=UTC), now=datetime(2024, 2, 1, tzinfo=UTC))
    assert len(ingestions(database)) == 1


def test_an_ingestion_is_recorded_with_its_files_and_who_and_when(
    database: Database, month: Path
) -> None:
    load(database, month)
    correct(month, "labels", 0, churn_label="True")
    correct(month, "labels", 1, churn_label="False")
    done = load(database, month, CORRECTED, who="bob")

    first, second = ingestions(database)
    assert (first["ingested_by"], second["ingested_by"]) == ("ada", "bob")
    assert (second["use_case"], second["as_of"]) == ("churn", JANUARY)
    assert (second["recorded_at"], second["ingested_at"]) == (CORRECTED, NOW)
    labels = second["tables"]["labels"]
    assert labels["file"] == "labels.csv"
    assert labels["sha256"] == hashlib.sha256((month / "labels.csv").read_bytes()).hexdigest()
    assert labels["sha256"] != first["tables"]["labels"]["sha256"]
    assert labels["added"] == done.tables["labels"].added
    assert labels["added"] + labels["unchanged"] == labels["rows"] == USERS
    assert set(second["tables"]) == set(TABLES)
    # A row knows by which ingestion it came.
    of_second = [row for row in stored(database, "labels") if row["recorded_at"] == CORRECTED]
    assert {row["ingestion_id"] for row in of_second} <= {second["ingestion_id"]}


@pytest.fixture
def at_the_same_time(
    ready: Platform, database: Database, tmp_path: Path
) -> Iterator[Callable[..., list[Any]]]:
    """Runs functions of a database in threads that all stand before the ingestion's lock."""
    url = ready.database.url
    stored_in = database

    def opened() -> Database:
        if not isinstance(stored_in, IcebergSession):
            return Database(url)
        return IcebergSession(Database(url), stored_in.location, "1GB", tmp_path / "spill")

    with Database(url) as gate:

        def run(*works: Callable[[Database], Any]) -> list[Any]:
            answers: list[Any] = [None] * len(works)

            def do(number: int, work: Callable[[Database], Any]) -> None:
                with opened() as database:
                    try:
                        answers[number] = work(database)
                    except StreamFlowError as error:
                        answers[number] = error

            threads = [
                threading.Thread(target=do, args=(number, work))
                for number, work in enumerate(works)
            ]
            with gate.transaction():
                gate.execute("lock_ingestion", use_case=use_case.name)
                for thread in threads:
                    thread.start()
                until_waiting(url, len(works))
            for thread in threads:
                thread.join(60)
            return answers

        yield run


def until_waiting(url: str, number: int) -> None:
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as connection:
        waiting = (
            "SELECT FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
        )
        while len(connection.execute(waiting).fetchall()) < number:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_two_ingestions_of_a_month_at_the_same_time_end_as_one(
    database: Database, month: Path, at_the_same_time: Callable[..., list[Any]]
) -> None:
    answers = at_the_same_time(
        lambda one: load(one, month, DELIVERED), lambda other: load(other, month, CORRECTED)
    )
    assert sorted(sum(added(done).values()) for done in answers) == [0, USERS * len(TABLES)]
    for table in TABLES:
        assert len(stored(database, table)) == USERS
    assert len(ingestions(database)) == 2


def test_two_corrections_at_the_same_time_leave_one_answer_for_each_moment(
    database: Database, month: Path, at_the_same_time: Callable[..., list[Any]]
) -> None:
    load(database, month)
    one = shutil.copytree(month, month.with_name("one"))
    other = shutil.copytree(month, month.with_name("other"))
    correct(one, "subscriptions", 0, monthly_fee="1")
    user_id = correct(other, "subscriptions", 0, monthly_fee="2")

    answers = at_the_same_time(
        lambda database: load(database, one, CORRECTED),
        lambda database: load(database, other, CORRECTED),
    )

    # Both say that they knew at the same moment; the one that comes second is told.
    refused = [answer for answer in answers if isinstance(answer, RecordedAtRefused)]
    assert len(refused) == 1
    fees = [
        row["monthly_fee"]
        for row in stored(database, "subscriptions")
        if row["user_id"] == user_id and row["recorded_at"] == CORRECTED
    ]
    assert fees in ([1.0], [2.0])


def changed_contract(change: Callable[[Any], Any]) -> UseCase:
    """The use case with another contract of its subscriptions."""

    def tables() -> tuple[Table, ...]:
        return tuple(
            replace(table, contract=change(table.contract))
            if table.name == "subscriptions"
            else table
            for table in use_case.tables()
        )

    return replace(use_case, tables=tables)


def test_a_column_whose_type_changed_in_the_contract_is_refused(
    database: Database, month: Path
) -> None:
    load(database, month)
    before = everything(database)
    changed = changed_contract(
        lambda contract: contract.update_columns({"monthly_fee": {"dtype": "Int64"}})
    )
    with pytest.raises(InvalidSettings) as refused:
        load(database, month, CORRECTED, use_case=changed)
    assert "subscriptions.monthly_fee" in refused.value.message
    assert "double precision" in refused.value.message
    assert "bigint" in refused.value.message
    assert '"monthly_fee_2": Column("Int64")' in refused.value.next
    assert everything(database) == before


def test_a_column_that_the_contract_lost_keeps_what_was_known(
    database: Database, month: Path
) -> None:
    load(database, month)
    before = stored(database, "subscriptions")
    changed = changed_contract(lambda contract: contract.remove_columns(["total_paid"]))
    user_id = correct(month, "subscriptions", 0, monthly_fee="1")
    rows = read(month, "subscriptions")
    for row in rows:
        del row["total_paid"]
    write(month, "subscriptions", rows)

    assert added(load(database, month, CORRECTED, use_case=changed)) == {"subscriptions": 1}

    after = stored(database, "subscriptions")
    assert [row for row in after if row["recorded_at"] == DELIVERED] == before
    (new,) = [row for row in after if row["recorded_at"] == CORRECTED]
    assert (new["user_id"], new["monthly_fee"], new["total_paid"]) == (user_id, 1.0, None)


def test_a_table_may_have_nothing_but_its_key(database: Database, month: Path) -> None:
    others = ["signup_date", "user_gender", "user_is_senior", "has_family", "has_dependents"]

    def tables() -> tuple[Table, ...]:
        return tuple(
            replace(table, contract=table.contract.remove_columns(others))
            if table.name == "users"
            else table
            for table in use_case.tables()
        )

    bare = replace(use_case, tables=tables)
    rows = [{"user_id": row["user_id"]} for row in read(month, "users")]
    write(month, "users", rows[1:])
    remove(month, rows[0]["user_id"])
    whole = shutil.copytree(month, month.parent / "whole")
    assert added(load(database, month, use_case=bare))["users"] == USERS - 1

    write(whole, "users", [*rows[1:], {"user_id": "a new one"}])
    again = load(database, whole, CORRECTED, use_case=bare).tables["users"]
    assert (again.rows, again.added, again.unchanged, again.only_in_history) == (
        USERS,
        1,
        USERS - 1,
        0,
    )
    write(whole, "users", rows[1:])
    third = load(database, whole, NOW, use_case=bare).tables["users"]
    assert (third.added, third.only_in_history) == (0, 1)


def test_null_labels_are_counted_where_the_contract_allows_them(
    database: Database, month: Path
) -> None:
    rows = read(month, "labels")
    write(
        month,
        "labels",
        [{**row, "churn_label": ""} if n < 3 else row for n, row in enumerate(rows)],
    )
    with pytest.raises(ContractViolation, match="churn_label"):
        load(database, month)

    def tables() -> tuple[Table, ...]:
        def nullable(table: Table) -> Table:
            columns = {"churn_label": {"nullable": True}}
            return replace(table, contract=table.contract.update_columns(columns))

        return tuple(nullable(t) if t.name == "labels" else t for t in use_case.tables())

    done = load(database, month, use_case=replace(use_case, tables=tables))
    assert {name: table.null_labels for name, table in done.tables.items()} == {
        **dict.fromkeys(TABLES, 0),
        "labels": 3,
    }


def later_labels() -> UseCase:
    def tables() -> tuple[Table, ...]:
        return tuple(
            replace(table, arrives_later=table.name == "labels") for table in use_case.tables()
        )

    return replace(use_case, tables=tables)


def test_a_table_that_arrives_later_may_be_absent_and_be_added_later(
    database: Database, month: Path
) -> None:
    labels = (month / "labels.csv").read_bytes()
    (month / "labels.csv").unlink()
    first = load(database, month, use_case=later_labels())
    assert "labels" not in first.tables

    (month / "labels.csv").write_bytes(labels)
    second = load(database, month, CORRECTED, use_case=later_labels())

    assert added(second) == {"labels": USERS}
    assert {row["recorded_at"] for row in stored(database, "labels")} == {CORRECTED}
    assert {row["recorded_at"] for row in stored(database, "users")} == {DELIVERED}


def test_a_table_that_doesnt_arrive_later_has_to_be_there(database: Database, month: Path) -> None:
    (month / "labels.csv").unlink()
    with pytest.raises(MissingFiles, match=r"labels\.csv"):
        load(database, month)
    (month / "users.csv").unlink()
    with pytest.raises(MissingFiles, match=r"users\.csv"):
        load(database, month, use_case=later_labels())
    assert ingestions(database) == []
