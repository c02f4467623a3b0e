"""A machine that January has and later months lack: from training to replay, and in the status."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests import promoting, tiny_case
from tests.statements import execute

from streamflow.bootstrap import platform, production_predictor
from streamflow.history.ingestions import recorded_ingestions
from streamflow.history.months import (
    AbsentEntities,
    absent_entities,
    recorded_absent_entities,
)
from streamflow.lineage.reproduce import reproduce
from streamflow.operations.status import status
from streamflow.pipeline import explain as explanation
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.predict import predict_file
from streamflow.pipeline.prediction_file import csv_rows
from streamflow.pipeline.withdraw import withdraw
from streamflow.platform import Platform
from streamflow.serving.feature_status import Departed
from streamflow.serving.prediction_log_rows import Encoder
from streamflow.serving.prediction_log_writer import PredictionWriter
from streamflow.serving.scoring import Prediction, ScoringRequest
from streamflow.settings import load_settings
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import Generation

MONTHS = [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)]
JANUARY, FEBRUARY, MARCH = MONTHS
NOW = datetime(2024, 4, 10, 8, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
GONE, LATE, THERE = "m-0007", "m-0011", "m-0020"


def without(folder: Path, *machines: str) -> None:
    """The month's files lack these machines from now on."""
    for file in folder.glob("*.csv"):
        header, *lines = file.read_text(encoding="utf-8").splitlines()
        place = next(csv.reader([header])).index("machine_id")
        kept = [line for line in lines if next(csv.reader([line]))[place] not in machines]
        file.write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def ready(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[..., str],
    prepared_database: str,
) -> Iterator[Platform]:
    """Three months in history. February lacks two machines, one of which comes back in March."""
    home = tmp_path_factory.mktemp("departed")
    settings = load_settings(
        home=home, database_url=new_database(prepared_database), use_case="tests.tiny_case"
    )
    tiny_case.generate(Generation(home / "months", users=120, months=3, seed=5))
    without(home / "months" / "month_001", GONE, LATE)
    without(home / "months" / "month_002", GONE)
    # A hundred machines are too few to tell how good a model is, and no bar is the matter here.
    ruled = replace(tiny_case.use_case, departed_after=timedelta(days=45), acceptance={})
    with platform(settings) as opened:
        one = replace(opened, use_case=ruled)
        for number, as_of in enumerate(MONTHS):
            ingest(one, home / "months" / f"month_{number:03}", as_of, None, NOW, "test")
        apply(one)
        materialize(one, JANUARY, NOW)
        yield one


def version(ready: Platform) -> train.Trained:
    trained = train.train(ready, JANUARY, None, 1, NOW)
    promoting.promote(ready, trained.version, "Production", "a test", "somebody", NOW)
    return trained


def answers(ready: Platform) -> list[Any]:
    requests = [ScoringRequest(machine, "request") for machine in (GONE, LATE, THERE)]
    return production_predictor(ready).predict_many(requests, LATER)


def problems_of_file(ready: Platform, folder: Path) -> list[str]:
    ids, output = folder / "ids.csv", io.StringIO()
    ids.write_text(f"machine_id\n{GONE}\n{LATE}\n{THERE}\n")
    predict_file(production_predictor(ready), ids, csv_rows(output, "machine_id"), LATER)
    return [row["problem"] for row in csv.DictReader(io.StringIO(output.getvalue()))]


def replayed(ready: Platform, at: datetime = LATER) -> explanation.Explanation:
    """The answer for the machine that is gone, as the API logs it, made again."""
    # What was materialized a moment ago may not have been online yet.
    execute(
        ready.database,
        "UPDATE streamflow.materializations SET finished_at = known_at + interval '1 minute'",
    )
    request = ScoringRequest(GONE, f"request {datetime.now(UTC)}")
    predictor = production_predictor(ready)
    results = predictor.predict_many([request], at)
    writer = PredictionWriter(ready.database, 90, lambda: at)
    writer.write([Encoder().rows(predictor.production(), [request], results, at)])
    (one,) = explanation.explain(ready, explanation.find(ready, [request.request_id], None))
    return one


def of_status(ready: Platform, name: str) -> tuple[str, str]:
    return next((part.state, part.detail) for part in status(ready.settings) if part.name == name)


def counted(ready: Platform, month: date) -> tuple[int, int, int]:
    found = absent_entities(ready.database, ready.use_case, month)
    return found.entities, found.absent, found.departed


