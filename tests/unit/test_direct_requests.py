"""Predictions by the bytes of their connection.

On the direct HTTP path most don't go through ASGI, which the client can't see.
"""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from tests.fakes import (
    FEBRUARY,
    FakeKeyStore,
    FakeRegistry,
    Wire,
    direct_only,
    eventually,
    model,
    serving,
)

from streamflow.api import limits
from streamflow.api.limits import LARGEST_BATCH_BYTES, LARGEST_BODY_BYTES, LARGEST_HEAD_BYTES
from streamflow.keys.api_keys import ApiKey, Scope, hash_key

BODY = b'{"user_id": "ann"}'
BATCH = b'{"user_ids": ["ann", "nobody"]}'
SECRET = b"streamflow_" + b"x" * 43
KEY = ApiKey(1, hash_key(SECRET), "", frozenset({Scope.PREDICT}), FEBRUARY, "ann")


def head(length, *headers, target=b"POST /predict HTTP/1.1"):
    lines = [target, b"Host: testserver", b"Content-Type: application/json"]
    return b"\r\n".join([*lines, b"Content-Length: %d" % length, *headers, b"", b""])


def request(*headers, body=BODY, **given):
    return head(len(body), *headers, **given) + body


CHUNKED = head(0, b"Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")


def named(request_id):
    return b"X-Request-ID: " + request_id


def answers(received):
    """Status, headers and body of each answer that is there as a whole."""
    found = []
    while b"\r\n\r\n" in received:
        start, _, received = received.partition(b"\r\n\r\n")
        status, *lines = start.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("content-length", 0))
        if len(received) < length:
            break
        found.append((int(status.split()[1]), headers, received[:length]))
        received = received[length:]
    return found


async def answered(wire, number=1):
    async with asyncio.timeout(10):
        while len(answers(wire.received)) < number:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)  # nothing more follows
    return answers(wire.received)


@pytest.fixture
def talk(service):
    """Runs a conversation over a new connection in the API's own loop."""

    def run(conversation):
        async def whole():
            return await conversation(Wire(service.client.app.config))

        return service.client.portal.call(whole)

    return run


@direct_only
@pytest.mark.parametrize("target", [b"/predict", b"/predict/batch"])
def test_a_prediction_does_not_go_through_asgi(talk, target):
    async def conversation(wire):
        body = BODY if target == b"/predict" else BATCH
        wire.send(request(body=body, target=b"POST " + target + b" HTTP/1.1"))
        assert not wire.protocol.tasks
        return await answered(wire)

    ((status, _, _),) = talk(conversation)
    assert status == 200


def lookup(path):
    return b"GET /scores/" + path + b" HTTP/1.1\r\nHost: testserver\r\nX-Request-ID: 1\r\n\r\n"


@direct_only
def test_a_lookup_of_a_score_does_not_go_through_asgi(talk):
    async def conversation(wire):
        wire.send(lookup(b"a%2Fb%20%C3%A9"))
        assert not wire.protocol.tasks
        return await answered(wire)

    ((status, headers, body),) = talk(conversation)
    told = json.loads(body)
    assert (status, told["code"], headers["x-request-id"]) == (404, "no_scoring", "1")
    assert told["instance"] == "/scores/a/b%20%C3%A9"


def test_a_lookup_has_the_same_response_either_way(talk):
    async def conversation(wire):
        wire.send(lookup(b"a%2Fb%20%C3%A9"))
        direct = await answered(wire)
        wire.received = b""
        wire.send(lookup(b"a%2Fb%20%C3%A9?x=1"))
        return direct, await answered(wire)

    direct, through_asgi = talk(conversation)
    assert direct == through_asgi


@pytest.mark.parametrize("path", [b"", b"%09", b"x" * 65])
def test_what_is_no_id_has_no_score(talk, path):
    async def conversation(wire):
        wire.send(lookup(path))
        return await answered(wire)

    ((status, _, body),) = talk(conversation)
    assert (status, json.loads(body)["code"]) in [(422, "invalid_request"), (404, "not_found")]


@direct_only
@pytest.mark.parametrize("media_type", [b"Application/JSON", b"application/json; charset=utf-8"])
def test_json_is_json_however_a_client_writes_it(talk, media_type):
    async def conversation(wire):
        wire.send(request().replace(b"application/json", media_type))
        assert not wire.protocol.tasks
        return await answered(wire)

    assert [status for status, _, _ in talk(conversation)] == [200]


