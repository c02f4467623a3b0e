"""Plots as inline SVG: small functions whose colours are the page's CSS variables. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Point:
    """A value of a month, with its interval if there is one; None where there is no value."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points in the order of the months; `mark` is the CSS class that draws them."""

    name: str
    mark: str
    points: Sequence[Point]


def paired_bars(
    now: Sequence[float], before: Sequence[float], alt: str, width: int = 200, height: int = 64
) -> Markup:
    """Shares of this month as bars, those that it is compared with as steps behind them."""
    if not now:
        return Markup("")
    top = max([*now, *before, 1e-9])
    step = width / len(now)
    parts = []
    for place, share in enumerate(before):
        tall = height * share / top
        parts.append(_rect("before", place * step, height - tall, step, tall))
    for place, share in enumerate(now):
        tall = height * share / top
        parts.append(_rect("now", place * step + step * 0.2, height - tall, step * 0.6, tall))
    parts.append(_line("axis", 0, height, width, height))
    return _svg(width, height + 1, alt, parts)


def series_over_months(
    months: Sequence[str], series: Sequence[Series], alt: str, width: int = 360, height: int = 190
) -> Markup:
    """Values by month, each series with its own mark, intervals as lines."""
    known = [
        bound
        for one in series
        for point in one.points
        for bound in (point.value, point.low, point.high)
        if bound is not None
    ]
    if not known:
        return Markup("")
    low, high = min(known), max(known)
    margin = max((high - low) * 0.08, 0.01)
    low, high = max(0.0, low - margin), high + margin
    left, bottom, right = 34, 22, 6
    across = (width - left - right) / max(len(months), 1)

    def x(place: int, part: float = 0.5) -> float:
        return left + across * (place + part)

    def y(value: float) -> float:
        return 6 + (height - bottom - 6) * (1 - (value - low) / (high - low))

    parts = []
    for tick in _ticks(low, high):
        parts.append(_line("grid", left, y(tick), width - right, y(tick)))
        parts.append(_text("end", left - 5, y(tick) + 3, f"{tick:.2f}"))
    every = max(1, -(-len(months) // 6))
    for place, month in enumerate(months):
        if (len(months) - 1 - place) % every == 0:
            parts.append(_text("middle", x(place), height - 6, month))
    for number, one in enumerate(series):
        beside = 0.5 + 0.16 * (number - (len(series) - 1) / 2)
        for place, point in enumerate(one.points):
            if point.value is None:
                continue
            at = x(place, beside)
            if point.low is not None and point.high is not None:
                parts.append(_line(one.mark, at, y(point.low), at, y(point.high)))
            parts.append(
                Markup('<circle class="{}" cx="{}" cy="{}" r="3.2"/>').format(
                    one.mark, _number(at), _number(y(point.value))
                )
            )
    return _svg(width, height, alt, parts)


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round values between the two."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
        first = -(-low // step)
        found = [step * (first + number) for number in range(int((high - step * first) / step) + 1)]
        if len(found) <= 6:
            return found
    return [low, high]


def _svg(width: float, height: float, alt: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        alt, _number(width), _number(height), Markup("").join(parts)
    )


def _rect(mark: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        mark, *map(_number, (x, y, width, height))
    )


def _line(mark: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        mark, *map(_number, (x1, y1, x2, y2))
    )


def _text(anchor: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text text-anchor="{}" x="{}" y="{}">{}</text>').format(
        anchor, _number(x), _number(y), text
    )


def _number(value: float) -> str:
    """With at most two decimals, so that the same figure is the same text everywhere."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
