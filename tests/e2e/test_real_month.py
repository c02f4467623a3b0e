"""What the real month has to show: the figures, one known answer, and that nothing moves them."""

from __future__ import annotations

import csv
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests import promoting
from tests.training_tables import listed

from streamflow import bootstrap
from streamflow.bootstrap import platform
from streamflow.features import feature_store, point_in_time
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.settings import Settings, load_settings

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
# A fixed time of knowing: what is found out later mustn't be in it.
FIRST_OF_FEBRUARY = datetime(2024, 2, 1, 8, tzinfo=UTC)
FIRST_OF_MARCH = datetime(2024, 3, 1, 8, tzinfo=UTC)

KNOWN = {
    "months_active": 1,
    "monthly_fee": 45.25,
    "paperless_billing": False,
    "plan_stream_tv": False,
    "plan_stream_movies": False,
    "net_service": "DSL",
    "watch_hours_30d": 32.0919931169304,
    "avg_session_mins_7d": 29.14104464084511,
    "unique_devices_30d": 3,
    "skips_7d": 6,
    "rebuffer_events_7d": 3,
    "failed_payments_90d": 0,
    "support_tickets_90d": 0,
    "ticket_avg_resolution_hrs_90d": 5.8,
}


@dataclass(frozen=True)
class January:
    platform: Platform
    trained: train.Trained
    api: TestClient


@contextmanager
def loaded(settings: Settings, month: Path) -> Iterator[Platform]:
    """The platform with a month in its history, and Feast's definitions applied."""
    with platform(settings) as opened:
        ingest(opened, month, JANUARY, None, FIRST_OF_FEBRUARY, "test")
        apply(opened)
        yield opened


