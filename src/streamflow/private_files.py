"""Files and folders that nobody but their owner can read: modes 0600 and 0700."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

HOME_FOLDERS = (
    "checked",
    "data",
    "locks",
    "logs",
    "metrics",
    "mlflow",
    "models",
    "reports",
    "scratch",
)
_OTHERS = 0o077
# The umask of the user, while `keep_private` has replaced it.
_users_umask: int | None = None


def keep_private() -> None:
    """From now on, new files of this process and of its children are for their owner alone."""
    global _users_umask
    before = os.umask(_OTHERS)
    if _users_umask is None:
        _users_umask = before


@contextmanager
def users_umask() -> Iterator[None]:
    """New files of the block have the modes that the user wants, where the user named the path."""
    before = os.umask(_OTHERS if _users_umask is None else _users_umask)
    if _users_umask is None:
        os.umask(before)
    try:
        yield
    finally:
        os.umask(before)


def make_folder(folder: Path) -> Path:
    """Create the folder, which only its owner can enter, and its parents; returns it.

    An existing folder of ours is closed to others too.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_mode & _OTHERS and found.st_uid == os.geteuid():
        folder.chmod(0o700)
    return folder


def make_home(home: Path) -> Path:
    """Create the home and its parents, if it doesn't exist; returns it.

    Only its owner can enter it. If that is root, others can enter it but not list it: PostgreSQL,
    which refuses to run as root, has its folder there. An existing home may be a folder of the
    user's with other things in it: its mode stays, and our own folders in it are closed.
    """
    try:
        home.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        for name in HOME_FOLDERS:
            if (home / name).is_dir():
                make_folder(home / name)
    else:
        if os.geteuid() == 0:
            home.chmod(0o711)
    return home


def open_private(file: Path, mode: str) -> IO[Any]:
    """Open a file as `open` does; a new one is for its owner alone."""
    return open(file, mode, opener=lambda path, flags: os.open(path, flags, 0o600))
