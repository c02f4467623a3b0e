"""Who is on a list, in which order, and who of them is left alone. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from streamflow.training.served_model import Matrix


@dataclass(frozen=True)
class Limits:
    """Where a list ends; all that are given hold.

    `budget` is what the contacts may cost together. `top` is the number of entities on the list, or
    as `top_share` their share of all that could be on it. `min_value` is the lowest expected value.
    """

    budget: Decimal | None = None
    top: int | None = None
    top_share: Decimal | None = None
    min_value: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The limits that are given, as JSON has them."""
        given = {
            "budget": None if self.budget is None else format(self.budget.normalize(), "f"),
            "top": self.top,
            "top_share": None
            if self.top_share is None
            else format(self.top_share.normalize(), "f"),
            "min_value": self.min_value,
        }
        return {name: limit for name, limit in given.items() if limit is not None}


@dataclass(frozen=True)
class Selection:
    """Who is on a list, in its order.

    `places` are the listed entities' among those that were given: (listed,). `held_out` says who of
    them is left alone: (listed,). `without_value` counts the entities of which it isn't known what
    they are worth; they are on no list.
    """

    places: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.bool_]
    without_value: int


def select(
    entities: Sequence[str],
    expected: Matrix | None,
    limits: Limits,
    cost: float,
    is_held_out: Callable[[str], bool],
) -> Selection:
    """The list of these entities, which come in the order of their ranks.

    It is ordered by expected value (entities,), the highest first, and by rank where it is equal;
    by rank alone without expected values. Hold-outs are on the list and cost nothing: a budget is
    for those who are contacted, and the list ends with the last of them.
    """
    if expected is None:
        order = np.arange(len(entities))
        without_value = 0
    else:
        order = np.argsort(-expected, kind="stable")  # NaN is last
        without_value = int(np.count_nonzero(np.isnan(expected)))
        order = order[: len(entities) - without_value]
        if limits.min_value is not None:
            order = order[: int(np.count_nonzero(expected[order] >= limits.min_value))]
    if limits.top is not None:
        order = order[: limits.top]
    if limits.top_share is not None:
        order = order[: _part(limits.top_share, len(entities))]
    contacts = None if limits.budget is None else affordable(limits.budget, cost)
    held_out: list[bool] = []
    last = 0
    for place in order.tolist():
        if contacts is not None and contacts <= 0:
            break
        held_out.append(is_held_out(entities[place]))
        if contacts is not None and not held_out[-1]:
            contacts -= 1
            last = len(held_out)
    listed = last if contacts == 0 else len(held_out)
    return Selection(
        places=order[:listed].astype(np.int64),
        held_out=np.array(held_out[:listed], dtype=bool),
        without_value=without_value,
    )


def affordable(budget: Decimal, cost: float) -> int:
    """How many contacts of that cost, which is above 0, the budget pays for."""
    return int((budget / Decimal(str(cost))).to_integral_value(ROUND_FLOOR))


def _part(share: Decimal, entities: int) -> int:
    """The share of the entities, at least one of them if there is one."""
    part = int((share * entities).to_integral_value(ROUND_FLOOR))
    return min(max(part, 1), entities)
