"""The prediction log on a real PostgreSQL: rows, days, and what happens when it's away."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from tests.fakes import AMOUNT, COUPON, JANUARY, PLAN, VISITS, eventually, model
from tests.statements import execute

from streamflow.errors import DatabaseUnavailable, UnknownEntity
from streamflow.history.forgotten.salted_hash import salted_hash
from streamflow.postgres.database import Database
from streamflow.registry.records import ModelVersion
from streamflow.serving import prediction_log_partitions as partitions
from streamflow.serving.challenger.scored_rows import ScorePairs
from streamflow.serving.challenger.shadow_rows import encoded, model_key
from streamflow.serving.prediction_log import PredictionLog
from streamflow.serving.prediction_log_rows import EncodedRows, Encoder, LoggedModel, Receipt, read
from streamflow.serving.prediction_log_writer import PredictionWriter
from streamflow.serving.scoring import Prediction, ScoringRequest, Served

NOW = datetime(2024, 5, 20, 12, tzinfo=UTC)
TODAY, TOMORROW = date(2024, 5, 20), date(2024, 5, 21)
DAY = timedelta(days=1)
VALUES = {"visits": 3, "plan": "basic", "amount": 0.1 + 0.2, "coupon": None}
VERSION = ModelVersion("example_model", 3, "run-3", "Production", (), {}, "hash-3")
SERVED = Served(VERSION, model(0.5, VISITS, PLAN, AMOUNT, COUPON))


def prediction(values: dict[str, Any], probability: float = 0.5) -> Prediction:
    times = {"activity_view": JANUARY, "billing_view": NOW}
    return Prediction("ann", 1, probability, values, VERSION, JANUARY, times, (), "")


def answered(request_ids: Sequence[str], moment: datetime = NOW) -> EncodedRows:
    requests = [ScoringRequest("ann", request_id) for request_id in request_ids]
    return Encoder().rows(SERVED, requests, [prediction(VALUES)] * len(requests), moment)


@pytest.fixture
def url(new_database: Callable[..., str], prepared_database: str) -> str:
    return new_database(prepared_database)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with Database(url) as opened:
        yield opened


def writer(url: str, keep_days: int = 30, now: datetime = NOW) -> PredictionWriter:
    return PredictionWriter(Database(url), keep_days, lambda: now)


def found(database: Database, *request_ids: str) -> list[Receipt]:
    rows = database.rows("predictions", request_ids=list(request_ids), model="example_model")
    return [read(row) for row in rows]


def counted(database: Database) -> int:
    count: int = execute(
        database, "SELECT count(*) AS rows FROM streamflow.predictions"
    ).fetchall()[0]["rows"]
    return count


def test_values_come_back_from_the_database_to_the_last_bit(database: Database, url: str) -> None:
    amounts = [0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, 1e16, 2.0**53, math.pi, 3.0]
    amounts += [math.nan, math.inf, -math.inf]
    words = ["", "NaN", "null", '"', "\\", "a\nb", "\x00", "ä€𝄞", "'", "{}"]
    some = [{**VALUES, "amount": amount} for amount in amounts]
    some += [{**VALUES, "plan": word} for word in words]
    some += [{**VALUES, "visits": 2**63 - 1}, {**VALUES, "visits": -(2**53) - 1}]
    some += [{**VALUES, "coupon": coupon} for coupon in (True, False, None)]
    probabilities = [math.nextafter(0.5, 1), *(0.1,) * (len(some) - 1)]
    answers = [prediction(*one) for one in zip(some, probabilities, strict=True)]
    requests = [ScoringRequest("ann", f"request {number}") for number in range(len(some))]
    writer(url).write([Encoder().rows(SERVED, requests, answers, NOW)])

    for number, (values, probability) in enumerate(zip(some, probabilities, strict=True)):
        (receipt,) = found(database, f"request {number}")
        assert repr(receipt.values) == repr(values)
        assert receipt.probability == probability
        assert receipt.times == {"activity_view": JANUARY, "billing_view": NOW}
        assert (receipt.prediction, receipt.problem, receipt.predicted_at) == (1, None, NOW)
        assert receipt.model == LoggedModel.from_served(SERVED)


def test_problems_and_predictions_of_one_request_are_rows_of_their_own(
    database: Database, url: str
) -> None:
    requests = [ScoringRequest("ann", "batch"), ScoringRequest("nobody", "batch")]
    unknown = UnknownEntity("user_id", "nobody")
    writer(url).write([Encoder().rows(SERVED, requests, [prediction(VALUES), unknown], NOW)])
    told = [(one.entity_id, one.prediction, one.problem) for one in found(database, "batch")]
    assert told == [("ann", 1, None), ("nobody", None, "unknown_entity")]


def test_the_id_of_a_forgotten_person_is_not_written_back(database: Database, url: str) -> None:
    salts = bytes(range(32)), bytes(range(32, 64))
    for salt, entity in zip(salts, ("jané", "john"), strict=True):
        execute(
            database,
            "INSERT INTO streamflow.forgotten "
            "(use_case, salt, hash, forgotten_at, forgotten_by, why, tables) "
            "VALUES ('churn', %s, %s, %s, 'me', 'asked for it', '{}')",
            [salt, salted_hash(salt, entity), NOW],
        )
    ids = ["john", "nobody", "jané", "half \ud83d"]
    requests = [ScoringRequest(one, "asked again") for one in ids]
    unknown = [UnknownEntity("user_id", one) for one in ids]
    writer(url).write([Encoder().rows(SERVED, requests, unknown, NOW)])

    told = {(one.entity_id, one.problem) for one in found(database, "asked again")}
    assert told == {
        (name, "unknown_entity")
        for name in ("forgotten 1", "forgotten 2", "nobody", "half \\ud83d")
    }

    staged = Served(replace(VERSION, version=4, stage="Staging"), SERVED.model)
    pairs = ScorePairs(
        SERVED, staged, requests[:2], [NOW] * 2, ["unknown_entity"] * 2, ["unknown_entity"] * 2
    )
    keys = {id(each): model_key(each) for each in (SERVED, staged)}
    own = PredictionWriter(Database(url), 30, lambda: NOW, "copy_shadow_scores")
    own.prepare()
    own.write([encoded(pairs, keys)])
    rows = execute(database, "SELECT entity_id FROM streamflow.shadow_scores").fetchall()
    assert {row["entity_id"] for row in rows} == {"forgotten 2", "nobody"}


def test_a_prediction_that_waited_while_its_person_was_forgotten_is_not_written(
    database: Database, url: str
) -> None:
    salt = bytes(range(32))
    now = datetime.now(UTC)
    waiting = Encoder().rows(
        SERVED,
        [ScoringRequest(one, one) for one in ("jane", "nobody", "john")],
        [prediction(VALUES), UnknownEntity("user_id", "nobody"), prediction(VALUES)],
        now,
    )
    asked_again = Encoder().rows(
        SERVED, [ScoringRequest("jane", "again")], [UnknownEntity("user_id", "jane")], now
    )
    staged = Served(replace(VERSION, version=4, stage="Staging"), SERVED.model)
    requests = [ScoringRequest(one, one) for one in ("jane", "john")]
    pairs = ScorePairs(
        *(SERVED, staged, requests, [now] * 2, [prediction(VALUES)] * 2, [prediction(VALUES)] * 2)
    )
    keys = {id(each): model_key(each) for each in (SERVED, staged)}
    with Database(url) as forgetting, forgetting.transaction():
        forgetting.execute("lock_forgetting")
        beside = threading.Thread(target=writer(url, now=now).write, args=([waiting, asked_again],))
        beside.start()
        beside.join(0.3)
        assert beside.is_alive()  # it waits until it is known who was forgotten
        execute(
            forgetting,
            "INSERT INTO streamflow.forgotten "
            "(use_case, salt, hash, forgotten_at, forgotten_by, why, tables) "
            "VALUES ('churn', %s, %s, %s, 'me', 'asked for it', '{}')",
            [salt, salted_hash(salt, "jane"), now],
        )
    beside.join(20)
    told = {
        (one.entity_id, one.problem) for one in found(database, "jane", "nobody", "john", "again")
    }
    assert told == {("nobody", "unknown_entity"), ("john", None), ("forgotten 1", "unknown_entity")}

    own = PredictionWriter(Database(url), 30, lambda: now, "copy_shadow_scores")
    own.prepare()
    own.write([encoded(pairs, keys)])
    rows = execute(database, "SELECT entity_id FROM streamflow.shadow_scores").fetchall()
    assert [row["entity_id"] for row in rows] == ["john"]


def test_a_batch_that_was_written_twice_is_found_once(database: Database, url: str) -> None:
    twice = writer(url)
    for _ in range(2):
        twice.write([answered(["a", "b"])])
    assert counted(database) == 4
    assert [one.request_id for one in found(database, "a", "b")] == ["a", "b"]


def test_a_row_that_the_database_refuses_leaves_nothing_and_says_so(
    database: Database, url: str
) -> None:
    refusing = writer(url)
    with pytest.raises(ValueError, match="copy_predictions"):
        refusing.write([answered(["a"]), answered(["no\x00text"])])
    assert counted(database) == 0
    refusing.write([answered(["b"])])
    assert counted(database) == 1


def test_days_are_made_ahead_and_for_whatever_day_has_rows(database: Database, url: str) -> None:
    ahead = writer(url)
    ahead.prepare()
    assert partitions.partition_days(database) == [TODAY, TOMORROW]
    ends = [NOW.replace(hour=23, minute=59, second=59, microsecond=999_999), NOW.replace(hour=0)]
    ahead.write([answered([str(moment)], moment) for moment in (*ends, NOW - 40 * DAY)])
    assert partitions.partition_days(database) == [TODAY - 40 * DAY, TODAY, TOMORROW]
    rows = execute(
        database,
        "SELECT relname AS name, count(*) AS rows FROM streamflow.predictions "
        "JOIN pg_class ON pg_class.oid = predictions.tableoid GROUP BY 1 ORDER BY 1",
    ).fetchall()
    assert [(row["name"], row["rows"]) for row in rows] == [
        ("predictions_20240410", 1),
        ("predictions_20240520", 2),
    ]


def test_a_new_day_has_its_partition_before_it_begins(database: Database, url: str) -> None:
    moments = [NOW]
    watching = PredictionWriter(Database(url), 30, lambda: moments[-1])
    watching.prepare()
    moments.append(NOW + DAY)
    watching.prepare()
    assert partitions.partition_days(database) == [TODAY, TOMORROW, TOMORROW + DAY]


def test_only_days_older_than_asked_are_dropped(database: Database, url: str) -> None:
    old = [TODAY - days * DAY for days in (400, 31, 30, 29, 1, 0)]
    partitions.create_partitions(database, old)
    execute(
        database,
        "CREATE TABLE streamflow.predictions_19990101 (kept text);"
        "CREATE TABLE streamflow.predictions_others PARTITION OF streamflow.predictions DEFAULT",
    )
    writer(url, keep_days=30).prepare()
    assert partitions.partition_days(database) == sorted([*old[2:], TOMORROW])
    tables = execute(
        database,
        "SELECT relname FROM pg_class WHERE relname IN ('predictions_19990101', "
        "'predictions_others')",
    ).fetchall()
    assert len(tables) == 2


def test_days_and_models_that_are_gone_are_made_again(database: Database, url: str) -> None:
    """As after the database was restored from a backup."""
    watching = writer(url)
    watching.write([answered(["a"])])
    partitions.drop_partitions_before(database, TOMORROW)
    execute(database, "DELETE FROM streamflow.served_models")
    with pytest.raises(psycopg.errors.CheckViolation):
        watching.write([answered(["b"])])
    watching.write([answered(["b"])])
    assert [one.request_id for one in found(database, "a", "b")] == ["b"]


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Somebody looks at the whole log, and takes their time."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT count(*) FROM streamflow.predictions")
        yield


def test_whoever_reads_the_log_for_long_keeps_no_row_and_no_new_day_waiting(
    database: Database, url: str
) -> None:
    partitions.create_partitions(database, [TODAY - 100 * DAY])
    busy = writer(url)
    with reading(url):
        busy.prepare()  # the old day stays for now
        busy.write([answered(["a"])])
        assert partitions.partition_days(database) == [
            TODAY - 100 * DAY,
            TODAY,
            TOMORROW,
        ]
        assert len(found(database, "a")) == 1
    writer(url).prepare()
    assert partitions.partition_days(database) == [TODAY, TOMORROW]


def test_many_processes_that_start_at_once_make_each_day_once(database: Database, url: str) -> None:
    several, each = 6, 20
    together = threading.Barrier(several)

    def work(number: int) -> None:
        own = writer(url)
        together.wait(10)
        own.prepare()
        own.write([answered([f"{number}-{row}"]) for row in range(each)])
        own.close()

    with ThreadPoolExecutor(several) as pool:
        list(pool.map(work, range(several)))
    assert partitions.partition_days(database) == [TODAY, TOMORROW]
    assert counted(database) == several * each
    models = execute(database, "SELECT * FROM streamflow.served_models").fetchall()
    assert len(models) == 1


class Counted:
    """What a log's metrics were told."""

    def __init__(self) -> None:
        self.written = self.dropped = self.waiting = 0
        self.looked = threading.Event()

    def record_log_added(self, rows: int) -> None:
        pass

    def record_log_rows(self, written: int, dropped: int, waiting: int) -> None:
        self.written += written
        self.dropped += dropped
        self.waiting = waiting
        self.looked.set()

    def record_log_seconds(self, seconds: float) -> None:
        assert seconds >= 0


