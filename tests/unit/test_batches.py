from __future__ import annotations

import asyncio
import functools
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import AMOUNT, FEBRUARY, JANUARY, PLAN, VISITS, schema

from streamflow.errors import (
    FeatureStoreUnavailable,
    NoProductionModel,
    Overloaded,
    UnknownEntity,
    UnseenCategory,
)
from streamflow.registry.records import ModelVersion
from streamflow.serving.batching import RequestBatcher
from streamflow.serving.feature_status import EntityRow
from streamflow.serving.predictor import Predictor
from streamflow.serving.scoring import Prediction, ScoringRequest, Served
from streamflow.training.served_model import ServedModel

AWAY = FeatureStoreUnavailable("The online store doesn't answer.", "Start it.")
# Enough for the model to be called in a thread.
MANY = 100
THOUSAND = 1_000


class Connection:
    """A connection that responds when it is told to, with the number in each id."""

    def __init__(self, changed):
        self.connected = True
        self.asked = []
        self._changed = changed
        self._under_way = None

    @property
    def idle(self):
        return self.connected and self._under_way is None

    @property
    def busy(self):
        return self._under_way is not None

    async def open(self, patience_seconds):
        self.connected = True

    async def close(self):
        self.lose()

    def send(self, plan, entity_ids, told):
        assert self.idle
        self._under_way = plan, entity_ids, told
        self.asked.append(list(entity_ids))

    def answer(self):
        plan, entity_ids, _ = self._under_way
        self.tell([row(plan, entity_id) for entity_id in entity_ids])

    def tell(self, answer):
        (_, _, told), self._under_way = self._under_way, None
        told(answer)

    def lose(self):
        self.connected = False
        if self.busy:
            self.tell(AWAY)

    def reconnect(self):
        self.connected = True
        self._changed()


def row(plan, entity_id):
    if entity_id == "nobody":
        return EntityRow((None,) * len(plan.views), (None,) * len(plan.features))
    number = int(entity_id)
    values = {"visits": number, "amount": number / 2, "plan": "family" if number else "platinum"}
    times = (JANUARY,) * len(plan.views)
    return EntityRow(times, tuple(values[feature.name] for feature in plan.features))


class World:
    """Questions over connections that answer when they are told to.

    An id is a number, which the model gives back as a probability, in thousandths.
    """

    def __init__(self, connections=1, budget=1.0):
        self.time = 0.0
        self.connections = []
        self.calls = []
        self.asking = []
        self.predictor = Predictor(self, registered_model="example_model", join_key="user_id")
        self.predictor.set_newest({"activity_view": JANUARY, "billing_view": JANUARY})
        self.serve(1, VISITS)
        self.batches = RequestBatcher(
            self.predictor,
            self,
            now=lambda: FEBRUARY,
            latency_budget_seconds=budget,
            connections=connections,
            monotonic=lambda: self.time,
        )

    def kept_views(self, plan):
        return {}

    def connect(self, changed):
        self.connections.append(Connection(changed))
        return self.connections[-1]

    def serve(self, version, *features, score=None):
        def by_number(matrix):
            self.calls.append(len(matrix))
            return np.zeros(len(matrix), np.int64), matrix[:, 0] / 1000

        needs = schema(*features)
        named = ModelVersion("example_model", version, "run", "Production", (), {}, "hash")
        self.predictor.serve(Served(named, ServedModel(needs, score or by_number), needs))

    @property
    def asked(self):
        return [ids for connection in self.connections for ids in connection.asked]

    async def ask(self, *entity_ids):
        """Ask, and give everything that can go on the time to do so."""
        requests = [ScoringRequest(str(entity_id), "") for entity_id in entity_ids]
        task = asyncio.ensure_future(self.batches.score(requests))
        self.asking.append(task)
        await settled()
        return task

    async def occupied(self):
        """Keep every connection busy: the last with one id, those before it with many."""
        many = [await self.ask(*range(700, 700 + MANY)) for _ in self.connections[1:]]
        return [*many, await self.ask(900)]

    async def answer_all(self):
        while any(connection.busy for connection in self.connections):
            for connection in self.connections:
                if connection.busy:
                    connection.answer()
            await settled()
        await asyncio.gather(*self.asking, return_exceptions=True)

    async def nothing_under_way(self):
        """What somebody asked who left is answered as well, though nobody waits for it."""
        while self.batches.under_way:
            await asyncio.sleep(0.001)


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


