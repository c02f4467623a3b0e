"""The requests and responses in the OpenAPI document, with examples.

Docstrings of models are a part of that document. A test compares it with `serving.responses`.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.config import JsonDict

from streamflow import entity_id
from streamflow.errors import NoProductionModel, UnknownEntity
from streamflow.serving.responses import problem
from streamflow.training.dataset import FeatureValue

EXAMPLE_TIME = "2024-01-31T23:59:59.999999+00:00"
EXAMPLE_MODEL: JsonDict = {
    "name": "example_model",
    "version": 3,
    "run_id": "b7a1c2d3e4f5461788990a0b0c0d0e0f",
    "stage": "Production",
}


class ModelAnswer(BaseModel):
    """The model version that answered."""

    name: str
    version: int
    run_id: str = Field(description="the MLflow run that trained it")
    stage: str


class FeatureAnswer(BaseModel):
    """One feature as the model would be given it."""

    status: Literal["present", "null", "absent", "missing", "stale", "not_recorded"] = Field(
        description="`not_recorded`: without a value because the month's files had no such column"
    )
    value: FeatureValue
    type: Literal["INT64", "FLOAT64", "BOOL", "STRING"]
    feature_view: str
    event_timestamp: datetime | None = Field(description="the moment that the value speaks of")
    age_seconds: float | None
    max_age_seconds: float | None = Field(description="the age that the model allows, if it does")


# A class would have a docstring, and so the OpenAPI document a description.
_Alive = Literal["alive"]
HealthAnswer = create_model("HealthAnswer", status=(_Alive, ...))


class PartAnswer(BaseModel):
    """A part that a prediction needs. `detail` and `next` are there when something is amiss."""

    model_config = ConfigDict(extra="allow")

    ready: bool


class ProblemAnswer(BaseModel):
    """Why an id of a batch has no prediction, as `/predict` would have told."""

    code: str
    detail: str
    next: str


class ChallengerAnswer(BaseModel):
    """The version in Staging; `detail` and `next` say why it can't be served. Counts are of the
    process that answers, since it started."""

    version: int
    run_id: str | None = None
    mirror_percent: float | None = Field(None, description="share of predictions it scores too")
    scored: int | None = Field(None, description="predictions that it scored in the background")
    dropped: int | None = Field(None, description="predictions that it didn't: too many waited")
    canary_percent: float | None = Field(None, description="share of the entities it answers")
    canary_ended: str | None = Field(None, description="why a canary ended by itself")
    code: str | None = None
    detail: str | None = None
    next: str | None = None


class ReadyAnswer(BaseModel):
    """Ready when each part is; `not_ready` names those that aren't. `challenger` is there with a
    version in Staging, and no prediction needs it."""

    ready: bool
    not_ready: list[Literal["model", "feature_store"]]
    model: PartAnswer
    feature_store: PartAnswer
    challenger: ChallengerAnswer | None = None
    looked_at: datetime | None = Field(description="when the registry was last looked at")
    looked_seconds_ago: float | None = Field(description="how long ago that was")


def id_rules() -> dict[str, Any]:
    """The limits of an id, as arguments of Pydantic's fields and FastAPI's parameters."""
    return {"min_length": 1, "max_length": entity_id.LONGEST, "pattern": entity_id.PATTERN}


def path_parameter(join_key: str) -> str:
    """The name of a path's parameter for an id: an identifier, whatever the join key is."""
    return re.sub(r"\W|^(?=\d)", "_", join_key, flags=re.ASCII)


def request_models(
    join_key: str, example: str, most: int
) -> tuple[type[BaseModel], type[BaseModel]]:
    """The bodies of /predict and of /predict/batch, which takes up to `most` ids."""
    single = create_model(
        "PredictRequest",
        __config__=ConfigDict(
            extra="forbid", strict=True, json_schema_extra={"examples": [{join_key: example}]}
        ),
        # The field's own name is fixed, so that a join key like `schema` is as good as any.
        entity_id=(str, Field(alias=join_key, description="the entity to score", **id_rules())),
    )
    batch = create_model(
        "PredictBatchRequest",
        __config__=ConfigDict(
            extra="forbid",
            strict=True,
            json_schema_extra={"examples": [{f"{join_key}s": [example]}]},
        ),
        entity_ids=(
            list[Annotated[str, Field(**id_rules())]],
            Field(alias=f"{join_key}s", min_length=1, max_length=most),
        ),
    )
    return single, batch


