"""GET /scores: a stored score, or the problem in its place."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from tests.unit.test_column_scoring import VERSION

from streamflow.api import problems
from streamflow.api.request import SCOPE_KEY, RequestRecord
from streamflow.api.routes import scores
from streamflow.api.routes.score_handler import ScoreHandler
from streamflow.errors import StreamFlowError
from streamflow.scores.one_score import EntityScore, NotScored, Reason, UnknownScore
from streamflow.scores.scorings import Scoring, no_scoring
from streamflow.serving.callbacks import Callback

MONTH = date(2024, 3, 31)
AT = datetime(2024, 4, 1, 6, tzinfo=UTC)
SCORING = Scoring(
    *(5, VERSION.name, VERSION.version, "hash", "run-3", "Production"),
    *(MONTH, AT, AT, "somebody", 7043, 2, {"missing_features": 1}),
)
REASON = Reason(1, "fee", 9.5, 0.25, 0.1, "A fee of 9.5, usually 5.")


class Lookup:
    def submit(self, entity_id: str, callback: Callback[EntityScore]) -> None:
        if entity_id == "gone":
            callback(NotScored("user_id", entity_id, MONTH, "departed"))
        elif entity_id != "a/1":
            callback(UnknownScore("user_id", entity_id, MONTH))
        else:
            callback(EntityScore(entity_id, SCORING, 0.8125, 1, 12, 1, (REASON,)))


def client(lookup: Lookup | None) -> TestClient:
    app = FastAPI()
    app.add_exception_handler(StreamFlowError, problems.handle_streamflow_error)
    handler = ScoreHandler(lookup, "example_model", "user_id", "user_id")  # type: ignore[arg-type]
    app.router.routes += scores.router(handler).routes

    async def with_record(scope: Any, receive: Any, send: Any) -> None:
        scope[SCOPE_KEY] = RequestRecord("a request", "GET", None, 0.0)
        await app(scope, receive, send)

    return TestClient(with_record)


def test_a_score_comes_with_its_rank_its_version_and_its_reasons() -> None:
    answer = client(Lookup()).get("/scores/a/1")
    assert answer.status_code == 200
    assert answer.json() == {
        "user_id": "a/1",
        "prediction": 1,
        "probability": 0.8125,
        "rank": 12,
        "of": 7043,
        "decile": 1,
        "model": {"name": "example_model", "version": 3, "run_id": "run-3"},
        "as_of": "2024-03-31",
        "known_at": "2024-04-01T06:00:00+00:00",
        "scored_at": "2024-04-01T06:00:00+00:00",
        "reasons": [
            {
                "position": 1,
                "feature": "fee",
                "value": 9.5,
                "contribution": 0.25,
                "background": 0.1,
                "sentence": "A fee of 9.5, usually 5.",
            }
        ],
        "request_id": "a request",
    }


@pytest.mark.parametrize(
    ("entity_id", "status", "code"),
    [("gone", 409, "not_scored"), ("nobody", 404, "unknown_score")],
)
def test_whoever_has_no_score_gets_the_problem(entity_id: str, status: int, code: str) -> None:
    answer = client(Lookup()).get(f"/scores/{entity_id}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if code == "not_scored":
        assert answer.json()["reason"] == "departed"


def test_before_anybody_was_scored_the_answer_says_what_to_run() -> None:
    answer = client(None).get("/scores/a")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_scoring")
    assert answer.json()["next"] == no_scoring("example_model").next
