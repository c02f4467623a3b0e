"""How many of those whose label comes true are among the first so many of a list, and their worth.

The list is in the order of `export`: by the expected value of a contact, or by probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from streamflow.history.labels import known_labels
from streamflow.history.withdrawals.known_rows import FOR_EVER
from streamflow.platform import Platform
from streamflow.postgres.queries import identifier, subquery
from streamflow.scores.campaigns.candidates import worth_by_entity
from streamflow.scores.scorings import Scoring
from streamflow.training.statistics.shares import Estimate, share
from streamflow.use_case import Table, Value

# Of a list, of equal length.
PARTS = 200


@dataclass(frozen=True)
class Part:
    """A part of a list. Of its `entities`, `labelled` have a label that counts, and of `true` ones
    it came true: their worth together is `worth`, the sum of its squares `squares`. `probability`
    is the sum of all scores, `expected` that of the scores times the worth."""

    entities: int
    labelled: int
    true: int
    worth: float
    squares: float
    probability: float
    expected: float


@dataclass(frozen=True)
class Reached:
    """What contacting `contacts` reaches: `true` of them, whose label comes true; and `value`, in
    the unit of the use case's value, None without one. Both are with their intervals."""

    contacts: int
    true: Estimate
    value: Estimate | None


def parts_of(platform: Platform, scoring: Scoring) -> list[Part]:
    """The parts of the list of a scoring, with the labels of its month that count now."""
    use_case, database = platform.use_case, platform.database
    value, label = use_case.value, use_case.label
    there = {"schema": use_case.name, "table": Table.history_of(label.table)}
    names = {"key": identifier(use_case.join_key), "label": identifier(label.column)}
    if database.rows("history_columns", **there):
        history = known_labels(database, use_case, FOR_EVER)
    else:
        history = subquery(database.render("no_labels", names))
    rows = database.rows(
        "list_parts",
        {**names, "label_history": history, "worth": worth_by_entity(platform, scoring)},
        scoring_id=scoring.scoring_id,
        as_of=scoring.as_of,
        each=1.0 if value is None else value.each,
        months=1.0 if value is None else value.months,
        parts=max(1, min(PARTS, scoring.entities)),
    )
    return [Part(**row) for row in rows]


def reached(
    months: Sequence[Sequence[Part]], contacts: int, of: int, value: Value | None
) -> Reached:
    """What the first `contacts` of a list of `of` entities reach, as in these months together.

    Each month's first entities count up to the same share of its list. The interval is Wilson's of
    all months together (`shares.share`), which is widened to each month's own share, since months
    differ by more than chance.
    """
    fraction = contacts / of if of else 0.0
    sums = [_first(parts, fraction) for parts in months]
    sums = [one for one in sums if one.labelled]
    labelled = sum(one.labelled for one in sums)
    if not contacts or not labelled:
        return Reached(contacts, Estimate(0.0, 0.0, 0.0), None if value is None else _ZERO)
    true = sum(one.true for one in sums)
    found = share(round(true), round(labelled))
    own = [one.true / one.labelled for one in sums]
    found = Estimate(true / labelled, min(found.low, *own), max(found.high, *own))
    return Reached(contacts, _times(found, contacts), _value(found, sums, true, contacts, value))


def by_scores(parts: Sequence[Part], contacts: int, of: int, value: Value | None) -> Reached:
    """As `reached`, by the scores of the list alone; without an interval."""
    found = _first(parts, contacts / of if of else 0.0)
    true = Estimate(found.probability, found.probability, found.probability)
    if value is None:
        return Reached(contacts, true, None)
    brings = value.success * found.expected - value.cost * contacts
    return Reached(contacts, true, Estimate(brings, brings, brings))


_ZERO = Estimate(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class _Sum:
    labelled: float
    true: float
    worth: float
    squares: float
    probability: float
    expected: float


def _first(parts: Sequence[Part], fraction: float) -> _Sum:
    """The sums of the list's first entities, in parts of parts where it ends within one."""
    left = fraction * sum(one.entities for one in parts)
    sums = [0.0] * 6
    for one in parts:
        taken = min(1.0, left / one.entities) if one.entities else 0.0
        given = (one.labelled, one.true, one.worth, one.squares, one.probability, one.expected)
        sums = [before + taken * more for before, more in zip(sums, given, strict=True)]
        left -= one.entities
        if left <= 0:
            break
    return _Sum(*sums)


def _value(
    found: Estimate, sums: Sequence[_Sum], true: float, contacts: int, value: Value | None
) -> Estimate | None:
    """The value of a contact, times the contacts. The share's interval is wider by how much the
    worth of those whose label came true differs."""
    if value is None:
        return None
    cost = value.cost * contacts
    if not true:
        return Estimate(-cost, -cost, -cost)
    worth = sum(one.worth for one in sums) / true
    spread = sum(one.squares for one in sums) / true / worth**2 if worth else 1.0
    wider = math.sqrt(max(spread, 1.0))
    low = max(0.0, found.value - wider * (found.value - found.low))
    high = found.value + wider * (found.high - found.value)
    brings = Estimate(found.value, low, high)
    return _times(brings, contacts * worth * value.success, -cost)


def _times(one: Estimate, factor: float, added: float = 0.0) -> Estimate:
    return Estimate(*(factor * bound + added for bound in (one.value, one.low, one.high)))