def prediction_schema(join_key: str, example_id: str, request_id: str) -> type[BaseModel]:
    """The response of /predict, with an example."""
    example: JsonDict = {
        join_key: example_id,
        "prediction": 0,
        "probability": 0.1875,
        "features_used": {"visits": 3, "amount": 45.25, "member": False, "discount": None},
        "model": EXAMPLE_MODEL,
        "features_as_of": EXAMPLE_TIME,
        "feature_times": {"activity_view": EXAMPLE_TIME},
        "warnings": [],
        "request_id": request_id,
    }
    return create_model(
        "PredictionAnswer",
        __config__=ConfigDict(json_schema_extra={"examples": [example]}),
        entity_id=(str, Field(alias=join_key)),
        prediction=(Literal[0, 1], Field(description="the model's own label")),
        probability=(float, Field(ge=0, le=1, description="the probability of 1")),
        features_used=(dict[str, FeatureValue], Field(description="in the model's order")),
        model=(ModelAnswer, ...),
        features_as_of=(datetime, Field(description="the oldest of feature_times")),
        feature_times=(
            dict[str, datetime | None],
            Field(description="event time per feature view; null where the entity has no row"),
        ),
        warnings=(list[str], ...),
        request_id=(str, ...),
    )


def features_schema(join_key: str, example_id: str, request_id: str) -> type[BaseModel]:
    """The response of /features, with an example."""
    reading: JsonDict = {
        "status": "present",
        "value": 3,
        "type": "INT64",
        "feature_view": "activity_view",
        "event_timestamp": EXAMPLE_TIME,
        "age_seconds": 0.0,
        "max_age_seconds": 3456000.0,
    }
    discount: JsonDict = {"status": "null", "value": None, "type": "FLOAT64"}
    example: JsonDict = {
        join_key: example_id,
        "model": EXAMPLE_MODEL,
        "features": {"visits": reading, "discount": {**reading, **discount}},
        "request_id": request_id,
    }
    return create_model(
        "FeaturesAnswer",
        __config__=ConfigDict(json_schema_extra={"examples": [example]}),
        entity_id=(str, Field(alias=join_key)),
        model=(ModelAnswer, Field(description="the model whose features these are")),
        features=(dict[str, FeatureAnswer], Field(description="in the model's order")),
        request_id=(str, ...),
    )


def batch_schema(join_key: str, example_id: str, request_id: str) -> type[BaseModel]:
    """The response of /predict/batch, with an example."""
    one = prediction_schema(join_key, example_id, request_id).model_json_schema()["examples"][0]
    predicted = {key: one[key] for key in one if key not in ("model", "request_id")}
    unknown = problem(UnknownEntity(join_key, "A-1002"))
    example = {
        "predictions": [predicted, {join_key: "A-1002", "problem": unknown}],
        "model": one["model"],
        "request_id": request_id,
    }
    row = create_model(
        "BatchRow",
        __config__=ConfigDict(extra="forbid"),
        entity_id=(str, Field(alias=join_key)),
        prediction=(Literal[0, 1] | None, None),
        probability=(float | None, None),
        features_used=(dict[str, FeatureValue] | None, None),
        features_as_of=(datetime | None, None),
        feature_times=(dict[str, datetime | None] | None, None),
        warnings=(list[str] | None, None),
        model=(
            ModelAnswer | None,
            Field(None, description="the version of a canary that answered this id"),
        ),
        problem=(ProblemAnswer | None, Field(None, description="instead of all the others")),
    )
    return create_model(
        "BatchAnswer",
        __config__=ConfigDict(json_schema_extra={"examples": [example]}),
        predictions=(list[row], Field(description="one per id, in their order")),  # type: ignore[valid-type]
        model=(ModelAnswer, Field(description="the model that answered all without one")),
        request_id=(str, ...),
    )


def ready_examples(registered_model: str) -> tuple[dict[str, object], dict[str, object]]:
    """Two responses of /ready: one with a model, and one without."""
    shared = {
        "feature_store": {"ready": True, "materialized": {"activity_view": EXAMPLE_TIME}},
        "looked_at": EXAMPLE_TIME,
        "looked_seconds_ago": 0.4,
    }
    none = {"name": registered_model, **problem(NoProductionModel(registered_model))}
    return (
        {"ready": True, "not_ready": [], "model": {"ready": True, **EXAMPLE_MODEL}, **shared},
        {"ready": False, "not_ready": ["model"], "model": {"ready": False, **none}, **shared},
    )
