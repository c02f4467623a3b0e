"""What is asked of history has in DuckDB the answers that it has in PostgreSQL.

`STREAMFLOW_LONG_TESTS` draws hundreds of random histories instead of a few.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql
from tests.changing_case import ENTITIES, ITEMS, KEY, LABEL, OUTCOMES, use_case
from tests.statements import execute

from streamflow.columnar.session import READS_HISTORY, Session
from streamflow.features import entity_sample
from streamflow.history.as_of import event_timestamp
from streamflow.history.history_table import content_columns, create_history_table
from streamflow.history.labels import known_labels
from streamflow.history.parquet.history_files import HistoryFiles, history_files, parquet_folder
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, identifier, subquery
from streamflow.use_case import Table, UseCase

LONG = bool(os.environ.get("STREAMFLOW_LONG_TESTS"))
JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
MONTHS = (JANUARY, FEBRUARY)
# The last microsecond of both months, and days about the end of a horizon after them.
MOMENTS = [*map(event_timestamp, MONTHS), *(datetime(2024, 3, n, 9, tzinfo=UTC) for n in (1, 2, 9))]
READINGS = "readings"
ENTITY_NAMES = ["a", "b", "B", "ä", "a\u0308", "it's", "%(x)s", "a\\b", "{a}", "10", "9"]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "age": st.none() | st.sampled_from([0, -1, 2**63 - 1, -(2**63)]),
    "kind": st.sampled_from(["", "x", "X", "\u00e9", "e\u0301"]),
    "heat": st.none() | st.sampled_from([0.0, -0.0, 5e-324, 0.1, float("nan"), float("-inf")]),
    "on": st.none() | st.booleans(),
    LABEL: st.none() | st.booleans(),
}
_numbers = count()


@dataclass
class Ingestion:
    """Rows of some tables, by entity; who was absent from them; when it was withdrawn."""

    as_of: date
    recorded_at: datetime
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    absent: dict[str, list[str]] = field(default_factory=dict)
    withdrawn_at: datetime | None = None


def case(horizon: int, name: str) -> UseCase:
    made = use_case(ITEMS)
    label = replace(made.label, horizon=timedelta(days=horizon))
    return replace(made, name=name, label=label)


@st.composite
def histories(draw: st.DrawFn) -> list[Ingestion]:
    contents = {table.name: content_columns(use_case(ITEMS), table) for table in TABLES}
    found: list[Ingestion] = []
    when = st.tuples(st.sampled_from(MONTHS), st.sampled_from(MOMENTS))
    for as_of, recorded_at in draw(st.lists(when, min_size=1, max_size=6, unique=True)):
        one = Ingestion(as_of, recorded_at)
        for table in draw(st.lists(st.sampled_from([*contents]), min_size=1, unique=True)):
            names = st.sampled_from(ENTITY_NAMES)
            values = st.fixed_dictionaries({name: VALUES[name] for name in contents[table]})
            one.rows[table] = draw(st.dictionaries(names, values, max_size=6))
            others = [name for name in ENTITY_NAMES if name not in one.rows[table]]
            one.absent[table] = draw(st.lists(st.sampled_from(others), max_size=2, unique=True))
        one.withdrawn_at = draw(st.none() | st.none() | st.sampled_from(MOMENTS))
        found.append(one)
    return found


TABLES = use_case(ITEMS).tables()


def write(database: Database, case: UseCase, ingestions: list[Ingestion]) -> None:
    """Append these as ingest, withdraw and complete files do, without their checks."""
    for table in TABLES:
        create_history_table(database, case, table)
    for one in ingestions:
        append(database, case, one)


def append(database: Database, case: UseCase, one: Ingestion) -> int:
    with database.connection() as connection, connection.transaction():
        execute = connection.execute
        execute("SET LOCAL TimeZone = 'UTC'")
        execute("SET LOCAL streamflow.ingesting = 'on'")
        row = execute(
            "INSERT INTO streamflow.ingestions "
            "(use_case, as_of, recorded_at, ingested_at, ingested_by, tables) "
            "VALUES (%s, %s, %s, %s, 'test', %s) RETURNING ingestion_id",
            (
                *(case.name, one.as_of, one.recorded_at, one.recorded_at),
                json.dumps({name: {} for name in one.rows}),
            ),
        ).fetchone()
        assert row is not None
        number: int = row["ingestion_id"]
        for table, rows in one.rows.items():
            history = Table.history_of(table)
            for entity, values in rows.items():
                columns = [KEY, "as_of", "recorded_at", "ingestion_id", *values]
                execute(
                    sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                        sql.Identifier(case.name, history),
                        sql.SQL(", ").join(map(sql.Identifier, columns)),
                        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
                    ),
                    (entity, one.as_of, one.recorded_at, number, *values.values()),
                )
            for entity in one.absent.get(table, ()):
                execute(
                    "INSERT INTO streamflow.absences VALUES (%s, %s, %s, %s, %s, %s)",
                    (
                        *(case.name, history, entity),
                        *(event_timestamp(one.as_of), one.recorded_at, number),
                    ),
                )
        if one.withdrawn_at is not None:
            execute(
                "INSERT INTO streamflow.withdrawals "
                "(ingestion_id, recorded_at, withdrawn_by, why, tables) "
                "VALUES (%s, %s, 'test', 'wrong', '{}')",
                (number, one.withdrawn_at),
            )
    return number


@contextmanager
def opened(database: Database, case: UseCase, home: Path) -> Iterator[Session]:
    """A session over a copy of the case's history, up to date."""
    session = Session(
        database, lambda of, name: history_files(of, name, home).tables, "1GB", home / "spill"
    )
    try:
        session.execute("wait_for_ingestion", use_case=case.name)
        yield session
    finally:
        session.close()


