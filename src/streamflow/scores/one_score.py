"""One entity's score out of the tables, with its rank and the reasons that are stored for it."""

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


class ScoreReader:
    """Reads scores of the newest scoring of a use case's model; any thread may use it."""

    def __init__(self, database: Database, use_case: UseCase) -> None:
        self._database = database
        self._model = use_case.registered_model
        self._join_key = use_case.join_key

    def score(self, entity_id: str) -> EntityScore:
        """The entity's newest score. Raises NoScoring, UnknownScore, NotScored,
        DatabaseUnavailable."""
        scoring = scorings.newest(self._database, self._model)
        of_entity = {"scoring_id": scoring.scoring_id, "entity_id": entity_id}
        (found,) = self._database.rows("score_of", **of_entity)
        if found["problem"] is not None:
            raise NotScored(self._join_key, entity_id, scoring.as_of, found["problem"])
        if found["rank"] is None:
            raise UnknownScore(self._join_key, entity_id, scoring.as_of)
        rows = self._database.rows("reasons_of", **of_entity)
        return EntityScore(
            entity_id,
            scoring,
            found["probability"],
            found["label"],
            found["rank"],
            found["decile"],
            tuple(Reason(**row) for row in rows),
        )
