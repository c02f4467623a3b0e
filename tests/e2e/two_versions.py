"""Two versions of the tiny use case's model, as the tests from outside begin."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any

from tests import tiny_case

from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.promotion.promote import Promoted
from streamflow.use_case import Generation

PATIENCE_SECONDS = 60
JANUARY = date(2024, 1, 31)
KNOWN = datetime(2024, 2, 1, 8, tzinfo=UTC)
NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)
MACHINES = 300

# As in `promotion.promote.promote`: platform, version, stage, why, who, now.
Promote = Callable[[Platform, int, str, str, str, datetime], Promoted]


def two_versions(
    ready: Platform,
    promote: Promote,
    stages: Iterable[str] = ("Production",),
    known_at: datetime = KNOWN,
    now: datetime = NOW,
) -> list[int]:
    """Two versions, the first ones of them in these stages, and a month online."""
    home = ready.settings.home
    tiny_case.generate(Generation(home / "months", users=MACHINES, months=1, seed=5))
    ingest(ready, home / "months" / "month_000", JANUARY, None, known_at, "test")
    apply(ready)
    trained = [train.train(ready, JANUARY, None, state, now).version for state in (1, 2)]
    for version, stage in zip(trained, stages, strict=False):
        promote(ready, version, stage, "a test", "test", now)
    materialize(ready, JANUARY, now)
    return trained


def until(true: Callable[[], Any]) -> Any:
    """Wait until it's true; what it returned."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, "it didn't become true in time"
        time.sleep(0.02)
    return found
