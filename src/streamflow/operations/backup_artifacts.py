"""The artifacts: the files of runs and models in MLflow's folder, listed, read and restored.

MLflow writes each file once and never changes it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streamflow.hashes import sha256_of
from streamflow.operations.backup_archive import PART_BYTES, Archive
from streamflow.operations.backup_errors import BackupRefused, NotEmpty
from streamflow.operations.backup_manifest import ARTIFACTS, PARTIAL, shown
from streamflow.private_files import make_folder, open_private


def listed(folder: Path) -> list[str]:
    """The sorted paths, relative to the folder and with `/`, of all files in it and its subfolders.

    Empty if the folder doesn't exist. Raises BackupRefused if a folder below it can't be read.
    """

    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error)

    if not folder.exists():
        return []
    found = [
        Path(parent, name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder, onerror=refuse)
        for name in names
    ]
    for name in found:
        if not name.isascii() and name.encode(errors="replace").decode() != name:
            raise BackupRefused(
                f"The name of the artifact {folder / name!s} isn't UTF-8.".encode(
                    errors="backslashreplace"
                ).decode(),
                "Rename it, or delete its run: `mlflow gc`.",
            )
    return sorted(name for name in found if Path(name).name != PARTIAL)


def content(folder: Path, name: str) -> Iterator[bytes]:
    """The bytes of a file in parts. Raises BackupRefused if it can't be read any more."""
    try:
        with (folder / name).open("rb") as file:
            while part := file.read(PART_BYTES):
                yield part
    except OSError as error:
        raise _unreadable(folder / name, error) from error


def _unreadable(path: Path, error: OSError) -> BackupRefused:
    return BackupRefused(
        f"The artifact {path} can't be read: {error.strerror}.",
        "Make it readable; if `mlflow gc` has just removed it, run the same command again.",
    )


def missing(folder: Path, backup: Archive) -> list[str]:
    """The paths in the folder of the backup's artifacts that it doesn't have yet.

    Raises NotEmpty if the folder has a different file at one of these paths.
    """
    missing = []
    with _writing():
        for member in backup.manifest.artifacts:
            name = member.name.removeprefix(ARTIFACTS)
            try:
                found = (folder / name).stat()
            except FileNotFoundError:
                missing.append(name)
                continue
            if not stat.S_ISREG(found.st_mode) or sha256_of(folder / name) != member.sha256:
                raise NotEmpty(
                    f"{folder / name} is there already, and differs from the backup's.",
                    "Restore into another STREAMFLOW_HOME, or move that file away.",
                )
    return missing


def put(folder: Path, names: Iterable[str], backup: Archive) -> None:
    """Write these artifacts to the folder and to the disk, each completely or not at all.

    Raises BackupRefused if one of them can't be written.
    """
    with _writing():
        make_folder(folder)
        changed = {folder.parent, folder}
        for name in names:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            # One name is enough: a lock excludes a second restore.
            with open_private(folder / PARTIAL, "wb") as file:
                for part in backup.content(ARTIFACTS + name):
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            (folder / PARTIAL).rename(target)
            changed |= {parent for parent in target.parents if parent.is_relative_to(folder)}
        for parent in changed:
            sync(parent)


@contextmanager
def _writing() -> Iterator[None]:
    """Raise an error of the file system in the block as BackupRefused."""
    try:
        yield
    except OSError as error:
        raise BackupRefused(
            f"The artifact {shown(str(error.filename))} can't be written: {error.strerror}.",
            "Restore into a STREAMFLOW_HOME with a short path and free space, where nothing else "
            "is; then run the same command again.",
        ) from error


def sync(folder: Path) -> None:
    """Write the folder's list of file names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
