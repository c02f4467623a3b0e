"""What each column of a table is: its narrowest type, and why none is narrower."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamflow.history.files.written_text import RULES
from streamflow.history.values import checked
from streamflow.scaffold.raw_tables import RawTable
from streamflow.scaffold.written import NOTHING_TOLD, Told, distinct, fits, how_written
from streamflow.use_case import Csv

if TYPE_CHECKING:
    import pyarrow as pa

# A text column with more values than this is an id or free text.
MOST_CATEGORIES = 50
_NARROW = ("Int64", "Float64", "date")


@dataclass(frozen=True)
class Column:
    """A column as all rows of its file show it.

    `kind` is the narrowest contract type that every value has. `nulls` and `distinct` are numbers
    of rows and of values. `lowest` and `highest` are numbers and dates as text, `categories` the
    values of a text column that has few, `evidence` is the first value that a narrower type
    doesn't have, with its line. With `unique_in_month`, a row of a month has a value of its own.
    """

    name: str
    kind: str
    rows: int
    nulls: int
    distinct: int
    lowest: str | None
    highest: str | None
    categories: tuple[str, ...]
    evidence: str
    unique_in_month: bool = False

    @property
    def unique(self) -> bool:
        """Whether each row has a value of its own, of a table of several months in each of them."""
        own = self.nulls == 0 and self.distinct == self.rows > 0
        return own or self.unique_in_month


@dataclass(frozen=True)
class Unclear:
    """A column that may be meant in two ways: its first value, with its file and line, and what to
    say. A date that stays text is no loss; a number is."""

    column: str
    is_date: bool
    said: str
    next: str


@dataclass(frozen=True)
class Profile:
    """A table with what its columns are; `raw.read_of` says how their values are written. `unclear`
    has the columns that may be meant in two ways, and so stay text."""

    raw: RawTable
    columns: tuple[Column, ...]
    unclear: tuple[Unclear, ...]

    def column(self, name: str) -> Column:
        """The column of that name in the file."""
        return next(one for one in self.columns if one.name == name)


def profile(raw: RawTable, told: Told = NOTHING_TOLD) -> Profile:
    """What each column of the table is, by every row, and by what was `told` of how it is
    written."""
    values = {name: distinct(raw.rows[name]) for name in raw.columns}
    read, others, ways = how_written(values, raw.read, told)
    raw = replace(raw, read=read, read_columns=others)
    unclear = [_unclear(raw, name, one) for name, one in ways.items()]
    columns = [_column(name, raw, values[name]) for name in raw.columns]
    # Allowed texts of next month aren't those of this one.
    columns = [replace(one, categories=()) if one.name in ways else one for one in columns]
    return Profile(raw, tuple(columns), tuple(unclear))


def _unclear(raw: RawTable, name: str, orders: tuple[str, ...]) -> Unclear:
    """With the first value that says nothing of which way it is."""
    values = zip(raw.rows["line"].to_pylist(), raw.rows[name].to_pylist(), strict=True)
    line, value = next(
        (line, one)
        for line, one in values
        if one is not None and one not in raw.read.null and (orders or "," in one)
    )
    place = f"{raw.path.name}, line {line}, column {name!r}: {value!r}"
    if orders:
        said = f"{place} may be a date written as {' or '.join(orders)}"
        return Unclear(name, True, said, f"--date {' or --date '.join(orders)}")
    said = f"{place} may be {value.replace(',', '.')} or {value.replace(',', '')}"
    return Unclear(name, False, said, "--decimal , or --decimal .")


def _column(name: str, raw: RawTable, values: pa.Array) -> Column:
    import pyarrow.compute as pc

    read = raw.read_of(name)
    kind, evidence = _narrowest(name, raw, values, read)
    typed, _ = checked(raw.rows[name].combine_chunks(), kind, read)
    there = typed.drop_null()
    lowest = highest = None
    if kind in _NARROW and len(there):
        bounds = pc.min_max(there)
        lowest, highest = str(bounds["min"].as_py()), str(bounds["max"].as_py())
    found = pc.count_distinct(there).as_py()
    few = kind == "string" and 0 < found <= MOST_CATEGORIES
    return Column(
        name=name,
        kind=kind,
        rows=len(typed),
        nulls=typed.null_count,
        distinct=found,
        lowest=lowest,
        highest=highest,
        categories=tuple(sorted(pc.unique(there).to_pylist())) if few else (),
        evidence=evidence,
    )


def _narrowest(name: str, raw: RawTable, values: pa.Array, read: Csv) -> tuple[str, str]:
    """The narrowest type that all values have, and the evidence against the one before it."""
    import pyarrow as pa

    if pa.types.is_boolean(values.type) or (
        fits(values, "boolean", read) and not fits(values, "Int64", read)
    ):
        return "boolean", ""
    if pa.types.is_string(values.type):
        zeros = [one for one in values.to_pylist() if re.fullmatch(r"0[0-9]+", one or "")]
        if zeros and not fits(values, "date", read):
            return "string", f"{_place(raw, name, zeros[0])} begins with a zero"
    evidence = ""
    for kind in _NARROW:
        if fits(values, kind, read):
            return kind, "" if kind == "date" else evidence
        said = _against(raw, name, values, kind, read)
        # Of a text, that it isn't a number says more than that it isn't a date.
        evidence = said if kind == "Float64" or not evidence else evidence
    return "string", evidence


def _against(raw: RawTable, name: str, values: pa.Array, kind: str, read: Csv) -> str:
    """The first value that isn't of the type, with its line; nothing if there is no value."""
    import pyarrow.compute as pc

    _, wrong = checked(values, kind, read)
    first = pc.index(wrong, True).as_py()
    if first < 0:
        return ""
    rule = RULES[kind].split(" from ")[0].split(",")[0].split(";")[0]
    return f"{_place(raw, name, values[first].as_py())} isn't {rule}"


def _place(raw: RawTable, name: str, value: object) -> str:
    """The line of the value, which is shown as its text."""
    row = raw.rows[name].to_pylist().index(value)
    return f"line {raw.rows['line'][row].as_py()}: {str(value)!r}"
