"""Why a version may not go to Production."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamflow.errors import ModelRefused, StreamFlowError


class GateFailed(ModelRefused):
    """Gates keep the version from Production; `report` is what all of them say, as JSON has it."""

    def __init__(self, message: str, next: str, report: Mapping[str, Any]) -> None:
        super().__init__(message, next)
        self.report = report


class PromotedMeanwhile(ModelRefused):
    """Another version went to Production while the gates were evaluated."""


class NotInProduction(ModelRefused):
    """A rollback was to leave a version that isn't in Production."""


class NotInStaging(ModelRefused):
    """Only the version in Staging can be a canary."""


class NothingToCompare(StreamFlowError):
    """No request was scored by both versions."""
