"""Predictions without the API: for one entity, or for a file of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.errors import NoAnswer, StreamFlowError
from streamflow.pipeline import id_file
from streamflow.pipeline.prediction_file import Write
from streamflow.progress import Progress, silent
from streamflow.serving import responses

if TYPE_CHECKING:
    from streamflow.serving.predictor import Predictor


class NothingPredicted(StreamFlowError):
    """None of a file's ids has a prediction; each one's problem is in the results."""


def predict(predictor: Predictor, entity_id: str, now: datetime) -> Mapping[str, object]:
    """The JSON document of the API's `/predict` for the entity. Raises the same errors."""
    return responses.prediction(predictor.join_key, predictor.predict(entity_id, now))


def predict_file(
    predictor: Predictor,
    file: Path,
    write: Write,
    now: datetime,
    progress: Progress = silent,
    *,
    header: bool = True,
) -> Counter[str]:
    """Write a row per id of `file`: its prediction, or the code of the problem instead.

    The ids are in the column named like the join key, or one a line without a `header`. One model
    predicts all ids, in chunks, so that memory stays flat. Returns the counts of `predicted` and
    of each problem. Raises MissingFiles, UnreadableFile, NoProductionModel,
    FeatureStoreUnavailable.
    """
    from streamflow.serving.scoring import ScoringRequest

    model = predictor.production().version
    counts: Counter[str] = Counter()
    for entity_ids in id_file.chunks(file, predictor.join_key, header=header):
        requests = [ScoringRequest(one, "") for one in entity_ids]
        results = predictor.predict_many(requests, now)
        counts.update(one.code if isinstance(one, NoAnswer) else "predicted" for one in results)
        write(
            [
                (entity_id, *responses.row(model, one))
                for entity_id, one in zip(entity_ids, results, strict=True)
            ]
        )
        progress(f"{counts.total():,} ids")
    if not counts:  # a header at least; an unreadable file writes nothing
        write([])
    return counts
