"""The pictures of `docs/benchmarks.md`: StreamFlow in colour, the peers in grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUR_COLOUR, PEER_COLOUR = "#1f6feb", "#9aa4b0"


def save(figure: Figure, file: Path) -> None:
    """Write an SVG; the same figure gives the same bytes."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "bench"}):
        figure.savefig(file, format="svg", metadata={"Date": None}, bbox_inches="tight")


def bars(values: Mapping[str, float], ours: str, unit: str) -> Figure:
    """A bar per value."""
    figure = _figure(8, 0.8 + 0.35 * len(values))
    _bars(figure.subplots(), values, ours, unit)
    return figure


def serving(contestants: Mapping[str, Any], ours: str) -> Figure:
    """Requests per second at the most connections, and the latency of one alone."""
    most = max(next(iter(contestants.values())), key=int)
    figure = _figure(11, 1.2 + 0.35 * len(contestants))
    left, right = figure.subplots(1, 2, sharey=True)
    rates = {name: of_one[most]["per_second"] for name, of_one in contestants.items()}
    _bars(left, rates, ours, f"requests/s, {most} connections (log scale)", logarithmic=True)
    slow = {name: of_one["1"]["p99_ms"] or 0 for name, of_one in contestants.items()}
    _bars(right, slow, ours, "p50 (dark) and p99, ms, 1 connection (log scale)", logarithmic=True)
    for place, of_one in enumerate(contestants.values()):
        right.barh(place, of_one["1"]["p50_ms"] or 0, color="black", alpha=0.35)
    return figure


def lines(
    rows: Sequence[Mapping[str, Any]], sizes: Sequence[str], contestants: Sequence[str], unit: str
) -> Figure:
    """Medians over the first size, a panel for each of the second; ours is the first contestant."""
    along, *apart = sizes
    panels = sorted({row[apart[0]] for row in rows}) if apart else [None]
    figure = _figure(3.6 * len(panels), 3)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        chosen = [row for row in rows if panel is None or row[apart[0]] == panel]
        for number, name in enumerate(contestants):
            measured = [row for row in chosen if row.get(name) is not None]
            axis.plot(
                [row[along] for row in measured],
                [row[name] for row in measured],
                marker="o",
                color=OUR_COLOUR if number == 0 else PEER_COLOUR,
                linestyle=("solid", "solid", "dashed", "dotted")[number % 4],
                label=name,
            )
        axis.set(xscale="log", yscale="log", xlabel=along)
        if panel is not None:
            axis.set_title(f"{apart[0]}: {panel}", fontsize=10)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(unit)
    axes[0].legend(fontsize=8)
    return figure


def soak(result: Mapping[str, Any]) -> Figure:
    """p99 of each window, or its 200s a second around a restart, and memory, over the run."""
    figure = _figure(8, 2.8)
    left, right = figure.subplots(1, 2)
    windows = result["windows"]
    width = result["seconds"] / len(windows)
    unit, seconds = ("seconds", 1) if result["seconds"] < 120 else ("minutes", 60)
    if "restart" in result:
        title, series = "predictions/s", [window["answers"] / width for window in windows]
    else:
        title, series = "p99, ms", [window["p99_ms"] for window in windows]
    middles = [(number + 0.5) * width for number in range(len(windows))]
    times, megabytes = zip(*result["megabytes"], strict=True)
    for axis, what, at, values in (
        (left, title, middles, series),
        (right, "resident memory, MB", times, megabytes),
    ):
        axis.plot([time / seconds for time in at], values, color=OUR_COLOUR)
        axis.set(xlabel=unit, ylim=(0, 1.1 * max(values)))
        axis.set_title(what, fontsize=10)
        axis.grid(alpha=0.3)
    return figure


def _bars(
    axis: Axes, values: Mapping[str, float], ours: str, title: str, logarithmic: bool = False
) -> None:
    colours = [OUR_COLOUR if name == ours else PEER_COLOUR for name in values]
    drawn = axis.barh(list(values), list(values.values()), color=colours)
    if logarithmic:
        axis.set_xscale("log")
    labels = [f"{value:,.0f}" if value >= 100 else f"{value:.2f}" for value in values.values()]
    axis.bar_label(drawn, labels, padding=3, fontsize=8)
    axis.margins(x=0.15)
    if not axis.yaxis_inverted():
        axis.invert_yaxis()
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
