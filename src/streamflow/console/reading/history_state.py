"""What changes whenever the history does, by which answers about it are found again."""

from __future__ import annotations

from streamflow.console.parts import ConsoleParts


def history_state(parts: ConsoleParts) -> tuple[int, ...]:
    """Another tuple after each ingestion, withdrawal, and person that is forgotten."""
    row = parts.reading.row("history_state", use_case=parts.use_case.name)
    return tuple(value or 0 for value in row.values())
