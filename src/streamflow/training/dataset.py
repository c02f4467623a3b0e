"""A training set: what a model is fitted on and judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FeatureValue = bool | int | float | str | None
FeatureValues: TypeAlias = "Sequence[FeatureValue] | npt.NDArray[np.float64]"


@dataclass(frozen=True)
class TrainingSet:
    """Features and labels of one or several months, as known at `known_at` (in UTC).

    There is one row per entity and as_of. `as_ofs` and `entities` have those of each row; rows
    ascend by as_of, then by entity, and are unique, because their order decides the split and with
    it every figure. `columns` holds per feature one value per row, None for null; or, of a feature
    that is no STRING, float64 numbers, NaN for null. What was seen needn't be in `schema`. Raises
    ValueError if that isn't so.
    """

    schema: FeatureSchema
    entities: Sequence[str]
    as_ofs: Sequence[date]
    columns: Mapping[str, FeatureValues]
    labels: Sequence[bool]
    known_at: datetime

    def __post_init__(self) -> None:
        rows = zip(self.as_ofs, self.entities, strict=True)
        if not all(before < after for before, after in pairwise(rows)):
            raise ValueError("the rows of a training set must ascend by as_of and entity")
        lengths = {len(self.labels), *(len(self.columns[f.name]) for f in self.schema.features)}
        if lengths != {len(self.entities)}:
            raise ValueError(f"{len(self.entities)} rows have columns of lengths {lengths}")

    @cached_property
    def months(self) -> list[date]:
        """The as_ofs that rows are of, ascending."""
        return sorted(set(self.as_ofs))

    @property
    def as_of(self) -> date:
        """The newest of the months."""
        return self.months[-1]