@pytest.fixture(scope="module")
def database(new_database: Callable[..., str], prepared_database: str) -> Iterator[Database]:
    with Database(new_database(prepared_database)) as made:
        yield made


Answers = dict[str, object]


def answers(database: Database, case: UseCase, known_at: datetime) -> Answers:
    """By query of history and its values, the rows; in their order where the query has one."""
    entity_table = known_rows(database, case, Table.history_of(ENTITIES), known_at)
    names: dict[str, Composable] = {
        "key": identifier(KEY),
        "label": identifier(LABEL),
        "entity_history": entity_table,
        "label_history": known_labels(database, case, known_at),
        "all_labels": known_rows(database, case, Table.history_of(OUTCOMES), known_at),
        "history": known_rows(database, case, Table.history_of(READINGS), known_at),
        "known_history": entity_table,
    }
    found: Answers = {}

    def ask(name: str, parts: Mapping[str, Composable], *, ordered: bool = False, **values: Any):  # type: ignore[no-untyped-def]
        rows = [plain(row) for row in database.rows(name, parts, **values)]
        key = f"{name} {values} {sorted(parts.keys() - names.keys())}"
        found[key] = rows if ordered else sorted(rows)

    for months in ([JANUARY], [*MONTHS]):
        these = {"as_ofs": months, "known_at": known_at}
        for name in ("entity_rows", "count_entities", "count_null_labels"):
            ask(name, names, **these)
        ask("count_premature_labels", names, **these, horizon=timedelta(days=1))
        for last in (0, 3):
            ask("entity_hashes", names, ordered=True, **these, last=last)
        drawn = entity_sample.draw(database, names, months, known_at, 3)
        found[f"sample {months}"] = drawn
        sampled = entity_sample.sampled(database, names, drawn)
        rows = database.rows("entity_rows", sampled, **these)
        found[f"sampled {months}"] = sorted(map(plain, rows))
        asked = {**names, "query": subquery(database.render("entity_rows", names, **these))}
        ask("count_labelled", asked)
        for ttl in (None, timedelta(0), timedelta(days=29)):
            ask("entities_without_row", asked, ttl=ttl, known_at=known_at)
            for ingestions in ([], [*range(1, 10_000, 2)]):
                values = {"ttl": ttl, "known_at": known_at, "ingestions": ingestions}
                ask("rows_of_ingestions", asked, ordered=True, **values)
    for as_of in MONTHS:
        these = {"as_of": as_of, "known_at": known_at}
        for name in ("label_exists", "entities_with_label", "entities_at"):
            ask(name, names, **these)
        ask("month_is_known", names, as_of=as_of)
        ask("segment_values", {**names, "column": identifier("on")}, **these)
    for name in ("labelled_months", "count_month_labels"):
        ask(name, names, ordered=True, known_at=known_at)
    return found


def plain(row: Mapping[str, Any]) -> str:
    """The row as a text that tells -0.0 from 0.0 and NaN from null; times are in UTC."""
    return repr(
        {
            name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
            for name, value in sorted(row.items())
        }
    )


def stored(database: Database, case: UseCase, table: Table) -> list[str]:
    text = f'SELECT * FROM "{case.name}"."{table.history}"'
    if isinstance(database, Session):
        return sorted(plain(row) for batch in database.batches(text) for row in batch.to_pylist())
    with database.connection() as connection:
        return sorted(map(plain, connection.execute(text).fetchall()))  # type: ignore[call-overload]


@pytest.mark.slow
@given(
    ingestions=histories(),
    horizon=st.sampled_from([0, 1]),
    known=st.lists(st.sampled_from([*MOMENTS, FOR_EVER]), min_size=2, max_size=2, unique=True),
)
@hypothesis_settings(
    max_examples=400 if LONG else 5,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.generate],
    derandomize=not LONG,
)
def test_each_query_of_history_has_the_rows_that_postgresql_has(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    ingestions: list[Ingestion],
    horizon: int,
    known: list[datetime],
) -> None:
    case_of_this = case(horizon, f"random_{next(_numbers)}")
    write(database, case_of_this, ingestions)
    home = tmp_path_factory.mktemp("home")
    with opened(database, case_of_this, home) as session:
        for table in TABLES:
            assert stored(session, case_of_this, table) == stored(database, case_of_this, table)
        for known_at in known:
            theirs = answers(database, case_of_this, known_at)
            ours = answers(session, case_of_this, known_at)
            assert {name for name in ours if ours[name] != theirs[name]} == set(), known_at
    assert {key.partition(" ")[0] for key in ours} >= READS_HISTORY


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
    case_of_this = case(0, f"folder_{next(_numbers)}")
    values = {"age": 1, "kind": "x"}
    write(database, case_of_this, [Ingestion(JANUARY, MOMENTS[0], {ENTITIES: {"a": values}})])
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
    case_of_this, table = case(0, f"race_{next(_numbers)}"), Table.history_of(ENTITIES)
    values = {"age": 1, "kind": "x"}
    write(database, case_of_this, [Ingestion(JANUARY, MOMENTS[0], {ENTITIES: {"a": values}})])
    others: list[HistoryFiles] = []

    def another() -> None:
        later = Ingestion(FEBRUARY, MOMENTS[1], {ENTITIES: {"b": values}})
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
    case_of_this = case(0, f"plain_{next(_numbers)}")
    values = {"age": 1, "kind": "x"}
    rows = {ENTITIES: {"a": values, "b": values}, OUTCOMES: {"a": {LABEL: True}}}
    write(database, case_of_this, [Ingestion(JANUARY, MOMENTS[0], rows)])
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
