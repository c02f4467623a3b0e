"""The history of a model: each row that is bent is named, and its events arrive."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.conftest import Cli
from tests.event_receiver import SECRET, Receiver, receiving
from tests.statements import execute

from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.promotion import approve as approving
from streamflow.promotion import model_history
from streamflow.promotion.change import Change
from streamflow.promotion.events.delivery import EventDelivery, backlog
from streamflow.promotion.events.webhook import Webhook
from streamflow.promotion.lookup import anchors
from streamflow.promotion.lookup.production_at import production_at
from streamflow.promotion.lookup.uses import uses
from streamflow.serving import prediction_log_partitions as partitions

NOW = datetime(2024, 3, 15, 12, tzinfo=UTC)
ROWS = 4
MODEL = "streamflow_churn"


def recorded(ready: Platform, rows: int = ROWS) -> None:
    """A history of promotions, a minute apart."""
    for number in range(1, rows + 1):
        at = NOW + timedelta(minutes=number)
        change = Change(
            "promoted",
            MODEL,
            number,
            "ada",
            f"reason {number}, ä",
            at,
            model_hash=f"{number}" * 64,
            from_stage="None",
            to_stage="Production",
            details={"gates": [{"gate": "quality", "figure": 0.1, "nothing": float("nan")}]},
        )
        head = model_history.record(ready.database, change)
    anchors.anchor(ready, head)


@pytest.fixture
def world(ready: Platform) -> Platform:
    from mlflow import MlflowClient

    MlflowClient(ready.registry.uri, ready.registry.uri).create_registered_model(MODEL)
    recorded(ready)
    return ready


COLUMNS = {
    "changed_at": "changed_at + interval '1 microsecond'",
    "kind": "'rolled back'",
    "who": "who || ' '",
    "why": "'another reason'",
    "version": "version + 1",
    "model_hash": "repeat('f', 64)",
    "run_id": "'another'",
    "from_stage": "NULL",
    "to_stage": "'Staging'",
    "replaced": "7",
    "details": """'{"gates": []}'""",
    "written_at": "written_at - interval '1 second'",
    "written_by": "'ann'",
    "previous_hash": "repeat('0', 64)",
    "hash": "repeat('0', 64)",
}


def bent(ready: Platform) -> int | None:
    found = anchors.verify(ready).bent
    return found.number if found is not None else None


@contextmanager
def undone(ready: Platform) -> Iterator[None]:
    """What is done in the block isn't kept."""
    with ready.database.transaction():
        yield
        raise psycopg.Rollback


def test_what_was_written_is_whole(world: Platform) -> None:
    found = anchors.verify(world)
    assert found.bent is None
    assert found.rows == ROWS
    assert found.anchor is not None
    assert found.head is not None
    assert (found.anchor.number, found.anchor.hash) == (ROWS, found.head.hash)
    # The hash is of what stands in the documentation, and not only of what the database says it is.
    last = model_history.changes(world.database, MODEL)[-1]
    said = [
        *(MODEL, ROWS, f"{last.at:%Y-%m-%dT%H:%M:%S.%f}", "promoted", "ada", "reason 4, ä", 4),
        *("4" * 64, "", "None", "Production", None),
        {"gates": [{"gate": "quality", "figure": 0.1, "nothing": None}]},
        *(f"{last.written_at:%Y-%m-%dT%H:%M:%S.%f}", last.written_by, last.previous_hash),
    ]
    text = execute(world.database, "SELECT %s::jsonb::text AS text", [json.dumps(said)]).fetchone()
    assert text is not None
    assert hashlib.sha256(text["text"].encode()).hexdigest() == last.hash


@pytest.mark.parametrize("number", range(1, ROWS + 1))
def test_each_row_that_is_altered_or_deleted_is_named(world: Platform, number: int) -> None:
    for column, value in COLUMNS.items():
        with undone(world):
            statement = f"UPDATE streamflow.model_history SET {column} = {value} WHERE number = %s"
            assert execute(world.database, statement, [number]).rowcount == 1
            assert bent(world) == number, column
    with undone(world):
        statement = "DELETE FROM streamflow.model_history WHERE number = %s"
        execute(world.database, statement, [number])
        assert bent(world) == number
        # With its event, MLflow's anchor is left, which is the last row's.
        execute(world.database, "DELETE FROM streamflow.model_events WHERE number = %s", [number])
        assert bent(world) == number
    assert bent(world) is None


