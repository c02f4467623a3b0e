"""Reasons for the scores of a real version, in their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from tests import tiny_case
from tests.conftest import OwnDatabase
from tests.scored import record_scores

from streamflow.bootstrap import platform
from streamflow.features import month_rows
from streamflow.lineage import judged_version
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.month import explain_scores as step
from streamflow.pipeline.month.explain_scores import Explanation
from streamflow.pipeline.month.scored_rows import CannotBeExplained
from streamflow.pipeline.train import train
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.reasons import explanation, processes, recorded
from streamflow.reasons.forms.trees import ScoreSum, Unexplainable
from streamflow.settings import load_settings
from streamflow.training.served_model import Matrix
from streamflow.use_case import Generation

JANUARY = date(2024, 1, 31)
KNOWN = datetime(2024, 2, 3, 6, tzinfo=UTC)
NOW = datetime(2024, 2, 4, 12, tzinfo=UTC)
MODEL = tiny_case.use_case.registered_model


def forest(random_state: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=15, min_samples_leaf=5, random_state=random_state)


@pytest.fixture(scope="module")
def world(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """A month of machines, scored by a forest and by a linear model."""
    home = tmp_path_factory.mktemp("a home")
    tiny_case.generate(Generation(home / "months", users=200, months=1, seed=5))
    url = new_database(prepared_database)
    settings = load_settings(home=home, database_url=url, use_case="tests.tiny_case")
    models = {**tiny_case.use_case.models, "forest": forest}
    with platform(settings) as opened:
        ready = replace(opened, use_case=replace(opened.use_case, models=models))
        ingest(ready, home / "months" / "month_000", JANUARY, KNOWN, KNOWN, "test")
        apply(ready)
        for number, name in enumerate(("forest", "logistic_regression"), start=1):
            train(ready, JANUARY, name, 1, NOW)
            score(ready, number)
        yield ready


def score(ready: Platform, number: int) -> None:
    version = ready.registry.version(number)
    model = judged_version.judged_version(ready, version).model
    scores: dict[str, float] = {}
    for batch in month_rows.month_rows(ready.database, ready.use_case, JANUARY, KNOWN):
        columns = {one.name: batch.column(one.name).to_pylist() for one in model.schema.features}
        entities = batch.column(0).to_pylist()
        scores |= zip(entities, model.predict(columns)[1].tolist(), strict=True)
    record_scores(
        ready.database,
        scores,
        {"m-gone": "departed"},
        model=MODEL,
        version=number,
        model_hash=version.model_hash,
        run_id=version.run_id,
        as_of=JANUARY,
        known_at=KNOWN,
        scored_at=NOW,
    )


@pytest.fixture
def ready(world: Platform, own_database: OwnDatabase) -> Iterator[Platform]:
    """A copy of that world."""
    with own_database(world.database.url) as url:
        settings = world.settings.model_copy(update={"database_url": SecretStr(url)})
        with platform(settings) as opened:
            yield replace(opened, use_case=world.use_case)


def explain(ready: Platform, version: int, top: int = 50) -> Explanation:
    return step.explain_scores(ready, JANUARY, top, "ada", NOW, version=version)


def stored(database: Database) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(
            "SELECT rank, probability, reasons.* FROM streamflow.reasons "
            "JOIN streamflow.scores USING (scoring_id, entity_id) ORDER BY rank, position"
        ).fetchall()


@pytest.mark.parametrize(("version", "scale"), [(1, "probability"), (2, "log-odds")])
def test_the_highest_ranks_have_three_reasons_in_words(
    ready: Platform, version: int, scale: str
) -> None:
    done = explain(ready, version)
    assert (done.entities, done.new, done.refused, done.scale) == (50, 50, 0, scale)
    assert done.background["rows"] == 200
    rows = stored(ready.database)
    assert [row["rank"] for row in rows] == [rank for rank in range(1, 51) for _ in range(3)]
    assert [row["position"] for row in rows] == [1, 2, 3] * 50
    for first, second in pairwise(rows):
        if first["rank"] == second["rank"]:
            assert abs(first["contribution"]) >= abs(second["contribution"])
    alarms = next(row for row in rows if row["feature"] == "alarms" and row["value"] == 2)
    assert alarms["sentence"] == "2 alarms, usually 0"
    assert alarms["background"] == 0
    kinds = [row for row in rows if row["value"] == "mill"]
    assert all(row["sentence"].startswith("kind: milling machine, ") for row in kinds)
    lowering = [row for row in rows if row["contribution"] < 0]
    assert all(row["sentence"].endswith(" (lowers the score)") for row in lowering)


def test_the_same_again_adds_nothing_and_more_ranks_are_added_to_those_that_are_there(
    ready: Platform,
) -> None:
    first = explain(ready, 1, top=30)
    before = stored(ready.database)
    again = explain(ready, 1, top=30)
    assert again == replace(first, new=0)
    assert stored(ready.database) == before
    more = explain(ready, 1, top=1_000)
    assert (more.top, more.entities, more.new) == (200, 200, 170)
    assert stored(ready.database)[: len(before)] == before
    at_once = step.explain_scores(ready, JANUARY, 200, "ada", NOW, version=2, cores=1)
    assert at_once.base == explain(ready, 2).base


def test_an_explanation_that_does_not_add_up_is_told_and_not_stored(
    ready: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = processes.tree_contributions

    def broken(*arguments: Any) -> Matrix:
        found = exact(*arguments).copy()
        found[4, 0] += 2 * explanation.TOLERANCE
        return found

    monkeypatch.setattr(processes, "tree_contributions", broken)
    done = explain(ready, 1)
    assert (done.entities, done.refused, len(done.refused_entities)) == (49, 1, 1)
    assert {row["rank"] for row in stored(ready.database)} == {*range(1, 51)} - {5}
    (refused,) = done.refused_entities
    assert recorded.reasons_of(ready.database, done.scoring.scoring_id, refused) == []


def test_a_run_that_ends_before_its_end_leaves_nothing(
    ready: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Database.copy

    def cut(database: Database, name: str, content: bytes) -> None:
        copy(database, name, content)
        if name == "copy_unexplained":
            raise KeyboardInterrupt

    monkeypatch.setattr(Database, "copy", cut)
    with pytest.raises(KeyboardInterrupt):
        explain(ready, 2)
    assert stored(ready.database) == []
    monkeypatch.undo()
    assert explain(ready, 2).new == 50


def test_of_two_at_once_one_writes(ready: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    record = recorded.record

    def late(*arguments: Any) -> bool:
        monkeypatch.undo()
        assert explain(ready, 1).new == 50
        return record(*arguments)

    monkeypatch.setattr(recorded, "record", late)
    done = explain(ready, 1)
    assert (done.entities, done.new) == (50, 0)


def test_what_has_no_exact_reasons_says_so(
    ready: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(folder: Path) -> ScoreSum:
        raise Unexplainable("an ONNX graph that isn't one weighted sum: Relu")

    monkeypatch.setattr(step, "score_sum", read)
    with pytest.raises(CannotBeExplained, match=r"version 2 .* no exact reasons: .* sum: Relu\."):
        explain(ready, 2)
    assert stored(ready.database) == []


def test_the_most_frequent_reasons_are_those_that_raise_scores(ready: Platform) -> None:
    done = explain(ready, 1, top=200)
    rows = [row for row in stored(ready.database) if row["contribution"] > 0]
    found = recorded.most_frequent(ready.database, done.scoring.scoring_id, most=2)
    assert [one.entities for one in found] == sorted(
        (sum(row["feature"] == name for row in rows) for name in {row["feature"] for row in rows}),
        reverse=True,
    )[:2]
    top = recorded.most_frequent(ready.database, done.scoring.scoring_id, last_rank=10)
    assert sum(one.strongest for one in top) <= 10
    for one in found:
        of_feature = [row["contribution"] for row in rows if row["feature"] == one.feature]
        assert one.mean_contribution == pytest.approx(float(np.mean(of_feature)))
