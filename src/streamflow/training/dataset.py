"""A training set: what a model is fitted on and judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise

from streamflow.training.served_model import FeatureSchema

FeatureValue = bool | int | float | str | None


@dataclass(frozen=True)
class TrainingSet:
    """Features and labels of one as_of, as known at `known_at` (in UTC), one row per entity.

    `entities` ascend and are unique, because the order of rows decides the split and with it every
    figure. `columns` holds per feature one Python value per entity, None for null. What was
    seen needn't be in `schema`. Raises ValueError if that isn't so.
    """

    schema: FeatureSchema
    entities: list[str]
    columns: Mapping[str, list[FeatureValue]]
    labels: list[bool]
    as_of: date
    known_at: datetime

    def __post_init__(self) -> None:
        if not all(before < after for before, after in pairwise(self.entities)):
            raise ValueError("the entities of a training set must ascend and be unique")
        lengths = {len(self.labels), *(len(self.columns[f.name]) for f in self.schema.features)}
        if lengths != {len(self.entities)}:
            raise ValueError(f"{len(self.entities)} entities have columns of lengths {lengths}")
