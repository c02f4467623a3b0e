"""One rule for an entity without a row, and for what training never saw, from ingest to replay.

The workshop has a table `repairs`, with a row for those machines alone that were repaired.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests import promoting, tiny_case
from tests.statements import execute
from tests.training_tables import listed

from streamflow.bootstrap import platform, production_predictor
from streamflow.errors import MissingFeatures, UnseenCategory, UnseenNull
from streamflow.features import point_in_time
from streamflow.history.ingest import IngestedMonth
from streamflow.pipeline import explain as explanation
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.predict import predict_file
from streamflow.pipeline.prediction_file import csv_rows
from streamflow.platform import Platform
from streamflow.serving.prediction_log_rows import Encoder
from streamflow.serving.prediction_log_writer import PredictionWriter
from streamflow.serving.scoring import Prediction, ScoringRequest
from streamflow.settings import load_settings
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import Generation, Table, UseCase

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
NOW = datetime(2024, 3, 10, tzinfo=UTC)
MACHINES = [f"m-{number:04}" for number in range(90)]
# Every sixth machine was never repaired.
REPAIRED = [machine for number, machine in enumerate(MACHINES) if number % 6]
# The requests that are in the prediction log.
LOGGED: list[str] = []
NEVER, GONE, HOURLESS, GEARED = MACHINES[0], MACHINES[1], MACHINES[2], MACHINES[3]


def use_case(absent: Any, unseen: Mapping[str, Any] | None = None) -> UseCase:
    def tables() -> tuple[Table, ...]:
        from pandera.pandas import Column, DataFrameSchema

        columns = {
            "machine_id": Column("string"),
            # All of it may be null, so that no row looks like a row of nulls.
            "repair_hours": Column("Float64", nullable=True),
            "repaired_part": Column("string", nullable=True),
        }
        repairs = Table("repairs", DataFrameSchema(columns), absent=absent)
        return (*tiny_case.tables(), repairs)

    def features() -> list[Any]:
        from feast import FeatureService, FeatureView, Field
        from feast.types import Float64, String

        from streamflow.features import history_source

        machine, machines, readings, _ = tiny_case.features()
        repairs = FeatureView(
            name="repairs_fv",
            entities=[machine],
            ttl=timedelta(days=20),
            schema=[
                Field(name="repair_hours", dtype=Float64),
                Field(name="repaired_part", dtype=String),
            ],
            source=history_source("repairs"),
        )
        views = [machines, readings, repairs]
        return [machine, *views, FeatureService(name="failures_v1", features=views)]

    # Ninety machines are too few to tell how good a model is, and no bar is the matter here.
    return replace(
        tiny_case.use_case, tables=tables, features=features, unseen=unseen or {}, acceptance={}
    )


def write_repairs(folder: Path, rows: Mapping[str, tuple[object, object]]) -> None:
    with (folder / "repairs.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["machine_id", "repair_hours", "repaired_part"])
        lines.writerows([machine, *row] for machine, row in rows.items())


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[..., str],
    prepared_database: str,
) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("repairs")
    settings = load_settings(
        home=home, database_url=new_database(prepared_database), use_case="tests.tiny_case"
    )
    tiny_case.generate(Generation(home / "months", users=len(MACHINES), months=2, seed=5))
    january = {
        machine: (number % 7 + 0.5, ("belt", "motor")[number % 2])
        for number, machine in enumerate(REPAIRED)
    }
    write_repairs(home / "months" / "month_000", january)
    february = {**january, HOURLESS: ("", "belt"), GEARED: (2.5, "gear")}
    del february[GONE]
    write_repairs(home / "months" / "month_001", february)
    with platform(settings) as ready:
        yield ready


def by(shared: Platform, absent: Any, unseen: Mapping[str, Any] | None = None) -> Platform:
    return replace(shared, use_case=use_case(absent, unseen))


def load(ready: Platform, as_of: date) -> IngestedMonth:
    folder = ready.settings.home / "months" / {JANUARY: "month_000", FEBRUARY: "month_001"}[as_of]
    return ingest(ready, folder, as_of, None, NOW, "test")


@pytest.fixture(scope="module")
def january(shared: Platform) -> IngestedMonth:
    ready = by(shared, "refuse")
    done = load(ready, JANUARY)
    apply(ready)
    materialize(ready, JANUARY, NOW)
    return done


def serve(ready: Platform, version: int) -> dict[str, Any]:
    """Every machine's answer by the version."""
    promoting.promote(ready, version, "Production", "a test", "somebody", NOW)
    requests = [ScoringRequest(machine, "request") for machine in MACHINES]
    answers = production_predictor(ready).predict_many(requests, NOW)
    return dict(zip(MACHINES, answers, strict=True))


