"""Month folders as the rows that a model learns from, without a database: what a point-in-time join
makes of complete months."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from streamflow.training.dataset import TrainingSet
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.use_case import UseCase

TYPES = {"Int64": "INT64", "Float64": "FLOAT64", "boolean": "BOOL", "string": "STRING"}
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def month_end(number: int) -> date:
    """The as_of of `month_…` of this number; the first is 2024-01-31."""
    return (pandas.Timestamp(2024, 1, 31) + pandas.offsets.MonthEnd(number)).date()


class MonthFiles:
    """The months of a use case in a folder, each read once."""

    def __init__(self, folder: Path, use_case: UseCase, features: Sequence[str]) -> None:
        self.folder, self.use_case, self.features = folder, use_case, features
        self.month = cache(self._month)

    def _month(self, as_of: date) -> pandas.DataFrame:
        number = (as_of.year - 2024) * 12 + as_of.month - 1
        frames = [
            pandas.read_csv(file, keep_default_na=False, na_values=[""], dtype=object).set_index(
                self.use_case.join_key
            )
            for file in sorted((self.folder / f"month_{number:03}").iterdir())
        ]
        return pandas.concat(frames, axis=1).sort_index()

    def schema(self) -> FeatureSchema:
        columns = {
            name: column
            for table in self.use_case.tables()
            for name, column in table.contract.columns.items()
        }
        features = [
            Feature(
                name,
                "a view",
                TYPES[str(columns[name].dtype).partition("[")[0]],
                columns[name].nullable,
            )  # type: ignore[arg-type]
            for name in self.features
        ]
        return FeatureSchema("service", "entity", self.use_case.join_key, tuple(features))

    def rows(self, months: Sequence[date], as_of: date | None = None) -> TrainingSet:
        """All rows of these months, as `backtest` asks for them."""
        schema, frames = self.schema(), [self.month(one) for one in sorted(months)]
        columns = {
            one.name: np.concatenate([_values(frame[one.name], one.type) for frame in frames])
            for one in schema.features
        }
        return TrainingSet(
            schema=schema,
            entities=[entity for frame in frames for entity in frame.index],
            as_ofs=[
                month
                for month, frame in zip(sorted(months), frames, strict=True)
                for _ in range(len(frame))
            ],
            columns={
                name: values.tolist() if values.dtype == object else values
                for name, values in columns.items()
            },
            labels=[
                value == "True" for frame in frames for value in frame[self.use_case.label.column]
            ],
            known_at=NOW,
        )


def _values(column: Any, kind: str) -> Any:
    if kind == "STRING":
        return column.to_numpy(dtype=object)
    if kind == "BOOL":
        column = column.map({"True": 1.0, "False": 0.0})
    return column.to_numpy(dtype=np.float64)
