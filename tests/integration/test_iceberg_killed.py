"""An ingestion into Apache Iceberg that is killed: nothing of it is seen, the next one is whole."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import killing
from tests.columnar_history import plain
from tests.killing import KILLS, Forking, Place, until_all_have_left

from streamflow.history.iceberg.session import IcebergSession
from streamflow.postgres.database import Database

pytestmark = pytest.mark.slow

INSTANTS: list[dict[str, str | float]] = [
    {"at": "after add_iceberg_table"},
    {"at": "before replace_iceberg_metadata"},
    {"at": "after replace_iceberg_metadata"},
    {"at": "before record_ingestion"},
    *({"after": 2 * random.Random(f"iceberg {number}").random()} for number in range(2 * KILLS)),
]


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"file://{tmp_path_factory.mktemp('history')}"


@pytest.fixture(scope="module")
def forking(tmp_path_factory: pytest.TempPathFactory, location: str) -> Iterator[Forking]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAMFLOW_HISTORY", location)
        patch.setenv("STREAMFLOW_ENGINE", "duckdb")
        with killing.forking(tmp_path_factory.mktemp("killed")) as started:
            yield started


@pytest.fixture
def new_place(
    prepared_database: str, new_database: Callable[..., str], tmp_path: Path
) -> Callable[[str], Place]:
    return lambda name: Place(new_database(prepared_database), _made(tmp_path / name))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def seen(place: Place, location: str) -> list[str]:
    """All rows that a reader sees; not of which ingestion."""
    with Database(place.url) as database:
        session = IcebergSession(database, location, "1GB", place.home / "spill")
        session.refresh("churn")
        tables = [row["table_name"] for row in database.rows("iceberg_tables", use_case="churn")]
        found = []
        for table in tables:
            for batch in session.batches(f'SELECT * FROM "churn"."{table}"'):
                for row in batch.to_pylist():
                    found.append(f"{table} {plain({**row, 'ingestion_id': None})}")
        session.close()
    return sorted(found)


@pytest.mark.parametrize("instant", INSTANTS, ids=str)
def test_nothing_is_seen_of_a_killed_ingestion_and_the_next_one_is_whole(
    instant: dict[str, str | float],
    forking: Forking,
    new_place: Callable[[str], Place],
    location: str,
) -> None:
    whole = new_place("whole")
    forking.do("ingest", whole)
    expected = seen(whole, location)
    assert len(expected) == 6 * 300

    place = new_place("killed")
    killed = forking.start("ingest", place, **instant)
    if "at" in instant:
        assert killed.code == -9, f"the ingestion never came to {instant}: {killed.said}"
    until_all_have_left(place)
    assert seen(place, location) in ([], expected)
    if "at" in instant:
        assert seen(place, location) == []
    forking.do("ingest", place)
    assert seen(place, location) == expected
