"""The lists of what broke a contract, as `ingest` and `run-month` leave them in the home."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

NAME = re.compile(r"violations-(\d{4}-\d\d-\d\d)-(\d{8}T\d{6})\d*\.csv")
MOST_FILES, MOST_LINES = 20, 100
_MOST_CHARACTERS = 200


@dataclass(frozen=True)
class ViolationFile:
    """A list, of the month `as_of`, that was written at `made_at` (UTC)."""

    name: str
    as_of: str
    made_at: datetime


@dataclass(frozen=True)
class OffendingLine:
    """A value that breaks a rule, as texts; empty where there is none."""

    file: str
    line: str
    column: str
    value: str
    rule: str


def violation_files(home: Path) -> list[ViolationFile]:
    """The newest lists of the home, newest first."""
    names = [one.name for one in (home / "reports").glob("violations-*.csv")]
    found = [match for name in names if (match := NAME.fullmatch(name))]
    files = [
        ViolationFile(
            match[0], match[1], datetime.strptime(match[2], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        )
        for match in found
    ]
    return sorted(files, key=lambda one: one.made_at, reverse=True)[:MOST_FILES]


def offending_lines(home: Path, name: str) -> Sequence[OffendingLine]:
    """The first lines of the list; none if there is no such list."""
    if name not in {one.name for one in violation_files(home)}:
        return []
    with (home / "reports" / name).open(encoding="utf-8", newline="") as opened:
        rows = islice(csv.reader(opened), 1, 1 + MOST_LINES)
        return [
            OffendingLine(*(cell[:_MOST_CHARACTERS] for cell in row))
            for row in rows
            if len(row) == 5
        ]
