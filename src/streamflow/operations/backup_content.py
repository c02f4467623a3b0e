"""A backup's tables, loaded and checked in a database of their own before they are restored.

A dump is SQL, and SQL can be anything. It runs as a role that may use nothing but that database
(see `streamflow.postgres.temporary_database`). What it made there has to be plain tables alone;
those are dumped again, and that dump is what the restore runs with the user's rights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from streamflow.operations.backup_archive import Archive
from streamflow.operations.backup_errors import BackupRefused
from streamflow.operations.backup_manifest import MLFLOW_DUMP, STREAMFLOW_DUMP
from streamflow.postgres import client_programs, migrations, plain_tables
from streamflow.postgres.client_programs import ProgramFailed
from streamflow.postgres.database import Database
from streamflow.postgres.driver_errors import statements_refused
from streamflow.postgres.migrations import Migration
from streamflow.postgres.temporary_database import temporary_database
from streamflow.progress import Progress

NAMED = 5


@dataclass(frozen=True)
class Content:
    """A backup whose tables are in `temporary`, and were checked. `migrated` are migrations that
    were applied to them there."""

    backup: Archive
    programs: Path
    temporary: Database
    migrated: list[Migration]

    def script(self, schemas: list[str]) -> Iterator[bytes]:
        """SQL for psql that creates these schemas with their tables."""
        dump = client_programs.dump(self.programs, self.temporary.url, schemas)
        return client_programs.script(self.programs, dump)

    def own_script(self) -> Iterator[bytes]:
        """SQL for psql that creates all schemas but MLflow's. Functions, and the triggers of
        history, are the program's own."""
        names = ("revoke_functions", "create_history_triggers")
        statements = [f"{self.temporary.render(one)};\n" for one in names]
        own = [f"{migrations.functions()}\n", *statements]
        return chain(
            self.script(list(self.backup.manifest.schemas)), (text.encode() for text in own)
        )


@contextmanager
def checked(
    database: Database, backup: Archive, programs: Path, progress: Progress
) -> Iterator[Content]:
    """The backup's tables while the block runs, brought to the newest schema.

    `database` is on the server that is used for it. Raises BackupRefused if the tables can't be
    loaded or aren't plain tables, SchemaChanged, NotPermitted, DatabaseUnavailable.
    """
    manifest = backup.manifest
    with temporary_database(database) as temporary:
        for member in (MLFLOW_DUMP, STREAMFLOW_DUMP):
            progress(f"loading {member}")
            try:
                script = client_programs.script(programs, backup.content(member))
                client_programs.load(programs, temporary.url, script)
            except ProgramFailed as error:
                raise _refused(backup, f"its {member} can't be loaded: {error}") from error
        schemas = [*manifest.schemas, manifest.mlflow_schema]
        try:
            with statements_refused():
                plain_tables.drop_functions(temporary)
                newest = temporary.row("newest_migration")["number"]
                migrated = migrations.migrate(temporary)
                plain_tables.drop_functions(temporary)
                differs = migrations.deviations(temporary)
                found = plain_tables.unexpected_objects(temporary, schemas)
                existing = temporary.rows("existing_schemas", names=schemas)
        except ValueError as error:
            raise _refused(backup, f"its tables aren't StreamFlow's: {error}") from error
        if newest != manifest.schema:
            raise _refused(backup, f"its tables are at migration {newest}, and it says otherwise")
        if found:
            named = "; ".join(found[:NAMED]) + ("; …" if len(found) > NAMED else "")
            raise _refused(backup, f"it has more than plain tables, which could run code: {named}")
        if differs:
            raise _refused(backup, f"its tables aren't as the program makes them: {differs[0]}")
        if lacks := {*schemas} - {row["name"] for row in existing}:
            raise _refused(backup, f"it lacks the schemas {', '.join(sorted(lacks))}")
        yield Content(backup, programs, temporary, migrated)


def _refused(backup: Archive, why: str) -> BackupRefused:
    return BackupRefused(
        f"{backup.file} isn't restored: {why.rstrip('.')}.",
        "Restore another backup, one that `streamflow backup` wrote.",
    )
