"""The road of a row as a picture: inline SVG in two layouts, for wide and for narrow windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from streamflow.console.reading.standing import online_month
from streamflow.console.reading.state import ANSWERS_HOURS, Severity, State
from streamflow.console.rendering import count, figure
from streamflow.console.texts import text

_FEATURES = "/data#features"


@dataclass(frozen=True)
class Station:
    """A place on the road: what it is called, its figure, what is said below it, and its page."""

    name: str
    severity: Severity
    figure: str
    lines: Sequence[str]
    link: str


def stations(state: State, entities: str) -> list[Station]:
    """The stations in the order in which a row meets them."""
    return [
        _month(state, entities),
        _history(state),
        _features(state),
        _production(state),
        _api(state),
        _scores(state, entities),
        _report(state),
    ]


def _station(name: str, severity: Severity, shown: str, lines: Sequence[str], link: str) -> Station:
    return Station(text(f"road.{name}"), severity, shown, lines, link)


def _month(state: State, entities: str) -> Station:
    month = state.month
    if month is None:
        return _station("month", "unknown", text("none"), [text("road.month.none")], "/data")
    lines = [f"{count(month.entities)} {entities}"]
    if month.corrections:
        lines.append(text("road.month.corrections", rows=count(month.corrections)))
    else:
        lines.append(text("road.month.no_corrections"))
    return _station("month", "well", str(month.as_of), lines, "/data")


def _history(state: State) -> Station:
    month = state.month
    if month is None:
        return _station("history", "unknown", text("none"), [], "/data")
    shown = text("road.history.months", months=month.months)
    lines = [text("road.history.rows", rows=count(month.rows))]
    if month.withdrawn:
        lines.append(text("road.history.withdrawn", number=month.withdrawn))
    return _station("history", "well", shown, lines, "/data")


def _features(state: State) -> Station:
    online = online_month(state)
    if online is None:
        nothing = [text("road.features.none")]
        return _station("features", "unknown", text("none"), nothing, _FEATURES)
    behind = state.month is not None and online < state.month.as_of
    views = text("road.features.views", number=len(state.views))
    lines = [views, text("road.features.behind") if behind else text("road.features.newest")]
    return _station("features", "warning" if behind else "well", str(online), lines, _FEATURES)


def _production(state: State) -> Station:
    placed = state.production
    if placed is None:
        severity: Severity = "unknown" if state.month is None else "critical"
        return _station("production", severity, text("none"), [text("road.empty")], "/models")
    lines = []
    if placed.auc is not None:
        lines.append(f"AUC {figure(placed.auc)}")
    if placed.recreated:
        lines.append(text(f"recreated.{placed.recreated}"))
    shown = text("version", number=placed.version)
    different = placed.recreated == "different"
    return _station("production", "warning" if different else "well", shown, lines, "/models")


def _api(state: State) -> Station:
    answers = state.answers
    shown = text("road.api.answers", number=count(answers.answers) + ("+" if answers.most else ""))
    lines = [text("road.api.hours", hours=ANSWERS_HOURS)]
    if answers.problems:
        lines.append(text("road.api.problems", number=count(answers.problems)))
    if state.api is None:
        return _station("api", "unknown", shown, [*lines, text("road.api.down")], "/#answers")
    if not state.api.answers:
        return _station("api", "critical", shown, [*lines, text("road.api.silent")], "/#answers")
    if state.api.mean_seconds is not None:
        lines.append(text("road.api.mean", ms=figure(1000 * state.api.mean_seconds, 1)))
    return _station("api", "well", shown, lines, "/#answers")


def _scores(state: State, entities: str) -> Station:
    scoring = state.scoring
    if scoring is None:
        return _station("scores", "unknown", text("none"), [text("road.scores.none")], "/entities")
    behind = state.month is not None and scoring.as_of < state.month.as_of
    lines = [
        text("road.scores.of", month=scoring.as_of),
        text("road.behind") if behind else text("road.scores.by", number=scoring.version),
    ]
    shown = f"{count(scoring.entities)} {entities}"
    return _station("scores", "warning" if behind else "well", shown, lines, "/entities")


def _report(state: State) -> Station:
    monitored = state.monitored
    if monitored is None:
        return _station("report", "unknown", text("none"), [text("road.report.none")], "/months")
    critical = sum(one.severity == "critical" for one in monitored.alarms)
    severity: Severity = "critical" if critical else "warning" if monitored.alarms else "well"
    number = len(monitored.alarms)
    shown = text("road.report.well") if not number else text("alarms", number=number)
    lines = [
        text("road.report.of", month=monitored.as_of),
        text(f"verdict.{monitored.retraining.verdict}"),
    ]
    return _station("report", severity, shown, lines, "/months")


# The wide layout: stations side by side on one line; the narrow one: below each other.
_STEP, _LEFT, _ROAD, _HEIGHT = 158, 79, 66, 176
_ROW, _NARROW = 92, 348


def road(found: Sequence[Station], staging: str) -> Markup:
    """Both layouts; the style sheet shows one. `staging` is said in the wide one alone."""
    return Markup("").join([_wide(found, staging), _tall(found)])


def _wide(found: Sequence[Station], staging: str) -> Markup:
    width = _STEP * len(found)
    parts = [
        _road_line(_LEFT - 60, _ROAD, width - _LEFT + 60, _ROAD),
    ]
    for place, one in enumerate(found):
        x = _LEFT + place * _STEP
        parts.append(_linked(one, _mark(one, x, _ROAD), _words(one, x, _ROAD, "middle")))
    at = _LEFT + 3 * _STEP
    return _svg("road wide", width, _HEIGHT, [_beside(at, staging), *parts])


def _beside(x: float, staging: str) -> Markup:
    """What waits in Staging, on a track of its own that leads to Production."""
    return Markup(
        '<path class="siding" d="M{} {} H{} C{} {} {} {} {} {}"/>'
        '<text class="detail" text-anchor="end" x="{}" y="15">{}</text>'
    ).format(x - 118, 26, x - 60, x - 30, 26, x - 30, _ROAD, x - 14, _ROAD, x - 40, staging)


def _words(one: Station, x: float, y: float, anchor: str) -> Markup:
    lines = Markup("").join(
        Markup('<text class="detail" text-anchor="{}" x="{}" y="{}">{}</text>').format(
            anchor, x, y + 72 + 17 * number, line
        )
        for number, line in enumerate(one.lines)
    )
    return Markup(
        '<text class="name" text-anchor="{0}" x="{1}" y="{2}">{3}</text>'
        '<text class="figure" text-anchor="{0}" x="{1}" y="{4}">{5}</text>{6}'
    ).format(anchor, x, y + 34, one.name, y + 54, one.figure, lines)


def _tall(found: Sequence[Station]) -> Markup:
    height = _ROW * len(found)
    parts = [_road_line(22, 24, 22, height - 50)]
    for place, one in enumerate(found):
        y = 26 + place * _ROW
        words = _words(one, 52, y - 38, "start")
        parts.append(_linked(one, _mark(one, 22, y), words))
    return _svg("road tall", _NARROW, height, parts)


def _linked(one: Station, mark: Markup, words: Markup) -> Markup:
    said = text(f"severity.{one.severity}")
    return Markup('<a href="{}" aria-label="{}">{}{}</a>').format(
        one.link, ", ".join([f"{one.name}: {one.figure}", *one.lines, said]), mark, words
    )


_GLYPHS = {
    "well": "M-5 0.5 L-1.5 4 L5.5 -4",
    "warning": "M0 -6 V1.5 M0 5 V5.6",
    "critical": "M-4 -4 L4 4 M4 -4 L-4 4",
    "unknown": "M-4.5 0 H4.5",
}


def _mark(one: Station, x: float, y: float) -> Markup:
    return Markup(
        '<g class="mark {}" transform="translate({} {})"><circle r="13"/><path d="{}"/></g>'
    ).format(one.severity, x, y, _GLYPHS[one.severity])


def _road_line(x1: float, y1: float, x2: float, y2: float) -> Markup:
    line = Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    return Markup("").join(line.format(kind, x1, y1, x2, y2) for kind in ("surface", "middle"))


def _svg(kind: str, width: float, height: float, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="{}" role="group" aria-label="{}" viewBox="0 0 {} {}">{}</svg>'
    ).format(kind, text("road.label"), width, height, Markup("").join(parts))
