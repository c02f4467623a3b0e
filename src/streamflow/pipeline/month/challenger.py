"""The challenger of a month: trained once, and found again by the tag of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from streamflow.history.months import month_labels
from streamflow.monitoring.retraining import Advice
from streamflow.pipeline.month.month_record import MonthRecord
from streamflow.pipeline.month.rules.training_rule import training_rule
from streamflow.pipeline.month.step import Outcome, Step
from streamflow.pipeline.train import settle_interrupted_runs, train
from streamflow.platform import Platform
from streamflow.progress import Progress
from streamflow.promotion.rival import rival
from streamflow.registry.records import ModelVersion, Run
from streamflow.training.split import AS_OF_ALONE, Choice

# On the run of a challenger: its month, and why it was trained.
MONTH_TAG = "streamflow.month"
RULE_TAG = "streamflow.month_rule"
SENTENCE_TAG = "streamflow.month_sentence"
RANDOM_STATE = 42


def train_challenger(
    platform: Platform,
    as_of: date,
    record: MonthRecord,
    now: datetime,
    who: str,
    progress: Progress,
    advice: Advice | None,
) -> Step:
    """Train the month's challenger if the rule of the use case says so, and it isn't there yet.

    It learns from a sample if the newest version did, of as many entities, and its probabilities
    are corrected if that one's are.
    `advice` is that of the month's monitoring, None if no version was there to monitor.
    Raises what `train` does.
    """
    settle_interrupted_runs(platform)
    if (found := _challenger(platform, as_of)) is not None:
        return _trained(*found, changed=False)
    if (before := record.settled("train")) is not None:
        return before
    known_at = record.known_at
    policy = platform.use_case.retraining
    labels = _labels(platform, as_of, known_at)
    rule = training_rule(labels, _learned(platform), advice, policy)
    if rule.verdict != "train" or rule.as_of is None:
        outcome: Outcome = "held off" if rule.verdict == "held off" else "not needed"
        return Step("train", outcome, rule.sentence, False, {"rule": rule.rule})
    oldest = sorted(labels)[-policy.months :][0]
    train(
        platform,
        rule.as_of,
        None,
        RANDOM_STATE,
        now,
        progress,
        known_at=known_at,
        choice=replace(
            Choice(since=oldest) if oldest < rule.as_of else AS_OF_ALONE, **_as_before(platform)
        ),
        who=who,
        run_tags={
            MONTH_TAG: as_of.isoformat(),
            RULE_TAG: rule.rule,
            SENTENCE_TAG: rule.sentence,
        },
    )
    found = _challenger(platform, as_of)
    assert found is not None
    return _trained(*found, changed=True)


def challenger(platform: Platform, as_of: date) -> ModelVersion | None:
    """The version that was trained in the month, None if none was. Raises MlflowUnavailable."""
    found = _challenger(platform, as_of)
    return None if found is None else found[1]


def _challenger(platform: Platform, as_of: date) -> tuple[Run, ModelVersion] | None:
    runs = {
        run.run_id: run
        for run in platform.registry.runs()
        if run.tags.get(MONTH_TAG) == as_of.isoformat()
    }
    if not runs:
        return None
    versions = [one for one in platform.registry.versions() if one.run_id in runs]
    return (runs[versions[0].run_id], versions[0]) if versions else None


def _trained(run: Run, version: ModelVersion, changed: bool) -> Step:
    return Step(
        "train",
        "done",
        f"version {version.version} learned from {run.params.get('months')}: "
        f"{run.tags.get(SENTENCE_TAG, '')}",
        changed,
        {"rule": run.tags.get(RULE_TAG), "version": version.version, "run_id": run.run_id},
    )


def _labels(platform: Platform, as_of: date, known_at: datetime) -> Mapping[date, int]:
    counted = month_labels(platform.database, platform.use_case, known_at)
    return {month: labels for month, labels in counted.items() if month <= as_of}


def _learned(platform: Platform) -> list[date] | None:
    """The months that the newest version was trained on; None if there is none, or if none of this
    program's trainings may serve."""
    versions = platform.registry.versions()
    if not versions or rival(platform) is None:
        return None
    params = platform.registry.run(versions[0].run_id).params
    months = params.get("months") or params["as_of"]
    return [date.fromisoformat(one) for one in months.split(", ")]


def _as_before(platform: Platform) -> dict[str, Any]:
    """What the newest version's training chose: how many entities it learned from, None for all,
    and how its probabilities are corrected."""
    versions = platform.registry.versions()
    if not versions:
        return {}
    params = platform.registry.run(versions[0].run_id).params
    size = params.get("sample")
    return {"sample": int(size) if size else None, "calibrate": params.get("calibrate")}
