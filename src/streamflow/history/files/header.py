"""Whether a file has its contract's columns, and what it looks like if it doesn't."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from itertools import islice
from pathlib import Path

from streamflow.history.files.text_file import open_text
from streamflow.history.violations import (
    SHOWN_CHARACTERS,
    Report,
    Violation,
    with_code_points,
)
from streamflow.use_case import Csv, Table

_SEPARATORS = (",", ";", "\t", "|")
# A title and its like stand in the first lines; a longer line is no header.
_LINES_LOOKED_AT = 10
_LONGEST_HEADER = 1024 * 1024


def read_header(path: Path, read: Csv) -> tuple[list[str], int]:
    """The names in the header, and on how many lines it is. Raises csv.Error if it's too long."""
    with open_text(path, read) as file:
        for _ in range(read.skip_lines):
            file.readline(_LONGEST_HEADER)
        rows = csv.reader(
            iter(lambda: file.readline(_LONGEST_HEADER), ""), delimiter=read.separator
        )
        return next(rows, []), rows.line_num


def header_fits(path: Path, header: list[str], table: Table, report: Report) -> bool:
    """As `columns_fit` for a CSV file, where the file may be written another way than expected."""
    if missing := [name for name in table.contract.columns if name not in header]:
        found = _other_writing(path, header, table)
        if found is not None:
            line = ",".join(header)[:SHOWN_CHARACTERS]
            report(Violation(path.name, 1 + table.read.skip_lines, None, line, found))
            return False
    if not header and missing:
        return False  # an empty file, which the caller reports
    return columns_fit(header, table, path.name, report)


def columns_fit(found: list[str], table: Table, file: str, report: Report) -> bool:
    """Whether the contract's columns are there, each once, and no others unless they're ignored."""
    line = 1 + (0 if file.endswith(".parquet") else table.read.skip_lines)
    expected = list(table.contract.columns)
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    repeated = sorted({name for name in found if found.count(name) > 1} - set(extra))
    similar = {_folded(name): name for name in extra}
    for name in missing:
        rule = "the column is there"
        if (other := similar.get(_folded(name))) is not None:
            rule += f"; the file has '{with_code_points(other)}' instead"
        elif found:
            rule += "; or its Column(…, required=False) says that a file may lack it"
        report(Violation(file, line, name, None, rule))
    if table.extra_columns == "ignore":
        extra = []
    for name in extra:
        rule = "only the contract's columns are there" if name else "a column has a name"
        rule += '; or the table says extra_columns="ignore"'
        report(Violation(file, line, name, None, rule))
    for name in repeated:
        report(Violation(file, line, name, None, "a column is there once"))
    return not (missing or extra or repeated)


def _other_writing(path: Path, header: list[str], table: Table) -> str | None:
    """The rule that the file breaks if its header stands elsewhere or is separated otherwise."""
    own, expected = table.read.separator, set(table.contract.columns)
    own_line = 1 + table.read.skip_lines
    best, best_line, best_separator = len(expected & set(header)), own_line, own
    with open_text(path, table.read) as file:
        lines = list(
            islice(iter(lambda: file.readline(_LONGEST_HEADER), ""), _LINES_LOOKED_AT + own_line)
        )
    for number, line in enumerate(lines, 1):
        for separator in (own, *_SEPARATORS):
            try:
                names = next(csv.reader([line], delimiter=separator), [])
            except csv.Error:
                continue
            hits = len(expected & {name.strip() for name in names})
            if hits > best:
                best, best_line, best_separator = hits, number, separator
    told = []
    if best_separator != own:
        told.append(
            f"values are separated by {own!r}; this file looks as if separated by "
            f"{best_separator!r}: if it should be, write in the use case "
            f"Table({json.dumps(table.name)}, ..., "
            f"read=Csv(separator={json.dumps(best_separator)}))"
        )
    if best_line != own_line:
        first = lines[own_line - 1].strip() if own_line <= len(lines) else ""
        what = (
            f"{first!r}, which is for a spreadsheet"
            if re.fullmatch(r'"?sep=.{0,3}', first)
            else "blank"
            if not first
            else "another text"
        )
        above = best_line - 1
        told.append(
            f"line {own_line} is the header; here it is {what}, and line {best_line} looks like "
            "the header: remove the lines before it, or, if each month's file has them, write in "
            f"the use case Table({json.dumps(table.name)}, ..., read=Csv(skip_lines={above}))"
        )
    if not told and own_line <= len(lines) and not lines[own_line - 1].strip():
        told.append(f"line {own_line} is the header; here it is blank")
    return "; ".join(told) or None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()
