"""Rows of the prediction log as PostgreSQL would give them back."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

from streamflow.serving.prediction_log_rows import read

COLUMNS = (
    *("predicted_at", "served_model", "prediction", "probability", "feature_times", "features"),
    *("problem", "request_id", "entity_id"),
)


def fields(content):
    """The fields of each row of a binary COPY, as they are."""
    position = 0
    while position < len(content):
        (count,) = struct.unpack_from("!h", content, position)
        position += 2
        row = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", content, position)
            position += 4
            row.append(None if length < 0 else content[position : position + length])
            position += max(length, 0)
        yield dict(zip(COLUMNS, row, strict=True))


def moment_of(eight_bytes):
    (microseconds,) = struct.unpack("!q", eight_bytes)
    return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def times_of(array):
    dimensions, nulls, kind, length, lower_bound = struct.unpack_from("!iiiii", array)
    assert (dimensions, nulls, kind, lower_bound) == (1, 0, 1184, 1)
    assert len(array) == 20 + 12 * length
    return [moment_of(array[24 + 12 * i : 32 + 12 * i]) for i in range(length)]


def read_back(content, logged):
    """Receipts of `logged`, as PostgreSQL gives the rows back."""
    readers = {
        "predicted_at": moment_of,
        "served_model": lambda raw: UUID(bytes=raw),
        "prediction": lambda raw: struct.unpack("!h", raw)[0],
        "probability": lambda raw: struct.unpack("!d", raw)[0],
        "feature_times": times_of,
        "features": json.loads,
    }
    for row in fields(content):
        told = {
            name: None if raw is None else readers.get(name, bytes.decode)(raw)
            for name, raw in row.items()
        }
        assert told["served_model"] == logged.key
        facts = {**logged.facts, "features_of_model": json.loads(logged.facts["features"])}
        yield read({**facts, **told})
