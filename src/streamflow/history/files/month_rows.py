"""The rows of each month of a file of several, staged on disk in one pass over the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.hashes import Sha256, sha256_of
from streamflow.history.files.month_file import read_batches
from streamflow.history.files.plain_columns import plain
from streamflow.history.violations import Report
from streamflow.use_case import Table

if TYPE_CHECKING:
    import pyarrow as pa

# Of the names of columns with a number that is no month's, and what stands before it then.
_SIGNS = (("W", re.compile(r"week|woche|kw|semaine|semana")), ("Q", re.compile(r"quart|trimestre")))


@dataclass(frozen=True)
class StagedFile:
    """The rows of a file by what their column of the month says: by text an Arrow file, and the
    line on which the text is first. `sha256` is the whole file's."""

    sha256: Sha256
    parts: Mapping[str, Path]
    lines: Mapping[str, int]


@dataclass(frozen=True)
class MonthRows:
    """The rows of `as_of`: those whose `column` has one of the `texts` that mean it, by table.

    Of a table without an entry in `texts`, whose file has no such column, all rows are meant; of
    events, those up to the as_of. `newest` is the newest as_of of the files.
    """

    as_of: date
    newest: date
    column: str
    texts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    files: Mapping[str, StagedFile] = field(default_factory=dict)

    def batches(self, path: Path, table: Table, report: Report) -> Iterator[pa.RecordBatch]:
        """As `read_batches`, of the month's rows alone, with their lines in the whole file."""
        import pyarrow as pa

        if table.name not in self.texts:
            yield from read_batches(path, table, report)
            return
        parts = self.files[table.name].parts
        for text in sorted(self.texts[table.name]):
            with pa.OSFile(str(parts[text])) as file, pa.ipc.open_stream(file) as reader:
                for batch in reader:
                    yield batch.select([*table.contract.columns, "line"])


def stage_file(
    path: Path, table: Table, columns: Mapping[str, str], scratch: Path, report: Report
) -> StagedFile:
    """Read the file once, and write the rows of each text of `columns` to a file in `scratch`.

    `columns` are one or several of the table's, each with its name in the file. What can't be read
    is reported.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parts: dict[str, Path] = {}
    lines: dict[str, int] = {}
    with ExitStack() as open_files:
        writers: dict[str, pa.ipc.RecordBatchStreamWriter] = {}
        for batch in read_batches(path, table, report):
            values = pc.fill_null(
                joined_texts({there: batch.column(ours) for ours, there in columns.items()}), ""
            )
            for text in pc.unique(values).to_pylist():
                rows = batch.filter(pc.equal(values, text))
                if text not in writers:
                    parts[text] = scratch / f"{table.name}-{len(parts)}.arrow"
                    lines[text] = rows.column("line")[0].as_py()
                    file = open_files.enter_context(pa.OSFile(str(parts[text]), "wb"))
                    writers[text] = open_files.enter_context(pa.ipc.new_stream(file, rows.schema))
                writers[text].write_batch(rows)
    return StagedFile(sha256_of(path), parts, lines)


def joined_texts(columns: Mapping[str, pa.Array]) -> pa.Array:
    """What the columns, by their names in the file, say together of a month, as text.

    Of a year and a month, such as 2024 and 3, it is `2024-3`; a number in a column that is called
    a week or a quarter is one. Null where one of them is.
    """
    import pyarrow.compute as pc

    if len(columns) == 1:
        return month_texts(*columns.values())
    parts = []
    for name, column in columns.items():
        text = pc.utf8_trim_whitespace(month_texts(column))
        sign = next((one for one, called in _SIGNS if called.search(name.casefold())), "")
        parts.append(pc.replace_substring_regex(text, r"^([0-9]{1,2})$", rf"{sign}\1"))
    return pc.binary_join_element_wise(*parts, "-")


def month_texts(column: pa.Array) -> pa.Array:
    """The column's values as text, whatever type a Parquet file has them in."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values, _ = plain(column)
    if pa.types.is_string(values.type):
        return values
    if pa.types.is_floating(values.type):  # whole numbers that were floats for their nulls
        values = pc.cast(values, pa.int64(), safe=False)
    if pa.types.is_timestamp(values.type):
        values = pc.cast(values, pa.date32(), safe=False)
    return pc.cast(values, pa.string())
