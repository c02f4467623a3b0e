"""Two versions on live traffic, by a prediction log on a real PostgreSQL."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests import tiny_case

from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.promotion import compare as comparison
from streamflow.promotion.errors import NothingToCompare
from streamflow.registry.records import ModelVersion
from streamflow.serving.challenger.scored_rows import ScorePairs
from streamflow.serving.challenger.shadow_rows import encoded, model_key
from streamflow.serving.prediction_log_rows import Encoder
from streamflow.serving.prediction_log_writer import PredictionWriter
from streamflow.serving.scoring import Prediction, ScoringRequest, Served
from streamflow.settings import Settings
from streamflow.training import served_model
from streamflow.use_case import Generation

MONTHS = (date(2024, 1, 31), date(2024, 2, 29))
FEBRUARY = datetime(2024, 2, 29, 23, 59, 59, 999999, UTC)
NOW = datetime(2024, 3, 5, 8, tzinfo=UTC)
MACHINES = 400


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"use_case": "tests.tiny_case"})


@pytest.fixture
def versions(ready: Platform) -> list[Served]:
    """Two versions of January, and the labels of February, which neither has seen."""
    folder = ready.settings.home / "months"
    tiny_case.generate(Generation(folder, users=MACHINES, months=2, seed=5))
    for number, month in enumerate(MONTHS):
        known = datetime(2024, 2 + number, 2, 8, tzinfo=UTC)
        ingest(ready, folder / f"month_{number:03}", month, None, known, "test")
    apply(ready)
    found = []
    for state, stage in ((1, "Production"), (2, "Staging")):
        trained = train.train(ready, MONTHS[0], None, state, NOW)
        version = ready.registry.version(trained.version)
        files = ready.production.download(version)
        named = ModelVersion(
            version.name, version.version, version.run_id, stage, (), {}, version.model_hash
        )
        found.append(Served(named, served_model.load(files)))
    return found


def log(ready: Platform, url: str, one: Served, other: Served) -> None:
    """Requests for February's machines: the first version knows who fails, the second guesses; the
    last of them has no prediction by the second."""
    failing = _failing(ready.settings.home / "months" / "month_001")
    dice = random.Random(3)
    requests, answers, shadows = [], [], []
    for number in range(MACHINES):
        machine = f"m-{number:04}"
        requests.append(ScoringRequest(machine, f"r-{number}"))
        fails = machine in failing
        values = {"kind": "mill", "age_weeks": number, "temperature_c": 60.0, "alarms": 0}
        values["guard_open"] = None
        by_one, by_other = (0.9 if fails else 0.1) * dice.uniform(0.8, 1), dice.random()
        times = {"machines_fv": FEBRUARY, "readings_fv": FEBRUARY}
        both = [
            Prediction(
                machine, int(score > 0.5), score, values, served.version, FEBRUARY, times, (), ""
            )
            for score, served in ((by_one, one), (by_other, other))
        ]
        answers.append(both[0])
        shadows.append(both[1])
    writers = [
        PredictionWriter(Database(url), 30, lambda: NOW, f"copy_{table}")
        for table in ("predictions", "shadow_scores")
    ]
    for writer in writers:
        writer.prepare()
    writers[0].write([Encoder().rows(one, requests, answers, NOW)])
    keys = {id(served): model_key(served) for served in (one, other)}
    pairs = ScorePairs(
        one, other, requests, [NOW] * MACHINES, answers, [*shadows[:-1], "model_failed"]
    )
    # The second time as after a write that wasn't confirmed.
    for _ in range(2):
        writers[1].write([encoded(pairs, keys)])
    for writer in writers:
        writer.close()


def _failing(folder: Path) -> set[str]:
    lines = (folder / "failures.csv").read_text().splitlines()[1:]
    return {line.split(",")[0] for line in lines if line.endswith("True")}


@pytest.mark.slow
def test_who_was_right_on_live_traffic_is_told_once_labels_have_come(
    ready: Platform, versions: list[Served]
) -> None:
    one, other = (served.version.version for served in versions)
    with pytest.raises(NothingToCompare, match="No request was scored by both"):
        comparison.compare(ready, one, other, NOW)
    log(ready, ready.database.url, *versions)

    found = comparison.compare(ready, one, other, NOW, most=3)
    assert (found.requests, found.entities, found.compared) == (MACHINES, MACHINES, MACHINES - 1)
    assert found.problems == {one: {}, other: {"model_failed": 1}}
    assert found.changed == found.entities_changed > 100
    assert found.agreement == 1 - found.changed / found.compared
    assert len(found.changes) == 3
    assert found.changes[0].distance >= found.changes[-1].distance > 0.5
    assert found.score_shift is not None
    assert found.score_shift > 0.25
    assert found.quality is not None
    assert (found.quality.months, found.quality.trained_on) == ((MONTHS[1],), 0)
    assert found.quality.rows == MACHINES - 1
    assert found.quality.outcome == "failed"
    assert found.quality.figures["auc"]["current"]["value"] == 1.0

    turned = comparison.compare(ready, other, one, NOW)
    assert turned.problems == {other: {"model_failed": 1}, one: {}}
    assert turned.to_true == found.changed - found.to_true
    assert turned.quality is not None
    assert turned.quality.outcome == "passed"

    before = comparison.compare(ready, one, other, datetime(2024, 3, 1, tzinfo=UTC))
    assert before.quality is None  # the labels weren't known then
    with pytest.raises(NothingToCompare, match="in that time"):
        comparison.compare(ready, one, other, NOW, since=NOW + timedelta(seconds=1))
