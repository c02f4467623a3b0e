"""Follows the registry: whichever version is in Production answers, without a restart.

A model is fetched, checked, loaded and warmed up beside the running one; only then does it take
over. One that can't be served is refused, and the last good one keeps answering.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from streamflow import log
from streamflow.errors import (
    FeatureStoreUnavailable,
    MlflowUnavailable,
    ServiceUnavailable,
    StreamFlowError,
)
from streamflow.polling import PollingThread
from streamflow.serving.predictor import Predictor
from streamflow.serving.scoring import Served
from streamflow.serving.warm_up import rehearsed, uninstalled, unservable, unwritten
from streamflow.training import served_model
from streamflow.training.served_model import ServedModel

if TYPE_CHECKING:
    from streamflow.registry.model_cache import LastGood
    from streamflow.registry.production import Production
    from streamflow.registry.records import ModelVersion
    from streamflow.serving.online_store import OnlineStore

# A refused version may become servable (`streamflow apply`), but trying costs more than a look.
RETRY_SECONDS = 3.0


class Metrics(Protocol):
    """What is published about the model, the data and the services behind them."""

    def model_swapped(self, version: int) -> None:
        """Another version has taken over."""

    def model_withdrawn(self) -> None:
        """No version is served any more."""

    def data_seen(self, newest: Mapping[str, datetime], now: datetime) -> None:
        """The newest event timestamp per feature view (UTC)."""

    def reached(self, dependency: Literal["registry", "online_store"], there: bool) -> None:
        """Whether the last poll reached the dependency."""


@dataclass(frozen=True)
class Refusal:
    """A version in Production that isn't served, and why. `retry_at` is a monotonic time."""

    version: ModelVersion
    error: StreamFlowError
    retry_at: float


@dataclass(frozen=True)
class Sight:
    """What the last look found; an error of None means that the part answered."""

    looked_at: datetime | None = None
    registry_error: StreamFlowError | None = None
    feature_store_error: StreamFlowError | None = None
    refusal: Refusal | None = None


