"""The parts of a claim, each with what was measured: a benchmark tells, it doesn't fail."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def at_least(wanted: float, what: str, measured: float) -> dict[str, Any]:
    return _bar(f"at least {wanted:g} {what}", measured, measured >= wanted)


def at_most(wanted: float, what: str, measured: float) -> dict[str, Any]:
    return _bar(f"at most {wanted:g} {what}", measured, measured <= wanted)


def _bar(text: str, measured: float, met: bool) -> dict[str, Any]:
    return {"bar": text, "measured": measured, "met": met}


def show(bars: Iterable[dict[str, Any]]) -> None:
    for bar in bars:
        print(f"{'met' if bar['met'] else 'NOT MET':<8} {bar['measured']:>10.2f}  {bar['bar']}")
