"""The report of a month: first whether it is well, then figures and plots, in one file."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.monitoring.alarm import Alarm, Figure
from streamflow.reports.marks import Point, Series, paired_bars, series_over_months
from streamflow.reports.month_report import (
    MonthReport,
    ReportedMonitoring,
    ReportedReason,
    ReportedScores,
    ReportedStep,
)
from streamflow.reports.page import render

NOW = datetime(2024, 4, 1, 8, tzinfo=UTC)
FEBRUARY, MARCH = date(2024, 2, 29), date(2024, 3, 31)
UNIT = Alarm(
    *("unit", "watch_hours_30d", "critical", 0.1, 0.01, "training"),
    "watch_hours_30d: about 10 % of users are 60 times larger: a unit may have changed.",
)
LATE = Alarm("late labels", "labels", "warning", 20, 10, "", "labels: those of <January> are late.")


def feature(name: str, psi: float, compared_with: str = "training") -> Figure:
    shares = [[0.1] * 10, [0.05] * 5 + [0.15] * 5]
    return Figure(
        *("feature", name, compared_with),
        {
            **{"rows": 7000, "rows_before": 7000, "missing": 0.01, "missing_before": 0.0},
            **{"mean": 31.5, "mean_before": 29.25, "psi": psi, "shares": shares},
        },
    )


def auc(value: float, month: str, **more: object) -> dict[str, object]:
    bounds = {"auc": value, "auc_low": value - 0.02, "auc_high": value + 0.02}
    return {"month": month, **bounds, **more}


def monitoring(as_of: date, estimated: float, realized: float, month: str) -> ReportedMonitoring:
    plan = Figure(
        *("feature", "net_service", "training"),
        {
            **{"rows": 7000, "rows_before": 7000, "missing": 0.0, "missing_before": 0.0},
            **{"new": ["Fibre"], "vanished": ["Fiber optic"], "psi": 0.2},
            "categories": ["DSL", "Fiber optic", "Fibre"],
            "shares": [[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]],
        },
    )
    segments = [
        Figure(
            *("quality", f"users with subscriptions.contract_type {one!r}", ""),
            {"month": month, "rows": 900, "auc": 0.8, "share_true": 0.2, "mean_score": 0.21},
        )
        for one in ("Month-to-month", "One year")
    ]
    volume = {"entities": 7000, "entities_before": 7043, "new": 500, "absent": 543}
    table = {"table": "usage_agg_30d", "rows": 6990, "lacking": 10, "rows_before": 7043}
    return ReportedMonitoring(
        as_of=as_of,
        version=3,
        made_at=NOW,
        training_months=[date(2024, 1, 31)],
        month_before=date(2024, 2, 29),
        alarms=[UNIT, LATE],
        figures=[
            feature("avg_session_mins_7d", 0.02),
            feature("watch_hours_30d", 0.31),
            plan,
            feature("watch_hours_30d", 0.29, "month before"),
            Figure(
                *("score", "score", "training"),
                {
                    **{"mean": 0.27, "mean_before": 0.25, "above": 0.2, "above_before": 0.18},
                    **{"psi": 0.03, "psi_by_chance": 0.002},
                },
            ),
            Figure(
                *("quality", "all users", ""),
                auc(realized, month, promised={"auc": 0.84, "auc_low": 0.82, "auc_high": 0.86}),
            ),
            *segments,
            Figure("estimate", "all users", "", auc(estimated, as_of.isoformat(), doubts=[])),
            Figure("data", "users", "", {**volume, "late_labels": ["2024-01-31"]}),
            Figure("data", "usage_agg_30d", "", {**table, "corrected": 3}),
        ],
        verdict="proposed",
        advice="Training again is proposed, and not confirmed by quality or its estimate.",
    )


SCORES = ReportedScores(
    version=3,
    model_hash="c98ba303d2112920146cda4804da58dcbbfa6c08776d386ca4c439df3b7aa239",
    scored_at=NOW,
    known_at=NOW,
    entities=6900,
    departed=43,
    refused={"missing_features": 57},
    mean=0.27,
    label_1=1400,
    counts=[round(900 * 0.85**number) for number in range(20)],
    counts_before=[round(950 * 0.84**number) for number in range(20)],
    deciles=[0.85, 0.62, 0.44, 0.31, 0.22, 0.16, 0.11, 0.08, 0.05, 0.02],
    bands={"high": 900, "medium": 2000, "low": 4000},
)
REPORT = MonthReport(
    use_case="churn",
    model="streamflow_churn",
    as_of=MARCH,
    entities="users",
    label="churn_label",
    monitoring=monitoring(MARCH, 0.81, 0.82, FEBRUARY.isoformat()),
    earlier=[monitoring(FEBRUARY, 0.83, 0.84, "2024-01-31")],
    scores=SCORES,
    reasons=[ReportedReason("monthly_fee", 3000, 5000), ReportedReason("skips_7d", 800, 2100)],
    explained=6900,
    steps=[ReportedStep("ingest", "done", "42,000 rows of 6 tables, 42,000 of them new", NOW)],
)


class Page(HTMLParser):
    """The page's tags, each closed as it was opened, and its words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "circle", "rect", "line", "link", "img", "wbr"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words += data


def page(report: MonthReport) -> Page:
    return Page(render(report))


