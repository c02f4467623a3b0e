"""The log: our events and libraries' messages, as JSON lines or for eyes."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamflow import log


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The root logger, as it was again afterwards."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    yield root
    root.setLevel(level)


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object_with_its_facts() -> None:
    stream = io.StringIO()
    log.write_json_to(stream)
    log.info("model_swapped", model_version=3)
    log.warning("refused", code="key_unknown")
    first, second = written(stream)
    assert first.keys() == {"time", "level", "event", "model_version"}
    assert (first["level"], first["event"], first["model_version"]) == ("info", "model_swapped", 3)
    assert (second["level"], second["code"]) == ("warning", "key_unknown")


def test_a_librarys_warning_arrives_too_and_its_information_does_not() -> None:
    stream = io.StringIO()
    log.write_json_to(stream)
    logging.getLogger("some.library").info("all is well")
    logging.getLogger("some.library").warning("the pool is %s", "exhausted")
    (line,) = written(stream)
    assert line["event"] == "library_message"
    assert (line["logger"], line["message"]) == ("some.library", "the pool is exhausted")


def test_a_librarys_message_that_does_not_fit_its_arguments_fails_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = io.StringIO()
    log.write_json_to(stream)
    logging.getLogger("some.library").warning("%d rows", "many")
    assert [line["message"] for line in written(stream)] == ["%d rows"]
    log.write_plain()
    logging.getLogger("some.library").warning("%d rows", "many")
    assert capsys.readouterr().err == "some.library: %d rows\n"


def test_information_of_our_own_feast_plugin_arrives() -> None:
    stream = io.StringIO()
    log.write_json_to(stream)
    logging.getLogger("feast_postgres.engine").info("rows are materialized one by one")
    assert [line["message"] for line in written(stream)] == ["rows are materialized one by one"]


def test_an_error_is_logged_without_its_message_which_may_hold_values() -> None:
    stream = io.StringIO()
    log.write_json_to(stream)
    try:
        raise ValueError("ann's secret")
    except ValueError as error:
        log.failure("request_failed", error, request_id="r1")
    (line,) = written(stream)
    assert (line["level"], line["error"], line["request_id"]) == ("error", "ValueError", "r1")
    assert line["lines"][0].startswith(__file__)
    assert "secret" not in stream.getvalue()


def test_a_librarys_error_tells_where_it_came_from() -> None:
    stream = io.StringIO()
    log.write_json_to(stream)
    try:
        raise ValueError("wrong")
    except ValueError:
        logging.getLogger("some.library").exception("it failed")
    (line,) = written(stream)
    assert (line["error"], line["message"]) == ("ValueError", "it failed")
    assert line["lines"][0].startswith(__file__)


def test_lines_that_are_written_already_go_to_the_same_place() -> None:
    stream = io.StringIO()
    log.write_json_to(stream)
    log.write_json_lines(log.json_line("request", "info", {"status": 200}))
    assert [line["status"] for line in written(stream)] == [200]


def test_sending_the_log_elsewhere_leaves_the_first_place_alone() -> None:
    first, second = io.StringIO(), io.StringIO()
    log.write_json_to(first)
    log.write_json_to(second)
    log.info("model_withdrawn")
    assert first.getvalue() == ""
    assert len(written(second)) == 1


def test_for_eyes_a_line_names_its_package(capsys: pytest.CaptureFixture[str]) -> None:
    log.write_plain()
    logging.getLogger("feast_postgres.engine").info("the reason")
    log.warning("prediction_log_keeps_old_days", days=3)
    assert capsys.readouterr().err.splitlines() == [
        "feast_postgres.engine: the reason",
        "streamflow: prediction_log_keeps_old_days {'days': 3}",
    ]


def test_a_stream_that_cannot_be_written_costs_nothing_but_the_line() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    log.write_json_to(Full())
    log.info("model_withdrawn")


def test_a_long_log_is_put_aside_and_whoever_appends_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    with file.open("ab", buffering=0) as server:
        server.write(b"first\n" * 100)
        assert not log.rotate(file, longest=600)
        assert log.rotate(file, longest=599)
        server.write(b"second\n")
        assert log.rotate(file, longest=0)
        server.write(b"third\n")
    assert file.read_bytes() == b"third\n"
    assert (tmp_path / "server.log.1").read_bytes() == b"second\n"
    assert {path.name for path in tmp_path.iterdir()} == {"server.log", "server.log.1"}
    assert not log.rotate(tmp_path / "missing")
