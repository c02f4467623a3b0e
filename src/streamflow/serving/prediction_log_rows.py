"""A prediction as a row of the log: out by COPY, and back to the last bit.

What many rows share is encoded once: a thousand predictions are of one model, and mostly of
features of the same times.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from pydantic_core import to_json

from streamflow.errors import NoAnswer, UnknownEntity
from streamflow.features.feature_types import typed
from streamflow.training.dataset import FeatureValue

if TYPE_CHECKING:
    from streamflow.serving.scoring import Prediction, ScoringRequest, Served

# PostgreSQL's binary COPY: each field is its length (-1: null) and its bytes, big-endian.
BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = struct.pack("!h", -1)
_SHARED = struct.Struct("!hiqi16s")  # number of fields, predicted_at, served_model
_SCORE = struct.Struct("!ihid")  # prediction, probability
_LENGTH = struct.Struct("!i")
_NUMBER = struct.Struct("!h")
_NULL = _LENGTH.pack(-1)
_NO_SCORE = 4 * _NULL  # neither prediction, probability, feature_times nor features
_FIELDS = 9
_TIMESTAMPTZ = 1184
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UnencodedRows(NamedTuple):
    """What one call of the model predicted, at `moment` (UTC)."""

    served: Served
    requests: Sequence[ScoringRequest]
    results: Sequence[Prediction | NoAnswer]
    moment: datetime


class EncodedRows(NamedTuple):
    """The same, or a part of it, as `number` encoded rows; `unknown` are ids that nobody knew."""

    served: Served
    moment: datetime
    number: int
    content: bytes
    unknown: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[Served]:
        """The models that must be recorded for the rows."""
        return (self.served,)


@dataclass(frozen=True)
class LoggedModel:
    """The model of a row of the log; its key is a hash of it."""

    model: str
    version: int
    run_id: str
    stage: str
    model_hash: str
    features: tuple[tuple[str, str, str], ...]  # name, feature view and type of each

    @staticmethod
    def from_served(served: Served) -> LoggedModel:
        """The model that is served."""
        version = served.version
        return LoggedModel(
            model=version.name,
            version=version.version,
            run_id=version.run_id,
            stage=version.stage,
            model_hash=version.model_hash,
            features=tuple(
                (feature.name, feature.feature_view, feature.type)
                for feature in served.schema.features
            ),
        )

    @property
    def facts(self) -> dict[str, object]:
        """The columns of the table, with features as JSON."""
        return {**vars(self), "features": to_json(self.features).decode()}

    @property
    def key(self) -> UUID:
        """The first half of the SHA-256 of its facts."""
        return UUID(bytes=hashlib.sha256(to_json(self.facts)).digest()[:16])

    @property
    def views(self) -> list[str]:
        """The feature views, in the order in which their first features come."""
        return list(dict.fromkeys(view for _, view, _ in self.features))


class Encoder:
    """Encodes rows for the query `copy_predictions`, between BEGIN and END, in any thread."""

    def __init__(self) -> None:
        # What was encoded last, replaced as a whole, so that a thread needs no lock.
        self._key: tuple[Served | None, bytes] = None, b""
        self._times: tuple[tuple[datetime | None, ...], bytes] = (), _array(())

    def rows(
        self,
        served: Served,
        requests: Sequence[ScoringRequest],
        results: Sequence[Prediction | NoAnswer],
        moment: datetime,
    ) -> EncodedRows:
        """What `served` predicted at `moment`. Half a character of an id becomes its escape."""
        shared = _SHARED.pack(_FIELDS, 8, microseconds(moment), 16, self._model_key(served))
        parts: list[bytes] = []
        for one, result in zip(requests, results, strict=True):
            parts += (shared, *self._outcome(result))
            parts += (text_field(one.request_id), text_field(one.entity_id))
        unknown = tuple(
            one.entity_id
            for one, result in zip(requests, results, strict=True)
            if isinstance(result, UnknownEntity)
        )
        return EncodedRows(served, moment, len(results), b"".join(parts), unknown)

    def _model_key(self, served: Served) -> bytes:
        known, key = self._key
        if served is not known:
            key = LoggedModel.from_served(served).key.bytes
            self._key = served, key
        return key

    def _outcome(self, result: Prediction | NoAnswer) -> tuple[bytes, ...]:
        if isinstance(result, NoAnswer):
            return _NO_SCORE, text_field(result.code)
        times = tuple(result.feature_times.values())
        known, encoded_times = self._times
        if times != known:
            encoded_times = _array(times)
            self._times = times, encoded_times
        # Each number is the shortest text that is read back as the same number; what isn't finite
        # has no form in JSON, so that it is a string.
        values = to_json(tuple(result.features_used.values()), inf_nan_mode="strings")
        return (
            _SCORE.pack(2, result.prediction, 8, result.probability),
            encoded_times,
            _LENGTH.pack(len(values)),
            values,
            _NULL,
        )


def _array(times: Sequence[datetime | None]) -> bytes:
    """A field of type timestamptz[] of one dimension, counted from 1, with a null for None."""
    head = struct.pack("!iiiii", 1, None in times, _TIMESTAMPTZ, len(times), 1)
    elements = (
        _NULL if time is None else struct.pack("!iq", 8, microseconds(time)) for time in times
    )
    body = head + b"".join(elements)
    return _LENGTH.pack(len(body)) + body


def text_field(text: str) -> bytes:
    """A field of type text. Half a character becomes its escape."""
    content = text.encode(errors="backslashreplace")
    return _LENGTH.pack(len(content)) + content


def fields(content: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """The rows of COPY between BEGIN and END, each with its fields; b"" for null."""
    place = 0
    while place < len(content):
        start, found = place, []
        (number,) = _NUMBER.unpack_from(content, place)
        place += _NUMBER.size
        for _ in range(number):
            (length,) = _LENGTH.unpack_from(content, place)
            place += _LENGTH.size
            found.append(content[place : place + max(length, 0)])
            place += max(length, 0)
        yield content[start:place], found


def as_stored(text: str) -> str:
    """The text as PostgreSQL has it: half a character becomes its escape."""
    return text.encode(errors="backslashreplace").decode()


def microseconds(time: datetime) -> int:
    """A time as PostgreSQL counts it: since 2000, in UTC."""
    return (time - _BEGINNING) // _MICROSECOND


@dataclass(frozen=True)
class Receipt:
    """A row of the log. Without `problem` it has all of prediction, probability (of 1), `values`
    by feature and `times` (UTC) by feature view, None where it had no row; with it, none."""

    request_id: str
    entity_id: str
    predicted_at: datetime
    model: LoggedModel
    prediction: int | None
    probability: float | None
    values: Mapping[str, FeatureValue] | None
    times: Mapping[str, datetime | None] | None
    problem: str | None


def read(row: Mapping[str, Any]) -> Receipt:
    """A row of the query `predictions`, in Python's own types."""
    model = LoggedModel(
        model=row["model"],
        version=row["version"],
        run_id=row["run_id"],
        stage=row["stage"],
        model_hash=row["model_hash"],
        features=tuple((name, view, kind) for name, view, kind in row["features_of_model"]),
    )
    values: dict[str, FeatureValue] | None = None
    times: dict[str, datetime | None] | None = None
    if row["problem"] is None:
        values = {
            name: typed(kind, value)
            for (name, _, kind), value in zip(model.features, row["features"], strict=True)
        }
        times = dict(zip(model.views, row["feature_times"], strict=True))
    return Receipt(
        request_id=row["request_id"],
        entity_id=row["entity_id"],
        predicted_at=row["predicted_at"],
        model=model,
        prediction=row["prediction"],
        probability=row["probability"],
        values=values,
        times=times,
        problem=row["problem"],
    )
