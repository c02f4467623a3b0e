"""What the pages of the console work with."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from streamflow.console.acts.jobs import Jobs
from streamflow.keys.key_sync import KeySync
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.use_case import UseCase

MOST_CACHED = 500


@dataclass(frozen=True)
class ConsoleParts:
    """`platform` is for acts, whose statements take as long as they take; `reading` is for pages,
    and gives up. `host` is where the console listens, `host_names` are further names for it. `now`
    returns the time in UTC. `jobs` does acts that take long. `cache` has by its question what
    can't change. `guide` is the folder of the built documentation, None if there is none.
    """

    platform: Platform
    reading: Database
    keys: KeySync
    host: str
    host_names: frozenset[str]
    now: Callable[[], datetime]
    jobs: Jobs
    guide: Path | None = None
    cache: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def use_case(self) -> UseCase:
        """The use case of the platform."""
        return self.platform.use_case

    def cached(self, question: Hashable, answer: Callable[[], Any]) -> Any:
        """The answer to the question, which is asked once."""
        if question not in self.cache:
            found = answer()
            if len(self.cache) >= MOST_CACHED:
                self.cache.clear()
            self.cache[question] = found
        return self.cache[question]

    @property
    def model(self) -> str:
        """The name of the registered model."""
        return self.platform.use_case.registered_model
