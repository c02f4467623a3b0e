"""Follows the registry: whichever version is in Production answers, without a restart.

A model is fetched, checked, loaded and warmed up beside the running one; only then does it take
over. One that can't be served is refused, and the last good one keeps answering.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamflow import served_model
from streamflow.errors import (
    FeatureStoreUnavailable,
    MlflowUnavailable,
    ServiceUnavailable,
    StreamFlowError,
    UnservableModel,
)
from streamflow.served_model import Feature, ServedModel
from streamflow.serving.predictor import Predictor
from streamflow.serving.scoring import Served
from streamflow.telemetry import Telemetry, lines_of, log, log_failure

if TYPE_CHECKING:
    from streamflow.production import Production
    from streamflow.runs import ModelVersion
    from streamflow.serving.stores import OnlineStore

# A refused version may become servable (`streamflow apply`), but trying costs more than a look.
RETRY_SECONDS = 3.0


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
    it saw last."""

    def __init__(
        self,
        predictor: Predictor,
        registry: Production,
        online: OnlineStore,
        telemetry: Telemetry,
        *,
        poll_seconds: float,
        now: Callable[[], datetime],
        load: Callable[[Path], ServedModel] = served_model.load,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sight = Sight()
        self._predictor = predictor
        self._registry = registry
        self._online = online
        self._telemetry = telemetry
        self._poll_seconds = poll_seconds
        self._now = now
        self._load = load
        self._monotonic = monotonic
        self._told: dict[str, str] = {}
        self._stopping = threading.Event()
        self._looked = threading.Event()
        # A daemon: a registry that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self, patience_seconds: float) -> None:
        """Start looking, and wait for the first look to end, at most `patience_seconds`."""
        self._thread.start()
        self._looked.wait(patience_seconds)

    def stop(self, patience_seconds: float = 5.0) -> None:
        """Stop looking, and wait for a look under way, at most `patience_seconds`."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(patience_seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception as error:  # the next look may succeed; a dead thread never does
                log_failure("watcher_failed", error)
            self._looked.set()
            self._stopping.wait(self._poll_seconds)

    def look(self) -> None:
        """Look once: refresh the freshness clock, then follow the registry."""
        feature_store_error = self._refresh_newest()
        registry_error: StreamFlowError | None = None
        try:
            version = self._registry.production()
        except Exception as error:
            registry_error = _named(error, MlflowUnavailable, "The registry can't be read")
            self._tell("registry", registry_error)
            if self._predictor.served is None:
                self._predictor.withdraw(registry_error)
            refusal = self.sight.refusal
        else:
            self._tell("registry", None)
            refusal = self._follow(version)
        self.sight = Sight(self._now(), registry_error, feature_store_error, refusal)

    def _refresh_newest(self) -> StreamFlowError | None:
        try:
            newest = self._online.newest_event_timestamps()
        except Exception as error:
            problem = _named(error, FeatureStoreUnavailable, "The online store can't be read")
            self._tell("feature_store", problem)
            return problem
        self._tell("feature_store", None)
        self._predictor.know_newest(newest)
        self._telemetry.data_seen(newest, self._now())
        return None

    def _follow(self, version: ModelVersion | None) -> Refusal | None:
        served = self._predictor.served
        if version is None:
            self._predictor.withdraw()
            if served is not None:
                self._telemetry.model_withdrawn()
                log("model_withdrawn", model_version=served.version.version)
            return None
        if served is not None and _identity(served.version) == _identity(version):
            if served.version != version:  # another alias or metric, the same model
                self._predictor.serve(replace(served, version=version))
            return None
        refusal = self.sight.refusal
        if (
            refusal is not None
            and _identity(refusal.version) == _identity(version)
            and self._monotonic() < refusal.retry_at
        ):
            return refusal
        try:
            candidate = self._prepare(version)
        except Exception as error:
            return self._refuse(version, error)
        self._predictor.serve(candidate)
        self._told.pop("model", None)
        self._telemetry.model_swapped(version.version)
        before = served.version.version if served is not None else None
        log("model_swapped", model_version=version.version, model_version_before=before)
        return None

    def _prepare(self, version: ModelVersion) -> Served:
        """The version, loaded, checked and warmed up. Raises UnservableModel and more."""
        model = self._load(self._registry.download(version))
        if model.schema.join_key != self._predictor.join_key:
            raise _unservable(
                version,
                f"it is asked by {model.schema.join_key!r}, this API by "
                f"{self._predictor.join_key!r}",
            )
        candidate = Served(version, model, self._online.plan(model.schema))
        self._warm_up(candidate)
        return candidate

    def _warm_up(self, candidate: Served) -> None:
        """Make every first call here, so that no request pays for it, and see that it answers."""
        version, model = candidate.version, candidate.model
        row = {feature.name: [_plain_value(feature)] for feature in model.schema.features}
        labels, probabilities = model.predict(row)
        label, probability = int(labels[0]), float(probabilities[0])
        if label not in (0, 1) or not 0.0 <= probability <= 1.0 or math.isnan(probability):
            raise _unservable(version, f"it answers label {label}, probability {probability}")
        self._online.read(candidate.plan, ["warm-up"])

    def _refuse(self, version: ModelVersion, error: Exception) -> Refusal:
        if isinstance(error, StreamFlowError):
            problem: StreamFlowError = error
        else:
            problem = _unservable(version, f"{type(error).__name__}: {error}")
            problem.__cause__ = error
        self._tell("model", problem, version)
        if self._predictor.served is None:
            self._predictor.withdraw(problem)
        # A service that was away is asked again at the next look, a bad model more seldom.
        pause = 0.0 if isinstance(problem, ServiceUnavailable) else RETRY_SECONDS
        return Refusal(version, problem, self._monotonic() + pause)

    def _tell(
        self, part: str, error: StreamFlowError | None, version: ModelVersion | None = None
    ) -> None:
        """Log a part's trouble once, however many looks it lasts, and its end."""
        if error is None:
            if self._told.pop(part, None) is not None:
                log(f"{part}_answers_again")
            return
        trouble = f"{error.code} {_identity(version) if version else ''}"
        if self._told.get(part) == trouble:
            return
        self._told[part] = trouble
        event = "model_refused" if version else f"{part}_unavailable"
        log(
            event,
            level="warning",
            code=error.code,
            message=error.message,
            lines=lines_of(error.__cause__ or error),
            model_version=version.version if version else None,
        )


def _identity(version: ModelVersion) -> tuple[str, int, str]:
    return version.name, version.version, version.model_hash


def _plain_value(feature: Feature) -> Any:
    if feature.type == "STRING":
        return feature.categories[0] if feature.categories else None
    return {"INT64": 0, "FLOAT64": 0.0, "BOOL": False}[feature.type]


def _unservable(version: ModelVersion, reason: str) -> UnservableModel:
    return UnservableModel(
        f"Version {version.version} of {version.name!r} can't be served: {reason}.",
        "Promote another version with `streamflow promote`, or `streamflow rollback`.",
    )


def _named(error: Exception, kind: type[ServiceUnavailable], what: str) -> StreamFlowError:
    """The error itself, if it can speak to a user; else one of `kind` in its place."""
    if isinstance(error, StreamFlowError):
        return error
    problem = kind(f"{what} ({type(error).__name__}).", "Look into the log of the API.")
    problem.__cause__ = error
    return problem
