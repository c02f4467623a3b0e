"""The versions, their gates, and moving them: each act needs a key with the scope promote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from streamflow.console.access.errors import FieldRefused, PageNotFound
from streamflow.console.access.visit import Visit
from streamflow.console.page import Content, Page, Redirect
from streamflow.console.pages import acts
from streamflow.console.parts import ConsoleParts
from streamflow.console.reading import plots as reading_plots
from streamflow.console.reading.history_state import history_state
from streamflow.console.reading.versions import FIGURES, versions
from streamflow.console.texts import text
from streamflow.promotion import canary as canaries
from streamflow.registry.stages import STAGES

MOST_VERSION = 10**9


def models(parts: ConsoleParts, visit: Visit) -> Page:
    """All versions; the gates of the one that is asked for, else of the newest that was judged."""
    found = versions(parts)
    asked = visit.asked_number("version", 1, MOST_VERSION)
    judged = [one for one in found if one.gates and asked in (None, one.version)]
    shown = next((one for one in found if asked in (None, one.version)), None)
    on = canaries.current(parts.reading, parts.model)
    return Page(
        "models.html",
        text("models.title"),
        {
            "versions": found,
            "figures": FIGURES,
            "judged": judged[0] if judged else None,
            "stages": {name: stage for name, stage in STAGES.items() if name != "none"},
            "shown": shown,
            "plots": reading_plots.plots(parts, shown.run_id) if shown is not None else [],
            "canary": on,
            "production": next((one for one in found if one.stage == "Production"), None),
            "staging": next((one for one in found if one.stage == "Staging"), None),
        },
        {
            "versions": [asdict(one) for one in found],
            "canary": asdict(on) if on is not None else None,
        },
    )


def plot(parts: ConsoleParts, visit: Visit) -> Content:
    """A plot of a version. Raises PageNotFound."""
    version = visit.asked_number("version", 1, MOST_VERSION)
    found = [one.run_id for one in versions(parts) if one.version == version]
    content = reading_plots.plot(parts, found[0], visit.asked("name", 40)) if found else None
    if content is None:
        raise PageNotFound
    return Content(content, "image/png")


def promote(parts: ConsoleParts, visit: Visit) -> Redirect:
    """Begin to move a version to a stage, if its gates let it; its page tells how that goes."""
    version, why = _version(visit), _why(visit)
    stage = STAGES.get(visit.text("to"))
    if stage is None:
        raise FieldRefused(text("models.no_stage"), text("models.no_stage.next"))
    about = {"version": version, "stage": stage}
    return _begun(parts, visit, "promote", {**about, "why": why}, about)


def rollback(parts: ConsoleParts, visit: Visit) -> Redirect:
    """Bring back the version before, from the one that the visitor saw in Production."""
    leaving, why = _version(visit), _why(visit)
    about = {"leaving": leaving}
    return _begun(parts, visit, "rollback", {**about, "why": why}, about)


def approve(parts: ConsoleParts, visit: Visit) -> Redirect:
    """Approve a version, for the gate that asks for a second person."""
    version, why = _version(visit), _why(visit)
    parts.jobs.at_once(
        "approve", {"version": version, "why": why, "who": visit.who, "now": visit.now}
    )
    return Redirect("/history")


def canary(parts: ConsoleParts, visit: Visit) -> Redirect:
    """Let the version in Staging answer a share of the entities; 0 ends it."""
    version, why = _version(visit), _why(visit)
    percent = visit.number("percent", 0, 100)
    if percent is None:
        raise FieldRefused(text("models.no_percent"), text("models.no_percent.next"))
    given = {"version": version, "percent": percent, "why": why}
    parts.jobs.at_once("canary", {**given, "who": visit.who, "now": visit.now})
    return Redirect("/history")


def compare(parts: ConsoleParts, visit: Visit) -> Page:
    """Two versions side by side, on the rows that judge both."""
    first = visit.asked_number("first", 1, MOST_VERSION)
    second = visit.asked_number("second", 1, MOST_VERSION)
    if first is None or second is None or first == second:
        raise FieldRefused(text("compare.which"), text("compare.which.next"))
    question = {"first": first, "second": second, "state": history_state(parts)}
    job = parts.jobs.asked("compare", question, {"first": first, "second": second}, visit.now)
    return acts.page_of(job, visit)


def _begun(
    parts: ConsoleParts,
    visit: Visit,
    act: str,
    arguments: Mapping[str, object],
    about: Mapping[str, object],
) -> Redirect:
    given = {**arguments, "who": visit.who, "now": visit.now}
    job = parts.jobs.begin(act, given, about, visit.now)
    return Redirect(f"/acts?id={job.job_id}", document={"act": job.job_id})


def _version(visit: Visit) -> int:
    found = visit.number("version", 1, MOST_VERSION)
    if found is None:
        raise FieldRefused(text("models.no_version"), text("models.no_version.next"))
    return found


def _why(visit: Visit) -> str:
    why = visit.text("why")
    if not why:
        raise FieldRefused(text("models.no_why"), text("models.no_why.next"))
    return why
