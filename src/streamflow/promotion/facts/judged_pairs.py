"""The facts of the gates that look at scores, out of the judged months."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamflow.promotion.facts.judged_months import JudgedMonth, JudgedMonths
from streamflow.promotion.gates.judged_pair import JudgedPair
from streamflow.promotion.gates.stability import ScoredPair
from streamflow.training.served_model import Matrix


def judged_pairs(months: JudgedMonths) -> list[JudgedPair]:
    """The newest month's rows that neither version was fitted to, or its twin in its place, and of
    the other months the rows that judged both when they were trained. Neither is there without a
    row."""
    newest, others = months.newest, months.others
    pairs = []
    if newest is not None:
        pairs.append(_pair([newest], [newest.unseen], str(newest.as_of)))
    if others:
        masks = [one.unseen & one.validated for one in others]
        pairs.append(_pair(others, masks, _validation_rows(others)))
    return [pair for pair in pairs if pair.rows]


def scored_pair(months: JudgedMonths) -> ScoredPair | None:
    """What both versions answer for the newest month, fitted to it or not; None without a current
    version or without a month."""
    month = months.newest
    if month is None or month.current_predictions is None or month.current_scores is None:
        return None
    return ScoredPair(
        month.candidate_predictions,
        month.current_predictions,
        month.candidate_scores,
        month.current_scores,
    )


def _validation_rows(months: Sequence[JudgedMonth]) -> str:
    days = ", ".join(str(one.as_of) for one in months)
    one_version = all(one.current_scores is None for one in months)
    return f"{days}, the rows that judged {'it' if one_version else 'both'} in training"


def _pair(
    months: Sequence[JudgedMonth], masks: Sequence[npt.NDArray[np.bool_]], source: str
) -> JudgedPair:
    rows = [np.flatnonzero(mask).tolist() for mask in masks]
    entities = [
        month.entities[row] for month, kept in zip(months, rows, strict=True) for row in kept
    ]
    ours, theirs = [], []
    twins: dict[int, None] = {}
    for month, mask in zip(months, masks, strict=True):
        ours.append(_judging(month, month.candidate, month.candidate_scores)[mask])
        if month.current_scores is not None and month.current is not None:
            theirs.append(_judging(month, month.current, month.current_scores)[mask])
        twins |= {one: None for one, given in month.twins.items() if np.isfinite(given[mask]).any()}
    missing = sum(month.without_prediction for month in months)
    if missing:
        source += f" (without {missing:,} that have no prediction)"
    for version in twins:
        source += f", version {version} by its twin that was fitted without them"
    return JudgedPair(
        source=source,
        labels=np.concatenate(
            [month.labels[mask] for month, mask in zip(months, masks, strict=True)]
        ),
        candidate_scores=np.concatenate(ours),
        current_scores=np.concatenate(theirs) if theirs else None,
        twins=tuple(twins),
        entities=entities if len(months) > 1 else None,
        segments={
            name: [
                month.segments[name][row]
                for month, kept in zip(months, rows, strict=True)
                for row in kept
            ]
            for name in months[0].segments
        },
    )


def _judging(month: JudgedMonth, version: int, scores: Matrix) -> Matrix:
    """The scores that judge the version: its own, or its twin's of rows that it was fitted to."""
    twin = month.twins.get(version)
    return scores if twin is None else np.where(np.isfinite(twin), twin, scores)
