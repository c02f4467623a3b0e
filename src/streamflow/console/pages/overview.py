"""The overview: is it well, the road of a row, and what each station says."""

from __future__ import annotations

from dataclasses import asdict

from streamflow.console.access.visit import Visit
from streamflow.console.page import Page
from streamflow.console.pages import road
from streamflow.console.parts import ConsoleParts
from streamflow.console.reading.quality import quality_over_months
from streamflow.console.reading.standing import standing
from streamflow.console.reading.state import ANSWERS_HOURS, days_behind, state
from streamflow.console.texts import text


def overview(parts: ConsoleParts, visit: Visit) -> Page:
    """Everything's state at one look."""
    found = state(parts)
    stands = standing(found)
    placed = road.stations(found, parts.use_case.entity_table)
    staged = found.staging
    said = (
        text("road.staging", number=staged.version)
        if staged is not None
        else text("road.no_staging")
    )
    quality, plot = quality_over_months(parts)
    month = found.month.as_of if found.month is not None else None
    return Page(
        "overview.html",
        text("overview.title", use_case=parts.use_case.name),
        {
            "state": found,
            "standing": stands,
            "road": road.road(placed, said),
            "hours": ANSWERS_HOURS,
            "quality": quality,
            "quality_plot": plot,
            "views": found.views,
            "behind": days_behind(found.views, month),
        },
        {
            "standing": asdict(stands),
            "stations": [asdict(one) for one in placed],
            "month": asdict(found.month) if found.month is not None else None,
            "feature_views": found.views,
            "production": asdict(found.production) if found.production is not None else None,
            "staging": asdict(staged) if staged is not None else None,
            "answers": asdict(found.answers),
            "at": visit.now,
        },
    )
