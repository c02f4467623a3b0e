"""The thread that polls."""

from __future__ import annotations

import threading

import pytest
from tests.fakes import eventually

from streamflow.polling import PollingThread


def test_the_first_poll_has_ended_when_start_returns() -> None:
    polls: list[int] = []
    thread = PollingThread("test", lambda: polls.append(1), seconds=60.0)
    thread.start(wait_seconds=5.0)
    assert polls == [1]
    thread.stop()


def test_a_start_does_not_wait_longer_than_it_was_allowed_to() -> None:
    release = threading.Event()
    thread = PollingThread("test", lambda: release.wait(30.0) and None, seconds=60.0)
    thread.start(wait_seconds=0.01)
    release.set()
    thread.stop()


def test_an_error_is_logged_and_the_next_poll_comes(log) -> None:  # type: ignore[no-untyped-def]
    polls: list[int] = []

    def poll() -> None:
        polls.append(1)
        if len(polls) == 1:
            raise RuntimeError

    thread = PollingThread("watcher", poll, seconds=0.001)
    thread.start()
    eventually(lambda: len(polls) > 1)
    thread.stop()
    (line,) = log.lines("watcher_failed")
    assert line["error"] == "RuntimeError"


def test_a_poll_decides_when_the_next_one_is() -> None:
    polls: list[int] = []

    def poll() -> float:
        polls.append(1)
        return 60.0 if len(polls) == 3 else 0.0

    thread = PollingThread("test", poll, seconds=60.0)
    thread.start()
    eventually(lambda: len(polls) == 3)
    thread.stop()
    assert len(polls) == 3


def test_the_same_thread_finishes_after_the_last_poll() -> None:
    steps: list[tuple[str, str]] = []

    def note(step: str) -> None:
        steps.append((step, threading.current_thread().name))

    thread = PollingThread("test", lambda: note("poll"), 60.0, finish=lambda: note("finish"))
    thread.start(wait_seconds=5.0)
    thread.stop()
    assert steps == [("poll", "test"), ("finish", "test")]


@pytest.mark.parametrize("times", [1, 2])
def test_stopping_is_safe_to_repeat(times: int) -> None:
    thread = PollingThread("test", lambda: None, seconds=60.0)
    thread.start(wait_seconds=5.0)
    for _ in range(times):
        thread.stop()
