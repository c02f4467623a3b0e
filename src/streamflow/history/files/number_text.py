"""Numbers with a decimal comma or marks between thousands, as the plain text of the same number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from streamflow.use_case import Csv

if TYPE_CHECKING:
    import pyarrow as pa


def plain_number(text: pa.Array, read: Csv) -> pa.Array:
    """`1.234,5` as `1234.5` where the table is written so; null what isn't a number written so."""
    import pyarrow.compute as pc

    if read.decimal == "." and not read.thousands:
        return text
    mark, between = re.escape(read.decimal), re.escape(read.thousands)
    whole = rf"([0-9]{{1,3}}({between}[0-9]{{3}})+|[0-9]+)" if read.thousands else "[0-9]+"
    pattern = rf"^[+-]?({whole}({mark}[0-9]*)?|{mark}[0-9]+)([eE][+-]?[0-9]{{1,4}})?$"
    text = pc.if_else(pc.match_substring_regex(text, pattern), text, None)
    if read.thousands:
        text = pc.replace_substring(text, read.thousands, "")
    return pc.replace_substring(text, read.decimal, ".") if read.decimal != "." else text


def in_words(read: Csv) -> str:
    """How numbers are written, for the rule that a value breaks."""
    told = f" with the decimal mark {read.decimal!r}" if read.decimal != "." else ""
    return told + (f" and {read.thousands!r} between thousands" if read.thousands else "")


def other_writing(value: str, read: Csv) -> str:
    """The line to write if the value is a number with a decimal comma; else nothing."""
    if read.decimal == "." and re.fullmatch(r"[+-]?[0-9]+,[0-9]+", value):
        return '; if its comma is a decimal mark, write in the use case read=Csv(decimal=",")'
    return ""
