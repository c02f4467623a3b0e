"""A change of a model's stages, as the history has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Kind = Literal[
    "promoted",
    "rolled back",
    "refused",
    "approved",
    "canary started",
    "canary ended",
    "changed elsewhere",
]

# The kinds that change who is in a stage.
MOVES = ("promoted", "rolled back", "changed elsewhere")


@dataclass(frozen=True)
class Change:
    """A change of a model's stages, or of what is known of it.

    `version` is None where the stage is empty now. `replaced` is the version that was in `to_stage`
    before. `model_hash` and `run_id` are empty where they aren't known. `details` becomes JSON.
    """

    kind: Kind
    model: str
    version: int | None
    who: str
    why: str
    at: datetime
    model_hash: str = ""
    run_id: str = ""
    from_stage: str | None = None
    to_stage: str | None = None
    replaced: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def moves(self) -> bool:
        """Whether it changes who is in a stage."""
        return self.kind in MOVES and self.to_stage is not None

    @property
    def ours(self) -> bool:
        """Whether it was made by `streamflow promote` or `rollback`, not elsewhere."""
        return self.kind in ("promoted", "rolled back")


@dataclass(frozen=True)
class Head:
    """The number and the hash of the newest row of a model's history."""

    number: int
    hash: str


@dataclass(frozen=True)
class RecordedChange(Change):
    """A row of the history; `written_at` and `written_by` are what the server says."""

    number: int = 0
    hash: str = ""
    previous_hash: str = ""
    written_at: datetime | None = None
    written_by: str = ""
