"""Follows the version in Staging: it is loaded beside the one that answers, and disturbs nothing.

It is downloaded, checked, tried in a process of its own and warmed up as a version in Production
is. One that can't be served is told, and scores nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from streamflow import log
from streamflow.errors import StreamFlowError, UnservableModel
from streamflow.polling import PollingThread
from streamflow.registry.trial import Superseded
from streamflow.registry.unservable import why_unservable
from streamflow.serving.challenger.canary import CanaryEnd, CanaryState
from streamflow.serving.warm_up import planned_again, warmed_up
from streamflow.serving.watcher_state import Rejection
from streamflow.training import served_model
from streamflow.training.served_model import ServedModel

if TYPE_CHECKING:
    from streamflow.registry.records import ModelVersion
    from streamflow.serving.challenger.challenger import Challenger
    from streamflow.serving.online_store import OnlineStore
    from streamflow.serving.predictor import Predictor
    from streamflow.serving.scoring import Served

Trial = Callable[["ModelVersion", Path, Callable[[], bool]], None]


class StagingReader(Protocol):
    """Reads which version of one registered model is in Staging."""

    def staging(self) -> ModelVersion | None:
        """The version in Staging, or None. Raises MlflowUnavailable."""

    def download(self, version: ModelVersion) -> Path:
        """A local folder with the version's served form, whose hash was checked."""


class Canaries(Protocol):
    """The canaries of one registered model, as the history of its versions has them."""

    def current(self) -> CanaryState | None:
        """The canary that is on, or None."""

    def end(self, ended: CanaryEnd) -> None:
        """Write down that it has ended by itself; a second time changes nothing."""


class Metrics(Protocol):
    """What is published about the version in Staging."""

    def record_challenger(self, version: int, canary_share: float, refused: bool = False) -> None:
        """The version that scores beside the one in Production, 0 without one, the percentage of
        entities that it answers, and whether the one in Staging can't be served."""


class StagingFollower:
    """A thread that polls the registry, and the canaries where there are any.

    `rejection` is the version in Staging that can't be served, and why.
    """

    def __init__(
        self,
        challenger: Challenger,
        predictor: Predictor,
        registry: StagingReader,
        online: OnlineStore,
        metrics: Metrics,
        *,
        poll_seconds: float,
        canaries: Canaries | None = None,
        load: Callable[[Path], ServedModel] = served_model.load,
        trial: Trial | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rejection: Rejection | None = None
        self._challenger = challenger
        self._predictor = predictor
        self._registry = registry
        self._online = online
        self._metrics = metrics
        self._canaries = canaries
        self._load = load
        self._trial = trial
        self._monotonic = monotonic
        self._stopping = False
        self._logged: tuple[object, str] | None = None
        self._written: CanaryEnd | None = None
        self._thread = PollingThread("challenger", self.poll, poll_seconds)

    def start(self) -> None:
        """Start polling, without waiting for anything."""
        self._thread.start()

    def stop(self, patience_seconds: float = 5.0) -> None:
        """Stop polling; wait for a poll in progress, at most `patience_seconds`."""
        self._stopping = True
        self._thread.stop(patience_seconds)

    def poll(self) -> None:
        """Follow the version in Staging, then its canary."""
        try:
            version = self._registry.staging()
        except StreamFlowError:
            pass  # the watcher of Production reports it; what was loaded goes on
        else:
            self._follow(version)
        self._follow_canary()
        served, canary = self._challenger.model.served, self._challenger.canary.state
        self._metrics.record_challenger(
            served.version.version if served else 0,
            canary.share if served and canary and canary.version == served.version.version else 0.0,
            self.rejection is not None,
        )

    def _follow(self, version: ModelVersion | None) -> None:
        served = self._predictor.served
        if version is None:
            self._predictor.withdraw()
            self.rejection = self._logged = None
            if served is not None:
                log.info("challenger_withdrawn", model_version=served.version.version)
            return
        if served is not None and served.version.identity == version.identity:
            self._plan_again(served, version)
            return
        rejection = self.rejection
        if rejection is not None and rejection.version.identity == version.identity:
            if self._monotonic() < rejection.retry_at:
                return
        else:
            self._predictor.withdraw()
        started = self._monotonic()
        try:
            files = self._registry.download(version)
            if self._trial is not None:
                self._trial(version, files, lambda: not self._stopping)
            candidate = warmed_up(
                version, self._load(files), self._online, self._predictor.join_key
            )
        except Superseded:
            return
        except Exception as error:
            self._reject(version, error, self._monotonic() - started)
            return
        self._predictor.serve(candidate)
        self.rejection = self._logged = None
        log.info("challenger_loaded", model_version=version.version)

    def _plan_again(self, served: Served, version: ModelVersion) -> None:
        try:
            now_served = planned_again(served, version, self._online)
        except UnservableModel as problem:
            self._predictor.withdraw()
            self._reject(version, problem, 0.0)
        else:
            if now_served is not served:
                self._predictor.serve(now_served)

    def _reject(self, version: ModelVersion, error: Exception, seconds: float) -> None:
        problem = why_unservable(version, error)
        if self._logged != (logged := (version.identity, problem.code)):
            self._logged = logged
            log.warning(
                "challenger_refused",
                code=problem.code,
                message=problem.message,
                lines=log.traceback_lines(problem.__cause__ or problem),
                model_version=version.version,
            )
        self.rejection = Rejection.after(version, problem, seconds, self._monotonic())

    def _follow_canary(self) -> None:
        if self._canaries is None:
            return
        ended = self._challenger.canary.ended
        try:
            if ended is not None and ended is not self._written:
                self._canaries.end(ended)
                self._written = ended
            state = None
            if self._challenger.loaded or self.rejection is not None:
                state = self._canaries.current()
        except StreamFlowError:
            return  # the canary goes on, or ends, as it is known here
        self._challenger.canary.follow(state)


def report(follower: StagingFollower, challenger: Challenger) -> Mapping[str, object] | None:
    """The part of /ready about the version in Staging, of this process; None without one."""
    if (rejection := follower.rejection) is not None:
        error = rejection.error
        return {
            "version": rejection.version.version,
            "code": error.code,
            "detail": error.message,
            "next": error.next,
        }
    served, canary, shadow = challenger.model.served, challenger.canary, challenger.shadow
    if served is None:
        return None
    version = served.version
    told: dict[str, object] = {
        "version": version.version,
        "run_id": version.run_id,
        "mirror_percent": shadow.share,
        "scored": shadow.scored,
        "dropped": shadow.dropped,
        "canary_percent": canary.state.share if canary.state else 0,
    }
    if canary.ended is not None and canary.ended.canary.version == version.version:
        told["canary_ended"] = canary.ended.why
    return told
