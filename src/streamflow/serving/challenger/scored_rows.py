"""What one call of the model scored, and the scores of two versions side by side."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from streamflow.errors import NoAnswer

if TYPE_CHECKING:
    from streamflow.serving.feature_status import EntityRow
    from streamflow.serving.scoring import Prediction, ScoringRequest, Served


class _HasRequests(Protocol):
    @property
    def requests(self) -> Sequence[ScoringRequest]:
        """What it asks for."""


T = TypeVar("T", bound=_HasRequests)
# Something with requests, and where its results begin and end among those of all.
Span = tuple[T, int, int]


def spans(batch: Iterable[T]) -> Iterator[Span[T]]:
    """The batch's parts with the places of their results."""
    start = 0
    for one in batch:
        end = start + len(one.requests)
        yield one, start, end
        start = end


def parted(
    batch: Iterable[Span[T]], positions: Sequence[int]
) -> tuple[list[Span[T]], list[Span[T]]]:
    """Those with a result at one of the positions, which ascend, and those without."""
    those: tuple[list[Span[T]], list[Span[T]]] = [], []
    for one, start, end in batch:
        at = bisect_left(positions, start)
        there = at < len(positions) and positions[at] < end
        those[not there].append((one, start, end))
    return those


class ScoredRows(NamedTuple):
    """What `served` scored at `moment` (UTC): per request its row and its result.

    `canary` is the one that was on then: what came before a canary isn't counted for it.
    """

    served: Served
    requests: Sequence[ScoringRequest]
    rows: Sequence[EntityRow]
    results: list[Prediction | NoAnswer]
    moment: datetime
    canary: object = None

    def only(self, positions: Sequence[int]) -> ScoredRows:
        """Those at these positions."""
        return self._replace(
            requests=[self.requests[position] for position in positions],
            rows=[self.rows[position] for position in positions],
            results=[self.results[position] for position in positions],
        )


class ScorePairs(NamedTuple):
    """Per request what was answered by `answered`, and what `shadow` scored beside it.

    `moments` are those of the answers, in UTC, all of the same day.
    """

    answered: Served
    shadow: Served
    requests: Sequence[ScoringRequest]
    moments: Sequence[datetime]
    answers: Sequence[Prediction | str]
    shadows: Sequence[Prediction | str]


def joined(scored: Sequence[ScoredRows]) -> ScoredRows:
    """The rows of several calls of the same model as those of one, at the first's moment."""
    if len(scored) == 1:
        return scored[0]
    return scored[0]._replace(
        requests=[*chain.from_iterable(one.requests for one in scored)],
        rows=[*chain.from_iterable(one.rows for one in scored)],
        results=[*chain.from_iterable(one.results for one in scored)],
    )


def outcomes(results: Sequence[Prediction | NoAnswer]) -> list[Prediction | str]:
    """The results, with the code of each problem in its place."""
    return [one.code if isinstance(one, NoAnswer) else one for one in results]


class Comparison(NamedTuple):
    """How many rows a challenger scored beside answers, and what came out.

    `failed` has no prediction where the one in Production has; `compared` have both, and of these
    `changed` have another label.
    """

    rows: int
    failed: int
    compared: int
    changed: int

    @staticmethod
    def of(
        production: Sequence[Prediction | str], challenger: Sequence[Prediction | str]
    ) -> Comparison:
        """The counts of outcomes of the same requests."""
        failed = compared = changed = 0
        for one, other in zip(production, challenger, strict=True):
            if isinstance(one, str):
                continue
            if isinstance(other, str):
                failed += 1
            else:
                compared += 1
                changed += one.prediction != other.prediction
        return Comparison(len(production), failed, compared, changed)
