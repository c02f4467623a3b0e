"""What the pages of the console work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from streamflow.keys.key_sync import KeySync
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.use_case import UseCase


@dataclass(frozen=True)
class ConsoleParts:
    """`platform` is for acts, whose statements take as long as they take; `reading` is for pages,
    and gives up. `host` is where the console listens, `host_names` are further names for it. `now`
    returns the time in UTC.
    """

    platform: Platform
    reading: Database
    keys: KeySync
    host: str
    host_names: frozenset[str]
    now: Callable[[], datetime]

    @property
    def use_case(self) -> UseCase:
        """The use case of the platform."""
        return self.platform.use_case

    @property
    def model(self) -> str:
        """The name of the registered model."""
        return self.platform.use_case.registered_model
