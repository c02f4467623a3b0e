"""The step that trains: from the point-in-time join to a registered version of the model."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from streamflow.errors import UntrainableData
from streamflow.features import point_in_time, use_case_check
from streamflow.features.point_in_time import Assembled
from streamflow.history.forgotten.forgotten import count_forgotten
from streamflow.history.months import months_up_to, require_past
from streamflow.lineage import code, document, sources
from streamflow.lineage.document import Lineage
from streamflow.lineage.rows import recorded_rows
from streamflow.pipeline.run_record import run_record
from streamflow.pipeline.training_warnings import training_warnings
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.registry.records import TRAINED_BY_TAG, RunRecord
from streamflow.scratch import scratch
from streamflow.training import candidate, dataset_table, estimator_findings, plots, served_model
from streamflow.training.calibrated.figures import CalibrationFigures
from streamflow.training.candidate import Candidate, Recipe
from streamflow.training.feature_importance import feature_importances
from streamflow.training.judgement import Judgement, judge
from streamflow.training.search.search import Searched
from streamflow.training.split import AS_OF_ALONE, Choice, Method


@dataclass(frozen=True)
class Trained:
    """A training and its registered version.

    `months` are the as_ofs that were learned from or judged on; `gap_months` those between, whose
    labels weren't known yet at the first month of validation. `judged_on` says in a sentence what
    the figures in `metrics` are of; `by_month` has them for each month of validation, without a
    month whose rows all have one label. With `refit`, they are of a twin of the model, which hadn't
    seen the validation rows. `sample` is the number of entities that were asked for, None for all.
    `searched` has the trials of a search, `calibrated` what a correction of probabilities changed.
    `data_hash` and `model_hash` are SHA-256; `known_at` is in UTC. `without_label` and
    `without_features` count the entities that were left out; `null_labels` of the former have a
    label that is null: not known; `premature_labels` of them one that was recorded before it could
    be known. `without_row` counts by table those of the latter that have no row there,
    `taken_as_null` those that have none and were trained on, with nulls.
    `largest_difference` is between the scores of the served form and the estimator's. `warnings`
    say what can't be told from so few rows, and which features tell nothing or everything.
    """

    run_id: str
    version: int
    model: str
    as_of: date
    known_at: datetime
    rows: int
    without_label: int
    without_features: int
    null_labels: int
    premature_labels: int
    without_row: dict[str, int]
    taken_as_null: dict[str, int]
    categorical: list[str]
    metrics: dict[str, float]
    train_time_sec: float
    random_state: int
    data_hash: str
    model_hash: str
    largest_difference: float
    warnings: list[str]
    months: list[date]
    validation: Method
    judged_on: str
    validation_rows: int
    by_month: dict[str, dict[str, float]]
    gap_months: list[date]
    refit: bool
    sample: int | None
    searched: Searched | None = None
    calibrated: CalibrationFigures | None = None


def train(
    platform: Platform,
    as_of: date,
    model: str | None,
    random_state: int,
    now: datetime,
    progress: Progress = silent,
    known_at: datetime | None = None,
    choice: Choice = AS_OF_ALONE,
    who: str | None = None,
    run_tags: Mapping[str, str] | None = None,
) -> Trained:
    """Train on every entity with a snapshot at `as_of` and in the months before that `choice`
    names, and register the model as a version.

    Only rows that were recorded by `known_at` (UTC; `now` if it is None) are used. `who` trains it,
    which the gate *approval* asks for. The run has `run_tags` before it has a version.
    Raises UnknownModel, KnownAtRefused, AsOfRefused, LabelsNotMatured, UntrainableData,
    ServedFormDiffers, FeatureStoreUnavailable, MlflowUnavailable.
    """
    name = model or platform.use_case.default_model
    known_at = known_at or now
    build, search = candidate.models_of(platform.use_case, model, choice)
    require_past(known_at, now)
    use_case_check.require_usable(platform.use_case)
    for one in search.builders if search else [name]:
        estimator_findings.require_estimator(platform.use_case, one)
    months = months_up_to(
        platform.database, platform.use_case, as_of, known_at, choice.months, choice.since
    )
    validation = choice.validation_of(months, platform.use_case)
    forgotten = count_forgotten(platform.database, platform.use_case)
    progress("point-in-time join")
    assembled = point_in_time.assemble(
        platform.history, platform.use_case, months, known_at, sample=choice.sample
    )
    recipe = Recipe(
        *(assembled.training_set, build, random_state, validation),
        platform.use_case.label.horizon,
        choice.refit,
        search=search,
        calibrate=choice.calibrate,
    )
    with scratch(platform.settings.scratch) as folder:
        artifacts = folder / "artifacts"
        artifacts.mkdir()
        trained = candidate.make_candidate(recipe, folder / "served", progress)
        name = trained.searched.winner.model if trained.searched else name
        judgement = judge(recipe, trained)
        _draw(trained, artifacts / "plots", progress)
        lineage = _fingerprint(platform, assembled, name, recipe, trained, progress)
        tags = _write_documents(
            artifacts, lineage, trained, assembled, platform.settings.keep_training_sets
        )
        if who is not None:
            tags = {**tags, TRAINED_BY_TAG: who}
        tags = {**tags, **(run_tags or {})}
        sources.keep(platform.settings.use_case, artifacts)
        warnings = training_warnings(trained, assembled, progress)
        record = run_record(
            name, assembled, recipe, trained, judgement, lineage, tags, warnings, artifacts
        )
        run_id, version = _register(platform, f"{name} {as_of}", record, forgotten, progress)
    return _summary(
        run_id, version, name, assembled, recipe, trained, judgement, record, lineage, warnings
    )


def _draw(trained: Candidate, folder: Path, progress: Progress) -> None:
    progress("draw")
    plots.draw(
        trained.judged.validation_labels,
        trained.probabilities,
        trained.predictions,
        feature_importances(trained.fitted),
        folder,
    )


def _fingerprint(
    platform: Platform,
    assembled: Assembled,
    name: str,
    recipe: Recipe,
    trained: Candidate,
    progress: Progress,
) -> Lineage:
    progress("fingerprints")
    return document.describe(
        platform.use_case, platform.settings.use_case, assembled, name, recipe, trained
    )


def _write_documents(
    artifacts: Path,
    lineage: Lineage,
    trained: Candidate,
    assembled: Assembled,
    keep_training_set: bool,
) -> dict[str, str]:
    """Write the documents that a later reproduction reads; returns the run's tags."""
    text = lineage.to_json()
    (artifacts / document.LINEAGE_FILE).write_text(text, encoding="utf-8")
    (artifacts / served_model.SCHEMA_FILE).write_text(trained.fitted.schema.to_json())
    dataset_table.write(trained.scores, artifacts / candidate.SCORES_FILE)
    if keep_training_set:
        dataset_table.write(assembled.table, artifacts / dataset_table.TRAINING_SET_FILE)
    roots = recorded_rows.keep(artifacts, assembled.table, trained.scores, secrets.token_bytes)
    diff = code.uncommitted()
    if 0 < len(diff) <= code.MAX_DIFF_BYTES:
        (artifacts / code.DIFF_FILE).write_bytes(diff)
    return document.tags(lineage, text) | roots


