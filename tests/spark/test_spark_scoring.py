"""Everyone scored by Spark's executors: the same bits, whatever is killed, and nobody twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.changing_case import month
from tests.engine_story import (
    FEBRUARY,
    JANUARY,
    NOW,
    Story,
    day,
    new_story,
    opened,
)
from tests.spark.cluster import Cluster, Gate
from tests.statements import execute

from churn.model import lightgbm, logistic_regression, xgboost
from streamflow.errors import FeatureStoreUnavailable
from streamflow.pipeline import train
from streamflow.platform import Platform
from streamflow.scores import executors, spark_scoring
from streamflow.scores.everyone import score

pytestmark = pytest.mark.usefixtures("without_plots", "spark")

MODELS = {"logistic_regression": logistic_regression, "lightgbm": lightgbm, "xgboost": xgboost}


@pytest.fixture
def story(ready: Platform, tmp_path: Path) -> Story:
    """A February that was corrected in part."""
    told = new_story(ready, tmp_path / "files")
    readings = month(told.shape, 6)["readings"]
    told.load({"readings": readings[:-3]}, 2, FEBRUARY)
    return told


def trained(ready: Platform, model: str | None = None) -> int:
    models = {**ready.use_case.models, **MODELS}
    able = replace(ready, use_case=replace(ready.use_case, models=models))
    return int(train.train(able, JANUARY, model, 7, NOW, known_at=day(0)).version or 0)


def scores(ready: Platform, number: int) -> list[tuple[Any, ...]]:
    """The scores, and who has none and why, of a scoring."""
    found = execute(
        ready.database,
        "SELECT entity_id, float8send(probability) AS bits, label, rank, decile, NULL AS problem "
        f"FROM streamflow.scores WHERE scoring_id = {number} UNION ALL "
        "SELECT entity_id, NULL, NULL, NULL, NULL, problem "
        f"FROM streamflow.unscored WHERE scoring_id = {number} ORDER BY 1",
    )
    return [tuple(row.values()) for row in found]


@pytest.mark.parametrize("model", MODELS)
def test_executors_score_to_the_bit_as_this_process_does(
    story: Story, cluster: Cluster, model: str
) -> None:
    version = trained(story.ready, model)
    with opened(story.ready, "spark", spark_remote=cluster.url) as other:
        # Another moment of knowing is another scoring.
        found = [
            scores(
                one,
                score(
                    one, FEBRUARY, "ann", NOW, known_at=known, version=version
                ).scoring.scoring_id,
            )
            for one, known in ((story.ready, day(3)), (other, day(4)))
        ]
    assert found[0] == found[1]
    assert len(found[0]) > 20


def test_a_worker_that_is_killed_in_the_middle_of_a_scoring_changes_nothing(
    story: Story, cluster: Cluster, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = trained(story.ready)
    whole = spark_scoring.month_rows.month_frame

    def gated(*arguments: Any) -> tuple[Any, int]:
        frame, rows = whole(*arguments)
        return gate.in_front_of(frame.repartition(4)), rows

    with opened(story.ready, "spark", spark_remote=cluster.url) as other:
        before = score(other, FEBRUARY, "ann", NOW, known_at=day(3), version=version)
        monkeypatch.setattr(spark_scoring.month_rows, "month_frame", gated)
        with cluster.killing_a_worker(gate) as killed:
            after = score(other, FEBRUARY, "ann", NOW, known_at=day(4), version=version)
        assert killed in (["first"], ["second"])
        assert scores(other, before.scoring.scoring_id) == scores(other, after.scoring.scoring_id)


def test_what_is_stored_is_not_scored_again(
    story: Story, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = trained(story.ready)
    store, stored = spark_scoring.store, []

    def half(database: Any, scored: Any) -> int:
        some = scored.slice(0, scored.num_rows // 2)
        stored.append(some.num_rows)
        store(database, some)
        raise KeyboardInterrupt

    def counted(database: Any, scored: Any) -> int:
        stored.append(scored.num_rows)
        return store(database, scored)

    with opened(story.ready, "spark", spark_remote=cluster.url) as other:
        monkeypatch.setattr(spark_scoring, "store", half)
        with pytest.raises(KeyboardInterrupt):
            score(other, FEBRUARY, "ann", NOW, known_at=day(3), version=version)
        stored_scores = execute(other.database, "SELECT 1 FROM streamflow.scores").fetchall()
        assert stored_scores == []
        (first,) = stored
        assert first > 0
        monkeypatch.setattr(spark_scoring, "store", counted)
        done = score(other, FEBRUARY, "ann", NOW, known_at=day(3), version=version)
        assert done.added
        here = score(story.ready, FEBRUARY, "ann", NOW, known_at=day(4), version=version)
        assert scores(other, done.scoring.scoring_id) == scores(other, here.scoring.scoring_id)
        assert sum(stored) == done.scoring.entities + sum(done.scoring.refused.values())
        assert not score(other, FEBRUARY, "ann", NOW, known_at=day(3), version=version).added


def test_an_executor_that_would_score_otherwise_refuses(
    story: Story, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = trained(story.ready)
    monkeypatch.setattr(executors, "versions_of", lambda _: {"numpy": "0.1"})
    with (
        opened(story.ready, "spark", spark_remote=cluster.url) as other,
        pytest.raises(FeatureStoreUnavailable, match=r"numpy is .* there, and 0\.1 here\."),
    ):
        score(other, FEBRUARY, "ann", NOW, known_at=day(3), version=version)
