"""A version judged on a month, with the real registry, feature store and database."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas
import pytest
from mlflow import MlflowClient
from pydantic import SecretStr
from sklearn.metrics import brier_score_loss, roc_auc_score
from tests import tiny_case
from tests.conftest import OwnDatabase
from tests.month_files import MonthFiles
from tests.promoting import promote
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.cli.main import main
from streamflow.errors import (
    AsOfRefused,
    KnownAtRefused,
    LabelsNotMatured,
    UnknownVersion,
    UnservableModel,
    UntrainableData,
)
from streamflow.features import complete_rows, feature_join
from streamflow.pipeline import backtest
from streamflow.pipeline import evaluate as step
from streamflow.pipeline.apply import apply
from streamflow.pipeline.backtest import Backtest, Choice
from streamflow.pipeline.evaluate import Evaluated
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.train import train
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.promotion import promote as promotion
from streamflow.promotion.errors import GateFailed
from streamflow.promotion.gates.result import GATES
from streamflow.registry import evaluations
from streamflow.settings import Settings, load_settings
from streamflow.training import backtest as looking_back
from streamflow.training import served_model, split
from streamflow.training.backtest import Plan
from streamflow.use_case import Gates, Generation

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
MONTHS = (JANUARY, FEBRUARY, MARCH)
KNOWN = {month: datetime(2024, number + 2, 3, 6, tzinfo=UTC) for number, month in enumerate(MONTHS)}
Run = Callable[..., str]
CORRECTED = datetime(2024, 5, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def world(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """Three months of machines, and a version trained on January."""
    home = tmp_path_factory.mktemp("a home")
    tiny_case.generate(Generation(home / "months", users=300, months=3, seed=5))
    url = new_database(prepared_database)
    settings = load_settings(home=home, database_url=url, use_case="tests.tiny_case")
    with platform(settings) as ready:
        for number, month in enumerate(MONTHS):
            folder = home / "months" / f"month_{number:03}"
            ingest(ready, folder, month, KNOWN[month], KNOWN[month], "test")
        apply(ready)
        train(ready, JANUARY, None, 1, NOW)
        yield ready


@pytest.fixture
def settings(world: Platform, own_database: OwnDatabase) -> Iterator[Settings]:
    """Those of a copy of that world."""
    with own_database(world.database.url) as url:
        yield world.settings.model_copy(update={"database_url": SecretStr(url)})


@pytest.fixture
def run(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs `streamflow …` in this process; returns what it printed, in one line."""
    for name, value in {**environment, "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["streamflow", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        return " ".join(capsys.readouterr().out.split())

    return run


def evaluate(ready: Platform, as_of: date, version: int = 1, **how: Any) -> Evaluated:
    return step.evaluate(ready, version, as_of, **{"who": "ada", "now": NOW, **how})


def correct(ready: Platform, table: str, number: int, **columns: Callable[[str], str]) -> None:
    """Load a month again with other values in one table."""
    source = ready.settings.home / "months" / f"month_{number:03}"
    folder = ready.settings.home / f"corrected {table} {number}"
    folder.mkdir(exist_ok=True)
    for file in source.iterdir():
        with file.open(newline="") as rows:
            read = list(csv.DictReader(rows))
        if file.stem == table:
            read = [
                row | {name: change(row[name]) for name, change in columns.items()} for row in read
            ]
        with (folder / file.name).open("w", newline="") as target:
            writer = csv.DictWriter(target, read[0])
            writer.writeheader()
            writer.writerows(read)
    ingest(ready, folder, MONTHS[number], CORRECTED, CORRECTED, "test")


def month(home: Path, number: int) -> pandas.DataFrame:
    """A month's files side by side, as anybody would read them."""
    folder = home / "months" / f"month_{number:03}"
    frames = [pandas.read_csv(file).set_index("machine_id") for file in sorted(folder.iterdir())]
    return pandas.concat(frames, axis=1).sort_index()


def test_the_figures_are_those_of_the_served_file_on_the_months_rows(ready: Platform) -> None:
    found = evaluate(ready, FEBRUARY)
    rows = month(ready.settings.home, 1)
    model = served_model.load(ready.registry.download(ready.registry.version(1)))
    columns = {
        one.name: [None if pandas.isna(value) else value for value in rows[one.name]]
        for one in model.schema.features
    }
    _, probabilities = model.predict(columns)
    figures = found.evaluation.figures
    assert figures["auc"] == roc_auc_score(rows["fails"], probabilities)
    assert figures["brier"] == pytest.approx(brier_score_loss(rows["fails"], probabilities))
    assert figures["auc_low"] < figures["auc"] < figures["auc_high"]
    assert (found.evaluation.rows, found.evaluation.positives) == (300, rows["fails"].sum())
    assert found.evaluation.trained_on == 0
    assert found.warnings == []


def test_the_same_again_adds_nothing_and_says_so(ready: Platform) -> None:
    first = evaluate(ready, FEBRUARY)
    again = evaluate(ready, FEBRUARY, who="bob", now=NOW + timedelta(days=1))
    assert (first.recorded, again.recorded) == (True, False)
    assert again.evaluation == first.evaluation
    assert evaluations.evaluations(ready.database, ready.registry.model) == [first.evaluation]


def test_mlflow_has_the_figures_beside_those_of_training(ready: Platform) -> None:
    before = ready.registry.version(1)
    found = evaluate(ready, FEBRUARY)
    client = MlflowClient(ready.mlflow_uri, ready.mlflow_uri)
    kept = client.get_run(before.run_id).data
    assert kept.metrics["evaluated/2024-02-29/auc"] == found.evaluation.figures["auc"]
    assert kept.metrics["auc"] == before.metrics["auc"] != found.evaluation.figures["auc"]
    assert "300 rows" in kept.tags["streamflow.evaluated.2024-02-29"]
    # Nobody takes the one for the other.
    assert ready.registry.version(1) == before
    assert ready.registry.run(before.run_id).metrics == before.metrics


def test_rows_that_were_trained_on_are_counted(ready: Platform) -> None:
    found = evaluate(ready, JANUARY)
    assert (found.evaluation.rows, found.evaluation.trained_on) == (300, 225)
    assert found.warnings[0].startswith("225 of 300 rows were trained on")


def test_what_was_recorded_after_known_at_changes_nothing(ready: Platform) -> None:
    before = evaluate(ready, FEBRUARY)
    correct(ready, "readings", 1, temperature_c=lambda _: "60.0")
    correct(ready, "failures", 2, fails=lambda value: str(value != "True"))
    then = evaluate(ready, FEBRUARY, known_at=CORRECTED - timedelta(seconds=1))
    assert not then.recorded
    assert then.evaluation == before.evaluation
    now = evaluate(ready, FEBRUARY)
    assert now.recorded
    assert now.evaluation.rows_hash == before.evaluation.rows_hash  # the same entities and labels
    assert now.evaluation.figures["auc"] < before.evaluation.figures["auc"]
    told, corrected = (
        evaluate(ready, MARCH, known_at=known_at).evaluation
        for known_at in (CORRECTED - timedelta(seconds=1), NOW)
    )
    assert told.rows_hash != corrected.rows_hash
    assert corrected.figures["auc"] == pytest.approx(1 - told.figures["auc"])


def test_labels_that_arent_known_yet_judge_nobody(ready: Platform) -> None:
    label = replace(tiny_case.use_case.label, horizon=timedelta(90))
    late = replace(tiny_case.use_case, label=label)
    with pytest.raises(LabelsNotMatured):
        evaluate(replace(ready, use_case=late), MARCH)
    with pytest.raises(KnownAtRefused):
        evaluate(ready, MARCH, known_at=NOW + timedelta(seconds=1))
    with pytest.raises(UnknownVersion):
        evaluate(ready, MARCH, version=99)


def test_an_entity_that_the_version_has_no_prediction_for_is_counted(ready: Platform) -> None:
    correct(ready, "readings", 1, guard_open=lambda value: value or "False")
    train(ready, FEBRUARY, None, 1, NOW)  # saw no null
    found = evaluate(ready, MARCH, version=2)
    assert found.problems == {"unseen_null": 100}
    assert found.evaluation.rows == 200


def test_an_entity_that_has_departed_from_the_version_is_counted(
    ready: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its newest rows are of January, young enough for the views and too old for the rule."""
    allowed = timedelta(days=20)
    ruled = replace(ready, use_case=replace(ready.use_case, departed_after=allowed))
    version = train(ruled, JANUARY, None, 1, NOW).version
    assert evaluate(ruled, FEBRUARY, version).problems == {}
    # The machines are features themselves, and only who is there is evaluated: take them out.
    execute(
        ready.database,
        "DELETE FROM failures.readings_history "
        "WHERE machine_id = 'm-0007' AND as_of > '2024-01-31'",
    )
    asked = complete_rows.departed_entities

    def without_machines(database: Database, use_case: Any, views: Any, *rest: Any) -> set[str]:
        return asked(database, use_case, [one for one in views if one.source == "readings"], *rest)

    assert evaluate(ruled, FEBRUARY, version).problems == {}
    monkeypatch.setattr(complete_rows, "departed_entities", without_machines)
    found = evaluate(ruled, FEBRUARY, version)
    assert found.problems == {"departed": 1}
    assert found.evaluation.rows == 299
    month = [FEBRUARY, NOW, timedelta(days=45)]
    views = list(_views(ruled))
    assert without_machines(ready.database, ready.use_case, views, *month) == set()


def _views(ready: Platform) -> Any:
    join = feature_join.join_of_today(ready.database, ready.use_case, NOW)
    return join.views.values()


def without_alarms(*, in_view: bool) -> Callable[[], list[Any]]:
    """The features without `alarms`: not in the service, or in no view either."""

    def definitions() -> list[Any]:
        from feast import FeatureService, FeatureView

        entity, machines, readings, _ = tiny_case.features()
        kept = [one for one in readings.schema if one.name not in ("alarms", "machine_id")]
        if not in_view:
            readings = FeatureView(
                name=readings.name,
                entities=[entity],
                ttl=readings.ttl,
                schema=kept,
                source=readings.batch_source,
            )
        chosen = readings[[one.name for one in kept]] if in_view else readings
        service = FeatureService(name="failures_v1", features=[machines, chosen])
        return [entity, machines, readings, service]

    return definitions


def test_a_version_is_judged_by_its_own_features_when_they_are_gone(ready: Platform) -> None:
    before = evaluate(ready, FEBRUARY)
    use_case = replace(tiny_case.use_case, features=without_alarms(in_view=False), phrases={})
    changed = replace(ready, use_case=use_case)
    apply(changed)
    again = evaluate(changed, FEBRUARY)
    assert not again.recorded
    assert again.evaluation == before.evaluation


def test_a_version_whose_feature_isnt_joined_any_more_says_what_to_do(ready: Platform) -> None:
    use_case = replace(tiny_case.use_case, features=without_alarms(in_view=True), phrases={})
    changed = replace(ready, use_case=use_case)
    apply(changed)
    with pytest.raises(UnservableModel, match="readings_fv:alarms") as refused:
        evaluate(changed, FEBRUARY)
    assert "streamflow apply" in refused.value.next


def test_a_file_that_isnt_the_registered_one_isnt_judged(ready: Platform) -> None:
    version = ready.registry.version(1)
    with ready.database.connection() as connection:
        connection.execute("UPDATE mlflow.model_version_tags SET value = %s", ["0" * 64])
    assert ready.registry.version(1).model_hash != version.model_hash
    with pytest.raises(UnservableModel, match="hash differs"):
        evaluate(ready, FEBRUARY)


def test_an_evaluation_that_was_killed_before_its_row_is_completed(
    ready: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(evaluations, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(ready, FEBRUARY)
    assert evaluations.evaluations(ready.database, ready.registry.model) == []
    found = evaluate(ready, FEBRUARY)
    client = MlflowClient(ready.mlflow_uri, ready.mlflow_uri)
    history = client.get_metric_history(found.evaluation.run_id, "evaluated/2024-02-29/auc")
    assert [one.value for one in history] == [found.evaluation.figures["auc"]]


def test_other_figures_for_the_same_rows_are_recorded_and_told(ready: Platform) -> None:
    first = evaluate(ready, FEBRUARY).evaluation
    other = replace(first, figures={**first.figures, "auc": 0.123}, evaluated_by="another machine")
    with Database(ready.database.url) as database:
        with database.connection() as connection:
            connection.execute("TRUNCATE streamflow.evaluations")
        evaluations.record(database, other)
    again = evaluate(ready, FEBRUARY)
    assert again.recorded
    assert "other figures" in again.warnings[0]
    assert len(evaluations.evaluations(ready.database, ready.registry.model)) == 2


def test_one_label_judges_nobody(ready: Platform) -> None:
    correct(ready, "failures", 1, fails=lambda _: "False")
    with pytest.raises(UntrainableData, match="the same label"):
        evaluate(ready, FEBRUARY)


def test_the_command_tells_it_in_words_and_in_json(ready: Platform, run: Run) -> None:
    text = run("evaluate", "1", "--as-of", "2024-01-31")
    assert "version 1 judged on 2024-01-31" in text
    assert "warning: 225 of 300 rows were trained on" in text
    again = json.loads(run("evaluate", "1", "--as-of", "2024-01-31", "--json"))
    (kept,) = evaluations.evaluations(ready.database, ready.registry.model)
    assert again["recorded"] is False
    assert again["evaluation"]["figures"] == kept.figures
    assert f"{kept.figures['auc']:.4f}" in text
    assert "nothing is added" in run("evaluate", "1", "--as-of", "2024-01-31")


def test_versions_are_compared_on_the_same_rows_alone(ready: Platform, run: Run) -> None:
    second = train(ready, FEBRUARY, None, 1, NOW)
    twin = train(ready, FEBRUARY, None, 1, NOW, choice=split.Choice(refit=True))
    for version in (1, second.version):
        evaluate(ready, MARCH, version)
    evaluate(ready, FEBRUARY)
    text = run("models")
    assert f"different rows but for those of versions {twin.version}, {second.version}" in text
    assert "evaluated on 2024-03-31: 300 rows" in text
    assert "evaluated on 2024-02-29: 300 rows" in text
    assert "only those of one compare" in text
    listed = {one["version"]: one for one in json.loads(run("models", "--json"))}
    assert [one["as_of"] for one in listed[1]["evaluations"]] == ["2024-03-31", "2024-02-29"]
    assert listed[twin.version]["evaluations"] == []

    text = run("diff", "1", str(second.version))
    assert "of different rows: they don't say which of the two is better" in text
    assert "evaluated on 2024-03-31: the same 300 rows" in text
    assert "evaluated on 2024-02-29" not in text
    same = run("diff", str(second.version), str(twin.version))
    assert "different rows" not in same


def test_evaluations_of_other_rows_are_told_apart(ready: Platform, run: Run) -> None:
    second = train(ready, FEBRUARY, None, 1, NOW)
    evaluate(ready, MARCH)
    correct(ready, "failures", 2, fails=lambda value: str(value != "True"))
    evaluate(ready, MARCH, second.version)
    assert "On 2024-03-31 the two were evaluated on different rows" in run(
        "diff", "1", str(second.version)
    )
    assert run("models").count("evaluated on 2024-03-31: 300 rows") == 2


def test_a_version_that_few_rows_judged_isnt_told_good(ready: Platform, run: Run) -> None:
    few = iter(range(300))
    correct(ready, "failures", 1, fails=lambda _: str(next(few) % 30 == 0))
    version = train(ready, FEBRUARY, None, 1, NOW).version
    evaluate(ready, MARCH, version)
    assert "can't tell" in run("models")
    with pytest.raises(GateFailed, match="quality") as stopped:
        promotion.promote(ready, version, "Production", "a test", "ada", NOW)
    (quality,) = (one for one in stopped.value.report["gates"] if one["gate"] == "quality")
    assert quality["figures"]["acceptance"]["auc"]["outcome"] == "can't tell"
    assert promote(ready, version, "Staging", "a test", "ada", NOW).changed


def test_gates_are_told_and_stop_and_can_be_overridden(
    ready: Platform,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The use case asks for somebody's approval here."""
    asking = replace(tiny_case.use_case, gates=Gates(recreated="show", approval=True))
    monkeypatch.setattr(tiny_case, "use_case", asking)
    for name, value in {**environment, "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)

    def told(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["streamflow", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, " ".join(out.split()), " ".join(err.split())

    before = ready.registry.versions()
    code, out, _ = told("check", "1")
    assert code == 3
    assert "gates of version 1, no version is in Production" in out
    assert "approval failed" in out
    promote_it = ("promote", "1", "--to", "production", "--why", "it is needed")
    code, out, err = told(*promote_it)
    assert code == 3
    assert "approval failed" in out
    assert "Version 1 may not go to Production: approval failed." in err
    code, out, _ = told(*promote_it, "--json")
    document = json.loads(out)
    assert (code, document["error"]) == (3, "gate_failed")
    assert {one["gate"]: one["outcome"] for one in document["gates"]["gates"]} == {
        **dict.fromkeys(GATES, "passed"),
        "approval": "failed",
    }
    assert ready.registry.versions() == before
    code, out, _ = told(*promote_it, "--override", "approval", "--override", "latency")
    assert code == 0
    assert "approval is overridden: it is needed" in out
    assert "Version 1: None -> Production." in out
    _, out, _ = told("models")
    assert "in spite of the gate approval, which failed: it is needed." in out
    code, _, err = told("promote", "1", "--to", "staging", "--why", "x", "--override", "quality")
    assert (code, "no other stage has gates" in err) == (2, True)


FEATURES = ("kind", "age_weeks", "temperature_c", "alarms", "guard_open")


def look_back(ready: Platform, **how: Any) -> Backtest:
    return backtest.backtest(ready, Choice(**{"first": FEBRUARY, "last": FEBRUARY, **how}), NOW)


def test_a_backtest_is_what_the_months_files_say_and_registers_nothing(ready: Platform) -> None:
    found = look_back(ready)
    files = MonthFiles(ready.settings.home / "months", tiny_case.use_case, FEATURES)
    horizon, models = timedelta(0), tiny_case.use_case.models
    plan = Plan([FEBRUARY], MONTHS, horizon, models, 42, 0.25, ahead=3)
    assert found.backtested == list(looking_back.backtest(plan, files.rows))
    assert [len(one.months) for one in found.backtested] == [1, 2]
    assert (found.as_known_now, found.left_out) == ([], {})
    assert [version.version for version in ready.registry.versions()] == [1]
    assert len(ready.registry.runs()) == 1


def test_a_backtest_learns_from_what_was_known_then(ready: Platform) -> None:
    before = look_back(ready)
    correct(ready, "readings", 0, temperature_c=lambda _: "60.0")
    correct(ready, "failures", 2, fails=lambda value: str(value != "True"))
    after = look_back(ready)
    for then, now in zip(before.backtested, after.backtested, strict=True):
        assert (now.at_random, now.out_of_time) == (then.at_random, then.out_of_time)
        assert now.next is not None
        assert then.next is not None
        assert now.next != then.next  # March's labels, as known today


def test_the_backtest_of_a_history_that_was_loaded_later_says_so(ready: Platform) -> None:
    with ready.database.connection() as connection:
        connection.execute("UPDATE streamflow.ingestions SET recorded_at = %s", [NOW])
    found = look_back(ready, first=JANUARY, ahead=1)
    assert found.as_known_now == [JANUARY, FEBRUARY]
    assert [len(one.months) for one in found.backtested] == [1, 1, 2]


def test_a_month_without_both_labels_or_rows_is_told(ready: Platform, run: Run) -> None:
    few = iter(range(300))
    correct(ready, "failures", 2, fails=lambda _: str(next(few) == 0))
    picture = ready.settings.home / "curve.png"
    day = ("--from", "2024-02-29", "--to", "2024-02-29")
    text = run("backtest", *day, "--plot", str(picture))
    assert "can't tell (1 true of 300)" in text
    assert "logistic_regression Can't tell: at no as_of" in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    told = json.loads(run("backtest", *day, "--json"))
    assert told["backtested"][1]["came_true"][0]["positives"] == 1
    with pytest.raises(AsOfRefused, match="2024-01-31, 2024-02-29, 2024-03-31"):
        look_back(ready, first=date(2025, 1, 31), last=date(2025, 1, 31))
