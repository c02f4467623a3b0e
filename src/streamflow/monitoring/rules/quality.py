"""The rules about what came true: the figures of training, on a month whose labels have matured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from streamflow.monitoring.alarm import Alarm, Figure
from streamflow.monitoring.statistics.scored import HALF, Ranking, Scored, measured, ranking
from streamflow.training.evaluation import FEWEST_OF_A_CLASS
from streamflow.training.statistics.calibration import calibration
from streamflow.use_case import Monitoring

# Segments of a column that are looked at; the most common ones.
MOST_SEGMENTS = 20
# Rows behind a calibration error, whose interval takes a thousand resamples.
_MOST_CALIBRATED = 20_000


@dataclass(frozen=True)
class Promised:
    """The AUC that a version was promoted with, and its 95 % interval; None if not measured."""

    auc: float | None
    auc_low: float | None
    auc_high: float | None

    @property
    def standard_error(self) -> float:
        """A fourth of the interval, about; 0 without one."""
        if self.auc_low is None or self.auc_high is None:
            return 0.0
        return (self.auc_high - self.auc_low) / (2 * HALF)


def promised(metrics: Mapping[str, float]) -> Promised:
    """What a version's metrics promise, as MLflow stores them."""
    return Promised(*(metrics.get(name) for name in ("auc", "auc_low", "auc_high")))


@dataclass(frozen=True)
class Matured:
    """The scores that a version gave in a month, with the labels that came true.

    `before` has rows with labels that the model wasn't fitted to, of before: those that validated
    it and those of earlier months; None without any.
    """

    as_of: date
    version: int
    scored: Scored
    before: Scored | None


def quality(
    matured: Matured,
    promise: Promised,
    entities: str,
    level: float,
    bounds: Monitoring,
    random_state: int,
) -> tuple[list[Figure], list[Alarm]]:
    """The month's figures as a whole and by segment, and the alarms about them.

    `entities` is what the entities are called. An alarm is raised at a probability by chance of at
    most `level`.
    """
    scored, before = matured.scored, matured.before
    found = measured(scored, random_state)
    everyone = f"all {entities}"
    figures = {
        **_counts(matured, scored),
        "promised": {name: getattr(promise, name) for name in ("auc", "auc_low", "auc_high")},
    }
    if found is None:
        return [Figure("quality", everyone, "", figures)], []
    figures |= {**found.as_metrics(), **_calibration(scored, random_state)}
    alarms: list[Alarm] = []
    if promise.auc is not None:
        bound = bounds.quality
        was = Ranking(promise.auc, promise.standard_error)
        alarms += _worse(
            everyone, matured.as_of, _ranked(scored), was, "was promised", level, bound
        )
    alarms += _off(everyone, matured.as_of, scored, before, level, bounds.quality)
    made = [Figure("quality", everyone, "", figures)]
    for column, segments in scored.segments.items():
        for code, rows in _common(segments.codes, len(segments.names)):
            what = f"{entities} with {column} {segments.names[code]!r}"
            part = scored.at(rows)
            then = _same_segment(before, column, segments.names[code])
            one, raised = _segment(what, matured, part, then, level, bounds)
            made.append(one)
            alarms += raised
    return made, alarms


def _counts(matured: Matured, scored: Scored) -> dict[str, Any]:
    labels = scored.labels
    assert labels is not None
    return {
        "month": matured.as_of.isoformat(),
        "version": matured.version,
        "rows": scored.rows,
        "positives": int(labels.sum()),
        "share_true": float(labels.mean()) if scored.rows else None,
        "mean_score": float(scored.probabilities.mean()) if scored.rows else None,
    }


