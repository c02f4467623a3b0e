"""The gates of a month's challenger, and its promotion by the policy."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime
from typing import Any

from streamflow.pipeline.month.challenger import challenger
from streamflow.pipeline.month.month_record import MonthRecord
from streamflow.pipeline.month.rules.promotion_policy import Policy, decide
from streamflow.pipeline.month.step import Step
from streamflow.platform import Platform
from streamflow.progress import Progress
from streamflow.promotion import model_history
from streamflow.promotion.check_version import check_version
from streamflow.promotion.errors import GateFailed
from streamflow.promotion.gates.result import GateReport, GateResult
from streamflow.promotion.promote import promote
from streamflow.promotion.rival import rival
from streamflow.registry.records import ModelVersion
from streamflow.registry.stages import PRODUCTION


def check_gates(
    platform: Platform,
    as_of: date,
    record: MonthRecord,
    who: str,
    now: datetime,
    progress: Progress,
) -> Step:
    """Evaluate the gates of the month's challenger, once for each version that it is compared with.

    Raises DatabaseUnavailable, FeatureStoreUnavailable, MlflowUnavailable.
    """
    version = challenger(platform, as_of)
    if version is None:
        return Step("gates", "not needed", "there is no challenger of this month", False)
    before = record.facts("gates")
    if before is not None and _still_holds(platform, version, before):
        return _gates(_report(before), changed=False)
    report = check_version(platform, version.version, who, now, progress)
    return _gates(report, changed=True)


def promote_challenger(
    platform: Platform,
    as_of: date,
    gates: Step,
    policy: Policy,
    who: str,
    now: datetime,
    progress: Progress,
) -> Step:
    """Promote the month's challenger if its gates passed and the policy says so.

    A refusal is written to the model's history, once. Raises what `promote` does but GateFailed.
    """
    if "version" not in gates.facts:
        return Step("promote", "not needed", "there is no challenger of this month", False)
    version = platform.registry.version(gates.facts["version"])
    report = _report(gates.facts)
    if _was_promoted(platform, version):
        return _promoted(version, report, changed=False)
    decision = decide(report, policy)
    why = f"run-month {as_of}: {decision.why}"
    if not report.passed:
        recorded = policy == "never" or _was_refused(platform, version)
        if not recorded:
            with suppress(GateFailed):  # it's written down then
                _promote(platform, version, report, f"run-month {as_of}", who, now, progress)
        said = f"version {report.version} may not go to Production: {_stopped(report)}"
        return Step("promote", "refused", said, not recorded, _facts(report))
    if not decision.promote:
        return Step("promote", "not promoted", decision.why, False, _facts(report))
    if _newer_serves(platform, version):
        said = f"a newer version than {version.version} was promoted meanwhile"
        return Step("promote", "not promoted", said, False, _facts(report))
    _promote(platform, version, report, why, who, now, progress)
    return _promoted(version, report, changed=True)


def _promote(
    platform: Platform,
    version: ModelVersion,
    report: GateReport,
    why: str,
    who: str,
    now: datetime,
    progress: Progress,
) -> None:
    def said(*_: object, **__: object) -> GateReport:
        return report

    promote(*(platform, version.version, PRODUCTION, why, who, now), progress=progress, check=said)


def _gates(report: GateReport, changed: bool) -> Step:
    against = "" if report.against is None else f" against version {report.against}"
    ours = f"version {report.version}"
    if report.passed:
        return Step(
            "gates", "done", f"{ours} passed all gates{against}", changed, _with_report(report)
        )
    said = f"{ours} is stopped{against}: {_stopped(report)}"
    return Step("gates", "refused", said, changed, _with_report(report))


def _facts(report: GateReport) -> dict[str, Any]:
    return {"version": report.version, "against": report.against}


def _with_report(report: GateReport) -> dict[str, Any]:
    return {**_facts(report), "report": report.as_dict()}


def _report(facts: Mapping[str, Any]) -> GateReport:
    """The report from the facts of the step *gates*."""
    found = facts["report"]
    results = [
        GateResult(**{key: value for key, value in one.items() if key != "override"})
        for one in found["gates"]
    ]
    return GateReport(
        found["version"], found["against"], tuple(results), model_hash=found["model_hash"]
    )


def _stopped(report: GateReport) -> str:
    return "; ".join(f"{one.gate} {one.outcome}" for one in report.stopped_by)


def _still_holds(platform: Platform, version: ModelVersion, facts: Mapping[str, Any]) -> bool:
    """Whether the gates need not be evaluated again.

    They are for a version that may be promoted still, if another one serves now than the one that
    it was compared with.
    """
    report = _report(facts)
    if (report.version, report.model_hash) != (version.version, version.model_hash):
        return False
    serves = rival(platform)
    if not report.passed or _was_promoted(platform, version) or _newer_serves(platform, version):
        return True
    return (serves.version if serves is not None else None) == report.against


def _newer_serves(platform: Platform, version: ModelVersion) -> bool:
    serves = rival(platform)
    return serves is not None and serves.version > version.version


def _was_promoted(platform: Platform, version: ModelVersion) -> bool:
    return any(
        one.kind == "promoted"
        and one.to_stage == PRODUCTION
        and (one.version, one.model_hash) == (version.version, version.model_hash)
        for one in model_history.changes(platform.database, version.name)
    )


def _was_refused(platform: Platform, version: ModelVersion) -> bool:
    return any(
        one.kind == "refused"
        and (one.version, one.model_hash) == (version.version, version.model_hash)
        for one in model_history.changes(platform.database, version.name)
    )


def _promoted(version: ModelVersion, report: GateReport, changed: bool) -> Step:
    replaced = "" if report.against is None else f", in place of version {report.against}"
    said = f"version {version.version} went to Production{replaced}"
    return Step("promote", "done", said, changed, _facts(report))
