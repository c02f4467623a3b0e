"""An entity's value of a segment is read from its month, and from months before only where it has
no row: the same as from all months.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql
from tests.changing_case import KEY
from tests.columnar_history import FEBRUARY, JANUARY, Ingestion, new_case, opened, write
from tests.integration.test_columnar_queries import ENTITY_NAMES, MOMENTS, READINGS, histories

from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.database import Database
from streamflow.promotion.facts.segment_values import segment_values
from streamflow.use_case import Table, UseCase

pytestmark = pytest.mark.history_in_postgres("a history in PostgreSQL is copied to Parquet")

SEGMENT = f"{READINGS}.on"


@pytest.fixture(scope="module")
def database(new_database: Callable[..., str], prepared_database: str) -> Iterator[Database]:
    with Database(new_database(prepared_database)) as made:
        yield made


def values(
    database: Database, case: UseCase, as_of: date, known_at: datetime, history: Database
) -> list[object] | None:
    ready: Any = SimpleNamespace(use_case=case, database=database, history=history)
    return segment_values(ready, SEGMENT, as_of, known_at, ENTITY_NAMES)


def of_all_months(
    database: Database, case: UseCase, as_of: date, known_at: datetime
) -> list[object]:
    rows = known_rows(database, case, Table.history_of(READINGS), known_at)
    query = sql.SQL(
        "SELECT DISTINCT ON ({key}) {key} AS entity, {column} AS value FROM {rows} AS history "
        "WHERE as_of <= %s AND recorded_at <= %s ORDER BY {key}, as_of DESC, recorded_at DESC"
    ).format(key=sql.Identifier(KEY), column=sql.Identifier("on"), rows=rows)
    with database.connection() as connection:
        found = connection.execute(query, (as_of, known_at)).fetchall()
    newest = {row["entity"]: row["value"] for row in found}
    return [newest.get(entity) for entity in ENTITY_NAMES]


@pytest.mark.slow
@given(ingestions=histories(), known_at=st.sampled_from([*MOMENTS, FOR_EVER]))
@hypothesis_settings(max_examples=30, suppress_health_check=[*HealthCheck])
def test_the_values_of_a_segment_are_those_of_all_months(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    ingestions: list[Ingestion],
    known_at: datetime,
) -> None:
    case = new_case("segment")
    write(database, case, ingestions)
    with ExitStack() as stack:
        session = stack.enter_context(opened(database, case, tmp_path_factory.mktemp("home")))
        for as_of in (JANUARY, FEBRUARY):
            expected = of_all_months(database, case, as_of, known_at)
            for history in (database, session):
                assert values(database, case, as_of, known_at, history) == expected


def test_months_before_are_read_of_those_alone_who_have_no_row_of_the_month(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    case = new_case("segment")
    of_all = {name: {"heat": 0.1, "on": True} for name in ENTITY_NAMES}
    of_most = {name: {"heat": 0.2, "on": False} for name in ENTITY_NAMES[2:]}
    january = Ingestion(JANUARY, MOMENTS[0], {READINGS: of_all})
    write(database, case, [january, Ingestion(FEBRUARY, MOMENTS[1], {READINGS: of_most})])
    asked: dict[str, Any] = {}

    def noting(name: str, *arguments: Any, **given: Any) -> Any:
        asked[name] = given.get("entities")
        return Database.rows(database, name, *arguments, **given)

    monkeypatch.setattr(database, "rows", noting)
    with opened(database, case, tmp_path) as session:
        for as_of, before, expected in (
            (JANUARY, None, [True] * len(ENTITY_NAMES)),
            (FEBRUARY, ENTITY_NAMES[:2], [True, True] + [False] * (len(ENTITY_NAMES) - 2)),
        ):
            asked.clear()
            assert values(database, case, as_of, FOR_EVER, database) == expected
            assert asked.get("segment_values_before") == before
            assert values(database, case, as_of, FOR_EVER, session) == expected
