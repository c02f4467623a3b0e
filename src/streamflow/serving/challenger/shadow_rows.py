"""Both scores of a request as a row of the table `shadow_scores`, for COPY."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from streamflow.serving.challenger.scored_rows import ScorePairs
from streamflow.serving.prediction_log_rows import LoggedModel, microseconds, text_field

if TYPE_CHECKING:
    from streamflow.serving.scoring import Prediction, Served

# Number of fields, predicted_at, answered_by, shadow: each but the first with its length.
_SHARED = struct.Struct("!hiqi16si16s")
_SCORE = struct.Struct("!ihid")  # prediction, probability
_NULL = struct.pack("!i", -1)
_FIELDS = 11


class EncodedPairs(NamedTuple):
    """`number` encoded rows, all of the day of `moment` (UTC); `unknown` are the ids that nobody
    knew."""

    models: tuple[Served, Served]
    moment: datetime
    number: int
    content: bytes
    unknown: tuple[str, ...] = ()


def encoded(pairs: ScorePairs, keys: Mapping[int, bytes]) -> EncodedPairs:
    """The pairs for the query `copy_shadow_scores`; `keys` are those of both models, by `id`."""
    answered, shadow = keys[id(pairs.answered)], keys[id(pairs.shadow)]
    parts: list[bytes] = []
    for request, moment, answer, beside in zip(
        pairs.requests, pairs.moments, pairs.answers, pairs.shadows, strict=True
    ):
        parts += (
            _SHARED.pack(_FIELDS, 8, microseconds(moment), 16, answered, 16, shadow),
            _outcome(answer),
            _outcome(beside),
            text_field(request.request_id),
            text_field(request.entity_id),
        )
    models = pairs.answered, pairs.shadow
    unknown = tuple(
        request.entity_id
        for request, answer in zip(pairs.requests, pairs.answers, strict=True)
        if answer == "unknown_entity"
    )
    return EncodedPairs(models, pairs.moments[0], len(pairs.requests), b"".join(parts), unknown)


def model_key(served: Served) -> bytes:
    """The key of the model among `served_models`."""
    return LoggedModel.from_served(served).key.bytes


def _outcome(outcome: Prediction | str) -> bytes:
    if isinstance(outcome, str):
        return 2 * _NULL + text_field(outcome)
    return _SCORE.pack(2, outcome.prediction, 8, outcome.probability) + _NULL
