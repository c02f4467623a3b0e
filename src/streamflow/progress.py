"""How a step reports what it is doing, for those who watch."""

from __future__ import annotations

from collections.abc import Callable

# Called with a few words about the part of the step that begins.
Progress = Callable[[str], None]


def silent(part: str) -> None:
    """Show no progress."""
