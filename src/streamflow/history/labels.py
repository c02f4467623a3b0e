"""When a label can be known: one that was recorded before that is no answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime

from streamflow.errors import LabelsNotMatured
from streamflow.history.as_of import event_timestamp
from streamflow.history.staging import staging_table
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, compared, identifier, one_of, subquery
from streamflow.use_case import Table, UseCase


def matured_at(use_case: UseCase, as_of: date) -> datetime:
    """The moment (UTC) from which on labels of `as_of` can be known."""
    return event_timestamp(as_of) + use_case.label.horizon


def known_labels(database: Database, use_case: UseCase, known_at: datetime) -> Composable:
    """The history of labels for a FROM clause, each true, false or null by the label's rule,
    without what doesn't count at `known_at` (UTC) and without labels that were recorded before they
    could be known.

    A null says that a label isn't known, and may come at any time. Without a horizon, labels come
    with the month itself. Needs an alias.
    """
    label = use_case.label
    rows = labels_as_recorded(database, use_case, known_at)
    if label.positive is None:
        return rows
    if label.comparison is not None:
        rule = compared(label.column, *label.comparison)
    else:
        rule = one_of(label.column, label.positives)
    names = {
        "history": rows,
        "key": identifier(use_case.join_key),
        "label": identifier(label.column),
        "rule": rule,
    }
    return subquery(database.render("labels_by_rule", names))


def labels_as_recorded(database: Database, use_case: UseCase, known_at: datetime) -> Composable:
    """As `known_labels`, with all columns of the label's table, as they came."""
    label = use_case.label
    rows = known_rows(database, use_case, Table.history_of(label.table), known_at)
    if not label.horizon:
        return rows
    names = {"history": rows, "label": identifier(label.column)}
    text = database.render("matured_labels", names, horizon=label.horizon)
    return subquery(text)


def with_label_rule(use_case: UseCase, table: Table) -> Table:
    """The table, whose contract refuses values that the label's rule doesn't speak of."""
    label = use_case.label
    if table.name != label.table or not label.negatives:
        return table
    from pandera.pandas import Check

    spoken_of = [*label.positives, *label.negatives]
    rule = (
        f"a label that the rule speaks of: {_listed(label.positives)} mean yes, "
        f"{_listed(label.negatives)} mean no; for another, write it in Label's positive or negative"
    )
    check = Check(lambda values: values.isin(spoken_of), error=rule)
    checks = [*table.contract.columns[label.column].checks, check]
    return replace(table, contract=table.contract.update_column(label.column, checks=checks))


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(repr, values))


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
