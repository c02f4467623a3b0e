"""The facts of the gates that look at scores, out of the judged months."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamflow.promotion.facts.judged_months import JudgedMonth, JudgedMonths
from streamflow.promotion.gates.judged_pair import JudgedPair
from streamflow.promotion.gates.stability import ScoredPair


def judged_pairs(months: JudgedMonths) -> list[JudgedPair]:
    """The newest month's rows that neither version was fitted to, and of the other months the rows
    that judged both when they were trained. Neither is there without a row."""
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
    current = [
        month.current_scores[mask]
        for month, mask in zip(months, masks, strict=True)
        if month.current_scores is not None
    ]
    missing = sum(month.without_prediction for month in months)
    if missing:
        source += f" (without {missing:,} that have no prediction)"
    return JudgedPair(
        source=source,
        labels=np.concatenate(
            [month.labels[mask] for month, mask in zip(months, masks, strict=True)]
        ),
        candidate_scores=np.concatenate(
            [month.candidate_scores[mask] for month, mask in zip(months, masks, strict=True)]
        ),
        current_scores=np.concatenate(current) if current else None,
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
