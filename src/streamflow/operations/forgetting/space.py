"""The bytes of deleted rows, taken out of PostgreSQL's files.

A deleted row stays in its table's file, in indexes, in the planner's statistics and in the
write-ahead log until something else takes the space. So the tables are written anew, and the log's
files are left behind and removed, not used again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from streamflow.errors import NotPermitted
from streamflow.features.feature_store import ONLINE_SCHEMA
from streamflow.operations.forgetting.tables import ENTITY_COLUMN_NAMES, OWN_SCHEMA, entity_tables
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier
from streamflow.progress import Progress, silent
from streamflow.use_case import UseCase

WAIT_SECONDS = 10.0
POLL_SECONDS = 0.1
# Rounds of leaving the log's files behind: in the first one, the server may not know yet that they
# aren't to be used again.
ROUNDS = 5

FINISH = "`streamflow forget --finish`"


@dataclass(frozen=True)
class Left:
    """What isn't done, why, and what to type."""

    what: str
    why: str
    next: str


def reclaim(
    database: Database, use_case: UseCase, tables: Iterable[str], progress: Progress = silent
) -> list[Left]:
    """Take the bytes of rows that are deleted out of PostgreSQL's files; what is left, and why.

    `tables` are those with deleted rows, each with its schema; tables with other rows that nobody
    sees, and all tables online, are rewritten too. A table can't be used while it is rewritten.
    Raises DatabaseUnavailable.
    """
    left = _still_seen(database)
    skipped = []
    for schema, table in _tables(database, use_case, tables):
        progress(f"rewriting {schema}.{table}")
        if not _rewritten(database, schema, table, "rewrite_table"):
            skipped.append(f"{schema}.{table}")
        elif not _statistics_cleared(database, schema, table):
            skipped.append(f"statistics of {schema}.{table}")
    ours = [OWN_SCHEMA, use_case.name]
    for row in database.rows("partitioned_with_statistics", schemas=ours):
        names = {"table": identifier(row["schema"], row["table"])}
        database.execute("analyze_partitioned", names)
        if not _statistics_cleared(database, row["schema"], row["table"]):
            skipped.append(f"statistics of {row['schema']}.{row['table']}")
    if not _rewritten(database, "pg_catalog", "pg_statistic", "rewrite_statistics"):
        skipped.append("pg_catalog.pg_statistic")
    if skipped:
        owner = "PostgreSQL leaves alone what this user doesn't own"
        left.append(Left(", ".join(skipped), owner, f"{FINISH}, as the owner"))
    progress("write-ahead log")
    return [*left, *_leave_log_behind(database)]


def _rewritten(database: Database, schema: str, table: str, statement: str) -> bool:
    """Whether the table's file is another one after the statement; PostgreSQL only warns of a table
    that it skips."""
    names = {"table": identifier(schema, table)}
    before = database.row("file_of_table", schema=schema, table=table)
    database.execute(statement, names)
    return before != database.row("file_of_table", schema=schema, table=table)


def _statistics_cleared(database: Database, schema: str, table: str) -> bool:
    """Take the planner's statistics of a table without rows away; False if that isn't permitted."""
    function = database.row("clears_statistics")["known"]
    statement = "clear_statistics" if function else "delete_statistics"
    names = {"table": identifier(schema, table)}
    try:
        database.execute(statement, names, schema=schema, name=table)
    except NotPermitted:
        return False
    return True


def _still_seen(database: Database) -> list[Left]:
    """Sessions for which PostgreSQL keeps deleted rows; they are waited for a little."""
    deleted_in = database.row("current_transaction")["id"]
    deadline = time.monotonic() + WAIT_SECONDS
    while holders := database.rows("holders_of_old_rows", deleted_in=deleted_in):
        if time.monotonic() > deadline:
            named = ", ".join(row["holder"] for row in holders)
            return [
                Left(
                    "deleted rows in the files of the tables",
                    f"they are kept for {named}, which began before",
                    f"end it, or wait for its end; then {FINISH}",
                )
            ]
        time.sleep(POLL_SECONDS)
    return []


def _tables(database: Database, use_case: UseCase, deleted: Iterable[str]) -> list[tuple[str, str]]:
    existing = {(one.schema, one.table) for one in entity_tables(database, use_case)}
    online = {one for one in existing if one[0] == ONLINE_SCHEMA}
    dead = database.rows(
        "tables_with_dead_rows", history=use_case.name, columns=list(ENTITY_COLUMN_NAMES)
    )
    found = {*online, *((row["schema"], row["table"]) for row in dead)}
    for name in deleted:
        # Only the schema is ours: a table online has a point in its name.
        schema, _, table = name.partition(".")
        rows = database.rows("files_of_table", schema=schema, table=table)
        found.update((row["schema"], row["table"]) for row in rows)
    return sorted(found, key=lambda one: (one[0] != OWN_SCHEMA, one))


def _leave_log_behind(database: Database) -> list[Left]:
    """Remove the files of the write-ahead log that were written so far, and those that were kept
    to be written again, with their old content."""
    try:
        recycled = database.row("wal_recycled")["recycled"]
        if recycled:
            database.execute("set_wal_recycle")
            database.execute("reload_settings")
        try:
            old = _remove_log_files(database)
        finally:
            if recycled:
                database.execute("reset_wal_recycle")
                database.execute("reload_settings")
    except NotPermitted as error:
        return [
            Left(
                "the write-ahead log",
                error.message,
                "as a superuser: `ALTER SYSTEM SET wal_recycle = off`, `SELECT pg_reload_conf()`, "
                "`SELECT pg_switch_wal()` and `CHECKPOINT` until its files are new",
            )
        ]
    if not old:
        return []
    return [
        Left(
            f"{len(old)} files of the write-ahead log",
            "the server keeps them for a standby, an archive or wal_keep_size",
            f"let go of them, then {FINISH}",
        )
    ]


def _remove_log_files(database: Database) -> list[str]:
    """The files that couldn't be removed: those that are there at the end of all rounds."""
    newest_old = database.row("current_wal_file")["name"]
    stays: list[str] = []
    for _ in range(ROUNDS):
        names = _log_files(database)
        ahead = max(names)
        while True:
            database.execute("next_wal_file")
            current = database.row("current_wal_file")["name"]
            if _position(current) > max(_position(ahead), _position(newest_old)):
                break
        database.execute("checkpoint")
        # What was used again has another name now: a file ahead of the current one.
        names = _log_files(database)
        stays = [
            name
            for name in names
            if _position(name) <= _position(newest_old) or _position(name) > _position(current)
        ]
        if not stays:
            break
    return stays


def _log_files(database: Database) -> list[str]:
    return [row["name"] for row in database.rows("wal_files")]


def _position(name: str) -> str:
    """Where in the log the file is, whatever its timeline."""
    return name[8:]