@pytest.mark.parametrize(
    "asking",
    [
        request(b"Expect: 100-continue"),
        request(target=b"POST /predict HTTP/1.0"),
        request(target=b"POST /predict?x=1 HTTP/1.1"),
        request(target=b"POST /pred%69ct HTTP/1.1"),
        request(body=b"{"),
    ],
    ids=["expecting", "http 1.0", "with a query", "encoded", "invalid"],
)
def test_what_is_not_plain_goes_through_asgi_and_is_answered_as_well(talk, asking):
    async def conversation(wire):
        wire.send(asking)
        assert len(wire.protocol.tasks) == 1
        return (await answered(wire, 1 + (b"100-continue" in asking)))[-1]

    status, _, body = talk(conversation)
    if asking.endswith(b"{"):
        assert (status, json.loads(body)["code"]) == (422, "invalid_request")
    else:
        assert (status, json.loads(body)["user_id"]) == (200, "ann")


def test_answers_come_in_the_order_of_the_requests(talk):
    async def conversation(wire):
        through_asgi = request(named(b"0"), target=b"POST /predict?x=1 HTTP/1.1")
        other = b"GET /health HTTP/1.1\r\nHost: testserver\r\nX-Request-ID: 2\r\n\r\n"
        wire.send(through_asgi + request(named(b"1")) + other + request(named(b"3")))
        first = await answered(wire, 4)
        wire.received = b""
        wire.send(request(named(b"1")) + other + request(named(b"3")) + through_asgi)
        return first, await answered(wire, 4)

    for told, order in zip(talk(conversation), ("0123", "1230"), strict=True):
        assert [headers["x-request-id"] for _, headers, _ in told] == list(order)
        ids = [json.loads(body).get("request_id") for _, _, body in told]
        assert ids == [None if one == "2" else one for one in order]


def test_one_connection_answers_again_and_again(talk):
    async def conversation(wire):
        for number in range(1, 4):
            wire.send(request())
            assert len(await answered(wire, number)) == number
        return wire

    assert not talk(conversation).closed


@direct_only
def test_a_body_may_come_in_pieces_or_chunks(talk):
    async def conversation(wire):
        for byte in request():
            wire.send(bytes([byte]))
        await answered(wire)
        wire.send(CHUNKED + b"9\r\n" + BODY[:9] + b"\r\n")
        wire.send(b"%x\r\n" % len(BODY[9:]) + BODY[9:] + b"\r\n0\r\n\r\n")
        assert not wire.protocol.tasks
        return await answered(wire, 2)

    assert [json.loads(body)["user_id"] for _, _, body in talk(conversation)] == ["ann", "ann"]


@direct_only
@pytest.mark.parametrize(
    ("target", "largest"),
    [(b"/predict", LARGEST_BODY_BYTES), (b"/predict/batch", LARGEST_BATCH_BYTES)],
)
def test_no_more_of_a_body_is_held_than_may_come(talk, target, largest):
    async def conversation(wire):
        wire.send(head(largest + 999, target=b"POST " + target + b" HTTP/1.1") + b" " * largest)
        assert not wire.protocol.tasks
        wire.send(b" ")
        return await answered(wire)

    ((status, _, body),) = talk(conversation)
    assert (status, json.loads(body)["code"]) == (413, "content_too_large")


