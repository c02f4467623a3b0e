"""How a step reports which part of it begins."""

from __future__ import annotations

from collections.abc import Callable

# Called with a short name of the part that begins.
Progress = Callable[[str], None]


def silent(part: str) -> None:
    """Show no progress."""
