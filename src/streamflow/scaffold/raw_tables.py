"""The tables of a month's folder as they are, every row of them, before anything is known."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.errors import MissingFiles
from streamflow.history.files import excel_file, parquet_file
from streamflow.history.files.header import read_header
from streamflow.history.files.month_file import read_batches
from streamflow.history.files.month_folder import ENDINGS
from streamflow.history.files.plain_columns import plain
from streamflow.history.files.text_file import undecodable
from streamflow.history.violations import Violation
from streamflow.progress import Progress, silent
from streamflow.scaffold.layout import titles_above, totals_in, with_skipped_lines
from streamflow.scaffold.names import plain_name
from streamflow.use_case import Csv, Table

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATORS = (",", ";", "\t", "|")
# In this order: all bytes are text in the last one. UTF-16 is known by its first bytes alone.
ENCODINGS = ("utf-8", "cp1252", "latin-1")


@dataclass(frozen=True)
class RawTable:
    """A table's file or sheet: all rows, as text but for Parquet, with the `line` of each.

    `file` is the file's name without its ending, `sheet` that of an Excel sheet, if there are
    several. `broken` are the rows that can't be read. `read_columns` is how columns are written
    that are written otherwise than `read` says, by their names in the file. `left_out` are columns
    that can't be read apart: without a name, or with one that another column has.
    """

    name: str
    path: Path
    file: str
    sheet: str
    read: Csv
    rows: pa.Table
    broken: tuple[Violation, ...]
    read_columns: Mapping[str, Csv] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The file's name without its ending, with that of the sheet if there are several."""
        return f"{self.file}: {self.sheet}" if self.sheet else self.file

    def read_of(self, column: str) -> Csv:
        """How the column's values are written."""
        return self.read_columns.get(column, self.read)

    @property
    def columns(self) -> list[str]:
        """The names of the columns in the file."""
        return [name for name in self.rows.column_names if name != "line"]


def raw_tables(folder: Path, progress: Progress = silent) -> list[RawTable]:
    """Every table of the folder, by name. Raises MissingFiles if there is none."""
    if not folder.is_dir():
        raise MissingFiles(
            f"There is no folder {folder}.",
            "Name a folder with the files of one month: `streamflow init DIR`.",
        )
    found: dict[str, RawTable] = {}
    for path in sorted(folder.iterdir()):
        ending = next((one for one in ENDINGS if path.name.endswith(one)), None)
        if ending is None or path.name.startswith((".", "~$")) or not path.is_file():
            continue
        progress(path.name)
        for table in _tables(path, ending):
            number = 2
            name = table.name
            while table.name in found:
                table, number = replace(table, name=f"{name}_{number}"), number + 1
            found[table.name] = table
    if not found:
        raise MissingFiles(
            f"{folder} has no file whose name ends in {', '.join(ENDINGS)}.",
            "Name a folder with the files of one month: `streamflow init DIR`.",
        )
    return _of_one_encoding(list(found.values()))


def _of_one_encoding(tables: list[RawTable]) -> list[RawTable]:
    """Files of ASCII alone are taken to be in the encoding of those beside them that aren't."""
    others = {one.read.encoding for one in tables} - {"utf-8", "utf-16"}
    if len(others) != 1:
        return tables
    (encoding,) = others
    return [
        replace(one, read=replace(one.read, encoding=encoding))
        if one.path.suffix in (".csv", ".txt", ".tsv") and one.path.read_bytes().isascii()
        else one
        for one in tables
    ]


def _tables(path: Path, ending: str) -> Iterator[RawTable]:
    stem = path.name[: -len(ending)]
    if ending == ".xlsx":
        try:
            sheets = excel_file.sheet_names(path)
        except ValueError as error:
            raise _unreadable(path, str(error)) from error
        for sheet in sheets:
            name = stem if len(sheets) == 1 else sheet
            rows = excel_file.first_rows(path, sheet)
            read = Csv(skip_lines=titles_above(rows))
            table = _read(plain_name(name), path, stem, sheet, read)
            if table is not None:
                yield table if len(sheets) > 1 else replace(table, sheet="")
        return
    read = Csv() if ending == ".parquet" else _dialect(path)
    table = _read(plain_name(stem), path, stem, "", read)
    if table is not None:
        yield table


def _dialect(path: Path) -> Csv:
    """How the file is written: its encoding and its separator, by every byte and every row."""
    problem = None
    with path.open("rb") as file:
        marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    for encoding in ("utf-16",) if marked else ENCODINGS:
        read = Csv(encoding=encoding)
        problem = undecodable(path, read)
        if problem is None:
            break
        if "gzip" in problem.rule:
            raise _unreadable(path, problem.rule)
    candidates = []
    for separator in SEPARATORS:
        one = with_skipped_lines(path, replace(read, separator=separator))
        try:
            names, _ = read_header(path, one)
        except csv.Error:
            continue
        if len(names) > 1 and "\0" not in "".join(names):
            table = _read("any", path, "", "", one)
            broken = len(table.broken) if table is not None else 0
            candidates.append((broken, one.skip_lines, -len(names), one))
    return min(candidates, key=lambda each: each[:3])[3] if candidates else read


def _read(name: str, path: Path, file: str, sheet: str, read: Csv) -> RawTable | None:
    """The table with every row; None for one without a column."""
    import pyarrow as pa
    from pandera.pandas import Column, DataFrameSchema

    names = _names(path, sheet, read)
    if not names:
        return None
    counts = Counter(names)
    own = [one for one in names if counts[one] == 1 and one.strip() and one != "line"]
    left_out = tuple(dict.fromkeys(one for one in names if one not in own))
    if not own:
        return None
    contract = DataFrameSchema({one: Column("string") for one in own})
    broken: list[Violation] = []
    table = Table(name, contract, read=read, sheet=sheet, extra_columns="ignore")
    batches = list(read_batches(path, table, broken.append))
    if not batches and broken:
        raise _unreadable(path, broken[0].rule)
    if batches:
        rows = pa.Table.from_batches(batches)
        columns = [plain(rows[one].combine_chunks())[0] for one in rows.column_names]
        rows = _without_blank(pa.table(columns, names=rows.column_names))
    else:
        rows = pa.table({one: pa.array([], pa.string()) for one in [*own, "line"]})
    totals = () if path.suffix == ".parquet" else totals_in(rows, broken, names, read)
    if totals and not read.total_rows:
        return _read(name, path, file, sheet, replace(read, total_rows=totals))
    return RawTable(name, path, file, sheet, read, rows, tuple(broken), left_out=left_out)


def _without_blank(rows: pa.Table) -> pa.Table:
    """Without the rows that have no value, as a spreadsheet writes them below a table."""
    import pyarrow as pa
    import pyarrow.compute as pc

    blank = pa.repeat(True, len(rows))
    for name in rows.column_names:
        if name != "line" and pc.any(blank).as_py():
            column = rows[name].combine_chunks()
            text = pa.types.is_string(column.type)
            own = pc.equal(pc.fill_null(column, ""), "") if text else column.is_null()
            blank = pc.and_(blank, own)
    return rows.filter(pc.invert(blank)) if pc.any(blank).as_py() else rows


def _names(path: Path, sheet: str, read: Csv) -> list[str]:
    try:
        if path.suffix == ".parquet":
            return parquet_file.column_names(path)
        if path.suffix == ".xlsx":
            return excel_file.column_names(path, sheet, read)
        return read_header(path, read)[0]
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> MissingFiles:
    return MissingFiles(f"{path} can't be read: {why}.", "Correct the file, or take it away.")
