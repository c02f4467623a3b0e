"""Follows the registry: the version in Production is served, without a restart.

A model is downloaded, checked, tried in a process of its own, loaded and warmed up beside the
running one; only then does it take over. A model that can't be served is rejected, and the last
good one stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from streamflow import log
from streamflow.errors import (
    FeatureStoreUnavailable,
    MlflowUnavailable,
    ServiceUnavailable,
    StreamFlowError,
    UnservableModel,
)
from streamflow.polling import PollingThread
from streamflow.registry.trial import Superseded
from streamflow.registry.unservable import being_tried, why_unservable
from streamflow.serving.predictor import Predictor
from streamflow.serving.scoring import Served
from streamflow.serving.warm_up import planned_again, warmed_up
from streamflow.serving.watcher_state import ProblemLog, Rejection, WatcherState
from streamflow.training import served_model
from streamflow.training.served_model import ServedModel

if TYPE_CHECKING:
    from streamflow.registry.model_cache import LastServed
    from streamflow.registry.production import ProductionReader
    from streamflow.registry.records import ModelVersion
    from streamflow.serving.online_store import OnlineStore

# Returns if the version in the folder can be loaded; the function says whether it is still wanted.
Trial = Callable[["ModelVersion", Path, Callable[[], bool]], None]


class Metrics(Protocol):
    """What is published about the model, the data and the services behind them."""

    def model_swapped(self, version: int) -> None:
        """Another version has taken over."""

    def model_withdrawn(self) -> None:
        """No version is served any more."""

    def record_ungated(self, ungated: bool) -> None:
        """Whether what is in Production isn't served, because no gate has seen it."""

    def record_data_age(self, newest: Mapping[str, datetime], now: datetime) -> None:
        """The newest event timestamp per feature view, both in UTC."""

    def record_registry_poll(self) -> None:
        """The registry was looked at just now, whether it was reached or not."""

    def record_dependency(
        self, dependency: Literal["registry", "online_store"], reached: bool
    ) -> None:
        """Whether the last poll reached the dependency."""


@runtime_checkable
class Admission(Protocol):
    """What the registry's reader knows beside the version to serve, after it was asked for that."""

    @property
    def ungated(self) -> StreamFlowError | None:
        """Why what is in Production isn't served; None if it is."""

    @property
    def registry_error(self) -> StreamFlowError | None:
        """Why the version comes from the history alone; None if MLflow was reached."""

    def overrides(self, version: int, model_hash: str) -> Sequence[Mapping[str, object]]:
        """The gates in spite of which the version, with this model, went to Production."""


