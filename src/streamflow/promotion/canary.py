"""The canary: the version in Staging answers a stable share of the entities.

Which canary is on follows from the history of the model: the newest one that was started, if
nothing has ended it since. A version that moves to Production or Staging ends it as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from streamflow.errors import NoProductionModel
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.promotion import model_history
from streamflow.promotion.change import Change
from streamflow.promotion.errors import NotInStaging
from streamflow.promotion.lookup import anchors
from streamflow.registry import stages
from streamflow.serving.challenger.canary import CanaryEnd, CanaryState

BY_ITSELF = "the API"


@dataclass(frozen=True)
class CanarySet:
    """A canary that was started, changed or ended; `changed` is False if it was so already.

    `percent` is the share of the entities that it answers, `percent_before` the one before.
    """

    version: int
    percent: float
    percent_before: float
    why: str
    who: str
    changed: bool


def current(database: Database, model: str) -> CanaryState | None:
    """The canary of the registered model that is on, or None."""
    for row in database.rows("newest_canary", model=model):
        if row["kind"] == "canary started":
            return CanaryState(row["number"], row["version"], row["percent"])
    return None


def set_canary(
    platform: Platform, version: int, percent: float, why: str, who: str, now: datetime
) -> CanarySet:
    """Let the version, which must be in Staging, answer this percentage of the entities; 0 ends it.

    Raises UnknownVersion, NotInStaging, NoProductionModel, MlflowUnavailable.
    """
    database, registry = platform.database, platform.registry
    with database.transaction():
        database.execute("lock_promotion", model=registry.model)
        candidate = registry.version(version)
        on = current(database, registry.model)
        before = on.share if on is not None and on.version == version else 0.0
        if percent and candidate.stage != stages.STAGING:
            raise NotInStaging(
                f"Version {version} is in the stage {candidate.stage}: only the version in Staging "
                "can be a canary.",
                f'Run `streamflow promote {version} --to staging --why "…"` first.',
            )
        if percent and registry.production() is None:
            raise NoProductionModel(registry.model)
        if percent == before:
            return CanarySet(version, percent, before, why, who, changed=False)
        head = model_history.record(
            database,
            model_history.about(
                candidate,
                "canary started" if percent else "canary ended",
                who,
                why,
                now,
                details={"percent": percent, "percent_before": before},
            ),
        )
    anchors.anchor(platform, head)
    return CanarySet(version, percent, before, why, who, changed=True)


@dataclass(frozen=True)
class CanaryHistory:
    """The canaries of one registered model, for the API; `now` returns the time in UTC."""

    database: Database
    model: str
    now: Callable[[], datetime]

    def current(self) -> CanaryState | None:
        """The canary that is on, or None. Raises DatabaseUnavailable."""
        return current(self.database, self.model)

    def end(self, ended: CanaryEnd) -> None:
        """Write down that the canary has ended by itself, unless it is over.

        Raises DatabaseUnavailable.
        """
        with self.database.transaction():
            self.database.execute("lock_promotion", model=self.model)
            if self.current() != ended.canary:
                return
            change = Change(
                "canary ended",
                self.model,
                ended.canary.version,
                BY_ITSELF,
                ended.why,
                self.now(),
                details={
                    "percent": 0,
                    "percent_before": ended.canary.share,
                    "counted": ended.figures,
                },
            )
            model_history.record_noticed(self.database, change)
