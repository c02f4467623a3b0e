"""What a value of a contract type is, whatever form the file has: one set of rules.

CSV has text alone, and its rules are the rules. A Parquet value means what the same value would
mean written as text, so that a file and its twin in the other form give the same rows or the same
violations. Types that have no such text, such as lists and times of day, are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from streamflow.history.files.plain_columns import as_text, plain
from streamflow.history.files.written_text import date_parts, date_pattern, plain_number
from streamflow.history.files.written_time import TIME, TIME_OR_UTC, moments
from streamflow.use_case import Csv

if TYPE_CHECKING:
    import pyarrow as pa

_WHOLE = r"^[+-]?[0-9]+(\.0+)?$"
# Up to 2**53 a float holds each whole number; above, digits of the original may be lost.
_LARGEST_FROM_FLOAT = 2**53
_SURE_TO_FIT = 15  # characters
_MAY_BE_TOO_LARGE = r"^[+-]?0*[1-9][0-9]{18,}$|^[+-]?0*[1-9][0-9]{15,}\."
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
# Days since 1970-01-01 of 0001-01-01 and 9999-12-31.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_UNITS_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_UTC = ("UTC", "Etc/UTC", "+00:00", "Z")

# The typed values, null where wrong, and a boolean mask of the wrong ones.
Checked = tuple["pa.Array", "pa.Array"]


def checked(column: pa.Array, kind: str, read: Csv) -> Checked:
    """The column as the contract type `kind`, and a boolean mask of the values of another type.

    A wrong value is null, and so is a NaN of any float type and what `read.null` lists. In columns
    of numbers and dates, `read.null` means the values, however they are written.
    """
    import pyarrow.compute as pc

    column, invalid = plain(column)
    values, wrong = _KINDS[kind](column, read)
    if kind in ("Int64", "Float64", "date"):
        nulls, _ = _KINDS[kind](_texts(read.null), replace(read, null=()))
        if nulls.null_count < len(nulls):
            values = _null_where(values, pc.is_in(values, value_set=nulls.drop_null()))
    return values, pc.or_(wrong, invalid)


def _string(column: pa.Array, read: Csv) -> Checked:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_date(kind):
        days, wrong = _date(column, read)
        column = pc.cast(days, pa.string())
    elif pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0):
        column, wrong = pc.cast(column, pa.string()), _none(column)
    elif pa.types.is_string(kind):
        wrong = _true(pc.match_substring(column, "\0"))
    else:
        # A bool or a float has several texts, of which any would be a guess.
        return _all_wrong(column, pa.string())
    null = pc.is_in(column, value_set=_texts(read.null))
    wrong = pc.and_not(wrong, null)
    return _null_where(column, pc.or_(null, wrong)), wrong


def _whole_number(column: pa.Array, read: Csv) -> Checked:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_uint64(kind):
        wrong = _true(pc.greater(column, pa.scalar(2**63 - 1, pa.uint64())))
    elif pa.types.is_integer(kind):
        wrong = _none(column)
    elif pa.types.is_floating(kind):
        column = pc.cast(column, pa.float64())
        exact = pc.less_equal(pc.abs(column), float(_LARGEST_FROM_FLOAT))
        wrong = _true(pc.invert(pc.and_(exact, pc.equal(pc.trunc(column), column))))
    else:
        text = as_text(column)
        if text is None:
            return _all_wrong(column, pa.int64())
        return _whole_number_of_text(*_matching_number(column, text, _WHOLE, read))
    return pc.cast(_null_where(column, wrong), pa.int64()), wrong


def _whole_number_of_text(text: pa.Array, wrong: pa.Array) -> Checked:
    import pyarrow as pa
    import pyarrow.compute as pc

    if (pc.max(pc.binary_length(text)).as_py() or 0) > _SURE_TO_FIT:
        large = _true(pc.match_substring_regex(text, _MAY_BE_TOO_LARGE))
        fits = pa.array([not one or _fits(one) for one in pc.if_else(large, text, "").to_pylist()])
        wrong = pc.or_(wrong, pc.invert(fits))
        text = _null_where(text, wrong)
    try:
        return pc.cast(text, pa.int64()), wrong
    except pa.ArrowInvalid:  # with a plus or a decimal point
        text = pc.replace_substring_regex(text, r"^\+|\.0+$", "")
        return pc.cast(text, pa.int64()), wrong


def _fits(number: str) -> bool:
    """Whether a whole number fits into 64 bits, or into a float's digits if it has a point."""
    whole, point, _ = number.partition(".")
    digits = whole.lstrip("+-0")
    if len(digits) > 19:
        return False
    value = int(digits or "0") * (-1 if whole.startswith("-") else 1)
    if point:
        return abs(value) <= _LARGEST_FROM_FLOAT
    return -(2**63) <= value < 2**63


def _number(column: pa.Array, read: Csv) -> Checked:
    import pyarrow as pa
    import pyarrow.compute as pc

    wrong = _none(column)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        text = as_text(column)
        if text is None:
            return _all_wrong(column, pa.float64())
        column, wrong = _matching_number(column, text, _NUMBER, read)
    values = pc.cast(column, pa.float64(), safe=False)
    wrong = pc.or_(wrong, _true(pc.invert(pc.is_finite(values))))
    return _null_where(values, wrong), wrong