def numbers(answered):
    _, answers = answered
    assert all(isinstance(answer, Prediction) for answer in answers)
    assert all(int(one.entity_id) == round(one.probability * 1000) for one in answers)
    return [int(answer.entity_id) for answer in answers]


def in_a_world(**options):
    """Run the test in an event loop; whoever asked must have been answered at its end."""

    def decorate(test):
        @functools.wraps(test)
        def run(**arguments):
            async def whole():
                world = World(**options)
                await asyncio.wait_for(test(world, **arguments), 30)
                await asyncio.wait_for(world.answer_all(), 30)
                assert all(task.done() for task in world.asking)
                await asyncio.wait_for(world.nothing_under_way(), 30)

            asyncio.run(whole())

        signature = inspect.signature(test)
        others = [one for name, one in signature.parameters.items() if name != "world"]
        run.__signature__ = signature.replace(parameters=others)
        return run

    return decorate


@in_a_world(connections=2)
async def test_a_single_question_goes_out_at_once(world):
    task = await world.ask(7)
    assert world.asked == [["7"]]
    world.connections[0].answer()
    assert numbers(await task) == [7]
    assert world.calls == [1]


@in_a_world(connections=2)
async def test_questions_of_few_ids_that_arrive_meanwhile_go_together(world):
    await world.ask(900)
    tasks = [await world.ask(number) for number in (1, 2, 3)]
    assert world.asked == [["900"]]
    world.connections[0].answer()
    await settled()
    assert world.connections[0].asked == [["900"], ["1", "2", "3"]]
    world.connections[0].answer()
    assert [numbers(await task) for task in tasks] == [[1], [2], [3]]
    assert world.calls == [1, 3]


@in_a_world(connections=2)
async def test_questions_of_few_ids_never_wait_for_one_of_many(world):
    await world.ask(*range(MANY))
    few = await world.ask(1)
    assert world.connections[1].asked == [["1"]]
    world.connections[1].answer()
    assert numbers(await few) == [1]


@in_a_world(connections=2)
async def test_that_one_of_many_is_lost_lets_no_few_overtake(world):
    await world.ask(*range(MANY))
    await world.ask(1)
    await world.ask(2)
    world.connections[0].lose()
    await settled()
    assert world.connections[1].asked == [["1"]]
    world.connections[1].answer()
    await settled()
    assert len(world.connections[1].asked[1]) == MANY + 1


@in_a_world()
async def test_who_has_the_answer_and_asks_again_goes_with_those_who_waited(world):
    async def again():
        await world.batches.score([ScoringRequest("5", "")])
        return await world.batches.score([ScoringRequest("6", "")])

    asking = asyncio.ensure_future(again())
    world.asking.append(asking)
    await settled()
    await world.ask(1)
    world.connections[0].answer()
    await settled()
    assert world.asked == [["5"], ["1", "6"]]