def schema_of(ready: Platform) -> FeatureSchema:
    return production_predictor(ready).production().schema


def test_ingest_tells_how_many_entities_lack_a_row_in_which_table(
    january: IngestedMonth, shared: Platform
) -> None:
    assert {name: table.without_row for name, table in january.tables.items()} == {
        **dict.fromkeys(["machines", "readings", "failures"], 0),
        "repairs": 15,
    }
    again = load(by(shared, "refuse"), JANUARY)
    assert again.tables["repairs"].without_row == 15


@pytest.fixture(scope="module")
def refusing(shared: Platform, january: IngestedMonth) -> train.Trained:
    return train.train(by(shared, "refuse"), JANUARY, None, 1, NOW)


@pytest.fixture(scope="module")
def taking_nulls(shared: Platform, january: IngestedMonth) -> train.Trained:
    return train.train(by(shared, "null"), JANUARY, None, 1, NOW)


def test_by_refuse_those_without_a_row_are_neither_trained_on_nor_answered(
    shared: Platform, refusing: train.Trained
) -> None:
    assert (refusing.rows, refusing.without_features) == (75, 15)
    assert (refusing.without_row, refusing.taken_as_null) == ({"repairs": 15}, {})
    run = shared.registry.run(refusing.run_id)
    assert (run.params["without_features"], run.params["without_row.repairs"]) == ("15", "15")
    answers = serve(by(shared, "refuse"), refusing.version)
    assert [machine for machine, one in answers.items() if isinstance(one, Prediction)] == REPAIRED
    assert isinstance(answers[NEVER], MissingFeatures)
    assert answers[NEVER].features == ["repair_hours", "repaired_part"]


def test_by_null_those_without_a_row_are_trained_on_and_answered_with_nulls(
    shared: Platform, taking_nulls: train.Trained
) -> None:
    assert (taking_nulls.rows, taking_nulls.without_features) == (90, 0)
    assert (taking_nulls.without_row, taking_nulls.taken_as_null) == ({}, {"repairs": 15})
    run = shared.registry.run(taking_nulls.run_id)
    assert run.params["taken_as_null.repairs"] == "15"
    # The rule is the model's own, whatever the use case says today.
    for rule in ("null", "refuse"):
        answers = serve(by(shared, rule), taking_nulls.version)
        assert {type(one) for one in answers.values()} == {Prediction}
        never = answers[NEVER]
        assert [never.features_used[name] for name in ("repair_hours", "repaired_part")] == [
            None,
            None,
        ]
        assert never.feature_times["repairs_fv"] is None
        assert never.feature_times["readings_fv"] is not None


def test_what_training_allowed_travels_with_the_model(
    shared: Platform, refusing: train.Trained, taking_nulls: train.Trained
) -> None:
    ready = by(shared, "refuse")
    rules = {}
    for version in (refusing.version, taking_nulls.version):
        promoting.promote(ready, version, "Production", "a test", "somebody", NOW)
        hours, part = schema_of(ready).features[-2:]
        rules[version] = [(one.absent, one.null_seen, one.unseen) for one in (hours, part)]
        assert part.categories == ("belt", "motor")
    assert rules == {
        refusing.version: [("refuse", False, "refuse")] * 2,
        taking_nulls.version: [("null", True, "refuse")] * 2,
    }


@pytest.fixture(scope="module")
def february(shared: Platform, refusing: train.Trained, taking_nulls: train.Trained) -> Platform:
    """Online: a machine whose last row is of January, one with a null, one with a new part."""
    ready = by(shared, "null")
    load(ready, FEBRUARY)
    materialize(ready, FEBRUARY, NOW)
    # What was materialized a moment ago may not have been online yet.
    execute(
        ready.database,
        "UPDATE streamflow.materializations SET finished_at = finished_at - interval '1 minute'",
    )
    return ready


