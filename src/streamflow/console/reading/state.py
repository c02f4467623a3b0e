"""The state of everything on the road of a row, and whether it is well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from streamflow.console.parts import ConsoleParts
from streamflow.console.reading.api_metrics import ApiFigures, api_figures
from streamflow.errors import MlflowUnavailable
from streamflow.history.ingestions import Recorded, recorded_ingestions
from streamflow.history.withdrawals.known_rows import FOR_EVER
from streamflow.monitoring import recorded
from streamflow.monitoring.recorded import Monitored
from streamflow.promotion import model_history
from streamflow.promotion.change import RecordedChange
from streamflow.registry.records import ModelVersion
from streamflow.registry.stages import PRODUCTION, STAGING
from streamflow.scores import scorings
from streamflow.scores.scorings import NoScoring, Scoring

Severity = Literal["well", "warning", "critical", "unknown"]

ANSWERS_HOURS = 24
MOST_ANSWERS = 100_000


@dataclass(frozen=True)
class Month:
    """The newest month in history. `entities` have a row in its entity table; `corrections` are
    rows that later files of the same month added."""

    as_of: date
    entities: int
    rows: int
    corrections: int
    ingested_at: datetime
    months: int
    withdrawn: int


@dataclass(frozen=True)
class PlacedVersion:
    """A version in a stage: its figures by the gates that judged it, and who put it there.

    `recreated` is what the gate said of making it again, empty if it wasn't asked.
    """

    version: int
    run_id: str
    model_hash: str
    since: datetime | None
    who: str
    why: str
    auc: float | None
    recreated: str
    overridden: Sequence[str]


@dataclass(frozen=True)
class Answers:
    """The predictions of the last ANSWERS_HOURS; `most` if there are more than are counted."""

    answers: int
    problems: int
    newest: datetime | None
    most: bool


@dataclass(frozen=True)
class State:
    """All of it at one moment. What isn't there is None or empty. `views` has by feature view the
    day of its newest values online."""

    month: Month | None
    views: Mapping[str, date]
    production: PlacedVersion | None
    staging: PlacedVersion | None
    registry_error: str
    answers: Answers
    api: ApiFigures | None
    scoring: Scoring | None
    monitored: Monitored | None


def state(parts: ConsoleParts) -> State:
    """The state now. Raises DatabaseUnavailable."""
    database, use_case, model = parts.reading, parts.use_case, parts.model
    changes = model_history.changes(database, model)
    placed: Mapping[str, ModelVersion] = {}
    error = ""
    try:
        placed = parts.platform.production.placed().versions
    except MlflowUnavailable as unavailable:
        error = unavailable.message
    scoring = None
    with suppress(NoScoring):
        scoring = scorings.newest(database, use_case)
    newest = recorded.newest_month(database, use_case)
    return State(
        _month(recorded_ingestions(database, use_case), use_case.entity_table),
        online_days(parts),
        _placed(placed.get(PRODUCTION), changes),
        _placed(placed.get(STAGING), changes),
        error,
        _answers(parts),
        api_figures(parts.platform.settings.home),
        scoring,
        recorded.newest(database, model, newest[0]) if newest is not None else None,
    )


def online_days(parts: ConsoleParts) -> dict[str, date]:
    """By feature view the day of its newest values online."""
    found = parts.reading.rows("newest_materialized", use_case=parts.use_case.name)
    return {row["feature_view"]: row["event_timestamp"].astimezone(UTC).date() for row in found}


def days_behind(views: Mapping[str, date], month: date | None) -> dict[str, int]:
    """By feature view how many days its values online are older than the month; 0 without one."""
    return {name: (month - day).days if month is not None else 0 for name, day in views.items()}


def _month(ingestions: Sequence[Recorded], entity_table: str) -> Month | None:
    counted = [one for one in ingestions if one.counts_at(FOR_EVER)]
    if not counted:
        return None
    as_of = max(one.as_of for one in counted)
    of_month = [one for one in counted if one.as_of == as_of]
    first: set[str] = set()
    rows, corrections, entities = 0, 0, 0
    for one in of_month:
        for table, told in one.tables.items():
            rows += told.get("added", 0)
            if table in first:
                corrections += told.get("added", 0)
            first.add(table)
            if table == entity_table:
                entities = told.get("rows", 0)
    withdrawn = sum(one.withdrawn_at is not None for one in ingestions)
    return Month(
        as_of,
        entities,
        rows,
        corrections,
        of_month[-1].ingested_at,
        len({one.as_of for one in counted}),
        withdrawn,
    )


def _placed(
    version: ModelVersion | None, changes: Sequence[RecordedChange]
) -> PlacedVersion | None:
    if version is None:
        return None
    moved = [
        one
        for one in changes
        if one.moves and one.version == version.version and one.to_stage == version.stage
    ]
    judged = [one for one in changes if one.version == version.version and one.details.get("gates")]
    gates: dict[str, Any] = (
        {gate["gate"]: gate for gate in judged[-1].details["gates"]} if judged else {}
    )
    newest = moved[-1] if moved else None
    return PlacedVersion(
        version.version,
        version.run_id,
        version.model_hash,
        newest.at if newest is not None else None,
        newest.who if newest is not None else "",
        newest.why if newest is not None else "",
        _auc(gates.get("quality")),
        str(gates.get("recreated", {}).get("figures", {}).get("verdict") or ""),
        [name for name, gate in gates.items() if gate.get("override")],
    )


def _auc(gate: Mapping[str, Any] | None) -> float | None:
    """What the gate *quality* says of the version's own training."""
    bars = (gate or {}).get("figures", {}).get("acceptance", {})
    value = bars.get("auc", {}).get("value")
    return float(value) if isinstance(value, int | float) else None


def _answers(parts: ConsoleParts) -> Answers:
    row = parts.reading.row(
        "recent_answers",
        since=parts.now() - timedelta(hours=ANSWERS_HOURS),
        most=MOST_ANSWERS + 1,
    )
    most = row["answers"] > MOST_ANSWERS
    return Answers(min(row["answers"], MOST_ANSWERS), row["problems"], row["newest"], most)
