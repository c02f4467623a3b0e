"""What months that `run-month` ran have left, for comparison with what others left."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from tests.killing import Place

# What a month leaves, by the tables and without times and numbers of its own.
LEFT = {
    "scores": (
        "SELECT as_of, version, entity_id, probability, label, rank, decile "
        "FROM streamflow.scores JOIN streamflow.scorings USING (scoring_id) ORDER BY 1, 2, 3"
    ),
    "reasons": (
        "SELECT as_of, version, entity_id, position, feature, contribution, sentence "
        "FROM streamflow.reasons JOIN streamflow.scorings USING (scoring_id) ORDER BY 1, 2, 3, 4"
    ),
    "monitored": (
        "SELECT as_of, version, subject, what, compared_with, figures "
        "FROM streamflow.monitored_figures JOIN streamflow.monitorings USING (monitoring_id) "
        "ORDER BY 1, 2, position"
    ),
    "alarms": (
        "SELECT as_of, version, sentence FROM streamflow.alarms "
        "JOIN streamflow.monitorings USING (monitoring_id) ORDER BY 1, 2, position"
    ),
    "history": (
        "SELECT number, kind, version, from_stage, to_stage, replaced, why, model_hash "
        "FROM streamflow.model_history ORDER BY number"
    ),
    "steps": (
        "SELECT as_of, step, outcome, sentence FROM streamflow.month_runs ORDER BY 1, 2, 3, 4"
    ),
    "ingestions": "SELECT as_of FROM streamflow.ingestions ORDER BY 1",
    "unscored": (
        "SELECT as_of, version, entity_id, problem "
        "FROM streamflow.unscored JOIN streamflow.scorings USING (scoring_id) ORDER BY 1, 2, 3"
    ),
    "explanations": (
        "SELECT as_of, version, first_rank, last_rank, scale, base, background, one.refused "
        "FROM streamflow.explanations AS one JOIN streamflow.scorings USING (scoring_id) "
        "ORDER BY 1, 2, 3"
    ),
    "events": (
        "SELECT as_of, version, position FROM streamflow.alarm_events "
        "JOIN streamflow.monitorings USING (monitoring_id) ORDER BY 1, 2, 3"
    ),
    "materialized": (
        "SELECT DISTINCT feature_view, as_of, rows FROM streamflow.materializations "
        "ORDER BY 1, 2, 3"
    ),
    "unfinished": "SELECT model FROM streamflow.unfinished_scorings",
}
# Of history and of the features online: all but when and by which ingestion a row came.
TABLES = (
    "SELECT table_schema, table_name FROM information_schema.tables "
    "WHERE table_schema IN ('churn', 'failures', 'online') AND table_type = 'BASE TABLE'"
)
ITS_OWN = ["recorded_at", "created_timestamp", "ingestion_id"]
ROWS = "SELECT to_jsonb(one) - %s::text[] AS row FROM {} AS one ORDER BY 1"


def left(place: Place) -> dict[str, Any]:
    """The rows that the months have left, with their reports but for times."""
    with psycopg.connect(place.url, row_factory=dict_row) as connection:
        found: dict[str, Any] = {
            name: connection.execute(query).fetchall() for name, query in LEFT.items()
        }
        for table in connection.execute(TABLES).fetchall():
            name = sql.Identifier(table["table_schema"], table["table_name"])
            rows = connection.execute(sql.SQL(ROWS).format(name), [ITS_OWN]).fetchall()
            found[f"{table['table_schema']}.{table['table_name']}"] = rows
    for file in sorted((place.home / "reports").glob("*.html")):
        found[file.name] = re.sub(r"<time .*?</time>", "", file.read_text())
    return found
