"""Temporary folders and files; what a killed process left is removed by the next one."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, removed after the block; folders of killed processes are removed.

    `parent` is for these folders alone.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(parent):
        _remove_unused(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # the system releases it when the process ends
    try:
        yield folder
    finally:
        # a process that was killed as it started a program shares its lock with that program for
        # an instant: at the start of the block, its folder may still have been in use
        with suppress(FileNotFoundError), _locked(parent):
            _remove_unused(parent)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _remove_unused(parent: Path) -> None:
    for existing in parent.iterdir():
        if not _in_use(existing):
            shutil.rmtree(existing, ignore_errors=True)


@contextmanager
def replacement(file: Path) -> Iterator[Path]:
    """A temporary file that takes the place of `file` after the block, unless that raises an error.

    It is in the same folder, and only its user may read it; an existing `file` keeps its mode, and
    a symbolic link its target. Temporary files of killed processes are removed.
    Raises OSError if the folder or an existing `file` can't be written.
    """
    file = file.resolve()
    if file.exists() and not os.access(file, os.W_OK):
        raise PermissionError(errno.EACCES, "it is write-protected", str(file))
    prefix, suffix = f".{file.name}.", ".partial"
    for existing in file.parent.glob(f"{glob.escape(prefix)}*{suffix}"):
        if existing.is_file() and not existing.is_symlink() and not _in_use(existing):
            existing.unlink(missing_ok=True)
    descriptor, temporary = _locked_file(file.parent, prefix, suffix)
    try:
        with suppress(FileNotFoundError):
            os.fchmod(descriptor, stat.S_IMODE(file.stat().st_mode))
        yield temporary
        os.fsync(descriptor)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def _locked_file(folder: Path, prefix: str, suffix: str) -> tuple[int, Path]:
    """A new file with mode 0600, open and locked until it is closed or the process ends."""
    while True:
        descriptor, name = tempfile.mkstemp(suffix, prefix, folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):  # another process removed it before it was locked
            if os.path.samestat(os.stat(name), os.fstat(descriptor)):
                return descriptor, Path(name)
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _in_use(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):  # its owner has just removed it, or isn't we
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
