"""Which servers of a home run, and where: each holds a lock while it runs.

    home/locks/api-8000     held by the process that serves there; its content is the URL

A port alone doesn't say whose server listens there: it may be another home's, or another program.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from streamflow.private_files import make_folder, open_private


@contextmanager
def recorded(home: Path, name: str, url: str) -> Iterator[None]:
    """Record that this process, or a child of it, is the home's server `name` at `url`."""
    with open_private(make_folder(home / "locks") / f"{name}-{urlsplit(url).port}", "a+") as file:
        with suppress(BlockingIOError):  # recorded by another process, at the same port
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(url)
        file.flush()
        yield


def urls(home: Path, name: str) -> list[str]:
    """The URLs at which the home's servers `name` run; sorted."""
    return sorted(
        file.read_text() for file in (home / "locks").glob(f"{name}-*") if _is_locked(file)
    )


def _is_locked(file: Path) -> bool:
    with file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
