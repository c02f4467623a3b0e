"""An entity's stored score, read with two queries: for pages, where a thread may wait."""

from __future__ import annotations

from streamflow.postgres.database import Database
from streamflow.scores import scorings
from streamflow.scores.one_score import EntityScore, NotScored, Reason, UnknownScore
from streamflow.use_case import UseCase


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
