"""The processes of a PostgreSQL server on this machine, to be killed or halted all together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import psycopg


def server_of(url: str) -> psutil.Process:
    """The server's first process, which is the parent of all others."""
    with psycopg.connect(url) as connection:
        session = psutil.Process(connection.info.backend_pid)
        parent = session.parent()
    assert parent is not None
    return parent


def kill(server: psutil.Process) -> None:
    """SIGKILL to all at once: none hears of another's end and does something about it."""
    server.suspend()  # it makes no more processes
    for one in [*server.children(recursive=True), server]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    server.wait()


@contextmanager
def hanging(server: psutil.Process) -> Iterator[None]:
    """While the block runs the server is there and does nothing."""
    server.suspend()
    all_of_it = [server, *server.children(recursive=True)]
    try:
        for one in all_of_it:
            with suppress(psutil.NoSuchProcess):
                one.suspend()
        yield
    finally:
        for one in reversed(all_of_it):
            with suppress(psutil.NoSuchProcess):
                one.resume()
