"""Backups that somebody has made by hand are restored as they are, or refused; nothing of them
runs, and nothing is written elsewhere.

`STREAMFLOW_TEST_BACKUPS` is the number of crafted backups (6).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests import crafted_backups, tiny_case
from tests.conftest import url_of
from tests.crafted_backups import ROOM

from streamflow.bootstrap import platform
from streamflow.errors import StreamFlowError
from streamflow.operations.backup import backup
from streamflow.operations.restore import restore
from streamflow.pipeline.ingest import ingest
from streamflow.postgres import migrations
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Generation

NUMBER = int(os.environ.get("STREAMFLOW_TEST_BACKUPS", "6"))
NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def members(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, bytes]:
    """What is in a good backup, by name."""
    folder = tmp_path_factory.mktemp("good")
    url = new_database(prepared_database)
    settings = load_settings(home=folder, database_url=url, use_case="tests.tiny_case")
    tiny_case.generate(Generation(folder / "months", users=40, months=1, seed=5))
    with platform(settings) as ready:
        ingest(ready, folder / "months" / "month_000", date(2024, 1, 31), None, NOW, "test")
    with psycopg.connect(url) as connection:
        comment = sql.SQL(
            "COMMENT ON CONSTRAINT ingestions_pkey ON streamflow.ingestions IS {}"
        ).format(sql.Literal(ROOM))
        connection.execute(comment)
    (folder / "mlflow").mkdir(exist_ok=True)
    (folder / "mlflow" / "a file").write_text("content")
    backup(settings, folder / "file", NOW)
    return crafted_backups.members(folder / "file")


def objects_of_the_server(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {
            name
            for (name,) in connection.execute(
                "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles"
            )
        }


def schemas_of(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        query = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'"
        return {name for (name,) in connection.execute(query)}


def code_in(url: str) -> set[str]:
    """What could run when somebody uses the tables, but for MLflow's own trigger."""
    with psycopg.connect(url) as connection:
        return {
            name
            for (name,) in connection.execute(
                "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal "
                "UNION SELECT rulename FROM pg_rules WHERE schemaname !~ '^(pg_|information_)' "
                "UNION SELECT proname FROM pg_proc WHERE oid >= 16384"
            )
        } - {"prevent_secrets_aad_mutation"}


@pytest.mark.parametrize("number", range(NUMBER))
def test_a_crafted_backup_is_restored_or_refused_and_nothing_of_it_runs(
    number: int,
    members: dict[str, bytes],
    new_database: Callable[..., str],
    tmp_path: Path,
) -> None:
    canary = Path("/tmp") / f"streamflow-canary-{os.getpid()}-{number}"
    case = crafted_backups.crafted(canary, NUMBER)[number]
    (tmp_path / "work").mkdir()
    file = tmp_path / "work" / "crafted.backup"
    case.write(members, file)
    settings = load_settings(
        home=tmp_path / "work" / "home", database_url=new_database(), use_case="tests.tiny_case"
    )
    url = url_of(settings)
    before = objects_of_the_server(url)
    refused = restored(settings, file)
    print(case.name, "->", refused)
    if refused is not None:
        assert len(refused.message) < 3000, case.name
        assert refused.message.isprintable(), case.name
        assert schemas_of(url) == {"public"}, case.name
        assert not [*(settings.home / "mlflow").rglob("*")], case.name
    else:
        assert "streamflow" in schemas_of(url), case.name
        ours = re.findall(r"FUNCTION streamflow\.(\w+)", migrations.functions())
        assert code_in(url) == {*ours, "rewritten"}, case.name
        (tmp_path / "months").mkdir()
        tiny_case.generate(Generation(tmp_path / "months", users=40, months=1, seed=6))
        with platform(settings) as ready:
            month = tmp_path / "months" / "month_000"
            ingest(ready, month, date(2024, 2, 29), None, NOW, "test")
    assert not canary.exists(), case.name
    assert objects_of_the_server(url) <= before, case.name
    assert {path.name for path in tmp_path.iterdir()} <= {"work", "months"}, case.name
    assert {path.name for path in (tmp_path / "work").iterdir()} <= {"crafted.backup", "home"}


def restored(settings: Settings, file: Path) -> StreamFlowError | None:
    """Why it wasn't."""
    try:
        restore(settings, file)
    except StreamFlowError as refused:
        return refused
    return None