class Watcher:
    """A thread that polls the registry and swaps the predictor's model.

    `state` is the outcome of the last poll. While the registry can't be read after a start,
    the version recorded by `last_served` is served.
    """

    def __init__(
        self,
        predictor: Predictor,
        registry: ProductionReader,
        online: OnlineStore,
        metrics: Metrics,
        *,
        poll_seconds: float,
        now: Callable[[], datetime],
        last_served: LastServed | None = None,
        load: Callable[[Path], ServedModel] = served_model.load,
        trial: Trial | None = None,
        admission: Admission | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = WatcherState()
        self._predictor = predictor
        self._registry = registry
        self._online = online
        self._metrics = metrics
        self._now = now
        self._last_served = last_served
        self._load = load
        self._trial = trial
        self._admission = admission
        self._stopping = False
        self._monotonic = monotonic
        self._problems = ProblemLog()
        self._recorded: object = object()  # unequal to every version, and to None
        self._thread = PollingThread("watcher", self.poll, poll_seconds)

    def start(self, patience_seconds: float) -> None:
        """Start polling; wait for the first poll to end, at most `patience_seconds`."""
        self._thread.start(patience_seconds)

    def stop(self, patience_seconds: float = 5.0) -> None:
        """Stop polling; wait for a poll in progress, at most `patience_seconds`."""
        self._stopping = True
        self._thread.stop(patience_seconds)

    def poll(self) -> None:
        """Read the newest month in the online store, then follow the registry."""
        feature_store_error = self._read_newest()
        registry_error: StreamFlowError | None = None
        try:
            version = self._registry.production()
        except Exception as error:
            registry_error = _as_ours(error, MlflowUnavailable, "The registry can't be read")
            self._problems.log("registry", registry_error)
            self._fall_back(registry_error)
            rejection = self.state.rejection
        else:
            if self._admission is not None:
                registry_error = self._admission.registry_error
            self._problems.log("registry", registry_error)
            rejection = self._follow(version)
        ungated = self._admission.ungated if self._admission is not None else None
        self._problems.log("ungated", ungated)
        self._metrics.record_ungated(ungated is not None)
        self._metrics.record_dependency("registry", registry_error is None)
        self._metrics.record_dependency("online_store", feature_store_error is None)
        self.state = WatcherState(
            *(self._now(), registry_error, feature_store_error, rejection, ungated),
            self._overrides(),
        )
        self._metrics.record_registry_poll()

    def _overrides(self) -> Sequence[Mapping[str, object]]:
        served = self._predictor.served
        if served is None or self._admission is None:
            return ()
        return self._admission.overrides(served.version.version, served.version.model_hash)

    def _read_newest(self) -> StreamFlowError | None:
        problem: StreamFlowError | None = None
        try:
            self._predictor.set_newest(self._online.newest_event_timestamps())
            self._predictor.set_not_recorded(self._online.not_recorded())
        except Exception as error:
            problem = _as_ours(error, FeatureStoreUnavailable, "The online store can't be read")
        self._problems.log("feature_store", problem)
        # Data that can't be read grows older all the same. What a model of before was given doesn't
        # count any more.
        newest, served = self._predictor.newest or {}, self._predictor.served
        if served is not None:
            newest = {view: newest[view] for view in served.schema.views if view in newest}
        self._metrics.record_data_age(newest, self._now())
        return problem

    def _follow(self, version: ModelVersion | None) -> Rejection | None:
        served = self._predictor.served
        if version is None:
            self._predictor.withdraw()
            if served is not None:
                self._metrics.model_withdrawn()
                log.info("model_withdrawn", model_version=served.version.version)
            self._record(None)
            return None
        if served is not None and served.version.identity == version.identity:
            try:
                now_served = planned_again(served, version, self._online)
            except UnservableModel as problem:
                self._predictor.withdraw(problem)
                self._metrics.model_withdrawn()
                return self._reject(version, problem, 0.0)
            if now_served is not served:
                self._predictor.serve(now_served)
            self._record(version)
            return None
        rejection = self.state.rejection
        if (
            rejection is not None
            and rejection.version.identity == version.identity
            and self._monotonic() < rejection.retry_at
        ):
            return rejection
        started = self._monotonic()
        try:
            files = self._registry.download(version)
            candidate = self._prepared(version, files, lambda: self._still_wanted(version))
        except Superseded:
            return None
        except Exception as error:
            return self._reject(version, error, self._monotonic() - started)
        self._serve(candidate)
        self._problems.forget("model")
        self._record(version)
        return None

    def _prepared(self, version: ModelVersion, folder: Path, wanted: Callable[[], bool]) -> Served:
        if self._trial is not None:
            self._trial(version, folder, wanted)
        return warmed_up(version, self._load(folder), self._online, self._predictor.join_key)

    def _still_wanted(self, version: ModelVersion) -> bool:
        """Called while a version is tried: whether it still is the one in Production."""
        if not self._goes_on():
            return False
        try:
            current = self._registry.production()
        except Exception:  # the next poll reports it
            current = version
        self.state = replace(self.state, polled_at=self._now())
        self._metrics.record_registry_poll()
        if self._predictor.served is None:
            self._fall_back(being_tried(version), but_not=version)
        return current is not None and current.identity == version.identity

    def _goes_on(self) -> bool:
        return not self._stopping

    def _serve(self, candidate: Served) -> None:
        served, version = self._predictor.served, candidate.version.version
        self._predictor.serve(candidate)
        self._metrics.model_swapped(version)
        before = served.version.version if served is not None else None
        log.info("model_swapped", model_version=version, model_version_before=before)

    def _record(self, version: ModelVersion | None) -> None:
        if self._last_served is None or version == self._recorded:
            return
        try:
            self._last_served.record(version)
        except OSError as error:
            problem = _as_ours(error, ServiceUnavailable, "It can't be written down")
            self._problems.log("last_good", problem)
        else:
            self._recorded = version
            self._problems.log("last_good", None)

    def _fall_back(self, reason: StreamFlowError, but_not: ModelVersion | None = None) -> None:
        """If no model is served, serve the version that was served last, if its files are intact
        and it isn't `but_not`; else each request fails with `reason`."""
        if self._predictor.served is not None:
            return
        self._predictor.withdraw(reason)
        try:
            recorded = self._last_served.read() if self._last_served is not None else None
            # A version under trial would wait for its own trial.
            if recorded and not (but_not and recorded[0].identity == but_not.identity):
                self._serve(self._prepared(*recorded, self._goes_on))
        except Exception as error:
            problem = _as_ours(error, ServiceUnavailable, "It can't be recalled")
            self._problems.log("last_good", problem)

    def _reject(self, version: ModelVersion, error: Exception, seconds: float) -> Rejection:
        problem = why_unservable(version, error)
        self._problems.log("model", problem, version)
        self._fall_back(problem)
        return Rejection.after(version, problem, seconds, self._monotonic())


def _as_ours(error: Exception, kind: type[ServiceUnavailable], what: str) -> StreamFlowError:
    """The error itself if it has a message for users; else one of `kind` in its place."""
    if isinstance(error, StreamFlowError):
        return error
    problem = kind(f"{what} ({type(error).__name__}).", "Look into the log of the API.")
    problem.__cause__ = error
    return problem
