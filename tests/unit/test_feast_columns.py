"""A value for a column of the online store: exact, or refused."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

import pytest
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import example, given
from hypothesis import strategies as st

from feast_postgres.columns import Column, column_of_type

INT32 = st.integers(-(2**31), 2**31 - 1)
SINGLE = st.floats(width=32, allow_nan=False)


def column(value_type: str) -> Column:
    return column_of_type("fee", "fee", value_type)


@given(number=SINGLE | st.just(math.inf) | st.just(-0.0) | st.just(2.0**-149))
def test_a_float_given_as_a_double_is_the_same_number(number: float) -> None:
    held: Any = column("FLOAT").to_sql(Value(double_val=number))
    assert struct.pack("d", held) == struct.pack("d", number)
    assert math.isnan(column("FLOAT").to_sql(Value(double_val=math.nan)))  # type: ignore[arg-type]


@given(number=st.floats(allow_nan=False, allow_infinity=False))
@example(0.1).via("no binary fraction")
@example(1e39).via("too large")
@example(-1e-46).via("too small")
@example(2.0**24 + 1).via("one digit too many")
def test_a_double_is_stored_as_a_float_exactly_or_refused(number: float) -> None:
    if Value(float_val=number).float_val == number:
        assert column("FLOAT").to_sql(Value(double_val=number)) == number
        return
    with pytest.raises(
        ValueError, match=re.escape(f"is a float_val, and was given double_val {number}")
    ):
        column("FLOAT").to_sql(Value(double_val=number))


@given(number=SINGLE)
def test_a_double_takes_every_float(number: float) -> None:
    assert column("DOUBLE").to_sql(Value(float_val=number)) == number


@given(number=st.integers(-(2**63), 2**63 - 1) | INT32)
def test_an_int32_given_as_an_int64_is_exact_or_refused(number: int) -> None:
    if -(2**31) <= number < 2**31:
        assert column("INT32").to_sql(Value(int64_val=number)) == number
        assert column("INT64").to_sql(Value(int32_val=number)) == number
    else:
        with pytest.raises(ValueError, match=f"'fee' is a int32_val.*int64_val {number}"):
            column("INT32").to_sql(Value(int64_val=number))


@pytest.mark.parametrize(
    ("value_type", "value"),
    [
        ("INT64", Value(double_val=1)),
        ("DOUBLE", Value(int64_val=1)),
        ("BOOL", Value(int32_val=1)),
        ("STRING", Value(bytes_val=b"a")),
        ("BYTES", Value(string_val="a")),
        ("UNIX_TIMESTAMP", Value(int64_val=1)),
    ],
    ids=lambda given: str(given).strip(),
)
def test_a_value_of_another_kind_is_refused(value_type: str, value: Value) -> None:
    with pytest.raises(ValueError, match="and was given"):
        column(value_type).to_sql(value)
