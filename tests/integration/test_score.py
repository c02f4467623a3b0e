"""Everyone of a month scored: the API's answers, whoever is interrupted, and nobody twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests import promoting, tiny_case
from tests.statements import execute

from streamflow.bootstrap import platform, production_predictor
from streamflow.errors import NoAnswer, NoProductionModel
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.registry.mlflow_registry import Registry
from streamflow.scores import chunks, scorings
from streamflow.scores.everyone import score
from streamflow.serving.scoring import Prediction, ScoringRequest
from streamflow.settings import load_settings
from streamflow.use_case import Generation

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
NOW = datetime(2024, 4, 10, 8, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
GONE = "m-0007"
OLD_READING, NEVER_READ = "m-0011", "m-0020"


def without(folder: Path, *machines: str, files: str = "*.csv") -> None:
    """The month's files lack these machines from now on."""
    for file in folder.glob(files):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not any(one in line for one in machines)]
        file.write_text("".join(kept), encoding="utf-8")


@pytest.fixture(scope="module")
def ready(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[..., str],
    prepared_database: str,
) -> Iterator[Platform]:
    """Two months in history and online; a version of January in Production. In February a machine
    is gone, another has January's reading, and a new one was never read."""
    home = tmp_path_factory.mktemp("scored")
    settings = load_settings(
        home=home, database_url=new_database(prepared_database), use_case="tests.tiny_case"
    )
    tiny_case.generate(Generation(home / "months", users=120, months=2, seed=5))
    without(home / "months" / "month_001", GONE)
    without(home / "months" / "month_001", OLD_READING, NEVER_READ, files="readings*")
    without(home / "months" / "month_000", NEVER_READ)
    ruled = replace(tiny_case.use_case, departed_after=timedelta(days=45), acceptance={})
    with platform(settings) as opened:
        one = replace(opened, use_case=ruled)
        for number, as_of in enumerate((JANUARY, FEBRUARY)):
            ingest(one, home / "months" / f"month_{number:03}", as_of, None, NOW, "test")
        apply(one)
        with pytest.raises(NoProductionModel):
            score(one, FEBRUARY, "test", LATER)
        trained = train.train(one, JANUARY, None, 1, NOW)
        promoting.promote(one, trained.version, "Production", "a test", "somebody", NOW)
        materialize(one, FEBRUARY, NOW)
        yield one


def stored(ready: Platform, scoring_id: int) -> tuple[dict[str, tuple[Any, ...]], dict[str, str]]:
    with ready.database.connection() as connection:
        scores = connection.execute(
            "SELECT entity_id, label, probability, rank, decile FROM streamflow.scores "
            "WHERE scoring_id = %s",
            [scoring_id],
        ).fetchall()
        problems = connection.execute(
            "SELECT entity_id, problem FROM streamflow.unscored WHERE scoring_id = %s",
            [scoring_id],
        ).fetchall()
    return (
        {row.pop("entity_id"): tuple(row.values()) for row in scores},
        {row["entity_id"]: row["problem"] for row in problems},
    )


def entities(ready: Platform, as_of: date) -> list[str]:
    query = f'SELECT machine_id FROM "{ready.use_case.name}".machines_history WHERE as_of = %s'
    found = execute(ready.database, query, [as_of]).fetchall()
    return [row["machine_id"] for row in found]


def answers(ready: Platform, ids: list[str]) -> dict[str, Prediction | NoAnswer]:
    requests = [ScoringRequest(one, "request") for one in ids]
    return dict(zip(ids, production_predictor(ready).predict_many(requests, LATER), strict=True))


def test_a_killed_scoring_goes_on_and_has_the_apis_answers_to_the_bit(
    ready: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    scored = chunks.Scorer.scored

    def third_is_killed(scorer: chunks.Scorer, rows: Any) -> Any:
        if len(sizes) == 3:
            raise KeyboardInterrupt
        sizes.append(rows.num_rows)
        return scored(scorer, rows)

    monkeypatch.setattr(chunks, "CHUNK_ROWS", 16)
    monkeypatch.setattr(chunks.Scorer, "scored", third_is_killed)
    with pytest.raises(KeyboardInterrupt):
        score(ready, FEBRUARY, "test", LATER)
    with pytest.raises(scorings.NoScoring):
        scorings.newest(ready.database, ready.use_case)
    with ready.database.connection() as connection:
        row = connection.execute("SELECT count(*) FROM streamflow.unfinished_scores").fetchone()
    assert row is not None
    before = row["count"]
    assert 0 < before <= sum(sizes)
    again: list[int] = []

    def counted(scorer: chunks.Scorer, rows: Any) -> Any:
        again.append(rows.num_rows)
        return scored(scorer, rows)

    monkeypatch.setattr(chunks, "CHUNK_ROWS", 50)  # other chunks than before
    monkeypatch.setattr(chunks.Scorer, "scored", counted)
    done = score(ready, FEBRUARY, "test", LATER)
    ids = entities(ready, FEBRUARY)
    assert sum(again) == len(ids) - before
    scores, problems = stored(ready, done.scoring.scoring_id)
    expected = answers(ready, ids)
    assert {one: found[:2] for one, found in scores.items()} == {
        one: (answer.prediction, answer.probability)
        for one, answer in expected.items()
        if isinstance(answer, Prediction)
    }
    refused = {one: told.code for one, told in expected.items() if isinstance(told, NoAnswer)}
    assert problems == {**refused, GONE: "departed"}
    assert refused == {NEVER_READ: "missing_features"}
    assert OLD_READING in scores
    assert done.scoring.departed == 1
    assert sum(done.scoring.refused.values()) == len(refused)
    assert done.scoring.entities == len(scores) > 100
    order = sorted(scores, key=lambda one: (-scores[one][1], one))
    assert [scores[one][2] for one in order] == list(range(1, len(order) + 1))
    assert {scores[one][3] for one in order} == set(range(1, 11))

    again.clear()
    twice = score(ready, FEBRUARY, "test", LATER + timedelta(days=1))
    assert (twice.scoring, twice.added) == (done.scoring, False)
    assert again == []

    version = scorings.newest(ready.database, ready.use_case).version
    looked_at = score(ready, FEBRUARY, "test", LATER, known_at=LATER, version=version)
    assert looked_at.added
    assert stored(ready, looked_at.scoring.scoring_id) == (scores, problems)


def test_a_version_is_scored_without_mlflow(ready: Platform) -> None:
    # Importing it takes longer than scoring a hundred thousand entities.
    own = ready.registry
    nowhere = Registry("http://127.0.0.1:1", own.model, None, own.cache)
    done = score(replace(ready, registry=nowhere), JANUARY, "test", LATER, known_at=NOW, version=1)
    assert (done.scoring.version, done.scoring.entities) == (1, 119)
