"""A moment as files have it: text with an offset from UTC, or a timestamp with a time zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow.history.files.written_text import date_parts
from streamflow.use_case import Csv

if TYPE_CHECKING:
    import pyarrow as pa

# The kinds of value: a moment with its offset; one that is in UTC if it has none.
TIME, TIME_OR_UTC = "time", "time in UTC"

_MOMENT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
    r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)?$"
)
_DAY = r"^([0-9]{4}-[0-9]{2}-[0-9]{2})$"
_OFFSET = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
_DATE_CHARACTERS = 10
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# Seconds since 1970 of the year 1, and of the year 10000. Nanoseconds don't reach that far.
_FIRST_SECOND, _END = -62_135_596_800, 253_402_300_800


def moments(column: pa.Array, read: Csv, *, utc: bool) -> tuple[pa.Array, pa.Array]:
    """The column as timestamps in UTC with microseconds, and a boolean mask of the wrong values.

    With `utc`, a moment without an offset is in UTC, and a day alone is its first moment; without,
    both are wrong, as is a moment that has more digits than microseconds have. The day is written
    as YYYY-MM-DD, or in the order of `read`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    moment = pa.timestamp("us", "UTC")
    if pa.types.is_timestamp(kind) and (kind.tz is not None or utc):
        return _of_timestamps(column)
    if pa.types.is_date(kind) and utc:
        return _of_timestamps(pc.cast(column, pa.timestamp("ms")))
    if not pa.types.is_string(kind):
        return pa.nulls(len(column), moment), column.is_valid()
    text = pc.if_else(pc.is_in(column, value_set=pa.array(read.null, pa.string())), None, column)
    if read.date != "YYYY-MM-DD":
        day, as_iso = date_parts(read)
        text = pc.replace_substring_regex(text, f"{day[:-1]}([T ].*)?$", rf"{as_iso}\4")
    if utc:
        text = pc.replace_substring_regex(text, _DAY, r"\1T00:00")
    wrong = pc.fill_null(pc.invert(pc.match_substring_regex(text, _MOMENT)), False)
    time = pc.utf8_slice_codeunits(text, _DATE_CHARACTERS)
    without = pc.fill_null(pc.invert(pc.match_substring_regex(time, _OFFSET)), False)
    if utc:
        text = pc.if_else(without, pc.binary_join_element_wise(text, "Z", ""), text)
    else:
        wrong = pc.or_(wrong, without)
    text = pc.if_else(wrong, pa.scalar(None, pa.string()), text)
    try:
        return pc.cast(text, moment), wrong
    except pa.ArrowInvalid:  # such as 2024-02-31
        values = pa.array([_moment(one) for one in text], moment)
    return values, pc.or_(wrong, pc.and_(text.is_valid(), values.is_null()))


def _moment(text: pa.Scalar) -> object:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(text, pa.timestamp("us", "UTC")).as_py()
    except pa.ArrowInvalid:
        return None


def _of_timestamps(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """In an Arrow timestamp with a time zone is its moment in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    per_second = _PER_SECOND[column.type.unit]
    count = pc.cast(column, pa.int64())
    if column.type.unit == "ns":
        outside = pc.not_equal(pc.multiply(pc.divide(count, 1000), 1000), count)
    else:
        first, end = _FIRST_SECOND * per_second, _END * per_second
        outside = pc.or_(pc.less(count, first), pc.greater_equal(count, end))
    wrong = pc.fill_null(outside, False)
    values = pc.if_else(wrong, pa.scalar(None, column.type), column)
    values = pc.cast(values, pa.timestamp("us", column.type.tz))
    return pc.cast(values, pa.timestamp("us", "UTC")), wrong
