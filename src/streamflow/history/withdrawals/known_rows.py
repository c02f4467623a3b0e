"""The rows of history that count at a moment: those that weren't withdrawn by then.

A row doesn't count any more once its ingestion is withdrawn, or once a complete file that was
recorded later hadn't its entity.
"""

from __future__ import annotations

from datetime import UTC, datetime

from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, composed, identifier, literal, subquery
from streamflow.use_case import UseCase

# Known at this moment is what was never withdrawn.
FOR_EVER = datetime.max.replace(tzinfo=UTC)


def known_condition(
    database: Database, use_case: UseCase, history: str, known_at: datetime
) -> str | None:
    """A condition in SQL that a row named `known` of the history table counts at `known_at` (UTC).

    None if nothing was ever withdrawn from that table: then all of its rows count.
    """
    withdrawn = database.row("withdrawn", use_case=use_case.name)
    names = {"key": identifier(use_case.join_key)}
    parts = []
    if withdrawn["ingestions"]:
        parts.append(database.render("not_withdrawn", known_at=known_at))
    if history in withdrawn["histories"]:
        parts.append(
            database.render(
                "not_absent", names, use_case=use_case.name, history=history, known_at=known_at
            )
        )
    return " AND ".join(parts) or None


def month_stands(use_case: str, made: str) -> Composable:
    """A condition in SQL that a row of the table `made`, with an `as_of` and a `known_at`, is of a
    month of which not all that was known then has been withdrawn."""
    names = {"use_case": literal(use_case), "made": identifier(made)}
    return composed("month_stands", names)


def known_rows(
    database: Database,
    use_case: UseCase,
    history: str,
    known_at: datetime,
    rows: Composable | None = None,
) -> Composable:
    """The history table for a FROM clause, without what doesn't count at `known_at` (UTC).

    It may have rows that were recorded later. `rows` is a query of the table in place of it, with
    its key, times and ingestion_id. Needs an alias.
    """
    rows = rows or identifier(use_case.name, history)
    condition = known_condition(database, use_case, history, known_at)
    if condition is None:
        return rows
    names = {"history": rows, "condition": subquery(condition)}
    return subquery(database.render("known_rows", names))
