"""The plots that a version's run has, where its files are in the home."""

from __future__ import annotations

import re
from pathlib import Path

from streamflow.console.parts import ConsoleParts

# In the order in which they are shown.
PLOTS = (
    *("roc_curve", "precision_recall_curve", "calibration"),
    *("confusion_matrix", "feature_importance"),
)
_RUN = re.compile(r"[0-9a-f]{32}")


def plots(parts: ConsoleParts, run_id: str) -> list[str]:
    """The names of the plots that are there; none where MLflow's server keeps the files."""
    return [name for name in PLOTS if (file := _file(parts, run_id, name)) and file.is_file()]


def plot(parts: ConsoleParts, run_id: str, name: str) -> bytes | None:
    """The plot as PNG, None if there is no such plot."""
    file = _file(parts, run_id, name)
    return file.read_bytes() if file is not None and file.is_file() else None


def _file(parts: ConsoleParts, run_id: str, name: str) -> Path | None:
    if _RUN.fullmatch(run_id) is None or name not in PLOTS:
        return None
    return parts.platform.artifacts / run_id / "artifacts" / "plots" / f"{name}.png"
