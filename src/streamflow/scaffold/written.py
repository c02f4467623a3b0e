"""How a table's values are written: what means null, true and false; marks of numbers; dates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamflow.history.values import checked
from streamflow.scaffold.names import plain_name
from streamflow.scaffold.words import label_strength
from streamflow.use_case import Csv

if TYPE_CHECKING:
    import pyarrow as pa

# What people and programs write where there is no value.
NULLS = (
    *("NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "NaN", "nan", "-", "?", "."),
    *(" ", "  ", "missing", "k.A.", "--", "#NV", "<NA>", "NaT", "nil"),
)
TRUE_AND_FALSE = (
    *(("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"), ("ja", "nein"), ("j", "n")),
    *(("oui", "non"), ("si", "no"), ("sí", "no"), ("sim", "nao"), ("sim", "não")),
    *(("wahr", "falsch"), ("vrai", "faux"), ("on", "off"), ("tak", "nie")),
)
# Decimal mark and mark between thousands.
_MARKS = (
    *((".", ""), (",", ""), (",", "."), (".", ","), (",", " "), (".", "'"), (".", " ")),
    *((",", "\u00a0"), (",", "\u202f"), (".", "\u2019")),
)
_DATES = (
    *("YYYY-MM-DD", "DD.MM.YYYY", "DD/MM/YYYY", "MM/DD/YYYY", "YYYY/MM/DD", "DD-MM-YYYY"),
    *("MM-DD-YYYY", "YYYY.MM.DD", "YYYYMMDD"),
)
# What stands before or after a number and says nothing of its size.
_UNIT = r"%|‰|€|\$|£|¥|°C|°F|[A-Z]{2,3}\$|EUR|USD|GBP|CHF|JPY|SEK|NOK|DKK|PLN|CZK|INR|TRY|kr|zł|Ft|"
_UNIT += r"km|cm|mm|m|kg|g|l|kWh|kW|GB|MB|KB|ms|min|h|s|days?|d|months?|Monate|Tage|years?|yrs|Stk"
_WITH_UNIT = re.compile(
    rf"[+-]?\s?((?P<before>{_UNIT})\s?[+-]?[0-9][0-9.,' ]*|[0-9][0-9.,' ]*(?P<after>{_UNIT}))"
)
_KINDS = ("Int64", "Float64", "date", "boolean")


def distinct(column: pa.ChunkedArray) -> pa.Array:
    """The column's values, each once."""
    return column.combine_chunks().dictionary_encode().dictionary if len(column) else column


def fits(values: pa.Array, kind: str, read: Csv) -> bool:
    """Whether every value is one of the contract type, and at least one isn't null."""
    import pyarrow.compute as pc

    typed, wrong = checked(values, kind, read)
    return typed.null_count < len(typed) and not pc.any(wrong).as_py()


@dataclass(frozen=True)
class Told:
    """What a person says of how values are written: the decimal mark of numbers, the order of a
    date's parts, None where nothing is said; and whether a label with one answer and blanks says no
    where it is blank."""

    decimal: str | None = None
    date: str | None = None
    blank_is_no: bool = False


NOTHING_TOLD = Told()


def how_written(
    columns: Mapping[str, pa.Array], read: Csv, told: Told = NOTHING_TOLD
) -> tuple[Csv, dict[str, Csv], dict[str, tuple[str, ...]]]:
    """How the columns, each with its distinct values, are written: the table's way, and by name
    that of columns which are written otherwise.

    And by name those that stay text, since they may be meant in two ways: the orders of a date's
    parts, none for numbers.
    """
    import pyarrow as pa

    texts = {name: one for name, one in columns.items() if pa.types.is_string(one.type)}
    read = replace(read, null=("", *_nulls([*texts.values()])))
    read, _ = _numbers([*texts.values()], read, told)
    read, _ = _dates([*texts.values()], read, told)
    read = _booleans([*texts.values()], read)
    others: dict[str, Csv] = {}
    unclear: dict[str, tuple[str, ...]] = {}
    plain = Csv()
    for name, values in texts.items():
        if told.blank_is_no and (answer := only_answer(name, values)) is not None:
            others[name] = replace(read, null=(), true=(answer,), false=("",))
            continue
        if any(fits(values, kind, read) for kind in _KINDS):
            continue
        own = replace(read, decimal=plain.decimal, thousands="", date=plain.date)
        own = replace(own, units=_units(values, own))
        own, open_marks = _numbers([values], own, told)
        own, orders = _dates([values], own, told)
        own = _booleans([values], replace(own, true=plain.true, false=plain.false))
        if open_marks or orders:
            unclear[name] = orders
        elif any(fits(values, kind, own) for kind in _KINDS):
            others[name] = own
    return read, others, unclear


