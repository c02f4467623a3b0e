"""Rows of files that have a column of ids: those of some entities are left out.

The file is written anew beside itself and then takes its own place: whole, or as it was.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Set
from pathlib import Path
from typing import IO, TYPE_CHECKING

from streamflow.scratch import replacement

if TYPE_CHECKING:
    import pyarrow as pa


def leave_out_of_csv(file: Path, column: str, entities: Set[str]) -> int:
    """Leave the entities' lines out of a CSV file in UTF-8 whose header has the column.

    Returns how many they were; all other bytes stay as they are. Nothing happens to a file without
    the column.
    """
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as source:
        rows = _with_text(source)
        header, _ = next(rows, ([], ""))
        if column not in header:
            return 0
        place = header.index(column)
        if not any(_is_of(row, place, entities) for row, _ in rows):
            return 0
    left_out = 0
    with (
        file.open(newline="", encoding="utf-8", errors="surrogateescape") as source,
        replacement(file) as new,
        new.open("w", newline="", encoding="utf-8", errors="surrogateescape") as target,
    ):
        for row, text in _with_text(source):
            if _is_of(row, place, entities):
                left_out += 1
            else:
                target.write(text)
    return left_out


def leave_out_of_parquet(file: Path, column: str, entities: Set[str]) -> int:
    """Leave the entities' rows out of a Parquet file with the column; returns how many they were.

    Nothing happens to a file that isn't Parquet, or has no such column of text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet

    ids = ids_of_parquet(file, column)
    if ids is None:
        return 0
    is_left_out = pc.is_in(ids, value_set=pa.array(sorted(entities), ids.type))
    count: int = pc.sum(is_left_out).as_py() or 0
    if count:
        kept = pyarrow.parquet.read_table(file).filter(pc.invert(is_left_out))
        with replacement(file) as new:
            pyarrow.parquet.write_table(kept, new, compression="zstd", use_dictionary=False)
    return count


def ids_of_parquet(file: Path, column: str) -> pa.ChunkedArray | None:
    """The file's column of ids; None if it has none that is text, or isn't sound Parquet."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pa.parquet.ParquetFile(file) as content:
            schema = content.schema_arrow
            if column not in schema.names:
                return None
            kind = schema.field(column).type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                return None
            return content.read([column])[column]
    except (pa.ArrowException, OSError):
        return None


def _with_text(lines: IO[str]) -> Iterator[tuple[list[str], str]]:
    """Each row of CSV with the text that it was read from."""
    read: list[str] = []

    def watched() -> Iterator[str]:
        for line in lines:
            read.append(line)
            yield line

    for row in csv.reader(watched()):
        yield row, "".join(read)
        read.clear()


def _is_of(row: list[str], place: int, entities: Set[str]) -> bool:
    return len(row) > place and row[place] in entities
