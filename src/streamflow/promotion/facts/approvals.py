"""Who trained a version, and who approved it."""

from __future__ import annotations

from streamflow.errors import UnknownRun
from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.promotion.gates.approval import Approval
from streamflow.registry.records import TRAINED_BY_TAG, ModelVersion


def approvals(platform: Platform, version: ModelVersion) -> list[Approval]:
    """The approvals of the version with the model that it has now, oldest first."""
    return [
        Approval(change.who, change.why)
        for change in model_history.changes(platform.database, version.name)
        if change.kind == "approved"
        and (change.version, change.model_hash) == (version.version, version.model_hash)
    ]


def trained_by(platform: Platform, version: ModelVersion) -> str | None:
    """Who trained the version; None if its run doesn't tell. Raises MlflowUnavailable."""
    try:
        return platform.registry.run(version.run_id).tags.get(TRAINED_BY_TAG)
    except UnknownRun:
        return None
