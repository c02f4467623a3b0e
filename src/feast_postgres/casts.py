"""Casts from a source's columns to the online store's, with the result of Feast's own conversion.

An expression's result is what Feast's local engine would store. Known exceptions, where more is
kept: NaN stays NaN (Feast stores a null), and large integers beside nulls stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from feast_postgres.columns import Column
from feast_postgres.serialized_casts import serialized_cast

TIMESTAMP_TYPES = ("timestamptz", "timestamp")
_INTEGERS = ("int2", "int4", "int8")
_FLOATS = ("float4", "float8", "numeric")
# By type of a feature, the types of a column that are cast to it.
_SOURCE_TYPES: dict[str, tuple[str, ...]] = {
    "BOOL": ("bool",),
    "INT32": (*_INTEGERS, *_FLOATS),
    "INT64": (*_INTEGERS, *_FLOATS),
    "FLOAT": (*_INTEGERS, *_FLOATS),
    "DOUBLE": (*_INTEGERS, *_FLOATS),
    "STRING": ("text", "varchar", "uuid"),
    "BYTES": ("bytea",),
    "UNIX_TIMESTAMP": (*TIMESTAMP_TYPES, "date"),
}
# The nearest float4 of a float8: PostgreSQL raises an error where IEEE 754 gives infinity or zero.
# 3.4028235677973366e38 is half way from the largest float4 to the next power of two, and
# 7.006492321624085e-46 half of the smallest; a half is rounded to the even one of the two.
_FLOAT4 = """
CASE
    WHEN {value} = 'NaN' THEN 'NaN'::float4
    WHEN abs({value}) >= 3.4028235677973366e38 THEN (sign({value}) * 'Infinity'::float8)::float4
    WHEN abs({value}) <= 7.006492321624085e-46 THEN ({value} * 0)::float4
    ELSE {value}::float4
END
"""
_OUT_OF_RANGE = "NOT coalesce({value} BETWEEN {least} AND {most}, true)"
_MOMENT_OUT_OF_RANGE = (
    "{value}::timestamptz NOT BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'"
)


@dataclass(frozen=True)
class Cast:
    """The expression of a value as the online table stores it.

    `impossible` is a condition on rows whose value the feature can't hold, with the reason;
    `by_feast` one on rows that only Feast's own engine converts.
    """

    expression: sql.Composable
    impossible: tuple[sql.Composable, str] | None = None
    by_feast: tuple[sql.Composable, str] | None = None


def cast(column: Column, value: sql.Composable, source_type: str) -> Cast | None:
    """The cast of a value of PostgreSQL's type `source_type`; an array's is that of its elements
    with `[]`. None if only Feast's own engine converts it."""
    if column.field is None:
        found = serialized_cast(column.value_type, value, source_type, float4)
        return None if found is None else Cast(found[0], by_feast=found[1])
    if source_type not in _SOURCE_TYPES[column.value_type]:
        return None
    if column.value_type == "FLOAT":
        return Cast(float4(value, source_type))
    if column.value_type in ("INT32", "INT64"):
        return _integer(value, source_type, bits=int(column.value_type[3:]))
    plain = sql.SQL("{}::{}").format(value, sql.SQL(column.sql_type))
    if column.value_type == "UNIX_TIMESTAMP":  # Feast stores whole seconds
        outside = sql.SQL(_MOMENT_OUT_OF_RANGE).format(value=value)
        return Cast(
            sql.SQL("date_trunc('second', {})").format(plain),
            impossible=(outside, "has moments before year 1 or after 9999"),
        )
    return Cast(plain)


def float4(value: sql.Composable, source_type: str) -> sql.Composable:
    """The nearest float4 of a number, as a cast in C gives it."""
    if source_type == "float4":
        return sql.SQL("{}::float4").format(value)
    return sql.SQL(_FLOAT4).format(value=sql.SQL("{}::float8").format(value))


def _integer(value: sql.Composable, source_type: str, bits: int) -> Cast:
    sql_type: LiteralString = "int4" if bits == 32 else "int8"
    if source_type in ("int2", sql_type, "int4"):
        return Cast(sql.SQL("{}::{}").format(value, sql.SQL(sql_type)))
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if source_type in _FLOATS:
        # through float8 and towards zero, as Python's int(); NaN is a null
        value = sql.SQL("trunc(nullif({}::float8, 'NaN'))").format(value)
        # 2**63 - 1 isn't a float8, the largest one below is
        most = most if bits == 32 else 2**63 - 1024
    outside = sql.SQL(_OUT_OF_RANGE).format(
        value=value, least=sql.Literal(least), most=sql.Literal(most)
    )
    return Cast(
        sql.SQL("({})::{}").format(value, sql.SQL(sql_type)),
        impossible=(outside, f"has numbers that are no {bits}-bit integers"),
    )
