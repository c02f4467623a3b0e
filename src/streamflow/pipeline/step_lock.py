"""A lock for steps of several transactions: a backup contains all of a step or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamflow.postgres.database import Database


@contextmanager
def one_step(database: Database) -> Iterator[None]:
    """Make a backup wait until the block ends; a running backup makes the block wait.

    The lock has its own connection, because the block has transactions of its own.
    """
    with Database(database.url) as holding, holding.transaction():
        holding.execute("lock_step")
        yield
