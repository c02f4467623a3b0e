"""The months that were monitored, and the report of each."""

from __future__ import annotations

from datetime import date

from streamflow.console.access.errors import FieldRefused
from streamflow.console.access.visit import Visit
from streamflow.console.page import Content, Page
from streamflow.console.parts import ConsoleParts
from streamflow.console.texts import text
from streamflow.monitoring import recorded
from streamflow.pipeline.month.reported import month_report
from streamflow.reports.page import render


def months(parts: ConsoleParts, visit: Visit) -> Page:
    """A line per month, newest first."""
    rows = parts.reading.rows("monitored_alarms", model=parts.model)
    return Page("months.html", text("months.title"), {"months": rows}, {"months": rows})


def report(parts: ConsoleParts, visit: Visit) -> Content:
    """The month's report as it is now. Raises NotMonitored, FieldRefused."""
    asked = visit.asked("as_of", 10)
    try:
        as_of = date.fromisoformat(asked)
    except ValueError:
        raise FieldRefused(text("months.no_day"), text("months.no_day.next")) from None
    recorded.newest(parts.reading, parts.model, as_of)
    content = render(month_report(parts.platform, as_of)).encode()
    return Content(content, "text/html", styled=True)
