"""The scores of a scoring, with labels and segments where they are known, as arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import numpy as np

from streamflow.history.labels import known_labels
from streamflow.monitoring.reading.learned import Learned
from streamflow.monitoring.reading.month_rows import History
from streamflow.monitoring.statistics.scored import Scored, Segments
from streamflow.postgres.queries import Composable, identifier, subquery
from streamflow.scores.scorings import Scoring
from streamflow.training import dataset_table
from streamflow.training.dataset_table import LABEL
from streamflow.use_case import Table

# Validation rows whose segments are looked up.
MOST_VALIDATION_ROWS = 50_000


def scores_of(history: History, scoring: Scoring) -> Scored:
    """The scoring's scores, without labels, in the order of the entities' ids."""
    probabilities, predictions = array("d"), array("b")
    for row in history.database.stream("scored_rows", scoring_id=scoring.scoring_id):
        probabilities.append(row[0])
        predictions.append(row[1])
    return Scored(_floats(probabilities), _labels(predictions))


def judged_scores(history: History, scoring: Scoring, segments: Sequence[str]) -> Scored:
    """The scoring's scores of the entities whose label is known, in the order of their ids.

    `segments` are columns as `table.column`; those that aren't there are left out.
    """
    there, parts = _segments(history, segments, [scoring.as_of])
    label = history.use_case.label
    names = {
        "key": identifier(history.use_case.join_key),
        "label": identifier(label.column),
        "label_history": known_labels(history.database, history.use_case, history.known_at),
        **parts,
    }
    return _scored(
        history.database.stream(
            "judged_scores",
            names,
            scoring_id=scoring.scoring_id,
            as_of=scoring.as_of,
            known_at=history.known_at,
        ),
        there,
    )


def validation_scores(history: History, learned: Learned, segments: Sequence[str]) -> Scored | None:
    """The rows that validated the version, with their labels and segments; at most 50,000 of them,
    at even distances. None if its run doesn't have them."""
    table = learned.scores
    if table is None or not table.num_rows:
        return None
    as_ofs = dataset_table.as_ofs(table, learned.months[-1])
    step = -(-table.num_rows // MOST_VALIDATION_ROWS)
    there, parts = _segments(history, segments, learned.months)

    def every(name: str) -> list[Any]:
        found: list[Any] = table[name].to_pylist()[::step]
        return found

    return _scored(
        history.database.stream(
            "validation_rows",
            {"key": identifier(history.use_case.join_key), **parts},
            entities=table.column(0).to_pylist()[::step],
            as_ofs=list(as_ofs[::step]),
            probabilities=every("probability"),
            predictions=every("prediction"),
            labels=[int(one) for one in every(LABEL)],
        ),
        there,
    )


def _segments(
    history: History, segments: Sequence[str], months: Sequence[date]
) -> tuple[list[str], dict[str, Composable]]:
    """The names of the segments that are there, and the parts of a query that add them to rows
    named `entity_id` and `as_of`."""
    there: list[str] = []
    values: list[str] = []
    joins: list[str] = []
    for segment in segments:
        table, _, column = segment.partition(".")
        stored = Table.history_of(table)
        if column not in history.stored_columns(stored):
            continue
        names = {
            "number": identifier(f"segment_{len(there)}"),
            "key": identifier(history.use_case.join_key),
            "column": identifier(column),
            "rows": history.rows(stored, [column], months),
        }
        values.append(history.database.render("segment_column", names))
        joins.append(history.database.render("segment_join", names))
        there.append(column)
    return there, {"segments": subquery(" ".join(values)), "joins": subquery(" ".join(joins))}


def _scored(rows: Iterator[Sequence[Any]], segments: Sequence[str]) -> Scored:
    probabilities, predictions, labels = array("d"), array("b"), array("b")
    codes = [array("i") for _ in segments]
    numbers: list[dict[str, int]] = [{} for _ in segments]
    for probability, prediction, label, *values in rows:
        probabilities.append(probability)
        predictions.append(prediction)
        labels.append(label)
        for value, of_column, known in zip(values, codes, numbers, strict=True):
            of_column.append(-1 if value is None else known.setdefault(value, len(known)))
    return Scored(
        _floats(probabilities),
        _labels(predictions),
        _labels(labels),
        {
            segment: Segments(list(known), np.frombuffer(of_column, np.int32).copy())
            for segment, of_column, known in zip(segments, codes, numbers, strict=True)
        },
    )


def _floats(values: array[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values, np.float64)


def _labels(values: array[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)
