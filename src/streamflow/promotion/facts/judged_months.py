"""The rows that judge a version beside the one that serves: which months, and which rows of them.

Both are judged by the file that is served, each on its own features, on the rows that both have a
prediction for and neither was fitted to. A version that was fitted to all rows is judged by its
twin on the rows that the twin was judged by (docs/decisions/0020).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from streamflow.errors import DataRefused, UnservableModel
from streamflow.history.months import labelled_months
from streamflow.lineage import judged_version
from streamflow.lineage.judged_version import JudgedVersion
from streamflow.platform import Platform
from streamflow.promotion.facts.segment_values import segment_values
from streamflow.training import judged_rows
from streamflow.training.dataset_table import LABEL
from streamflow.training.served_model import FeatureSchema, Labels, Matrix

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class JudgedMonth:
    """The rows of a month that both versions have a prediction for, in one order.

    Labels (0 or 1) are the true ones, predictions each model's own, scores probabilities of 1; each
    is one per row: (rows,). The current version's are None if there is none. `twins` has, by
    version, what its twin gave to rows that the version was fitted to and the twin wasn't, NaN for
    the others. `unseen` says which rows neither version was fitted to, nor the twin in its place;
    `validated` which of these judged both when they were trained.
    `without_prediction` counts rows that one of them has no prediction for. `candidate_table` and
    `current_table` have the features of each.
    """

    as_of: date
    entities: Sequence[str]
    labels: Labels
    candidate_predictions: Labels
    candidate_scores: Matrix
    current_predictions: Labels | None
    current_scores: Matrix | None
    candidate: int
    current: int | None
    twins: Mapping[int, Matrix]
    unseen: npt.NDArray[np.bool_]
    validated: npt.NDArray[np.bool_]
    without_prediction: int
    segments: Mapping[str, Sequence[object]]
    candidate_table: pa.Table
    current_table: pa.Table | None


@dataclass(frozen=True)
class JudgedMonths:
    """The newest month whose labels have matured, None if there is none or it can't be joined; and
    the other months with rows that judged both versions when they were trained, the oldest first.
    """

    newest: JudgedMonth | None
    others: Sequence[JudgedMonth] = ()


def judged_months(
    platform: Platform, candidate: JudgedVersion, current: JudgedVersion | None, known_at: datetime
) -> JudgedMonths:
    """The months that judge the candidate beside the current version, if there is one, as known at
    `known_at` (UTC). Raises FeatureStoreUnavailable.
    """
    matured = labelled_months(platform.database, platform.use_case, known_at)
    if not matured:
        return JudgedMonths(None)
    *earlier, newest = matured
    validation = judged_version.validation_months(candidate.recorded)
    if current is not None:
        validation &= judged_version.validation_months(current.recorded)
    others = [
        _judged_month(platform, candidate, current, month, known_at)
        for month in earlier
        if month in validation
    ]
    return JudgedMonths(
        _judged_month(platform, candidate, current, newest, known_at),
        [one for one in others if one is not None],
    )


def _judged_month(
    platform: Platform,
    candidate: JudgedVersion,
    current: JudgedVersion | None,
    as_of: date,
    known_at: datetime,
) -> JudgedMonth | None:
    """The rows of one month; None if they can't be joined."""
    try:
        table = judged_version.rows_of(platform, candidate, [as_of], known_at).table
        other = table
        if current is not None and not _same_rows(candidate, current):
            other = judged_version.rows_of(platform, current, [as_of], known_at).table
    except (DataRefused, UnservableModel):
        return None
    ours = _predictable(table, candidate.model.schema)
    theirs = ours if current is None else _predictable(other, current.model.schema)
    there = {entity: row for row, entity in enumerate(theirs.column(0).to_pylist())}
    entities = ours.column(0).to_pylist()
    both = [row for row, entity in enumerate(entities) if entity in there]
    shared = [entities[row] for row in both]
    ours = ours.take(both)
    mine, scores = judged_version.scores(candidate.model, ours)
    current_predictions, current_scores = None, None
    if current is not None:
        theirs = theirs.take([there[entity] for entity in shared])
        current_predictions, current_scores = judged_version.scores(current.model, theirs)
    judged = [one for one in (candidate, current) if one is not None]
    validated = [judged_version.validated_on(one.recorded, as_of) for one in judged]
    unseen = [_unseen(one, as_of, shared) for one in judged]
    twins = [_twins_scores(one, as_of, seen) for one, seen in zip(judged, unseen, strict=True)]
    judging = [seen | twin.keys() for seen, twin in zip(unseen, twins, strict=True)]
    return JudgedMonth(
        as_of=as_of,
        entities=shared,
        labels=np.asarray(ours[LABEL].to_pylist(), dtype=np.int64),
        candidate_predictions=mine,
        candidate_scores=scores,
        current_predictions=current_predictions,
        current_scores=current_scores,
        candidate=candidate.version.version,
        current=None if current is None else current.version.version,
        twins={
            one.version.version: np.array([twin.get(entity, np.nan) for entity in shared])
            for one, twin in zip(judged, twins, strict=True)
            if twin
        },
        unseen=_in_all(shared, judging),
        validated=_in_all(shared, validated),
        without_prediction=table.num_rows - len(shared),
        segments={
            segment: values
            for segment in platform.use_case.gates.segments
            if (values := segment_values(platform, segment, as_of, known_at, shared)) is not None
        },
        candidate_table=ours,
        current_table=None if current is None else theirs,
    )


def _same_rows(one: JudgedVersion, other: JudgedVersion) -> bool:
    """Whether both have the same features, from the same definitions."""
    if one.recorded is None or other.recorded is None:
        return one.recorded is other.recorded
    a, b = one.recorded.lineage.configuration, other.recorded.lineage.configuration
    return (a.feature_schema, a.feature_views, a.label, a.entity_table) == (
        *(b.feature_schema, b.feature_views, b.label, b.entity_table),
    )


def _predictable(table: pa.Table, schema: FeatureSchema) -> pa.Table:
    return judged_rows.predictable(table, schema).table


def _unseen(judged: JudgedVersion, as_of: date, entities: Sequence[str]) -> set[str]:
    """The entities whose row of the month the version wasn't fitted to, for sure."""
    fitted = judged_version.trained_on(judged.recorded, as_of, entities)
    if fitted is not None:
        return {*entities} - fitted
    if judged_version.has_twin(judged.recorded):
        return set()
    return judged_version.validated_on(judged.recorded, as_of)


def _twins_scores(judged: JudgedVersion, as_of: date, unseen: set[str]) -> dict[str, float]:
    """What the version's twin gave to rows that judge it and not the version itself."""
    scores = judged_version.twins_scores(judged.recorded, as_of)
    return {entity: score for entity, score in scores.items() if entity not in unseen}


def _in_all(entities: Sequence[str], sets: Iterable[set[str]]) -> npt.NDArray[np.bool_]:
    common = set[str].intersection(*sets)
    return np.array([entity in common for entity in entities], dtype=np.bool_)
