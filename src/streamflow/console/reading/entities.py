"""The ranked list of a scoring by pages, and what is known of one entity."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from streamflow.console.parts import ConsoleParts
from streamflow.console.reading.history_state import history_state
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.queries import identifier
from streamflow.scores import scorings
from streamflow.scores.scorings import Scoring
from streamflow.use_case import Table

PAGE = 50


@dataclass(frozen=True)
class Filters:
    """Which scores are listed: a part of the id, bounds of the score, a decile, the feature of the
    strongest reason, the text of a value by column as `table.column`. What is None or empty doesn't
    count."""

    part: str = ""
    least: float | None = None
    below: float | None = None
    decile: int | None = None
    reason: str = ""
    segments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ranked:
    """A line of the list; `reason` is the strongest one in words, empty if there is none."""

    entity_id: str
    probability: float
    label: int
    rank: int
    decile: int
    reason: str
    raises: bool


@dataclass(frozen=True)
class Listed:
    """A page of the ranked list; `next_after` is the rank that the next page begins after, None at
    the end. `features` are those that are the strongest reason of many."""

    scoring: Scoring
    rows: Sequence[Ranked]
    next_after: int | None
    features: Sequence[str]


@dataclass(frozen=True)
class MonthScore:
    """An entity's score of a month."""

    scoring_id: int
    as_of: date
    version: int
    probability: float
    label: int
    rank: int
    decile: int
    entities: int
    scored_at: datetime


@dataclass(frozen=True)
class KnownRow:
    """The newest row of an entity in a table of the history. `content` is by column; `as_of` is the
    day that it speaks of, `recorded_at` when it was learned (UTC)."""

    table: str
    as_of: date
    recorded_at: datetime
    ingestion_id: int
    content: Mapping[str, Any]


def listed(parts: ConsoleParts, filters: Filters, after: int) -> Listed:
    """The scores of the newest scoring with a rank above `after`. Raises NoScoring."""
    database = parts.reading
    scoring = scorings.newest(database, parts.use_case)
    number = scoring.scoring_id
    rows = database.rows(
        "scores_by_rank",
        scoring_id=number,
        after=after,
        part=filters.part or None,
        least=filters.least,
        below=filters.below,
        decile=filters.decile,
        reason=filters.reason or None,
        ranks=_ranks(parts, scoring, filters, after),
        most=PAGE + 1,
    )
    shown = rows[:PAGE]
    ids = [row["entity_id"] for row in shown]
    reasons = {
        row["entity_id"]: row
        for row in database.rows("first_reasons", scoring_id=number, entities=ids)
    }
    frequent = database.rows("frequent_reasons", scoring_id=number, last_rank=1000, most=40)
    return Listed(
        scoring,
        [
            Ranked(
                **row,
                reason=reasons.get(row["entity_id"], {}).get("sentence", ""),
                raises=reasons.get(row["entity_id"], {}).get("contribution", 0.0) > 0,
            )
            for row in shown
        ],
        shown[-1]["rank"] if len(rows) > PAGE else None,
        sorted(row["feature"] for row in frequent),
    )


def _ranks(
    parts: ConsoleParts, scoring: Scoring, filters: Filters, after: int
) -> Sequence[int] | None:
    """Ranks above `after` whose entities have all values of the filters' segments, as many as may
    be needed; None without segments."""
    if not filters.segments:
        return None
    first, *others = [_ranks_of(parts, scoring, *one) for one in filters.segments.items()]
    found = sorted(frozenset(first).intersection(*others)) if others else first.tolist()
    found = found[bisect_right(found, after) :]
    return found[: PAGE + 1] if filters == Filters(segments=filters.segments) else found


def _ranks_of(parts: ConsoleParts, scoring: Scoring, segment: str, value: str) -> array[int]:
    """The ranks whose entities had the value, as known when they were scored."""
    database, use_case = parts.reading, parts.use_case
    table, _, column = segment.partition(".")

    def look() -> array[int]:
        names = {
            "history": known_rows(database, use_case, Table.history_of(table), scoring.known_at),
            "key": identifier(use_case.join_key),
            "column": identifier(column),
        }
        row = database.row(
            "segment_ranks",
            names,
            scoring_id=scoring.scoring_id,
            as_of=scoring.as_of,
            known_at=scoring.known_at,
            value=value,
        )
        # Of everybody, whatever the number of values: four bytes each.
        return array("i", row["ranks"])

    question = ("ranks", scoring.scoring_id, segment, value, history_state(parts))
    found: array[int] = parts.cached(question, look)
    return found


def scores_over_months(parts: ConsoleParts, entity_id: str) -> list[MonthScore]:
    """The entity's scores by versions that were in Production then, oldest month first."""
    rows = parts.reading.rows("scores_over_months", model=parts.model, entity_id=entity_id)
    return [MonthScore(**row) for row in rows]


def newest_rows(parts: ConsoleParts, entity_id: str) -> list[KnownRow]:
    """The entity's newest row in each table of the history that counts now."""
    database, use_case = parts.reading, parts.use_case
    found = []
    for table in database.rows("history_tables", schema=use_case.name):
        history = table["table_name"]
        names = {
            "history": known_rows(database, use_case, history, FOR_EVER),
            "key": identifier(use_case.join_key),
        }
        for row in database.rows(
            "newest_known_row", names, key=use_case.join_key, entity_id=entity_id
        ):
            found.append(
                KnownRow(
                    history.removesuffix("_history"),
                    row["as_of"],
                    row["recorded_at"],
                    row["ingestion_id"],
                    row["content"],
                )
            )
    return found


def answers(parts: ConsoleParts, entity_id: str, most: int = 50) -> list[Mapping[str, Any]]:
    """The entity's newest predictions in the log."""
    return list(parts.reading.rows("answers_of", model=parts.model, entity_id=entity_id, most=most))
