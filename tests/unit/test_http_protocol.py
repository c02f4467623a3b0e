from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from streamflow.api import http_protocol
from streamflow.api.direct_http import DirectHttpProtocol
from streamflow.api.limited_http import LimitedHttpProtocol
from streamflow.api.transport import JoinedWrites

ROOT = Path(__file__).parents[2]


class Clock:
    """A loop whose time doesn't pass: what is to be called later is in `later`."""

    def __init__(self, loop, later):
        self.call_soon = loop.call_soon
        self.call_later = lambda seconds, callback: later.append(callback)


class FakeTransport:
    def __init__(self):
        self.written = []
        self.closed = self.aborted = False
        self.unread = 0

    def write_eof(self):
        self.written.append("the end")

    def abort(self):
        self.aborted = True

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def get_write_buffer_size(self):
        return self.unread

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


def test_a_client_that_is_still_sending_has_time_to_read_before_the_end(transport, turn):
    def refuse(loop):
        joined = JoinedWrites(transport, loop)
        joined.linger()
        joined.write(b"HTTP/1.1 400 Bad Request")
        joined.close()
        assert transport.written == [b"HTTP/1.1 400 Bad Request", "the end"]
        assert (joined.is_closing(), transport.closed) == (True, False)
        joined.write_at_once(b"more")
        joined.close()
        (loop_end,) = later
        loop_end()
        assert transport.closed

    later = []
    turn(lambda loop: refuse(Clock(loop, later)))
    assert len(transport.written) == 2


def test_what_isnt_read_after_the_end_is_dropped_after_a_time(transport, turn):
    def end(loop):
        JoinedWrites(transport, Clock(loop, later)).close()

    later = []
    transport.unread = 100
    turn(end)
    assert (transport.closed, transport.aborted) == (True, False)
    later[0]()
    assert transport.aborted


def test_all_else_is_the_transports_own(transport):
    assert JoinedWrites(transport, None).get_extra_info("peername") == "the peername"


def test_with_the_tested_versions_the_direct_path_is_used_unless_the_setting_is_off(log):
    assert http_protocol.http_protocol(direct=True) is DirectHttpProtocol
    assert http_protocol.http_protocol(direct=False) is LimitedHttpProtocol
    assert log.lines() == []


@pytest.mark.parametrize("package", ["uvicorn", "httptools"])
@pytest.mark.parametrize("found", ["0.0.1", None])
def test_with_other_versions_it_is_not_and_the_log_says_so(monkeypatch, log, package, found):
    installed = {**http_protocol.TESTED, package: found}
    monkeypatch.setattr(http_protocol, "_version", installed.get)
    # The module isn't even imported: it may need what such a version lacks.
    monkeypatch.setitem(sys.modules, "streamflow.api.direct_http", None)
    assert http_protocol.http_protocol(direct=True) is LimitedHttpProtocol
    (line,) = log.lines("direct_http_off")
    assert (line["level"], line["installed"]) == ("warning", installed)
    assert line["tested"] == http_protocol.TESTED


def test_a_uvicorn_that_is_built_otherwise_starts_as_it_is(monkeypatch, log):
    monkeypatch.setattr(http_protocol, "_version", lambda name: "9.0")
    monkeypatch.setitem(sys.modules, "streamflow.api.limited_http", None)
    assert http_protocol.http_protocol(direct=True) == "auto"
    assert [line["event"] for line in log.lines()] == ["direct_http_off", "http_limits_off"]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-api.lock"])
def test_the_tested_versions_are_those_of_the_lock(lock):
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / lock).read_text(), re.MULTILINE))
    assert {name: pins[name] for name in http_protocol.TESTED} == http_protocol.TESTED
