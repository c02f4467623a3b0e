"""The API's good answers, as what is written as JSON; `streamflow.api.schemas` documents them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from streamflow.errors import NoAnswer, StreamFlowError
from streamflow.serving.feature_status import FeatureReading
from streamflow.serving.predictor import Predictor
from streamflow.serving.scoring import Prediction, Served
from streamflow.serving.watcher import Sight

if TYPE_CHECKING:
    from streamflow.registry.records import ModelVersion


def prediction(join_key: str, given: Prediction) -> dict[str, Any]:
    return {
        join_key: given.entity_id,
        "prediction": given.prediction,
        "probability": given.probability,
        "features_used": given.features_used,
        "model": _model(given.model),
        **_times(given),
        "warnings": given.warnings,
        "request_id": given.request_id,
    }


def batch(
    join_key: str,
    model: ModelVersion,
    entity_ids: Sequence[str],
    given: Sequence[Prediction | NoAnswer],
    request_id: str,
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    # Most rows are of the same times as the one before, and share them.
    times: Mapping[str, datetime] | None = None
    told: dict[str, Any] = {}
    for entity_id, one in zip(entity_ids, given, strict=True):
        if isinstance(one, NoAnswer):
            rows.append({join_key: entity_id, "problem": trouble(one)})
            continue
        if one.feature_times is not times:
            times = one.feature_times
            told = _times(one)
        rows.append(
            {
                join_key: entity_id,
                "prediction": one.prediction,
                "probability": one.probability,
                "features_used": one.features_used,
                **told,
                "warnings": one.warnings,
            }
        )
    return {"predictions": rows, "model": _model(model), "request_id": request_id}


def _times(given: Prediction) -> dict[str, Any]:
    return {
        "features_as_of": _iso(given.features_as_of),
        "feature_times": {view: _iso(time) for view, time in given.feature_times.items()},
    }


CSV_COLUMNS = ("prediction", "probability", "model_version", "run_id", "features_as_of", "problem")


def csv_row(model: ModelVersion, given: Prediction | NoAnswer) -> tuple[Any, ...]:
    """What follows the id in a file of predictions, as `CSV_COLUMNS` names it."""
    if isinstance(given, NoAnswer):
        return "", "", model.version, model.run_id, "", given.code
    moment = _iso(given.features_as_of)
    return given.prediction, given.probability, model.version, model.run_id, moment, ""


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
        part = {"ready": False, "name": predictor.registered_model, **trouble(error)}
    else:
        part = {"ready": True, **_model(served.version)}
    if sight.registry_error is not None:
        part["registry"] = trouble(sight.registry_error)
    if sight.refusal is not None:
        refused = {"version": sight.refusal.version.version, **trouble(sight.refusal.error)}
        part["refused"] = refused
    return part


def _feature_store_part(predictor: Predictor, sight: Sight) -> dict[str, Any]:
    newest = predictor.newest
    part: dict[str, Any] = {"ready": True}
    if sight.feature_store_error is not None:
        part = {"ready": False, **trouble(sight.feature_store_error)}
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


def trouble(error: StreamFlowError) -> dict[str, str]:
    return {"code": error.code, "detail": error.message, "next": error.next}


def _model(version: ModelVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "run_id": version.run_id,
        "stage": version.stage,
    }


# A month has few event timestamps, and each is told thousands of times.
@lru_cache(maxsize=1024)
def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat(timespec="microseconds")
