"""Where a table lies in its file: titles above the header, totals below the rows."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.history.files.text_file import open_text
from streamflow.history.violations import Violation
from streamflow.use_case import Csv

if TYPE_CHECKING:
    import pyarrow as pa

# Titles stand in the first lines; how wide a table is, is seen by so many rows.
_MOST_TITLES = 20
_ROWS_LOOKED_AT = 300
_LONGEST_LINE = 1024 * 1024
# Totals and notes stand in the last rows.
_LAST_ROWS = 5
_NUMBER = re.compile(r"[-+]?[0-9][0-9.,]*")
_TOTAL = re.compile(
    r"(grand |sub)?totals?|sums?|summe|gesamt(summe)?|insgesamt|somme|suma|totale?|average|mean|"
    r"durchschnitt|mittelwert",
    re.IGNORECASE,
)


def with_skipped_lines(path: Path, read: Csv) -> Csv:
    """How the file is written, with the lines above its header."""
    with open_text(path, read) as file:
        lines = list(islice(iter(lambda: file.readline(_LONGEST_LINE), ""), _ROWS_LOOKED_AT))
    rows, physical = [], []
    reader = csv.reader(lines, delimiter=read.separator)
    before = 0
    try:
        for row in reader:
            rows.append([cell.strip() for cell in row])
            physical.append(before)
            before = reader.line_num
    except csv.Error:
        return read
    number = titles_above(rows)
    return replace(read, skip_lines=physical[number]) if number else read


def titles_above(rows: Sequence[Sequence[str]]) -> int:
    """How many of the first rows are above the header; 0 if the first one may be it.

    A header names each column, or all but one, and is as wide as most rows.
    """
    widths = Counter(len(row) for row in rows if any(row))
    if not widths:
        return 0
    width = max(widths, key=lambda one: (widths[one], one))
    if width < 2:
        return 0
    for number, row in enumerate(rows[:_MOST_TITLES]):
        named = len(row) >= width and sum(map(bool, row)) >= width - (1 if width > 2 else 0)
        # A row of data, below a header that is narrower, has numbers.
        if named and not (number and any(map(_NUMBER.fullmatch, row))):
            return number
    return 0


def totals_in(
    rows: pa.Table, broken: Sequence[Violation], columns: Sequence[str], read: Csv
) -> tuple[str, ...]:
    """The first values of rows at the end that sum up the others."""
    import pyarrow as pa

    found: dict[str, None] = {}
    if columns[0] in rows.column_names and pa.types.is_string(rows[columns[0]].type):
        first = rows[columns[0]]
        for value in first.slice(max(0, len(first) - _LAST_ROWS)).to_pylist():
            if value is not None and _TOTAL.fullmatch(value.strip().rstrip(":")):
                found[value.strip()] = None
    for one in broken[-_LAST_ROWS:]:
        text = (one.value or "").partition(read.separator)[0].strip(' "')
        if _TOTAL.fullmatch(text.rstrip(":")):
            found[text] = None
    return tuple(found)
