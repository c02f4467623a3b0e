"""Files of predictions, a row per id: CSV, or Parquet with the same columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from streamflow.serving import responses
from streamflow.serving.scoring import Prediction

if TYPE_CHECKING:
    import pyarrow as pa

    from streamflow.registry.records import ModelVersion
    from streamflow.scores.column_scoring import ColumnScores
    from streamflow.serving.columns.online_columns import OnlineColumns

KINDS = (".csv", ".parquet")
_ROW_GROUP = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# In a text, what makes a value of CSV need quotes.
_QUOTED = '[",\r\n]'

# Adds rows to the file; the first call writes a header too.
Write = Callable[["pa.Table"], None]


def kind(file: Path) -> str:
    """The ending of a file's name, in small letters; one of `KINDS` if it can be written."""
    return file.suffix.casefold()


def table(version: ModelVersion, columns: OnlineColumns, found: ColumnScores) -> pa.Table:
    """What the file has of entities, in their order; null for what is absent."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = columns.rows.num_rows
    times = [one.cast(pa.int64()) for one in columns.times.columns]
    # Copied, as it is changed.
    moments = pc.min_element_wise(*times, skip_nulls=True).fill_null(0).to_numpy().copy()
    problems: list[str | None] = [None] * rows
    warnings: list[str | None] = [None] * rows
    for row, one in found.others.items():
        if isinstance(one, Prediction):
            moments[row] = (one.features_as_of - _EPOCH) // timedelta(microseconds=1)
            warnings[row] = " ".join(one.warnings) or None
        else:
            problems[row] = one.code
    problem = pa.array(problems, pa.string())
    without = problem.is_valid().to_numpy(zero_copy_only=False)
    key = columns.rows.schema.names[0]
    arrays = [
        columns.rows.column(0),
        pa.array(found.labels, pa.int64(), mask=without),
        pa.array(found.probabilities, pa.float64(), mask=without),
        pa.repeat(pa.scalar(version.version, pa.int64()), rows),
        pa.repeat(pa.scalar(version.run_id, pa.string()), rows),
        pa.array(moments, pa.timestamp("us", "UTC"), mask=without),
        problem,
        pa.array(warnings, pa.string()),
    ]
    return pa.Table.from_arrays(arrays, schema=_schema(key))


def no_rows(join_key: str) -> pa.Table:
    """A table without a row."""
    return _schema(join_key).empty_table()


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
    header = [_schema(join_key).names]

    def write(rows: pa.Table) -> None:
        if header:
            lines.writerow(header.pop())
        texts = _with_times_as_text(rows)
        if _needs_quotes(texts):
            lines.writerows(zip(*(one.to_pylist() for one in texts.columns), strict=True))
        else:
            output.write(_plain_csv(texts))

    return write


def _with_times_as_text(rows: pa.Table) -> pa.Table:
    """A file has few times, and each is written thousands of times."""
    import pyarrow as pa

    place = rows.schema.get_field_index("features_as_of")
    times = rows.column(place).combine_chunks().dictionary_encode()
    texts = pa.array([responses.iso(one) for one in times.dictionary.to_pylist()], pa.string())
    return rows.set_column(place, "features_as_of", texts.take(times.indices))


def _needs_quotes(rows: pa.Table) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    return any(
        pc.any(pc.match_substring_regex(one, _QUOTED)).as_py()
        for one in rows.columns
        if pa.types.is_string(one.type)
    )


def _plain_csv(rows: pa.Table) -> str:
    import pyarrow.csv

    content = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    pyarrow.csv.write_csv(rows, content, options)
    return content.getvalue().decode()


def _schema(join_key: str) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            (join_key, pa.string()),
            ("prediction", pa.int64()),
            ("probability", pa.float64()),
            ("model_version", pa.int64()),
            ("run_id", pa.string()),
            ("features_as_of", pa.timestamp("us", "UTC")),
            ("problem", pa.string()),
            ("warnings", pa.string()),
        ]
    )


@contextmanager
def _parquet(file: Path, join_key: str) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet

    waiting: list[pa.Table] = []
    with pa.parquet.ParquetWriter(file, _schema(join_key)) as writer:

        def write_group() -> None:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())
            waiting.clear()

        def write(rows: pa.Table) -> None:
            waiting.append(rows)
            if sum(one.num_rows for one in waiting) >= _ROW_GROUP:
                write_group()

        yield write
        if waiting:
            write_group()
