"""What `run-month` says at its end, as JSON has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime

from streamflow.errors import StreamFlowError
from streamflow.monitoring.alarm import Alarm
from streamflow.pipeline.month.run_month import Month
from streamflow.pipeline.month.step import Outcome, Step, StepName
from streamflow.promotion.model_history import as_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Status = Literal["done", "refused", "alarms", "waiting", "failed"]


@dataclass(frozen=True)
class StepDocument:
    """How a step ended; `changed` is false where it had been done before."""

    step: StepName
    outcome: Outcome
    sentence: str
    changed: bool
    facts: dict[str, Any]


@dataclass(frozen=True)
class AlarmDocument:
    """An alarm; `figure` is beyond `bound`."""

    rule: str
    what: str
    severity: Literal["critical", "warning"]
    figure: float
    bound: float
    compared_with: str
    sentence: str


@dataclass(frozen=True)
class MonthDocument:
    """What was done of a month.

    `status` is "waiting" if the month's files aren't there yet, "failed" after an error: `error` is
    its name then, `message` what happened, `next` what to type. `steps` are those that ended.
    `changed` is false if everything had been done before. `version` serves, `challenger` was
    trained in this month. `known_at` (UTC) is when the newest data was recorded.
    """

    status: Status
    exit_code: int
    model: str
    as_of: date
    changed: bool
    known_at: AwareDatetime | None
    version: int | None
    challenger: int | None
    steps: list[StepDocument]
    alarms: list[AlarmDocument]
    report: str | None
    error: str | None = None
    message: str | None = None
    next: str | None = None


def of_month(month: Month, exit_codes: dict[str, int]) -> MonthDocument:
    """The document of a month that is done. An alarm counts more than a refused challenger."""
    status: Status = "alarms" if month.alarms else "refused" if month.refused else "done"
    return MonthDocument(
        status,
        exit_codes.get(status, 0),
        month.model,
        month.as_of,
        month.changed,
        month.known_at,
        month.version,
        month.challenger,
        [_step(one) for one in month.steps],
        [_alarm(one) for one in month.alarms],
        str(month.report) if month.report is not None else None,
    )


def of_error(
    error: StreamFlowError,
    status: Status,
    exit_code: int,
    model: str,
    as_of: date,
    steps: list[Step],
) -> MonthDocument:
    """The document of a month that stopped after these steps."""
    return MonthDocument(
        status,
        exit_code,
        model,
        as_of,
        any(one.changed for one in steps),
        None,
        None,
        None,
        [_step(one) for one in steps],
        [],
        None,
        error.code,
        error.message,
        error.next,
    )


def as_dict(document: MonthDocument) -> dict[str, Any]:
    """The document as JSON has it."""
    found: dict[str, Any] = _adapter().dump_python(document, mode="json")
    return found


def schema() -> dict[str, object]:
    """The document's JSON Schema, published in `docs/month.schema.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_adapter().json_schema(),
    }


def _step(step: Step) -> StepDocument:
    facts = as_json(step.facts)
    return StepDocument(step.step, step.outcome, step.sentence, step.changed, facts)


def _alarm(alarm: Alarm) -> AlarmDocument:
    return AlarmDocument(
        alarm.rule,
        alarm.what,
        alarm.severity,
        alarm.figure,
        alarm.bound,
        alarm.compared_with,
        alarm.sentence,
    )


@cache
def _adapter() -> TypeAdapter[MonthDocument]:
    from pydantic import TypeAdapter

    return TypeAdapter(MonthDocument)
