"""Reproduce a run: train again, compare factor by factor, and record the verdict.

Nothing is registered and no run is created; the verdict goes into the tags of the run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.errors import ServedFormDiffers, StreamFlowError, UnservableModel, UntrainableData
from streamflow.features import use_case_check
from streamflow.history.forgotten.forgotten import forgotten_lines
from streamflow.lineage import (
    compare,
    compare_tables,
    definitions_then,
    document,
    isolate,
    recorded_run,
    reproduction,
    sources,
)
from streamflow.lineage.code import OWN_PACKAGES, code
from streamflow.lineage.compare import Factor
from streamflow.lineage.compare_tables import Difference
from streamflow.lineage.configuration import Configuration
from streamflow.lineage.document import Lineage
from streamflow.lineage.isolate import Restored
from streamflow.lineage.recorded_run import RecordedRun
from streamflow.lineage.reproduction import Reproduction, ReproductionVerdict
from streamflow.lineage.rows import row_hashes
from streamflow.lineage.sources import SourceChanges
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.registry.mlflow_registry import Registry
from streamflow.registry.records import Run
from streamflow.scratch import scratch
from streamflow.training import candidate
from streamflow.training.candidate import Candidate, Recipe
from streamflow.training.search.search import Search
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    import pyarrow as pa


def reproduce(
    platform: Platform, run: Run, now: datetime, progress: Progress = silent
) -> Reproduction:
    """Train again on what was known at the run's `known_at`, compare, and tag the run.

    An error that prevents the training, foreseen or not, is the verdict "can't tell". Raises
    MlflowUnavailable if the tags can't be written.
    """
    source: SourceChanges | None = None
    with scratch(platform.settings.scratch) as folder:
        try:
            recorded = recorded_run.read(platform.registry, run, folder / "recorded")
            source = _source_changes(platform, recorded, folder)
            done = _reproduce(platform, recorded, now, source, folder, progress)
        except Exception as error:
            return cant_tell(platform, run, now, error, source)
    platform.registry.tag(run.run_id, done.tags)
    return done


def cant_tell(
    platform: Platform,
    run: Run,
    now: datetime,
    error: Exception,
    source: SourceChanges | None = None,
) -> Reproduction:
    """Record that `error` prevented the reproduction. Raises MlflowUnavailable."""
    version = recorded_run.version_number(platform.registry, run)
    done = no_verdict(run.run_id, version, now, error)
    if source is not None:
        done = replace(done, source_changes=source.lines)
    platform.registry.tag(run.run_id, done.tags)
    return done


def no_verdict(run_id: str, version: int | None, now: datetime, error: Exception) -> Reproduction:
    """The outcome where `error` prevented the reproduction, which isn't recorded yet."""
    if isinstance(error, StreamFlowError):
        why, next = error.message, error.next
    else:
        first_line = str(error).strip().partition("\n")[0].rstrip(".")[:300]
        why = f"what was recorded doesn't fit today's code: {type(error).__name__}: {first_line}."
        next = "Look into the changed source, or `streamflow reproduce --in-recorded-environment`."
    return Reproduction(run_id, version, now, "can't tell", why, next)


def _source_changes(platform: Platform, recorded: RecordedRun, folder: Path) -> SourceChanges:
    was = recorded.lineage.code
    return sources.source_changes(
        was,
        code([*OWN_PACKAGES, platform.settings.use_case]),
        sources.recorded(platform.registry, recorded.run.run_id, was, folder),
        sources.installed(),
    )


@dataclass(frozen=True)
class _Rerun:
    """Today's training by the recorded recipe.

    `configuration` is the use case's of today, that of `lineage` has what was joined.
    `difference` is None if the recorded training set wasn't stored, `candidate` if the training
    failed; `failure` then has the reason.
    """

    recipe: Recipe
    lineage: Lineage
    configuration: Configuration
    difference: Difference | None
    candidate: Candidate | None
    failure: list[str]


def _reproduce(
    platform: Platform,
    recorded: RecordedRun,
    now: datetime,
    source: SourceChanges,
    folder: Path,
    progress: Progress,
) -> Reproduction:
    rerun = _train_again(platform, recorded, folder, progress)
    *factors, model = compare.compare(
        recorded.lineage,
        rerun.lineage,
        rerun.difference,
        source.without_effect,
        rerun.configuration,
        recorded.forgotten,
    )
    only_forgotten = factors[0].said == [
        compare.forgotten_rows(recorded.lineage.data.rows, recorded.forgotten)
    ]
    if only_forgotten:  # what else moved can't be told apart from it
        restored, repeatable = list[Restored](), True
    else:
        restored, repeatable = _search_cause(recorded, rerun, [*factors, model], folder, progress)
    faults = _version_faults(platform, recorded, folder / "registered")
    changed = (
        compare_tables.changed_predictions(recorded.scores, rerun.candidate.scores)
        if rerun.candidate
        else []
    )
    said = [*rerun.failure, *faults, *model.said, *changed]
    same_model = model.same and not faults
    factors.append(Factor("model", same_model, said))
    verdict: ReproductionVerdict = "different"
    why = faults[0] if faults else reproduction.reason(factors, restored, repeatable)
    if same_model and factors[0].same:
        verdict = "identical"
    elif only_forgotten and not faults:
        verdict, why = "forgotten", reproduction.forgotten_reason(factors)
    elif not factors[0].same and (people := _unchecked(platform, recorded)):
        verdict, why = "can't tell", reproduction.unchecked_reason(people)
    return Reproduction(
        run_id=recorded.run.run_id,
        version=recorded.version,
        reproduced_at=now,
        verdict=verdict,
        why=why,
        next="" if verdict in ("identical", "different") else reproduction.TRAIN_AGAIN,
        forgotten=recorded.forgotten,
        factors=factors,
        restored=restored,
        changes=list(rerun.difference.changes) if rerun.difference else [],
        source_changes=source.lines,
    )


