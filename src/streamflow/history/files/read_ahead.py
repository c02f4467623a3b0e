"""A file's batches, read in a thread of their own while those before are worked on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Full, Queue
from typing import TYPE_CHECKING

from streamflow.history.violations import Report, Violation

if TYPE_CHECKING:
    import pyarrow as pa

# Batches and violations that may wait; memory doesn't grow with the file.
_MOST_WAITING = 2
_LOOK_SECONDS = 0.1


class _Abandoned(Exception):
    """Nobody takes the batches any more."""


def read_ahead(
    read: Callable[[Report], Iterator[pa.RecordBatch]], report: Report
) -> Iterator[pa.RecordBatch]:
    """The batches of `read`, which is run in a thread.

    What it reports comes to `report` in the caller's thread, in its order among the batches. Raises
    what `read` raises. The thread ends with the iterator.
    """
    waiting: Queue[pa.RecordBatch | Violation | BaseException | None] = Queue(_MOST_WAITING)
    abandoned = threading.Event()

    def put(item: pa.RecordBatch | Violation | BaseException | None) -> None:
        while not abandoned.is_set():
            with suppress(Full):
                return waiting.put(item, timeout=_LOOK_SECONDS)
        raise _Abandoned

    def work() -> None:
        with suppress(_Abandoned):
            try:
                for batch in read(put):
                    put(batch)
                put(None)
            except _Abandoned:
                raise
            except BaseException as error:
                put(error)

    thread = threading.Thread(target=work, name="read_ahead", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, Violation):
                report(item)
            else:
                yield item
    finally:
        abandoned.set()
        thread.join()
