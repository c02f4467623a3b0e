"""The quality of the newest months, as the reports have it."""

from __future__ import annotations

from markupsafe import Markup

from streamflow.console.parts import ConsoleParts
from streamflow.monitoring import recorded
from streamflow.pipeline.month.reported import reported_monitoring
from streamflow.reports.marks import Point, Series, series_over_months
from streamflow.reports.page import QualityLine, quality_lines

MONTHS = 12


def quality_over_months(parts: ConsoleParts) -> tuple[list[QualityLine], Markup]:
    """A line for each of the newest months with a figure, and a plot of them; empty without any."""
    monitored = recorded.months_monitored(parts.reading, parts.model)[-MONTHS:]
    made = [recorded.newest(parts.reading, parts.model, as_of) for as_of in monitored]
    lines = quality_lines([reported_monitoring(one) for one in made])
    plot = series_over_months(
        [one.month[2:7] for one in lines],
        [
            Series("promised", "promised", [Point(one.promised.value) for one in lines]),
            Series("realized", "realized", [one.realized for one in lines]),
            Series("estimated", "estimated", [one.estimated for one in lines]),
        ],
        "AUC by month: promised, by the labels, and estimated, as in the table below",
        width=560,
        height=210,
    )
    return lines, plot
