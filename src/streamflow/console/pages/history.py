"""Every change of who is in a stage, and whether their chain is whole."""

from __future__ import annotations

from dataclasses import asdict

from streamflow.console.access.visit import Visit
from streamflow.console.page import Page
from streamflow.console.parts import ConsoleParts
from streamflow.console.texts import text
from streamflow.promotion import model_history
from streamflow.promotion.events.delivery import backlog
from streamflow.promotion.lookup.chain import Link, first_bent

MOST_DELIVERIES = 50


def history(parts: ConsoleParts, visit: Visit) -> Page:
    """The history, newest first."""
    changes = model_history.changes(parts.reading, parts.model)
    rows = parts.reading.rows("model_history_links", model=parts.model)
    bent = first_bent([Link(**row) for row in rows])
    deliveries = parts.reading.rows("deliveries", model=parts.model, most=MOST_DELIVERIES)
    waiting = backlog(parts.reading, parts.model).waiting
    return Page(
        "history.html",
        text("history.title"),
        {
            "changes": changes[::-1],
            "bent": bent,
            "deliveries": deliveries,
            "waiting": waiting if parts.platform.settings.webhook_url is not None else None,
        },
        {
            "changes": [asdict(one) for one in changes],
            "whole": bent is None,
            "deliveries": deliveries,
        },
    )
