"""Scorings: that a version scored everyone of a month. Append-only.

A scoring is there only when all its scores are, so whoever has its number reads all of them from
the table `scores`, and from `unscored` who has none and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from streamflow.errors import StreamFlowError
from streamflow.history.withdrawals.known_rows import month_stands
from streamflow.postgres.database import Database
from streamflow.use_case import UseCase


class NoScoring(StreamFlowError):
    """Nobody was scored at the as_of, or by the version."""


@dataclass(frozen=True)
class Scoring:
    """A version's scores of all entities of the month `as_of`, as known at `known_at`. Times are in
    UTC.

    `entities` have a score. `departed` were known before and aren't in this month any more; the
    others without a score are counted in `refused` by the code of the problem that a prediction
    would have. `stage` is the version's when it scored.
    """

    scoring_id: int
    model: str
    version: int
    model_hash: str
    run_id: str
    stage: str
    as_of: date
    known_at: datetime
    scored_at: datetime
    scored_by: str
    entities: int
    departed: int
    refused: Mapping[str, int]


def newest(
    database: Database, use_case: UseCase, as_of: date | None = None, version: int | None = None
) -> Scoring:
    """The newest scoring of the use case's model; of that month and version, if given.

    Newest is the one of the newest month, of what was known last, and made last. Without `version`,
    only scorings by a version that was in Production then count: others were made to look at. None
    counts of a month of which all that was known then has been withdrawn. Raises NoScoring.
    """
    model = use_case.registered_model
    names = {"month_stands": month_stands(use_case.name, "scorings")}
    found = database.rows("newest_scoring", names, model=model, as_of=as_of, version=version)
    if not found:
        raise no_scoring(model, as_of, version)
    return Scoring(**found[0])


def no_scoring(model: str, as_of: date | None = None, version: int | None = None) -> NoScoring:
    """The error that says how to score."""
    of_month = "" if as_of is None else f" of AS_OF {as_of}"
    of_version = "" if version is None else f" by version {version}"
    option = "" if version is None else f" --version {version}"
    return NoScoring(
        f"There are no scores{of_month} of {model!r}{of_version}.",
        f"Score everyone: `streamflow score --as-of {as_of or 'DATE'}{option}`.",
    )