def only_answer(name: str, values: pa.Array) -> str | None:
    """The one answer of a column that is called like a label, and is blank where there is none."""
    import pyarrow as pa

    if not pa.types.is_string(values.type) or not label_strength(plain_name(name), ""):
        return None
    there = {*values.to_pylist()}
    return (there - {""}).pop() if len(there) == 2 and "" in there and None not in there else None


def _units(values: pa.Array, read: Csv) -> tuple[str, ...]:
    """The unit that all numbers of the column have but zeros, if they are numbers with one."""
    found = set()
    for text in values.to_pylist():
        if text is None or text in read.null or text.strip() == "0":
            continue
        match = _WITH_UNIT.fullmatch(text.strip())
        if match is None:
            return ()
        found.add(match["before"] or match["after"])
    return tuple(found) if len(found) == 1 else ()


def _nulls(texts: Sequence[pa.Array]) -> list[str]:
    """Those that stand among numbers, dates or booleans alone, or are null by convention."""
    found: dict[str, None] = {}
    for values in texts:
        there = {one for one in values.to_pylist() if one is not None}
        meant = [one for one in NULLS if one in there]
        if not meant:
            continue
        read = Csv(null=("", *meant))
        kinds = [("Int64", read), ("Float64", read)]
        kinds += [
            ("Float64", replace(read, decimal=decimal, thousands=thousands))
            for decimal, thousands in _MARKS[1:]
        ]
        kinds += [("date", replace(read, date=one)) for one in _DATES]
        others = there - {"", *meant}
        if (
            any(fits(values, kind, one) for kind, one in kinds)
            or _pair_of(others)
            or _have_unit(others)
        ):
            found |= dict.fromkeys(meant)
        else:
            found |= dict.fromkeys(one for one in meant if len(one) > 1 and one != "missing")
    return list(found)


def _have_unit(values: set[str]) -> bool:
    return bool(values) and all(_WITH_UNIT.fullmatch(one.strip()) for one in values)


def _pair_of(values: set[str]) -> tuple[list[str], list[str]] | None:
    """Those of the values that mean true, and those that mean false, if they are nothing else."""
    folded = {one.casefold() for one in values}
    for true, false in TRUE_AND_FALSE:
        if folded and folded <= {true, false}:
            by_answer = [
                sorted(one for one in values if one.casefold() == answer)
                for answer in (true, false)
            ]
            return by_answer[0], by_answer[1]
    return None


def _numbers(texts: Sequence[pa.Array], read: Csv, told: Told) -> tuple[Csv, bool]:
    """With the marks under which the most columns are numbers; plain ones where that's open, and
    whether it is."""
    counts = {}
    for decimal, thousands in _MARKS:
        if told.decimal not in (None, decimal):
            continue
        one = replace(read, decimal=decimal, thousands=thousands)
        counts[decimal, thousands] = sum(
            fits(values, "Float64", one) or fits(values, "Int64", one) for values in texts
        )
    most = max(counts.values())
    if most == counts.get((".", "")):
        return read, False
    best = [marks for marks, count in counts.items() if count == most]
    # 1,5 can't be one thousand and five; 1,500 may be both.
    if {",", "."} <= {decimal for decimal, _ in best}:
        return read, True
    decimal, thousands = best[0]
    return replace(read, decimal=decimal, thousands=thousands), False


def _dates(texts: Sequence[pa.Array], read: Csv, told: Told) -> tuple[Csv, tuple[str, ...]]:
    """With the order in which the most columns are dates; or those that it may be."""
    orders = _DATES if told.date is None else (_DATES[0], told.date)
    counts = {
        one: sum(fits(values, "date", replace(read, date=one)) for values in texts)
        for one in orders
    }
    most = max(counts.values())
    best = [one for one, count in counts.items() if count == most]
    if not most and told.date is not None:  # there may be moments
        return replace(read, date=told.date), ()
    if not most or _DATES[0] in best:
        return read, ()
    if len(best) > 1:
        return read, tuple(best)
    return replace(read, date=best[0]), ()


def date_orders(read: Csv) -> tuple[str, ...]:
    """In which a day of the table may be written: the table's order, or any if it has none."""
    return _DATES if read.date == _DATES[0] else (read.date,)


def _booleans(texts: Sequence[pa.Array], read: Csv) -> Csv:
    true: dict[str, None] = {}
    false: dict[str, None] = {}
    for values in texts:
        there = {one for one in values.to_pylist() if one is not None} - {*read.null}
        pair = _pair_of(there)
        if pair is not None and pair[0] and pair[1]:
            true |= dict.fromkeys(pair[0])
            false |= dict.fromkeys(pair[1])
    if {*true} & {*false} or not true:
        return read
    return replace(read, true=tuple(true), false=tuple(false))
