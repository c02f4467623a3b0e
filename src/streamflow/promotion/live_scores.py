"""What two versions scored for the same requests, by the prediction log, and what came true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from streamflow.history.labels import known_labels
from streamflow.platform import Platform
from streamflow.postgres.queries import identifier

# The newest requests are compared; more of them change no figure by much.
MOST_ROWS = 200_000


@dataclass(frozen=True)
class LiveScore:
    """What one version scored for a request: a label (0 or 1) and a probability of 1, or the code
    of the problem why it has neither."""

    label: int | None
    probability: float | None
    problem: str | None


@dataclass(frozen=True)
class LivePair:
    """A request that both versions scored; `predicted_at` is in UTC."""

    predicted_at: datetime
    request_id: str
    entity_id: str
    first: LiveScore
    second: LiveScore

    @property
    def compared(self) -> bool:
        """Whether both have a prediction."""
        return self.first.problem is None and self.second.problem is None


@dataclass(frozen=True)
class LabelledPair:
    """A pair whose label is known: that of the entity at the newest moment of its features."""

    position: int
    entity_id: str
    as_of: date
    label: bool


def live_pairs(
    platform: Platform, first: int, second: int, since: datetime | None, until: datetime | None
) -> list[LivePair]:
    """The requests that both versions scored from `since` to before `until` (UTC), newest first; at
    most MOST_ROWS."""
    rows = platform.database.rows(
        "shadow_pairs",
        model=platform.use_case.registered_model,
        first=first,
        second=second,
        since=since,
        until=until,
        most=MOST_ROWS,
    )
    return [_pair(row, first) for row in rows]


def _pair(row: Mapping[str, Any], first: int) -> LivePair:
    answer = LiveScore(row["prediction"], row["probability"], row["problem"])
    shadow = LiveScore(row["shadow_prediction"], row["shadow_probability"], row["shadow_problem"])
    if row["answered_by"] != first:
        answer, shadow = shadow, answer
    return LivePair(row["predicted_at"], row["request_id"], row["entity_id"], answer, shadow)


def labelled(
    platform: Platform, pairs: Sequence[LivePair], known_at: datetime
) -> list[LabelledPair]:
    """Those with a prediction by both and a label that is known at `known_at` (UTC): of each entity
    and month the newest pair."""
    use_case, database = platform.use_case, platform.database
    positions = [number for number, pair in enumerate(pairs) if pair.compared]
    if not positions:
        return []
    names = {
        "key": identifier(use_case.join_key),
        "label": identifier(use_case.label.column),
        "label_history": known_labels(database, use_case, known_at),
    }
    rows = database.rows("pair_labels", names, known_at=known_at, **_keys(pairs, positions))
    return [LabelledPair(**row) for row in rows if row["label"] is not None]


def logged_values(
    platform: Platform, pairs: Sequence[LivePair], positions: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """By position the values of the features that were read for the answer."""
    if not positions:
        return {}
    rows = platform.database.rows("pair_values", **_keys(pairs, positions))
    return {
        row["position"]: {
            name: value
            for (name, _, _), value in zip(row["features_of_model"], row["features"], strict=True)
        }
        for row in rows
    }


def _keys(pairs: Sequence[LivePair], positions: Sequence[int]) -> dict[str, object]:
    chosen = [pairs[position] for position in positions]
    times = [pair.predicted_at for pair in chosen]
    return {
        "positions": list(positions),
        "times": times,
        "requests": [pair.request_id for pair in chosen],
        "entities": [pair.entity_id for pair in chosen],
        "first": min(times),
        "last": max(times),
    }


def probabilities(pairs: Sequence[LivePair]) -> tuple[Any, Any]:
    """The probabilities of both versions, one per pair with predictions by both: (pairs,) each."""
    chosen = [pair for pair in pairs if pair.compared]
    return (
        np.array([pair.first.probability for pair in chosen], np.float64),
        np.array([pair.second.probability for pair in chosen], np.float64),
    )
