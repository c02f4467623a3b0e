"""A file of entity ids to predict for: CSV with a column of ids, or one id per line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from streamflow.entity_id import LONGEST, PATTERN
from streamflow.errors import MissingFiles, UnreadableFile

_CHUNK_SIZE = 1_000
_VISIBLE = re.compile(PATTERN)


def chunks(file: Path, column: str) -> Iterator[list[str]]:
    """The ids in their order, a thousand at a time; empty lines are left out.

    Raises MissingFiles if there is no such file, UnreadableFile if it has neither a column of that
    name nor a single column.
    """
    ids = _ids(file, column)
    while chunk := list(islice(ids, _CHUNK_SIZE)):
        yield chunk


def _ids(file: Path, column: str) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines)
            first = next((row for row in rows if row), [])
            if column in first:
                position = first.index(column)
            elif len(first) == 1:
                position = 0
                yield _checked(file, rows.line_num, first[0])
            else:
                raise _unreadable(file, f"its first line has no column {column!r}")
            for row in rows:
                if not row:
                    continue
                if len(row) <= position:
                    raise _unreadable(file, f"line {rows.line_num} has no {column!r}")
                yield _checked(file, rows.line_num, row[position])
    except FileNotFoundError as error:
        raise MissingFiles(f"There is no file {file}.", "Name a file of ids.") from error
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise _unreadable(file, str(error)) from error


def _checked(file: Path, line: int, entity_id: str) -> str:
    if len(entity_id) > LONGEST or not _VISIBLE.fullmatch(entity_id):
        raise _unreadable(file, f"line {line} has no id of 1 to {LONGEST} visible characters")
    return entity_id


def _unreadable(file: Path, reason: str) -> UnreadableFile:
    return UnreadableFile(
        f"{file} can't be read as a file of ids: {reason}.",
        "Give CSV in UTF-8 with a column of ids, or a file with one id per line.",
    )
