"""A month monitored: counts read, rules asked, alarms in order. It writes only a run's bins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime

from streamflow.features.engines.history_database import up_to_date
from streamflow.history.labels import known_labels
from streamflow.monitoring import recorded
from streamflow.monitoring.alarm import MONTH_BEFORE, TRAINING, Alarm, Figure, in_order
from streamflow.monitoring.counts import FeatureCounts
from streamflow.monitoring.month_monitored import MonthMonitored
from streamflow.monitoring.month_scores import MOST_MATURED, Found, scores_monitored
from streamflow.monitoring.reading import month_rows
from streamflow.monitoring.reading.data_facts import data_facts
from streamflow.monitoring.reading.feature_counts import feature_counts
from streamflow.monitoring.reading.learned import Learned, learned
from streamflow.monitoring.reading.reference import Reference, reference
from streamflow.monitoring.recorded import Monitored
from streamflow.monitoring.retraining import Advice, advise
from streamflow.monitoring.rules.compared import TESTS_PER_FEATURE, level, without_repeats
from streamflow.monitoring.rules.data import data
from streamflow.monitoring.rules.features import features
from streamflow.monitoring.rules.quality import MOST_SEGMENTS
from streamflow.monitoring.rules.skew import SkewCounts, skew
from streamflow.platform import Platform
from streamflow.postgres.queries import identifier
from streamflow.progress import Progress
from streamflow.registry.records import ModelVersion


def monitored(
    platform: Platform,
    version: ModelVersion,
    as_of: date,
    known_at: datetime,
    now: datetime,
    online: Callable[[datetime | None], SkewCounts],
    progress: Progress,
) -> Monitored:
    """The version's monitoring of the month `as_of`, which has to be known at `known_at` (UTC).

    `online` counts the logged predictions since a moment, or all of them, that differ from history.
    Raises NoLineage, UnknownRun, MlflowUnavailable, FeatureStoreUnavailable.
    """
    bounds = platform.use_case.monitoring
    progress("read what the version learned from")
    database = up_to_date(platform.history, platform.use_case)
    history = month_rows.history(database, platform.use_case, known_at)
    earlier = [month for month in history.months if month < as_of]
    of_version = learned(platform, version)
    tests = _tests(platform, of_version)
    month = MonthMonitored(
        platform,
        history,
        of_version,
        as_of,
        earlier[-1] if earlier else None,
        level(bounds, tests),
        tests,
    )
    progress("count features")
    figures, alarms = _features(month)
    progress("compare tables")
    facts = data_facts(history, as_of)
    alarms = _but_late(alarms, month, [one.table for one in facts.tables if not one.rows])
    of_data = data(facts, month.entities, month.level, bounds)
    progress("compare scores")
    of_scores = scores_monitored(month, alarms)
    progress("replay predictions")
    since = recorded.known_before(platform.database, version.name, as_of)
    of_skew = skew(online(since), bounds)
    for found in (of_data, of_scores, of_skew):
        figures += found[0]
        alarms += found[1]
    ordered = in_order(without_repeats(alarms))
    return Monitored(
        model=version.name,
        version=version.version,
        run_id=version.run_id,
        model_hash=version.model_hash,
        as_of=as_of,
        known_at=known_at,
        made_at=now,
        training_months=of_version.months,
        month_before=month.before,
        entities=facts.entities,
        tests=tests,
        retraining=_advice(month, ordered),
        alarms=ordered,
        figures=tuple(figures),
    )


def _tests(platform: Platform, of_version: Learned) -> int:
    """How many tests share the rate of false alarms: of each feature in two comparisons, of tables,
    of scores, of quality as a whole and by segment, and of its estimate."""
    use_case = platform.use_case
    segments = MOST_SEGMENTS * len(use_case.gates.segments)
    return (
        2 * TESTS_PER_FEATURE * len(of_version.schema.features)
        + 2 * len(use_case.tables())
        + 2 * 2
        + 2 * (1 + segments) * MOST_MATURED
        + 1
    )


def _features(month: MonthMonitored) -> Found:
    kept = reference(month.history, month.learned)
    current = _counted(month, kept, month.as_of)
    figures: list[Figure] = []
    alarms: list[Alarm] = []
    if month.as_of not in month.learned.months:
        compared = month.compared(TRAINING, kept.rows)
        figures, alarms = features(kept.counts, current, compared)
    # The only month of training was compared already.
    if month.before is not None and (month.before,) != month.learned.months:
        former = _counted(month, kept, month.before)
        more = features(former, current, month.compared(MONTH_BEFORE))
        figures += more[0]
        alarms += more[1]
    return figures, alarms


def _counted(month: MonthMonitored, kept: Reference, as_of: date) -> dict[str, FeatureCounts]:
    found: dict[str, FeatureCounts] = {}
    for table, of_table in month.learned.features_by_history().items():
        found |= feature_counts(month.history, table, of_table, kept.bins, [as_of])
    return found


def _but_late(alarms: Sequence[Alarm], month: MonthMonitored, late: Sequence[str]) -> list[Alarm]:
    """The alarms but for those about features of a table without rows, which is told by itself."""
    tables = {f"{table}_history" for table in late}
    gone = {
        feature.name
        for table, of_table in month.learned.features_by_history().items()
        if table in tables
        for feature in of_table
    }
    return [alarm for alarm in alarms if alarm.what not in gone]


def _advice(month: MonthMonitored, alarms: Sequence[Alarm]) -> Advice:
    """Whether to train again, by the newest version's months and the labels since."""
    platform, history = month.platform, month.history
    use_case = platform.use_case
    newest = max(platform.registry.versions(), key=lambda one: one.version)
    of_newest = month.learned
    if newest.version != month.learned.version.version:
        of_newest = replace(of_newest, months=learned(platform, newest).months)
    until = max(of_newest.months)
    labels = history.database.row(
        "labels_after",
        {
            "key": identifier(use_case.join_key),
            "label": identifier(use_case.label.column),
            "label_history": known_labels(history.database, use_case, history.known_at),
        },
        as_ofs=list(of_newest.months),
        since=until,
        known_at=history.known_at,
    )["labels"]
    return advise(alarms, month.as_of, until, labels, use_case.retraining)
