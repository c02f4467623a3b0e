"""Scorings in their tables: there only when they are whole, ranked by a total order."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from tests.scored import record_scores

from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.scores import scorings, unfinished
from streamflow.scores.one_score import NotScored, ScoreReader, UnknownScore
from streamflow.scores.scorings import NoScoring
from streamflow.scores.unfinished import ScoringKey

MODEL = "streamflow_churn"


def stored(database: Database, scoring_id: int) -> list[tuple[object, ...]]:
    with database.connection() as connection:
        found = connection.execute(
            "SELECT entity_id, rank, decile, label FROM streamflow.scores "
            "WHERE scoring_id = %s ORDER BY rank",
            [scoring_id],
        )
        return [tuple(row.values()) for row in found]


def unfinished_scorings(database: Database) -> int:
    with database.connection() as connection:
        return len(connection.execute("SELECT FROM streamflow.unfinished_scorings").fetchall())


def test_a_scoring_is_read_as_it_was_made_and_its_ranks_are_a_total_order(ready: Platform) -> None:
    database = ready.database
    with pytest.raises(NoScoring, match="streamflow score --as-of 2024-01-31"):
        scorings.newest(database, MODEL, date(2024, 1, 31))
    probabilities = {f"u{number:02}": number % 7 / 10 for number in range(23)}
    made = record_scores(database, probabilities, {"x1": "departed", "x2": "missing_features"})
    assert scorings.newest(database, MODEL) == made
    assert (made.entities, made.departed, made.refused) == (23, 1, {"missing_features": 1})
    order = sorted(probabilities, key=lambda one: (-probabilities[one], one))
    assert stored(database, made.scoring_id) == [
        (entity, rank, (rank - 1) * 10 // 23 + 1, int(probabilities[entity] > 0.5))
        for rank, entity in enumerate(order, 1)
    ]
    assert unfinished_scorings(database) == 0


def test_an_unfinished_scoring_is_kept_for_its_key_and_given_up_for_another(
    ready: Platform,
) -> None:
    database = ready.database
    january = ScoringKey(MODEL, 1, "hash", date(2024, 1, 31), datetime(2024, 2, 1, tzinfo=UTC))
    february = ScoringKey(MODEL, 1, "hash", date(2024, 2, 29), datetime(2024, 3, 1, tzinfo=UTC))
    number = unfinished.begin(database, january)
    assert unfinished.begin(database, january) == number
    assert unfinished.finished(database, january) is None
    assert unfinished.begin(database, february) != number
    assert unfinished.begin(database, january) != number
    assert unfinished_scorings(database) == 1


def test_the_newest_scoring_is_of_the_newest_month_by_a_version_that_served(
    ready: Platform,
) -> None:
    database = ready.database
    january = record_scores(database, {"a": 0.1})
    later = record_scores(database, {"a": 0.2}, known_at=datetime(2024, 3, 1, tzinfo=UTC))
    february = record_scores(database, {"a": 0.3}, as_of=date(2024, 2, 29))
    looked_at = record_scores(
        database, {"a": 0.4}, version=2, stage="None", as_of=date(2024, 3, 31)
    )
    assert scorings.newest(database, MODEL) == february
    assert scorings.newest(database, MODEL, date(2024, 1, 31)) == later != january
    assert scorings.newest(database, MODEL, version=2) == looked_at
    with pytest.raises(NoScoring, match="--as-of 2024-01-31 --version 2"):
        scorings.newest(database, MODEL, date(2024, 1, 31), 2)


def test_a_scoring_of_nobody_is_one(ready: Platform) -> None:
    made = record_scores(ready.database, {}, {"x": "departed"})
    assert (made.entities, made.departed, made.refused) == (0, 1, {})


def test_one_score_is_looked_up_in_the_newest_scoring_with_its_reasons(ready: Platform) -> None:
    database = ready.database
    reader = ScoreReader(database, ready.use_case)
    with pytest.raises(NoScoring):
        reader.score("a")
    record_scores(database, {"a": 0.1, "b": 0.9}, as_of=date(2023, 12, 31))
    made = record_scores(database, {"a": 0.7, "b": 0.2}, {"gone": "departed"})
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO streamflow.reasons (scoring_id, entity_id, position, feature, value, "
            "contribution, background, sentence) VALUES (%s, 'a', 1, 'fee', '9.5', 1.5, '2', 'x')",
            [made.scoring_id],
        )
    found = reader.score("a")
    assert (found.scoring, found.rank, found.decile, found.label) == (made, 1, 1, 1)
    assert [(one.feature, one.contribution) for one in found.reasons] == [("fee", 1.5)]
    assert reader.score("b").reasons == ()
    with pytest.raises(NotScored, match="departed"):
        reader.score("gone")
    with pytest.raises(UnknownScore, match="'nobody'"):
        reader.score("nobody")
