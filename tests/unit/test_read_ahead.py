"""A file is read ahead in a thread: the same batches and violations, in the same order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.history.files.read_ahead import read_ahead
from streamflow.history.violations import Report, Violation


def violation(line: int) -> Violation:
    return Violation("users.csv", line, "age", "x", "a value is a whole number")


@given(st.lists(st.booleans(), max_size=12))
def test_batches_and_violations_come_in_the_order_in_which_they_were_found(
    kinds: list[bool],
) -> None:
    def read(report: Report) -> Iterator[Any]:
        for number, is_batch in enumerate(kinds):
            if is_batch:
                yield number
            else:
                report(violation(number))

    found: list[tuple[str, int]] = []
    threads: set[str] = set()

    def report(one: Violation) -> None:
        threads.add(threading.current_thread().name)
        found.append(("violation", one.line or 0))

    for batch in read_ahead(read, report):
        found.append(("batch", batch))
    expected = ["batch" if is_batch else "violation" for is_batch in kinds]
    assert found == list(zip(expected, range(len(kinds)), strict=True))
    assert threads <= {threading.current_thread().name}


def test_an_error_of_the_reader_is_the_callers() -> None:
    def read(report: Report) -> Iterator[Any]:
        yield 1
        raise OSError("the disk is gone")

    batches = read_ahead(read, lambda one: None)
    assert next(batches) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)


def test_the_thread_ends_with_a_reader_that_is_left() -> None:
    closed = threading.Event()

    def read(report: Report) -> Iterator[Any]:
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    before = threading.active_count()
    batches = read_ahead(read, lambda one: None)
    assert next(batches) == 0
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
