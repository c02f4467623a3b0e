"""The files of runs and models in a folder: which there are, read, and put back where they were.

MLflow writes each of them once and never again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from streamflow.errors import BackupRefused, NotEmpty
from streamflow.hashes import sha256_of
from streamflow.operations.backup_archive import ARTIFACTS, PART_BYTES, Archive

# A file is written under this name first. There is one at a time: restores exclude each other.
PARTIAL = ".restoring"


def listed(folder: Path) -> list[str]:
    """The files below the folder, by their paths in it with `/`, sorted; none if it isn't there.

    Raises BackupRefused if a folder below it can't be read.
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
    return sorted(name for name in found if Path(name).name != PARTIAL)


def content(folder: Path, name: str) -> Iterator[bytes]:
    """Raises BackupRefused if the file can't be read any more."""
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
    """The backup's artifacts that aren't in the folder yet, by their paths in it.

    Raises NotEmpty if there is another file in the place of one.
    """
    found = []
    for member in backup.manifest.artifacts:
        name = member.name.removeprefix(ARTIFACTS)
        if not (folder / name).exists():
            found.append(name)
        elif not (folder / name).is_file() or sha256_of(folder / name) != member.sha256:
            raise NotEmpty(
                f"{folder / name} is there already, and isn't what the backup has.",
                "Restore into another STREAMFLOW_HOME, or move that file away.",
            )
    return found


def put(folder: Path, names: Iterable[str], backup: Archive) -> None:
    """Bring these into the folder and onto the disk, each of them whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    touched = {folder.parent, folder}
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with (folder / PARTIAL).open("wb") as file:
            for part in backup.content(ARTIFACTS + name):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        (folder / PARTIAL).rename(target)
        touched |= {parent for parent in target.parents if parent.is_relative_to(folder)}
    for parent in touched:
        sync(parent)


def sync(folder: Path) -> None:
    """Have the folder's own list of names on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
