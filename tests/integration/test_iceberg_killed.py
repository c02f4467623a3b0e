"""A step with a history in Apache Iceberg is killed: what is seen is as before it, or after."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests import killing
from tests.columnar_history import plain
from tests.killing import KILLS, Forking, Place, until_all_have_left
from tests.statements import execute

from streamflow.history.iceberg.session import IcebergSession
from streamflow.postgres.database import Database

pytestmark = [
    pytest.mark.slow,
    pytest.mark.history_in_postgres("histories have locations of their own here"),
]

INSTANTS: list[dict[str, str | float]] = [
    {"at": "after add_iceberg_table"},
    {"at": "before replace_iceberg_metadata"},
    {"at": "after replace_iceberg_metadata"},
    {"at": "before record_ingestion"},
    *({"after": 2 * random.Random(f"iceberg {number}").random()} for number in range(2 * KILLS)),
]
COMPACTING: list[dict[str, str | float]] = [
    {"at": "before replace_iceberg_metadata"},
    {"at": "after replace_iceberg_metadata"},
    {"at": "before try_lock_steps"},
    {"at": "after try_lock_steps"},
    *({"after": random.Random(f"compact {number}").random()} for number in range(2 * KILLS)),
]
MOVING: list[dict[str, str | float]] = [
    {"at": "after add_iceberg_table"},
    {"at": "before drop_history"},
    {"at": "after drop_history"},
    {"at": "after create_history_elsewhere"},
    *({"after": random.Random(f"move {number}").random()} for number in range(2 * KILLS)),
]


@pytest.fixture(scope="module")
def forking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forking]:
    with killing.forking(tmp_path_factory.mktemp("killed")) as started:
        yield started


@pytest.fixture
def new_place(
    prepared_database: str, new_database: Callable[..., str], tmp_path: Path
) -> Callable[[str], Place]:
    """Makes a place whose history is in Iceberg."""

    def make(name: str) -> Place:
        home = tmp_path / name
        home.mkdir()
        settings = {"history": f"file://{home}/history", "engine": "duckdb"}
        return Place(new_database(prepared_database), home, settings)

    return make


def session_of(place: Place, database: Database) -> IcebergSession:
    session = IcebergSession(database, place.settings["history"], "1GB", place.home / "spill")
    session.refresh("churn")
    return session


def seen(place: Place) -> list[str]:
    """All rows that a reader sees; not of which ingestion."""
    return sorted(
        f"{table} {plain({**row, 'ingestion_id': None})}"
        for table, rows in killing.histories_elsewhere(place).items()
        for row in rows
    )


@pytest.mark.parametrize("instant", INSTANTS, ids=str)
def test_nothing_is_seen_of_a_killed_ingestion_and_the_next_one_is_whole(
    instant: dict[str, str | float],
    forking: Forking,
    new_place: Callable[[str], Place],
) -> None:
    whole = new_place("whole")
    forking.do("ingest", whole)
    expected = seen(whole)
    assert len(expected) == 6 * 300

    place = new_place("killed")
    killed = forking.start("ingest", place, **instant)
    if "at" in instant:
        assert killed.code == -9, f"the ingestion never came to {instant}: {killed.said}"
    until_all_have_left(place)
    assert seen(place) in ([], expected)
    if "at" in instant:
        assert seen(place) == []
    forking.do("ingest", place)
    assert seen(place) == expected


@pytest.mark.parametrize("instant", COMPACTING, ids=str)
def test_a_killed_compaction_leaves_the_same_rows_and_the_next_one_is_whole(
    instant: dict[str, str | float],
    forking: Forking,
    new_place: Callable[[str], Place],
) -> None:
    place = new_place("killed")
    forking.do("ingest_twice", place)
    expected = seen(place)
    assert len(expected) == 2 * 6 * 300
    assert files(place) == 12

    killed = forking.start("compact", place, **instant)
    if "at" in instant:
        assert killed.code == -9, f"the compaction never came to {instant}: {killed.said}"
    until_all_have_left(place)
    assert seen(place) == expected
    forking.do("compact", place)
    assert seen(place) == expected
    assert files(place) == 6
    forking.do("compact", place)
    assert seen(place) == expected


def files(place: Place) -> int:
    """How many files the tables have."""
    with Database(place.url) as database:
        return sum(len(view.files) for view in session_of(place, database).views["churn"].values())


@pytest.mark.parametrize("instant", MOVING, ids=str)
def test_a_killed_move_leaves_history_where_it_was_or_has_moved_all_of_it(
    instant: dict[str, str | float], forking: Forking, new_place: Callable[[str], Place]
) -> None:
    there = new_place("killed")
    here = replace(there, settings={})
    forking.do("ingest", here)
    expected = rows_here(here)
    assert expected is not None
    assert len(expected) == 6 * 300

    killed = forking.start("move_history", here, **instant)
    if "at" in instant:
        assert killed.code == -9, f"the move never came to {instant}: {killed.said}"
    until_all_have_left(here)
    left = rows_here(here)
    assert left == expected or (left is None and seen(there) == expected)
    if "at" in instant:
        assert left == expected
    forking.do("move_history", here)
    assert rows_here(here) is None
    assert seen(there) == expected
    # What the killed move has left goes with the next compaction.
    forking.do("compact", there)
    assert seen(there) == expected


def rows_here(place: Place) -> list[str] | None:
    """All rows that PostgreSQL has, as `seen` tells them; None where they are elsewhere."""
    with Database(place.url) as database:
        tables = [row["table_name"] for row in database.rows("histories_here", use_case="churn")]
        found = []
        for table in tables:
            for row in execute(database, f'SELECT * FROM "churn"."{table}"').fetchall():
                found.append(f"{table} {plain({**row, 'ingestion_id': None})}")
    return sorted(found) if tables else None