class Watcher:
    """A thread that looks every `poll_seconds` and swaps the predictor's model; `sight` says what
    it saw last. `last_good` is what a start goes on with if the registry can't say better."""

    def __init__(
        self,
        predictor: Predictor,
        registry: Production,
        online: OnlineStore,
        metrics: Metrics,
        *,
        poll_seconds: float,
        now: Callable[[], datetime],
        last_good: LastGood | None = None,
        load: Callable[[Path], ServedModel] = served_model.load,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sight = Sight()
        self._predictor = predictor
        self._registry = registry
        self._online = online
        self._metrics = metrics
        self._now = now
        self._last_good = last_good
        self._load = load
        self._monotonic = monotonic
        self._told: dict[str, str] = {}
        self._remembered: object = object()  # nobody knows yet
        self._thread = PollingThread("watcher", self.look, poll_seconds)

    def start(self, patience_seconds: float) -> None:
        """Start looking, and wait for the first look to end, at most `patience_seconds`."""
        self._thread.start(patience_seconds)

    def stop(self, patience_seconds: float = 5.0) -> None:
        """Stop looking, and wait for a look under way, at most `patience_seconds`."""
        self._thread.stop(patience_seconds)

    def look(self) -> None:
        """Look once: refresh the freshness clock, then follow the registry."""
        feature_store_error = self._refresh_newest()
        registry_error: StreamFlowError | None = None
        try:
            version = self._registry.production()
        except Exception as error:
            registry_error = _named(error, MlflowUnavailable, "The registry can't be read")
            self._tell("registry", registry_error)
            self._fall_back(registry_error)
            refusal = self.sight.refusal
        else:
            self._tell("registry", None)
            refusal = self._follow(version)
        self._metrics.reached("registry", registry_error is None)
        self._metrics.reached("online_store", feature_store_error is None)
        self.sight = Sight(self._now(), registry_error, feature_store_error, refusal)

    def _refresh_newest(self) -> StreamFlowError | None:
        problem: StreamFlowError | None = None
        try:
            self._predictor.know_newest(self._online.newest_event_timestamps())
        except Exception as error:
            problem = _named(error, FeatureStoreUnavailable, "The online store can't be read")
        self._tell("feature_store", problem)
        # Data that can't be looked at grows older all the same.
        self._metrics.data_seen(self._predictor.newest or {}, self._now())
        return problem

    def _follow(self, version: ModelVersion | None) -> Refusal | None:
        served = self._predictor.served
        if version is None:
            self._predictor.withdraw()
            if served is not None:
                self._metrics.model_withdrawn()
                log.info("model_withdrawn", model_version=served.version.version)
            self._remember(None)
            return None
        if served is not None and _identity(served.version) == _identity(version):
            if served.version != version:  # another alias or metric, the same model
                self._predictor.serve(replace(served, version=version))
            self._remember(version)
            return None
        refusal = self.sight.refusal
        if (
            refusal is not None
            and _identity(refusal.version) == _identity(version)
            and self._monotonic() < refusal.retry_at
        ):
            return refusal
        try:
            candidate = self._prepared(version, self._registry.download(version))
        except Exception as error:
            return self._refuse(version, error)
        self._serve(candidate)
        self._told.pop("model", None)
        self._remember(version)
        return None

    def _prepared(self, version: ModelVersion, folder: Path) -> Served:
        join_key = self._predictor.join_key
        return rehearsed(version, self._load(folder), self._online, join_key)

    def _serve(self, candidate: Served) -> None:
        served, version = self._predictor.served, candidate.version.version
        self._predictor.serve(candidate)
        self._metrics.model_swapped(version)
        before = served.version.version if served is not None else None
        log.info("model_swapped", model_version=version, model_version_before=before)

    def _remember(self, version: ModelVersion | None) -> None:
        if self._last_good is None or version == self._remembered:
            return
        try:
            self._last_good.remember(version)
        except OSError as error:
            self._tell("last_good", _named(error, ServiceUnavailable, "It can't be written down"))
        else:
            self._remembered = version
            self._tell("last_good", None)

    def _fall_back(self, reason: StreamFlowError) -> None:
        """Without a model that answers: the one that answered last, if it's there as it was; else
        each request is told `reason`."""
        if self._predictor.served is not None:
            return
        self._predictor.withdraw(reason)
        try:
            recalled = self._last_good.recall() if self._last_good is not None else None
            if recalled is not None:
                self._serve(self._prepared(*recalled))
        except Exception as error:
            self._tell("last_good", _named(error, ServiceUnavailable, "It can't be recalled"))

    def _refuse(self, version: ModelVersion, error: Exception) -> Refusal:
        if isinstance(error, StreamFlowError):
            problem: StreamFlowError = error
        elif isinstance(error, OSError) and error.strerror is not None:
            problem = unwritten(version, error.strerror)
            problem.__cause__ = error
        elif isinstance(error, ModuleNotFoundError) and error.name is not None:
            problem = uninstalled(version, error.name)
            problem.__cause__ = error
        else:
            problem = unservable(version, f"{type(error).__name__}: {error}")
            problem.__cause__ = error
        self._tell("model", problem, version)
        self._fall_back(problem)
        # A service that was away is asked again at the next look, a bad model more seldom.
        pause = 0.0 if isinstance(problem, ServiceUnavailable) else RETRY_SECONDS
        return Refusal(version, problem, self._monotonic() + pause)

    def _tell(
        self, part: str, error: StreamFlowError | None, version: ModelVersion | None = None
    ) -> None:
        """Log a part's trouble once, however many looks it lasts, and its end."""
        if error is None:
            if self._told.pop(part, None) is not None:
                log.info(f"{part}_answers_again")
            return
        trouble = f"{error.code} {_identity(version) if version else ''}"
        if self._told.get(part) == trouble:
            return
        self._told[part] = trouble
        event = "model_refused" if version else f"{part}_unavailable"
        log.warning(
            event,
            code=error.code,
            message=error.message,
            lines=log.traceback_lines(error.__cause__ or error),
            model_version=version.version if version else None,
        )


def _identity(version: ModelVersion) -> tuple[str, int, str]:
    return version.name, version.version, version.model_hash


def _named(error: Exception, kind: type[ServiceUnavailable], what: str) -> StreamFlowError:
    """The error itself, if it can speak to a user; else one of `kind` in its place."""
    if isinstance(error, StreamFlowError):
        return error
    problem = kind(f"{what} ({type(error).__name__}).", "Look into the log of the API.")
    problem.__cause__ = error
    return problem
