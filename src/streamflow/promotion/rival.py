"""Which version a candidate is compared with: the one that answers now."""

from __future__ import annotations

from collections.abc import Sequence

from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.promotion.change import Change
from streamflow.registry.records import ModelVersion
from streamflow.registry.stages import PRODUCTION


def rival(platform: Platform) -> ModelVersion | None:
    """The version that came to Production by our own doing and is still there, whatever was changed
    elsewhere since; else the one that is there by MLflow. None if there is none.

    Raises MlflowUnavailable.
    """
    registry = platform.registry
    served = served_version(model_history.changes(platform.database, registry.model))
    if served is None:
        there = registry.production()
        served = there.version if there is not None else None
    if served is None:
        return None
    return next((one for one in registry.versions() if one.version == served), None)


def served_version(changes: Sequence[Change]) -> int | None:
    """The version in Production by the changes that are our own, oldest first."""
    served = None
    for change in changes:
        if not change.moves or not change.ours:
            continue
        if change.to_stage == PRODUCTION:
            served = change.version
        elif change.version == served:
            served = None
    return served
