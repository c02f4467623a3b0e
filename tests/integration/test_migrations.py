"""Numbered SQL files on a real PostgreSQL: once each, all of it or nothing, and never changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from tests.conftest import Cli
from tests.statements import execute

from streamflow.errors import SchemaChanged, SchemaTooNew
from streamflow.postgres import migrations
from streamflow.postgres.database import Database
from streamflow.postgres.migrations import Migration, apply, migrate
from streamflow.promotion import model_history

OURS = migrations.migrations()
NEXT = Migration(
    len(OURS) + 1,
    "one_more",
    "CREATE TABLE streamflow.one_more (word text);\n"
    "INSERT INTO streamflow.one_more VALUES ('50 % {of} it')",
)


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    with Database(new_database()) as opened:
        yield opened


def rows(database: Database, query: str) -> list[dict[str, Any]]:
    return execute(database, query).fetchall()  # type: ignore[arg-type]


def recorded(database: Database) -> list[tuple[int, str]]:
    found = rows(database, "TABLE streamflow.migrations ORDER BY number")
    return [(row["number"], row["sha256"]) for row in found]


def test_the_files_are_numbered_without_a_gap() -> None:
    assert [migration.number for migration in OURS] == list(range(1, len(OURS) + 1))


def test_each_is_applied_once_and_recorded_with_its_hash(database: Database) -> None:
    assert tuple(migrate(database)) == OURS
    assert recorded(database) == [(one.number, one.sha256) for one in OURS]
    assert migrate(database) == []
    assert apply(database, (*OURS, NEXT)) == [NEXT]
    assert rows(database, "TABLE streamflow.one_more") == [{"word": "50 % {of} it"}]
    assert apply(database, (*OURS, NEXT)) == []


def test_a_database_from_before_there_were_migrations_is_taken_over(database: Database) -> None:
    database.script(OURS[0].text)
    database.script(
        "INSERT INTO streamflow.ingestions "
        "(use_case, as_of, recorded_at, ingested_at, ingested_by, tables) "
        "VALUES ('churn', '2024-01-31', now(), now(), 'ann', '{}')"
    )
    assert tuple(migrate(database)) == OURS
    (kept,) = rows(database, "TABLE streamflow.ingestions")
    assert kept["ingested_by"] == "ann"


def test_one_that_fails_leaves_nothing_of_itself(database: Database) -> None:
    broken = replace(NEXT, text=f"{NEXT.text}; SELECT 1 / 0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        apply(database, (*OURS, broken))
    assert recorded(database) == [(one.number, one.sha256) for one in OURS]
    assert apply(database, (*OURS, NEXT)) == [NEXT]


def test_one_that_was_changed_afterwards_is_refused(database: Database) -> None:
    migrate(database)
    changed = (OURS[0], replace(OURS[1], text=f"{OURS[1].text}\n-- better"), *OURS[2:], NEXT)
    with pytest.raises(SchemaChanged, match=f"Migration {OURS[1]} isn't the one"):
        apply(database, changed)
    assert len(recorded(database)) == len(OURS)


def test_an_older_program_refuses_a_newer_schema(database: Database, cli: Cli) -> None:
    apply(database, (*OURS, NEXT))
    with pytest.raises(SchemaTooNew, match=f"{NEXT.number:04d}.*knows {len(OURS):04d}"):
        migrate(database)
    for command in (("migrate",), ("runs",)):
        done = cli(*command, "--json", STREAMFLOW_DATABASE_URL=database.url)
        assert done.returncode == 1
        assert json.loads(done.stdout)["error"] == "schema_too_new"


def test_many_that_start_at_once_apply_each_once(new_database: Callable[..., str]) -> None:
    url = new_database()

    def start(_: int) -> list[Migration]:
        with Database(url) as database:
            return migrate(database)

    with ThreadPoolExecutor(8) as pool:
        applied = [one for done in pool.map(start, range(8)) for one in done]
    assert sorted(applied, key=lambda one: one.number) == list(OURS)


def test_the_command_tells_what_it_did(database: Database, cli: Cli) -> None:
    first, second = (
        json.loads(cli("migrate", "--json", STREAMFLOW_DATABASE_URL=database.url).stdout)
        for _ in range(2)
    )
    assert first["applied"] == [str(one) for one in OURS]
    assert (second["schema"], second["applied"]) == (len(OURS), [])


def test_promotions_from_before_there_was_a_history_are_taken_over_and_chained(
    database: Database,
) -> None:
    apply(database, OURS[:7])
    database.script(
        "INSERT INTO streamflow.promotions (promoted_at, promoted_by, model, version, action, "
        "from_stage, to_stage, replaced, why, verdict) VALUES "
        "('2024-03-01 12:00Z', 'ann', 'm', 1, 'promote', 'None', 'Production', NULL, 'ä', '{}'),"
        "('2024-03-02 12:00Z', 'bob', 'm', 2, 'promote', 'None', 'Production', 1, 'b', '{}'),"
        "('2024-03-03 12:00Z', 'bob', 'm', 1, 'rollback', 'Archived', 'Production', 2, 'c', '{}'),"
        "('2024-03-04 12:00Z', 'bob', 'other', 1, 'promote', 'None', 'Staging', NULL, 'd', '{}');"
        "INSERT INTO streamflow.served_models VALUES "
        "(gen_random_uuid(), 'm', 1, 'run', 'Production', 'hash', '[]')"
    )
    assert tuple(migrate(database)) == OURS[7:]
    taken = model_history.changes(database, "m")
    assert [(one.number, one.kind, one.version, one.who, one.why) for one in taken] == [
        (1, "promoted", 1, "ann", "ä"),
        (2, "promoted", 2, "bob", "b"),
        (3, "rolled back", 1, "bob", "c"),
    ]
    assert [one.model_hash for one in taken] == ["hash", "", "hash"]
    assert [one.previous_hash for one in taken] == ["", taken[0].hash, taken[1].hash]
    assert [one.version for one in model_history.changes(database, "other")] == [1]
    # They are no news.
    assert rows(database, "TABLE streamflow.model_events") == []
