"""A scoring while it is made: what is scored already stays scored, and nobody reads it yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime

from streamflow.postgres.database import Database
from streamflow.scores.scorings import Scoring


@dataclass(frozen=True)
class ScoringKey:
    """What decides all scores of a scoring. There is at most one scoring of each."""

    model: str
    version: int
    model_hash: str
    as_of: date
    known_at: datetime


@contextmanager
def one_at_a_time(database: Database, model: str) -> Iterator[None]:
    """Make another scoring of the model wait until the block ends.

    The lock has its own connection, because the block has transactions of its own.
    """
    with Database(database.url) as holding, holding.transaction():
        holding.execute("lock_scoring", model=model)
        yield


def finished(database: Database, key: ScoringKey) -> Scoring | None:
    """The scoring with this key, if it was finished."""
    found = database.rows("scoring_of", **asdict(key))
    return Scoring(**found[0]) if found else None


def begin(database: Database, key: ScoringKey) -> int:
    """The number of the unfinished scoring with this key, a new one if there is none.

    Unfinished scorings of the model with another key are given up.
    """
    number: int = database.row("begin_scoring", **asdict(key))["unfinished_id"]
    return number


def finish(
    database: Database, unfinished_id: int, run_id: str, stage: str, scored_at: datetime, who: str
) -> int:
    """Rank the scores and publish all of them at once; returns the number of the scoring."""
    number: int = database.row(
        "finish_scoring",
        unfinished_id=unfinished_id,
        run_id=run_id,
        stage=stage,
        scored_at=scored_at,
        scored_by=who,
    )["scoring_id"]
    return number
