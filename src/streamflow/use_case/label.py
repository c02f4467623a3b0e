"""What is predicted, and which values of its column mean yes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from streamflow.use_case.findings import Finding

Comparison = Literal[">=", ">", "<=", "<"]
LabelValue: TypeAlias = "str | int | float | bool"
LabelValues: TypeAlias = "LabelValue | Collection[LabelValue]"

_COMPARISON = re.compile(r"\s*(>=|>|<=|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")


@dataclass(frozen=True)
class Label:
    """What a model learns to predict: a column that says yes or no, known `horizon` after its
    as_of. A null means that it isn't known.

    A boolean column needs no more. Of any other column `positive` says which values mean yes: one
    ("Yes"), several ({"churned", "left"}), or, of numbers, a comparison (">= 30"). All others that
    the column's contract lists in `Check.isin` mean no, or those in `negative`; a value that
    neither speaks of is refused at ingest. History keeps the values as they came, so that a changed
    rule is one for all months alike.
    """

    table: str
    column: str
    horizon: timedelta = timedelta(0)
    positive: LabelValues | None = None
    negative: LabelValues | None = None

    @property
    def comparison(self) -> tuple[Comparison, float] | None:
        """The operator and the number that values are compared with, if `positive` is one."""
        found = _COMPARISON.fullmatch(self.positive) if isinstance(self.positive, str) else None
        return (found[1], float(found[2])) if found else None  # type: ignore[return-value]

    @property
    def positives(self) -> tuple[LabelValue, ...]:
        """The values that mean yes, in order; none for a comparison, or without `positive`."""
        return () if self.comparison else values_of(self.positive)

    @property
    def negatives(self) -> tuple[LabelValue, ...]:
        """The values in `negative`, in order."""
        return values_of(self.negative)

    @property
    def rule(self) -> str | None:
        """`positive` as one text that another equal rule has too; None without it."""
        if self.positive is None:
            return None
        if self.comparison is not None:
            return f"{self.comparison[0]} {self.comparison[1]!r}"
        return json.dumps(self.positives, ensure_ascii=False)


def values_of(given: LabelValues | None) -> tuple[LabelValue, ...]:
    """One value or several as a tuple, each once, in order."""
    if given is None:
        return ()
    several = (given,) if isinstance(given, str | int | float | bool) else given
    return tuple(sorted(set(several), key=lambda one: (isinstance(one, str), one)))


def positive_of(rule: str | None) -> LabelValues | None:
    """What `Label.rule` was made from."""
    if rule is None or not rule.startswith("["):
        return rule
    values: list[LabelValue] = json.loads(rule)
    return tuple(values)


def label_findings(label: object) -> Iterator[Finding]:
    """What is wrong with a label by itself."""
    if not isinstance(label, Label):
        yield Finding("label", f"{label!r} isn't a Label", 'label=Label(table="…", column="…")')
        return
    start = f'Label(table="{label.table}", column="{label.column}"'
    if not isinstance(label.horizon, timedelta) or label.horizon < timedelta(0):
        yield Finding(
            "label",
            f"its horizon {label.horizon!r} isn't a time that passes after the as_of",
            f"{start}, horizon=timedelta(days=30))",
        )
    for name in ("positive", "negative"):
        given = getattr(label, name)
        if given is not None and not _are_values(given):
            yield Finding(
                "label",
                f"{name}={given!r} is neither a value nor several",
                f'{start}, {name}={{"…", "…"}})',
            )
            return
    if both := {*label.positives} & {*label.negatives}:
        yield Finding(
            "label",
            f"{', '.join(map(repr, values_of(both)))} means both yes and no",
            f"{start}, …) with each value in one of positive and negative",
        )


def _are_values(given: object) -> bool:
    if isinstance(given, str | int | float | bool):
        return not (isinstance(given, float) and not math.isfinite(given))
    if not isinstance(given, set | frozenset | tuple | list) or not given:
        return False
    return all(isinstance(one, str | int | float) and _are_values(one) for one in given)
