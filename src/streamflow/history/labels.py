"""When a label can be known: one that was recorded before that is no answer."""

from __future__ import annotations

from datetime import date, datetime

from streamflow.errors import LabelsNotMatured
from streamflow.history.as_of import event_timestamp
from streamflow.history.staging import staging_table
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, identifier, subquery
from streamflow.use_case import Table, UseCase


def matured_at(use_case: UseCase, as_of: date) -> datetime:
    """The moment (UTC) from which on labels of `as_of` can be known."""
    return event_timestamp(as_of) + use_case.label.horizon


def known_labels(database: Database, use_case: UseCase, known_at: datetime) -> Composable:
    """The history of labels for a FROM clause, without what doesn't count at `known_at` (UTC) and
    without labels that were recorded before they could be known.

    A null says that a label isn't known, and may come at any time. Without a horizon, labels come
    with the month itself. Needs an alias.
    """
    label = use_case.label
    rows = known_rows(database, use_case, Table.history_of(label.table), known_at)
    if not label.horizon:
        return rows
    names = {"history": rows, "label": identifier(label.column)}
    text = database.render("matured_labels", names, horizon=label.horizon)
    return subquery(text)


def require_matured(
    database: Database, use_case: UseCase, as_of: date, recorded_at: datetime
) -> None:
    """Raise LabelsNotMatured if staged labels would be recorded before they can be known."""
    label, moment = use_case.label, matured_at(use_case, as_of)
    if not label.horizon or recorded_at >= moment:
        return
    names = {"staging": staging_table(label.table), "label": identifier(label.column)}
    labels = database.row("count_staged_labels", names)["labels"]
    if labels:
        raise LabelsNotMatured(
            f"{labels:,} label(s) of AS_OF {as_of} can be known from {moment.isoformat()} on, "
            f"{label.horizon.days} days after it; they would be recorded at "
            f"{recorded_at.isoformat()}.",
            f"Load them then, and the other tables now: without the file of {label.table}, by "
            f"Table({label.table!r}, …, arrives_later=True); or with --recorded-at, if they came "
            "later.",
        )
