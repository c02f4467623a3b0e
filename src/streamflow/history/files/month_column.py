"""The rows of one month in a file of several: by a column that says which month they are of."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.errors import MissingFiles
from streamflow.history.files.month_file import column_names, read_batches
from streamflow.history.files.plain_columns import plain
from streamflow.history.violations import SHOWN_CHARACTERS, Report, Violation
from streamflow.use_case import Table
from streamflow.use_case.module import nearest

if TYPE_CHECKING:
    import pyarrow as pa

RULE = "a month is written as 2024-01, 202401, 01/2024, Jan 2024, or as a day such as 2024-01-31"
_NAMES = {name.casefold(): number for number, name in enumerate(calendar.month_abbr) if name}
_PATTERNS = (
    r"(?P<year>\d{4})[-/. ]?[Mm]?(?P<month>0[1-9]|1[0-2])",
    r"(?P<year>\d{4})-(?P<month>\d{1,2})",
    r"(?P<month>\d{1,2})[-/. ](?P<year>\d{4})",
    r"(?P<name>[A-Za-z]{3})[a-z]*[-/. ]?(?P<year>\d{4})",
    r"(?P<year>\d{4})[-/. ](?P<name>[A-Za-z]{3})[a-z]*",
    r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})([ T]00:00(:00(\.0+)?)?)?Z?",
    r"(?P<year>\d{4})(?P<month>0[1-9]|1[0-2])(?P<day>[0-3]\d)",
    r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})",
)


@dataclass(frozen=True)
class MonthRows:
    """The rows of `as_of`: those whose `column` has one of the `texts` that mean it.

    Of a table without an entry in `texts`, whose file has no such column, all rows are meant.
    """

    as_of: date
    column: str
    texts: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def batches(self, path: Path, table: Table, report: Report) -> Iterator[pa.RecordBatch]:
        """As `read_batches`, of the month's rows alone, with their lines in the whole file."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if table.name not in self.texts:
            yield from read_batches(path, table, report)
            return
        meant = pa.array(sorted(self.texts[table.name]), pa.string())
        wider, name, own = _with_column(table, self.column)
        for batch in read_batches(path, wider, report):
            kept = batch.filter(pc.is_in(month_texts(batch.column(name)), value_set=meant))
            yield kept if own else kept.drop_columns([name])


def month_of(text: str) -> tuple[date, bool] | None:
    """The as_of that the text means, and whether it names a day; None if it means none.

    Of a month it is the last day.
    """
    for pattern in _PATTERNS:
        found = re.fullmatch(pattern, text.strip())
        if found is None:
            continue
        parts = found.groupdict()
        month = int(parts.get("month") or _NAMES.get((parts.get("name") or "").casefold(), 0))
        year, day = int(parts["year"]), parts.get("day")
        try:
            last = calendar.monthrange(year, month)[1]
            return date(year, month, int(day) if day else last), day is not None
        except (ValueError, calendar.IllegalMonthError):
            continue
    return None


def months_of_texts(texts: set[str]) -> dict[str, date]:
    """By text, the as_of that it means; texts that mean none are left out.

    Days that are all the first of their month stand for the month, and so mean its last day.
    """
    found = {text: meant for text in texts if (meant := month_of(text)) is not None}
    days = [as_of for as_of, is_day in found.values() if is_day]
    if days and all(one.day == 1 for one in days):
        return {text: _last_day(as_of) for text, (as_of, _) in found.items()}
    return {text: as_of for text, (as_of, _) in found.items()}


def months_in(
    files: Mapping[str, Path], tables: tuple[Table, ...], column: str, report: Report
) -> dict[date, MonthRows]:
    """By as_of, oldest first, the rows of each month in the files, which are by table.

    A text that means no month is given to `report`. Raises MissingFiles if no file has the column.
    """
    texts: dict[str, dict[str, date]] = {}
    others: set[str] = set()
    for table in tables:
        if table.name not in files:
            continue
        names = column_names(files[table.name], table)
        if column not in names:
            others |= {*names}
            continue
        texts[table.name] = _months(files[table.name], table, column, report)
    if not texts:
        raise MissingFiles(
            f"No file has a column {column!r} that says which month a row is of.",
            f"Say one that is there: `--as-of-from-column {nearest(column, sorted(others))}`.",
        )
    months = sorted({as_of for of_table in texts.values() for as_of in of_table.values()})
    return {
        as_of: MonthRows(
            as_of,
            column,
            {
                name: frozenset(text for text, meant in of_table.items() if meant == as_of)
                for name, of_table in texts.items()
            },
        )
        for as_of in months
    }


def _months(path: Path, table: Table, column: str, report: Report) -> dict[str, date]:
    """By text of the column, its as_of; all of the file is read."""
    import pyarrow.compute as pc

    wider, name, _ = _with_column(table, column)
    first: dict[str, int] = {}
    for batch in read_batches(path, wider, lambda _: None):
        values = pc.fill_null(month_texts(batch.column(name)), "")
        for text in pc.unique(values).to_pylist():
            if text not in first:
                first[text] = batch.column("line")[pc.index(values, text).as_py()].as_py()
    meant = months_of_texts({*first})
    for text, line in first.items():
        if text not in meant:
            report(Violation(path.name, line, column, text[:SHOWN_CHARACTERS], RULE))
    return meant


def _with_column(table: Table, column: str) -> tuple[Table, str, bool]:
    """The table with the column as text, its name there, and whether the contract has it itself."""
    from pandera.pandas import Column

    there = {table.in_file.get(name, name): name for name in table.contract.columns}
    if column in there:
        return table, there[column], True
    contract = table.contract.add_columns({column: Column("string")})
    return replace(table, contract=contract), column, False


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


def _last_day(day: date) -> date:
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])