@pytest.fixture(scope="module")
def january(
    real_month: Path,
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[January]:
    """The real month: loaded, trained on, in Production, online."""
    home = tmp_path_factory.mktemp("january")
    url = new_database(prepared_database)
    settings = load_settings(home=home, database_url=url, use_case="churn")
    with ExitStack() as stack:
        opened = stack.enter_context(loaded(settings, real_month))
        trained = train.train(opened, JANUARY, None, 42, FIRST_OF_FEBRUARY)
        promoting.promote(
            opened, trained.version, "Production", "the real month", "test", FIRST_OF_FEBRUARY
        )
        materialize(opened, JANUARY, FIRST_OF_FEBRUARY)
        client = stack.enter_context(
            TestClient(bootstrap.api(opened, "127.0.0.1"), base_url="http://127.0.0.1")
        )
        yield January(opened, trained, client)


def column(month: Path, table: str, name: str) -> dict[str, str]:
    with (month / f"{table}.csv").open(newline="", encoding="utf-8") as rows:
        return {row["user_id"]: row[name] for row in csv.DictReader(rows)}


def rewrite(file: Path, target: Path, change: Callable[[list[list[str]]], list[list[str]]]) -> None:
    """A copy of a CSV file with its rows changed; `change` is given all but the header."""
    with file.open(newline="", encoding="utf-8") as source:
        header, *rows = csv.reader(source)
    target.parent.mkdir(exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as copy:
        csv.writer(copy).writerows([header, *change(rows)])


def repeatable(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name != "train_time_sec"}


def test_training_gives_the_known_figures(january: January) -> None:
    trained = january.trained
    assert trained.rows == 7043
    assert (trained.without_label, trained.without_features) == (0, 0)
    assert trained.categorical == ["net_service"]
    assert 0.80 <= trained.metrics["auc"] <= 0.84
    assert trained.metrics["auc_low"] < trained.metrics["auc"] < trained.metrics["auc_high"]
    (version,) = january.platform.registry.versions()
    assert (version.name, version.stage) == ("streamflow_churn", "Production")
    (run,) = january.platform.registry.runs()
    assert (run.run_id, run.status) == (trained.run_id, "FINISHED")
    assert run.metrics["train_time_sec"] > 0
    assert run.params["categorical"] == "net_service"
    assert run.tags["streamflow.data_hash"] == trained.data_hash


def test_the_known_subscriber_gets_the_known_answer(january: January) -> None:
    answer = january.api.post("/predict", json={"user_id": "3413-BMNZE"})
    assert answer.status_code == 200
    told = answer.json()
    assert told["prediction"] == 0
    assert told["features_used"] == KNOWN
    assert {name: type(value) for name, value in told["features_used"].items()} == {
        name: type(value) for name, value in KNOWN.items()
    }
    assert told["features_as_of"] == "2024-01-31T23:59:59.999999+00:00"


def test_a_subscriber_without_internet_service_gets_a_prediction(
    january: January, real_month: Path
) -> None:
    plans = column(real_month, "subscriptions", "plan_stream_tv")
    without = [user for user, plan in plans.items() if plan == ""]
    assert len(without) > 1000
    for user in without[:20]:
        answer = january.api.post("/predict", json={"user_id": user})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["features_used"]["net_service"] == "No"
        assert told["features_used"]["plan_stream_tv"] is None
        assert told["features_used"]["plan_stream_movies"] is None
        assert told["prediction"] in (0, 1)


def test_features_are_the_same_from_the_api_from_feast_and_in_training(january: January) -> None:
    opened = january.platform
    use_case = opened.use_case
    assembled = point_in_time.assemble(opened.database, use_case, [JANUARY], FIRST_OF_FEBRUARY)
    training_set = assembled.training_set
    chosen = random.Random(1).sample(range(len(training_set.entities)), 1000)
    users = [training_set.entities[i] for i in chosen]
    columns = {name: listed(training_set, name) for name in training_set.columns}
    offline = [{name: columns[name][i] for name in columns} for i in chosen]

    store = feature_store.open_store(opened.database.url, use_case)
    by_feast = store.get_online_features(
        features=store.get_feature_service(use_case.feature_service),
        entity_rows=[{"user_id": user} for user in users],
    ).to_dict()
    assert by_feast.pop("user_id") == users
    from_feast = [{name: by_feast[name][i] for name in by_feast} for i in range(len(users))]

    assert sum(None in row.values() for row in offline) > 100
    assert typed(from_feast) == typed(offline)
    names = [feature.name for feature in training_set.schema.features]
    for user, row in zip(users, offline, strict=True):
        shown = january.api.get(f"/features/{user}").json()["features"]
        assert list(shown) == names
        assert typed([{name: one["value"] for name, one in shown.items()}]) == typed([row])


def typed(rows: list[dict[str, Any]]) -> list[dict[str, tuple[type, Any]]]:
    """With each value's type, because Python takes 1, 1.0 and True for equal."""
    return [{name: (type(value), value) for name, value in row.items()} for row in rows]


def test_a_second_month_with_other_answers_leaves_january_as_it_was(
    january: January, real_month: Path, tmp_path: Path
) -> None:
    flipped = {"True": "False", "False": "True"}

    def other_answers(rows: list[list[str]]) -> list[list[str]]:
        return [
            [user, flipped[label] if number % 3 == 0 else label]
            for number, (user, label) in enumerate(rows)
        ]

    for file in real_month.glob("*.csv"):
        change = other_answers if file.stem == "labels" else lambda rows: rows
        rewrite(file, tmp_path / "month_001" / file.name, change)
    opened = january.platform
    done = ingest(opened, tmp_path / "month_001", FEBRUARY, None, FIRST_OF_MARCH, "test")
    assert {table.added for table in done.tables.values()} == {7043}

    again = train.train(opened, JANUARY, None, 42, FIRST_OF_MARCH)
    assert again.data_hash == january.trained.data_hash
    assert again.model_hash == january.trained.model_hash
    assert repeatable(again.metrics) == repeatable(january.trained.metrics)

    february = point_in_time.assemble(
        opened.database, opened.use_case, [FEBRUARY], FIRST_OF_MARCH
    ).training_set
    january_labels = column(real_month, "labels", "churn_label")
    differing = sum(
        label != (january_labels[user] == "True")
        for user, label in zip(february.entities, february.labels, strict=True)
    )
    assert differing == len(range(0, 7043, 3)), "February has answers of its own"


@pytest.mark.slow
def test_another_process_and_another_order_of_rows_give_the_same_bits(
    january: January,
    real_month: Path,
    settings: Settings,
    cli: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    def shuffled(rows: list[list[str]]) -> list[list[str]]:
        return random.Random(len(rows[0])).sample(rows, len(rows))

    for file in real_month.glob("*.csv"):
        rewrite(file, tmp_path / "month_000" / file.name, shuffled)
    with loaded(settings, tmp_path / "month_000"):
        pass
    done = cli("train", "--as-of", str(JANUARY), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    elsewhere = json.loads(done.stdout)
    assert elsewhere["data_hash"] == january.trained.data_hash
    assert elsewhere["model_hash"] == january.trained.model_hash
    assert repeatable(elsewhere["metrics"]) == repeatable(january.trained.metrics)
