"""A run made again: compared factor by factor, judged, and the verdict written down.

Nothing is registered and no run is made; the verdict goes into the tags of the run and its version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from streamflow.errors import ServedFormDiffers, StreamFlowError, UnservableModel, UntrainableData
from streamflow.features import point_in_time
from streamflow.lineage import compare, compare_tables, document, isolate, recorded_run
from streamflow.lineage.compare import Factor
from streamflow.lineage.compare_tables import Change
from streamflow.lineage.isolate import Restored
from streamflow.lineage.recorded_run import KeptRun
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.registry.mlflow_registry import Registry
from streamflow.registry.records import Run
from streamflow.scratch import scratch
from streamflow.training import candidate
from streamflow.training.candidate import Candidate, Recipe

Verdict = Literal["identical", "different", "can't tell"]


@dataclass(frozen=True)
class Reproduction:
    """The verdict on a run and what it rests on.

    `factors` end with the model; `changes` names values of the training set that aren't the
    recorded ones; `restored` is there if several factors moved and the model differs.
    """

    run_id: str
    version: int | None
    reproduced_at: datetime
    verdict: Verdict
    why: str
    next: str = ""
    factors: list[Factor] = field(default_factory=list)
    restored: list[Restored] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def tags(self) -> dict[str, str]:
        return {
            "streamflow.reproduced": self.verdict,
            "streamflow.reproduced_at": self.reproduced_at.isoformat(),
            "streamflow.reproduced_why": self.why[:4000],
        }


def reproduce(
    platform: Platform, run: Run, now: datetime, progress: Progress = silent
) -> Reproduction:
    """Make the run again from what was known then, compare, and tag it with the verdict.

    What keeps it from being made again is the verdict "can't tell". Raises MlflowUnavailable if
    the verdict can't be written.
    """
    with scratch(platform.settings.home / "scratch") as folder:
        try:
            kept = recorded_run.read(platform.registry, run, folder / "kept")
            done = _made_again(platform, kept, now, folder, progress)
        except StreamFlowError as error:
            return cant_tell(platform, run, now, error)
    platform.registry.tag(run.run_id, done.tags)
    return done


def cant_tell(platform: Platform, run: Run, now: datetime, error: StreamFlowError) -> Reproduction:
    """The verdict where `error` kept the run from being made again. Raises MlflowUnavailable."""
    version = recorded_run.version_of(platform.registry, run)
    done = Reproduction(run.run_id, version, now, "can't tell", error.message, error.next)
    platform.registry.tag(run.run_id, done.tags)
    return done


def _made_again(
    platform: Platform, kept: KeptRun, now: datetime, folder: Path, progress: Progress
) -> Reproduction:
    use_case, recorded = platform.use_case, kept.lineage
    was = recorded.configuration
    build = candidate.estimator_builder(use_case, was.model)
    progress("point-in-time join")
    assembled = point_in_time.assemble(
        platform.database, use_case, recorded.data.as_of, recorded.data.known_at
    )
    recipe = Recipe(
        assembled.training_set,
        build,
        recorded.randomness.random_state,
        use_case.validation_share,
    )
    difference = (
        compare_tables.find(kept.table, assembled.table) if kept.table is not None else None
    )
    made, without = _candidate(recipe, folder / "today", progress)
    progress("compare")
    today = document.describe(
        use_case, platform.settings.use_case, assembled, was.model, recipe, made
    )
    *factors, model = compare.compare(recorded, today, difference)
    moved = [one.name for one in factors if not one.same]
    restored, repeats = [], True
    if not model.same and len(moved) > 1:
        redefined = compare.redefined_features(was, today.configuration)
        restored = isolate.isolate(
            isolate.Recorded(recorded, kept.table, redefined),
            recipe,
            today.model,
            moved,
            folder,
            progress,
        )
    elif not model.same and not moved:
        again, _ = _candidate(recipe, folder / "again", progress)
        repeats = document.fingerprint(again) == today.model
    wrong = _registered(platform, kept, folder / "registered")
    flips = compare.flips(kept.scores, made.scores) if made else []
    said = [*without, *wrong, *model.said, *flips]
    factors.append(Factor("model", model.same and not wrong, said))
    return Reproduction(
        run_id=kept.run.run_id,
        version=kept.version,
        reproduced_at=now,
        verdict="identical" if model.same and not wrong and factors[0].same else "different",
        why=wrong[0] if wrong else _why(factors, restored, repeats),
        factors=factors,
        restored=restored,
        changes=list(difference.changes) if difference else [],
    )


def _candidate(
    recipe: Recipe, folder: Path, progress: Progress
) -> tuple[Candidate | None, list[str]]:
    """What comes of the recipe, or why nothing does."""
    try:
        return candidate.make_candidate(recipe, folder, progress), []
    except (UntrainableData, UnservableModel, ServedFormDiffers) as error:
        return None, [f"there is none: {error.message}"]


def _registered(platform: Platform, kept: KeptRun, cache: Path) -> list[str]:
    """What is wrong with the registered version, its files looked at afresh."""
    if kept.version is None:
        return []
    registry = Registry(platform.registry.uri, platform.registry.model, None, cache)
    version = registry.version(kept.version)
    if version.model_hash != kept.lineage.model.hash:
        return [
            f"version {kept.version} is registered with the model hash "
            f"{version.model_hash[:12]}, which isn't the run's"
        ]
    try:
        registry.download(version)
    except UnservableModel as error:
        return [error.message.rstrip(".")]
    return []


def _why(factors: list[Factor], restored: list[Restored], repeats: bool) -> str:
    said = {one.name: one.said[0] for one in factors}
    moved = [one.name for one in factors[:-1] if not one.same]
    if factors[-1].same and "data" not in moved:
        although = ", although " + "; ".join(f"{name} moved: {said[name]}" for name in moved)
        return f"the same model to the last bit, from the same data{although if moved else ''}"
    if factors[-1].same:
        return f"data moved: {said['data']}; the model comes out the same to the last bit"
    if not moved:
        known = "no factor moved, and the model is another"
        return known if repeats else f"{known}: made twice today, it isn't the same either"
    for one in restored:
        if one.outcome == "recorded":
            cause = one.factor.split(" and ")
            others = " and ".join(name for name in moved if name not in cause)
            makes = "make" if len(cause) > 1 else "makes"
            none = f"; {others} moved too, without an effect of its own" if others else ""
            return f"{one.factor} {makes} the difference: {said[cause[0]]}{none}"
    also = f"; {' and '.join(moved[1:])} moved too" if moved[1:] else ""
    return f"{moved[0]} moved: {said[moved[0]]}{also}"
