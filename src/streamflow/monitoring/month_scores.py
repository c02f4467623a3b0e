"""The scores of a month, what came true of earlier ones, and what is expected of this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from streamflow.errors import ModelRefused
from streamflow.history.months import labelled_months
from streamflow.monitoring import recorded
from streamflow.monitoring.alarm import MONTH_BEFORE, TRAINING, Alarm, Figure
from streamflow.monitoring.month_monitored import MonthMonitored
from streamflow.monitoring.reading import score_rows
from streamflow.monitoring.reading.learned import Learned, learned
from streamflow.monitoring.rules.estimated import estimated
from streamflow.monitoring.rules.quality import Matured, promised, quality
from streamflow.monitoring.rules.scores import scores
from streamflow.monitoring.statistics.estimate import calibrator, estimate
from streamflow.monitoring.statistics.scored import Scored
from streamflow.scores.scorings import Scoring

# Of the resamples behind the intervals, as `streamflow evaluate` has it.
RANDOM_STATE = 0
# Months with labels that are judged in one monitoring, and that calibrate an estimate.
MOST_MATURED = 3

Found = tuple[list[Figure], list[Alarm]]


def scores_monitored(month: MonthMonitored, of_features: Sequence[Alarm]) -> Found:
    """Scores, quality and its estimate; nothing where nobody was scored."""
    platform, history, version = month.platform, month.history, month.learned.version
    every = [
        Scoring(**row)
        for row in platform.database.rows(
            "newest_scorings",
            model=version.name,
            as_of=month.as_of,
            known_at=history.known_at,
        )
    ]
    identity = version.version, version.model_hash
    made = {one.as_of: one for one in every if (one.version, one.model_hash) == identity}
    segments = platform.use_case.gates.segments
    validated = score_rows.validation_scores(history, month.learned, segments)
    # Of rows that the version was fitted to, scores are better than they will be.
    unseen = {one: made[one] for one in sorted(made) if one not in month.learned.months}
    figures, alarms, judged = _quality(month, every, validated)
    current = made.get(month.as_of)
    if current is None or not current.entities:
        return figures, alarms
    now = score_rows.scores_of(history, current)
    if validated is not None and month.as_of in unseen:
        found = scores(validated, now, month.compared(TRAINING))
        figures, alarms = [*figures, found[0]], [*alarms, *found[1]]
    former = made.get(month.before) if month.before else None
    if former is not None and former.entities and month.before not in month.learned.months:
        found = scores(score_rows.scores_of(history, former), now, month.compared(MONTH_BEFORE))
        figures, alarms = [*figures, found[0]], [*alarms, *found[1]]
    if month.as_of in unseen:
        more = _estimate(month, unseen, validated, judged, now, [*of_features, *alarms])
        figures, alarms = [*figures, *more[0]], [*alarms, *more[1]]
    return figures, alarms


def _matured(month: MonthMonitored, unseen: dict[date, Scoring]) -> list[date]:
    """The newest months that have scores of rows which the version wasn't fitted to, and labels."""
    history = month.history
    labelled = labelled_months(history.database, history.use_case, history.known_at)
    return [one for one in labelled if one in unseen][-MOST_MATURED:]


def _quality(
    month: MonthMonitored, made: Sequence[Scoring], validated: Scored | None
) -> tuple[list[Figure], list[Alarm], dict[int, Scored]]:
    """What came true in each month whose labels have matured, and that no earlier monitoring
    judged: of the scores by the version, or else by the newest one that wasn't fitted to the month.

    Also the scores with labels that were read, by the number of their scoring.
    """
    platform, history, name = month.platform, month.history, month.learned.version.name
    use_case = platform.use_case
    segments = use_case.gates.segments
    judged_before = recorded.months_judged(platform.database, name, month.as_of)
    labelled = labelled_months(history.database, history.use_case, history.known_at)
    versions = {month.learned.version.version: month.learned}
    figures: list[Figure] = []
    alarms: list[Alarm] = []
    judged: dict[int, Scored] = {}
    for one in [late for late in labelled if late <= month.as_of][-MOST_MATURED:]:
        if one in judged_before:
            continue
        of_month = [scoring for scoring in made if scoring.as_of == one]
        scoring, by = _unseen(month, of_month, versions)
        if scoring is None:
            continue
        came_true = score_rows.judged_scores(history, scoring, segments)
        judged[scoring.scoring_id] = came_true
        if not came_true.rows:
            continue
        before = validated
        if by is not month.learned:
            before = score_rows.validation_scores(history, by, segments)
        found = quality(
            Matured(one, scoring.version, came_true, before),
            promised(platform.registry.version(scoring.version).metrics),
            month.entities,
            month.level,
            use_case.monitoring,
            RANDOM_STATE,
        )
        figures += found[0]
        alarms += found[1]
    return figures, alarms, judged


def _unseen(
    month: MonthMonitored, made: Sequence[Scoring], versions: dict[int, Learned]
) -> tuple[Scoring | None, Learned]:
    """Of a month's scorings, the one by the monitored version or the newest other one, if that
    version wasn't fitted to the month. `versions` are those that were looked at."""
    own = month.learned.version.version
    for scoring in sorted(made, key=lambda one: (one.version == own, one.version), reverse=True):
        if not scoring.entities:
            continue
        if scoring.version not in versions:
            try:
                version = month.platform.registry.version(scoring.version)
                versions[scoring.version] = learned(month.platform, version)
            except ModelRefused:  # it was pruned, or has no lineage
                continue
        by = versions[scoring.version]
        if by.version.model_hash == scoring.model_hash and scoring.as_of not in by.months:
            return scoring, by
    return None, month.learned


def _estimate(
    month: MonthMonitored,
    unseen: dict[date, Scoring],
    validated: Scored | None,
    judged: Mapping[int, Scored],
    now: Scored,
    raised: Sequence[Alarm],
) -> Found:
    """What is expected of the month's scores, calibrated on all rows with labels of before."""
    known = [validated] if validated is not None else []
    for one in _matured(month, unseen):
        if one < month.as_of:
            scoring = unseen[one]
            came_true = judged.get(scoring.scoring_id)
            known.append(came_true or score_rows.judged_scores(month.history, scoring, ()))
    calibrated = None
    if known:
        labels = [one.labels for one in known if one.labels is not None]
        calibrated = calibrator(
            np.concatenate([one.probabilities for one in known]), np.concatenate(labels)
        )
    found = estimate(now, calibrated) if calibrated is not None else None
    use_case, version = month.platform.use_case, month.learned.version
    return estimated(
        month.as_of,
        found,
        calibrated,
        promised(month.platform.registry.version(version.version).metrics),
        month.entities,
        raised,
        month.level,
        use_case.monitoring,
    )
