"""What contacting the first so many would reach, by the months whose labels have matured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from streamflow.console.parts import ConsoleParts
from streamflow.console.reading.history_state import history_state
from streamflow.history.labels import known_labels
from streamflow.history.withdrawals.known_rows import FOR_EVER
from streamflow.postgres.queries import identifier
from streamflow.scores import scorings
from streamflow.scores.campaigns.reached import Part, Reached, by_scores, parts_of, reached
from streamflow.scores.scorings import Scoring
from streamflow.use_case import Table

# The newest ones say most of the next; each costs a look at everybody.
MOST_MONTHS = 6
POINTS = 40


@dataclass(frozen=True)
class Plan:
    """Contacting `reached.contacts` of the `entities` that could be, in the order of the list.

    `months` are those whose labels it is judged by; where there are none it is by the scores alone.
    `curve` has the same for more and more contacts, up to all.
    """

    scoring: Scoring
    entities: int
    months: Sequence[date]
    reached: Reached
    curve: Sequence[Reached]


def plan(parts: ConsoleParts, contacts: int | None) -> Plan:
    """The plan for so many contacts, by default a twentieth of all. Raises NoScoring."""
    scoring = scorings.newest(parts.reading, parts.use_case)
    of, value = scoring.entities, parts.use_case.value
    chosen = min(max(1, round(of / 20)) if contacts is None else contacts, of)
    months = _months(parts)
    steps = sorted({round(of * step / POINTS) for step in range(POINTS + 1)})
    if months:
        found = list(months.values())
        curve = [reached(found, step, of, value) for step in steps]
        here = reached(found, chosen, of, value)
    else:
        own = _parts(parts, scoring)
        curve = [by_scores(own, step, of, value) for step in steps]
        here = by_scores(own, chosen, of, value)
    return Plan(scoring, of, sorted(months), here, curve)


def _months(parts: ConsoleParts) -> dict[date, list[Part]]:
    """The newest months with labels that their version didn't learn from."""
    found: dict[date, list[Part]] = {}
    for row in parts.reading.rows("scorings_by_month", model=parts.model, most=4 * MOST_MONTHS):
        learned = row.pop("training_months")
        scoring = Scoring(**row)
        # What a version has learned it knows better than what comes.
        if learned is None or scoring.as_of in learned or not _has_labels(parts, scoring.as_of):
            continue
        found[scoring.as_of] = _parts(parts, scoring)
        if len(found) == MOST_MONTHS:
            break
    return found


def _parts(parts: ConsoleParts, scoring: Scoring) -> list[Part]:
    question = ("list parts", scoring.scoring_id, history_state(parts))
    found: list[Part] = parts.cached(question, lambda: parts_of(parts.platform, scoring))
    return found


def _has_labels(parts: ConsoleParts, as_of: date) -> bool:
    use_case, database = parts.use_case, parts.reading
    label = use_case.label

    def look() -> bool:
        there = {"schema": use_case.name, "table": Table.history_of(label.table)}
        if not database.rows("history_columns", **there):
            return False
        names = {
            "label_history": known_labels(database, use_case, FOR_EVER),
            "label": identifier(label.column),
        }
        row = database.row("label_exists", names, as_of=as_of, known_at=FOR_EVER)
        return bool(next(iter(row.values())))

    found: bool = parts.cached(("labels", as_of, history_state(parts)), look)
    return found
