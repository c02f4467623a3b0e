"""What was known when: training sets and online features, on a real PostgreSQL through Feast."""

from __future__ import annotations

import csv
import random
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.statements import execute, history_at
from tests.training_tables import data_hash, listed, table_of

from churn import use_case
from churn.generator import generate
from streamflow.bootstrap import platform
from streamflow.errors import (
    AsOfRefused,
    FeatureStoreUnavailable,
    InvalidSettings,
    LabelsNotMatured,
)
from streamflow.features import definitions, feature_store, materialization, point_in_time
from streamflow.features.point_in_time import Assembled
from streamflow.history import months as history_months
from streamflow.history.as_of import event_timestamp
from streamflow.history.ingest import ingest
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.serving.feast_online_store import FeastStore
from streamflow.serving.postgres_online_store import PostgresStore
from streamflow.settings import Settings, load_settings
from streamflow.training.dataset import TrainingSet
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.use_case import Generation, UseCase

USERS = 60
JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
JANUARY_KNOWN = datetime(2024, 2, 3, 6, tzinfo=UTC)
FEBRUARY_KNOWN = datetime(2024, 3, 3, 6, tzinfo=UTC)
CORRECTED = datetime(2024, 3, 20, 6, tzinfo=UTC)
NOW = datetime(2024, 4, 15, 12, tzinfo=UTC)
TABLES = [table.name for table in use_case.tables()]
VIEWS = ["payments_agg_90d_fv", "subs_profile_fv", "support_agg_90d_fv", "usage_agg_30d_fv"]


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("months")
    generate(Generation(folder, users=USERS, months=2, seed=11))
    return folder


