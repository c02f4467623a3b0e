"""One entity's score, with its rank and the reasons that are stored for it; or why it has none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from streamflow.errors import StreamFlowError
from streamflow.postgres.database import Database
from streamflow.scores import scorings
from streamflow.scores.scorings import Scoring
from streamflow.use_case import UseCase


class UnknownScore(StreamFlowError):
    """The scoring doesn't know the entity."""

    def __init__(self, join_key: str, entity_id: str, as_of: date) -> None:
        super().__init__(
            f"{join_key} {entity_id!r} isn't known to the scores of {as_of}.",
            "Check the id; or load its month: `streamflow ingest`, then `streamflow score`.",
        )


class NotScored(StreamFlowError):
    """The scoring knows the entity and has no score of it, for the problem with the code
    `reason`: `departed` if it isn't there any more."""

    def __init__(self, join_key: str, entity_id: str, as_of: date, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"{join_key} {entity_id!r} has no score of {as_of}: {reason}.",
            "If it is still there, load its complete rows: `streamflow ingest`, then "
            "`streamflow score`.",
        )


@dataclass(frozen=True)
class Reason:
    """One of the strongest reasons of a score, as the table `reasons` has it."""

    position: int
    feature: str
    value: Any
    contribution: float
    background: Any
    sentence: str


@dataclass(frozen=True)
class EntityScore:
    """An entity's score in a scoring. `rank` 1 and `decile` 1 are the highest."""

    entity_id: str
    scoring: Scoring
    probability: float
    label: int
    rank: int
    decile: int
    reasons: tuple[Reason, ...]


def entity_score(
    join_key: str,
    entity_id: str,
    scoring: Scoring,
    found: tuple[float, int, int | None, int, str | None],
    reasons: tuple[Reason, ...],
) -> EntityScore:
    """The score by what the scoring has of the entity: its probability, label, rank, decile and
    problem. Raises NotScored, UnknownScore."""
    probability, label, rank, decile, problem = found
    if problem is not None:
        raise NotScored(join_key, entity_id, scoring.as_of, problem)
    if rank is None:
        raise UnknownScore(join_key, entity_id, scoring.as_of)
    return EntityScore(entity_id, scoring, probability, label, rank, decile, reasons)


def newest_score(database: Database, use_case: UseCase, entity_id: str) -> EntityScore:
    """The entity's score in the newest scoring of the use case's model.

    Raises NoScoring, UnknownScore, NotScored, DatabaseUnavailable.
    """
    scoring = scorings.newest(database, use_case)
    of_entity = {"scoring_id": scoring.scoring_id, "entity_id": entity_id}
    row = database.row("score_of", **of_entity)
    found = (row["probability"], row["label"], row["rank"], row["decile"], row["problem"])
    reasons = tuple(Reason(**one) for one in database.rows("reasons_of", **of_entity))
    return entity_score(use_case.join_key, entity_id, scoring, found, reasons)
