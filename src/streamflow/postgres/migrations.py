"""The database's schema: numbered SQL files, each applied once, in a transaction of its own.

The database records each file's hash, and a changed file is refused: a change to the schema is a
new file.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from psycopg import Rollback

from streamflow.errors import NotPermitted, SchemaChanged, SchemaTooNew, SchemaTooOld
from streamflow.postgres.database import Database

_FILE = re.compile(r"(\d{4})_(\w+)\.sql")

# No function's body has this end of a statement in it.
_FUNCTION = re.compile(r"^CREATE (?:OR REPLACE )?FUNCTION .*?^\$\$;$", re.MULTILINE | re.DOTALL)

_RECORD = """
CREATE SCHEMA IF NOT EXISTS streamflow;
CREATE TABLE IF NOT EXISTS streamflow.migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by text        NOT NULL DEFAULT current_user
)
"""


@dataclass(frozen=True)
class Migration:
    """A file of `sql/migrations`; `text` is its SQL."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """The hash of the text in UTF-8, in hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.number:04d}_{self.name}"


@cache
def migrations() -> tuple[Migration, ...]:
    """The migrations of this program in order: `sql/migrations/0001_….sql` and so on."""
    folder = resources.files("streamflow.postgres") / "sql" / "migrations"
    found = []
    for file in folder.iterdir():
        if match := _FILE.fullmatch(file.name):
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.number))


def functions() -> str:
    """SQL that creates every function of the schema anew, as its newest migration has it."""
    found = [statement for one in migrations() for statement in _FUNCTION.findall(one.text)]
    return "\n".join(found).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


def migrate(database: Database) -> list[Migration]:
    """Apply the missing migrations and return them. Several processes may do so at the same time.

    Raises SchemaTooOld if something is missing and the user may not apply it, SchemaTooNew,
    SchemaChanged.
    """
    return apply(database, migrations())


def deviations(database: Database) -> list[str]:
    """What in the schema `streamflow` isn't as the migrations make it; nothing is changed.

    The user must own the schema, and may create schemas.
    """
    found: set[str] = set()
    made: set[str] = set()
    with database.transaction():
        found = {row["fact"] for row in database.rows("structure")}
        database.execute("put_schema_aside")
        apply(database, migrations())
        made = {row["fact"] for row in database.rows("structure")}
        raise Rollback
    return sorted(found ^ made)


def apply(database: Database, known: tuple[Migration, ...]) -> list[Migration]:
    """Apply those of `known` that the database lacks; see `migrate`."""
    missing = _missing(database, known)
    applied = []
    for migration in missing:
        try:
            with database.transaction():
                database.execute("lock_migration")
                database.script(_RECORD)
                if migration not in _missing(database, known):
                    continue  # another process has applied it meanwhile
                database.script(migration.text)
                database.execute(
                    "record_migration",
                    number=migration.number,
                    name=migration.name,
                    sha256=migration.sha256,
                )
        except NotPermitted as error:
            raise SchemaTooOld(
                f"The database lacks {len(missing)} migrations, from {migration} on, and this "
                "user may not apply them.",
                "Run `streamflow migrate` as the user that owns the database.",
            ) from error
        applied.append(migration)
    return applied


def _missing(database: Database, known: tuple[Migration, ...]) -> list[Migration]:
    if not database.row("migrations_exist")["exists"]:
        return list(known)
    recorded = {row["number"]: row for row in database.rows("migrations")}
    newest = max(recorded, default=0)
    if newest > len(known):
        raise SchemaTooNew(
            f"The database is at migration {newest:04d}, and this program knows {len(known):04d}.",
            "Use the program that migrated it, or a newer one; "
            "or restore the backup from before the upgrade.",
        )
    for migration in known:
        row = recorded.get(migration.number)
        if row is not None and row["sha256"] != migration.sha256:
            raise SchemaChanged(
                f"Migration {migration} isn't the one that was applied here: its SHA-256 is "
                f"{migration.sha256[:12]}, and was {row['sha256'][:12]}.",
                "Bring the file back; a change to the schema is a migration of its own.",
            )
    return [migration for migration in known if migration.number not in recorded]
