"""The rules about a month's tables: what is late, missing, another month's, or was corrected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

import numpy as np

from streamflow.monitoring.alarm import Alarm, Figure
from streamflow.monitoring.rules.compared import percent
from streamflow.monitoring.statistics.shift import rarer_by_chance
from streamflow.use_case import Monitoring


@dataclass(frozen=True)
class TableFacts:
    """A table in the month. Counts are of entities.

    `rows` have a row, `lacking` of the month's have none; the same of the month before, None
    without one. `corrected` have more than one row. `same_as` is another month with the same rows,
    for the share `same` of those compared; `usually_same` is the greatest share of rows that a
    month had in common with the one before it, None where that isn't known.
    """

    table: str
    rows: int
    lacking: int
    rows_before: int | None = None
    lacking_before: int | None = None
    corrected: int = 0
    same_as: date | None = None
    same: float = 0.0
    usually_same: float | None = None


@dataclass(frozen=True)
class LateLabels:
    """A month whose labels could be known since `due` (UTC), and aren't there."""

    as_of: date
    due: datetime


@dataclass(frozen=True)
class DataFacts:
    """The month's tables. `entities` are in it, `new` of them weren't in the month before, and
    `absent` of that one aren't in it any more; `changes` are the earlier months' changes in the
    number of entities, as shares."""

    as_of: date
    known_at: datetime
    entities: int
    entities_before: int | None
    new: int | None
    absent: int | None
    changes: Sequence[float]
    tables: Sequence[TableFacts]
    late_labels: Sequence[LateLabels]
    month_before: date | None


def data(
    facts: DataFacts, entities: str, level: float, bounds: Monitoring
) -> tuple[list[Figure], list[Alarm]]:
    """The figures of the month and of each table, and the alarms about them."""
    figures = [
        Figure(
            "data",
            entities,
            "",
            {
                "entities": facts.entities,
                "entities_before": facts.entities_before,
                "new": facts.new,
                "absent": facts.absent,
                "late_labels": [str(one.as_of) for one in facts.late_labels],
            },
        )
    ]
    for table in facts.tables:
        document = asdict(table) | {"same_as": table.same_as and str(table.same_as)}
        figures.append(Figure("data", table.table, "", document))
    alarms = [
        *_late_tables(facts),
        *_late_labels(facts, bounds),
        *_another_month(facts, bounds),
        *_volume(facts, entities, level, bounds),
    ]
    late = {one.what for one in alarms if one.rule == "late table"}
    for table in facts.tables:
        if table.table not in late:
            alarms += _missing_rows(table, facts, entities, level, bounds)
            alarms += _corrections(table, facts, entities, bounds)
    return figures, alarms


def _late_tables(facts: DataFacts) -> Iterator[Alarm]:
    for table in facts.tables:
        if facts.entities and not table.rows and table.rows_before:
            yield Alarm(
                "late table",
                table.table,
                "critical",
                1.0,
                1.0,
                "",
                f"{table.table}: no row of {facts.as_of} is there.",
            )


def _late_labels(facts: DataFacts, bounds: Monitoring) -> Iterator[Alarm]:
    for one in facts.late_labels:
        late = facts.known_at - one.due
        if bounds.labels_late is None or late <= bounds.labels_late:
            continue
        yield Alarm(
            "late labels",
            "labels",
            "critical",
            late.total_seconds() / 86_400,
            bounds.labels_late.total_seconds() / 86_400,
            "",
            f"labels: those of {one.as_of} could be known since {one.due:%Y-%m-%d}, and aren't "
            f"there {late.days} days later.",
        )


def _another_month(facts: DataFacts, bounds: Monitoring) -> Iterator[Alarm]:
    bound = bounds.same_rows
    if bound is None:
        return
    same = [one for one in facts.tables if one.same_as is not None and one.same >= bound]
    # A table that seldom changes has the rows of the month before in each month. Where no earlier
    # months tell which ones do, it takes all tables.
    unusual = [one for one in same if one.usually_same is not None and one.usually_same < 0.9]
    if len(same) == len(facts.tables) and facts.tables:
        unusual = same
    for one in unusual:
        yield Alarm(
            "another month's rows",
            one.table,
            "critical",
            one.same,
            bound,
            "",
            f"{one.table}: {percent(one.same)} of the rows are those of {one.same_as}: its file "
            "may be that month's.",
        )


def _volume(facts: DataFacts, entities: str, level: float, bounds: Monitoring) -> Iterator[Alarm]:
    """The number of entities changes by more than the bound, and more than it does otherwise.

    How much it does is told by the changes of earlier months; with fewer than three, by chance in
    who comes and leaves (a Poisson distribution each).
    """
    from scipy.stats import norm

    bound, before = bounds.volume, facts.entities_before
    if bound is None or not before or facts.new is None or facts.absent is None:
        return
    change = facts.entities / before - 1
    if abs(change) < bound:
        return
    if len(facts.changes) >= 3:
        usual = np.asarray(facts.changes)
        if abs(change) <= np.max(np.abs(usual)) + 3 * np.std(usual):
            return
    elif 2 * norm.sf(abs(facts.new - facts.absent) / np.sqrt(facts.new + facts.absent)) > level:
        return
    word = "fewer" if change < 0 else "more"
    yield Alarm(
        "volume",
        entities,
        "critical" if abs(change) >= 0.2 else "warning",
        abs(change),
        bound,
        "month before",
        f"{entities}: there are {facts.entities:,}, {percent(abs(change))} {word} than the "
        f"{before:,} of {facts.month_before}: {facts.absent:,} are absent, {facts.new:,} are new.",
    )


def _missing_rows(
    table: TableFacts, facts: DataFacts, entities: str, level: float, bounds: Monitoring
) -> Iterator[Alarm]:
    bound = bounds.rows
    if bound is None or not facts.entities:
        return
    share = table.lacking / facts.entities
    known = table.lacking_before is not None and bool(facts.entities_before)
    before = (table.lacking_before or 0) if known else 0
    rows_before = (facts.entities_before or 0) if known else facts.entities
    if share - before / rows_before < bound:
        return
    if rarer_by_chance(table.lacking, facts.entities, before, rows_before) > level:
        return
    yield Alarm(
        "missing rows",
        table.table,
        "critical" if share >= 0.2 else "warning",
        share,
        bound,
        "month before" if known else "",
        f"{table.table}: {table.lacking:,} of {facts.entities:,} {entities} have no row "
        f"({percent(share)}), {before:,} had none before.",
    )


def _corrections(
    table: TableFacts, facts: DataFacts, entities: str, bounds: Monitoring
) -> Iterator[Alarm]:
    bound = bounds.corrections
    share = table.corrected / table.rows if table.rows else 0.0
    if bound is None or share < bound:
        return
    yield Alarm(
        "corrections",
        table.table,
        "warning",
        share,
        bound,
        "",
        f"{table.table}: {table.corrected:,} of {table.rows:,} {entities} had their row of "
        f"{facts.as_of} corrected.",
    )
