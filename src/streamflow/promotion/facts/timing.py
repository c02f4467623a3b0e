"""How long versions take to score, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamflow.promotion.gates.latency import FEWEST_TIMINGS, Timings
from streamflow.training.served_model import Columns, ServedModel

if TYPE_CHECKING:
    import pyarrow as pa

THOUSAND = 1000
_ROUNDS, _ENOUGH_SECONDS = 25, 3.0
# One call of one row is so short that an interrupt shows in it.
_CALLS_OF_ONE_ROW, _CALLS_OF_THOUSAND = 8, 2


@dataclass(frozen=True)
class Contestant:
    """A model, and real rows for it to score."""

    model: ServedModel
    one_row: Columns
    thousand_rows: Columns


def contestant(model: ServedModel, table: pa.Table) -> Contestant | None:
    """The model with the table's first row and its first 1,000, the same ones over and over where
    there are fewer. None if there is no row."""
    if not table.num_rows:
        return None
    times = -(-THOUSAND // table.num_rows)
    columns = {
        one.name: table[one.name].slice(0, THOUSAND).to_pylist() for one in model.schema.features
    }
    thousand = {name: (values * times)[:THOUSAND] for name, values in columns.items()}
    return Contestant(model, {name: values[:1] for name, values in columns.items()}, thousand)


def timings(
    contestants: Sequence[Contestant],
    seconds: Callable[[], float] = time.process_time,
) -> list[Timings]:
    """The milliseconds of each contestant, who take turns in every round.

    A timing is the least of a few calls, in seconds of the processor: a model is scored by one
    thread, and what else the machine does mustn't decide.
    """
    one: list[list[float]] = [[] for _ in contestants]
    thousand: list[list[float]] = [[] for _ in contestants]
    begun = seconds()
    for number in range(_ROUNDS + 1):
        if number > FEWEST_TIMINGS and seconds() - begun > _ENOUGH_SECONDS:
            break
        order = range(len(contestants))
        for i in reversed(order) if number % 2 else order:
            racer = contestants[i]
            quick = _least(racer.model, racer.one_row, _CALLS_OF_ONE_ROW, seconds)
            slow = _least(racer.model, racer.thousand_rows, _CALLS_OF_THOUSAND, seconds)
            if number:  # the first round warms up
                one[i].append(quick)
                thousand[i].append(slow)
    return [Timings(np.array(a), np.array(b)) for a, b in zip(one, thousand, strict=True)]


def _least(model: ServedModel, columns: Columns, calls: int, seconds: Callable[[], float]) -> float:
    least = float("inf")
    for _ in range(calls):
        begun = seconds()
        model.predict(columns)
        least = min(least, seconds() - begun)
    return least * 1000
