"""What the rows of one pair say of the candidate's quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from streamflow.promotion.gates.judged_pair import JudgedPair
from streamflow.promotion.gates.judging_rows import (
    at_most_enough,
    expected_to_do,
    rarer,
    too_few,
    would_do,
)
from streamflow.promotion.gates.result import Outcome, Versions
from streamflow.training.statistics.comparison import Comparison, Interval, compare

WORDS = {"auc": "AUC", "average_precision": "average precision"}


@dataclass(frozen=True)
class PairQuality:
    """`outcome` is about the margins, None if there is nothing to compare.

    `below` has a clause for each figure that is below the acceptance bar for sure. `needed` is how
    many rows of the rarer `label` would do where `rows` of them can't tell; infinite where more
    rows aren't what is missing.
    """

    outcome: Outcome | None
    sentence: str
    below: tuple[str, ...]
    rows: int
    label: str
    needed: float
    figures: Mapping[str, Any]


def pair_quality(
    pair: JudgedPair,
    margins: Mapping[str, float],
    acceptance: Mapping[str, float],
    versions: Versions,
    random_state: int,
) -> PairQuality:
    """Compare both versions' figures on the rows of the pair, the candidate's alone if there is no
    current one."""
    is_compared = pair.current_scores is not None and bool(margins)
    if too_few(pair):
        return _too_few(pair, margins, is_compared)
    used = at_most_enough(pair, random_state)
    compared = compare(
        used.labels, used.candidate_scores, used.current_scores, used.entities, random_state
    )
    rows, label = rarer(used)
    differences = {
        figure: (one.difference, margins[figure])
        for figure, one in compared.items()
        if one.difference is not None and figure in margins
    }
    outcome = _outcome(differences) if is_compared else None
    needed = [
        would_do(rows, difference, margin)
        for difference, margin in differences.values()
        if difference.low < -margin
    ]
    return PairQuality(
        outcome=outcome,
        sentence=_sentence(pair, used, compared, margins, versions),
        below=tuple(_below(pair.source, compared, acceptance)),
        rows=rows,
        label=label,
        needed=max(needed, default=inf),
        figures={
            "source": pair.source,
            "rows": used.rows,
            "of_rows": pair.rows,
            "positives": used.positives,
            "by_twins_of": list(pair.twins),
            "outcome": outcome,
            **{figure: _as_dict(one) for figure, one in compared.items()},
        },
    )


def _outcome(differences: Mapping[str, tuple[Interval, float]]) -> Outcome:
    if any(difference.high < -margin for difference, margin in differences.values()):
        return "failed"
    if all(difference.low >= -margin for difference, margin in differences.values()):
        return "passed"
    return "can't tell"


def _too_few(pair: JudgedPair, margins: Mapping[str, float], is_compared: bool) -> PairQuality:
    rows, label = rarer(pair)
    return PairQuality(
        outcome="can't tell" if is_compared else None,
        sentence=f"On {pair.source} only {rows:,} of {pair.rows:,} rows have the label {label}.",
        below=(),
        rows=rows,
        label=label,
        needed=max((expected_to_do(*one) for one in margins.items()), default=inf),
        figures={
            "source": pair.source,
            "rows": pair.rows,
            "positives": pair.positives,
            "by_twins_of": list(pair.twins),
        },
    )


def _below(
    source: str, compared: Mapping[str, Comparison], acceptance: Mapping[str, float]
) -> list[str]:
    return [
        f"{figure} is {one.candidate.value:.4f} on {source} (95 % interval "
        f"{one.candidate.low:.4f} to {one.candidate.high:.4f}), at least {acceptance[figure]} is "
        "asked"
        for figure, one in compared.items()
        if figure in acceptance and one.candidate.high < acceptance[figure]
    ]


def _sentence(
    pair: JudgedPair,
    used: JudgedPair,
    compared: Mapping[str, Comparison],
    margins: Mapping[str, float],
    versions: Versions,
) -> str:
    said = [
        f"the {WORDS[figure]} is {one.candidate.value:.4f}"
        f"{_difference(one, margins.get(figure), versions)}"
        for figure, one in compared.items()
    ]
    rows = f"{used.rows:,} rows"
    if used.rows < pair.rows:
        rows = f"a random {used.rows:,} of {pair.rows:,} rows"
    return f"On {pair.source} ({rows}, {used.positives:,} true) {' and '.join(said)}."


def _difference(compared: Comparison, margin: float | None, versions: Versions) -> str:
    difference = compared.difference
    if difference is None:
        return f" ({compared.candidate.low:.4f} to {compared.candidate.high:.4f})"
    how = "lower" if difference.value < 0 else "higher"
    bound = "" if margin is None else f", margin -{margin:g}"
    return (
        f", {abs(difference.value):.4f} {how} than version {versions.current}'s (95 % interval "
        f"{difference.low:+.4f} to {difference.high:+.4f}{bound})"
    )


def _as_dict(compared: Comparison) -> dict[str, Any]:
    return {
        "candidate": compared.candidate.as_dict(),
        "current": None if compared.current is None else compared.current.as_dict(),
        "difference": None if compared.difference is None else compared.difference.as_dict(),
    }
