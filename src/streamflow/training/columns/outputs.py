"""Columns on their way through a pipeline: from which feature each comes, and what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamflow.training.columns.data_frame import (
    codes,
    data_frame,
    encoded,
    is_finite,
    reachable,
)
from streamflow.training.served_model import FeatureSchema, Matrix, encoded_columns

# Each with its number: "fill" (of NaN), "subtract", "divide", "multiply", "add", "at least",
# "at most", "equals"; without one: "is null", "float32".
Operation = tuple[str, float]


class Unproved(Exception):
    """A step that has no form free of code; the text names it."""


@dataclass(frozen=True)
class Output:
    """A column that depends on one feature alone, by its number in the schema.

    Of a number it is what `operations` make of it, each rounded to float32 if `narrow`; of a text
    or boolean it is read from a table, and `operations` is None.
    """

    feature: int
    operations: tuple[Operation, ...] | None
    narrow: bool = False

    def then(self, *operations: Operation) -> Output:
        """The column after further operations."""
        if self.operations is None:
            return self
        done = list(operations)
        if self.narrow:
            # float64 arithmetic on float32 numbers, rounded once, is float32 arithmetic.
            done = []
            for name, value in operations:
                done += [(name, float(np.float32(value))), ("float32", 0.0)]
        return replace(self, operations=(*self.operations, *done))


@dataclass(frozen=True)
class Probe:
    """Encoded rows that differ from the first by one text or boolean each: `places` has, by
    feature, the row of each code."""

    schema: FeatureSchema
    matrix: Matrix
    places: Mapping[int, Mapping[int, int]]

    @staticmethod
    def of(schema: FeatureSchema, row: Matrix) -> Probe:
        """The probe around an encoded row, which has a prediction."""
        rows, places = [row], {}
        blocks = encoded_columns(schema)
        for number, feature in enumerate(schema.features):
            if not is_finite(feature):
                continue
            own = int(codes(feature, row[None, blocks[number]])[0])
            places[number] = {own: 0}
            for code in reachable(feature):
                if code != own:
                    places[number][code] = len(rows)
                    changed = row.copy()
                    changed[blocks[number]] = encoded(feature, code)
                    rows.append(changed)
        return Probe(schema, np.array(rows), places)

    def start(self) -> tuple[list[Output], Any]:
        """The features themselves, and the rows as a DataFrame."""
        outputs = [
            Output(number, None if is_finite(feature) else ())
            for number, feature in enumerate(self.schema.features)
        ]
        return outputs, data_frame(self.schema, self.matrix)

    def sources(self, column: npt.NDArray[Any]) -> list[int]:
        """The features whose texts or booleans change a column of the rows."""
        return [
            number
            for number, rows in self.places.items()
            if any(_differ(column[row], column[0]) for row in rows.values())
        ]

    def table(self, feature: int, column: npt.NDArray[np.float64]) -> list[float]:
        """The column's value for each code of the feature; NaN for one without a prediction."""
        rows = self.places[feature]
        return [
            float(column[rows[code]]) if code in rows else np.nan for code in range(max(rows) + 1)
        ]


def _differ(one: Any, other: Any) -> bool:
    return bool(one != other) and not (one != one and other != other)


def names_of(outputs: Sequence[Output], schema: FeatureSchema) -> str:
    """The features that the columns come from, for a message."""
    return ", ".join(dict.fromkeys(schema.features[one.feature].name for one in outputs))
