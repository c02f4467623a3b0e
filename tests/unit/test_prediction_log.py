from __future__ import annotations

import threading
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.binary_copy import fields
from tests.fakes import FEBRUARY, eventually, model

from streamflow.errors import UnknownEntity
from streamflow.registry.records import ModelVersion
from streamflow.serving import prediction_log_partitions as partitions
from streamflow.serving.prediction_log import PredictionLog
from streamflow.serving.scoring import ScoringRequest, Served

SERVED = Served(
    ModelVersion("example_model", 3, "run-3", "Production", (), {}, "hash-3"), model(0.5)
)


class Away(Exception):
    """What a database that is away raises."""


class FakeWriter:
    """Keeps what it's given; `failure` is raised instead, and nobody gets past `gate` meanwhile."""

    def __init__(self):
        self.written = []
        self.failure = None
        self.gate = threading.Event()
        self.gate.set()
        self.tries = 0
        self.closed = False

    def prepare(self):
        pass

    def write(self, batches):
        assert self.gate.wait(10)
        self.tries += 1
        if self.failure is not None:
            raise self.failure
        rows = fields(b"".join(batch.content for batch in batches))
        self.written += [int(row["entity_id"]) for row in rows]

    def close(self):
        self.closed = True


class World:
    """A log over a fake writer, and what its metrics were told."""

    def __init__(self, max_waiting=10, pause_seconds=0.001):
        self.writer = FakeWriter()
        self.told = [0, 0]
        self.waiting = None
        self.log = PredictionLog(
            self.writer, self, max_waiting=max_waiting, pause_seconds=pause_seconds
        )

    def record_log_added(self, rows):
        pass

    def record_log_rows(self, written, dropped, waiting):
        self.told = [self.told[0] + written, self.told[1] + dropped]
        self.waiting = waiting

    def record_log_seconds(self, seconds):
        assert seconds >= 0

    def put(self, *entities):
        requests = [ScoringRequest(str(one), "a request") for one in entities]
        answers = [UnknownEntity("user_id", one.entity_id) for one in requests]
        self.log.add(SERVED, requests, answers, FEBRUARY)


@pytest.fixture
def world():
    made = World()
    yield made
    made.writer.gate.set()
    made.writer.failure = None
    made.log.close()


def test_rows_are_written_in_the_order_in_which_they_were_answered(world):
    world.log.start()
    for number in range(0, 8, 2):
        world.put(number, number + 1)
    eventually(lambda: world.told == [8, 0])
    assert world.writer.written == list(range(8))
    assert world.waiting == world.log.waiting == 0


def test_nothing_waits_for_the_writer(world):
    world.writer.gate.clear()
    world.log.start()
    world.put(1)
    eventually(lambda: not world.log._queue)
    world.put(2)
    assert world.log.waiting == 2
    world.writer.gate.set()
    eventually(lambda: world.writer.written == [1, 2])


def test_while_the_database_is_away_rows_wait_and_are_written_once_it_is_back(world):
    world.writer.failure = Away()
    world.log.start()
    world.put(1, 2)
    eventually(lambda: world.writer.tries > 0)
    world.put(3)
    world.writer.failure = None
    eventually(lambda: world.told == [3, 0], seconds=10)
    assert world.writer.written == [1, 2, 3]


def test_beyond_the_bound_the_newest_are_dropped_and_counted(world):
    world.put(*range(8))
    world.put(8, 9, 10)  # all or none of what was answered together
    world.put(8, 9)
    world.put(11)
    assert world.log.waiting == 10
    world.log.start()
    eventually(lambda: world.told == [10, 4])
    assert world.writer.written == list(range(10))
    world.put(12)
    eventually(lambda: world.told == [11, 4])


def test_what_is_held_for_a_database_that_is_away_counts_as_waiting(world):
    world.writer.failure = Away()
    world.log.start()
    world.put(*range(10))
    eventually(lambda: world.writer.tries > 0)
    world.put(10)
    world.writer.failure = None
    eventually(lambda: world.told == [10, 1], seconds=10)
    assert world.writer.written == list(range(10))


def test_what_can_never_be_written_keeps_nobody_else_waiting(world):
    world.writer.failure = ValueError("no such row")
    world.log.start()
    world.put(1, 2)
    eventually(lambda: world.told == [0, 2])
    world.writer.failure = None
    world.put(3)
    eventually(lambda: world.told == [1, 2])
    assert world.writer.written == [3]


def test_many_that_were_answered_together_keep_their_order_too():
    large = World(max_waiting=1_000)
    large.log.start()
    large.put(0)
    large.put(*range(1, 301))
    large.put(301)
    large.log.close()
    assert large.writer.written == list(range(302))


def test_the_end_writes_what_waits(world):
    world.writer.gate.clear()
    world.log.start()
    world.put(1)
    threading.Timer(0.05, world.writer.gate.set).start()
    world.put(2)
    world.log.close()
    assert world.writer.written == [1, 2]
    assert world.writer.closed
    assert world.log.waiting == 0


def test_the_end_doesnt_wait_for_ever(world, log):
    world.writer.failure = Away()
    world.log.start()
    world.put(1, 2)
    world.log.close(patience_seconds=0.05)
    eventually(lambda: world.writer.closed)
    (line,) = log.lines("prediction_log_lost")
    assert line["rows"] == 2


def test_one_line_tells_that_rows_are_dropped_and_one_that_they_are_no_more(world, log):
    def said():
        return [line["event"] for line in log.lines()]

    for _ in range(4):
        world.put(*range(4))
    world.log._write_queue()
    world.put(*range(11))
    world.log._write_queue()
    assert said() == ["prediction_log_drops"]
    world.log._write_queue()
    world.log._write_queue()
    assert said() == ["prediction_log_drops", "prediction_log_drops_no_more"]
    world.log.start()


def test_one_line_tells_that_the_database_is_away_and_one_that_it_is_back(world, log):
    world.writer.failure = Away("the value of somebody's feature")
    world.put(1)
    for _ in range(3):
        assert not world.log._write_queue()
    world.writer.failure = None
    assert world.log._write_queue()
    fails, again = log.lines()
    assert (fails["event"], fails["error"]) == ("prediction_log_fails", "Away")
    assert again["event"] == "prediction_log_writes_again"
    assert "somebody" not in repr(fails)
    world.log.start()


days = st.dates(date(1000, 1, 1), date(9999, 12, 31))


@given(days)
def test_a_partition_is_named_by_its_day(day):
    assert partitions.partition_day(partitions.partition_name(day)) == day
    assert partitions.partition_name(day) == f"predictions_{day.isoformat().replace('-', '')}"


@pytest.mark.parametrize(
    "name",
    [
        *("predictions", "predictions_default", "predictions_2024", "predictions_20240231"),
        *("predictions_2024131", "predictions_20240131_old", "x_20240131"),
    ],
)
def test_a_table_of_another_name_is_no_partition_of_a_day(name):
    assert partitions.partition_day(name) is None


def test_rows_that_come_during_a_write_wait_for_the_next_one():
    world = World(pause_seconds=60)
    write = world.writer.write

    def write_while_another_comes(batches):
        world.writer.write = write
        world.put(2)
        write(batches)

    world.writer.write = write_while_another_comes
    world.put(1)
    world.log.start()
    eventually(lambda: world.waiting == 1)
    assert world.writer.written == [1]
    world.log.close()
    assert world.writer.written == [1, 2]
