"""The log: our events and the messages of libraries, by the standard library's `logging`.

A server writes one JSON object a line, a command plain lines on standard error. Our lines contain
no feature's value and no entity's id: more people read logs than predictions. A file that servers
append to is kept short by `rotate`.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from streamflow.private_files import open_private

# A longer log is put aside.
LONGEST_LOG_BYTES = 10 * 1024 * 1024
OWN_PACKAGES = ("streamflow", "feast_postgres", "feast_duckdb", "feast_spark", "feast_known")

_logger = logging.getLogger("streamflow")


def info(event: str, **facts: object) -> None:
    """Log an event with its facts."""
    _log(logging.INFO, event, facts)


def warning(event: str, **facts: object) -> None:
    """Log an event that an operator should look at."""
    _log(logging.WARNING, event, facts)


def failure(event: str, error: BaseException, **facts: object) -> None:
    """Log an unexpected error by its type and the lines it passed through.

    The error's message is left out: database drivers put the values of rows into it.
    """
    facts = {"error": type(error).__name__, "lines": traceback_lines(error), **facts}
    _log(logging.ERROR, event, facts)


def _log(level: int, event: str, facts: Mapping[str, object]) -> None:
    _logger.log(level, event, extra={"facts": facts})


def traceback_lines(error: BaseException) -> list[str]:
    """The lines that an error passed through, outermost first: `file:line function`."""
    return [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]


def json_line(event: str, level: str, facts: Mapping[str, object]) -> str:
    """A line of the log in JSON, with the current time (UTC)."""
    from pydantic_core import to_json

    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"time": now, "level": level, "event": event, **facts}
    return to_json(line, fallback=str).decode() + "\n"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a library's message that doesn't fit its arguments may not fail the caller
        return str(record.msg)


class JsonLines(logging.Handler):
    """Writes each record to `stream` as one JSON object a line.

    If the stream can't be written, such as a file on a full disk, lines are lost without an error.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a library's message is the event `library_message`."""
        facts = getattr(record, "facts", None)
        event = _message(record)
        if facts is None:
            facts, event = {"logger": record.name, "message": event}, "library_message"
            if record.exc_info and record.exc_info[1]:
                facts["error"] = type(record.exc_info[1]).__name__
                facts["lines"] = traceback_lines(record.exc_info[1])
        self.write(json_line(event, record.levelname.lower(), facts))

    def write(self, lines: str) -> None:
        """Write lines that are JSON already, under a lock: threads don't mix their lines."""
        self.acquire()
        try:
            with suppress(OSError):
                self.stream.write(lines)
                self.stream.flush()
        finally:
            self.release()


def write_json_lines(lines: str) -> None:
    """Write lines that are JSON already to the stream of `write_json_to`.

    Only for the line per request: a record of `logging` takes three times as long.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, JsonLines):
            handler.write(lines)


def write_json_to(stream: TextIO = sys.stderr) -> None:
    """Send the log of this process to `stream` as JSON lines, and nowhere else."""
    _send(JsonLines(stream))


class PlainLines(logging.Handler):
    """Writes each record as a plain line to the current `sys.stderr`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record with its facts."""
        facts = getattr(record, "facts", None)
        suffix = f" {dict(facts)}" if facts else ""
        with suppress(OSError):
            print(f"{record.name}: {_message(record)}{suffix}", file=sys.stderr)


def write_plain() -> None:
    """Send the log of this process to standard error as plain lines, and nowhere else."""
    _send(PlainLines())


def _send(handler: logging.Handler) -> None:
    """Use this handler alone; log information of our packages, and of libraries only warnings."""
    root = logging.getLogger()
    for other in root.handlers[:]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in OWN_PACKAGES:
        logging.getLogger(name).setLevel(logging.INFO)


def rotate(file: Path, longest: int | None = None) -> bool:
    """Copy a log that is longer than `longest` (10 MB) to `FILE.1`, then empty it; whether it was.

    Who writes the log has it open for appending and goes on at the new beginning. A line that is
    written between the copy and the emptying is lost. FILE.1 is complete or as it was.
    """
    longest = LONGEST_LOG_BYTES if longest is None else longest
    try:
        if file.stat().st_size <= longest:
            return False
        partial = file.with_name(f"{file.name}.partial")
        with file.open("rb") as source, open_private(partial, "wb") as copy:
            shutil.copyfileobj(source, copy)
        partial.replace(file.with_name(f"{file.name}.1"))
        os.truncate(file, 0)
    except OSError:  # a full disk, say; the next call tries again
        return False
    return True
