"""A backup: history, features online, registry and artifacts in one file.

It has all of a step or nothing of it. A step that writes in more than one transaction holds a lock,
which is waited for; while it's held here, the snapshots are taken of which the tables are dumped,
and the artifacts are listed, which never change once they are written. Then everything goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from streamflow import __version__
from streamflow.bootstrap import MlflowStore, connected, mlflow_store
from streamflow.errors import BackupRefused
from streamflow.operations import backup_archive, backup_artifacts
from streamflow.operations.backup_archive import (
    ARTIFACTS,
    MLFLOW_DUMP,
    STREAMFLOW_DUMP,
    Content,
    Manifest,
)
from streamflow.postgres import client_programs
from streamflow.postgres.database import Database
from streamflow.progress import Progress, silent
from streamflow.scratch import scratch
from streamflow.settings import Settings
from streamflow.use_case import load_use_case

Contents = list[tuple[str, Content]]


@dataclass(frozen=True)
class Backup:
    file: Path
    bytes: int
    manifest: Manifest


@dataclass(frozen=True)
class _Snapshot:
    """A database as it was at one moment, while its transaction is open."""

    database: Database
    name: str

    def dumped(self, programs: Path, schemas: list[str]) -> Iterator[bytes]:
        return client_programs.dump(programs, self.database.url, schemas, self.name)


def backup(settings: Settings, file: Path, now: datetime, progress: Progress = silent) -> Backup:
    """Write a backup to the file, which is whole once it's there, and for its owner's eyes alone.

    Killed, it leaves a folder `FILE.partial`, which the next one takes away. Raises BackupRefused
    if the file is there already or can't be written, InvalidSettings, DatabaseUnavailable.
    """
    file = file.absolute()
    with _unfinished(file) as unfinished:
        _require_free(file)
        whole = _take(settings, unfinished, now, progress)
        size = unfinished.stat().st_size
        _require_free(file)
        unfinished.rename(file)
        backup_artifacts.sync(file.parent)
    return Backup(file, size, whole)


def _take(settings: Settings, file: Path, now: datetime, progress: Progress) -> Manifest:
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
        progress("waiting for steps under way")
        with Database(database.url) as waiting, waiting.transaction():
            waiting.execute("lock_steps")
            ours, theirs = _snapshots(database, mlflow, snapshots)
            names = backup_artifacts.listed(mlflow.artifacts)
        schemas = [row["name"] for row in ours.database.rows("own_schemas", history=history)]
        newest = ours.database.row("newest_migration")
        manifest = Manifest(
            format=1,
            version=__version__,
            schema=newest["number"],
            postgres=newest["server_version"],
            taken_at=now,
            schemas=tuple(schemas),
            mlflow_schema=mlflow.schema,
            location=mlflow.location,
            experiment=_experiment(ours, mlflow) if theirs is ours else None,
        )
        contents: Contents = [
            (MLFLOW_DUMP, partial(theirs.dumped, programs, [mlflow.schema])),
            (STREAMFLOW_DUMP, partial(ours.dumped, programs, schemas)),
        ]
        for name in names:
            contents.append(
                (ARTIFACTS + name, partial(backup_artifacts.content, mlflow.artifacts, name))
            )
        return _write(file, manifest, contents, progress)


def _require_free(file: Path) -> None:
    if os.path.lexists(file):
        raise BackupRefused(
            f"{file} is there already, and nothing is overwritten.",
            "Name another file, or move that one away.",
        )


def _snapshots(
    database: Database, mlflow: MlflowStore, opened: ExitStack
) -> tuple[_Snapshot, _Snapshot]:
    """Of our tables and of MLflow's: the same one, if they are in the same database."""
    ours = opened.enter_context(_snapshot(database.url, keep="lock_partitions"))
    if mlflow.database is database:
        return ours, ours
    return ours, opened.enter_context(_snapshot(mlflow.database.url))


def _experiment(ours: _Snapshot, mlflow: MlflowStore) -> int | None:
    """The experiment that keeps its files in the folder itself, as ours does without a server."""
    if not ours.database.row("registry_exists")["exists"]:
        return None
    found = ours.database.rows("experiment_at", location=mlflow.location)
    return found[0]["experiment_id"] if found else None


@contextmanager
def _snapshot(url: str, keep: str | None = None) -> Iterator[_Snapshot]:
    with Database(url) as database, database.transaction():
        database.execute("begin_snapshot")
        if keep:
            database.execute(keep)
        yield _Snapshot(database, database.row("export_snapshot")["snapshot"])


@contextmanager
def _unfinished(file: Path) -> Iterator[Path]:
    """Where to write what will be the file. Nothing stays there, of a killed backup neither."""
    beside = file.with_name(f"{file.name}.partial")
    try:
        with scratch(beside) as folder:
            yield folder / file.name
    except OSError as error:
        raise BackupRefused(
            f"{file} can't be written: {error.strerror}.",
            "Name a file in a folder of yours that has the space.",
        ) from error
    finally:
        with suppress(OSError):  # another backup of this name is being written
            beside.rmdir()


def _write(file: Path, manifest: Manifest, contents: Contents, progress: Progress) -> Manifest:
    def told(name: str, content: Content) -> Iterator[bytes]:
        progress(name)
        yield from content()

    following = [(name, partial(told, name, content)) for name, content in contents]
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w+b") as out:
        whole = backup_archive.write(out, manifest, following)
        out.flush()
        os.fsync(out.fileno())
    return whole
