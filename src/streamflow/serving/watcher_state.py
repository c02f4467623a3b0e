"""What the watcher's last poll found, and what it logged of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from streamflow import log
from streamflow.errors import ServiceUnavailable, StreamFlowError

if TYPE_CHECKING:
    from streamflow.registry.records import ModelVersion


# A rejected version may become servable (`streamflow apply`), but a try costs more than a poll.
RETRY_SECONDS = 3.0
# What takes longer is tried the less often: a large file is read, a process is started.
RETRY_FACTOR = 5.0


@dataclass(frozen=True)
class Rejection:
    """A version in a stage that isn't served, and why. `retry_at` is a monotonic time."""

    version: ModelVersion
    error: StreamFlowError
    retry_at: float

    @classmethod
    def after(
        cls, version: ModelVersion, error: StreamFlowError, seconds: float, now: float
    ) -> Rejection:
        """After a try that took so many seconds, at the monotonic time `now`.

        A service that was down is tried again at the next poll, a bad model less often.
        """
        pause = max(RETRY_SECONDS, RETRY_FACTOR * seconds)
        if isinstance(error, ServiceUnavailable):
            pause = 0.0
        return cls(version, error, now + pause)


@dataclass(frozen=True)
class WatcherState:
    """The outcome of the last poll, which ended at `polled_at` (UTC); an error of None is none.

    `ungated` says why what is in Production isn't served, though it could be. `overrides` are the
    gates in spite of which the version that is served went to Production.
    """

    polled_at: datetime | None = None
    registry_error: StreamFlowError | None = None
    feature_store_error: StreamFlowError | None = None
    rejection: Rejection | None = None
    ungated: StreamFlowError | None = None
    overrides: Sequence[Mapping[str, object]] = ()


# The events of a part's problem and of its end, where they aren't named like the part.
_EVENTS = {"ungated": ("production_ungated", "production_ungated_ended")}


class ProblemLog:
    """What was logged last of each part."""

    def __init__(self) -> None:
        self._logged: dict[str, str] = {}

    def log(
        self, part: str, error: StreamFlowError | None, version: ModelVersion | None = None
    ) -> None:
        """Log a part's problem, unless it is the one that was logged last; and its end."""
        begins, ends = _EVENTS.get(part, (f"{part}_unavailable", f"{part}_answers_again"))
        if error is None:
            if self._logged.pop(part, None) is not None:
                log.info(ends)
            return
        which = version.identity if version else ""
        problem = f"{error.code} {which}"
        if self._logged.get(part) == problem:
            return
        self._logged[part] = problem
        log.warning(
            "model_refused" if version else begins,
            code=error.code,
            message=error.message,
            lines=log.traceback_lines(error.__cause__ or error),
            model_version=version.version if version else None,
        )

    def forget(self, part: str) -> None:
        """The part's problem has ended, which needn't be logged."""
        self._logged.pop(part, None)
