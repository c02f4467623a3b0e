"""The versions, their gates, and moving them: each act needs a key with the scope promote."""

from __future__ import annotations

from dataclasses import asdict

from streamflow.console.access.errors import FieldRefused
from streamflow.console.access.visit import Visit
from streamflow.console.page import Page, Redirect
from streamflow.console.parts import ConsoleParts
from streamflow.console.reading.versions import FIGURES, versions
from streamflow.console.texts import text
from streamflow.promotion import approve as approving
from streamflow.promotion import canary as canaries
from streamflow.promotion import promote as promotion
from streamflow.registry.stages import STAGES

MOST_VERSION = 10**9


def models(parts: ConsoleParts, visit: Visit) -> Page:
    """All versions; the gates of the one that is asked for, else of the newest that was judged."""
    found = versions(parts)
    asked = visit.asked_number("version", 1, MOST_VERSION)
    judged = [one for one in found if one.gates and asked in (None, one.version)]
    on = canaries.current(parts.reading, parts.model)
    return Page(
        "models.html",
        text("models.title"),
        {
            "versions": found,
            "figures": FIGURES,
            "judged": judged[0] if judged else None,
            "stages": {name: stage for name, stage in STAGES.items() if name != "none"},
            "canary": on,
            "production": next((one for one in found if one.stage == "Production"), None),
            "staging": next((one for one in found if one.stage == "Staging"), None),
        },
        {
            "versions": [asdict(one) for one in found],
            "canary": asdict(on) if on is not None else None,
        },
    )


def promote(parts: ConsoleParts, visit: Visit) -> Redirect:
    """Move a version to a stage, if its gates let it. Raises GateFailed and others."""
    version, why = _version(visit), _why(visit)
    stage = STAGES.get(visit.text("to"))
    if stage is None:
        raise FieldRefused(text("models.no_stage"), text("models.no_stage.next"))
    done = promotion.promote(parts.platform, version, stage, why, visit.who, visit.now)
    return Redirect("/history", document=done.as_dict())


def rollback(parts: ConsoleParts, visit: Visit) -> Redirect:
    """Bring back the version before, from the one that the visitor saw in Production."""
    leaving, why = _version(visit), _why(visit)
    done = promotion.rollback(parts.platform, why, visit.who, visit.now, leaving=leaving)
    return Redirect("/history", document=done.as_dict())


def approve(parts: ConsoleParts, visit: Visit) -> Redirect:
    """Approve a version, for the gate that asks for a second person."""
    version, why = _version(visit), _why(visit)
    approving.approve(parts.platform, version, why, visit.who, visit.now)
    return Redirect("/history")


def canary(parts: ConsoleParts, visit: Visit) -> Redirect:
    """Let the version in Staging answer a share of the entities; 0 ends it."""
    version, why = _version(visit), _why(visit)
    percent = visit.number("percent", 0, 100)
    if percent is None:
        raise FieldRefused(text("models.no_percent"), text("models.no_percent.next"))
    canaries.set_canary(parts.platform, version, float(percent), why, visit.who, visit.now)
    return Redirect("/history")


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
