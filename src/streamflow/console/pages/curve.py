"""A curve with its interval as a band and a mark on it, as inline SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from streamflow.training.statistics.shares import Estimate

WIDTH, HEIGHT = 640, 260
_LEFT, _BOTTOM, _TOP, _RIGHT = 56, 26, 10, 12


def curve(
    points: Sequence[tuple[float, Estimate]], here: tuple[float, Estimate], alt: str
) -> Markup:
    """The points from left to right, which begin at 0, and where one is."""
    most_x = max([x for x, _ in points] + [1.0])
    most_y = max([one.high for _, one in points] + [1.0])

    def at(x: float, y: float) -> str:
        across = _LEFT + (WIDTH - _LEFT - _RIGHT) * x / most_x
        down = _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - max(y, 0.0) / most_y)
        return f"{across:.1f} {down:.1f}"

    upper = [at(x, one.high) for x, one in points]
    lower = [at(x, one.low) for x, one in reversed(points)]
    parts = [Markup('<path class="band" d="M{}Z"/>').format(" L".join([*upper, *lower]))]
    for part in (0.5, 1.0):
        x, y = at(0, most_y * part).split()
        parts.append(
            Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
                x, y, WIDTH - _RIGHT, y
            )
        )
        parts.append(_text("end", float(x) - 6, float(y) + 4, f"{most_y * part:,.0f}"))
        x, y = at(most_x * part, 0).split()
        anchor = "end" if part == 1 else "middle"
        parts.append(_text(anchor, float(x), HEIGHT - 8, f"{most_x * part:,.0f}"))
    x, y = at(0, 0).split()
    parts.append(
        Markup('<line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
            x, y, WIDTH - _RIGHT, y
        )
    )
    line = " L".join(at(x, one.value) for x, one in points)
    parts.append(Markup('<path class="line" d="M{}"/>').format(line))
    x, y = at(here[0], here[1].value).split()
    _, low = at(here[0], here[1].low).split()
    _, high = at(here[0], here[1].high).split()
    parts.append(
        Markup('<line class="realized" x1="{0}" y1="{1}" x2="{0}" y2="{2}"/>').format(x, low, high)
    )
    parts.append(Markup('<circle class="realized" cx="{}" cy="{}" r="6"/>').format(x, y))
    return Markup(
        '<svg class="curve" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>'
    ).format(alt, WIDTH, HEIGHT, Markup("").join(parts))


def _text(anchor: str, x: float, y: float, said: str) -> Markup:
    return Markup('<text text-anchor="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(
        anchor, x, y, said
    )