@pytest.mark.parametrize("number", range(ROWS + 1))
def test_a_row_that_is_put_in_anywhere_is_named(world: Platform, number: int) -> None:
    with undone(world):
        execute(
            world.database,
            "CREATE TEMPORARY TABLE copied ON COMMIT DROP AS "
            "SELECT * FROM streamflow.model_history WHERE number = %s",
            [number or 2],
        )
        for table in ("model_history", "model_events"):
            for step in (1000, -999):
                execute(
                    world.database,
                    f"UPDATE streamflow.{table} SET number = number + {step} WHERE number > %s",
                    [number if step > 0 else 900],
                )
        execute(world.database, "UPDATE copied SET number = %s", [number + 1])
        execute(world.database, "INSERT INTO streamflow.model_history TABLE copied")
        assert bent(world) == number + 1
    with undone(world):
        execute(world.database, "UPDATE streamflow.model_history SET number = 0 WHERE number = 1")
        assert bent(world) in (0, 1)


def test_a_chain_that_was_hashed_anew_is_named_by_its_events_and_by_mlflow(
    world: Platform,
) -> None:
    """As somebody would who may do everything in the database, and knows how it is done."""
    with undone(world):
        execute(world.database, "DELETE FROM streamflow.model_history WHERE number = %s", [ROWS])
        change = Change("promoted", MODEL, 9, "eve", "mine", NOW, to_stage="Production")
        with pytest.raises(psycopg.errors.UniqueViolation), world.database.transaction():
            model_history.record(world.database, change)
        execute(world.database, "DELETE FROM streamflow.model_events WHERE number = %s", [ROWS])
        model_history.record(world.database, change)
        assert bent(world) == ROWS


@pytest.mark.parametrize("number", range(1, ROWS + 1))
def test_a_chain_that_was_made_anew_from_a_row_on_is_named_by_mlflow_alone(
    world: Platform, number: int
) -> None:
    """The events were made anew with it, so that which row was the first can't be seen any more."""
    with undone(world):
        for table in ("model_events", "model_history"):
            statement = f"DELETE FROM streamflow.{table} WHERE number >= %s"
            execute(world.database, statement, [number])
        # Cut off is named too, by the first number that is missing.
        assert bent(world) == number
        for version in range(number, ROWS + 1):
            change = Change("promoted", MODEL, version, "eve", "mine", NOW, to_stage="Production")
            model_history.record(world.database, change)
        assert bent(world) == ROWS


def test_rows_that_mlflow_has_not_written_down_are_told(world: Platform, cli: Cli) -> None:
    """As the API notices them; or as somebody appends one who may do everything in the database."""
    assert anchors.verify(world).after_anchor == []
    change = Change("promoted", MODEL, 9, "eve", "mine", NOW, to_stage="Production")
    head = model_history.record(world.database, change)
    found = anchors.verify(world)
    assert found.bent is None
    assert [(one.number, one.who) for one in found.after_anchor] == [(ROWS + 1, "eve")]
    told = cli("history", "--verify")
    assert f"Row {ROWS + 1} came after it: promoted by eve, written as " in told.stdout
    anchors.anchor(world, head)
    assert anchors.verify(world).after_anchor == []


@pytest.mark.slow
def test_the_command_says_it_with_its_exit_code(world: Platform, cli: Cli) -> None:
    whole = cli("history", "--verify")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert f"Whole: {ROWS} rows" in whole.stdout
    execute(world.database, "UPDATE streamflow.model_history SET why = 'x' WHERE number = 2")
    told = cli("history", "--verify", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["bent"]["number"] == 2
    told = cli("history", "--verify")
    assert "Row 2 of the history of 'streamflow_churn'" in told.stderr


def test_the_command_tells_every_change_and_what_each_version_served(
    world: Platform, cli: Cli
) -> None:
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in (5, 0)]
    partitions.create_partitions(world.database, days)
    served = "00000000-0000-0000-0000-00000000000%s"
    for version, day in itertools.product((1, 2), days):
        execute(
            world.database,
            "INSERT INTO streamflow.served_models VALUES "
            "(%s, %s, %s, 'run', 'Production', repeat(%s, 64), '[]') ON CONFLICT DO NOTHING",
            [served % version, MODEL, version, str(version)],
        )
        at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=version)
        execute(
            world.database,
            "INSERT INTO streamflow.predictions (predicted_at, served_model, request_id, entity_id)"
            " SELECT %s + n * interval '1 second', %s, 'r' || n, 'e' FROM generate_series(0, 2) n",
            [at, served % version],
        )
    told = json.loads(cli("history", "--json").stdout)
    assert [one["why"] for one in told["changes"]] == [f"reason {n}, ä" for n in range(1, ROWS + 1)]
    assert [(one["version"], one["predictions"]) for one in told["served"]] == [(1, 6), (2, 6)]
    # What the log has dropped since is still known.
    partitions.drop_partitions_before(world.database, today - timedelta(days=1))
    assert [one.predictions for one in uses(world.database, MODEL, today)] == [6, 6]
    assert uses(world.database, MODEL, today)[0].first_at.date() == days[0]
    shown = cli("history", COLUMNS="300")
    assert shown.returncode == 0, shown.stderr
    for text in ("promoted", "reason 3, ä", "what each version served", "333333333333"):
        assert text in shown.stdout
    # Who answered then, by the receipts.
    found = production_at(
        world, datetime.combine(today, datetime.min.time(), UTC) + timedelta(hours=2)
    )
    assert (found.before.version, found.after.version) == (2, 2)  # type: ignore[union-attr]