def test_the_first_lines_say_whether_it_is_well_and_then_each_alarm() -> None:
    words = page(REPORT).words
    first = words[: words.index("Scores")]
    assert "2 alarms were raised, 1 of them critical." in first
    assert first.index(UNIT.sentence) < first.index("those of <January> are late")
    assert REPORT.monitoring is not None
    well = replace(REPORT, monitoring=replace(REPORT.monitoring, alarms=[]))
    assert "It is well: no alarm was raised." in page(well).words
    assert "wasn't monitored" in page(replace(REPORT, monitoring=None)).words


def test_the_advice_is_told_once_and_its_command_is_shown_as_one() -> None:
    assert REPORT.monitoring is not None
    for verdict, advice in (
        ("not needed", "Training again isn't needed: nothing has moved."),
        ("confirmed", "Train again: `streamflow train --as-of DATE`. It is worse."),
    ):
        told = replace(
            REPORT, monitoring=replace(REPORT.monitoring, verdict=verdict, advice=advice)
        )
        words = page(told).words
        assert words.count(advice.replace("`", "")) == 1
        assert words.lower().count("again") == 1
    assert "<span>--as-of</span>" in render(told)


def test_a_feature_with_an_alarm_comes_first_and_says_so_in_words() -> None:
    words = page(REPORT).words
    features = words[words.index("Features") : words.index("Quality")]
    assert features.index("watch_hours_30d critical") < features.index("net_service")
    assert features.index("net_service") < features.index("avg_session_mins_7d")
    assert "new Fibre; vanished Fiber optic" in features


def test_quality_is_told_by_month_promised_realized_and_estimated() -> None:
    words = re.sub(r"\s+", " ", page(REPORT).words)
    assert "2024-02-290.840 (0.820 to 0.860)0.820 (0.800 to 0.840)0.830 (0.810 to 0.850)" in words
    assert "2024-03-31--0.810 (0.790 to 0.830)" in words


def test_the_page_needs_no_other_file_and_has_no_script() -> None:
    html = render(REPORT)
    tags = [tag for tag, _ in page(REPORT).tags]
    assert not {"script", "link", "img", "iframe", "object"} & set(tags)
    assert "url(" not in html
    assert "@import" not in html
    assert "://" not in html
    assert not re.search(r"\son\w+=", html)


def test_each_plot_is_told_in_words_and_each_table_has_a_caption_and_headers() -> None:
    tags = page(REPORT).tags
    plots = [attributes for tag, attributes in tags if tag == "svg"]
    assert len(plots) > 5
    assert all(one["role"] == "img" and one["aria-label"] for one in plots)
    names = [tag for tag, _ in tags]
    assert names.count("table") == names.count("caption") == names.count("thead") > 4
    assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_what_data_says_is_text_and_never_markup() -> None:
    assert "&lt;January&gt;" in render(REPORT)
    hostile = feature('<script>alert("x")</script>', 0.5)
    assert REPORT.monitoring is not None
    changed = replace(REPORT.monitoring, figures=[hostile])
    html = render(replace(REPORT, monitoring=changed, use_case="</title><b>"))
    assert "<script" not in html
    assert "<b>&" not in html


def test_the_same_month_is_the_same_page_but_for_times() -> None:
    later = datetime(2025, 1, 1, tzinfo=UTC)
    assert REPORT.monitoring is not None
    again = replace(
        REPORT,
        monitoring=replace(REPORT.monitoring, made_at=later),
        scores=replace(SCORES, scored_at=later, known_at=later),
        steps=[replace(one, done_at=later) for one in REPORT.steps],
    )

    def without_times(report: MonthReport) -> str:
        return re.sub(r"<time .*?</time>", "", render(report))

    assert render(REPORT) == render(REPORT)
    assert render(again) != render(REPORT)
    assert without_times(again) == without_times(REPORT)


@pytest.mark.parametrize("missing", ["monitoring", "scores", "both"])
def test_a_month_of_which_something_is_not_there_yet_has_a_page(missing: str) -> None:
    nothing: dict[str, None] = {"monitoring": None, "scores": None}
    left = nothing if missing == "both" else {missing: None}
    empty = replace(REPORT, **left, earlier=[], reasons=[], steps=[])  # type: ignore[arg-type]
    assert page(empty).words


SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(SHARES, st.data())
def test_bars_stay_within_the_plot_whatever_the_shares_are(
    now: list[float], data: st.DataObject
) -> None:
    before = data.draw(st.lists(st.floats(0, 1), min_size=len(now), max_size=len(now)))
    drawn = Page(str(paired_bars(now, before, "shares", 200, 64)))
    for tag, attributes in drawn.tags:
        if tag == "rect":
            x, y, width, height = (
                float(attributes[one] or "nan") for one in ("x", "y", "width", "height")
            )
            assert -0.01 <= x <= x + width <= 200.02
            assert -0.01 <= y <= y + height <= 64.02


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=24))
def test_points_stay_within_the_plot_and_a_month_without_one_has_none(
    values: list[float | None],
) -> None:
    points = [
        Point(value) if value is None else Point(value, max(0, value - 0.1), min(1, value + 0.1))
        for value in values
    ]
    months = [f"{number:02}" for number in range(len(values))]
    drawn = str(series_over_months(months, [Series("auc", "realized", points)], "AUC", 360, 190))
    circles = [one for tag, one in Page(drawn).tags if tag == "circle"]
    assert len(circles) == sum(value is not None for value in values)
    for circle in circles:
        assert 34 <= float(circle["cx"] or "nan") <= 354
        assert 0 <= float(circle["cy"] or "nan") <= 168.01
