"""All gates of a version, in their order. Nothing is promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import numpy as np

from streamflow.errors import UnknownRun, UnservableModel
from streamflow.lineage.judged_version import JudgedVersion, judged_version
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.promotion.errors import GateFailed
from streamflow.promotion.facts.approvals import approvals, trained_by
from streamflow.promotion.facts.judged_months import JudgedMonths, judged_months
from streamflow.promotion.facts.judged_pairs import judged_pairs, scored_pair
from streamflow.promotion.facts.recreation import recreation
from streamflow.promotion.facts.servable_facts import servable_facts
from streamflow.promotion.facts.timing import contestant, timings
from streamflow.promotion.gates.approval import approval_gate
from streamflow.promotion.gates.calibration import calibration_gate
from streamflow.promotion.gates.latency import Timings, latency_gate
from streamflow.promotion.gates.quality import RecordedFigures, quality_gate
from streamflow.promotion.gates.recreated import recreated_gate
from streamflow.promotion.gates.result import GateReport, GateResult, Versions
from streamflow.promotion.gates.segments import segments_gate
from streamflow.promotion.gates.servable import servable_gate
from streamflow.promotion.gates.stability import stability_gate
from streamflow.promotion.rival import rival
from streamflow.registry.records import ModelVersion

# Of the resamples behind the intervals: the same each time, so that a second look says the same.
RANDOM_STATE = 0
# Why a version goes to Production of which so few rows can't tell how good it is.
FIRST_VERSION = "the first version: none is in Production that it could be worse than"
_NOT_TIMED = Timings(np.empty(0), np.empty(0))


# Gets what each gate says as soon as it does.
Told = Callable[[GateResult], None]


def _nobody(_: GateResult) -> None:
    """Tells nobody."""


class Check(Protocol):
    """Evaluates gates of a version: see `check_version`."""

    def __call__(
        self,
        platform: Platform,
        version: int,
        promoter: str | None,
        now: datetime,
        progress: Progress = ...,
        overrides: Mapping[str, str] | None = ...,
    ) -> GateReport:
        """What the gates say."""


def check_version(
    platform: Platform,
    version: int,
    promoter: str | None,
    now: datetime,
    progress: Progress = silent,
    overrides: Mapping[str, str] | None = None,
    told: Told = _nobody,
) -> GateReport:
    """What each gate says of the version, beside the one that serves, as known at `now` (UTC).

    `promoter` is who would promote it, None if nobody does now. `overrides` has, by gate, why it
    goes to Production in spite of it. `told` gets each gate's result as soon as it is there. A
    version that nobody has made again yet is, which takes as long as its training; the verdict is
    recorded with its run.
    Raises UnknownVersion, DatabaseUnavailable, FeatureStoreUnavailable, MlflowUnavailable.
    """
    candidate = platform.registry.version(version)
    current = rival(platform)
    versions = Versions(version, current.version if current else None)
    progress("features and model")
    servable = servable_gate(servable_facts(platform, candidate), versions)
    told(servable)
    use_case = platform.use_case
    made_again = recreation(platform, candidate, use_case.gates.recreated, now, progress)
    recreated = recreated_gate(made_again, use_case.gates.recreated, versions)
    told(recreated)
    progress("score what is known by now")
    facts = _scored(platform, candidate, current, now)
    progress("compare")
    results = [servable, recreated]
    for one in _compared(platform, candidate, facts, promoter, versions):
        told(one)
        results.append(one)
    stopping = {one.gate for one in results if not one.passed}
    needed = {gate: why for gate, why in (overrides or {}).items() if gate in stopping}
    return GateReport(version, versions.current, tuple(results), needed, candidate.model_hash)


def check_to_promote(
    platform: Platform,
    version: int,
    promoter: str | None,
    now: datetime,
    progress: Progress = silent,
    overrides: Mapping[str, str] | None = None,
    told: Told = _nobody,
) -> GateReport:
    """As `check_version`, for somebody who promotes the version.

    Where no version is in Production, so few rows that *quality* or *calibration* can't tell don't
    stop it: it is an override of that gate, recorded and shown like any other. A gate that failed
    stops it.
    """
    report = check_version(platform, version, promoter, now, progress, overrides, told)
    if report.against is not None:
        return report
    first = {
        one.gate: FIRST_VERSION
        for one in report.results
        if one.gate in ("quality", "calibration") and one.outcome == "can't tell"
    }
    return replace(report, overrides={**first, **report.overrides})


def check_rollback(
    platform: Platform,
    version: int,
    promoter: str | None,
    now: datetime,
    progress: Progress = silent,
    overrides: Mapping[str, str] | None = None,
) -> GateReport:
    """Whether a version that served before still can: the gate *servable* alone.

    Raises UnknownVersion, FeatureStoreUnavailable, MlflowUnavailable.
    """
    candidate, current = platform.registry.version(version), rival(platform)
    versions = Versions(version, current.version if current else None)
    progress("features and model")
    facts = servable_facts(platform, candidate, served_before=True)
    return GateReport(version, versions.current, (servable_gate(facts, versions),), overrides or {})


def stopped(report: GateReport) -> GateFailed:
    """The error for a version that its gates stop."""
    said = ", ".join(
        f"{one.gate} failed" if one.outcome == "failed" else f"{one.gate} can't be told"
        for one in report.stopped_by
    )
    return GateFailed(
        f"Version {report.version} may not go to Production: {said}.",
        report.stopped_by[0].what_to_do,
        report.as_dict(),
    )


@dataclass(frozen=True)
class _Scored:
    candidate: JudgedVersion | None
    current: JudgedVersion | None
    months: JudgedMonths


def _scored(
    platform: Platform, candidate: ModelVersion, current: ModelVersion | None, now: datetime
) -> _Scored:
    ours = _loaded(platform, candidate)
    theirs = _loaded(platform, current)
    months = judged_months(platform, ours, theirs, now) if ours else JudgedMonths(None)
    return _Scored(ours, theirs, months)


def _loaded(platform: Platform, version: ModelVersion | None) -> JudgedVersion | None:
    """The version as it is judged; None if its model can't be loaded, of which *servable* tells."""
    try:
        return judged_version(platform, version) if version is not None else None
    except (UnservableModel, UnknownRun):
        return None


