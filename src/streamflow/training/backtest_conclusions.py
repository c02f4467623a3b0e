"""What a backtest says of each model: which reported figure can be believed, and whether more
months help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from streamflow.training.backtest import Backtested
from streamflow.training.evaluation import FEWEST_OF_A_CLASS, Evaluation
from streamflow.training.statistics.resamples import RESAMPLES

# Of fewer as_ofs, a mean can't be told from chance.
FEWEST_AS_OFS = 5
_RANDOM_STATE = 0


@dataclass(frozen=True)
class Mean:
    """The mean of a difference of AUCs over `as_ofs`, and its 95 % interval over 1,000 resamples of
    them, None with too few to tell."""

    as_ofs: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Believed:
    """A reported AUC beside what came true next, over the as_ofs at which both can be told.

    `reported` and `came_true` are means, `too_high` is of their difference. The two agree at
    `agree` of the as_ofs: there, the difference may be due to chance.
    """

    reported: float
    came_true: float
    too_high: Mean
    agree: int


@dataclass(frozen=True)
class Conclusion:
    """What a backtest says of a model; None where it says nothing. `more_months` is the AUC that
    came true with all months, minus that with the newest alone. `sentences` say the same."""

    model: str
    at_random: Believed | None
    out_of_time: Believed | None
    more_months: Mean | None
    sentences: tuple[str, ...]


def conclusions(backtested: Sequence[Backtested]) -> list[Conclusion]:
    """What the backtest says of each model, in its order."""
    return [
        _conclusion(model, [one for one in backtested if one.model == model])
        for model in dict.fromkeys(one.model for one in backtested)
    ]


def _conclusion(model: str, backtested: Sequence[Backtested]) -> Conclusion:
    several = [one for one in backtested if one.out_of_time is not None]
    compared = several or backtested
    at_random, out_of_time = _believed(compared, "at_random"), _believed(several, "out_of_time")
    more = _more_months(backtested)
    sentences = [
        *_believed_in_words("At random", at_random),
        *_believed_in_words("Out of time", out_of_time),
        *_more_in_words(more),
    ]
    if not sentences:
        sentences = [
            "Can't tell: at no as_of are a report and what came true both of at least "
            f"{FEWEST_OF_A_CLASS} rows of each label."
        ]
    return Conclusion(model, at_random, out_of_time, more, tuple(sentences))


def _believed(backtested: Sequence[Backtested], report: str) -> Believed | None:
    pairs = []
    for one in backtested:
        reported, true = getattr(one, report), one.next
        if reported and true and reported.told and true.told:
            pairs.append((reported.told, true.told))
    if not pairs:
        return None
    return Believed(
        reported=fmean(reported.auc for reported, _ in pairs),
        came_true=fmean(true.auc for _, true in pairs),
        too_high=_mean([reported.auc - true.auc for reported, true in pairs]),
        agree=sum(agree(reported, true) for reported, true in pairs),
    )


def _mean(differences: Sequence[float]) -> Mean:
    low = high = None
    if len(differences) >= FEWEST_AS_OFS:
        random = np.random.default_rng(_RANDOM_STATE)
        drawn = random.choice(np.array(differences), (RESAMPLES, len(differences))).mean(axis=1)
        low, high = (float(bound) for bound in np.percentile(drawn, [2.5, 97.5]))
    return Mean(len(differences), fmean(differences), low, high)


def agree(one: Evaluation, other: Evaluation) -> bool:
    """Whether 0 is within the 95 % interval of the difference of two AUCs on different rows.

    The interval is made from theirs: Zou and Donner (2008), "Construction of confidence limits
    about effect measures: a general approach", Statistics in Medicine 27, 1693-1702.
    """
    higher, lower = (one, other) if one.auc >= other.auc else (other, one)
    margin = np.hypot(higher.auc - higher.auc_low, lower.auc_high - lower.auc)
    return bool(higher.auc - lower.auc <= margin)


def _more_months(backtested: Sequence[Backtested]) -> Mean | None:
    """On the same rows: those of the first month whose labels weren't known."""
    alone = {one.as_of: one.next for one in backtested if len(one.months) == 1}
    gains = []
    for one in backtested:
        single, several = alone.get(one.as_of), one.next if len(one.months) > 1 else None
        if not (several and single and several.told and single.told):
            continue
        if (several.months, several.rows) == (single.months, single.rows):
            gains.append(several.told.auc - single.told.auc)
    return _mean(gains) if gains else None


def _believed_in_words(how: str, believed: Believed | None) -> Iterator[str]:
    if believed is None:
        return
    gap = believed.too_high
    yield (
        f"{how}, {believed.reported:.3f} would have been reported on average, and "
        f"{believed.came_true:.3f} came true next: {_gap_in_words(gap)}. The two agree at "
        f"{believed.agree} of {gap.as_ofs} as_ofs."
    )


def _gap_in_words(gap: Mean) -> str:
    if gap.low is None or gap.high is None:
        return f"whether that is chance can't be told from fewer than {FEWEST_AS_OFS} as_ofs"
    bounds = f"{gap.mean:+.3f}, {gap.low:+.3f} to {gap.high:+.3f}"
    if gap.low > 0:
        return f"too high ({bounds})"
    return f"too low ({bounds})" if gap.high < 0 else f"as told, but for chance ({bounds})"


def _more_in_words(more: Mean | None) -> Iterator[str]:
    if more is None:
        return
    if more.low is None or more.high is None:
        yield (
            f"Whether more months are better than the newest alone can't be told from "
            f"{more.as_ofs} as_ofs; {FEWEST_AS_OFS} would do."
        )
        return
    if more.low > 0:
        said = "More months are better than the newest alone"
    elif more.high < 0:
        said = "More months are worse than the newest alone: what led to the label changes"
    else:
        said = "More months are neither better nor worse than the newest alone, but for chance"
    yield f"{said}; AUC {more.mean:+.3f} on average ({more.low:+.3f} to {more.high:+.3f})."
