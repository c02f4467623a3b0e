"""What the watcher's last poll found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from streamflow.errors import StreamFlowError

if TYPE_CHECKING:
    from streamflow.registry.records import ModelVersion


@dataclass(frozen=True)
class Rejection:
    """A version in Production that isn't served, and why. `retry_at` is a monotonic time."""

    version: ModelVersion
    error: StreamFlowError
    retry_at: float


@dataclass(frozen=True)
class WatcherState:
    """The outcome of the last poll, which ended at `polled_at` (UTC); an error of None is none."""

    polled_at: datetime | None = None
    registry_error: StreamFlowError | None = None
    feature_store_error: StreamFlowError | None = None
    rejection: Rejection | None = None