def _boolean(column: pa.Array, read: Csv) -> Checked:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type):
        return column, _none(column)
    text = as_text(column)
    if text is None:
        return _all_wrong(column, pa.bool_())
    text = _null_where(text, _means_null(text, read))
    values, unknown = _found_boolean(text, _texts(read.true), _texts(read.false))
    if pc.any(unknown).as_py():
        texts = (text, _texts(read.true), _texts(read.false))
        values, unknown = _found_boolean(*map(_without_zeros, texts))
    return values, unknown


def _found_boolean(text: pa.Array, true: pa.Array, false: pa.Array) -> Checked:
    import pyarrow.compute as pc

    values = pc.is_in(text, value_set=true)
    unknown = pc.invert(pc.or_(values, pc.is_in(text, value_set=false)))
    return _null_where(values, unknown), pc.and_(text.is_valid(), unknown)


def _date(column: pa.Array, read: Csv) -> Checked:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, wrong = column.type, _none(column)
    if (text := as_text(column)) is not None:
        text, wrong = _matching_date(text, read)
        dates, impossible = _dates_of_text(text)
        wrong = pc.or_(wrong, impossible)
        days = pc.cast(pc.cast(dates, pa.int32()), pa.int64())
    elif pa.types.is_date32(kind):
        days = pc.cast(pc.cast(column, pa.int32()), pa.int64())
    elif pa.types.is_date64(kind) or (pa.types.is_timestamp(kind) and kind.tz in (None, *_UTC)):
        per_day = _UNITS_PER_DAY["ms" if pa.types.is_date64(kind) else kind.unit]
        moments = pc.cast(column, pa.int64())
        days = pc.divide(moments, per_day)
        wrong = _true(pc.not_equal(pc.multiply(days, per_day), moments))
    else:
        return _all_wrong(column, pa.date32())
    outside = pc.or_(pc.less(days, _FIRST_DAY), pc.greater(days, _LAST_DAY))
    wrong = pc.or_(wrong, _true(outside))
    return pc.cast(pc.cast(_null_where(days, wrong), pa.int32()), pa.date32()), wrong


def _dates_of_text(text: pa.Array) -> Checked:
    """Dates of texts that look like one, and a mask of those such as 2024-02-31."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(text, pa.date32()), _none(text)
    except pa.ArrowInvalid:
        distinct = text.dictionary_encode()
    dates = []
    for one in distinct.dictionary:
        try:
            dates.append(pc.cast(one, pa.date32()))
        except pa.ArrowInvalid:
            dates.append(pa.scalar(None, pa.date32()))
    found = pa.array(dates, pa.date32()).take(distinct.indices)
    return found, pc.and_(text.is_valid(), found.is_null())


_KINDS: dict[str, Callable[[pa.Array, Csv], Checked]] = {
    "string": _string,
    "Int64": _whole_number,
    "Float64": _number,
    "boolean": _boolean,
    "date": _date,
    TIME: lambda column, read: moments(column, read, utc=False),
    TIME_OR_UTC: lambda column, read: moments(column, read, utc=True),
}


def _matching(text: pa.Array, pattern: str, read: Csv) -> Checked:
    """The text without what means null, and a mask of what doesn't match the pattern."""
    import pyarrow.compute as pc

    text = _null_where(text, _means_null(text, read))
    wrong = _true(pc.invert(pc.match_substring_regex(text, pattern)))
    return _null_where(text, wrong), wrong


def _matching_number(column: pa.Array, text: pa.Array, pattern: str, read: Csv) -> Checked:
    """As `_matching`, for numbers that may be written with other marks if the column is text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type):
        return _matching(text, pattern, read)
    text = _null_where(text, _means_null(text, read))
    number = plain_number(text, read)
    otherwise = pc.and_(text.is_valid(), number.is_null())
    number, wrong = _matching(number, pattern, read)
    return number, pc.or_(wrong, otherwise)


def _matching_date(text: pa.Array, read: Csv) -> Checked:
    """The text of dates as YYYY-MM-DD, and a mask of what isn't written as the table's dates."""
    import pyarrow.compute as pc

    text, wrong = _matching(text, date_pattern(read), read)
    if read.date != "YYYY-MM-DD":
        text = pc.replace_substring_regex(text, *date_parts(read))
    return text, wrong


def _means_null(text: pa.Array, read: Csv) -> pa.Array:
    import pyarrow.compute as pc

    null = pc.is_in(text, value_set=_texts(read.null))
    if any(one.lstrip("-")[:1].isdigit() for one in read.null):
        listed = _without_zeros(_texts(read.null))
        null = pc.or_(null, pc.is_in(_without_zeros(text), value_set=listed))
    return null


def _without_zeros(text: pa.Array) -> pa.Array:
    """`1.0` as `1`: so it is written in a column that was a float for its nulls."""
    import pyarrow.compute as pc

    return pc.replace_substring_regex(text, r"^(-?[0-9]+)\.0+$", r"\1")


def _texts(texts: tuple[str, ...]) -> pa.Array:
    import pyarrow as pa

    return pa.array(texts, pa.string())


def _none(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return pa.repeat(False, len(column))


def _true(mask: pa.Array) -> pa.Array:
    """The mask with False instead of null."""
    import pyarrow.compute as pc

    return pc.fill_null(mask, False)


def _all_wrong(column: pa.Array, kind: pa.DataType) -> Checked:
    import pyarrow as pa

    return pa.nulls(len(column), kind), column.is_valid()


def _null_where(column: pa.Array, mask: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.any(mask).as_py():
        return column
    return pc.if_else(mask, pa.scalar(None, column.type), column)
