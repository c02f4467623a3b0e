"""Files of predictions, a row per id: CSV, or Parquet with the same columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

from streamflow.serving import responses

KINDS = (".csv", ".parquet")
_ROW_GROUP = 100_000

# An id and what `responses.row` returns for it.
Row = tuple[object, ...]
# Adds rows to the file; the first call writes a header too.
Write = Callable[[Sequence[Row]], None]


def kind(file: Path) -> str:
    """The ending of a file's name, in small letters; one of `KINDS` if it can be written."""
    return file.suffix.casefold()


@contextmanager
def written(file: Path, kind: str, join_key: str) -> Iterator[Write]:
    """Write a file of that kind, complete after the block."""
    if kind == ".parquet":
        with _parquet(file, join_key) as write:
            yield write
    else:
        with file.open("w", encoding="utf-8", newline="") as output:
            yield csv_rows(output, join_key)


def csv_rows(output: TextIO, join_key: str) -> Write:
    """A function that writes CSV: nothing for what is absent, times in ISO 8601."""
    lines = csv.writer(output, lineterminator="\n")
    header = [[join_key, *responses.COLUMNS]]

    def write(rows: Sequence[Row]) -> None:
        if header:
            lines.writerow(header.pop())
        for row in rows:
            lines.writerow(
                [responses.iso(one) if isinstance(one, datetime) else one for one in row]
            )

    return write


@contextmanager
def _parquet(file: Path, join_key: str) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet

    columns = [
        (join_key, pa.string()),
        ("prediction", pa.int64()),
        ("probability", pa.float64()),
        ("model_version", pa.int64()),
        ("run_id", pa.string()),
        ("features_as_of", pa.timestamp("us", "UTC")),
        ("problem", pa.string()),
        ("warnings", pa.string()),
    ]
    schema = pa.schema(columns)
    waiting: list[Row] = []

    with pa.parquet.ParquetWriter(file, schema) as writer:

        def write_group() -> None:
            values = zip(*waiting, strict=True)
            arrays = [pa.array(one, kind) for one, (_, kind) in zip(values, columns, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            waiting.clear()

        def write(rows: Sequence[Row]) -> None:
            waiting.extend(rows)
            if len(waiting) >= _ROW_GROUP:
                write_group()

        yield write
        if waiting:
            write_group()
