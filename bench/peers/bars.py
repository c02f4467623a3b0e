"""The parts of a claim, each with the measured value; a bar that isn't met fails no benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def at_least(wanted: float, what: str, measured: float) -> dict[str, Any]:
    """A bar that is met by `wanted` and more."""
    return _bar(f"at least {wanted:g} {what}", measured, measured >= wanted)


def at_most(wanted: float, what: str, measured: float) -> dict[str, Any]:
    """A bar that is met by `wanted` and less."""
    return _bar(f"at most {wanted:g} {what}", measured, measured <= wanted)


def _bar(text: str, measured: float, met: bool) -> dict[str, Any]:
    return {"bar": text, "measured": measured, "met": met}


def show(bars: Iterable[dict[str, Any]]) -> None:
    """Print each bar with the measured value."""
    for bar in bars:
        print(f"{'met' if bar['met'] else 'NOT MET':<8} {bar['measured']:>10.2f}  {bar['bar']}")
