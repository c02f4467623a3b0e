"""Predictions without the API: for one entity, or for a file of them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from streamflow.errors import NoAnswer
from streamflow.pipeline import id_file
from streamflow.progress import Progress, silent
from streamflow.serving import responses

if TYPE_CHECKING:
    from streamflow.serving.predictor import Predictor


def predict(predictor: Predictor, entity_id: str, now: datetime) -> Mapping[str, object]:
    """The JSON document of the API's `/predict` for the entity. Raises the same errors."""
    return responses.prediction(predictor.join_key, predictor.predict(entity_id, now))


def predict_file(
    predictor: Predictor, file: Path, output: TextIO, now: datetime, progress: Progress = silent
) -> Counter[str]:
    """Write a line of CSV per id of `file`: its prediction, or the code of the problem instead.

    The file is CSV with a column named like the join key, or has one id per line. One model
    predicts all ids, in chunks, so that memory stays flat. Returns the counts of `predicted` and
    of each problem. Raises MissingFiles, UnreadableFile, NoProductionModel,
    FeatureStoreUnavailable.
    """
    from streamflow.serving.scoring import ScoringRequest

    model = predictor.production().version
    counts: Counter[str] = Counter()
    lines = csv.writer(output, lineterminator="\n")
    heading = [predictor.join_key, *responses.CSV_COLUMNS]
    for entity_ids in id_file.chunks(file, predictor.join_key):
        if heading:  # written late, so that an unreadable file writes nothing
            lines.writerow(heading)
            heading = []
        requests = [ScoringRequest(one, "") for one in entity_ids]
        for entity_id, one in zip(entity_ids, predictor.predict_many(requests, now), strict=True):
            counts[one.code if isinstance(one, NoAnswer) else "predicted"] += 1
            lines.writerow([entity_id, *responses.csv_row(model, one)])
        progress(f"{counts.total():,} ids")
    if heading:
        lines.writerow(heading)
    return counts
