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
# The format of the folder: the number `format` in the document, 1 where it has none. A release
# refuses numbers that it doesn't know; those of before there were any refuse the key itself.
WITH_COLUMNS, WITH_CALIBRATION = 2, 3
_FORMATS = (1, WITH_COLUMNS, WITH_CALIBRATION)


@dataclass(frozen=True)
class Feature:
    """One column that the model needs. `max_age_seconds` is None where any age is allowed.

    A row of its table may have a null here if it is `nullable`. An entity without a row there has
    no prediction if `absent` is "refuse", and a null here if it is "null". `null_seen` says whether
    training had a null; `categories` holds a STRING feature's values seen in training, sorted.
    `unseen` is for any other null or category: no prediction ("refuse"), one with a warning
    ("warn"), or one as of no known category ("other", for a STRING).

    The defaults are for versions that were registered without these fields: they are served as
    they were then.
    """

    name: str
    feature_view: str
    type: Literal["INT64", "FLOAT64", "BOOL", "STRING"]
    nullable: bool
    max_age_seconds: float | None = None
    categories: tuple[str, ...] = ()
    absent: Literal["refuse", "null"] = "refuse"
    unseen: Literal["refuse", "warn", "other"] = "refuse"
    null_seen: bool = True

    @property
    def may_be_null(self) -> bool:
        """Whether the model is ever given a null here."""
        return self.nullable or self.absent == "null"

    @property
    def takes_null(self) -> bool:
        """Whether a null here has a prediction."""
        return self.may_be_null and (self.null_seen or self.unseen != "refuse")


@dataclass(frozen=True)
class FeatureSchema:
    """The one list of a model's features, in the feature service's order.

    An entity has no prediction if its newest row is older than the newest month by more than
    `departed_after_seconds`; None sets no end.
    """

    feature_service: str
    entity: str
    join_key: str
    features: tuple[Feature, ...]
    departed_after_seconds: float | None = None

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

    def to_json(self, folder_format: int = 1) -> str:
        """The document `feature_schema.json` of a model in a folder of this format."""
        document = asdict(self)
        if folder_format != 1:
            document["format"] = folder_format
        if self.departed_after_seconds is None:
            # Versions were registered before there was this rule: their documents keep their bytes.
            del document["departed_after_seconds"]
        return json.dumps(document, indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> FeatureSchema:
        """The schema that `to_json` wrote. Raises ValueError for a format of a newer release."""
        document = json.loads(text)
        if (folder_format := document.pop("format", 1)) not in _FORMATS:
            raise ValueError(
                f"the model is in the format {folder_format}, and this release of StreamFlow knows "
                f"{_FORMATS[0]} to {_FORMATS[-1]}: install the release that trained it, or newer"
            )
        features = tuple(
            Feature(**{**feature, "categories": tuple(feature["categories"])})
            for feature in document.pop("features")
        )
        return FeatureSchema(features=features, **document)


@dataclass(frozen=True)
class Layout:
    """Where `encode` puts features.

    `columns` has per feature its first column and, for a STRING, the offset of each value that
    training saw from there. `nullable` are the columns of other types that may be null; the column
    after each holds 1 where it is null. `refused_nulls` are those of them where a null is refused,
    because training saw none.
    """

    width: int
    columns: tuple[tuple[Feature, int, Mapping[object, int] | None], ...]
    nullable: npt.NDArray[np.intp]
    refused_nulls: npt.NDArray[np.intp]

    @staticmethod
    def from_features(features: Sequence[Feature]) -> Layout:
        """The layout of these features, in their order."""
        *starts, width = accumulate(map(_width, features), initial=0)
        offsets = [_offsets(one) if one.type == "STRING" else None for one in features]
        columns = tuple(zip(features, starts, offsets, strict=True))
        nullable = [
            (one, start) for one, start, values in columns if one.may_be_null and values is None
        ]
        refused = [start for one, start in nullable if not one.takes_null]
        return Layout(
            width,
            columns,
            np.array([start for _, start in nullable], np.intp),
            np.array(refused, np.intp),
        )


def _width(feature: Feature) -> int:
    return (len(feature.categories) if feature.type == "STRING" else 1) + feature.may_be_null


def _offsets(feature: Feature) -> dict[object, int]:
    offsets: dict[object, int] = {value: i for i, value in enumerate(feature.categories)}
    if feature.may_be_null and feature.null_seen:
        offsets[None] = len(feature.categories)
    return offsets