def _compared(
    platform: Platform,
    candidate: ModelVersion,
    facts: _Scored,
    promoter: str | None,
    versions: Versions,
) -> Iterator[GateResult]:
    use_case, pairs = platform.use_case, judged_pairs(facts.months)
    gates = use_case.gates
    figures = RecordedFigures(candidate.metrics, candidate.judged_on)
    yield quality_gate(pairs, figures, use_case.acceptance, gates, versions, RANDOM_STATE)
    yield calibration_gate(pairs, gates, versions, RANDOM_STATE)
    yield segments_gate(pairs, gates, versions, RANDOM_STATE)
    yield stability_gate(scored_pair(facts.months), gates, versions)
    yield _latency(platform, facts, versions)
    yield approval_gate(
        gates.approval,
        approvals(platform, candidate),
        trained_by(platform, candidate),
        promoter,
        versions,
    )


def _latency(platform: Platform, facts: _Scored, versions: Versions) -> GateResult:
    newest = facts.months.newest
    found = []
    if newest is not None:
        for judged, table in (
            (facts.candidate, newest.candidate_table),
            (facts.current, newest.current_table),
        ):
            racer = contestant(judged.model, table) if judged and table is not None else None
            found += [racer] if racer is not None else []
    timed = timings(found)
    return latency_gate(
        timed[0] if timed else _NOT_TIMED,
        timed[1] if len(timed) > 1 else None,
        platform.use_case.gates,
        versions,
    )
