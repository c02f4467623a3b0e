"""The response of /scores, and its description in the OpenAPI document."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from streamflow.scores.one_score import EntityScore


class ScoringModel(BaseModel):
    """The version that scored."""

    name: str
    version: int
    run_id: str


class ReasonAnswer(BaseModel):
    """One of the strongest reasons of a score."""

    position: int = Field(description="1 is the strongest")
    feature: str
    value: JsonValue
    contribution: float
    background: JsonValue
    sentence: str = Field(description="the reason in words")


def score_schema(join_key: str, example_id: str, request_id: str) -> type[BaseModel]:
    """The response of /scores, with an example."""
    example: dict[str, JsonValue] = {
        join_key: example_id,
        "prediction": 1,
        "probability": 0.8125,
        "rank": 12,
        "of": 7043,
        "decile": 1,
        "model": {"name": "example_model", "version": 3, "run_id": "0f8fad5bd9cb469fa1657086"},
        "as_of": "2024-01-31",
        "known_at": "2024-02-01T06:00:00+00:00",
        "scored_at": "2024-02-01T06:30:00+00:00",
        "reasons": [],
        "request_id": request_id,
    }
    return create_model(
        "ScoreAnswer",
        __config__=ConfigDict(json_schema_extra={"examples": [example]}),
        entity_id=(str, Field(alias=join_key)),
        prediction=(Literal[0, 1], Field(description="the model's own label")),
        probability=(float, Field(ge=0, le=1, description="the probability of 1")),
        rank=(int, Field(ge=1, description="1 is the highest probability")),
        of=(int, Field(ge=1, description="how many have a rank")),
        decile=(int, Field(ge=1, le=10, description="1 has the highest ranks")),
        model=(ScoringModel, ...),
        as_of=(date, Field(description="the month that was scored")),
        known_at=(datetime, Field(description="what was recorded by then was used")),
        scored_at=(datetime, ...),
        reasons=(list[ReasonAnswer], Field(description="empty if the score isn't explained")),
        request_id=(str, ...),
    )


def document(join_key: str, found: EntityScore, request_id: str) -> dict[str, Any]:
    """The response of /scores."""
    scoring = found.scoring
    return {
        join_key: found.entity_id,
        "prediction": found.label,
        "probability": found.probability,
        "rank": found.rank,
        "of": scoring.entities,
        "decile": found.decile,
        "model": {"name": scoring.model, "version": scoring.version, "run_id": scoring.run_id},
        "as_of": scoring.as_of.isoformat(),
        "known_at": scoring.known_at.isoformat(),
        "scored_at": scoring.scored_at.isoformat(),
        "reasons": [asdict(one) for one in found.reasons],
        "request_id": request_id,
    }