@pytest.fixture(scope="module")
def january_loaded(
    months: Path,
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """A database with January in history and the definitions applied, to copy."""
    url = new_database(prepared_database)
    home = tmp_path_factory.mktemp("january")
    with platform(load_settings(home=home, database_url=url, use_case="churn")) as ready:
        load(ready.database, months / "month_000", JANUARY, JANUARY_KNOWN)
        definitions.apply(feature_store.open_store(url, use_case), use_case)
    return url


@pytest.fixture
def settings(new_database: Callable[..., str], january_loaded: str, tmp_path: Path) -> Settings:
    """In place of an empty database: one that knows January."""
    url = new_database(january_loaded)
    return load_settings(home=tmp_path / "a home", database_url=url, use_case="churn")


@pytest.fixture
def database(ready: Platform) -> Database:
    return ready.database


@pytest.fixture
def january(months: Path, tmp_path: Path) -> Path:
    """January's files, free to be changed."""
    return shutil.copytree(months / "month_000", tmp_path / "january")


def load(
    database: Database,
    folder: Path,
    as_of: date,
    recorded_at: datetime,
    use_case: UseCase = use_case,
) -> None:
    ingest(database, use_case, folder, as_of, recorded_at, NOW, "test", folder / "reports")


Rows = list[dict[str, str]]


def edit(folder: Path, table: str, change: Callable[[Rows], Rows]) -> None:
    file = folder / f"{table}.csv"
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(change(rows))


def correct_fee(folder: Path, fee: str, user: int = 0) -> str:
    """Give a user another monthly fee; who that is."""
    found: list[str] = []

    def change(rows: Rows) -> Rows:
        rows[user]["monthly_fee"] = fee
        found.append(rows[user]["user_id"])
        return rows

    edit(folder, "subscriptions", change)
    return found[0]


def ids(folder: Path) -> list[str]:
    with (folder / "users.csv").open(newline="") as lines:
        return sorted(row["user_id"] for row in csv.DictReader(lines))


def assemble(
    database: Database,
    as_of: date = JANUARY,
    known_at: datetime = NOW,
    use_case: UseCase = use_case,
) -> Assembled:
    return point_in_time.assemble(database, use_case, [as_of], known_at)


def training_set(database: Database, **arguments: Any) -> TrainingSet:
    return assemble(database, **arguments).training_set


def test_a_training_set_holds_each_users_own_values_in_order_of_users(
    database: Database, january: Path
) -> None:
    found = training_set(database)

    assert found.entities == ids(january)
    assert (found.as_of, found.known_at) == (JANUARY, NOW)
    with (january / "subscriptions.csv").open(newline="") as lines:
        file = {row["user_id"]: row for row in csv.DictReader(lines)}
    rows = [file[user] for user in found.entities]
    assert listed(found, "monthly_fee") == [float(row["monthly_fee"]) for row in rows]
    assert listed(found, "months_active") == [int(row["months_active"]) for row in rows]
    assert listed(found, "plan_stream_tv") == [
        {"": None, "True": True, "False": False}[row["plan_stream_tv"]] for row in rows
    ]
    with (january / "labels.csv").open(newline="") as lines:
        labels = {row["user_id"]: row["churn_label"] == "True" for row in csv.DictReader(lines)}
    assert list(found.labels) == [labels[user] for user in found.entities]


def test_a_training_sets_table_is_the_training_set(database: Database) -> None:
    found = assemble(database)
    assert found.table.equals(table_of(found.training_set))


def test_loading_february_leaves_january_as_it_was(
    database: Database, january: Path, months: Path, tmp_path: Path
) -> None:
    before = data_hash(training_set(database))
    february = shutil.copytree(months / "month_001", tmp_path / "february")
    # The same users come again, all with the other answer.
    january_answers = (january / "labels.csv").read_text()
    for table in TABLES:
        shutil.copy(january / f"{table}.csv", february)
    swapped = {"True": "False", "False": "True"}
    edit(
        february,
        "labels",
        lambda rows: [{**row, "churn_label": swapped[row["churn_label"]]} for row in rows],
    )
    correct_fee(february, "1.25")
    assert (february / "labels.csv").read_text() != january_answers
    load(database, february, FEBRUARY, FEBRUARY_KNOWN)

    assert data_hash(training_set(database)) == before
    assert data_hash(training_set(database, known_at=JANUARY_KNOWN)) == before
    of_february = training_set(database, as_of=FEBRUARY)
    assert of_february.entities == training_set(database).entities
    assert list(of_february.labels) == [not label for label in training_set(database).labels]


def test_a_correction_is_seen_from_when_it_was_known_and_not_before(
    database: Database, january: Path
) -> None:
    before = data_hash(training_set(database))
    user = correct_fee(january, "1.25")
    load(database, january, JANUARY, CORRECTED)

    just_before = CORRECTED - timedelta(microseconds=1)
    assert data_hash(training_set(database, known_at=just_before)) == before
    for known_at in (CORRECTED, NOW):
        now = training_set(database, known_at=known_at)
        assert data_hash(now) != before
        assert now.columns["monthly_fee"][now.entities.index(user)] == 1.25


def test_a_corrected_answer_is_seen_from_when_it_was_known_and_not_before(
    database: Database, january: Path
) -> None:
    before = training_set(database)

    def other_answer(rows: Rows) -> Rows:
        rows[0]["churn_label"] = "False" if rows[0]["churn_label"] == "True" else "True"
        return rows

    edit(january, "labels", other_answer)
    load(database, january, JANUARY, CORRECTED)

    assert list(training_set(database, known_at=FEBRUARY_KNOWN).labels) == list(before.labels)
    after = training_set(database)
    assert sum(a != b for a, b in zip(after.labels, before.labels, strict=True)) == 1


def test_who_became_known_later_isnt_in_what_was_known_before(
    database: Database, january: Path
) -> None:
    before = training_set(database)
    for table in TABLES:
        edit(january, table, lambda rows: [*rows, {**rows[0], "user_id": "0000-NEW"}])
    load(database, january, JANUARY, CORRECTED)

    assert training_set(database, known_at=FEBRUARY_KNOWN).entities == before.entities
    assert training_set(database).entities == ["0000-NEW", *before.entities]


def test_an_ingestion_under_way_is_seen_wholly_or_never_at_a_moment_of_knowing(
    database: Database, january: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it records is past by the time that it commits, and the answer mustn't change then."""
    user = correct_fee(january, "1.25")
    whole, about_to_commit, commit = Database.execute, threading.Event(), threading.Event()

    def waiting(self: Database, name: str, *arguments: Any, **values: Any) -> Any:
        if name == "record_ingestion":
            about_to_commit.set()
            assert commit.wait(60)
        return whole(self, name, *arguments, **values)

    monkeypatch.setattr(Database, "execute", waiting)
    hashes: list[str] = []

    def ingesting() -> None:
        with history_at(database.url, january.parent / "own") as own:
            load(own, january, JANUARY, CORRECTED)

    def assembling() -> None:
        with history_at(database.url, january.parent / "own") as own:
            hashes.append(data_hash(training_set(own)))

    ingestion, assembly = threading.Thread(target=ingesting), threading.Thread(target=assembling)
    ingestion.start()
    assert about_to_commit.wait(60)
    assembly.start()
    until_ended_or_waiting(assembly, database)
    commit.set()
    for thread in (ingestion, assembly):
        thread.join(60)

    now = training_set(database)
    assert now.columns["monthly_fee"][now.entities.index(user)] == 1.25
    assert hashes == [data_hash(now)]


def until_ended_or_waiting(thread: threading.Thread, database: Database) -> None:
    deadline = time.monotonic() + 60
    waiting = (
        "SELECT FROM pg_locks JOIN pg_database d ON d.oid = database "
        "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
    )
    while thread.is_alive() and not execute(database, waiting).fetchall():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_order_of_a_files_rows_doesnt_matter(
    database: Database, january: Path, new_database: Callable[..., str], prepared_database: str
) -> None:
    for table in TABLES:
        edit(january, table, lambda rows: random.Random(3).sample(rows, len(rows)))
    url = new_database(prepared_database)
    with history_at(url, january.parent / "other") as other:
        load(other, january, JANUARY, JANUARY_KNOWN)
        definitions.apply(feature_store.open_store(url, use_case), use_case)
        assert data_hash(training_set(other)) == data_hash(training_set(database))


def test_answers_that_havent_matured_are_refused_with_their_number(
    database: Database, january: Path
) -> None:
    patient = replace(use_case, label=replace(use_case.label, horizon=timedelta(days=30)))
    matured = event_timestamp(JANUARY) + timedelta(days=30)
    execute(database, "UPDATE churn.labels_history SET recorded_at = %s", [matured])
    with pytest.raises(LabelsNotMatured, match=rf"^{USERS} label\(s\)") as refused:
        assemble(database, known_at=matured - timedelta(microseconds=1), use_case=patient)
    assert matured.isoformat() in refused.value.message
    assert len(training_set(database, known_at=matured, use_case=patient).labels) == USERS


def test_answers_that_werent_even_delivered_are_refused_with_the_number_of_those_who_lack_one(
    database: Database,
) -> None:
    patient = replace(use_case, label=replace(use_case.label, horizon=timedelta(days=30)))
    execute(database, "DELETE FROM churn.labels_history")
    with pytest.raises(LabelsNotMatured, match=rf"^{USERS} label\(s\)"):
        assemble(database, known_at=JANUARY_KNOWN, use_case=patient)


def test_definitions_that_arent_applied_arent_trained_on(database: Database) -> None:
    def without_the_fee() -> list[Any]:
        objects = use_case.features()
        (view,) = (one for one in objects if one.name == "subs_profile_fv")
        (service,) = (one for one in objects if one.name == "churn_v1")
        kept = [field for field in view.features if field.name != "monthly_fee"]
        view.features = kept
        service.feature_view_projections[0].features = kept
        return objects

    def longer() -> list[Any]:
        objects = use_case.features()
        (view,) = (one for one in objects if one.name == "subs_profile_fv")
        view.ttl = timedelta(days=90)
        return objects

    with pytest.raises(InvalidSettings, match="still has subs_profile_fv:monthly_fee") as refused:
        assemble(database, use_case=replace(use_case, features=without_the_fee))
    assert refused.value.next == "Run `streamflow apply`."
    with pytest.raises(InvalidSettings, match="has another subs_profile_fv:months_active"):
        assemble(database, use_case=replace(use_case, features=longer))


def test_a_null_label_is_not_known_whoever_had_one_before(database: Database) -> None:
    everyone = training_set(database).entities
    never, withdrawn, given = everyone[3], everyone[5], everyone[8]
    correction = """
        INSERT INTO churn.labels_history (user_id, as_of, recorded_at, ingestion_id, churn_label)
        SELECT user_id, as_of, %(at)s, ingestion_id, %(label)s
        FROM churn.labels_history WHERE user_id = ANY(%(ids)s) AND recorded_at = %(first)s
    """
    execute(
        database,
        "UPDATE churn.labels_history SET churn_label = NULL WHERE user_id = ANY(%s)",
        [[never, given]],
    )
    for ids_, label in (([withdrawn], None), ([given], True)):
        execute(
            database,
            correction,
            {"at": CORRECTED, "label": label, "ids": ids_, "first": JANUARY_KNOWN},
        )

    before, after = assemble(database, known_at=JANUARY_KNOWN), assemble(database)

    assert set(everyone) - set(before.training_set.entities) == {never, given}
    assert (before.without_label, before.null_labels) == (2, 2)
    assert set(everyone) - set(after.training_set.entities) == {never, withdrawn}
    assert (after.without_label, after.null_labels) == (2, 2)


def test_a_month_whose_every_label_is_null_cant_be_trained_on(database: Database) -> None:
    execute(database, "UPDATE churn.labels_history SET churn_label = NULL")
    with pytest.raises(AsOfRefused, match="No 'churn_label' of AS_OF 2024-01-31 was known"):
        assemble(database)


def test_users_without_an_answer_or_a_required_feature_are_left_out_and_counted(
    january: Path, new_database: Callable[..., str], prepared_database: str
) -> None:
    everyone = ids(january)
    unanswered, unmeasured, unknown_plan = everyone[3], everyone[7], everyone[9]
    edit(january, "labels", lambda rows: [r for r in rows if r["user_id"] != unanswered])
    edit(january, "payments_agg_90d", lambda rows: [r for r in rows if r["user_id"] != unmeasured])

    def no_plan(rows: Rows) -> Rows:
        return [{**r, "plan_stream_tv": ""} if r["user_id"] == unknown_plan else r for r in rows]

    edit(january, "subscriptions", no_plan)
    url = new_database(prepared_database)
    with history_at(url, january.parent / "another") as database:
        load(database, january, JANUARY, JANUARY_KNOWN)
        definitions.apply(feature_store.open_store(url, use_case), use_case)
        found = assemble(database)

    assert (found.without_label, found.without_features, found.null_labels) == (1, 1, 0)
    assert found.training_set.entities == [
        user for user in everyone if user not in (unanswered, unmeasured)
    ]
    # Where a null is a value, it isn't missing.
    position = found.training_set.entities.index(unknown_plan)
    assert listed(found.training_set, "plan_stream_tv")[position] is None


@pytest.mark.parametrize(
    ("as_of", "known_at", "reason"),
    [
        (date(2023, 12, 31), NOW, "no data at AS_OF 2023-12-31; there is at: 2024-01-31"),
        (FEBRUARY, NOW, "no data at AS_OF 2024-02-29; there is at: 2024-01-31"),
        (date(2024, 4, 15), NOW, "hasn't ended yet"),
        (date(2030, 1, 31), NOW, "hasn't ended yet"),
        (JANUARY, datetime(2024, 1, 31, 12, tzinfo=UTC), "hasn't ended yet"),
    ],
)
def test_a_day_without_data_or_in_the_future_is_refused(
    database: Database, as_of: date, known_at: datetime, reason: str
) -> None:
    with pytest.raises(AsOfRefused, match=reason):
        assemble(database, as_of, known_at)
    with pytest.raises(AsOfRefused, match=reason):
        materialization.materialize(database, use_case, as_of, known_at)


def test_a_month_that_wasnt_known_yet_is_refused(
    database: Database, months: Path, tmp_path: Path
) -> None:
    before = JANUARY_KNOWN - timedelta(microseconds=1)
    with pytest.raises(AsOfRefused, match=r"known yet at 2024-02-03T05.*06:00:00") as refused:
        assemble(database, known_at=before)
    assert refused.value.next.endswith("none was.")
    load(database, shutil.copytree(months / "month_001", tmp_path / "m"), FEBRUARY, FEBRUARY_KNOWN)
    with pytest.raises(AsOfRefused, match="2024-02-29 wasn't known yet") as refused:
        assemble(database, as_of=FEBRUARY, known_at=FEBRUARY_KNOWN - timedelta(seconds=1))
    assert refused.value.next.endswith("2024-01-31.")
    assert len(training_set(database, as_of=FEBRUARY, known_at=FEBRUARY_KNOWN).labels) == USERS


@pytest.mark.history_in_postgres("DuckDB's join takes one row of several that are alike in time")
def test_a_join_that_multiplies_rows_is_refused(database: Database) -> None:
    """History can't hold such rows, unless somebody takes its key away."""
    execute(
        database,
        "ALTER TABLE churn.subscriptions_history_20240131 "
        "DROP CONSTRAINT subscriptions_history_20240131_pkey",
    )
    execute(
        database,
        "INSERT INTO churn.subscriptions_history (user_id, as_of, recorded_at, ingestion_id, "
        "months_active, contract_type, paperless_billing, monthly_fee, total_paid, net_service) "
        "SELECT user_id, as_of, recorded_at, ingestion_id, months_active, contract_type, "
        "paperless_billing, monthly_fee + 1, total_paid, net_service "
        "FROM churn.subscriptions_history LIMIT 1",
    )
    with pytest.raises(FeatureStoreUnavailable, match=rf"made {USERS + 1} rows .*out of {USERS}"):
        assemble(database)


Fees = dict[str, tuple[Any, datetime | None]]
OnlineNow = Callable[[list[str]], Fees]


@pytest.fixture
def online_now(ready: Platform) -> OnlineNow:
    """Reads the fees that are online of the users named, with their event timestamps: from the
    tables and through Feast, which have to agree."""
    wanted = (
        Feature("monthly_fee", "subs_profile_fv", "FLOAT64", nullable=False),
        Feature("failed_payments_90d", "payments_agg_90d_fv", "INT64", nullable=False),
    )
    schema = FeatureSchema("two", "user", "user_id", wanted)
    straight = PostgresStore(ready.database, use_case)
    through_feast = FeastStore(None, ready.database, use_case)

    def read(users: list[str]) -> Fees:
        rows = straight.read(straight.plan(schema), users)
        assert through_feast.read(through_feast.plan(schema), users) == rows
        found: Fees = {}
        for user, (times, values) in zip(users, rows, strict=True):
            assert times[0] == times[1]
            if times[0] is not None:
                found[user] = (values[0], times[0])
        return found

    return read


def fees(training_set: TrainingSet) -> Fees:
    moment = event_timestamp(training_set.as_of)
    values = training_set.columns["monthly_fee"]
    return {user: (fee, moment) for user, fee in zip(training_set.entities, values, strict=True)}


@pytest.fixture
def february(database: Database, months: Path) -> Path:
    """February's files, once they are in history."""
    load(database, months / "month_001", FEBRUARY, FEBRUARY_KNOWN)
    return months / "month_001"


def test_materializing_an_older_month_again_doesnt_go_back_in_time(
    database: Database, january: Path, february: Path, online_now: OnlineNow
) -> None:
    everyone = sorted({*ids(january), *ids(february)})
    of_january = fees(training_set(database))
    of_february = fees(training_set(database, as_of=FEBRUARY))
    # Who left in January keeps January's values; of all others, February's count.
    expected = {**of_january, **of_february}
    assert set(of_january) & set(of_february)
    assert of_january.keys() - of_february.keys()

    materialization.materialize(database, use_case, FEBRUARY, NOW)
    assert online_now(everyone) == expected
    materialization.materialize(database, use_case, JANUARY, NOW)
    assert online_now(everyone) == expected


def test_materializing_never_looks_past_the_end_of_its_month(
    database: Database, january: Path, february: Path, online_now: OnlineNow
) -> None:
    everyone = sorted({*ids(january), *ids(february)})
    done = materialization.materialize(database, use_case, JANUARY, NOW)

    assert online_now(everyone) == fees(training_set(database))
    assert {one.feature_view: one.rows for one in done} == dict.fromkeys(VIEWS, USERS)


def test_materializing_at_a_past_moment_brings_what_was_known_then(
    database: Database, january: Path, online_now: OnlineNow
) -> None:
    before = fees(training_set(database))
    correct_fee(january, "1.25")
    load(database, january, JANUARY, CORRECTED)
    materialization.materialize(database, use_case, JANUARY, CORRECTED - timedelta(microseconds=1))
    assert online_now(ids(january)) == before


def test_a_corrected_month_gets_online_with_the_next_materialization_and_stays(
    database: Database, january: Path, february: Path, online_now: OnlineNow
) -> None:
    materialization.materialize(database, use_case, JANUARY, FEBRUARY_KNOWN)
    user = correct_fee(january, "1.25")
    load(database, january, JANUARY, CORRECTED)

    materialization.materialize(database, use_case, JANUARY, NOW)
    assert online_now([user])[user] == (1.25, event_timestamp(JANUARY))
    # Knowing less again doesn't take it back.
    materialization.materialize(database, use_case, JANUARY, FEBRUARY_KNOWN)
    assert online_now([user])[user] == (1.25, event_timestamp(JANUARY))


def test_the_newest_event_timestamps_are_those_of_the_newest_month_materialized(
    database: Database, february: Path
) -> None:
    reader = PostgresStore(database, use_case)
    assert reader.newest_event_timestamps() == {}
    materialization.materialize(database, use_case, JANUARY, NOW)
    assert reader.newest_event_timestamps() == dict.fromkeys(VIEWS, event_timestamp(JANUARY))
    materialization.materialize(database, use_case, FEBRUARY, NOW)
    materialization.materialize(database, use_case, JANUARY, NOW)
    assert reader.newest_event_timestamps() == dict.fromkeys(VIEWS, event_timestamp(FEBRUARY))


def test_months_are_those_that_were_ingested_oldest_first(database: Database, months: Path) -> None:
    assert history_months.months(database, use_case) == [JANUARY]
    load(database, months / "month_001", FEBRUARY, FEBRUARY_KNOWN)
    load(database, months / "month_000", JANUARY, CORRECTED)
    assert history_months.months(database, use_case) == [JANUARY, FEBRUARY]
