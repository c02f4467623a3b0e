"""The space that a search for a model goes through."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from streamflow.use_case.findings import Finding

ParameterValue: TypeAlias = "str | int | float | bool | None"


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included: whole ones if both are.

    With `log`, each order of magnitude is as likely as another.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether the numbers are whole ones."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class OneOf:
    """One of the values."""

    values: tuple[ParameterValue, ...]


# By an estimator's parameter, as `set_params` takes it: `max_depth`, `classify__C`.
SearchSpace: TypeAlias = "Mapping[str, Range | OneOf]"


def search_findings(search: object) -> Iterator[Finding]:
    """What is wrong with the spaces, each of a model, but for their names: a search tells of a
    model or a parameter that isn't there."""
    if not isinstance(search, Mapping):
        yield Finding("search", "it isn't a mapping from models to spaces", "search={}")
        return
    for model, space in search.items():
        if not isinstance(space, Mapping):
            yield Finding(
                "search",
                f"the space of {model!r} isn't a mapping from parameters",
                f'search={{"{model}": {{"max_depth": Range(2, 8)}}}}',
            )
        else:
            for parameter, values in space.items():
                if said := _wrong(values):
                    yield Finding(
                        "search",
                        f"{parameter!r} of {model!r}: {said}",
                        f'search={{"{model}": {{"{parameter}": Range(2, 8)}}}}',
                    )


def _wrong(values: object) -> str:
    if isinstance(values, OneOf):
        good = isinstance(values.values, tuple | list) and len(values.values) > 0
        return "" if good else "OneOf needs a tuple of values"
    if not isinstance(values, Range):
        return f"{values!r} is neither a Range nor a OneOf"
    for number in (values.low, values.high):
        if isinstance(number, bool) or not isinstance(number, int | float):
            return f"{number!r} isn't a number"
        if not math.isfinite(number):
            return f"{number!r} isn't a finite number"
    if not values.low < values.high:
        return f"{values.low!r} isn't below {values.high!r}"
    return f"a logarithm of {values.low!r} isn't there" if values.log and values.low <= 0 else ""
