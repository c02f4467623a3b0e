"""Everyone's scores of a month, as a scoring has them, for tests that are about something else."""

from __future__ import annotations

from datetime import date, datetime

from streamflow.lineage import judged_version
from streamflow.platform import Platform
from streamflow.scores import unfinished
from streamflow.scores.unfinished import ScoringKey
from streamflow.training import judged_rows


def score_month(platform: Platform, version: int, as_of: date, known_at: datetime) -> int:
    """Score the entities of a month that have a label; returns the number of the scoring."""
    registered = platform.registry.version(version)
    judged = judged_version.judged_version(platform, registered)
    table = judged_version.rows_of(platform, judged, [as_of], known_at).table
    table = judged_rows.predictable(table, judged.model.schema).table
    labels, scores = judged_version.scores(judged.model, table)
    key = ScoringKey(registered.name, version, registered.model_hash, as_of, known_at)
    number = unfinished.begin(platform.database, key)
    with platform.database.connection() as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO streamflow.unfinished_scores"
            " (unfinished_id, entity_id, probability, label) VALUES (%s, %s, %s, %s)",
            [
                (number, entity, float(score), int(label))
                for entity, score, label in zip(
                    table.column(0).to_pylist(), scores, labels, strict=True
                )
            ],
        )
    return unfinished.finish(
        platform.database, number, registered.run_id, "Production", known_at, "test"
    )
