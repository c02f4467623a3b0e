"""The step that judges a version on a month: in training's terms, by the file that is served."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np

from streamflow.errors import UntrainableData
from streamflow.features import complete_rows, use_case_check
from streamflow.features.point_in_time import Assembled
from streamflow.history.months import require_past
from streamflow.lineage import judged_version
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.registry import evaluations
from streamflow.registry.evaluations import RecordedEvaluation
from streamflow.registry.records import EVALUATED
from streamflow.serving.feature_status import departed_after
from streamflow.training import canonical, evaluation, judged_rows
from streamflow.training.dataset_table import LABEL
from streamflow.training.rows.days import Days
from streamflow.training.rows.entities import Entities
from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    import pyarrow as pa

# Of the resamples behind the interval: the same for all versions, so that they are drawn alike.
RANDOM_STATE = 0


@dataclass(frozen=True)
class Evaluated:
    """A version judged on a month.

    `recorded` is False if the same evaluation was there already: then `evaluation` is that one.
    `without_label` and `without_features` count the entities of the month that were left out,
    `problems` those that the version has no prediction for, by the problem's code. `warnings` say
    what can't be told, and what should be known beside the figures.
    """

    evaluation: RecordedEvaluation
    recorded: bool
    without_label: int
    without_features: int
    problems: dict[str, int]
    warnings: list[str]


def evaluate(
    platform: Platform,
    version: int,
    as_of: date,
    who: str,
    now: datetime,
    progress: Progress = silent,
    known_at: datetime | None = None,
) -> Evaluated:
    """Judge the version's served form on the entities of `as_of`, and record the figures.

    Features are the version's own, also where the use case has them no more, as valid at `as_of`;
    rows and labels are those that were recorded by `known_at` (UTC; `now` if it is None). The same
    evaluation again adds nothing.
    Raises UnknownVersion, KnownAtRefused, AsOfRefused, LabelsNotMatured, UntrainableData,
    UnservableModel, FeatureStoreUnavailable, MlflowUnavailable.
    """
    known_at = known_at or now
    require_past(known_at, now)
    use_case_check.require_usable(platform.use_case)
    registered = platform.registry.version(version)
    progress("fetch the version")
    version_judged = judged_version.judged_version(platform, registered)
    model = version_judged.model
    progress("point-in-time join")
    assembled = judged_version.rows_of(platform, version_judged, [as_of], known_at)
    present, departed = _present(platform, assembled, model.schema, as_of, known_at)
    judged = judged_rows.predictable(present, model.schema)
    problems = {**({"departed": departed} if departed else {}), **judged.problems}
    if not judged.table.num_rows:
        raise UntrainableData(
            f"Version {version} has a prediction for none of the {assembled.table.num_rows:,} "
            f"entities at AS_OF {as_of}: {_counted(problems)}.",
            "Train a version on months that have these values: `streamflow train --as-of DATE`.",
        )
    progress("score")
    labels = judged.table[LABEL].to_numpy().astype(np.int64)
    predictions, probabilities = judged_version.scores(model, judged.table)
    figures = evaluation.evaluate(labels, predictions, probabilities, RANDOM_STATE)
    entities = Entities(judged.table.column(0))
    rows = judged_rows.judged_rows(Days.repeated(as_of, len(entities)), entities, labels)
    progress("compare with training")
    seen = judged_version.trained_on(version_judged.recorded, as_of, entities)
    made = RecordedEvaluation(
        model=registered.name,
        version=version,
        run_id=registered.run_id,
        model_hash=registered.model_hash,
        as_of=as_of,
        known_at=known_at,
        evaluated_at=now,
        evaluated_by=who,
        rows=rows.rows,
        positives=rows.positives,
        trained_on=None if seen is None else len(seen),
        rows_hash=rows.hash,
        data_hash=canonical.hashes(_data(judged.table, model.schema))[0],
        figures=figures.as_metrics(),
    )
    progress("record")
    kept, others = _record(platform, made)
    return Evaluated(
        evaluation=kept,
        recorded=kept is made,
        without_label=assembled.without_label,
        without_features=assembled.without_features,
        problems=problems,
        warnings=[*evaluation.too_few_to_tell(labels), *_seen_in_training(kept), *others],
    )


def _present(
    platform: Platform,
    assembled: Assembled,
    schema: FeatureSchema,
    as_of: date,
    known_at: datetime,
) -> tuple[pa.Table, int]:
    """The rows of those who haven't departed by the version's rule, and how many have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = assembled.table
    allowed = departed_after(schema)
    if allowed is None:
        return table, 0
    views = [assembled.feature_views[name] for name in schema.views]
    departed = complete_rows.departed_entities(
        platform.history, platform.use_case, views, as_of, known_at, allowed
    )
    gone = pc.is_in(table.column(0), value_set=pa.array(sorted(departed), pa.large_string()))
    return table.filter(pc.invert(gone)), pc.sum(gone).as_py() or 0


def _data(table: pa.Table, schema: FeatureSchema) -> pa.Table:
    """The columns that decide the figures, in the order of the version's schema."""
    key = table.schema.names[0]
    return table.select([key, *(one.name for one in schema.features), LABEL])


def _seen_in_training(made: RecordedEvaluation) -> list[str]:
    if made.trained_on is None:
        return [
            f"How many of the {made.rows:,} rows version {made.version} was trained on can't be "
            "told: its run doesn't keep its training set."
        ]
    if not made.trained_on:
        return []
    return [
        f"{made.trained_on:,} of {made.rows:,} rows were trained on: on new rows the version is "
        "likely to be worse."
    ]


def _record(platform: Platform, made: RecordedEvaluation) -> tuple[RecordedEvaluation, list[str]]:
    """Record the evaluation unless it is there; returns the one that is there, and warnings.

    MLflow's metrics come first, the row of the table second: if the command is killed in between,
    repeating it writes the same metrics again, and the row.
    """
    database, registry = platform.database, platform.registry
    warnings: list[str] = []
    with database.transaction():
        database.execute("lock_evaluation", model=made.model)
        for before in evaluations.evaluations(database, made.model):
            if _judged(before) != _judged(made):
                continue
            if before.figures == made.figures:
                return before, warnings
            warnings = [
                f"At {before.evaluated_at:%Y-%m-%d %H:%M} UTC the same model had other figures on "
                "the same data: another library or another processor computes them today."
            ]
        day = made.as_of.isoformat()
        registry.log_metrics(
            made.run_id, {f"{EVALUATED}{day}/{name}": value for name, value in made.figures.items()}
        )
        registry.tag(made.run_id, {f"streamflow.evaluated.{day}": _in_words(made)})
        evaluations.record(database, made)
    return made, warnings


def _judged(one: RecordedEvaluation) -> tuple[object, ...]:
    """What decides an evaluation's figures."""
    return one.version, one.run_id, one.model_hash, one.as_of, one.rows_hash, one.data_hash


def _in_words(made: RecordedEvaluation) -> str:
    seen = "an unknown number" if made.trained_on is None else f"{made.trained_on:,}"
    return (
        f"auc {made.figures['auc']:.4f} on {made.rows:,} rows (hash {made.rows_hash[:12]}), "
        f"{seen} of them trained on; known at {made.known_at.isoformat()}"
    )


def _counted(problems: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {code}" for code, count in problems.items())
