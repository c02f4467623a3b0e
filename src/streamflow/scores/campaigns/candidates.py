"""Who could be on a list: a month's scored entities that haven't left since, and their worth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from streamflow.history import months
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.platform import Platform
from streamflow.postgres.queries import Composable, identifier, subquery
from streamflow.scores.scorings import Scoring
from streamflow.training.served_model import Matrix
from streamflow.use_case import Table


@dataclass(frozen=True)
class Candidates:
    """Entities in the order of their ranks, each array (entities,).

    `column` is the value's column, NaN where it is null or there is no row; None where the use case
    has none. `newest_month` is the one that entities have to be in.
    """

    entities: list[str]
    probabilities: Matrix
    ranks: npt.NDArray[np.int64]
    deciles: npt.NDArray[np.int64]
    column: Matrix | None
    newest_month: date


def candidates(platform: Platform, scoring: Scoring) -> Candidates:
    """The entities that have a score of the scoring and a row in the newest month, as it is known
    now. What they are worth is as it was known when they were scored."""
    use_case = platform.use_case
    value = use_case.value
    newest = max(months.months(platform.database, use_case), default=scoring.as_of)
    history = Table.history_of(use_case.entity_table)
    names = {
        "worth": worth_by_entity(platform, scoring),
        "newest_month": known_rows(platform.database, use_case, history, FOR_EVER),
        "key": identifier(use_case.join_key),
    }
    chunks = platform.database.rows(
        "list_candidates", names, scoring_id=scoring.scoring_id, month=max(newest, scoring.as_of)
    )
    entities = [entity for chunk in chunks for entity in chunk["entities"]]

    def column(name: str) -> Matrix:
        values = [value for chunk in chunks for value in chunk[name]]
        return np.array(values, dtype=np.float64)

    return Candidates(
        entities=entities,
        probabilities=column("probabilities"),
        ranks=column("ranks").astype(np.int64),
        deciles=column("deciles").astype(np.int64),
        column=None if value is None or value.column is None else column("values"),
        newest_month=max(newest, scoring.as_of),
    )


def worth_by_entity(platform: Platform, scoring: Scoring) -> Composable:
    """The value's column by entity, for a FROM clause: of each entity's newest row up to the
    scoring's month, as known when it was scored."""
    use_case, database = platform.use_case, platform.database
    value = use_case.value
    if value is not None and value.column is not None:
        table, _, column = value.column.partition(".")
        history = Table.history_of(table)
        there = database.rows("history_columns", schema=use_case.name, table=history)
        if column in {row["column_name"] for row in there}:
            names = {
                "key": identifier(use_case.join_key),
                "column": identifier(column),
                "history": known_rows(database, use_case, history, scoring.known_at),
            }
            text = database.render(
                "worth_of_scored",
                names,
                scoring_id=scoring.scoring_id,
                as_of=scoring.as_of,
                known_at=scoring.known_at,
            )
            return subquery(f"({text})")
    return subquery(database.render("no_values"))
