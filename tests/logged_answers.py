"""An answer in the prediction log, as the API gives it and writes it down."""

from __future__ import annotations

from datetime import datetime

from streamflow.bootstrap import production_predictor
from streamflow.platform import Platform
from streamflow.serving.prediction_log_rows import Encoder
from streamflow.serving.prediction_log_writer import PredictionWriter
from streamflow.serving.scoring import ScoringRequest


def log_answer(platform: Platform, entity_id: str, request_id: str, now: datetime) -> None:
    """Predict for the entity at that time, and write the answer into the log."""
    predictor = production_predictor(platform)
    answer = predictor.predict(entity_id, now, request_id)
    writer = PredictionWriter(platform.database, 7, lambda: now)
    writer.prepare()
    request = ScoringRequest(entity_id, request_id)
    writer.write([Encoder().rows(predictor.production(), [request], [answer], now)])
