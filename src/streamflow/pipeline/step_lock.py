"""A lock for steps of several transactions: a backup contains all of a step or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamflow.postgres.database import Database


@contextmanager
def one_step(database: Database, registered_model: str | None = None) -> Iterator[None]:
    """Make a backup wait until the block ends; a running backup makes the block wait.

    If it is given, no version of the registered model moves to another stage meanwhile.

    The lock has its own connection, because the block has transactions of its own.
    """
    with Database(database.url) as holding, holding.transaction():
        if registered_model is None:
            holding.execute("lock_step")
        else:
            holding.execute("lock_promotion", model=registered_model)
        yield
