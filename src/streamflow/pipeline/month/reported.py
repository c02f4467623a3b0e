"""What the report of a month says, gathered from the tables."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import get_args

from streamflow.history.months import months
from streamflow.monitoring import recorded
from streamflow.monitoring.recorded import Monitored, NotMonitored
from streamflow.pipeline.month.step import StepName
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.reasons import recorded as explanations
from streamflow.reports.month_report import (
    MonthReport,
    ReportedMonitoring,
    ReportedReason,
    ReportedScores,
    ReportedStep,
)
from streamflow.scores import scorings
from streamflow.scores.scorings import NoScoring, Scoring

BINS = 20
# Months before this one whose monitorings are told of.
EARLIER = 11


def newest_scoring(platform: Platform, as_of: date) -> Scoring | None:
    """The newest scoring of the month, None without one."""
    with suppress(NoScoring):
        return scorings.newest(platform.database, platform.use_case, as_of)
    return None


def month_report(platform: Platform, as_of: date) -> MonthReport:
    """The report of the month. Raises NotMonitored if it was neither monitored nor scored."""
    database, use_case, model = platform.database, platform.use_case, platform.registry.model
    scoring = newest_scoring(platform, as_of)
    monitored = None
    try:
        monitored = recorded.newest(database, model, as_of)
    except NotMonitored:
        if scoring is None:
            raise
    earlier = [one for one in recorded.months_monitored(database, model) if one < as_of]
    return MonthReport(
        use_case=use_case.name,
        model=model,
        as_of=as_of,
        entities=use_case.entity_table,
        label=use_case.label.column,
        monitoring=reported_monitoring(monitored) if monitored is not None else None,
        earlier=[
            reported_monitoring(recorded.newest(database, model, month))
            for month in earlier[-EARLIER:]
        ],
        scores=_scores(platform, scoring) if scoring is not None else None,
        reasons=_reasons(database, scoring) if scoring is not None else [],
        explained=_explained(database, scoring) if scoring is not None else 0,
        steps=_steps(database, model, as_of),
    )


def _reasons(database: Database, scoring: Scoring) -> list[ReportedReason]:
    return [
        ReportedReason(one.feature, one.strongest, one.entities)
        for one in explanations.most_frequent(database, scoring.scoring_id)
    ]


def _explained(database: Database, scoring: Scoring) -> int:
    there = explanations.explanations(database, scoring.scoring_id)
    return sum(one.entities for one in there)


def reported_monitoring(made: Monitored) -> ReportedMonitoring:
    """What a report has of a month that was monitored."""
    return ReportedMonitoring(
        as_of=made.as_of,
        version=made.version,
        made_at=made.made_at,
        training_months=made.training_months,
        month_before=made.month_before,
        alarms=made.alarms,
        figures=made.figures,
        verdict=made.retraining.verdict,
        advice=made.retraining.sentence,
    )


def _scores(platform: Platform, scoring: Scoring) -> ReportedScores:
    database, bands = platform.database, platform.use_case.risk_bands
    number = scoring.scoring_id
    summary = database.row("summarize_scores", scoring_id=number)
    earlier = [one for one in months(database, platform.use_case) if one < scoring.as_of]
    before = newest_scoring(platform, earlier[-1]) if earlier else None
    deciles = database.rows("average_score_deciles", scoring_id=number)
    return ReportedScores(
        version=scoring.version,
        model_hash=scoring.model_hash,
        scored_at=scoring.scored_at,
        known_at=scoring.known_at,
        entities=scoring.entities,
        departed=scoring.departed,
        refused=dict(sorted(scoring.refused.items())),
        mean=summary["mean"],
        label_1=summary["label_1"],
        counts=_bins(database, number),
        counts_before=_bins(database, before.scoring_id) if before is not None else [],
        deciles=[row["mean"] for row in deciles],
        bands=_bands(database, number, dict(bands)),
    )


def _bins(database: Database, scoring_id: int) -> list[int]:
    rows = database.rows("count_score_bins", scoring_id=scoring_id)
    counted = {row["bin"]: row["scores"] for row in rows}
    return [counted.get(number + 1, 0) for number in range(BINS)]


def _bands(database: Database, scoring_id: int, bands: dict[str, float]) -> dict[str, int]:
    """How many are in each band, the highest first."""
    counted, above = {}, 0
    for name in sorted(bands, key=lambda one: -bands[one]):
        row = database.row("count_scores_from", scoring_id=scoring_id, least=bands[name])
        counted[name] = row["scores"] - above
        above = row["scores"]
    return counted


def _steps(database: Database, model: str, as_of: date) -> list[ReportedStep]:
    """In their order, without the report itself."""
    rows = {row["step"]: row for row in database.rows("month_steps", model=model, as_of=as_of)}
    return [
        ReportedStep(name, row["outcome"], row["sentence"], row["done_at"])
        for name in get_args(StepName)
        if name != "report" and (row := rows.get(name)) is not None
    ]