def test_a_machine_departs_when_the_rule_of_its_model_has_passed(
    ready: Platform, tmp_path: Path
) -> None:
    without_rule = replace(ready, use_case=replace(ready.use_case, departed_after=None))
    before = version(without_rule)
    assert production_predictor(ready).production().schema.departed_after_seconds is None
    rule_at_training = version(ready)
    schema: FeatureSchema = production_predictor(ready).production().schema
    assert schema.departed_after_seconds == 45 * 86400

    # One month without it is within the rule: it is scored on its row of January.
    materialize(ready, FEBRUARY, NOW)
    gone, late, there = answers(ready)
    assert isinstance(gone, Prediction)
    assert gone.features_as_of.date() == late.features_as_of.date() == JANUARY
    assert there.features_as_of.date() == FEBRUARY
    assert counted(ready, FEBRUARY) == (120, 2, 0)
    assert replayed(ready).verdict == "same"

    materialize(ready, MARCH, NOW)
    gone, late, there = answers(ready)
    assert isinstance(gone, Departed)
    assert (gone.last_seen, gone.newest_month) == (JANUARY, MARCH)
    assert isinstance(late, Prediction)
    assert late.features_as_of.date() == MARCH
    with pytest.raises(Departed):
        production_predictor(ready).features(GONE, LATER)
    assert problems_of_file(ready, tmp_path) == ["departed", "", ""]
    explained = replayed(ready)
    assert explained.receipt.problem == "departed"
    assert (explained.from_history.verdict, explained.from_history.why) == ("same", ())
    shown = {part.name: (part.state, part.detail) for part in status(ready.settings)}
    assert shown["absent entities"] == ("1", f"of 120 in history, not in the month {MARCH}")
    assert "departed entities" not in shown  # the use case of the settings has no rule
    assert counted(ready, MARCH) == (120, 1, 1)
    recorded = AbsentEntities(MARCH, entities=120, absent=1, departed=1)
    assert recorded_absent_entities(ready.database, ready.use_case) == recorded

    # The model decides, not today's use case; and a run of before is made again to the last bit.
    promoting.promote(ready, before.version, "Production", "a test", "somebody", NOW)
    assert not isinstance(answers(ready)[0], Departed)
    again = reproduce(ready, ready.registry.run(before.run_id), LATER)
    assert again.verdict == "identical"
    configuration = next(one for one in again.factors if one.name == "configuration")
    assert any("departed_after_seconds" in line for line in configuration.said)
    promoting.promote(ready, rule_at_training.version, "Production", "a test", "somebody", NOW)


def test_a_machine_that_a_complete_file_took_out_is_as_one_that_the_month_never_had(
    ready: Platform,
) -> None:
    materialize(ready, MARCH, NOW)
    folder = ready.settings.home / "months" / "month_002"
    without(folder, LATE)
    ingest(ready, folder, MARCH, None, LATER, "test", complete=True)
    materialize(ready, MARCH, LATER)
    gone, late, there = answers(ready)
    for one in (gone, late):
        assert isinstance(one, Departed)
        assert (one.last_seen, one.newest_month) == (JANUARY, MARCH)
    assert isinstance(there, Prediction)
    assert counted(ready, MARCH) == (120, 2, 2)


def test_a_month_that_was_withdrawn_is_the_newest_until_what_was_online_of_it_is_taken_out(
    ready: Platform,
) -> None:
    march = recorded_ingestions(ready.database, ready.use_case)[2:]
    assert {one.as_of for one in march} == {MARCH}
    for one in march:
        withdraw(ready, one.ingestion_id, "another year's", LATER, "test")
    # Nothing has changed online yet: so long serving and its replay have March.
    assert isinstance(answers(ready)[0], Departed)
    materialize(ready, None, LATER + timedelta(hours=1))
    recorded = AbsentEntities(FEBRUARY, entities=120, absent=2, departed=0)
    assert recorded_absent_entities(ready.database, ready.use_case) == recorded
    gone, late, there = answers(ready)
    assert isinstance(gone, Prediction)
    assert isinstance(late, Prediction)
    assert there.features_as_of.date() == FEBRUARY
    assert of_status(ready, "absent entities") == (
        "2",
        f"of 120 in history, not in the month {FEBRUARY}",
    )
    assert replayed(ready, LATER + timedelta(hours=2)).verdict == "same"
    # What isn't online isn't the newest month, though it is in history again.
    again = LATER + timedelta(hours=3)
    ingest(ready, ready.settings.home / "months" / "month_002", MARCH, None, again, "test")
    assert isinstance(answers(ready)[0], Prediction)
    materialize(ready, FEBRUARY, again + timedelta(hours=1))
    assert isinstance(answers(ready)[0], Prediction)
    materialize(ready, MARCH, again + timedelta(hours=2))
    assert isinstance(answers(ready)[0], Departed)
