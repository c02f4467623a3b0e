"""The parts around the version in Staging, put together."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from streamflow.serving.challenger import canary, follower, shadow
from streamflow.serving.challenger.canary import Canary
from streamflow.serving.challenger.canary_bounds import NO_BOUNDS, CanaryBounds
from streamflow.serving.challenger.challenger import Challenger
from streamflow.serving.challenger.challenger_model import ChallengerModel
from streamflow.serving.challenger.follower import Canaries, StagingFollower, StagingReader, Trial
from streamflow.serving.challenger.shadow import Shadow, Writer

if TYPE_CHECKING:
    from streamflow.serving.online_store import OnlineStore
    from streamflow.serving.predictor import Predictor
    from streamflow.settings import Settings
    from streamflow.training.served_model import ServedModel


@dataclass(frozen=True)
class StagingSources:
    """What the version in Staging is read from and written to, on connections of its own.

    Without a `log_writer` its scores aren't stored; without `canaries` it answers nothing.
    """

    registry: StagingReader
    online: OnlineStore
    log_writer: Writer | None = None
    canaries: Canaries | None = None
    bounds: CanaryBounds = NO_BOUNDS


class Metrics(canary.Metrics, follower.Metrics, shadow.Metrics, Protocol):
    """What is published about the version in Staging and its scores."""


def staging_parts(
    sources: StagingSources,
    predictor: Predictor,
    production: Predictor,
    metrics: Metrics,
    settings: Settings,
    load: Callable[[Path], ServedModel],
    trial: Trial | None,
) -> tuple[StagingFollower, Challenger]:
    """What follows the version in Staging, and what scores with it.

    `predictor` is for that version, over the sources' online store; `production` has the version
    that answers.
    """
    model = ChallengerModel(predictor, sources.online, production)
    answering: Canary
    shadowing = Shadow(
        model,
        metrics,
        share=settings.mirror,
        random=random.Random().random,
        counted=lambda *counted: answering.count(*counted),
        writer=sources.log_writer,
    )
    answering = Canary(
        model,
        metrics,
        sources.bounds,
        shadowing.record,
        registered_model=predictor.registered_model,
        patience_seconds=settings.latency_budget_ms / 1000,
    )
    challenger = Challenger(model, shadowing, answering)
    following = StagingFollower(
        challenger,
        predictor,
        sources.registry,
        sources.online,
        metrics,
        poll_seconds=settings.registry_poll_seconds,
        canaries=sources.canaries,
        load=load,
        trial=trial,
    )
    return following, challenger
