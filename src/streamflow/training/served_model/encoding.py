"""From features to the matrix of numbers that a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .coded_texts import CodedTexts
from .feature_schema import Feature, FeatureSchema, Layout

Matrix = npt.NDArray[np.float64]
# A value per row; numbers alone, NaN for null, may be an array.
Values = Sequence[Any] | npt.NDArray[np.float64]
Columns = Mapping[str, Values]  # by feature
_BLOCK_ROWS = 4096
_PART_ROWS = 262_144  # more than a scoring's threads take at a time


class UnseenCategory(ValueError):
    """A value of a categorical feature that training never saw, so that any score is a guess."""

    def __init__(self, feature: str, value: str) -> None:
        super().__init__(f"feature {feature!r} has the unseen value {value!r}")
        self.feature = feature
        self.value = value


class UnseenNull(ValueError):
    """A null in a feature that had none in training, so that any score is a guess."""

    def __init__(self, feature: str) -> None:
        super().__init__(f"feature {feature!r} is null, and training saw no null there")
        self.feature = feature


def encode(schema: FeatureSchema, columns: Columns) -> Matrix:
    """Features as a matrix of float64: a row per entity; per feature a column, or several.

    A STRING is one-hot. A null is 0 with a 1 in a column of its own, so that no model has to know
    of NaN and "not applicable" stays apart from 0. A category that training never saw is 0 in all
    columns of its feature; a null that it never saw is one like any other, but of a feature with
    "other" 0 in all columns too. Where `unseen` is "refuse", they raise UnseenCategory and
    UnseenNull instead. Raises ValueError for a null (or NaN) in a feature that is never null,
    KeyError for a missing column.
    """
    layout = schema.layout
    rows = len(columns[schema.features[0].name]) if schema.features else 0
    for feature in schema.features:
        values = columns[feature.name]
        if len(values) != rows:
            raise ValueError(f"feature {feature.name!r} has {len(values)} values for {rows} rows")
    matrix = np.zeros((rows, layout.width))
    if rows <= _PART_ROWS:
        _encode_into(matrix, layout, columns)
        return matrix
    # Memory that nobody had before is slow to write, and two cores write twice as much of it.
    with ThreadPoolExecutor() as threads:
        places = [slice(first, first + _PART_ROWS) for first in range(0, rows, _PART_ROWS)]
        done = [
            threads.submit(
                _encode_into,
                matrix[one],
                layout,
                {feature.name: columns[feature.name][one] for feature in schema.features},
            )
            for one in places
        ]
        for part in done:
            part.result()
    return matrix


def _encode_into(matrix: Matrix, layout: Layout, columns: Columns) -> None:
    """As `encode`, for a matrix of zeros."""
    every_row = np.arange(len(matrix))
    numbers = []
    for feature, start, offsets in layout.columns:
        values = columns[feature.name]
        if offsets is not None:
            found, others = _found(feature, offsets, values)
            matrix[every_row, start + found] = 1.0
            if len(others):
                matrix[others, start] = 0.0
        else:
            numbers.append((start, values))
    # A block of rows stays in the processor's cache while its columns are written one by one.
    for first in range(0, len(matrix), _BLOCK_ROWS):
        block = slice(first, first + _BLOCK_ROWS)
        for start, values in numbers:
            matrix[block, start] = values[block]  # NumPy reads None as NaN here, and True as 1
    # The whole matrix at once: per request, a check per feature takes longer than the score.
    is_null = np.isnan(matrix)
    if nulls := np.count_nonzero(is_null):
        allowed = is_null[:, layout.nullable]
        if np.count_nonzero(allowed) < nulls:
            strict = ((one, start) for one, start, _ in layout.columns if not one.may_be_null)
            raise _null(next(one for one, start in strict if is_null[:, start].any()))
        if len(layout.refused_nulls) and is_null[:, layout.refused_nulls].any():
            refused = set(layout.refused_nulls.tolist())
            raise next(
                UnseenNull(one.name)
                for one, start, _ in layout.columns
                if start in refused and is_null[:, start].any()
            )
        matrix[is_null] = 0.0
        matrix[:, layout.nullable + 1] = allowed


def encoded_columns(schema: FeatureSchema) -> list[slice]:
    """Which of `encode`'s columns each feature takes, in the schema's order."""
    starts = [start for _, start, _ in schema.layout.columns]
    return [slice(start, end) for start, end in pairwise([*starts, schema.layout.width])]


def _found(
    feature: Feature, offsets: Mapping[object, int], values: Values
) -> tuple[npt.NDArray[np.intp], list[int] | npt.NDArray[np.intp]]:
    """Per row the offset of its value, and the rows whose value has none."""
    if isinstance(values, CodedTexts):
        return _found_by_code(feature, offsets, values)
    found = np.fromiter((offsets.get(value, -1) for value in values), np.intp, len(values))
    others = []
    for row in np.flatnonzero(found < 0).tolist():
        offset = _offset_of_unseen(feature, values[row])
        found[row] = offset or 0
        if offset is None:
            others.append(row)
    return found, others


def _found_by_code(
    feature: Feature, offsets: Mapping[object, int], values: CodedTexts
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """As `_found`; each text is looked up once."""
    by_code = np.zeros(len(values.texts) + 1, np.intp)
    is_other = np.zeros(len(values.texts) + 1, np.bool_)
    for code, text in values.values():
        offset = offsets.get(text, -1)
        known = offset if offset >= 0 else _offset_of_unseen(feature, text)
        by_code[code], is_other[code] = known or 0, known is None
    return by_code[values.codes], np.flatnonzero(is_other[values.codes])


def _offset_of_unseen(feature: Feature, value: object) -> int | None:
    """The offset of a value that isn't among the feature's, None if it has none."""
    is_null = value is None or value != value  # a NaN, as pandas has nulls among strings
    if is_null and not feature.may_be_null:
        raise _null(feature)
    if is_null and (feature.null_seen or feature.unseen == "warn"):
        return len(feature.categories)
    if feature.unseen == "refuse":
        raise UnseenNull(feature.name) if is_null else UnseenCategory(feature.name, str(value))
    return None


def _null(feature: Feature) -> ValueError:
    return ValueError(f"feature {feature.name!r} is null, which the model doesn't allow")
