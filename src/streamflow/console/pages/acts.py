"""The page of an act: what it has told so far, and how it ended."""

from __future__ import annotations

from streamflow.console.access.errors import PageNotFound
from streamflow.console.access.visit import Visit
from streamflow.console.acts.jobs import Job
from streamflow.console.page import Page
from streamflow.console.parts import ConsoleParts
from streamflow.console.texts import text
from streamflow.promotion.gates.result import GATES


def act(parts: ConsoleParts, visit: Visit) -> Page:
    """The act with an id. Raises PageNotFound if the console doesn't know it any more."""
    job = parts.jobs.find(visit.asked("id", 64))
    if job is None:
        raise PageNotFound
    return page_of(job, visit)


def page_of(job: Job, visit: Visit) -> Page:
    """The act as it is now, which the browser asks for again until it is over."""
    evaluated = [one["gate"] for one in job.gates]
    waits = [gate for gate in GATES if gate not in evaluated] if _has_gates(job) else []
    return Page(
        "act.html",
        text(f"act.{job.act}", **job.about),
        {"job": job, "here": visit.address, "waiting": waits},
        {
            "act": job.act,
            "over": job.over,
            "progress": job.lines,
            "gates": job.gates,
            "result": job.result,
            "failed": job.failed.as_dict() if job.failed is not None else None,
        },
        fragment="act",
    )


def _has_gates(job: Job) -> bool:
    """Whether gates are evaluated, and some of them still may be."""
    production = job.act == "promote" and job.about.get("stage") == "Production"
    return production and not job.over
