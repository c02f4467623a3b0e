"""A thread that calls a function periodically, until it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable

from streamflow import log


class PollingThread:
    """Calls `poll` at once and then every `seconds`, or after as many seconds as `poll` returns.

    An error is logged as the event `NAME_failed`, and `poll` is called again. `finish` is called
    by the same thread after the last `poll`.
    """

    def __init__(
        self,
        name: str,
        poll: Callable[[], float | None],
        seconds: float,
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._poll = poll
        self._seconds = seconds
        self._finish = finish
        self._stopping = threading.Event()
        self._polled = threading.Event()
        # A daemon, so that a poll that hangs doesn't prevent the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, wait_seconds: float = 0.0) -> None:
        """Start polling; wait for the first poll to end, at most `wait_seconds`."""
        self._thread.start()
        self._polled.wait(wait_seconds)

    def stop(self, wait_seconds: float = 5.0) -> None:
        """Stop polling; wait for the poll under way and for `finish`, at most `wait_seconds`."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(wait_seconds)

    def _run(self) -> None:
        pause: float | None = None
        while not self._stopping.is_set():
            try:
                pause = self._poll()
            except Exception as error:  # the next poll may succeed
                log.failure(f"{self._name}_failed", error)
                pause = None
            self._polled.set()
            self._stopping.wait(self._seconds if pause is None else pause)
        self._finish()
