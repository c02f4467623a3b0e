"""The gate *latency*: scoring is within budget, and not many times slower than before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamflow.promotion.gates.result import GateResult, Versions
from streamflow.use_case.gates import Gates

GATE = "latency"

# Up to so many milliseconds, scoring is little beside the rest of a request, and being many times
# slower than before harms nobody.
QUICK_ONE_MS, QUICK_THOUSAND_MS = 0.5, 20.0

# Of fewer timings, the median may be chance.
FEWEST_TIMINGS = 5

Milliseconds = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Timings:
    """How long a version took to score 1 row and 1,000 rows, in milliseconds: (repetitions,).

    Both versions are timed in the same run, in turn, after a warm-up.
    """

    one_row: Milliseconds
    thousand_rows: Milliseconds


def latency_gate(
    candidate: Timings, current: Timings | None, gates: Gates, versions: Versions
) -> GateResult:
    """Passed if the medians are within the budgets, and within the ratio to the current version's.

    The ratio counts where scoring takes longer than 0.5 ms for one row, or 20 ms for 1,000.
    """
    fewest = min(
        len(times)
        for timings in (candidate, current)
        if timings is not None
        for times in (timings.one_row, timings.thousand_rows)
    )
    if fewest < FEWEST_TIMINGS:
        return GateResult(
            GATE,
            "can't tell",
            f"Only {fewest} timings were made, {FEWEST_TIMINGS} are needed.",
            f"Run `streamflow check {versions.candidate}` again.",
        )
    sizes = (
        _Size("1 row", "one_row", gates.one_row_ms, QUICK_ONE_MS),
        _Size("1,000 rows", "thousand_rows", gates.thousand_rows_ms, QUICK_THOUSAND_MS),
    )
    said: list[str] = []
    broken: list[str] = []
    figures: dict[str, float | None] = {}
    for size in sizes:
        took = float(np.median(getattr(candidate, size.field)))
        before = None if current is None else float(np.median(getattr(current, size.field)))
        said.append(f"{size.words} in {took:.2f} ms{_beside(before, versions)}")
        broken += _broken(size, took, before, gates.latency_ratio, versions)
        figures[f"{size.field}_ms"] = took
        figures[f"{size.field}_p95_ms"] = float(np.percentile(getattr(candidate, size.field), 95))
        figures[f"current_{size.field}_ms"] = before
    message = f"Version {versions.candidate} scores {' and '.join(said)}, at the median."
    if broken:
        return GateResult(
            GATE,
            "failed",
            f"{message} But {'; '.join(broken)}.",
            "Train a smaller model with `streamflow train`, or change one_row_ms, thousand_rows_ms "
            "or latency_ratio in the use case's gates.",
            figures,
        )
    return GateResult(GATE, "passed", message, figures=figures)


@dataclass(frozen=True)
class _Size:
    words: str
    field: str
    budget: float | None
    quick: float


def _beside(before: float | None, versions: Versions) -> str:
    return "" if before is None else f" (version {versions.current}: {before:.2f} ms)"


def _broken(
    size: _Size, took: float, before: float | None, ratio: float | None, versions: Versions
) -> Iterator[str]:
    if size.budget is not None and took > size.budget:
        yield f"{size.words} may take {size.budget:g} ms"
    if not before or ratio is None or took <= size.quick:
        return
    if took > ratio * before:
        yield (
            f"{size.words} take {took / before:.1f} times as long as with version "
            f"{versions.current}, {ratio:g} times is allowed"
        )
