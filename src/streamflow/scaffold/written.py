"""How a table's values are written: what means null, true and false; decimal marks; dates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from streamflow.history.values import checked
from streamflow.use_case import Csv

if TYPE_CHECKING:
    import pyarrow as pa

# What people and programs write where there is no value.
NULLS = (
    *("NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "NaN", "nan", "-", "?", "."),
    *(" ", "  ", "missing"),
)
TRUE_AND_FALSE = (
    *(("true", "false"), ("True", "False"), ("TRUE", "FALSE")),
    *(("yes", "no"), ("Yes", "No"), ("YES", "NO"), ("Y", "N"), ("y", "n")),
    *(("T", "F"), ("t", "f"), ("ja", "nein"), ("Ja", "Nein"), ("J", "N")),
    *(("oui", "non"), ("Oui", "Non"), ("si", "no"), ("Si", "No"), ("sim", "nao")),
)
# Decimal mark and mark between thousands.
_MARKS = ((".", ""), (",", ""), (",", "."), (".", ","), (",", " "), (".", "'"), (".", " "))
_DATES = ("YYYY-MM-DD", "DD.MM.YYYY", "DD/MM/YYYY", "MM/DD/YYYY", "YYYY/MM/DD", "DD-MM-YYYY")


def distinct(column: pa.ChunkedArray) -> pa.Array:
    """The column's values, each once."""
    return column.combine_chunks().dictionary_encode().dictionary if len(column) else column


def fits(values: pa.Array, kind: str, read: Csv) -> bool:
    """Whether every value is one of the contract type, and at least one isn't null."""
    import pyarrow.compute as pc

    typed, wrong = checked(values, kind, read)
    return typed.null_count < len(typed) and not pc.any(wrong).as_py()


def how_written(columns: Sequence[pa.Array], read: Csv) -> tuple[Csv, list[str]]:
    """How the columns, each with its distinct values, are written; and what may be meant in two
    ways, so that it stays text."""
    import pyarrow as pa

    texts = [one for one in columns if pa.types.is_string(one.type)]
    read = replace(read, null=("", *_nulls(texts)))
    unclear: list[str] = []
    read = _numbers(texts, read, unclear)
    read = _dates(texts, read, unclear)
    return _booleans(texts, read), unclear


def _nulls(texts: Sequence[pa.Array]) -> list[str]:
    """Those that stand among numbers, dates or booleans alone, or are null by convention."""
    found: dict[str, None] = {}
    for values in texts:
        there = {one for one in values.to_pylist() if one is not None}
        meant = [one for one in NULLS if one in there]
        if not meant:
            continue
        read = Csv(null=("", *meant))
        kinds = [("Int64", read), ("Float64", read), ("Float64", replace(read, decimal=","))]
        kinds += [("date", replace(read, date=one)) for one in _DATES]
        others = there - {"", *meant}
        if any(fits(values, kind, one) for kind, one in kinds) or _pair_of(others):
            found |= dict.fromkeys(meant)
        else:
            found |= dict.fromkeys(one for one in meant if len(one) > 1 and one != "missing")
    return list(found)


def _pair_of(values: set[str]) -> tuple[str, str] | None:
    return next((pair for pair in TRUE_AND_FALSE if values and values <= {*pair}), None)


def _numbers(texts: Sequence[pa.Array], read: Csv, unclear: list[str]) -> Csv:
    """With the marks under which the most columns are numbers; plain ones where that's open."""
    counts = {}
    for decimal, thousands in _MARKS:
        one = replace(read, decimal=decimal, thousands=thousands)
        counts[decimal, thousands] = sum(
            fits(values, "Float64", one) or fits(values, "Int64", one) for values in texts
        )
    plain = counts[".", ""]
    most = max(counts.values())
    if most == plain:
        return read
    best = [marks for marks, count in counts.items() if count == most]
    # 1,5 can't be one thousand and five; 1,500 may be both.
    if {",", "."} <= {decimal for decimal, _ in best}:
        unclear.append("numbers such as 1,500 may be 1.5 or 1500: say --decimal , or --decimal .")
        return read
    decimal, thousands = best[0]
    return replace(read, decimal=decimal, thousands=thousands)


def _dates(texts: Sequence[pa.Array], read: Csv, unclear: list[str]) -> Csv:
    counts = {
        one: sum(fits(values, "date", replace(read, date=one)) for values in texts)
        for one in _DATES
    }
    most = max(counts.values())
    best = [one for one, count in counts.items() if count == most]
    if not most or "YYYY-MM-DD" in best:
        return read
    if len(best) > 1:
        unclear.append(f"dates may be written as {' or '.join(best)}: write Csv(date=…)")
        return read
    return replace(read, date=best[0])


def _booleans(texts: Sequence[pa.Array], read: Csv) -> Csv:
    true: dict[str, None] = {}
    false: dict[str, None] = {}
    for values in texts:
        there = {one for one in values.to_pylist() if one is not None} - {*read.null}
        if (pair := _pair_of(there)) is not None and len(there) > 1:
            true[pair[0]], false[pair[1]] = None, None
    if {*true} & {*false} or not true:
        return read
    return replace(read, true=tuple(true), false=tuple(false))
