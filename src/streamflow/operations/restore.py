"""A backup brought back onto an empty database: where it came from, in another home, on a stack.

Nothing is changed before all of the file was checked. Then come the artifacts, each of them whole;
MLflow's tables, if they have a database of their own; and last our tables. A database is filled in
one transaction, which also writes down of which backup it is. So whoever is killed on the way does
the rest when it's run again, and never takes what was there before for its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from streamflow.bootstrap import MLFLOW_SCHEMA, MlflowStore, connected, mlflow_store
from streamflow.errors import DatabaseUnavailable, NotEmpty, SchemaTooNew
from streamflow.operations import backup_archive, backup_artifacts
from streamflow.operations.backup_archive import MLFLOW_DUMP, STREAMFLOW_DUMP, Archive, Manifest
from streamflow.postgres import client_programs, migrations, roles
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier, literal
from streamflow.progress import Progress, silent
from streamflow.settings import Settings
from streamflow.use_case import load_use_case

OUR_SCHEMA = "streamflow"


@dataclass(frozen=True)
class Restored:
    """`before` says that this backup had been restored here already."""

    manifest: Manifest
    before: bool
    migrated: list[str]


@dataclass(frozen=True)
class _Source:
    backup: Archive
    programs: Path

    def script(self, member: str) -> Iterator[bytes]:
        return client_programs.script(self.programs, self.backup.content(member))


def restore(settings: Settings, file: Path, progress: Progress = silent) -> Restored:
    """Bring the backup back, then to this program's schema, with its database roles if there are.

    Raises BackupRefused, TamperedBackup, SchemaTooNew, NotEmpty if something else is there,
    InvalidSettings, DatabaseUnavailable.
    """
    history = load_use_case(settings.use_case).name
    backup = backup_archive.read(file.absolute(), lambda member: progress(f"checking {member}"))
    _require_known_schema(backup)
    source = _Source(backup, client_programs.programs(settings.postgres_binaries))
    with connected(settings) as database, mlflow_store(settings, database) as mlflow:
        # No step begins meanwhile, and no other restore.
        with Database(database.url) as alone, alone.transaction():
            alone.execute("lock_steps")
            before = _has(database, _ours(backup), backup)
            if not before:
                _restore(settings, database, mlflow, source, progress)
        progress("migrating")
        migrated = migrations.migrate(database)
        if settings.role_passwords:
            roles.grant(database, history, settings.role_passwords)
    return Restored(backup.manifest, before, [str(migration) for migration in migrated])


def _require_known_schema(backup: Archive) -> None:
    taken_at, known = backup.manifest.schema, migrations.migrations()[-1].number
    if taken_at > known:
        raise SchemaTooNew(
            f"{backup.file} is of a database at migration {taken_at:04d}, and this program knows "
            f"{known:04d}.",
            f"Restore it with the program that wrote it, StreamFlow {backup.manifest.version}, or "
            "with a newer one.",
        )


def _ours(backup: Archive) -> list[str]:
    return [*backup.manifest.schemas, MLFLOW_SCHEMA]


def _has(database: Database, schemas: Sequence[str], backup: Archive) -> bool:
    """Whether the database has this backup's schemas, or is empty.

    Raises NotEmpty if it has something else in them.
    """
    there = database.rows("existing_schemas", names=list(schemas))
    if any(backup.id in (row["comment"] or "") for row in there):
        return True
    # Every database begins with a schema `public`.
    if others := [row for row in there if row["tables"] or row["name"] != "public"]:
        told = ", ".join(f"{row['name']} ({row['tables']} tables)" for row in others)
        raise NotEmpty(
            f"The database {database.row('current_database')['name']!r} isn't empty: it has the "
            f"schemas {told}.",
            "Restore into a new STREAMFLOW_HOME, an empty database, or a stack without volumes; "
            "see docs/operations.md, Backup.",
        )
    return False


def _restore(
    settings: Settings, database: Database, mlflow: MlflowStore, source: _Source, progress: Progress
) -> None:
    backup, separate = source.backup, mlflow.database is not database
    if separate and (experiment := backup.manifest.experiment) is not None:
        # MLflow's server takes the first folder for an experiment, which people may see or not.
        folder, location = mlflow.artifacts / str(experiment), f"{mlflow.location}{experiment}"
        mlflow = replace(mlflow, artifacts=folder, location=location)
    missing = backup_artifacts.missing(mlflow.artifacts, backup)
    if settings.role_passwords:
        roles.create(database, settings.role_passwords)
    filled = separate and _has(mlflow.database, [mlflow.schema], backup)
    progress(f"{len(missing)} artifacts")
    backup_artifacts.put(mlflow.artifacts, missing, backup)
    theirs = _mlflows(mlflow, source)
    if separate:
        if not filled:
            progress(MLFLOW_DUMP)
            owner = identifier(mlflow.database.row("database_owner")["name"])
            begin = _statement(mlflow.database, "set_role", {"role": owner})
            _fill(mlflow.database, [mlflow.schema], source, chain([begin], theirs))
        # Ours has one too, with nothing in it.
        named = {"schema": identifier(MLFLOW_SCHEMA)}
        theirs = iter([_statement(database, "create_schema", named)])
    progress(STREAMFLOW_DUMP)
    _fill(database, _ours(backup), source, chain(theirs, source.script(STREAMFLOW_DUMP)))


def _mlflows(mlflow: MlflowStore, source: _Source) -> Iterator[bytes]:
    """MLflow's tables in the schema where they are here, naming artifacts where those are here."""
    backup, database = source.backup.manifest, mlflow.database
    was, here = identifier(backup.mlflow_schema), identifier(mlflow.schema)
    public = identifier("public")
    if public in (was, here):
        yield _statement(database, "drop_schema", {"schema": public})
    yield from source.script(MLFLOW_DUMP)
    if was != here:
        yield _statement(database, "rename_schema", {"schema": was, "name": here})
    if public == was != here:
        yield _statement(database, "create_schema", {"schema": public})
    moved = {"schema": mlflow.schema, "old": backup.location, "new": mlflow.location}
    yield f"{database.render('move_artifacts', **moved)} \\gexec\n".encode()


def _fill(
    database: Database, schemas: Sequence[str], source: _Source, script: Iterable[bytes]
) -> None:
    """Run the script, and write down in the same transaction of which backup the schemas are."""
    backup = source.backup
    told = f"Restored from the backup of {backup.manifest.taken_at.isoformat()}: {backup.id}"
    schema = OUR_SCHEMA if OUR_SCHEMA in schemas else schemas[0]
    marked = {"schema": identifier(schema), "text": literal(told)}
    begin = _statement(database, "lock_migration")
    end = [_statement(database, "comment_on_schema", marked), _statement(database, "analyze")]
    try:
        client_programs.run(source.programs, database.url, chain([begin], script, end))
    except DatabaseUnavailable:
        # What a killed restore of this backup had begun may have come to its end.
        if not _has(database, schemas, backup):
            raise


def _statement(database: Database, name: str, names: dict[str, Any] | None = None) -> bytes:
    return f"{database.render(name, names)};\n".encode()
