"""Questions that wait at the same time share one round trip and one call of the model.

Nothing waits in order to share: a question goes out at once if nobody is being answered, and those
that arrive meanwhile go together with the next. Questions of many ids have lanes to the online
store of their own, so that few ids never wait for many. Beyond what can be answered within the
latency budget, questions are refused at the door.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal, TypeVar

from streamflow import log
from streamflow.errors import FeatureStoreUnavailable, NoAnswer, Overloaded, StreamFlowError
from streamflow.serving.feature_status import EntityRow
from streamflow.serving.online_store import Lane, OnlineStore
from streamflow.serving.predictor import Predictor
from streamflow.serving.scoring import Prediction, Question, Served

MOST_TOGETHER = 1_000
LANES = 2
# From here on a model call would keep other requests from being heard, and reading takes a while.
_MANY = 64
# How many ids may be under way: it grows by what is answered in time, and shrinks when that is too
# late, as TCP does with its window.
_FIRST_LIMIT, _LOWEST_LIMIT, _HIGHEST_LIMIT = 2_000, 32, 20_000
_SHRINK = 0.8

_NO_CONNECTIONS = {"idle": 0, "busy": 0, "away": 0}

Answers = list[Prediction | NoAnswer]
Answered = tuple[Served, Answers]
T = TypeVar("T")
# Called once with what was asked for, or with why there is none.
Tell = Callable[[T | Exception], None]
# Told how many seconds a stage took for questions that are answered together.
Took = Callable[[Literal["features", "score"], float], None]
# Given what was answered by one call of the model, and when; it may neither take time nor raise.
Keep = Callable[[Served, Sequence[Question], Answers, datetime], None]


def keep_nothing(
    served: Served, questions: Sequence[Question], answers: Answers, moment: datetime
) -> None:
    """Without a prediction log."""


@dataclass(frozen=True)
class Load:
    """Ids under way, how many may be, and connections to the online store by their state."""

    under_way: int
    limit: float
    connections: Mapping[str, int]


async def awaited(ask: Callable[[Tell[T]], None]) -> T:
    """What `ask` tells; raises what it tells instead."""
    answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def tell(told: T | Exception) -> None:
        if answer.done():
            return  # whoever asked has left
        if isinstance(told, Exception):
            answer.set_exception(told)
        else:
            answer.set_result(told)

    ask(tell)
    return await answer


@dataclass
class _Waiting:
    questions: Sequence[Question]
    tell: Tell[Answered]
    arrived: float
    tried: bool = False


class Batches:
    """Belongs to one event loop, in which it has to be opened."""

    def __init__(
        self,
        predictor: Predictor,
        online: OnlineStore,
        *,
        now: Callable[[], datetime],
        latency_budget_seconds: float,
        keep: Keep = keep_nothing,
        took: Took = lambda stage, seconds: None,
        lanes: int = LANES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.under_way = 0
        self.limit = float(_FIRST_LIMIT)
        self._predictor = predictor
        self._now = now
        self._keep = keep
        self._took = took
        self._budget = latency_budget_seconds
        self._monotonic = monotonic
        self._lanes: list[Lane] = [online.lane(self._pump) for _ in range(lanes)]
        self._queue: deque[_Waiting] = deque()
        self._few_in_hand = False

    async def open(self, patience_seconds: float) -> None:
        await asyncio.gather(*(lane.open(patience_seconds) for lane in self._lanes))

    async def close(self) -> None:
        for lane in self._lanes:
            await lane.close()

    def load(self) -> Load:
        states = (
            "idle" if one.idle else "busy" if one.connected else "away" for one in self._lanes
        )
        return Load(self.under_way, self.limit, {**_NO_CONNECTIONS, **Counter(states)})

    async def ask(self, questions: Sequence[Question]) -> Answered:
        """The model that answered, and per question its prediction, or why there is none.

        Raises NoProductionModel, FeatureStoreUnavailable, Overloaded.
        """
        return await awaited(partial(self.put, questions))

    def put(self, questions: Sequence[Question], tell: Tell[Answered]) -> None:
        """Have told what `ask` returns or raises, later or at once: a task and a future for each
        question would cost as much as the answer."""
        try:
            self._predictor.production()
            if self.under_way and self.under_way + len(questions) > self.limit:
                raise Overloaded(self.under_way)
        except StreamFlowError as error:
            _tell(tell, error)
            return
        self.under_way += len(questions)
        self._queue.append(_Waiting(questions, tell, self._monotonic()))
        self._pump()

    def _pump(self) -> None:
        while self._queue and not self._few_in_hand:
            lane = next((lane for lane in self._lanes if lane.idle), None)
            if lane is None:
                if not any(lane.connected for lane in self._lanes):
                    self._fail(self._take_all(), _unreachable())
                return
            batch = self._take()
            try:
                served = self._predictor.production()
            except StreamFlowError as error:
                self._fail(batch, error)
                continue
            self._send(lane, served, batch)

    def _send(self, lane: Lane, served: Served, batch: list[_Waiting]) -> None:
        questions = [question for one in batch for question in one.questions]
        self._few_in_hand = few = len(questions) < _MANY
        sent = self._monotonic()

        def told(answer: list[EntityRow] | Exception) -> None:
            if isinstance(answer, Exception):
                self._again(batch, answer)
                self._next(few)
                return
            self._took("features", self._monotonic() - sent)
            if few:
                self._score(served, batch, questions, answer)
            else:
                self._next(few)
                self._score_aside(served, batch, questions, answer)

        lane.send(served.plan, [question.entity_id for question in questions], told)

    def _next(self, few: bool) -> None:
        if few:
            self._few_in_hand = False
        self._pump()

    def _score(
        self,
        served: Served,
        batch: list[_Waiting],
        questions: list[Question],
        rows: list[EntityRow],
    ) -> None:
        moment, began = self._now(), self._monotonic()
        # What is left to do comes after those who have their answers now: the larger the next
        # batch, the less of the database's and the model's time each takes.
        loop = asyncio.get_running_loop()
        try:
            answers = self._predictor.score(served, questions, rows, moment)
        except Exception as error:
            self._fail(batch, error)
            loop.call_soon(self._next, True)
        else:
            self._took("score", self._monotonic() - began)
            self._hand_out(served, batch, answers)
            loop.call_soon(self._next, True)
            loop.call_soon(self._keep, served, questions, answers, moment)

    def _score_aside(
        self,
        served: Served,
        batch: list[_Waiting],
        questions: list[Question],
        rows: list[EntityRow],
    ) -> None:
        moment, began = self._now(), self._monotonic()
        scoring = asyncio.get_running_loop().run_in_executor(
            None, self._predictor.score, served, questions, rows, moment
        )

        def done(future: asyncio.Future[Answers]) -> None:
            error = future.exception()
            if isinstance(error, Exception):
                self._fail(batch, error)
            else:
                self._took("score", self._monotonic() - began)
                self._hand_out(served, batch, future.result())
                self._keep(served, questions, future.result(), moment)

        scoring.add_done_callback(done)

    def _hand_out(self, served: Served, batch: list[_Waiting], answers: Answers) -> None:
        if self._monotonic() - batch[0].arrived > self._budget:
            self.limit = max(_LOWEST_LIMIT, min(self.limit, self.under_way) * _SHRINK)
        else:
            self.limit = min(_HIGHEST_LIMIT, self.limit + len(answers))
        start = 0
        for one in batch:
            end = start + len(one.questions)
            self._tell(one, (served, answers[start:end]))
            start = end

    def _again(self, batch: list[_Waiting], error: Exception) -> None:
        """A lost connection may be one of several: each question is asked once more."""
        lost = isinstance(error, FeatureStoreUnavailable)
        self._fail([one for one in batch if one.tried or not lost], error)
        for one in reversed(batch):
            if lost and not one.tried:
                one.tried = True
                self._queue.appendleft(one)

    def _fail(self, batch: list[_Waiting], error: Exception) -> None:
        for one in batch:
            self._tell(one, error)

    def _tell(self, one: _Waiting, told: Answered | Exception) -> None:
        self.under_way -= len(one.questions)
        _tell(one.tell, told)

    def _take(self) -> list[_Waiting]:
        batch = [self._queue.popleft()]
        size = len(batch[0].questions)
        while self._queue and size + len(self._queue[0].questions) <= MOST_TOGETHER:
            size += len(self._queue[0].questions)
            batch.append(self._queue.popleft())
        return batch

    def _take_all(self) -> list[_Waiting]:
        everyone = list(self._queue)
        self._queue.clear()
        return everyone


def _tell(tell: Tell[Answered], told: Answered | Exception) -> None:
    """The others are to have their answers even if one can't be told."""
    try:
        tell(told)
    except Exception as error:
        log.failure("answer_failed", error)


def _unreachable() -> FeatureStoreUnavailable:
    return FeatureStoreUnavailable(
        "The online store can't be reached.", "See `streamflow status`; it's tried again by itself."
    )
