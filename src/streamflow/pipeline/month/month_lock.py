"""One month at a time: a second `run-month` of the same model is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamflow.errors import StreamFlowError
from streamflow.postgres.database import Database


class MonthUnderWay(StreamFlowError):
    """Another `run-month` of the same registered model runs."""


@contextmanager
def one_month(database: Database, registered_model: str) -> Iterator[None]:
    """Hold the lock of the model's month until the block ends. Raises MonthUnderWay.

    The lock has its own connection, and the server releases it when that ends, also by a kill.
    """
    with Database(database.url) as holding, holding.transaction():
        if not holding.row("try_lock_month", model=registered_model)["locked"]:
            raise MonthUnderWay(
                f"Another `streamflow run-month` of {registered_model!r} is under way.",
                "Wait until it has ended, and run the same command again: it skips what is done.",
            )
        yield
