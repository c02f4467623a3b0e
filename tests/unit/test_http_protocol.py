from __future__ import annotations

import asyncio

import pytest

from streamflow.api.direct_http import JoinedWrites


class FakeTransport:
    def __init__(self):
        self.written = []
        self.closed = False

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def get_extra_info(self, name):
        return f"the {name}"


@pytest.fixture
def transport():
    return FakeTransport()


@pytest.fixture
def turn():
    """Runs something in one turn of a loop, and the next turn."""

    def run(doing):
        async def once():
            doing(asyncio.get_running_loop())
            await asyncio.sleep(0)

        asyncio.run(once())

    return run


def test_head_and_body_are_one_write_at_once(transport, turn):
    def answer(loop):
        joined = JoinedWrites(transport, loop)
        joined.write(b"head ")
        assert transport.written == []
        joined.write(b"body")
        assert transport.written == [b"head body"]

    turn(answer)
    assert transport.written == [b"head body"]


def test_a_lone_write_goes_out_at_the_end_of_the_turn(transport, turn):
    turn(lambda loop: JoinedWrites(transport, loop).write(b"HTTP/1.1 100 Continue\r\n\r\n"))
    assert transport.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]


def test_many_writes_keep_their_order(transport, turn):
    parts = [b"1", b"2", b"", b"3", b"4", b"5"]

    def answer(loop):
        joined = JoinedWrites(transport, loop)
        for part in parts:
            joined.write(part)

    turn(answer)
    assert b"".join(transport.written) == b"12345"


def test_what_is_held_is_written_before_the_end(transport, turn):
    def refuse(loop):
        joined = JoinedWrites(transport, loop)
        joined.write(b"HTTP/1.1 400 Bad Request")
        joined.close()
        assert (transport.written, transport.closed) == ([b"HTTP/1.1 400 Bad Request"], True)

    turn(refuse)
    assert len(transport.written) == 1


def test_nothing_is_written_to_a_client_that_is_gone(transport, turn):
    def answer(loop):
        JoinedWrites(transport, loop).write(b"head")
        transport.close()

    turn(answer)
    assert transport.written == []


def test_all_else_is_the_transports_own(transport):
    assert JoinedWrites(transport, None).get_extra_info("peername") == "the peername"
