"""Which version a candidate is compared with: the one that answers now."""

from __future__ import annotations

from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.promotion.admission.admitted import last_admitted
from streamflow.registry.records import ModelVersion


def rival(platform: Platform) -> ModelVersion | None:
    """The version that may serve by the recorded changes, whatever is in Production by MLflow;
    where none may, the one that is there by MLflow. None if there is none.

    Raises MlflowUnavailable.
    """
    registry = platform.registry
    admitted = last_admitted(model_history.changes(platform.database, registry.model))
    served = admitted.version if admitted is not None else None
    if served is None:
        there = registry.production()
        served = there.version if there is not None else None
    if served is None:
        return None
    return next((one for one in registry.versions() if one.version == served), None)
