"""A step of a month: what was done, or why nothing was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

StepName = Literal[
    "ingest",
    "materialize",
    "monitor",
    "train",
    "gates",
    "promote",
    "score",
    "explain",
    "report",
]
Outcome = Literal["done", "not needed", "held off", "refused", "not promoted", "not possible"]


@dataclass(frozen=True)
class Step:
    """How a step ended.

    `sentence` says it in words. `changed` is False where it had been done before. `facts` become
    JSON, and are the same whether the step was done now or before.
    """

    step: StepName
    outcome: Outcome
    sentence: str
    changed: bool
    facts: Mapping[str, Any] = field(default_factory=dict)
