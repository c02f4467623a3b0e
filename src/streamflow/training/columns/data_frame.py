"""The encoded matrix as a DataFrame with the features' own names and types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamflow.training.served_model import Feature, FeatureSchema, Matrix

if TYPE_CHECKING:
    from pandas import DataFrame

Codes = npt.NDArray[np.int64]


def data_frame(schema: FeatureSchema, matrix: Matrix) -> DataFrame:
    """A column per feature: text, numbers as float64, booleans; NaN for null.

    Shape: that of `matrix` is (rows, encoded columns). A boolean that may be null is of the type
    object. A text that training never saw, which the matrix doesn't have, is `other_text`.
    """
    import pandas

    return pandas.DataFrame(
        {
            feature.name: _column(feature, matrix[:, start : start + width(feature)])
            for feature, start, _ in schema.layout.columns
        }
    )


def width(feature: Feature) -> int:
    """The number of the feature's encoded columns."""
    own = len(feature.categories) if feature.type == "STRING" else 1
    return own + feature.may_be_null


def is_finite(feature: Feature) -> bool:
    """Whether the feature takes one of a few values, which training has seen."""
    return feature.type in ("STRING", "BOOL")


def codes(feature: Feature, block: Matrix) -> Codes:
    """Per row the place of the value among `values`, from the feature's encoded columns."""
    if feature.type == "BOOL":
        found = (block[:, 0] != 0).astype(np.int64)
        return np.where(block[:, 1] != 0, 2, found) if feature.may_be_null else found
    unknown = block.shape[1]
    return np.where(block.any(axis=1), block.argmax(axis=1), unknown) if unknown else _zeros(block)


def values(feature: Feature) -> list[Any]:
    """What a text or boolean may be: the categories (or False and True), NaN if it may be null,
    and last, of a text, what stands for any other."""
    null = [np.nan] if feature.may_be_null else []
    if feature.type == "BOOL":
        return [False, True, *null]
    return [*feature.categories, *null, other_text(feature)]


def reachable(feature: Feature) -> list[int]:
    """The places of those `values` that have a prediction."""
    own = 2 if feature.type == "BOOL" else len(feature.categories)
    found = list(range(own))
    if feature.may_be_null and feature.takes_null:
        found.append(own)
    if feature.type == "STRING" and feature.unseen != "refuse":
        found.append(own + feature.may_be_null)
    return found


def encoded(feature: Feature, code: int) -> Matrix:
    """The encoded columns of the value at the place `code` of `values`; (encoded columns,)."""
    block = np.zeros(width(feature))
    if feature.type == "BOOL":
        block[:] = [1.0 * (code == 1), *([1.0 * (code == 2)] if feature.may_be_null else [])]
    elif code < len(block):
        block[code] = 1.0
    return block


def other_text(feature: Feature) -> str:
    """Stands for any text that training never saw: "other", with `_` behind it while it is one of
    the categories."""
    text = "other"
    while text in feature.categories:
        text += "_"
    return text


def _column(feature: Feature, block: Matrix) -> Any:
    if feature.type == "BOOL" and not feature.may_be_null:
        return block[:, 0] != 0
    if is_finite(feature):
        found = np.array(values(feature), dtype=object)
        return found[codes(feature, block)]
    return np.where(block[:, 1] != 0, np.nan, block[:, 0]) if feature.may_be_null else block[:, 0]


def _zeros(block: Matrix) -> Codes:
    return np.zeros(len(block), np.int64)
