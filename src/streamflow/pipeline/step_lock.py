"""A step that writes in several transactions, as one thing to a backup."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamflow.postgres.database import Database


@contextmanager
def one_step(database: Database) -> Iterator[None]:
    """Let a backup have all of the block or nothing of it.

    The lock has a connection of its own, as the block's statements are not its transaction.
    """
    with Database(database.url) as holding, holding.transaction():
        holding.execute("lock_step")
        yield
