"""Everyone's scores: the ranked list, and one entity."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import Any

from streamflow.console.access.errors import FieldRefused
from streamflow.console.access.visit import Visit
from streamflow.console.page import Page
from streamflow.console.pages import acts
from streamflow.console.pages.asked_id import asked_id, no_id
from streamflow.console.parts import ConsoleParts
from streamflow.console.reading import entities as reading
from streamflow.console.reading.entities import Filters, MonthScore
from streamflow.console.reading.segments import segment_choices
from streamflow.console.texts import text
from streamflow.reports.marks import Point, Series, series_over_months
from streamflow.scores.one_score import NotScored, UnknownScore, newest_score
from streamflow.scores.scorings import NoScoring

MOST_RANK = 10**12


def ranked(parts: ConsoleParts, visit: Visit) -> Page:
    """The list, highest score first, from after a rank."""
    entities = parts.use_case.entity_table
    title = text("entities.title", entities=entities.capitalize())
    band, reason = visit.asked("band"), visit.asked("reason")
    least, below = _band(parts, band)
    decile = visit.asked_number("decile", 1, 10)
    after = visit.asked_number("after", 0, MOST_RANK) or 0
    segments = segment_choices(parts, visit)
    chosen = {one.column: one.chosen for one in segments if one.chosen}
    filters = Filters(visit.asked("q", 64), least, below, decile, reason, chosen)
    try:
        found = reading.listed(parts, filters, after)
    except NoScoring as none:
        values = {"listed": None, "missing": none}
        return Page("entities.html", title, values, {"scoring": None, "next": none.next})
    query = {"q": filters.part, "band": band, "decile": decile, "reason": reason}
    query |= {one.name: one.chosen for one in segments}
    return Page(
        "entities.html",
        title,
        {
            "listed": found,
            "query": query,
            "bands": list(parts.use_case.risk_bands),
            "after": after,
            "segments": [(one.column, one.name, one.chosen, one.values) for one in segments],
            "label": parts.use_case.label.column,
            "features": sorted({*found.features, *([reason] if reason else [])}),
        },
        {
            "scoring": asdict(found.scoring),
            parts.use_case.entity_table: [asdict(one) for one in found.rows],
            "next_after": found.next_after,
        },
        fragment="list",
    )


def _band(parts: ConsoleParts, name: str) -> tuple[float | None, float | None]:
    """The bounds of a risk band: from its lowest probability to that of the band above."""
    if not name:
        return None, None
    bands = parts.use_case.risk_bands
    if name not in bands:
        raise FieldRefused(
            f"There is no risk band {name[:40]!r}.", "Choose one of those in the list."
        )
    above = [least for least in bands.values() if least > bands[name]]
    return bands[name], min(above, default=None)


def one(parts: ConsoleParts, visit: Visit) -> Page:
    """An entity: its scores, why, and what is known of it. Raises UnknownScore."""
    entity_id = asked_id(visit)
    months = reading.scores_over_months(parts, entity_id)
    rows = reading.newest_rows(parts, entity_id)
    newest, unscored = None, ""
    try:
        newest = newest_score(parts.reading, parts.use_case, entity_id)
    except NotScored as without:
        unscored = text("entity.unscored", reason=without.reason.replace("_", " "))
    except (UnknownScore, NoScoring):
        if not rows:
            raise
        unscored = text("entity.not_scored")
    reasons = list(newest.reasons) if newest is not None else []
    named = {one.feature for one in reasons}
    facts = sorted(
        ((name, content, row) for row in rows for name, content in row.content.items()),
        key=lambda fact: (fact[0] not in named, fact[2].table, fact[0]),
    )
    document: dict[str, Any] = {
        parts.use_case.join_key: entity_id,
        "score": asdict(newest) if newest is not None else None,
        "months": [asdict(month) for month in months],
        "known": [asdict(row) for row in rows],
    }
    return Page(
        "entity.html",
        text("entity.title", key=parts.use_case.join_key, id=entity_id),
        {
            "entity_id": entity_id,
            "key": parts.use_case.join_key,
            "newest": newest,
            "unscored": unscored,
            "reasons": reasons,
            "largest": max((abs(one.contribution) for one in reasons), default=1.0) or 1.0,
            "months": months,
            "plot": _plot(months),
            "facts": facts,
            "named": named,
            "label": parts.use_case.label.column,
        },
        document,
    )


def answers(parts: ConsoleParts, visit: Visit) -> Page:
    """The predictions that were made for an entity."""
    entity_id = asked_id(visit)
    found = reading.answers(parts, entity_id)
    return Page(
        "answers.html",
        text("answers.title", key=parts.use_case.join_key, id=entity_id),
        {"entity_id": entity_id, "key": parts.use_case.join_key, "answers": found},
        {parts.use_case.join_key: entity_id, "answers": found},
    )


def replay(parts: ConsoleParts, visit: Visit) -> Page:
    """Whether an answer comes out again, from the log and from history."""
    request, entity_id = visit.asked("request", 128), asked_id(visit)
    if not request:
        raise no_id()
    question = {"request": request, "entity": entity_id}
    return acts.page_of(parts.jobs.asked("replay", question, question, visit.now), visit)


def _plot(months: list[MonthScore]) -> Any:
    points = [Point(one.probability) for one in months]
    said = ", ".join(f"{one.as_of:%Y-%m} {one.probability:.2f}" for one in months)
    with suppress(ValueError):
        return series_over_months(
            [f"{one.as_of:%y-%m}" for one in months],
            [Series("score", "realized", points)],
            text("entity.plot", scores=said),
            width=560,
            height=190,
        )
    return ""
