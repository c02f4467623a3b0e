"""Reasons in their tables: append-only, and there only with the scores that they explain.

Table `streamflow.reasons`, by `scoring_id`, `entity_id` and `position` (1 is the strongest): the
`feature`, the entity's `value`, its `contribution` to the score, what is usual in the `background`,
and the `sentence`. `streamflow.explanations` has, per range of ranks that was explained, the scale
of contributions ("probability" or "log-odds") and the base that they start from.
`streamflow.unexplained` has the entities whose explanation was refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from streamflow.postgres.database import Database
from streamflow.reasons.forms.trees import Scale
from streamflow.reasons.usual import FeatureValue


@dataclass(frozen=True)
class Explained:
    """The ranks `first_rank` to `last_rank` of a scoring, explained at `explained_at` (UTC).

    `base` is the mean score of the background, on `scale`; `background` says which rows it has.
    `entities` have reasons, `refused` don't, because their contributions don't add up.
    """

    scoring_id: int
    first_rank: int
    last_rank: int
    explained_at: datetime
    explained_by: str
    scale: Scale
    base: float
    background: Mapping[str, object]
    entities: int
    refused: int


@dataclass(frozen=True)
class Reason:
    """One of an entity's strongest reasons; `position` 1 is the strongest. `contribution` is on the
    scale of the explanation: above 0 it raises the score. `background` is what is usual."""

    position: int
    feature: str
    value: FeatureValue
    contribution: float
    background: FeatureValue
    sentence: str


@dataclass(frozen=True)
class FrequentReason:
    """A feature that raises the score of `entities`, as one of their reasons; of `strongest` as the
    first. `mean_contribution` is theirs, on the scale of the explanation."""

    feature: str
    entities: int
    strongest: int
    mean_contribution: float


def explanations(database: Database, scoring_id: int) -> list[Explained]:
    """What of the scoring is explained, by ascending ranks."""
    return [Explained(**row) for row in database.rows("explanations", scoring_id=scoring_id)]


def reasons_of(database: Database, scoring_id: int, entity_id: str) -> list[Reason]:
    """The entity's reasons, the strongest first; none if it isn't explained."""
    found = database.rows("reasons_of", scoring_id=scoring_id, entity_id=entity_id)
    return [Reason(**row) for row in found]


def refused(database: Database, scoring_id: int, most: int) -> list[str]:
    """The first entities whose explanation was refused, by their ids."""
    found = database.rows("refused_explanations", scoring_id=scoring_id, most=most)
    return [row["entity_id"] for row in found]


def most_frequent(
    database: Database, scoring_id: int, most: int = 10, last_rank: int | None = None
) -> list[FrequentReason]:
    """The features that are reasons for a higher score most often, of the explained entities up to
    `last_rank` (all, if None)."""
    found = database.rows("frequent_reasons", scoring_id=scoring_id, most=most, last_rank=last_rank)
    return [FrequentReason(**row) for row in found]


def record(
    database: Database,
    explained: Explained,
    reasons: Iterable[tuple[str, Sequence[Reason]]],
    errors: Mapping[str, float],
) -> bool:
    """Write the explanation, the reasons by entity, and the errors of those that were refused, all
    at once. False, and nothing is written, if these ranks were explained meanwhile."""
    lines = [
        (
            explained.scoring_id,
            entity_id,
            one.position,
            one.feature,
            _json(one.value),
            repr(one.contribution),
            _json(one.background),
            one.sentence,
        )
        for entity_id, of_entity in reasons
        for one in of_entity
    ]
    document = asdict(explained)
    with database.transaction():
        database.execute("lock_explanation", scoring_id=explained.scoring_id)
        there = explanations(database, explained.scoring_id)
        if any(one.last_rank >= explained.first_rank for one in there):
            return False
        database.execute(
            "record_explanation", **{**document, "background": json.dumps(explained.background)}
        )
        database.copy("copy_reasons", _csv(lines))
        without = ((explained.scoring_id, one, repr(error)) for one, error in errors.items())
        database.copy("copy_unexplained", _csv(without))
    return True


def _json(value: FeatureValue) -> str | None:
    return None if value is None or value != value else json.dumps(value)


def _csv(lines: Iterable[Sequence[object]]) -> bytes:
    return "".join(f"{','.join(map(_field, line))}\n" for line in lines).encode()


def _field(value: object) -> str:
    # A field without quotes is null if it is empty, so that every other one has them.
    return "" if value is None else '"{}"'.format(str(value).replace('"', '""'))
