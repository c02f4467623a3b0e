"""A backup restored into an empty database: in the same home, another one, or a stack.

The whole file is checked first, and its tables too: see `backup_content`. Then come the artifacts,
file by file; MLflow's tables, if they are in a database of their own; and last StreamFlow's tables.
A database is filled in one transaction, which also records the backup's id. So a restore that was
killed can be run again: it does what is missing, and recognizes data that isn't from this backup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from streamflow.bootstrap import MLFLOW_SCHEMA, connected, platform
from streamflow.errors import DatabaseUnavailable, SchemaTooNew
from streamflow.operations import backup_archive, backup_artifacts, backup_content
from streamflow.operations.backup_archive import Archive
from streamflow.operations.backup_content import Content
from streamflow.operations.backup_errors import NotEmpty
from streamflow.operations.backup_manifest import (
    MLFLOW_DUMP,
    OWN_SCHEMA,
    STREAMFLOW_DUMP,
    Manifest,
)
from streamflow.operations.forgetting import again, listed
from streamflow.operations.forgetting.forget import Forgotten
from streamflow.operations.history_files import backed_up
from streamflow.operations.mlflow_store import MlflowStore, mlflow_store
from streamflow.postgres import client_programs, migrations, roles
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, identifier, literal
from streamflow.progress import Progress, silent
from streamflow.settings import Settings
from streamflow.use_case.module import load_use_case


@dataclass(frozen=True)
class Restored:
    """A restored backup; `before` is true if it had been restored here by an earlier command.

    `migrated` names the migrations that were applied afterwards. `forgotten` is how many persons
    the list at hand has who were forgotten, None if there is no list; `again` what was done with
    those who had come back.
    """

    manifest: Manifest
    before: bool
    migrated: list[str]
    forgotten: int | None
    again: Forgotten


def restore(
    settings: Settings,
    file: Path,
    progress: Progress = silent,
    forgotten: Path | None = None,
) -> Restored:
    """Restore the backup, apply migrations that it lacks, and grant the roles of the settings.
    Whoever was forgotten after the backup is forgotten again.

    `forgotten` is the list of them; without it, the home's is taken, if it has one.
    Raises BackupRefused, TamperedBackup, SchemaTooNew, NotEmpty if there is other data,
    UnreadableFile for the list, InvalidSettings, DatabaseUnavailable.
    """
    history = load_use_case(settings.use_case).name
    backup = backup_archive.read(file.absolute(), lambda member: progress(f"checking {member}"))
    _require_known_schema(backup)
    backed_up.require_location(backup, settings.history)
    programs = client_programs.programs(settings.postgres_binaries)
    with connected(settings) as database, mlflow_store(settings, database) as mlflow:
        # While the lock is held, no step and no other restore can begin.
        with Database(database.url) as locking, locking.transaction():
            locking.execute("lock_steps")
            before = _was_restored(database, _own_schemas(backup), backup)
            migrated: list[migrations.Migration] = []
            if not before:
                with backup_content.checked(database, backup, programs, progress) as content:
                    backed_up.require_place(content, history, settings.history)
                    _restore(settings, database, mlflow, content, progress)
                migrated += content.migrated
        migrated += migrations.migrate(database)
        if settings.role_passwords:
            roles.grant(database, history, settings.role_passwords)
        with platform(settings) as ready:
            known = forgotten or settings.home / listed.FILE
            people = None
            if forgotten is not None or known.exists():
                people = listed.take_list(known, ready.database)
            done = again.forget_again(ready, progress)
    named = [str(migration) for migration in migrated]
    return Restored(backup.manifest, before, named, people, done)


def _require_known_schema(backup: Archive) -> None:
    needed, known = backup.manifest.schema, migrations.migrations()[-1].number
    if needed > known:
        raise SchemaTooNew(
            f"{backup.file} is of a database at migration {needed:04d}, and this program knows "
            f"{known:04d}.",
            f"Restore it with the program that wrote it, StreamFlow {backup.manifest.version}, or "
            "with a newer one.",
        )


def _own_schemas(backup: Archive) -> list[str]:
    return [*backup.manifest.schemas, MLFLOW_SCHEMA]


def _was_restored(database: Database, schemas: Sequence[str], backup: Archive) -> bool:
    """Whether the database's schemas were restored from this backup; false if they don't exist.

    Raises NotEmpty if they hold other data.
    """
    existing = database.rows("existing_schemas", names=list(schemas))
    if any(backup.id in (row["comment"] or "") for row in existing):
        return True
    # Every database begins with a schema `public`.
    if others := [row for row in existing if row["tables"] or row["name"] != "public"]:
        names = ", ".join(f"{row['name']} ({row['tables']} tables)" for row in others)
        raise NotEmpty(
            f"The database {database.row('current_database')['name']!r} isn't empty: it has the "
            f"schemas {names}.",
            "Restore into a new STREAMFLOW_HOME, an empty database, or a stack without volumes; "
            "see docs/operations.md, Backup.",
        )
    return False


def _restore(
    settings: Settings,
    database: Database,
    mlflow: MlflowStore,
    content: Content,
    progress: Progress,
) -> None:
    backup, separate = content.backup, mlflow.database is not database
    if separate and (experiment := backup.manifest.experiment) is not None:
        # MLflow's server takes a path's first folder for an experiment, to check permissions.
        folder, location = mlflow.artifacts / str(experiment), f"{mlflow.location}{experiment}"
        mlflow = replace(mlflow, artifacts=folder, location=location)
    missing = backup_artifacts.missing(mlflow.artifacts, backup)
    if settings.role_passwords:
        roles.create(database, settings.role_passwords)
    filled = separate and _was_restored(mlflow.database, [mlflow.schema], backup)
    progress(f"{len(missing)} artifacts")
    backup_artifacts.put(mlflow.artifacts, missing, backup)
    script = _mlflow_script(mlflow, content)
    if separate:
        if not filled:
            progress(MLFLOW_DUMP)
            owner = identifier(mlflow.database.row("database_owner")["name"])
            begin = _statement(mlflow.database, "set_role", {"role": owner})
            _fill(mlflow.database, [mlflow.schema], content, chain([begin], script))
        # Our database has this schema too, but empty.
        names = {"schema": identifier(MLFLOW_SCHEMA)}
        script = iter([_statement(database, "create_schema", names)])
    catalog = backed_up.put(database, settings.history, backup, progress)
    progress(STREAMFLOW_DUMP)
    _fill(database, _own_schemas(backup), content, chain(script, content.own_script(), catalog))


def _mlflow_script(mlflow: MlflowStore, content: Content) -> Iterator[bytes]:
    """SQL that creates MLflow's tables in this store's schema, with its artifacts' location."""
    backup, database = content.backup.manifest, mlflow.database
    old, new = identifier(backup.mlflow_schema), identifier(mlflow.schema)
    public = identifier("public")
    if public in (old, new):
        yield _statement(database, "drop_schema", {"schema": public})
    yield from content.script([backup.mlflow_schema])
    if old != new:
        yield _statement(database, "rename_schema", {"schema": old, "name": new})
    if public == old != new:
        yield _statement(database, "create_schema", {"schema": public})
    locations = {"schema": mlflow.schema, "old": backup.location, "new": mlflow.location}
    yield f"{database.render('move_artifacts', **locations)} \\gexec\n".encode()


def _fill(
    database: Database, schemas: Sequence[str], content: Content, script: Iterable[bytes]
) -> None:
    """Run the script, and record the backup's id in the same transaction, as a schema's comment."""
    backup = content.backup
    text = f"Restored from the backup of {backup.manifest.taken_at.isoformat()}: {backup.id}"
    schema = OWN_SCHEMA if OWN_SCHEMA in schemas else schemas[0]
    comment = {"schema": identifier(schema), "text": literal(text)}
    begin = _statement(database, "lock_migration")
    end = [_statement(database, "comment_on_schema", comment), _statement(database, "analyze")]
    try:
        client_programs.run(content.programs, database.url, chain([begin], script, end))
    except DatabaseUnavailable:
        # A killed restore of this backup may have committed in the meantime.
        if not _was_restored(database, schemas, backup):
            raise


def _statement(
    database: Database, name: str, names: Mapping[str, Composable] | None = None
) -> bytes:
    return f"{database.render(name, names)};\n".encode()
