"""Numbers with other marks and dates in another order, as the plain text of the same value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from streamflow.history.files.other_writing import line_for
from streamflow.use_case import Csv

if TYPE_CHECKING:
    import pyarrow as pa

# What each value of a contract type is, as violations say it.
RULES = {
    "string": "text without NUL characters",
    "Int64": (
        "a whole number from -9223372036854775808 to 9223372036854775807; "
        "one with a decimal point, such as 55.0, up to 9007199254740992"
    ),
    "Float64": "a finite number",
    "boolean": 'true or false; 1 and 0 where the table says read=Csv(true=("1",), false=("0",))',
    "date": "a date as YYYY-MM-DD of the years 1 to 9999, without a time of day",
    "time": (
        "a moment as YYYY-MM-DDThh:mm:ss with Z or its offset from UTC; "
        'if all are in UTC, write in the use case Events(…, without_offset="UTC")'
    ),
    "time in UTC": "a moment as YYYY-MM-DDThh:mm:ss, in UTC or with its offset from it, or a day",
}


def plain_number(text: pa.Array, read: Csv) -> pa.Array:
    """`1.234,5 %` as `1234.5`, where the table is written so; null what is no such number."""
    import pyarrow.compute as pc

    if read.units:
        units = "|".join(map(re.escape, read.units))
        before, after = rf"^([+-]?)\s*({units})\s*", rf"\s*({units})$"
        text = pc.replace_substring_regex(text, before, r"\1")
        text = pc.replace_substring_regex(text, after, "")
    if read.decimal == "." and not read.thousands:
        return text
    mark, between = re.escape(read.decimal), re.escape(read.thousands)
    whole = rf"([0-9]{{1,3}}({between}[0-9]{{3}})+|[0-9]+)" if read.thousands else "[0-9]+"
    pattern = rf"^[+-]?({whole}({mark}[0-9]*)?|{mark}[0-9]+)([eE][+-]?[0-9]{{1,4}})?$"
    text = pc.if_else(pc.match_substring_regex(text, pattern), text, None)
    if read.thousands:
        text = pc.replace_substring(text, read.thousands, "")
    return pc.replace_substring(text, read.decimal, ".") if read.decimal != "." else text


def date_pattern(read: Csv) -> str:
    """What a date looks like that is written as the table's dates."""
    return date_parts(read)[0]


def date_parts(read: Csv) -> tuple[str, str]:
    """A pattern with the date's parts as groups, and the replacement that makes it YYYY-MM-DD."""
    parts = re.findall("YYYY|MM|DD", read.date)
    pattern = re.escape(read.date)
    for part in parts:
        pattern = pattern.replace(part, f"([0-9]{{{len(part)}}})")
    year, month, day = (parts.index(part) + 1 for part in ("YYYY", "MM", "DD"))
    return f"^{pattern}$", rf"\{year}-\{month}-\{day}"


def rule(kind: str, value: str, read: Csv) -> str:
    """The rule of a contract type as the table's files are written, and the line to write if the
    value is plainly written another way."""
    told = RULES[kind]
    if kind in ("date", "time", "time in UTC") and read.date != "YYYY-MM-DD":
        told = told.replace("YYYY-MM-DD", read.date)
    if kind in ("Int64", "Float64"):
        told += _marks(read)
    return told + line_for(kind, value, read)


def _marks(read: Csv) -> str:
    told = f" with the decimal mark {read.decimal!r}" if read.decimal != "." else ""
    return told + (f" and {read.thousands!r} between thousands" if read.thousands else "")
