"""The API's responses other than problems, as JSON documents; `schemas` describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from streamflow.errors import NoAnswer, StreamFlowError
from streamflow.serving.feature_status import FeatureReading
from streamflow.serving.predictor import Predictor
from streamflow.serving.scoring import Prediction, Served
from streamflow.serving.watcher_state import WatcherState

if TYPE_CHECKING:
    from streamflow.registry.records import ModelVersion


def prediction(join_key: str, result: Prediction) -> dict[str, object]:
    """The response of /predict."""
    return {
        join_key: result.entity_id,
        "prediction": result.prediction,
        "probability": result.probability,
        "features_used": result.features_used,
        "model": _model(result.model),
        **_times(result),
        "warnings": result.warnings,
        "request_id": result.request_id,
    }


def batch(
    join_key: str,
    model: ModelVersion,
    entity_ids: Sequence[str],
    results: Sequence[Prediction | NoAnswer],
    request_id: str,
) -> dict[str, object]:
    """The response of /predict/batch: per id its prediction, or the problem in its place.

    A prediction by another version than `model`, as of a canary, names it.
    """
    rows: list[dict[str, object]] = []
    # Most rows are of the same times as the one before, and share them.
    times: Mapping[str, datetime | None] | None = None
    shared: dict[str, object] = {}
    for entity_id, result in zip(entity_ids, results, strict=True):
        if isinstance(result, NoAnswer):
            rows.append({join_key: entity_id, "problem": problem(result)})
            continue
        if result.feature_times is not times:
            times = result.feature_times
            shared = _times(result)
        rows.append(
            {
                join_key: entity_id,
                "prediction": result.prediction,
                "probability": result.probability,
                "features_used": result.features_used,
                **shared,
                "warnings": result.warnings,
            }
        )
        if result.model is not model and result.model != model:
            rows[-1]["model"] = _model(result.model)
    return {"predictions": rows, "model": _model(model), "request_id": request_id}


def _times(result: Prediction) -> dict[str, object]:
    return {
        "features_as_of": iso(result.features_as_of),
        "feature_times": {view: iso(time) for view, time in result.feature_times.items()},
    }


def features(
    join_key: str,
    entity_id: str,
    served: Served,
    readings: Sequence[FeatureReading],
    request_id: str,
) -> dict[str, object]:
    """The response of /features: each feature with its status, value and event time."""
    return {
        join_key: entity_id,
        "model": _model(served.version),
        "features": {
            reading.name: {
                "status": reading.status,
                "value": reading.value,
                "type": reading.type,
                "feature_view": reading.feature_view,
                "event_timestamp": iso(reading.event_timestamp),
                "age_seconds": reading.age_seconds,
                "max_age_seconds": reading.max_age_seconds,
            }
            for reading in readings
        },
        "request_id": request_id,
    }


# The registry is looked at every second, and each second while a model is tried.
FOLLOWED_SECONDS = 30.0


def ready(predictor: Predictor, state: WatcherState, now: datetime) -> dict[str, object]:
    """The response of /ready at `now` (UTC): what a prediction needs, as the watcher's last poll
    found it.

    An error that doesn't stop predictions is reported beside `ready: true`: MLflow is down, a
    newer version was refused, or the registry isn't looked at any more.
    """
    age = None if state.polled_at is None else (now - state.polled_at).total_seconds()
    parts = {
        "model": _model_part(predictor, state, age),
        "feature_store": _feature_store_part(predictor, state),
    }
    not_ready = [name for name, part in parts.items() if not part["ready"]]
    return {
        "ready": not not_ready,
        "not_ready": not_ready,
        **parts,
        "looked_at": iso(state.polled_at),
        "looked_seconds_ago": age,
    }


def _model_part(predictor: Predictor, state: WatcherState, age: float | None) -> dict[str, object]:
    part: dict[str, object]
    try:
        served = predictor.production()
    except StreamFlowError as error:
        part = {"ready": False, "name": predictor.registered_model, **problem(error)}
    else:
        part = {"ready": True, **_model(served.version)}
        if state.overrides:
            part["overrides"] = list(state.overrides)
    if state.registry_error is not None:
        part["registry"] = problem(state.registry_error)
    if age is not None and age > FOLLOWED_SECONDS:
        part["registry"] = {
            "code": "registry_not_followed",
            "detail": f"The registry was last looked at {age:.0f} s ago: another version may be in "
            "Production.",
            "next": "Look into the log of the API, and start it again.",
        }
    if state.rejection is not None:
        rejected = {"version": state.rejection.version.version, **problem(state.rejection.error)}
        part["refused"] = rejected
    if state.ungated is not None:
        part["ungated"] = problem(state.ungated)
    return part


def _feature_store_part(predictor: Predictor, state: WatcherState) -> dict[str, object]:
    newest = predictor.newest
    part: dict[str, object] = {"ready": True}
    if state.feature_store_error is not None:
        part = {"ready": False, **problem(state.feature_store_error)}
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
    part["materialized"] = {view: iso(time) for view, time in sorted((newest or {}).items())}
    return part


def problem(error: StreamFlowError) -> dict[str, str]:
    """An error as a part of a response, without a status."""
    return {"code": error.code, "detail": error.message, "next": error.next}


def _model(version: ModelVersion) -> dict[str, object]:
    return {
        "name": version.name,
        "version": version.version,
        "run_id": version.run_id,
        "stage": version.stage,
    }


# A month has few event timestamps, and each is written thousands of times.
@lru_cache(maxsize=1024)
def iso(time: datetime | None) -> str | None:
    """The time in ISO 8601, UTC, to the microsecond."""
    return None if time is None else time.astimezone(UTC).isoformat(timespec="microseconds")
