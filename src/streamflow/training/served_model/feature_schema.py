"""What a model needs, in its own words: the document `feature_schema.json` that travels with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal

import numpy as np
import numpy.typing as npt

SCHEMA_FILE = "feature_schema.json"


@dataclass(frozen=True)
class Feature:
    """One column that the model needs. `max_age_seconds` is None where any age is allowed.

    `categories` holds a STRING feature's values seen in training, sorted.
    """

    name: str
    feature_view: str
    type: Literal["INT64", "FLOAT64", "BOOL", "STRING"]
    nullable: bool
    max_age_seconds: float | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeatureSchema:
    """The one list of a model's features, in the feature service's order."""

    feature_service: str
    entity: str
    join_key: str
    features: tuple[Feature, ...]

    @property
    def views(self) -> tuple[str, ...]:
        """The feature views, in the order in which their first features come."""
        return tuple(dict.fromkeys(feature.feature_view for feature in self.features))

    @property
    def categorical(self) -> list[str]:
        """The names of the STRING features."""
        return [feature.name for feature in self.features if feature.type == "STRING"]

    @cached_property
    def layout(self) -> Layout:
        """Where `encode` puts each feature."""
        return Layout.from_features(self.features)

    def to_json(self) -> str:
        """The document `feature_schema.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> FeatureSchema:
        """The schema that `to_json` wrote."""
        document = json.loads(text)
        features = tuple(
            Feature(**{**feature, "categories": tuple(feature["categories"])})
            for feature in document.pop("features")
        )
        return FeatureSchema(features=features, **document)


@dataclass(frozen=True)
class Layout:
    """Where `encode` puts features.

    `columns` has per feature its first column and, for a STRING, the offset of each of its values
    from there. `nullable` are the columns of other types that may be null; the column after each
    holds 1 where it is null.
    """

    width: int
    columns: tuple[tuple[Feature, int, Mapping[object, int] | None], ...]
    nullable: npt.NDArray[np.intp]

    @staticmethod
    def from_features(features: Sequence[Feature]) -> Layout:
        """The layout of these features, in their order."""
        *starts, width = accumulate(map(_width, features), initial=0)
        offsets = [_offsets(one) if one.type == "STRING" else None for one in features]
        columns = tuple(zip(features, starts, offsets, strict=True))
        nullable = [start for one, start, values in columns if one.nullable and values is None]
        return Layout(width, columns, np.array(nullable, np.intp))


def _width(feature: Feature) -> int:
    return (len(feature.categories) if feature.type == "STRING" else 1) + feature.nullable


def _offsets(feature: Feature) -> dict[object, int]:
    values = (*feature.categories, None) if feature.nullable else feature.categories
    return {value: i for i, value in enumerate(values)}