def _calibration(scored: Scored, random_state: int) -> dict[str, Any]:
    """Of at most 20,000 rows, at even distances."""
    step = -(-scored.rows // _MOST_CALIBRATED)
    labels = scored.labels
    assert labels is not None
    found = calibration(labels[::step], scored.probabilities[::step], None, random_state)
    return {"calibration_error": found.error.as_dict(), "plain_error": found.plain_error}


def _ranked(scored: Scored) -> Ranking:
    assert scored.labels is not None
    true = scored.labels.astype(np.float64)
    return ranking(scored.probabilities, true, 1 - true)


def _enough(scored: Scored) -> bool:
    assert scored.labels is not None
    positives = int(scored.labels.sum())
    return min(positives, scored.rows - positives) >= FEWEST_OF_A_CLASS


def _segment(
    what: str,
    matured: Matured,
    part: Scored,
    then: Scored | None,
    level: float,
    bounds: Monitoring,
) -> tuple[Figure, list[Alarm]]:
    figures = _counts(matured, part)
    alarms: list[Alarm] = []
    if _enough(part):
        now = _ranked(part)
        figures |= {
            "auc": now.auc,
            "auc_low": max(0.0, now.auc - HALF * now.standard_error),
            "auc_high": min(1.0, now.auc + HALF * now.standard_error),
        }
        if then is not None and _enough(then):
            was = _ranked(then)
            figures["auc_before"] = was.auc
            alarms += _worse(what, matured.as_of, now, was, "it was before", level, bounds.quality)
    if part.rows >= 2 * FEWEST_OF_A_CLASS and then is not None:
        alarms += _off(what, matured.as_of, part, then, level, bounds.quality)
    return Figure("quality", what, "", figures), alarms


def _worse(
    what: str,
    month: date,
    now: Ranking,
    was: Ranking,
    words: str,
    level: float,
    bound: float | None,
) -> Iterator[Alarm]:
    from scipy.stats import norm

    lower = was.auc - now.auc
    error = float(np.hypot(now.standard_error, was.standard_error))
    if bound is None or lower < bound or (error and norm.sf(lower / error) > level):
        return
    yield Alarm(
        "quality",
        what,
        "critical" if lower >= 2 * bound or now.auc < 0.5 else "warning",
        lower,
        bound,
        "",
        f"{what}: the AUC of {month} is {now.auc:.3f} by the labels, {was.auc:.3f} {words}.",
    )


def _off(
    what: str,
    month: date,
    scored: Scored,
    before: Scored | None,
    level: float,
    bound: float | None,
) -> Iterator[Alarm]:
    """The mean score is farther from the share of true labels than it was."""
    from scipy.stats import norm

    gap, error = _gap(scored)
    gap_before, error_before = _gap(before) if before is not None and before.rows else (0.0, 0.0)
    moved = gap - gap_before
    error = float(np.hypot(error, error_before))
    if bound is None or abs(moved) < bound or (error and 2 * norm.sf(abs(moved) / error) > level):
        return
    assert scored.labels is not None
    yield Alarm(
        "calibration",
        what,
        "critical" if abs(moved) >= 2 * bound else "warning",
        abs(moved),
        bound,
        "",
        f"{what}: of {month} {scored.labels.mean():.1%} are true by the labels, the mean score is "
        f"{scored.probabilities.mean():.1%}.",
    )


def _gap(scored: Scored) -> tuple[float, float]:
    """The mean score minus the share of true labels, and its standard error."""
    assert scored.labels is not None
    differences = scored.probabilities - scored.labels
    return float(differences.mean()), float(differences.std() / np.sqrt(max(scored.rows, 1)))


def _common(codes: Any, names: int) -> Iterator[tuple[int, Any]]:
    """The most common segments, by their number, with their rows."""
    sizes = np.bincount(codes[codes >= 0], minlength=names)
    for code in sorted(np.argsort(-sizes, kind="stable")[:MOST_SEGMENTS].tolist()):
        if sizes[code]:
            yield code, codes == code


def _same_segment(before: Scored | None, column: str, name: str) -> Scored | None:
    if before is None or column not in before.segments:
        return None
    segments = before.segments[column]
    if name not in segments.names:
        return None
    return before.at(segments.codes == list(segments.names).index(name))
