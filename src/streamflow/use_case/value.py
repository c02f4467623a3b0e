"""What it is worth to contact an entity, and what it costs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from streamflow.use_case.findings import Finding


@dataclass(frozen=True)
class Value:
    """What an entity is worth, and what contacting it costs and brings.

    The expected value of a contact is probability · value · `success` - `cost`.

    The value is `column`, a number as `table.column`, times `months`: for how many months it counts
    that the label doesn't come true. Without a column each entity is worth `each`.
    `success` is the share of entities that a contact keeps, of those whose label would come true
    otherwise. `cost` is of contacting one entity. `unit` is the unit of all amounts, such as "EUR".
    """

    column: str | None = None
    each: float | None = None
    months: float = 1.0
    success: float = 0.1
    cost: float = 0.0
    unit: str = ""

    @property
    def described(self) -> str:
        """Where the value comes from, in words."""
        if self.column is None:
            return f"{self.each:g} each"
        return self.column if self.months == 1 else f"{self.column} x {self.months:g} months"


_EXAMPLE = 'value=Value(column="table.column", months=12, success=0.2, cost=5.0)'


def value_findings(value: object) -> Iterator[Finding]:
    """What is wrong with the value itself; that its column exists is seen with the contracts."""
    if value is None:
        return
    if not isinstance(value, Value):
        yield Finding("value", f"it is {type(value).__name__}, not Value", _EXAMPLE)
        return
    if (value.column is None) == (value.each is None):
        said = "neither column nor each" if value.column is None else "both column and each"
        yield Finding("value", f"it has {said}; one of them says what an entity is worth", _EXAMPLE)
    elif value.column is not None and not _is_column(value.column):
        yield Finding(
            "value",
            f"the column {value.column!r} isn't a column as table.column",
            f'Value(column="table.{value.column}")',
        )
    elif value.each is not None and not _is_number(value.each, above=0):
        yield Finding("value", f"each is {value.each!r}, not a number above 0", "Value(each=100.0)")
    if not _is_number(value.months, above=0):
        yield Finding(
            "value", f"months is {value.months!r}, not a number above 0", "Value(months=12)"
        )
    if not _is_number(value.success, above=0) or value.success > 1:
        yield Finding(
            "value",
            f"success is {value.success!r}, not a share above 0, at most 1",
            "Value(success=0.2)",
        )
    if not _is_number(value.cost) or value.cost < 0:
        yield Finding(
            "value", f"cost is {value.cost!r}, not a number of at least 0", "Value(cost=5.0)"
        )
    if not isinstance(value.unit, str):
        yield Finding("value", f"unit is {value.unit!r}, not text", 'Value(unit="EUR")')


def _is_column(column: object) -> bool:
    return isinstance(column, str) and re.fullmatch(r"[^.]+\..+", column) is not None


def _is_number(value: object, above: float = -math.inf) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value > above
