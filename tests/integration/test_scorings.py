"""Scorings in their tables: there only when they are whole, ranked by a total order."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from functools import partial

import pytest
from tests.scored import record_scores
from tests.statements import execute

from streamflow.errors import DatabaseUnavailable
from streamflow.pipeline.withdraw import withdraw
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.scores import scorings, unfinished
from streamflow.scores.one_score import EntityScore, NotScored, Reason, UnknownScore
from streamflow.scores.score_lookup import ScoreLookup
from streamflow.scores.scorings import NoScoring
from streamflow.scores.unfinished import ScoringKey
from streamflow.serving.callbacks import wait_for

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
        scorings.newest(database, ready.use_case, date(2024, 1, 31))
    probabilities = {f"u{number:02}": number % 7 / 10 for number in range(23)}
    made = record_scores(database, probabilities, {"x1": "departed", "x2": "missing_features"})
    assert scorings.newest(database, ready.use_case) == made
    assert (made.entities, made.departed, made.refused) == (23, 1, {"missing_features": 1})
    order = sorted(probabilities, key=lambda one: (-probabilities[one], one))
    assert stored(database, made.scoring_id) == [
        (entity, rank, (rank - 1) * 10 // 23 + 1, int(probabilities[entity] > 0.5))
        for rank, entity in enumerate(order, 1)
    ]
    assert unfinished_scorings(database) == 0


def test_the_planner_knows_how_many_rows_a_new_scoring_has(ready: Platform) -> None:
    database = ready.database
    made = record_scores(database, {f"u{number:03}": number / 500 for number in range(500)}, {})
    with database.connection() as connection:
        (plan,) = connection.execute(
            "EXPLAIN (FORMAT JSON) SELECT FROM streamflow.scores WHERE scoring_id = %s",
            [made.scoring_id],
        ).fetchall()
    assert plan["QUERY PLAN"][0]["Plan"]["Plan Rows"] == 500


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
    assert scorings.newest(database, ready.use_case) == february
    assert scorings.newest(database, ready.use_case, date(2024, 1, 31)) == later != january
    assert scorings.newest(database, ready.use_case, version=2) == looked_at
    with pytest.raises(NoScoring, match="--as-of 2024-01-31 --version 2"):
        scorings.newest(database, ready.use_case, date(2024, 1, 31), 2)


def ingested(ready: Platform, as_of: date, recorded_at: datetime) -> int:
    row = execute(
        ready.database,
        "INSERT INTO streamflow.ingestions "
        "(use_case, as_of, recorded_at, ingested_at, ingested_by, tables) "
        "VALUES (%s, %s, %s, %s, 'test', '{}') RETURNING ingestion_id",
        [ready.use_case.name, as_of, recorded_at, recorded_at],
    ).fetchone()
    assert row is not None
    number: int = row["ingestion_id"]
    return number


def test_a_scoring_of_a_month_that_was_withdrawn_is_not_the_newest(ready: Platform) -> None:
    database, use_case = ready.database, ready.use_case
    january = record_scores(database, {"a": 0.1})
    february = date(2024, 2, 29)
    wrong, corrected = (
        ingested(ready, february, datetime(2024, 3, day, tzinfo=UTC)) for day in (1, 2)
    )
    made = record_scores(
        database, {"a": 0.3}, as_of=february, known_at=datetime(2024, 3, 3, tzinfo=UTC)
    )
    for number, expected in ((wrong, made), (corrected, january)):
        withdraw(ready, number, "another year's", datetime(2024, 3, 4, tzinfo=UTC), "test")
        assert scorings.newest(database, use_case) == expected
        (found,) = looked_up(ready, ["a"])
        assert isinstance(found, EntityScore)
        assert found.scoring == expected
    with pytest.raises(NoScoring):
        scorings.newest(database, use_case, february)
    # What comes later says nothing of what was scored before.
    ingested(ready, february, datetime(2024, 3, 5, tzinfo=UTC))
    assert scorings.newest(database, use_case) == january
    again = record_scores(
        database, {"a": 0.3}, as_of=february, known_at=datetime(2024, 3, 6, tzinfo=UTC)
    )
    assert scorings.newest(database, use_case) == again


def test_a_scoring_of_nobody_is_one(ready: Platform) -> None:
    made = record_scores(ready.database, {}, {"x": "departed"})
    assert (made.entities, made.departed, made.refused) == (0, 1, {})


def looked_up(ready: Platform, *batches: list[str]) -> list[EntityScore | Exception]:
    """What each entity's lookup receives; those of a batch are there at the same time."""

    async def all_of_them() -> list[EntityScore | Exception]:
        lookup = ScoreLookup(ready.database.address, ready.use_case)
        await lookup.open(10.0)
        found: list[EntityScore | Exception] = []
        for entities in batches:
            waiting = [wait_for(partial(lookup.submit, one)) for one in entities]
            found += await asyncio.gather(*waiting, return_exceptions=True)  # type: ignore[arg-type]
        await lookup.close()
        return found

    return asyncio.run(all_of_them())


def test_scores_are_looked_up_in_the_newest_scoring_with_their_reasons(ready: Platform) -> None:
    database = ready.database
    (nothing,) = looked_up(ready, ["a"])
    assert isinstance(nothing, NoScoring)
    record_scores(database, {"a": 0.1, "b": 0.9}, as_of=date(2023, 12, 31))
    made = record_scores(database, {"a": 0.7, "b": 0.2}, {"gone": "departed"})
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO streamflow.reasons (scoring_id, entity_id, position, feature, value, "
            "contribution, background, sentence) VALUES (%(scoring)s, 'a', 2, 'x', null, -0.1, "
            "'2', 'y'), (%(scoring)s, 'a', 1, 'fee', '9.5', 1.5, '2', 'x')",
            {"scoring": made.scoring_id},
        )
    a, again, b, gone, nobody, odd = looked_up(ready, ["a"], ["a", "b", "gone", "nobody", 'o"\\'])
    assert isinstance(a, EntityScore)
    assert (a.scoring, a.probability, a.rank, a.decile, a.label) == (made, 0.7, 1, 1, 1)
    assert a.reasons == (
        Reason(1, "fee", 9.5, 1.5, 2, "x"),
        Reason(2, "x", None, -0.1, 2, "y"),
    )
    assert again == a
    assert isinstance(b, EntityScore)
    assert (b.entity_id, b.rank, b.reasons) == ("b", 2, ())
    assert isinstance(gone, NotScored)
    assert gone.reason == "departed"
    assert [type(one) for one in (nobody, odd)] == [UnknownScore, UnknownScore]
    assert "'nobody'" in str(nobody)


def test_a_lookup_follows_everyone_being_scored_again_and_says_when_it_is_closed(
    ready: Platform,
) -> None:
    database = ready.database
    record_scores(database, {"a": 0.1})

    async def conversation() -> list[float]:
        lookup = ScoreLookup(database.address, ready.use_case)
        await lookup.open(10.0)
        found = [(await wait_for(partial(lookup.submit, "a"))).probability]
        record_scores(database, {"a": 0.3}, as_of=date(2024, 2, 29))
        found.append((await wait_for(partial(lookup.submit, "a"))).probability)
        await lookup.close()
        with pytest.raises(DatabaseUnavailable):
            await wait_for(partial(lookup.submit, "a"))
        return found

    assert asyncio.run(conversation()) == [0.1, 0.3]
