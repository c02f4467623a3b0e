"""Two versions on live traffic: where they agree, who changes side, and who was right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from streamflow.lineage.judged_version import judged_version, trained_on
from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.promotion.changed_sides import FeatureDifference, feature_differences
from streamflow.promotion.errors import NothingToCompare
from streamflow.promotion.gates.judged_pair import JudgedPair
from streamflow.promotion.gates.pair_quality import pair_quality
from streamflow.promotion.gates.result import Versions
from streamflow.promotion.live_scores import (
    LabelledPair,
    LivePair,
    LiveScore,
    labelled,
    live_pairs,
    logged_values,
    probabilities,
)
from streamflow.promotion.overrides import Override, overrides
from streamflow.registry.records import ModelVersion
from streamflow.training.statistics.score_shift import population_stability_index

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MOST_VALUES = 2_000
_RANDOM_STATE = 0


@dataclass(frozen=True)
class SideChange:
    """An entity whose label differs, by its newest request; `predicted_at` is in UTC."""

    entity_id: str
    request_id: str
    predicted_at: datetime
    first: LiveScore
    second: LiveScore

    @property
    def distance(self) -> float:
        """How far the probabilities are from each other."""
        return abs((self.first.probability or 0.0) - (self.second.probability or 0.0))


@dataclass(frozen=True)
class LiveQuality:
    """What is known of both versions' quality on requests whose labels have come.

    `outcome` is about the use case's margins: passed, failed or can't tell; None without one.
    """

    months: tuple[date, ...]
    rows: int
    trained_on: int
    outcome: str | None
    sentence: str
    figures: dict[str, Any]


@dataclass(frozen=True)
class LiveComparison:
    """Two versions on the requests that both scored, the second against the first.

    `since` and `until` are of the oldest and of the newest of these requests, in UTC. `compared`
    have a prediction by both; `problems` count the others, by version and code. Of the compared,
    `changed` have another label, by the second version `to_true` of them true. Quantiles are of
    the probabilities at QUANTILES. `overrides` are of the gates that either went to Production in
    spite of. `changes` has at most as many entities as were asked for, those
    with the largest difference of probabilities first.
    """

    versions: tuple[int, int]
    since: datetime
    until: datetime
    requests: int
    entities: int
    compared: int
    problems: dict[int, dict[str, int]]
    changed: int
    to_true: int
    entities_changed: int
    score_shift: float | None
    mean_scores: tuple[float, float] | None
    quantiles: dict[int, list[float]]
    changes: list[SideChange]
    features: list[FeatureDifference]
    quality: LiveQuality | None
    overrides: Sequence[Override] = ()

    @property
    def agreement(self) -> float | None:
        """The share of the compared requests with the same label."""
        return 1 - self.changed / self.compared if self.compared else None


def compare(
    platform: Platform,
    first: int,
    second: int,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    most: int = 10,
) -> LiveComparison:
    """Compare two versions on the requests that both scored from `since` to before `until` (UTC).

    Labels are those that are known at `now` (UTC); rows that one of the versions was trained on say
    nothing, and are left out. Raises UnknownVersion, NothingToCompare, UnservableModel,
    MlflowUnavailable.
    """
    versions = platform.registry.version(first), platform.registry.version(second)
    pairs = live_pairs(platform, first, second, since, until)
    if not pairs:
        raise NothingToCompare(
            f"No request was scored by both version {first} and version {second}"
            f"{' in that time' if since or until else ''}.",
            f'Put one of them into Staging: `streamflow promote {second} --to staging --why "…"`, '
            "while the API runs with the other one in Production and STREAMFLOW_MIRROR above 0.",
        )
    compared = [number for number, pair in enumerate(pairs) if pair.compared]
    changed = [number for number in compared if _changes(pairs[number])]
    scores = probabilities(pairs)
    changes = model_history.changes(platform.database, platform.registry.model)
    return LiveComparison(
        versions=(first, second),
        since=pairs[-1].predicted_at,
        until=pairs[0].predicted_at,
        requests=len(pairs),
        entities=len({pair.entity_id for pair in pairs}),
        compared=len(compared),
        problems={
            first: dict(Counter(one.first.problem for one in pairs if one.first.problem)),
            second: dict(Counter(one.second.problem for one in pairs if one.second.problem)),
        },
        changed=len(changed),
        to_true=sum(pairs[number].second.label == 1 for number in changed),
        entities_changed=len({pairs[number].entity_id for number in changed}),
        score_shift=population_stability_index(*scores) if compared else None,
        mean_scores=(float(scores[0].mean()), float(scores[1].mean())) if compared else None,
        quantiles={
            version: np.quantile(of, QUANTILES).tolist() if compared else []
            for version, of in zip((first, second), scores, strict=True)
        },
        changes=_side_changes(pairs, changed)[:most],
        features=_features(platform, pairs, compared, changed),
        quality=_quality(platform, pairs, versions, now),
        overrides=[one for one in overrides(changes) if one.version in (first, second)],
    )


def _changes(pair: LivePair) -> bool:
    return pair.first.label != pair.second.label


def _side_changes(pairs: Sequence[LivePair], changed: Sequence[int]) -> list[SideChange]:
    """The entities that change side, each by its newest request."""
    newest: dict[str, SideChange] = {}
    for number in changed:
        pair = pairs[number]
        change = SideChange(
            pair.entity_id, pair.request_id, pair.predicted_at, pair.first, pair.second
        )
        newest.setdefault(pair.entity_id, change)
    return sorted(newest.values(), key=lambda one: -one.distance)


def _features(
    platform: Platform,
    pairs: Sequence[LivePair],
    compared: Sequence[int],
    changed: Sequence[int],
) -> list[FeatureDifference]:
    """By the newest request of each entity, of at most so many on each side."""
    changes = set(changed)
    newest: dict[str, int] = {}
    for number in compared:
        newest.setdefault(pairs[number].entity_id, number)
    of_changed = [number for number in newest.values() if number in changes][:_MOST_VALUES]
    of_others = [number for number in newest.values() if number not in changes][:_MOST_VALUES]
    values = logged_values(platform, pairs, [*of_changed, *of_others])
    return feature_differences(
        [values[number] for number in of_changed if number in values],
        [values[number] for number in of_others if number in values],
    )


def _quality(
    platform: Platform,
    pairs: Sequence[LivePair],
    versions: tuple[ModelVersion, ModelVersion],
    now: datetime,
) -> LiveQuality | None:
    known = labelled(platform, pairs, now)
    if not known:
        return None
    fresh, trained = _not_trained_on(platform, known, versions)
    months = tuple(sorted({one.as_of for one in known}))
    if not fresh:
        return LiveQuality(
            months,
            len(known),
            trained,
            "can't tell",
            f"One of the versions was trained on all {len(known):,} requests with a label, or its "
            "run doesn't tell.",
            {},
        )
    chosen = [pairs[one.position] for one in fresh]
    scores = probabilities(chosen)
    pair = JudgedPair(
        "live requests",
        np.array([one.label for one in fresh], np.int64),
        candidate_scores=scores[1],
        current_scores=scores[0],
        entities=[one.entity_id for one in fresh],
    )
    judged = pair_quality(
        pair,
        platform.use_case.gates.quality_margins,
        {},
        Versions(versions[1].version, versions[0].version),
        _RANDOM_STATE,
    )
    return LiveQuality(
        months, len(fresh), trained, judged.outcome, judged.sentence, dict(judged.figures)
    )


def _not_trained_on(
    platform: Platform, known: Sequence[LabelledPair], versions: tuple[ModelVersion, ModelVersion]
) -> tuple[list[LabelledPair], int]:
    """Those that neither version was trained on, and how many were left out for that."""
    seen: set[tuple[date, str]] = set()
    for version in versions:
        recorded = judged_version(platform, version).recorded
        for as_of in {one.as_of for one in known}:
            there = [one.entity_id for one in known if one.as_of == as_of]
            trained = trained_on(recorded, as_of, there)
            # What a run doesn't tell may have been trained on.
            seen |= {(as_of, entity) for entity in (there if trained is None else trained)}
    fresh = [one for one in known if (one.as_of, one.entity_id) not in seen]
    return fresh, len(known) - len(fresh)
