"""The report of a month as one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from streamflow.monitoring.alarm import MONTH_BEFORE, TRAINING, Alarm, Figure
from streamflow.reports.environment import template_environment
from streamflow.reports.marks import Point, Series, paired_bars, series_over_months
from streamflow.reports.month_report import MonthReport, ReportedMonitoring

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = "month.html"
UNKNOWN = "-"


@dataclass(frozen=True)
class FeatureLine:
    """A feature beside what it is compared with; `severity` is that of its worst alarm, empty
    without one."""

    name: str
    psi: float | None
    psi_before: float | None
    missing: float
    missing_before: float
    mean: float | None
    mean_before: float | None
    severity: str
    plot: Markup


@dataclass(frozen=True)
class QualityLine:
    """A month's AUC: promised, by its labels, and estimated before they were there."""

    month: str
    promised: Point
    realized: Point
    estimated: Point
    doubted: bool


def render(report: MonthReport) -> str:
    """The report's HTML. The same report gives the same text."""
    monitoring = report.monitoring
    lines = quality_lines([*report.earlier, *([monitoring] if monitoring else [])])
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            monitoring=monitoring,
            scores=report.scores,
            standing=_standing(report),
            features=feature_lines(monitoring) if monitoring else [],
            vanished=_categories(monitoring) if monitoring else [],
            quality=lines,
            quality_plot=_quality_plot(lines),
            segments=_segments(monitoring) if monitoring else [],
            doubts=_doubts(monitoring) if monitoring else [],
            volume=_volume(monitoring) if monitoring else None,
            tables=_tables(monitoring) if monitoring else [],
            skew=monitoring.of("skew") if monitoring else [],
            scored=monitoring.of("score") if monitoring else [],
            histogram=_histogram(report),
            deciles=_deciles(report),
        )
    )


def _standing(report: MonthReport) -> tuple[str, str]:
    """In a word for the page's colour and in a sentence, whether it is well."""
    if report.monitoring is None:
        return "unknown", "Nobody knows yet whether it is well: the month wasn't monitored."
    alarms = report.monitoring.alarms
    if not alarms:
        return "well", "It is well: no alarm was raised."
    critical = sum(one.severity == "critical" for one in alarms)
    counted = "1 alarm was raised" if len(alarms) == 1 else f"{len(alarms)} alarms were raised"
    if not critical:
        return "warning", f"{counted}, none of them critical."
    return "critical", f"{counted}, {critical} of them critical."


def feature_lines(monitoring: ReportedMonitoring) -> list[FeatureLine]:
    """A line for each feature, those with alarms first, then those that have moved most."""
    training = {one.what: one for one in monitoring.of("feature", TRAINING)}
    before = {one.what: one for one in monitoring.of("feature", MONTH_BEFORE)}
    lines = []
    for name in [*training, *(one for one in before if one not in training)]:
        shown = (training.get(name) or before[name]).figures
        lines.append(
            FeatureLine(
                name,
                training[name].figures.get("psi") if name in training else None,
                before[name].figures.get("psi") if name in before else None,
                shown.get("missing", 0.0),
                shown.get("missing_before", 0.0),
                shown.get("mean"),
                shown.get("mean_before"),
                _worst(one for one in monitoring.alarms if one.what == name),
                _feature_plot(name, shown),
            )
        )
    order = ("critical", "warning", "")
    return sorted(lines, key=lambda one: (order.index(one.severity), -(one.psi or 0.0), one.name))


def _worst(alarms: Iterable[Alarm]) -> str:
    found = {one.severity for one in alarms}
    return next((one for one in ("critical", "warning") if one in found), "")


def _feature_plot(name: str, figures: Any) -> Markup:
    before, now = figures.get("shares") or [[], []]
    categories = figures.get("categories")
    parts = "categories" if categories else "ranges of values"
    alt = f"{name}: shares of {len(now)} {parts} now, and before behind them"
    if categories:
        said = ", ".join(
            f"{category} {100 * share:.0f} % (before {100 * old:.0f} %)"
            for category, share, old in zip(categories[:6], now, before, strict=False)
        )
        alt = f"{name}: {said}"
    return paired_bars(now, before, alt)


