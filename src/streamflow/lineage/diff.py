"""Two runs side by side: factors, metrics and changed predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from streamflow.lineage import compare, compare_tables, recorded_run, sources
from streamflow.lineage.compare import Factor
from streamflow.lineage.compare_tables import Change
from streamflow.lineage.recorded_run import RecordedRun
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.registry.evaluations import RecordedEvaluation, evaluations
from streamflow.scratch import scratch
from streamflow.training import dataset_table, judged_rows

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RunDifference:
    """From `before` to `after`, both run ids.

    `metrics` has the value of each run, None if a run hasn't measured it; `judged_on` says for each
    run which rows they are of, and `same_rows` whether those are the same, None if scores weren't
    stored. `evaluated` has the evaluations of both on the same later rows, before and after;
    `evaluated_apart` the months of which each has evaluations, on other rows than the other's.
    `judged` counts the validation rows that both runs scored, `flipped` those of them with another
    prediction; None if scores weren't stored. `gone` and `came` are entities that left or joined
    the training set; `changes` are single values, the first thousand of each column.
    """

    before: str
    after: str
    factors: list[Factor]
    metrics: dict[str, tuple[float | None, float | None]]
    judged_on: tuple[str, str]
    same_rows: bool | None
    evaluated: list[tuple[RecordedEvaluation, RecordedEvaluation]]
    evaluated_apart: list[date]
    judged: int | None
    flipped: int | None
    gone: list[str]
    came: list[str]
    changes: list[Change]


def diff(platform: Platform, before: str, after: str, progress: Progress = silent) -> RunDifference:
    """Compare two runs, each named by its id or its version's number.

    Raises UnknownRun, UnknownVersion, NoLineage, MlflowUnavailable.
    """
    registry = platform.registry
    with scratch(platform.settings.scratch) as folder:
        progress("fetch")
        one = recorded_run.read(registry, recorded_run.find(registry, before), folder / "before")
        other = recorded_run.read(registry, recorded_run.find(registry, after), folder / "after")
        was, is_now = (
            sources.recorded(registry, each.run.run_id, each.lineage.code, folder / name)
            for each, name in ((one, "before"), (other, "after"))
        )
        without_effect = sources.without_effect(one.lineage.code, other.lineage.code, was, is_now)
    progress("compare")
    difference = None
    if one.table is not None and other.table is not None:
        difference = compare_tables.table_difference(*_comparable(one, other))
    judged = flipped = same_rows = None
    if one.scores is not None and other.scores is not None:
        same_rows = _judged_rows(one) == _judged_rows(other)
        scores = compare_tables.table_difference(one.scores, other.scores)
        judged = one.scores.num_rows - len(scores.removed)
        flipped = sum(column.rows for column in scores.columns if column.name == "prediction")
    metrics = one.run.metrics.keys() | other.run.metrics.keys()
    evaluated, evaluated_apart = _evaluated(
        evaluations(platform.database, registry.model), one.run.run_id, other.run.run_id
    )
    return RunDifference(
        before=one.run.run_id,
        after=other.run.run_id,
        factors=compare.compare(
            one.lineage,
            other.lineage,
            difference,
            without_effect,
            forgotten=max(one.forgotten, other.forgotten),
        ),
        metrics={
            name: (one.run.metrics.get(name), other.run.metrics.get(name))
            for name in sorted(metrics)
        },
        judged_on=(one.run.judged_on, other.run.judged_on),
        same_rows=same_rows,
        evaluated=evaluated,
        evaluated_apart=evaluated_apart,
        judged=judged,
        flipped=flipped,
        gone=difference.removed if difference else [],
        came=difference.added if difference else [],
        changes=list(difference.changes) if difference else [],
    )


def _judged_rows(one: RecordedRun) -> judged_rows.JudgedRows | None:
    if one.scores is None:
        return None
    return judged_rows.of_scores(one.scores, one.lineage.data.as_of)


def _evaluated(
    made: Sequence[RecordedEvaluation], before: str, after: str
) -> tuple[list[tuple[RecordedEvaluation, RecordedEvaluation]], list[date]]:
    """The evaluations of the two runs on the same rows, and the months without any such rows that
    both were evaluated on; the newest month first."""
    of_run = [
        {(one.as_of, one.rows_hash): one for one in made if one.run_id == run_id}
        for run_id in (before, after)
    ]
    one, other = of_run
    both = [(one[rows], other[rows]) for rows in one.keys() & other.keys()]
    both.sort(key=lambda pair: (pair[0].as_of, pair[0].rows_hash), reverse=True)
    months, others = ({as_of for as_of, _ in each} for each in of_run)
    return both, sorted(months & others - {pair[0].as_of for pair in both}, reverse=True)


def _comparable(one: RecordedRun, other: RecordedRun) -> Iterator[pa.Table]:
    """Their training sets; if only one is of several months, the other's rows get their as_of."""
    several = [len(each.lineage.data.every_month) > 1 for each in (one, other)]
    for each in (one, other):
        if each.table is not None:
            as_of = each.lineage.data.as_of if any(several) else None
            yield dataset_table.with_as_of(each.table, as_of) if as_of else each.table