def _train_again(
    platform: Platform, recorded: RecordedRun, folder: Path, progress: Progress
) -> _Rerun:
    use_case, lineage = platform.use_case, recorded.lineage
    model = lineage.configuration.model
    build = candidate.estimator_builder(use_case, model)
    use_case_check.require_usable(use_case)
    progress("point-in-time join")
    then = definitions_then.assemble(platform.history, use_case, lineage)
    assembled = then.assembled
    # How a model is judged is chosen when it's trained, as its name is; the share is the code's.
    configuration = lineage.configuration
    recipe = Recipe(
        assembled.training_set,
        build,
        lineage.randomness.random_state,
        replace(configuration.judged, share=use_case.validation_share),
        then.use_case.label.horizon,
        configuration.refit,
        search=_search(use_case, configuration),
        calibrate=configuration.calibrate,
    )
    difference = _difference(recorded, assembled.table)
    trained, failure = _candidate(recipe, folder / "today", progress)
    progress("compare")
    rerun = document.describe(
        then.use_case, platform.settings.use_case, assembled, model, recipe, trained
    )
    now = then.configuration_today(rerun.configuration, use_case)
    return _Rerun(recipe, rerun, now, difference, trained, failure)


def _search(use_case: UseCase, recorded: Configuration) -> Search | None:
    """The recorded search, of as many trials as were made, through the use case's space of today.

    Raises UnknownModel.
    """
    was = recorded.search
    if was is None:
        return None
    model = was.models[0] if len(was.models) == 1 else None
    return candidate.search_of(use_case, model, was.asked, made=was.trials)


def _difference(recorded: RecordedRun, today: pa.Table) -> Difference | None:
    if recorded.table is not None:
        return compare_tables.table_difference(recorded.table, today)
    if recorded.forgotten and recorded.hashes and row_hashes.holds(recorded.hashes, today):
        return Difference([], [], [])  # by their hashes alone, all that stay are as they were
    return None


def _candidate(
    recipe: Recipe, folder: Path, progress: Progress
) -> tuple[Candidate | None, list[str]]:
    """The candidate, or the reason why there is none."""
    try:
        return candidate.make_candidate(recipe, folder, progress), []
    except (UntrainableData, UnservableModel, ServedFormDiffers) as error:
        return None, [f"there is none: {error.message}"]


def _search_cause(
    recorded: RecordedRun, rerun: _Rerun, factors: list[Factor], folder: Path, progress: Progress
) -> tuple[list[Restored], bool]:
    """If the model differs: trainings with one factor restored, if several factors changed.

    Where no factor changed, the second value is whether today's training is repeatable.
    """
    *causes, model = factors
    changed = [one.name for one in causes if not one.same]
    if model.same or len(changed) == 1:
        return [], True
    if not changed:
        again, _ = _candidate(rerun.recipe, folder / "again", progress)
        return [], document.fingerprint(again) == rerun.lineage.model
    changed_features = compare.changed_definitions(
        recorded.lineage.configuration, rerun.lineage.configuration
    )
    restored = isolate.isolate(
        isolate.Recorded(recorded.lineage, recorded.table, changed_features),
        rerun.recipe,
        rerun.lineage.model,
        changed,
        folder,
        progress,
    )
    return restored, True


def _version_faults(platform: Platform, recorded: RecordedRun, cache: Path) -> list[str]:
    """What is wrong with the registered version; its files are downloaded again into `cache`."""
    if recorded.version is None:
        return []
    kept = platform.registry
    registry = Registry(kept.uri, kept.model, None, replace(kept.cache, folder=cache))
    version = registry.version(recorded.version)
    if version.model_hash != recorded.lineage.model.hash:
        return [
            f"version {recorded.version} is registered with the model hash "
            f"{version.model_hash[:12]}, which isn't the run's"
        ]
    try:
        registry.download(version)
    except UnservableModel as error:
        return [error.message.rstrip(".")]
    return []


def _unchecked(platform: Platform, recorded: RecordedRun) -> int:
    """How many were forgotten since the run, if it keeps nothing to check its rows by."""
    if recorded.table is not None or recorded.hashes is not None:
        return 0
    lines = forgotten_lines(platform.database, platform.use_case)
    return sum(one.written_at.timestamp() > recorded.run.started_at for one in lines)
