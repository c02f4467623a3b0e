"""The versions of the registered model, with their figures and what their gates said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streamflow.console.parts import ConsoleParts
from streamflow.promotion import model_history
from streamflow.promotion.change import RecordedChange

FIGURES = ("auc", "average_precision", "log_loss", "brier")


@dataclass(frozen=True)
class Version:
    """A version; `metrics` are those of its training. `gates` are what its newest promotion, or the
    refusal of one, was decided by at `judged_at` (UTC); empty if it was never judged."""

    version: int
    stage: str
    run_id: str
    registered_at: datetime | None
    metrics: Mapping[str, float]
    gates: Sequence[Mapping[str, Any]]
    judged_at: datetime | None
    approved_by: Sequence[str]

    @property
    def stopped_by(self) -> list[str]:
        """The gates that didn't pass and weren't overridden."""
        return [
            one["gate"]
            for one in self.gates
            if one["outcome"] != "passed" and not one.get("override")
        ]


def versions(parts: ConsoleParts) -> list[Version]:
    """All versions, newest first. Those of an MLflow server of its own are the ones that the
    history tells of."""
    changes = model_history.changes(parts.reading, parts.model)
    known: dict[int, dict[str, Any]] = {}
    for change in changes:
        if change.version is not None:
            known[change.version] = {"run_id": change.run_id, "stage": "None"}
            known[change.version] |= {"stage": change.to_stage} if change.moves else {}
    if (
        parts.platform.settings.mlflow_tracking_uri is None
        and parts.reading.row("registry_exists")["exists"]
    ):
        rows = parts.reading.rows("registered_versions", model=parts.model, figures=list(FIGURES))
        known = {row["version"]: row for row in rows}
    for placed in parts.platform.production.placed().versions.values():
        known.setdefault(placed.version, {"run_id": placed.run_id})["stage"] = placed.stage
    return [_version(number, known[number], changes) for number in sorted(known, reverse=True)]


def _version(number: int, row: Mapping[str, Any], changes: Sequence[RecordedChange]) -> Version:
    own = [one for one in changes if one.version == number]
    judged = next((one for one in reversed(own) if one.details.get("gates")), None)
    return Version(
        number,
        row.get("stage") or "None",
        row.get("run_id") or "",
        row.get("registered_at"),
        row.get("metrics") or {},
        judged.details["gates"] if judged is not None else (),
        judged.at if judged is not None else None,
        [one.who for one in own if one.kind == "approved"],
    )