def test_who_was_in_production_then_is_answered(world: Platform, cli: Cli) -> None:
    found = production_at(world, NOW + timedelta(minutes=2, seconds=30))
    assert (found.version, found.served) == (2, 2)
    assert found.since is not None
    assert found.until is not None
    assert (found.since.number, found.until.number) == (2, 3)
    assert production_at(world, NOW).version is None
    told = json.loads(cli("history", "--at", "2024-03-15T12:03:30", "--json").stdout)
    assert (told["version"], told["since"]["why"]) == (3, "reason 3, ä")
    assert (
        "At 2024-03-15 12:03:30 UTC version 3"
        in cli("history", "--at", "2024-03-15T12:03:30").stdout
    )


def test_an_approval_is_a_row_with_who_and_why_once(world: Platform) -> None:
    run_id = world.registry.create_run("by hand")
    from mlflow import MlflowClient

    client = MlflowClient(world.registry.uri, world.registry.uri)
    client.create_model_version(MODEL, f"runs:/{run_id}/model", run_id)
    assert approving.approve(world, 1, "looked at it", "bob", NOW).changed
    assert not approving.approve(world, 1, "again", "bob", NOW).changed
    assert approving.approve(world, 1, "me too", "eve", NOW).changed
    rows = model_history.changes(world.database, MODEL, ROWS)
    assert [(one.kind, one.who, one.why) for one in rows] == [
        ("approved", "bob", "looked at it"),
        ("approved", "eve", "me too"),
    ]
    assert bent(world) is None


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as listening:
        yield listening


class NoMetrics:
    def record_events_waiting(self, waiting: int, oldest_seconds: float) -> None:
        self.waiting = waiting


def test_all_events_arrive_in_order_from_a_receiver_that_is_down_fails_and_hangs(
    world: Platform, receiver: Receiver
) -> None:
    metrics = NoMetrics()
    database = Database(world.database.url)

    def worker(url: str) -> EventDelivery:
        own = Database(world.database.url)
        target = Webhook(url, SECRET, timeout_seconds=0.2)
        return EventDelivery(
            own,
            MODEL,
            target,
            metrics,
            lambda: datetime.now(UTC),
            poll_seconds=0.02,
            first_pause=0.01,
        )

    away = worker("http://127.0.0.1:1/")
    away.poll()
    left = backlog(database, MODEL)
    assert (left.waiting, left.attempts) == (ROWS, 1)
    assert left.problem is not None
    assert "refused" in left.problem
    assert metrics.waiting == ROWS

    workers = [worker(receiver.url) for _ in range(2)]
    for one in workers:
        one.start()
    try:
        for mode in ("hangs", "fails", "loses the answer", "works"):
            receiver.mode = mode
            before = backlog(database, MODEL).attempts
            until(lambda before=before: backlog(database, MODEL).attempts != before)
            recorded(world, 1)
        until(lambda: backlog(database, MODEL).waiting == 0)
    finally:
        for one in workers:
            one.stop()
        database.close()
    assert receiver.badly_signed == 0
    numbers = [one["data"]["number"] for one in receiver.got]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, ROWS + 5))
    by_number = {(one["data"]["number"], one["id"]) for one in receiver.got}
    assert len(by_number) == ROWS + 4, "an event keeps its id"
    first = receiver.got[0]
    assert first["type"] == "model.promoted"
    told = first["data"]
    assert (told["kind"], told["model"], told["version"]) == ("promoted", MODEL, 1)
    assert told["reason"] == "reason 1, ä"
    assert told["gates"] == [{"gate": "quality", "figure": 0.1, "nothing": None}]


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it didn't become true in time"
        time.sleep(0.02)
