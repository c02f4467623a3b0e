"""The API's good answers: their schemas for the documentation, and how they're filled.

What is documented is what is sent: a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from streamflow.errors import NoProductionModel, StreamFlowError
from streamflow.serving.predictor import Prediction, Predictor, Served
from streamflow.serving.reader import FeatureReading
from streamflow.serving.watcher import Sight

if TYPE_CHECKING:
    from streamflow.runs import ModelVersion

Value = bool | int | float | str | None

EXAMPLE_TIME = "2024-01-31T23:59:59.999999+00:00"
EXAMPLE_MODEL = {
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

    status: Literal["present", "null", "missing", "stale"]
    value: Value
    type: Literal["INT64", "FLOAT64", "BOOL", "STRING"]
    feature_view: str
    event_timestamp: datetime | None = Field(description="the moment that the value speaks of")
    age_seconds: float | None
    max_age_seconds: float | None = Field(description="the age that the model allows, if it does")


class HealthAnswer(BaseModel):
    status: Literal["alive"]


class PartAnswer(BaseModel):
    """A part that a prediction needs. `detail` and `next` are there when something is amiss."""

    model_config = ConfigDict(extra="allow")

    ready: bool


class ReadyAnswer(BaseModel):
    """Ready when each part is; `not_ready` names those that aren't."""

    ready: bool
    not_ready: list[Literal["model", "feature_store"]]
    model: PartAnswer
    feature_store: PartAnswer
    looked_at: datetime | None = Field(description="when the registry was last looked at")


def prediction_schema(join_key: str, example_id: str, request_id: str) -> type[BaseModel]:
    """The schema of an answer of /predict, with an example."""
    example: dict[str, Any] = {
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
        features_used=(dict[str, Value], Field(description="in the model's order")),
        model=(ModelAnswer, ...),
        features_as_of=(datetime, Field(description="the oldest of feature_times")),
        feature_times=(dict[str, datetime], Field(description="event time per feature view")),
        warnings=(list[str], ...),
        request_id=(str, ...),
    )


def features_schema(join_key: str, example_id: str, request_id: str) -> type[BaseModel]:
    """The schema of an answer of /features, with an example."""
    reading = {
        "status": "present",
        "value": 3,
        "type": "INT64",
        "feature_view": "activity_view",
        "event_timestamp": EXAMPLE_TIME,
        "age_seconds": 0.0,
        "max_age_seconds": 3456000.0,
    }
    discount = {"status": "null", "value": None, "type": "FLOAT64"}
    example: dict[str, Any] = {
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


def prediction(join_key: str, given: Prediction) -> dict[str, Any]:
    return {
        join_key: given.entity_id,
        "prediction": given.prediction,
        "probability": given.probability,
        "features_used": dict(given.features_used),
        "model": _model(given.model),
        "features_as_of": _iso(given.features_as_of),
        "feature_times": {view: _iso(time) for view, time in given.feature_times.items()},
        "warnings": list(given.warnings),
        "request_id": given.request_id,
    }


def features(
    join_key: str,
    entity_id: str,
    served: Served,
    readings: Sequence[FeatureReading],
    request_id: str,
) -> dict[str, Any]:
    return {
        join_key: entity_id,
        "model": _model(served.version),
        "features": {
            reading.name: {
                "status": reading.status,
                "value": reading.value,
                "type": reading.type,
                "feature_view": reading.feature_view,
                "event_timestamp": _iso(reading.event_timestamp),
                "age_seconds": reading.age_seconds,
                "max_age_seconds": reading.max_age_seconds,
            }
            for reading in readings
        },
        "request_id": request_id,
    }


def ready(predictor: Predictor, sight: Sight) -> dict[str, Any]:
    """What a prediction needs, part by part, as the watcher's last look found it.

    A trouble that a prediction survives (MLflow is down, a newer version was refused) is told
    beside `ready: true`.
    """
    parts = {
        "model": _model_part(predictor, sight),
        "feature_store": _feature_store_part(predictor, sight),
    }
    not_ready = [name for name, part in parts.items() if not part["ready"]]
    return {
        "ready": not not_ready,
        "not_ready": not_ready,
        **parts,
        "looked_at": _iso(sight.looked_at),
    }


def _model_part(predictor: Predictor, sight: Sight) -> dict[str, Any]:
    part: dict[str, Any]
    try:
        served = predictor.production()
    except StreamFlowError as error:
        part = {"ready": False, "name": predictor.registered_model, **_trouble(error)}
    else:
        part = {"ready": True, **_model(served.version)}
    if sight.registry_error is not None:
        part["registry"] = _trouble(sight.registry_error)
    if sight.refusal is not None:
        refused = {"version": sight.refusal.version.version, **_trouble(sight.refusal.error)}
        part["refused"] = refused
    return part


def _feature_store_part(predictor: Predictor, sight: Sight) -> dict[str, Any]:
    newest = predictor.newest
    part: dict[str, Any] = {"ready": True}
    if sight.feature_store_error is not None:
        part = {"ready": False, **_trouble(sight.feature_store_error)}
    elif newest is not None:
        served = predictor.served
        needed = {feature.feature_view for feature in served.schema.features} if served else set()
        absent = sorted(needed - newest.keys())
        if absent or not newest:
            part = {
                "ready": False,
                "code": "nothing_materialized",
                "detail": f"No month is in the online store for {', '.join(absent) or 'any view'}.",
                "next": "Run `streamflow materialize`.",
            }
    else:
        part = {
            "ready": False,
            "code": "not_looked_yet",
            "detail": "The online store hasn't answered yet.",
            "next": "Wait a moment, and ask again.",
        }
    part["materialized"] = {view: _iso(time) for view, time in sorted((newest or {}).items())}
    return part


def _trouble(error: StreamFlowError) -> dict[str, str]:
    return {"code": error.code, "detail": error.message, "next": error.next}


def ready_examples(registered_model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two examples of /ready: one that is, and one without a model."""
    shared = {
        "feature_store": {"ready": True, "materialized": {"activity_view": EXAMPLE_TIME}},
        "looked_at": EXAMPLE_TIME,
    }
    none = {"name": registered_model, **_trouble(NoProductionModel(registered_model))}
    return (
        {"ready": True, "not_ready": [], "model": {"ready": True, **EXAMPLE_MODEL}, **shared},
        {"ready": False, "not_ready": ["model"], "model": {"ready": False, **none}, **shared},
    )


def _model(version: ModelVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "run_id": version.run_id,
        "stage": version.stage,
    }


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat(timespec="microseconds")
