"""A backup: history, online features, registry and artifacts in one file.

It contains all changes of a step or none. A step that writes in more than one transaction holds a
lock; a backup waits for it and holds it while it opens the databases' snapshots and lists the
artifacts, which never change once written. It dumps the snapshots after it released the lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from streamflow import __version__
from streamflow.bootstrap import connected
from streamflow.history.history_table import history_location
from streamflow.operations import backup_archive, backup_artifacts
from streamflow.operations.backup_archive import ReadMember
from streamflow.operations.backup_errors import BackupRefused
from streamflow.operations.backup_manifest import (
    ARTIFACTS,
    MLFLOW_DUMP,
    OWN_SCHEMA,
    STREAMFLOW_DUMP,
    Manifest,
)
from streamflow.operations.history_files import backed_up
from streamflow.operations.mlflow_store import MlflowStore, mlflow_store
from streamflow.postgres import client_programs
from streamflow.postgres.database import Database
from streamflow.progress import Progress, silent
from streamflow.scratch import scratch
from streamflow.settings import Settings
from streamflow.use_case.module import load_use_case

Members = list[tuple[str, ReadMember]]

# Which files a history has elsewhere; restored, it has others.
_CATALOG = [(OWN_SCHEMA, "iceberg_tables"), (OWN_SCHEMA, "iceberg_namespace_properties")]


@dataclass(frozen=True)
class Backup:
    """A backup that was written; `bytes` is the size of the file."""

    file: Path
    bytes: int
    manifest: Manifest


@dataclass(frozen=True)
class _Snapshot:
    """A database as it was at one moment; valid while its transaction is open."""

    database: Database
    name: str

    def dump(
        self, programs: Path, schemas: list[str], without: Sequence[tuple[str, str]] = ()
    ) -> Iterator[bytes]:
        url = self.database.url
        return client_programs.dump(programs, url, schemas, self.name, without, _CATALOG)


def backup(settings: Settings, file: Path, now: datetime, progress: Progress = silent) -> Backup:
    """Write a backup to the file, which appears when it is complete; only its owner can read it.

    A killed backup leaves a folder `FILE.partial`, which the next one removes. Raises
    BackupRefused if the file exists already or can't be written, InvalidSettings,
    DatabaseUnavailable.
    """
    file = file.absolute()
    with _unfinished(file) as unfinished:
        _require_free(file)
        manifest = _write_backup(settings, unfinished, now, progress)
        size = unfinished.stat().st_size
        _require_free(file)
        unfinished.rename(file)
        backup_artifacts.sync(file.parent)
    return Backup(file, size, manifest)


def _write_backup(settings: Settings, file: Path, now: datetime, progress: Progress) -> Manifest:
    history = load_use_case(settings.use_case).name
    programs = client_programs.programs(settings.postgres_binaries)
    with (
        connected(settings) as database,
        mlflow_store(settings, database) as mlflow,
        ExitStack() as snapshots,
    ):
        if not database.row("migrations_exist")["exists"]:
            raise BackupRefused(
                "There is nothing of StreamFlow in the database.",
                "See `streamflow status`; correct STREAMFLOW_HOME or STREAMFLOW_DATABASE_URL.",
            )
        progress("waiting for running steps")
        with Database(database.url) as locking, locking.transaction():
            locking.execute("lock_steps")
            own_snapshot, mlflow_snapshot = _snapshots(database, mlflow, snapshots)
            artifacts = backup_artifacts.listed(mlflow.artifacts)
        schemas = [
            row["name"] for row in own_snapshot.database.rows("own_schemas", history=history)
        ]
        newest = own_snapshot.database.row("newest_migration")
        of_history, without = _history_files(own_snapshot.database, schemas)
        manifest = Manifest(
            format=1,
            version=__version__,
            schema=newest["number"],
            postgres=newest["server_version"],
            taken_at=now,
            schemas=tuple(schemas),
            mlflow_schema=mlflow.schema,
            location=mlflow.location,
            experiment=_experiment(own_snapshot, mlflow)
            if mlflow_snapshot is own_snapshot
            else None,
        )
        members: Members = [
            (MLFLOW_DUMP, partial(mlflow_snapshot.dump, programs, [mlflow.schema])),
            (STREAMFLOW_DUMP, partial(own_snapshot.dump, programs, schemas, without)),
        ]
        for name in artifacts:
            members.append(
                (ARTIFACTS + name, partial(backup_artifacts.content, mlflow.artifacts, name))
            )
        return _write(file, manifest, [*members, *of_history], progress)


def _history_files(
    database: Database, use_cases: Sequence[str]
) -> tuple[Members, list[tuple[str, str]]]:
    """The members with the histories in Apache Iceberg, and the views that PostgreSQL has of them;
    a schema that is no use case's has none."""
    members: Members = []
    views = []
    for use_case in use_cases:
        if history_location(database, use_case) is None:
            continue
        members += backed_up.members(database, use_case)
        found = database.rows("iceberg_tables", use_case=use_case)
        views += [(use_case, row["table_name"]) for row in found]
    return members, views


def _require_free(file: Path) -> None:
    if os.path.lexists(file):
        raise BackupRefused(
            f"{file} is there already, and nothing is overwritten.",
            "Name another file, or move that one away.",
        )


def _snapshots(
    database: Database, mlflow: MlflowStore, exit_stack: ExitStack
) -> tuple[_Snapshot, _Snapshot]:
    """Snapshots of StreamFlow's and of MLflow's tables; one for both if they share a database."""
    own_snapshot = exit_stack.enter_context(_snapshot(database.url, lock="lock_partitions"))
    if mlflow.database is database:
        return own_snapshot, own_snapshot
    return own_snapshot, exit_stack.enter_context(_snapshot(mlflow.database.url))


def _experiment(own_snapshot: _Snapshot, mlflow: MlflowStore) -> int | None:
    """The id of the experiment whose artifact folder is the store's folder itself.

    StreamFlow creates its experiment so; MLflow's server uses a subfolder for each.
    """
    if not own_snapshot.database.row("registry_exists")["exists"]:
        return None
    found = own_snapshot.database.rows("experiment_at", location=mlflow.location)
    return found[0]["experiment_id"] if found else None


@contextmanager
def _snapshot(url: str, lock: str | None = None) -> Iterator[_Snapshot]:
    with Database(url) as database, database.transaction():
        database.execute("begin_snapshot")
        if lock:
            database.execute(lock)
        yield _Snapshot(database, database.row("export_snapshot")["snapshot"])


@contextmanager
def _unfinished(file: Path) -> Iterator[Path]:
    """A temporary path for the file, in the folder `FILE.partial`, which is removed afterwards."""
    folder_beside = file.with_name(f"{file.name}.partial")
    try:
        with scratch(folder_beside) as folder:
            yield folder / file.name
    except OSError as error:
        raise BackupRefused(
            f"{file} can't be written: {error.strerror}.",
            "Name a file in a folder of yours that has the space.",
        ) from error
    finally:
        with suppress(OSError):  # not empty: another backup to this file runs
            folder_beside.rmdir()


def _write(file: Path, manifest: Manifest, members: Members, progress: Progress) -> Manifest:
    def read_member(name: str, read: ReadMember) -> Iterator[bytes]:
        progress(name)
        yield from read()

    reported = [(name, partial(read_member, name, read)) for name, read in members]
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w+b") as out:
        written = backup_archive.write(out, manifest, reported)
        out.flush()
        os.fsync(out.fileno())
    return written
