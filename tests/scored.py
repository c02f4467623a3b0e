"""Scorings in tests that are about what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

from psycopg import sql

from streamflow.postgres.database import Database
from streamflow.scores import unfinished
from streamflow.scores.scorings import Scoring
from streamflow.scores.unfinished import ScoringKey


def record_scores(
    database: Database,
    probabilities: Mapping[str, float],
    problems: Mapping[str, str] | None = None,
    *,
    model: str = "streamflow_churn",
    version: int = 1,
    model_hash: str = "a hash",
    run_id: str = "a run",
    stage: str = "Production",
    as_of: date = date(2024, 1, 31),
    known_at: datetime = datetime(2024, 2, 1, tzinfo=UTC),
    scored_at: datetime = datetime(2024, 2, 1, 8, tzinfo=UTC),
) -> Scoring:
    """A finished scoring with these probabilities by entity; others have these problems."""
    key = ScoringKey(model, version, model_hash, as_of, known_at)
    number = unfinished.begin(database, key)
    rows = [
        *((number, one, p, int(p > 0.5), None) for one, p in probabilities.items()),
        *((number, one, None, None, problem) for one, problem in (problems or {}).items()),
    ]
    statement = sql.SQL("COPY streamflow.unfinished_scores FROM STDIN")
    with (
        database.connection() as connection,
        connection.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        for row in rows:
            copy.write_row(row)
    unfinished.finish(database, number, run_id, stage, scored_at, "somebody")
    made = unfinished.finished(database, key)
    assert made is not None
    return made
