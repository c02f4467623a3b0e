"""From an entity's id to the body of the response of `/scores`, with FastAPI or without."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pydantic_core import to_json

from streamflow.api.request import RequestRecord
from streamflow.api.routes import score_answer
from streamflow.entity_id import is_id
from streamflow.scores.one_score import EntityScore
from streamflow.scores.score_lookup import ScoreLookup
from streamflow.scores.scorings import no_scoring
from streamflow.serving.callbacks import Callback, wait_for

PATH = "/scores/"


@dataclass(frozen=True)
class ScoreHandler:
    """Looks scores up, and adds the model's version to the request's record.

    `parameter` is the name of the id in the route. Without `scores`, nobody has a score.
    """

    scores: ScoreLookup | None
    registered_model: str
    join_key: str
    parameter: str

    @property
    def route(self) -> str:
        """The template of the paths."""
        return f"{PATH}{{{self.parameter}}}"

    async def score(self, entity_id: str, record: RequestRecord) -> bytes:
        """The entity's newest score as JSON.

        Raises NoScoring, UnknownScore, NotScored, DatabaseUnavailable.
        """
        return await wait_for(partial(self._start, entity_id, record))

    def direct(self, path: str, record: RequestRecord, callback: Callback[bytes]) -> bool:
        """Look up the entity that the path names; False if it names none."""
        entity_id = path.removeprefix(PATH)
        if not is_id(entity_id):
            return False
        self._start(entity_id, record, callback)
        return True

    def _start(self, entity_id: str, record: RequestRecord, callback: Callback[bytes]) -> None:
        def finish(found: EntityScore | Exception) -> None:
            if isinstance(found, Exception):
                callback(found)
                return
            record.model_version = found.scoring.version
            callback(to_json(score_answer.document(self.join_key, found, record.request_id)))

        if self.scores is None:
            callback(no_scoring(self.registered_model))
        else:
            self.scores.submit(entity_id, finish)