def test_what_training_never_saw_is_refused_alone_in_a_file_and_in_a_replay(
    february: Platform, refusing: train.Trained, tmp_path: Path
) -> None:
    answers = serve(february, refusing.version)
    assert isinstance(answers[HOURLESS], UnseenNull)
    assert isinstance(answers[GEARED], UnseenCategory)
    codes = Counter(one.code for one in answers.values() if not isinstance(one, Prediction))
    # The row of January that is left of one machine is older than its view allows.
    expected = {"missing_features": 15, "stale_features": 1, "unseen_null": 1, "unseen_category": 1}
    assert codes == expected
    ids, output = tmp_path / "ids.csv", io.StringIO()
    ids.write_text("machine_id\n" + "\n".join(MACHINES) + "\n")
    write = csv_rows(output, "machine_id")
    counts = predict_file(production_predictor(february), ids, write, NOW)
    assert counts == {**expected, "predicted": 72}
    for machine in (HOURLESS, GEARED, NEVER, GONE, MACHINES[5]):
        (one,) = explained(february, machine)
        assert (one.from_history.verdict, one.from_history.why) == ("same", ())


def test_by_null_a_row_that_is_too_old_is_none_in_training_serving_and_replay(
    february: Platform, taking_nulls: train.Trained
) -> None:
    answers = serve(february, taking_nulls.version)
    assert isinstance(answers[GEARED], UnseenCategory)
    gone = answers[GONE]
    assert gone.features_used["repair_hours"] is None
    assert gone.feature_times["repairs_fv"] is None
    for machine in (GONE, HOURLESS, NEVER):
        (one,) = explained(february, machine)
        assert (one.from_log.verdict, one.from_log.why) == ("same", ())
        assert (one.from_history.verdict, one.from_history.why) == ("same", ())
    with extra_row(february, NEVER):
        (one,) = explained_before(february, NEVER)
        assert one.from_log.verdict == "same"
        assert one.from_history.verdict == "different"
        assert "had none in the log" in one.from_history.why[0]
    trained_on = point_in_time.assemble(february.database, february.use_case, [FEBRUARY], NOW)
    assert trained_on.taken_as_null == {"repairs": 16}
    # What is trained on and what is served are the same values.
    names = trained_on.training_set.columns
    columns = {name: listed(trained_on.training_set, name) for name in names}
    for row, machine in enumerate(trained_on.training_set.entities):
        if machine != GEARED:
            used = answers[machine].features_used
            assert used == {name: values[row] for name, values in columns.items()}


def test_what_training_never_saw_is_answered_where_the_use_case_allowed_it(
    february: Platform, tmp_path: Path
) -> None:
    allowed = by(february, "refuse", {"repair_hours": "warn", "repaired_part": "other"})
    trained = train.train(allowed, JANUARY, None, 1, NOW)
    answers = serve(february, trained.version)
    assert answers[GEARED].warnings == ()
    assert answers[GEARED].features_used["repaired_part"] == "gear"
    assert "'repair_hours' is null" in answers[HOURLESS].warnings[0]
    ids, output = tmp_path / "ids.csv", io.StringIO()
    ids.write_text(f"machine_id\n{HOURLESS}\n{MACHINES[5]}\n")
    predict_file(production_predictor(february), ids, csv_rows(output, "machine_id"), NOW)
    hourless, plain = csv.DictReader(io.StringIO(output.getvalue()))
    assert hourless["warnings"] == answers[HOURLESS].warnings[0]
    assert plain["warnings"] == ""


@contextmanager
def extra_row(ready: Platform, machine: str) -> Iterator[None]:
    """A row of history that nobody ingested."""
    execute(
        ready.database,
        "INSERT INTO failures.repairs_history "
        "(machine_id, as_of, recorded_at, ingestion_id, repair_hours, repaired_part) "
        "SELECT %s, as_of, recorded_at, ingestion_id, repair_hours, repaired_part "
        "FROM failures.repairs_history WHERE machine_id = %s AND as_of = %s",
        [machine, GEARED, FEBRUARY],
    )
    try:
        yield
    finally:
        execute(
            ready.database, "DELETE FROM failures.repairs_history WHERE machine_id = %s", [machine]
        )


def explained_before(ready: Platform, machine: str) -> list[explanation.Explanation]:
    """The predictions that were logged last, made again."""
    return explanation.explain(ready, explanation.find(ready, LOGGED[-1:], machine))


def explained(ready: Platform, machine: str) -> list[explanation.Explanation]:
    """The prediction of the machine, as the API logs it, made again."""
    moment = datetime.now(UTC)
    requests = [ScoringRequest(machine, f"{machine} {moment}")]
    predictor = production_predictor(ready)
    answers = predictor.predict_many(requests, moment)
    writer = PredictionWriter(ready.database, 90, lambda: moment)
    writer.write([Encoder().rows(predictor.production(), requests, answers, moment)])
    LOGGED.append(requests[0].request_id)
    return explained_before(ready, machine)
