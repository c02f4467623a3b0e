"""Versions judged on a month after their training, in an append-only table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

from streamflow.hashes import Sha256
from streamflow.postgres.database import Database


@dataclass(frozen=True)
class RecordedEvaluation:
    """A version judged on rows of `as_of`, as known at `known_at`. Times are in UTC.

    Of the `rows`, `positives` have the label true, and `trained_on` were among those that the
    version was fitted to, None if that can't be told. `rows_hash` is over as_ofs, entities and
    labels: two figures are comparable where it is the same. `data_hash` is over entities, features
    and labels. `figures` are named as training's metrics.
    """

    model: str
    version: int
    run_id: str
    model_hash: str
    as_of: date
    known_at: datetime
    evaluated_at: datetime
    evaluated_by: str
    rows: int
    positives: int
    trained_on: int | None
    rows_hash: Sha256
    data_hash: Sha256
    figures: Mapping[str, float]


def evaluations(database: Database, model: str) -> list[RecordedEvaluation]:
    """The evaluations of all versions of the registered model, oldest first."""
    return [RecordedEvaluation(**row) for row in database.rows("evaluations", model=model)]


def on_same_rows(
    made: Sequence[RecordedEvaluation],
) -> list[tuple[RecordedEvaluation, ...]]:
    """The evaluations in groups whose figures are comparable, the newest month first.

    The rows of a group are the same. It has the newest evaluation of each version, the highest
    version first.
    """
    groups: dict[tuple[date, Sha256], dict[int, RecordedEvaluation]] = {}
    for one in made:
        groups.setdefault((one.as_of, one.rows_hash), {})[one.version] = one
    return [
        tuple(group[version] for version in sorted(group, reverse=True))
        for _, group in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]


def record(database: Database, evaluation: RecordedEvaluation) -> None:
    """Append the evaluation."""
    document = asdict(evaluation)
    database.execute(
        "record_evaluation", **{**document, "figures": json.dumps(document["figures"])}
    )