@contextmanager
def away(server_url: str, url: str) -> Iterator[None]:
    """The database takes nobody in meanwhile."""
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    with psycopg.connect(server_url, autocommit=True) as connection:
        closed = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        connection.execute(closed.format(name, sql.Literal(False)))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [conninfo_to_dict(url)["dbname"]],
        )
        try:
            yield
        finally:
            connection.execute(closed.format(name, sql.Literal(True)))


def put(log: PredictionLog, *request_ids: str) -> None:
    requests = [ScoringRequest("ann", request_id) for request_id in request_ids]
    log.add(SERVED, requests, [prediction(VALUES)] * len(requests), NOW)


def test_while_the_database_is_away_nothing_is_lost_within_the_bound(
    server_url: str, url: str
) -> None:
    metrics = Counted()
    log = PredictionLog(writer(url), metrics, max_waiting=10, pause_seconds=0.01)
    log.start()
    put(log, "before")
    eventually(lambda: metrics.written == 1)
    with away(server_url, url):
        for number in range(10):
            put(log, str(number))
        eventually(lambda: metrics.waiting == 10)
        put(log, "too much", "by two")
        eventually(lambda: metrics.dropped == 2)
    eventually(lambda: metrics.written == 11)
    log.close()
    with Database(url) as database:
        expected = ["before", *map(str, range(10))]
        assert sorted(one.request_id for one in found(database, *expected, "by two")) == sorted(
            expected
        )


