"""A file of entity ids to predict for: CSV or Parquet with a column of ids, or one id a line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from streamflow.entity_id import LONGEST, RULE, is_id
from streamflow.errors import MissingFiles, UnreadableFile

# PostgreSQL reads as much of its tables for ten thousand ids as for these.
_CHUNK_SIZE = 65_536
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
_OTHER_KINDS = {
    b"PAR1": "is a Parquet file by its content, and isn't by its name",
    b"\x1f\x8b": "is compressed",
    b"PK": "is a spreadsheet or an archive",
    b"\xff\xfe": "is UTF-16, not UTF-8",
    b"\xfe\xff": "is UTF-16, not UTF-8",
}


def chunks(file: Path, column: str, *, header: bool = True) -> Iterator[list[str]]:
    """The ids in their order, some ten thousand at a time; empty lines are left out.

    The ids are in the column of that name; without a `header`, each line of CSV is an id.
    Raises MissingFiles if there is no such file, UnreadableFile if it isn't like that.
    """
    try:
        ids = _parquet(file, column) if _is_parquet(file) else _csv(file, column, header)
        while chunk := list(islice(ids, _CHUNK_SIZE)):
            yield chunk
    except FileNotFoundError as error:
        raise MissingFiles(f"There is no file {file}.", "Name a file of ids.") from error
    except OSError as error:
        raise _unreadable(file, str(error), "Name a file that can be read.") from error


def _is_parquet(file: Path) -> bool:
    return file.suffix.casefold() == ".parquet"


def _csv(file: Path, column: str, header: bool) -> Iterator[str]:
    with file.open("rb") as content:
        _refuse_other_kinds(file, content)
        rows = csv.reader(io.TextIOWrapper(content, "utf-8-sig", newline=""), strict=True)
        try:
            yield from _with_header(file, rows, column) if header else _lines(file, rows, column)
        except (UnicodeDecodeError, csv.Error) as error:
            place = f"line {rows.line_num + isinstance(error, UnicodeDecodeError)} or later"
            raise _unreadable(file, f"{place}: {error}", "Write it as CSV in UTF-8.") from error


def _refuse_other_kinds(file: Path, content: BinaryIO) -> None:
    assert isinstance(content, io.BufferedReader)
    start = content.peek(4)
    for first_bytes, kind in _OTHER_KINDS.items():
        if start.startswith(first_bytes):
            raise _unreadable(file, f"it {kind}", "Write it as CSV in UTF-8, or as NAME.parquet.")


def _with_header(file: Path, rows: Iterator[list[str]], column: str) -> Iterator[str]:
    header = next((row for row in rows if row), [])
    if header.count(column) != 1:
        raise _wrong_header(file, header, column)
    position = header.index(column)
    for row in rows:
        if not row:
            continue
        if len(row) != len(header):
            raise _unreadable(
                file,
                f"line {_line(rows)} has {len(row)} value(s), and the header {len(header)}",
                "Give each line as many values as the header; quote a value that has a comma.",
            )
        yield _checked(file, _line(rows), row[position])


def _lines(file: Path, rows: Iterator[list[str]], column: str) -> Iterator[str]:
    first = True
    for row in rows:
        if not row:
            continue
        if first and column in row:
            raise _unreadable(
                file, f"its first line is the header {column!r}", "Leave out --no-header."
            )
        first = False
        if len(row) != 1:
            raise _unreadable(
                file,
                f"line {_line(rows)} has {len(row)} values",
                f"Write one id a line; or CSV with the header {column!r}, without --no-header.",
            )
        yield _checked(file, _line(rows), row[0])


def _line(rows: Iterator[list[str]]) -> int:
    number: int = rows.line_num  # type: ignore[attr-defined]  # of csv.reader
    return number


def _wrong_header(file: Path, header: list[str], column: str) -> UnreadableFile:
    """What the first line has in place of the column, and what to do about it."""
    if not header:
        return _unreadable(file, "it is empty", f"Write the header {column!r} and ids below it.")
    if header.count(column) > 1:
        return _unreadable(file, f"it has the column {column!r} twice", "Leave one of them out.")
    line = ",".join(header)
    if re.fullmatch(r"sep=.?", line.strip(), re.IGNORECASE):
        return _unreadable(file, f"its first line is {line!r}, no header", "Leave out that line.")
    for separator, name in _SEPARATORS.items():
        if column in [part.strip(' "') for part in line.split(separator)] and separator in line:
            return _unreadable(
                file,
                f"its values look as if separated by {name}, not by commas",
                "Write it with commas between values.",
            )
    shown = ", ".join(repr(name[:LONGEST]) for name in header[:20])
    for name in header:
        if name.strip().casefold() == column.casefold():
            return _unreadable(
                file, f"it has no column {column!r}, but {name!r}", f"Name that column {column!r}."
            )
    if len(header) == 1:
        return _unreadable(
            file,
            f"its first line isn't the header {column!r}, but {shown}",
            f"Write {column!r} above the ids. If that line is an id already, add --no-header.",
        )
    return _unreadable(
        file,
        f"it has no column {column!r}; its columns are {shown}",
        f"Name the column of ids {column!r}.",
    )


def _parquet(file: Path, column: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet

    line = 1  # as after a header, so that a row has the same line in both formats
    try:
        with pa.parquet.ParquetFile(file) as content:
            names = content.schema_arrow.names
            if names.count(column) != 1:
                raise _wrong_header(file, names, column)
            kind = content.schema_arrow.field(column).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise _unreadable(
                    file, f"its column {column!r} has the type {kind}", "Write the ids as text."
                )
            for batch in content.iter_batches(columns=[column]):
                for entity_id in batch.column(0).to_pylist():
                    line += 1
                    yield _checked(file, line, entity_id or "")
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = f"it isn't sound Parquet ({str(error).partition(chr(10))[0].rstrip('.')})"
        raise _unreadable(file, reason, "Write it again.") from error


def _checked(file: Path, line: int, entity_id: str) -> str:
    if not is_id(entity_id):
        raise _unreadable(
            file,
            f"line {line} has no id, which is {RULE}",
            "Correct that line.",
        )
    return entity_id


def _unreadable(file: Path, reason: str, next: str) -> UnreadableFile:
    return UnreadableFile(f"{file} can't be read as a file of ids: {reason}.", next)
