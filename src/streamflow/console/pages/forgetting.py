"""Forgetting somebody who asks for it."""

from __future__ import annotations

from streamflow.console.access.errors import FieldRefused
from streamflow.console.access.visit import Visit
from streamflow.console.page import Redirect
from streamflow.console.parts import ConsoleParts
from streamflow.console.texts import text


def forget(parts: ConsoleParts, visit: Visit) -> Redirect:
    """Forget the entity, of which the id is typed again and a reason is given."""
    entity, typed, why = (
        visit.form.get("entity", ""),
        visit.form.get("again", ""),
        visit.text("why"),
    )
    if not entity or typed.strip() != entity:
        raise FieldRefused(text("forget.not_confirmed"), text("forget.not_confirmed.next"))
    if not why:
        raise FieldRefused(text("models.no_why"), text("models.no_why.next"))
    # Of whom it is stays nowhere, not in the act's page either.
    arguments = {"entity": entity, "why": why, "who": visit.who, "now": visit.now}
    job = parts.jobs.begin("forget", arguments, {}, visit.now)
    return Redirect(f"/acts?id={job.job_id}")
