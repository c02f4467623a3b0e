"""A training set: what a model is fitted on and judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from streamflow.training.rows.days import DayNumbers, days
from streamflow.training.rows.entities import Numbers, entities
from streamflow.training.served_model import FeatureSchema

FeatureValue = bool | int | float | str | None
FeatureValues: TypeAlias = "Sequence[FeatureValue] | npt.NDArray[np.float64]"


@dataclass(frozen=True)
class TrainingSet:
    """Features and labels of one or several months, as known at `known_at` (in UTC).

    There is one row per entity and as_of. `as_ofs` and `entities` have those of each row; rows
    ascend by as_of, then by the bytes of the entity, and are unique, because their order decides
    the split and with it every figure. `columns` holds per feature one value per row, None for
    null; or, of a feature that is no STRING, float64 numbers, NaN for null. What was seen needn't
    be in `schema`. A set that comes from a join has all of it in arrays, without a Python object
    per value: `Entities`, `Days`, `CodedTexts`, and NumPy's. Raises ValueError if the rows don't
    ascend or columns have other lengths.
    """

    schema: FeatureSchema
    entities: Sequence[str]
    as_ofs: Sequence[date]
    columns: Mapping[str, FeatureValues]
    labels: Sequence[bool] | npt.NDArray[np.bool_]
    known_at: datetime

    def __post_init__(self) -> None:
        if len(self.as_ofs) != len(self.entities):
            raise ValueError(f"{len(self.entities)} rows have {len(self.as_ofs)} as_ofs")
        if not self._ascends():
            raise ValueError("the rows of a training set must ascend by as_of and entity")
        lengths = {len(self.labels), *(len(self.columns[f.name]) for f in self.schema.features)}
        if lengths != {len(self.entities)}:
            raise ValueError(f"{len(self.entities)} rows have columns of lengths {lengths}")

    @cached_property
    def months(self) -> list[date]:
        """The as_ofs that rows are of, ascending."""
        found: list[date] = np.unique(self.days).tolist()
        return found

    @property
    def as_of(self) -> date:
        """The newest of the months."""
        return self.months[-1]

    @cached_property
    def days(self) -> DayNumbers:
        """The as_of of each row, as datetime64[D]."""
        return days(self.as_ofs)

    @cached_property
    def label_numbers(self) -> Numbers:
        """The label of each row, 0 or 1."""
        return np.asarray(self.labels, dtype=np.int64)

    def _ascends(self) -> bool:
        later = self.days[1:] > self.days[:-1]
        same = self.days[1:] == self.days[:-1]
        return bool((later | (same & entities(self.entities).ascending())).all())
