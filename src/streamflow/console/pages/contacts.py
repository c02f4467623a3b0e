"""Whom to contact: how many, what that would reach, and the list as a file."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from streamflow.console.access.errors import FieldRefused
from streamflow.console.access.visit import Visit
from streamflow.console.page import Content, Page
from streamflow.console.pages.curve import curve
from streamflow.console.parts import ConsoleParts
from streamflow.console.reading import contacts as reading
from streamflow.console.texts import text
from streamflow.entity_id import LONGEST, RULE, is_id
from streamflow.scores.campaigns.list_file import FORMATS
from streamflow.scores.scorings import NoScoring

MOST_CONTACTS = 10**9
HOLD_OUT_PERCENT = 10
_TYPES = {
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def contacts(parts: ConsoleParts, visit: Visit) -> Page:
    """What contacting so many would reach."""
    entities = parts.use_case.entity_table
    title = text("contacts.title")
    asked = visit.asked_number("contacts", 0, MOST_CONTACTS)
    try:
        plan = reading.plan(parts, asked)
    except NoScoring as none:
        values: dict[str, Any] = {"plan": None, "missing": none}
        return Page("contacts.html", title, values, {"scoring": None, "next": none.next})
    value = parts.use_case.value
    unit = f" {value.unit}" if value is not None and value.unit else ""
    return Page(
        "contacts.html",
        title,
        {
            "plan": plan,
            "value": value,
            "unit": unit,
            "step": max(1, plan.entities // 500),
            "table": plan.curve[1 :: max(1, len(plan.curve) // 10)],
            "plot": _plot(plan, entities),
            "hold_out": HOLD_OUT_PERCENT,
            "formats": FORMATS,
        },
        {
            "scoring": asdict(plan.scoring),
            "entities": plan.entities,
            "months": plan.months,
            "reached": asdict(plan.reached),
            "curve": [asdict(one) for one in plan.curve],
        },
        fragment="plan",
    )


def export(parts: ConsoleParts, visit: Visit) -> Content:
    """The list as a file, recorded under the visitor's name; the same list is the same file."""
    contacts = visit.number("contacts", 1, MOST_CONTACTS)
    hold_out = visit.number("hold_out", 0, 99)
    kind = visit.text("format", 10)
    campaign = visit.text("campaign", LONGEST)
    if contacts is None or hold_out is None:
        raise FieldRefused(text("contacts.no_number"), text("contacts.no_number.next"))
    if kind not in FORMATS:
        raise FieldRefused(text("contacts.no_format"), text("contacts.no_format.next"))
    if campaign and not is_id(campaign):
        raise FieldRefused(
            text("contacts.no_campaign"), text("contacts.no_campaign.next", rule=RULE)
        )
    scoring = reading.plan(parts, None).scoring
    with tempfile.TemporaryDirectory(prefix="streamflow-list-") as folder:
        file = Path(folder) / "list"
        arguments = {
            "as_of": scoring.as_of,
            "top": contacts,
            "hold_out": hold_out,
            "campaign": campaign,
            "kind": kind,
            "file": str(file),
            "who": visit.who,
            "now": visit.now,
        }
        done = parts.jobs.at_once("export", arguments)
        content = file.read_bytes()
    # Nothing that anybody typed is in the name.
    name = f"list-{done['list_id']}-{scoring.as_of}.{kind}"
    return Content(content, _TYPES[kind], name)


def _plot(plan: reading.Plan, entities: str) -> Markup:
    said = text(
        "contacts.plot",
        contacts=f"{plan.reached.contacts:,}",
        entities=entities,
        true=f"{plan.reached.true.value:,.0f}",
    )
    return curve(
        [(one.contacts, one.true) for one in plan.curve],
        (plan.reached.contacts, plan.reached.true),
        said,
    )