def _register(
    platform: Platform, run_name: str, record: RunRecord, forgotten: int, progress: Progress
) -> tuple[str, int]:
    """Store the training as a run and its model as a version; returns the id and the number.

    So many were `forgotten` when it began. Raises UntrainableData if there are more now: their rows
    would come back.
    """
    progress("register")
    with _run(platform, run_name) as run_id:
        # Nobody is forgotten while the run's lock is held.
        if count_forgotten(platform.database, platform.use_case) != forgotten:
            raise UntrainableData(
                "Somebody was forgotten while the training ran, and may be in its rows.",
                "Run the same command again.",
            )
        version = platform.registry.record_run(run_id, record)
    return run_id, version.version


def settle_interrupted_runs(platform: Platform) -> None:
    """Finish or delete the runs of killed trainings, after any training under way. Without a
    transaction of the caller, the lock is released at the end.

    Raises MlflowUnavailable.
    """
    registry = platform.registry
    with platform.database.transaction():
        platform.database.execute("lock_training", model=registry.model)
        for run in registry.runs():
            if run.status == "RUNNING":
                registry.close_interrupted_run(run.run_id)


@contextmanager
def _run(platform: Platform, name: str) -> Iterator[str]:
    """A new run; interrupted runs are settled, this one and those of killed trainings.

    The database releases the lock when its process ends. So while this training has the lock, any
    other run with the status RUNNING belongs to a killed process.
    """
    registry = platform.registry
    with platform.database.transaction():
        settle_interrupted_runs(platform)
        run_id = registry.create_run(name)
        try:
            yield run_id
        except BaseException:
            registry.close_interrupted_run(run_id)
            raise


def _summary(
    run_id: str,
    version: int,
    name: str,
    assembled: Assembled,
    recipe: Recipe,
    trained: Candidate,
    judgement: Judgement,
    record: RunRecord,
    lineage: Lineage,
    warnings: list[str],
) -> Trained:
    training_set, fitted = assembled.training_set, trained.fitted
    return Trained(
        run_id=run_id,
        version=version,
        model=name,
        as_of=training_set.as_of,
        known_at=training_set.known_at,
        rows=len(training_set.labels),
        without_label=assembled.without_label,
        without_features=assembled.without_features,
        null_labels=assembled.null_labels,
        premature_labels=assembled.premature_labels,
        without_row=assembled.without_row,
        taken_as_null=assembled.taken_as_null,
        categorical=fitted.schema.categorical,
        metrics=dict(record.metrics),
        train_time_sec=fitted.train_time_sec,
        random_state=fitted.random_state,
        data_hash=lineage.data.hash,
        model_hash=trained.model_hash,
        largest_difference=trained.proof.largest_difference,
        warnings=warnings,
        months=training_set.months,
        validation=recipe.validation.method,
        judged_on=judgement.judged_on,
        validation_rows=len(trained.judged.validation_rows),
        by_month={str(month): one.as_metrics() for month, one in judgement.by_month.items()},
        gap_months=list(trained.judged.gap_months),
        refit=recipe.refit,
        sample=assembled.sample.size if assembled.sample is not None else None,
        searched=trained.searched,
        calibrated=judgement.calibrated,
    )
