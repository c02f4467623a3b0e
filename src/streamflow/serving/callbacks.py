"""Results by callback: a task and a future for each request would cost as much as a prediction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from streamflow import log

T = TypeVar("T")
# Called once with the result, or with the reason why there is none.
Callback = Callable[[T | Exception], None]


async def wait_for(submit: Callable[[Callback[T]], None]) -> T:
    """The result that `submit` passes to its callback; raises what it passes instead."""
    result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def received(outcome: T | Exception) -> None:
        if result.done():
            return  # the caller has gone
        if isinstance(outcome, Exception):
            result.set_exception(outcome)
        else:
            result.set_result(outcome)

    submit(received)
    return await result


def call(callback: Callback[T], outcome: T | Exception) -> None:
    """Pass the outcome to the callback; an error that it raises is logged.

    The other requests of a batch get their results even if one callback fails.
    """
    try:
        callback(outcome)
    except Exception as error:
        log.failure("answer_failed", error)
