"""What was loaded, what was corrected, what broke a contract, and what has moved."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any

from streamflow.console.access.errors import FieldRefused, PageNotFound
from streamflow.console.access.visit import Visit
from streamflow.console.page import Page
from streamflow.console.pages.asked_id import asked_id, id_or_nothing
from streamflow.console.parts import ConsoleParts
from streamflow.console.reading import corrections as correcting
from streamflow.console.reading.state import days_behind, online_days
from streamflow.console.reading.violation_files import offending_lines, violation_files
from streamflow.console.texts import text
from streamflow.history.ingestions import recorded_ingestions
from streamflow.monitoring import recorded
from streamflow.pipeline.month.reported import reported_monitoring
from streamflow.reports.page import feature_lines

MOST_INGESTIONS = 50


def data(parts: ConsoleParts, visit: Visit) -> Page:
    """The ingestions, the lists of violations, and the drift of each feature."""
    ingestions = recorded_ingestions(parts.reading, parts.use_case)[: -MOST_INGESTIONS - 1 : -1]
    monitored, drift = None, []
    newest = recorded.newest_month(parts.reading, parts.use_case)
    if newest is not None:
        monitored = recorded.newest(parts.reading, parts.model, newest[0])
        drift = feature_lines(reported_monitoring(monitored))
    views, counted = online_days(parts), [one for one in ingestions if not one.withdrawn_at]
    month = max((one.as_of for one in counted), default=None)
    files = violation_files(parts.platform.settings.home)
    asked = visit.asked("violations", 80)
    return Page(
        "data.html",
        text("data.title"),
        {
            "ingestions": ingestions,
            "months": sorted({one.as_of for one in ingestions}, reverse=True),
            "tables": correcting.history_tables(parts),
            "views": views,
            "behind": days_behind(views, month),
            "monitored": monitored,
            "drift": drift,
            "files": files,
            "asked": asked,
            "lines": offending_lines(parts.platform.settings.home, asked) if asked else [],
        },
        {
            "ingestions": [asdict(one) for one in ingestions],
            "violations": [asdict(one) for one in files],
            "feature_views": views,
        },
    )


def corrections(parts: ConsoleParts, visit: Visit) -> Page:
    """The corrected rows of a table and a month. Raises FieldRefused, PageNotFound."""
    table = _table(parts, visit)
    try:
        as_of = date.fromisoformat(visit.asked("as_of", 10))
    except ValueError:
        raise FieldRefused(text("months.no_day"), text("months.no_day.next")) from None
    after = id_or_nothing(visit, "after")
    found, following = correcting.corrections(parts, table, as_of, after)
    values: dict[str, Any] = {"found": found, "table": table, "as_of": as_of, "after": after}
    return Page(
        "corrections.html",
        text("corrections.title", table=table, month=as_of),
        {**values, "following": following},
        {"corrections": [asdict(one) for one in found], "next_after": following},
    )


def versions(parts: ConsoleParts, visit: Visit) -> Page:
    """What was known of an entity in a table, and when. Raises FieldRefused, PageNotFound."""
    table, entity_id = _table(parts, visit), asked_id(visit)
    found = correcting.known_versions(parts, table, entity_id)
    columns = sorted({name for one in found for name in one.content})
    return Page(
        "versions.html",
        text("versions.title", table=table, id=entity_id),
        {"found": found, "columns": columns, "table": table, "entity_id": entity_id},
        {"versions": [asdict(one) for one in found]},
    )


def _table(parts: ConsoleParts, visit: Visit) -> str:
    table = visit.asked("table", 128)
    if table not in correcting.history_tables(parts):
        raise PageNotFound
    return table