def test_what_waits_at_the_end_is_written(database: Database, url: str) -> None:
    metrics = Counted()
    log = PredictionLog(writer(url), metrics, pause_seconds=60)
    log.start()
    assert metrics.looked.wait(60)  # it looks once at its start, and then pauses
    for number in range(100):
        put(log, str(number))
    assert counted(database) == 0
    log.close()
    assert counted(database) == 100


def test_both_scores_come_back_from_the_database_and_are_no_receipts(
    database: Database, url: str
) -> None:
    staged = Served(replace(VERSION, version=4, stage="Staging"), SERVED.model)
    requests = [ScoringRequest("ann", str(number)) for number in range(3)]
    one = prediction(VALUES, 0.25)
    other = prediction(VALUES, 0.1 + 0.2)._replace(prediction=0)
    pairs = ScorePairs(
        SERVED,
        staged,
        requests,
        [NOW] * 3,
        [one, one, "unknown_entity"],
        [other, "model_failed", "x"],
    )
    keys = {id(each): model_key(each) for each in (SERVED, staged)}
    own = PredictionWriter(Database(url), 30, lambda: NOW, "copy_shadow_scores")
    own.prepare()
    own.write([encoded(pairs, keys)])
    rows = execute(
        database,
        "SELECT request_id, predicted_at, one.version, prediction, probability, problem, "
        "other.version AS beside, other.stage, shadow_prediction, shadow_probability, "
        "shadow_problem FROM streamflow.shadow_scores "
        "JOIN streamflow.served_models AS one ON one.served_model = answered_by "
        "JOIN streamflow.served_models AS other ON other.served_model = shadow "
        "ORDER BY request_id",
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("0", NOW, 3, 1, 0.25, None, 4, "Staging", 0, 0.1 + 0.2, None),
        ("1", NOW, 3, 1, 0.25, None, 4, "Staging", None, None, "model_failed"),
        ("2", NOW, 3, None, None, "unknown_entity", 4, "Staging", None, None, "x"),
    ]
    assert found(database, "0", "1", "2") == []
    partitions.drop_partitions_before(database, TOMORROW)
    assert execute(database, "TABLE streamflow.shadow_scores").fetchall() == []


def test_a_database_that_is_away_is_told_as_that(server_url: str, url: str) -> None:
    with away(server_url, url), pytest.raises(DatabaseUnavailable):
        writer(url).write([answered(["a"])])