@pytest.mark.parametrize(
    ("start", "more"),
    [(b"0\r\n", b"name: value\r\n"), (b"0\r\nname: ", b"value"), (b"5;", b"extension")],
    ids=["trailers", "a trailer", "a chunk's extension"],
)
@pytest.mark.parametrize("conversing", ["talk", "guarded_talk"])
def test_what_surrounds_a_body_is_not_listened_to_without_end(request, conversing, start, more):
    async def conversation(wire):
        wire.send(CHUNKED + start)
        for _ in range(LARGEST_HEAD_BYTES // len(more)):
            wire.send(more)
        assert not wire.closed
        wire.send(more)
        return wire, await answered(wire)

    wire, ((status, headers, _),) = request.getfixturevalue(conversing)(conversation)
    expected = 431 if conversing == "talk" else 401
    assert (status, headers["connection"], wire.closed) == (expected, "close", True)


@pytest.mark.parametrize("query", [b"", b"?x=1"], ids=["direct", "through asgi"])
def test_a_trailer_is_no_header(guarded_talk, query):
    async def conversation(wire):
        asking = CHUNKED.replace(b"/predict", b"/predict" + query)
        trailers = b"Authorization: Bearer " + SECRET + b"\r\n" + named(b"trailer") + b"\r\n"
        wire.send(asking + b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n" + trailers + b"\r\n")
        return await answered(wire)

    ((status, headers, _),) = guarded_talk(conversation)
    assert status == 401
    assert headers["x-request-id"] != "trailer"


@pytest.fixture
def impatient(monkeypatch):
    """Times that a test can wait for."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "READING_SECONDS"):
        monkeypatch.setattr(limits, name, 0.1)


async def ended(wire):
    async with asyncio.timeout(10):
        while not wire.closed:
            await asyncio.sleep(0.001)
    return answers(wire.received)


HALVES = {
    "half a head": request()[:40],
    "half a body": request()[:-3],
    "half a body through asgi": request(target=b"POST /predict?x=1 HTTP/1.1")[:-3],
    "half a chunk": CHUNKED + b"9\r\n" + BODY[:5],
    "half a trailer": CHUNKED + b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\nname: va",
    "a head that asks to upgrade": head(9, b"Connection: upgrade", b"Upgrade: h2c") + b"{",
}


@pytest.mark.parametrize("half", sorted(HALVES))
@pytest.mark.parametrize("before", [b"", request() * 2], ids=["first", "behind others"])
def test_half_a_request_is_given_up_after_a_time(impatient, talk, half, before):
    async def conversation(wire):
        wire.send(before + HALVES[half])
        return await ended(wire)

    *others, (status, headers, body) = talk(conversation)
    assert [one for one, _, _ in others] == [200] * (2 * bool(before))
    assert (status, headers["connection"]) == (408, "close")
    assert json.loads(body)["code"] == "request_timeout"


@pytest.mark.parametrize("half", [head(0, b"X: y")[:-4], head(1000)], ids=["its head", "its body"])
def test_a_request_that_comes_byte_by_byte_has_no_more_time(impatient, talk, half):
    async def conversation(wire):
        wire.send(half)
        for _ in range(500):
            wire.send(b"x")
            await asyncio.sleep(0.002)
            if wire.closed:
                return answers(wire.received)
        raise AssertionError("it was listened to for a second")

    assert [status for status, _, _ in talk(conversation)] == [408]


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "a line's end"])
@pytest.mark.parametrize("before", [b"", request()], ids=["new", "used"])
def test_who_asks_for_nothing_is_left_without_a_word(impatient, talk, sent, before):
    async def conversation(wire):
        wire.protocol.timeout_keep_alive = 0.1
        wire.send(before + sent)
        return await ended(wire)

    assert [status for status, _, _ in talk(conversation)] == [200] * bool(before)


@pytest.mark.parametrize("target", [b"/predict", b"/predict?x=1"], ids=["direct", "through asgi"])
def test_who_waits_for_a_response_has_all_the_time(impatient, service, talk, target, monkeypatch):
    def slow(*given):
        time.sleep(0.3)
        return read(*given)

    read = service.online.read
    monkeypatch.setattr(service.online, "read", slow)

    async def conversation(wire):
        wire.send(request(target=b"POST " + target + b" HTTP/1.1"))
        return wire, await answered(wire)

    wire, ((status, _, _),) = talk(conversation)
    assert (status, wire.closed) == (200, False)


def test_who_doesnt_read_a_response_is_left_after_a_time(impatient, talk):
    async def conversation(wire):
        wire.send(request())
        await answered(wire)
        wire.protocol.pause_writing()
        await asyncio.sleep(0.01)
        wire.protocol.resume_writing()
        await asyncio.sleep(0.2)
        assert not wire.closed
        wire.protocol.pause_writing()
        return await ended(wire)

    talk(conversation)


def test_a_head_without_end_is_refused(talk):
    async def conversation(wire):
        wire.send(head(0)[:-2])
        for _ in range(LARGEST_HEAD_BYTES // 10):
            wire.send(b"name: value\r\n")
        return await answered(wire)

    ((status, headers, body),) = talk(conversation)
    assert (status, headers["connection"]) == (431, "close")
    assert json.loads(body)["code"] == "head_too_large"


def test_a_body_in_many_chunks_may_be_larger_than_a_head(talk):
    async def conversation(wire):
        wire.send(CHUNKED.replace(b"/predict", b"/predict/batch"))
        for byte in BATCH + b" " * LARGEST_HEAD_BYTES:
            wire.send(b"1\r\n%c\r\n" % byte)
        wire.send(b"0\r\n\r\n")
        return await answered(wire)

    assert [status for status, _, _ in talk(conversation)] == [200]


def test_a_head_is_measured_without_the_body_that_it_came_with(talk):
    async def conversation(wire):
        batch = request(
            body=BATCH + b" " * LARGEST_HEAD_BYTES, target=b"POST /predict/batch HTTP/1.1"
        )
        wire.send(batch + request()[:40])
        wire.send(request()[40:])
        return await answered(wire, 2)

    assert [status for status, _, _ in talk(conversation)] == [200, 200]


def test_who_wants_the_connection_closed_is_told_so_and_has_it_closed(talk):
    async def conversation(wire):
        wire.send(request(b"Connection: close"))
        return wire, await answered(wire)

    wire, ((status, headers, _),) = talk(conversation)
    assert (status, headers["connection"], wire.closed) == (200, "close", True)


def test_the_servers_own_headers_are_in_every_answer(talk):
    async def conversation(wire):
        wire.protocol.server_state.default_headers = [(b"date", b"today"), (b"server", b"test")]
        wire.send(request())
        return await answered(wire)

    ((_, headers, _),) = talk(conversation)
    assert (headers["date"], headers["server"]) == ("today", "test")


def test_an_idle_connection_is_closed_after_a_while_and_one_that_waits_is_not(talk):
    async def conversation(wire):
        def closes():
            return wire.protocol.timeout_keep_alive_task is not None

        for number in range(1, 3):
            wire.send(request())
            assert not closes()
            await answered(wire, number)
            assert closes()
        wire.leave()  # which ends the timer

    talk(conversation)


def test_a_server_that_ends_closes_what_is_idle(talk):
    async def conversation(wire):
        wire.protocol.shutdown()
        return wire

    assert talk(conversation).closed


@pytest.mark.parametrize("body", [BODY, b"{}"], ids=["direct", "handed over"])
@pytest.mark.parametrize("moment", ["before its body", "being answered"])
def test_a_server_that_ends_answers_first_what_it_was_asked(talk, moment, body):
    async def conversation(wire):
        whole = request(body=body)
        sent = len(whole) - len(body) * (moment == "before its body")
        wire.send(whole[:sent])
        wire.protocol.shutdown()
        assert not wire.closed
        wire.send(whole[sent:])
        return wire, await answered(wire)

    wire, ((status, headers, _),) = talk(conversation)
    expected = 200 if body == BODY else 422
    assert (status, headers["connection"], wire.closed) == (expected, "close", True)


@direct_only
def test_to_who_has_left_nothing_is_written_and_the_answer_is_counted(service, talk):
    async def conversation(wire):
        wire.send(request())
        wire.leave()
        return wire

    wire = talk(conversation)
    eventually(
        lambda: 'streamflow_predictions_total{label="0",version="1"} 1.0' in service.metrics()
    )
    assert wire.received == b""


@pytest.mark.parametrize("target", [b"/predict", b"/predict?x=1"], ids=["direct", "through asgi"])
def test_who_leaves_before_the_body_is_complete_sent_no_wrong_json(talk, log, target):
    async def conversation(wire):
        wire.send(request(target=b"POST " + target + b" HTTP/1.1")[:-3])
        await asyncio.sleep(0.01)
        wire.leave()
        return wire

    assert talk(conversation).received == b""
    eventually(lambda: [one["problem"] for one in log.lines("request")] == ["malformed_request"])
    assert log.lines("request_failed") == []


def test_a_client_that_does_not_read_is_not_written_to_without_end(talk):
    async def conversation(wire):
        wire.protocol.pause_writing()
        wire.send(request())
        await asyncio.sleep(0.05)
        assert wire.received == b""
        wire.protocol.resume_writing()
        return await answered(wire)

    assert [status for status, _, _ in talk(conversation)] == [200]


def test_an_unforeseen_failure_is_an_answer(service, talk, log, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("sensitive")

    monkeypatch.setattr("streamflow.serving.responses.prediction", fail)

    async def conversation(wire):
        wire.send(request())
        return await answered(wire)

    ((status, _, body),) = talk(conversation)
    assert (status, json.loads(body)["code"]) == (500, "internal_error")
    assert b"sensitive" not in body
    (line,) = log.lines("request_failed")
    assert (line["error"], line["request_id"]) == ("RuntimeError", json.loads(body)["request_id"])


@pytest.fixture
def guarded_talk():
    """The same with an API that wants a key, and lets it ask once a second."""
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    given = {"key_store": FakeKeyStore([KEY]), "loopback": False, "api_key_rate": 1}
    with serving(registry, **given) as service:

        def run(conversation):
            async def whole():
                return await conversation(Wire(service.client.app.config))

            return service.client.portal.call(whole)

        yield run


def test_who_has_no_key_is_refused_before_a_body_is_held(guarded_talk):
    async def conversation(wire):
        wire.send(head(len(BODY)))
        return await answered(wire)

    assert [status for status, _, _ in guarded_talk(conversation)] == [401]


def test_a_request_that_is_handed_over_is_counted_once_for_its_key(guarded_talk):
    async def conversation(wire):
        asking = request(b"Authorization: Bearer " + SECRET, body=b"{}")
        wire.send(asking)
        await answered(wire)
        wire.send(asking)
        return await answered(wire, 2)

    assert [status for status, _, _ in guarded_talk(conversation)] == [422, 429]