@in_a_world()
async def test_never_more_than_a_thousand_ids_go_together(world):
    await world.occupied()
    for _ in range(4):
        await world.ask(*range(THOUSAND * 2 // 5))
    await world.answer_all()
    assert [len(ids) for ids in world.asked] == [1, 800, 800]


@in_a_world()
async def test_exactly_a_thousand_ids_go_together(world):
    await world.occupied()
    await world.ask(*range(THOUSAND - 1))
    await world.ask(1)
    await world.ask(2)
    await world.answer_all()
    assert [len(ids) for ids in world.asked] == [1, THOUSAND, 1]


@pytest.mark.parametrize("size", [3, MANY])
@in_a_world()
async def test_answers_go_to_who_asked_in_the_order_of_the_ids(world, size):
    await world.occupied()
    batch = [*range(size, 0, -1), 1]
    tasks = [await world.ask(5), await world.ask(*batch), await world.ask(6), await world.ask(8, 7)]
    await world.answer_all()
    assert [numbers(task.result()) for task in tasks] == [[5], batch, [6], [8, 7]]
    assert len(world.asked) == len(world.calls) == 2


@in_a_world()
async def test_one_without_an_answer_takes_nobody_else_s(world):
    world.serve(1, VISITS, PLAN)
    await world.occupied()
    tasks = [await world.ask(*ids) for ids in ((1,), ("nobody", 2), (0,), (3,))]
    await world.answer_all()
    (_, (one,)), (_, (nobody, two)), (_, (unseen,)), (_, (three,)) = [
        task.result() for task in tasks
    ]
    assert [numbers((None, [given])) for given in (one, two, three)] == [[1], [2], [3]]
    assert isinstance(nobody, UnknownEntity)
    assert isinstance(unseen, UnseenCategory)


@pytest.mark.parametrize("size", [1, MANY])
@in_a_world()
async def test_a_swap_between_reading_and_scoring_keeps_the_model_that_was_asked(world, size):
    before = await world.ask(*range(1, size + 1))
    world.serve(2, AMOUNT)
    after = await world.ask(4)
    await world.answer_all()
    served, answers = before.result()
    assert (served.version.version, {one.model.version for one in answers}) == (1, {1})
    assert numbers(before.result()) == list(range(1, size + 1))
    served, (answer,) = after.result()
    assert (served.version.version, dict(answer.features_used)) == (2, {"amount": 2.0})


@in_a_world()
async def test_questions_that_waited_are_answered_by_the_model_that_took_over_meanwhile(world):
    await world.occupied()
    task = await world.ask(4)
    world.serve(2, AMOUNT)
    await world.answer_all()
    served, (answer,) = task.result()
    assert (served.version.version, answer.probability) == (2, 0.002)


@in_a_world()
async def test_without_a_production_model_nothing_is_read(world):
    world.predictor.withdraw()
    with pytest.raises(NoProductionModel):
        await (await world.ask(1))
    assert world.asked == []


@in_a_world()
async def test_that_there_is_no_model_is_told_rather_than_that_there_is_no_store(world):
    world.predictor.withdraw()
    world.connections[0].lose()
    assert isinstance((await world.ask(1)).exception(), NoProductionModel)


@in_a_world()
async def test_those_who_wait_when_the_model_is_withdrawn_are_told_so(world):
    (first,) = await world.occupied()
    tasks = [await world.ask(1), await world.ask(2)]
    world.predictor.withdraw()
    await world.answer_all()
    assert numbers(first.result()) == [900]
    assert [type(task.exception()) for task in tasks] == [NoProductionModel] * 2
    assert world.asked == [["900"]]


@in_a_world(connections=2)
async def test_a_question_on_a_lost_connection_is_asked_once_more(world):
    task = await world.ask(1)
    world.connections[0].lose()
    assert world.connections[1].asked == [["1"]]
    world.connections[1].answer()
    assert numbers(await task) == [1]


@in_a_world(connections=3)
async def test_a_question_whose_connection_is_lost_twice_is_not_asked_again(world):
    task = await world.ask(1, 2)
    world.connections[0].lose()
    world.connections[1].lose()
    with pytest.raises(FeatureStoreUnavailable):
        await task
    assert world.asked == [["1", "2"], ["1", "2"]]


@in_a_world(connections=2)
async def test_questions_asked_again_come_before_those_that_arrived_later(world):
    await world.ask(1)
    later = await world.ask(3)
    world.connections[0].lose()
    await settled()
    assert world.connections[1].asked == [["1", "3"]]
    world.connections[1].answer()
    assert numbers(await later) == [3]


@in_a_world(connections=2)
async def test_questions_asked_again_keep_their_order(world):
    await world.ask(900)
    tasks = [await world.ask(number) for number in (1, 2, 3)]
    world.connections[0].answer()
    await settled()
    world.connections[0].lose()
    assert world.connections[1].asked[-1] == ["1", "2", "3"]
    world.connections[1].answer()
    assert [numbers(await task) for task in tasks] == [[1], [2], [3]]


@in_a_world(connections=2)
async def test_a_lost_connection_asks_again_only_for_who_was_not_asked_again_before(world):
    first = await world.ask(1)
    second = await world.ask(3)
    world.connections[0].lose()
    assert world.connections[1].asked[-1] == ["1", "3"]
    world.connections[0].reconnect()
    world.connections[1].lose()
    with pytest.raises(FeatureStoreUnavailable):
        await first
    assert world.connections[0].asked[-1] == ["3"]
    world.connections[0].answer()
    assert numbers(await second) == [3]


@in_a_world(connections=2)
async def test_a_failure_that_is_no_lost_connection_is_told_without_asking_again(world):
    task = await world.ask(1)
    world.connections[0].tell(KeyError("a fault of ours"))
    with pytest.raises(KeyError):
        await task
    assert world.asked == [["1"]]
    task = await world.ask(2)
    world.connections[0].answer()
    assert numbers(await task) == [2]


@in_a_world(connections=2)
async def test_without_a_connection_the_answer_is_feature_store_unavailable_at_once(world):
    for connection in world.connections:
        connection.lose()
    task = await world.ask(1)
    assert isinstance(task.exception(), FeatureStoreUnavailable)
    assert world.asked == []


@in_a_world(connections=2)
async def test_those_who_wait_when_the_last_connection_is_lost_are_told_so(world):
    await world.occupied()
    tasks = [await world.ask(1), await world.ask(2)]
    for connection in world.connections:
        connection.lose()
    await settled()
    assert all(isinstance(task.exception(), FeatureStoreUnavailable) for task in tasks)


@in_a_world(connections=2)
async def test_a_connection_that_is_back_takes_those_who_wait(world):
    world.connections[1].lose()
    await world.ask(*range(MANY))
    task = await world.ask(2)
    assert len(world.asked) == 1
    world.connections[1].reconnect()
    assert world.connections[1].asked == [["2"]]
    world.connections[1].answer()
    assert numbers(await task) == [2]


@in_a_world(connections=2)
async def test_after_an_outage_questions_are_answered_again(world):
    for connection in world.connections:
        connection.lose()
    await world.ask(1)
    world.connections[1].reconnect()
    task = await world.ask(2)
    world.connections[1].answer()
    assert numbers(await task) == [2]


@in_a_world(connections=2)
async def test_the_end_leaves_nobody_without_an_answer(world):
    await world.occupied()
    await world.ask(1)
    await world.batches.close()
    await settled()
    assert [type(task.exception()) for task in world.asking] == [FeatureStoreUnavailable] * 3


@in_a_world()
async def test_more_than_the_limit_is_refused_at_the_door(world):
    world.batches.limit = 3
    await world.ask(1)
    await world.ask(2, 3)
    refused = await world.ask(4)
    with pytest.raises(Overloaded, match="3 predictions are under way"):
        await refused
    assert world.batches.under_way == 3
    world.connections[0].answer()
    await settled()
    task = await world.ask(4)
    await world.answer_all()
    assert numbers(task.result()) == [4]


@in_a_world()
async def test_a_batch_larger_than_the_limit_is_let_in_when_nothing_else_is_under_way(world):
    world.batches.limit = 3
    large = await world.ask(1, 2, 3, 4, 5)
    small = await world.ask(6)
    assert isinstance(small.exception(), Overloaded)
    world.connections[0].answer()
    assert numbers(await large) == [1, 2, 3, 4, 5]


@in_a_world(budget=0.25)
async def test_the_limit_shrinks_below_what_was_under_way_when_answers_come_late(world):
    limits = []
    for _ in range(3):
        task = await world.ask(*range(1, 101))
        world.time += 0.26
        await world.answer_all()
        assert numbers(task.result()) == list(range(1, 101))
        limits.append(world.batches.limit)
    assert 100 > limits[0] > limits[1] > limits[2]


@in_a_world(budget=0.25)
async def test_an_answer_within_the_budget_is_in_time(world):
    before = world.batches.limit
    await world.ask(1)
    world.time += 0.25
    world.connections[0].answer()
    assert world.batches.limit == before + 1


@in_a_world(budget=0.25)
async def test_the_limit_never_shrinks_so_far_that_nobody_is_let_in(world):
    for _ in range(50):
        await world.ask(1)
        world.time += 1
        world.connections[0].answer()
        await settled()
    lowest = int(world.batches.limit)
    assert lowest >= 1
    tasks = [await world.ask(number) for number in range(lowest)]
    assert not any(task.done() for task in tasks)


@in_a_world(budget=0.25)
async def test_a_limit_that_shrank_grows_again_with_what_is_answered_in_time(world):
    await world.ask(*range(1, 101))
    world.time += 1
    await world.answer_all()
    low = world.batches.limit
    for _ in range(10):
        tasks = [await world.ask(*range(1, 11)) for _ in range(5)]
        await world.answer_all()
        assert all(task.exception() is None for task in tasks)
    assert world.batches.limit == low + 500


@in_a_world()
async def test_the_limit_does_not_grow_without_end(world):
    limits = []
    for _ in range(25):
        await world.ask(*range(1, THOUSAND + 1))
        await world.answer_all()
        limits.append(world.batches.limit)
    assert limits[-1] == limits[-2] > limits[0]


@pytest.mark.parametrize("size", [1, MANY])
@in_a_world()
async def test_a_failure_of_the_model_reaches_everyone_who_waits_for_it(world, size):
    await world.occupied()
    tasks = [await world.ask(*range(1, size + 1)), await world.ask(2)]
    world.connections[0].answer()
    world.serve(2, VISITS)
    later = await world.ask(3)
    world.predictor.score, score = broken, world.predictor.score
    world.connections[0].answer()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(task.exception()) for task in tasks] == [ZeroDivisionError] * 2
    world.predictor.score = score
    world.connections[0].answer()
    assert numbers(await later) == [3]


def broken(served, requests, rows, now):
    raise ZeroDivisionError


@pytest.mark.parametrize("size", [2, MANY])
@pytest.mark.parametrize("answered", [-1, 1])
@in_a_world()
async def test_a_model_that_answers_for_fewer_or_more_than_it_was_asked_leaves_nobody_waiting(
    world, size, answered
):
    def score(matrix):
        return np.zeros(len(matrix) + answered, np.int64), np.zeros(len(matrix) + answered)

    world.serve(1, VISITS, score=score)
    task = await world.ask(*range(1, size + 1))
    world.connections[0].answer()
    with pytest.raises(ValueError):
        await asyncio.wait_for(task, 5)


@in_a_world()
async def test_features_of_unknown_age_are_told_to_everyone_who_asked(world):
    world.predictor.set_newest(None)
    tasks = [await world.ask(1), await world.ask(2)]
    await world.answer_all()
    assert [type(task.exception()) for task in tasks] == [FeatureStoreUnavailable] * 2


@pytest.mark.parametrize("moment", ["waiting", "reading"])
@in_a_world()
async def test_one_who_leaves_does_not_disturb_the_others(world, moment):
    await world.occupied()
    stays, leaves, stays_too = [await world.ask(*ids) for ids in ((1,), (2, 3), (4, 5))]
    if moment == "reading":
        world.connections[0].answer()
    leaves.cancel()
    await settled()
    # What was asked is still to be read and scored.
    assert world.batches.under_way == (5 if moment == "reading" else 6)
    await world.answer_all()
    assert leaves.cancelled()
    assert [numbers(task.result()) for task in (stays, stays_too)] == [[1], [4, 5]]


@pytest.mark.parametrize("failure", ["the connection", "the model", "the model of many"])
@in_a_world()
async def test_one_who_leaves_does_not_keep_a_failure_from_the_others(world, failure):
    await world.occupied()
    leaves = await world.ask(*range(1, MANY if failure == "the model of many" else 3))
    stays = await world.ask(3)
    world.connections[0].answer()
    leaves.cancel()
    await settled()
    if failure == "the connection":
        world.connections[0].lose()
    else:
        world.predictor.score = broken
        world.connections[0].answer()
    with pytest.raises((FeatureStoreUnavailable, ZeroDivisionError)):
        await asyncio.wait_for(stays, 5)


@in_a_world()
async def test_who_cannot_be_told_does_not_keep_the_answers_from_the_others(world, log):
    def fail(told):
        raise RuntimeError("sensitive")

    await world.occupied()
    before = await world.ask(1)
    world.batches.submit([ScoringRequest("2", "")], fail)
    after = await world.ask(3)
    await world.answer_all()
    assert [numbers(task.result()) for task in (before, after)] == [[1], [3]]
    assert [line["error"] for line in log.lines("answer_failed")] == ["RuntimeError"]


CONNECTIONS = 3
lane_numbers = st.integers(0, CONNECTIONS - 1)
steps = st.one_of(
    st.tuples(st.just("ask"), st.lists(st.integers(1, 899), min_size=1, max_size=4)),
    st.tuples(st.just("ask"), st.just(list(range(1, MANY)))),
    st.tuples(st.just("answer"), lane_numbers),
    st.tuples(st.just("lose"), lane_numbers),
    st.tuples(st.just("reconnect"), lane_numbers),
    st.tuples(st.just("leave"), st.integers(0, 20)),
    st.tuples(st.just("swap"), st.just(0)),
)


@settings(deadline=None)
@given(st.lists(steps, max_size=40))
def test_whatever_happens_each_question_gets_its_own_answer_or_learns_why_not(script):
    asked = []

    async def take(world, step, what):
        connection = world.connections[what] if step in ("answer", "lose", "reconnect") else None
        if step == "ask":
            asked.append((what, await world.ask(*what)))
        elif step == "answer" and connection.busy:
            connection.answer()
        elif step == "lose" and connection.connected:
            connection.lose()
        elif step == "reconnect" and not connection.connected:
            connection.reconnect()
        elif step == "leave" and what < len(asked):
            asked[what][1].cancel()
        elif step == "swap":
            version = world.predictor.served.version.version + 1
            world.serve(version, AMOUNT if version % 2 else VISITS)
        await settled()

    @in_a_world(connections=CONNECTIONS)
    async def play(world):
        for step, what in script:
            await take(world, step, what)
        for connection in world.connections:
            if not connection.connected:
                connection.reconnect()
        await world.answer_all()
        assert max(map(len, world.asked), default=0) <= THOUSAND

    play()
    happened = {step for step, _ in script}
    for entity_ids, task in asked:
        if task.cancelled():
            assert "leave" in happened
        elif task.exception() is not None:
            assert isinstance(task.exception(), FeatureStoreUnavailable)
            assert "lose" in happened
        else:
            served, answers = task.result()
            (feature,) = served.schema.features
            share = 1000 if feature == VISITS else 2000
            assert [one.model for one in answers] == [served.version] * len(entity_ids)
            assert [int(one.entity_id) for one in answers] == entity_ids
            assert [one.probability for one in answers] == [one / share for one in entity_ids]