def _categories(monitoring: ReportedMonitoring) -> list[Figure]:
    """The features with categories that are new or have vanished since training."""
    return [
        one
        for one in monitoring.of("feature", TRAINING)
        if one.figures.get("new") or one.figures.get("vanished")
    ]


def quality_lines(monitorings: list[ReportedMonitoring]) -> list[QualityLine]:
    """A line for each month with a figure, oldest first; the newest monitoring of each counts."""
    promised: dict[str, Point] = {}
    realized: dict[str, Point] = {}
    estimated: dict[str, Point] = {}
    doubted: set[str] = set()
    for monitoring in monitorings:
        for one in monitoring.of("quality"):
            if not one.what.startswith("all ") or "month" not in one.figures:
                continue
            month = one.figures["month"]
            promised[month] = _point(one.figures.get("promised") or {})
            realized[month] = _point(one.figures)
        for one in monitoring.of("estimate"):
            month = one.figures.get("month", monitoring.as_of.isoformat())
            estimated[month] = _point(one.figures)
            if one.figures.get("doubts"):
                doubted.add(month)
    nothing = Point(None)
    return [
        QualityLine(
            month,
            promised.get(month, nothing),
            realized.get(month, nothing),
            estimated.get(month, nothing),
            month in doubted,
        )
        for month in sorted({*promised, *estimated})
    ]


def _point(figures: Any) -> Point:
    return Point(figures.get("auc"), figures.get("auc_low"), figures.get("auc_high"))


def _quality_plot(lines: list[QualityLine]) -> Markup:
    return series_over_months(
        [one.month[2:7] for one in lines],
        [
            Series("promised", "promised", [Point(one.promised.value) for one in lines]),
            Series("by the labels", "realized", [one.realized for one in lines]),
            Series("estimated", "estimated", [one.estimated for one in lines]),
        ],
        "AUC by month: promised, by the labels, and estimated, as in the table below",
    )


def _segments(monitoring: ReportedMonitoring) -> list[Figure]:
    found = [one for one in monitoring.of("quality") if not one.what.startswith("all ")]
    newest = max((one.figures.get("month", "") for one in found), default="")
    return [one for one in found if one.figures.get("month", "") == newest]


def _doubts(monitoring: ReportedMonitoring) -> list[str]:
    return [said for one in monitoring.of("estimate") for said in one.figures.get("doubts", [])]


def _volume(monitoring: ReportedMonitoring) -> Any:
    return next((one.figures for one in monitoring.of("data") if "entities" in one.figures), None)


def _tables(monitoring: ReportedMonitoring) -> list[Figure]:
    return [one for one in monitoring.of("data") if "table" in one.figures]


def _histogram(report: MonthReport) -> Markup:
    scores = report.scores
    if scores is None or not scores.entities:
        return Markup("")

    def shares(counts: Any) -> list[float]:
        return [count / max(sum(counts), 1) for count in counts]

    return paired_bars(
        shares(scores.counts),
        shares(scores.counts_before) if any(scores.counts_before) else [],
        f"Scores from 0 to 1 in {len(scores.counts)} bins, this month and the one before",
        360,
        120,
    )


def _deciles(report: MonthReport) -> Markup:
    scores = report.scores
    if scores is None or not scores.deciles:
        return Markup("")
    said = ", ".join(f"{one:.2f}" for one in scores.deciles)
    return paired_bars(scores.deciles, [], f"Mean score by tenth, highest first: {said}", 360, 120)


@cache
def _environment() -> Environment:
    return template_environment(
        "streamflow.reports",
        count=_count,
        percent=_percent,
        figure=_figure,
        moment=_moment,
        interval=_interval,
    )


def _count(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def _figure(value: float | None, digits: int = 3) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _interval(point: Point) -> str:
    if point.value is None:
        return UNKNOWN
    if point.low is None or point.high is None:
        return f"{point.value:.3f}"
    return f"{point.value:.3f} ({point.low:.3f} to {point.high:.3f})"


def _moment(value: datetime) -> Markup:
    """A time in UTC; all that differs between two reports of the same month is in such elements."""
    in_utc = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        in_utc.isoformat(), in_utc.strftime("%Y-%m-%d %H:%M UTC")
    )
