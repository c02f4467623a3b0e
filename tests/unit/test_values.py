"""A value of a contract type is one value or one refusal, whatever form the file has."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.errors import InvalidSettings
from streamflow.history.files.plain_columns import shown
from streamflow.history.validation import read_checked
from streamflow.history.values import checked
from streamflow.history.violations import Violation
from streamflow.use_case import Csv, Table

KINDS = ("string", "Int64", "Float64", "boolean", "date")
WITH_DIGITS = Csv(true=("true", "1"), false=("false", "0"))
EXAMPLES = 20_000 if os.environ.get("STREAMFLOW_LONG_TESTS") else 100


PLAIN = Csv()


def table(kind: str, read: Csv = PLAIN) -> Table:
    from pandera.pandas import Column, DataFrameSchema

    columns = {"key": Column("string"), "value": Column(kind, nullable=True)}
    return Table("trees", DataFrameSchema(columns), read=read)


# What reading gives for each value: (value, None) or (None, the start of the rule).
Result = list[tuple[Any, str | None]]


def result(table: Table, path: Path, rows: int) -> Result:
    violations: list[Violation] = []
    batches = list(read_checked(table, path, violations.append))
    values = {row["line"]: row["value"] for batch in batches for row in batch.to_pylist()}
    rules = {one.line: one.rule for one in violations}
    assert len(rules) == len(violations), violations
    return [(values.get(line), rules.get(line)) for line in range(2, rows + 2)]


def of_parquet(folder: Path, kind: str, values: pa.Array, read: Csv = PLAIN) -> Result:
    path = folder / "trees.parquet"
    keys = [f"t{number}" for number in range(len(values))]
    pa.parquet.write_table(pa.table({"key": keys, "value": values}), path)
    return result(table(kind, read), path, len(values))


def of_csv(folder: Path, kind: str, texts: list[str], read: Csv = PLAIN) -> Result:
    path = folder / "trees.csv"
    out = io.StringIO()
    rows = [[f"t{number}", text] for number, text in enumerate(texts)]
    csv.writer(out, delimiter=read.separator).writerows([["key", "value"], *rows])
    path.write_text(out.getvalue(), encoding="utf-8", newline="")
    return result(table(kind, read), path, len(texts))


REFUSED = object()


def told(result: Result) -> list[Any]:
    return [REFUSED if rule is not None else value for value, rule in result]


NAN = float("nan")
DAY = date(2024, 1, 31)
MIDNIGHT, AFTERNOON = datetime(2024, 1, 31, tzinfo=UTC), datetime(2024, 1, 31, 13, 45, tzinfo=UTC)
NEW_YORK = pa.timestamp("us", "America/New_York")
IN_UTC = pa.timestamp("us", "UTC")


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("boolean", pa.array([NAN, NAN], pa.float64()), [None, None]),
        ("boolean", pa.array([0.3, 2.0, -1.0, 1.0]), [REFUSED] * 4),
        ("boolean", pa.array([0, 1, 2], pa.int8()), [REFUSED] * 3),
        ("boolean", pa.array(["0", "1"]).dictionary_encode(), [REFUSED] * 2),
        ("boolean", pa.array(["true", "False", ""], pa.string_view()), [True, False, None]),
        ("date", pa.array([45322], pa.int32()), [REFUSED]),
        ("date", pa.array([AFTERNOON, MIDNIGHT], pa.timestamp("us")), [REFUSED, DAY]),
        ("date", pa.array([MIDNIGHT], IN_UTC), [DAY]),
        ("date", pa.array([datetime(2024, 2, 1, 4, tzinfo=UTC)], NEW_YORK), [REFUSED]),
        ("date", pa.array([datetime(2024, 1, 31, 5, tzinfo=UTC)], NEW_YORK), [REFUSED]),
        ("date", pa.array([-719_528, 35_804_722, -719_162], pa.int32()).cast(pa.date32()), None),
        ("date", pa.array([1_706_659_200_000], pa.int64()).cast(pa.date64()), [DAY]),
        ("date", pa.array([2**62], pa.int64()).cast(pa.timestamp("ms")), [REFUSED]),
        ("date", pa.array(["2024-01-31", "0000-01-01", "31.1.24"]), [DAY, REFUSED, REFUSED]),
        ("Int64", pa.array(["0x10", "16", "+16", "-0"], pa.large_string()), [REFUSED, 16, 16, 0]),
        (
            "Int64",
            pa.array([55.0, NAN, 0.5, 2.0**53, 2.0**54]),
            [55, None, REFUSED, 2**53, REFUSED],
        ),
        ("Int64", pa.array([2**63 - 1, 2**63], pa.uint64()), [2**63 - 1, REFUSED]),
        ("Int64", pa.array([True, False]), [REFUSED] * 2),
        ("Int64", pa.array([DAY]), [REFUSED]),
        ("Int64", pa.array([Decimal("7.00"), Decimal("7.25")]), [7, REFUSED]),
        ("Int64", pa.array([Decimal(0)], pa.decimal128(12, 10)), [0]),
        ("Float64", pa.array([NAN, float("inf"), 1.5]), [None, REFUSED, 1.5]),
        ("Float64", pa.array([7, None], pa.uint8()), [7.0, None]),
        ("Float64", pa.array(["0x10", "1e5", "nan"]), [REFUSED, 1e5, REFUSED]),
        ("Float64", pa.array([True]), [REFUSED]),
        ("string", pa.array([b"abc", b"\xff"]), ["abc", REFUSED]),
        ("string", pa.array(["abc", "a\0b", ""], pa.string_view()), ["abc", REFUSED, None]),
        ("string", pa.array([7, 8]), ["7", "8"]),
        ("string", pa.array([7.0, NAN]), [REFUSED, None]),
        ("string", pa.array([True]), [REFUSED]),
        ("string", pa.array([DAY]), ["2024-01-31"]),
        ("string", pa.array([Decimal(123456789012345678901)]), ["123456789012345678901"]),
        ("string", pa.array([["a"], None]), [REFUSED, None]),
        *((kind, pa.nulls(2), [None, None]) for kind in KINDS),
        *((kind, pa.array([1, None], pa.duration("s")), [REFUSED, None]) for kind in KINDS),
    ],
)
def test_a_parquet_value_is_what_its_text_would_be_or_refused(
    tmp_path: Path, kind: str, values: pa.Array, expected: list[Any] | None
) -> None:
    expected = expected or [REFUSED, REFUSED, date(1, 1, 1)]
    assert told(of_parquet(tmp_path, kind, values)) == expected


def test_zero_and_one_are_booleans_where_the_table_says_so(tmp_path: Path) -> None:
    ones = [pa.array([1, 0, 2], pa.int64()), pa.array([1.0, 0.0, 0.3]), pa.array(["1", "0", "yes"])]
    for values in ones:
        found = of_parquet(tmp_path, "boolean", values, WITH_DIGITS)
        assert told(found) == [True, False, REFUSED]
    for texts in (["1", "0", "yes"], ["1.0", "0.0", "0.3"]):
        assert told(of_csv(tmp_path, "boolean", texts, WITH_DIGITS)) == [True, False, REFUSED]
    (_, rule) = of_csv(tmp_path, "boolean", ["1"])[0]
    assert (
        rule == 'a value is true or false; 1 and 0 where the table says read=Csv(true=("1",), '
        'false=("0",))'
    )


def test_whole_numbers_have_the_range_of_64_bits_and_may_be_written_as_floats(
    tmp_path: Path,
) -> None:
    texts = {
        "1234567890123456789": 1234567890123456789,
        "9223372036854775807": 2**63 - 1,
        "-9223372036854775808": -(2**63),
        "9223372036854775808": REFUSED,
        "-9223372036854775809": REFUSED,
        "55.0": 55,
        "-55.000": -55,
        "55.5": REFUSED,
        "9007199254740992.0": 2**53,
        "9007199254740994.0": REFUSED,
        "0" * 30 + "7": 7,
        "+7": 7,
    }
    assert told(of_csv(tmp_path, "Int64", list(texts))) == list(texts.values())


def test_what_means_null_is_said_by_the_table_for_both_forms(tmp_path: Path) -> None:
    read = Csv(null=("", "NA", "-999"))
    for kind, value in (("string", "x"), ("Int64", 7), ("Float64", 7.5)):
        texts = ["NA", "-999", "", str(value)]
        assert told(of_csv(tmp_path, kind, texts, read)) == [None, None, None, value]
        assert told(of_parquet(tmp_path, kind, pa.array(texts), read)) == [None, None, None, value]
    assert told(of_parquet(tmp_path, "Int64", pa.array([-999, 7]), read)) == [None, 7]
    assert told(of_parquet(tmp_path, "Float64", pa.array([-999.0, 7]), read)) == [None, 7]
    assert told(of_csv(tmp_path, "Float64", ["-999.00", "7"], read)) == [None, 7]
    minus_one = Csv(null=("-1",))
    assert told(of_parquet(tmp_path, "boolean", pa.array([-1.0]), minus_one)) == [None]
    assert told(of_csv(tmp_path, "boolean", ["-1.0"], minus_one)) == [None]
    assert told(of_csv(tmp_path, "string", ["NA", "", "x"])) == ["NA", None, "x"]


@given(
    st.integers(-(10**12), 10**12), st.integers(0, 999), st.sampled_from([".", " ", "'", "\xa0"])
)
def test_numbers_with_a_decimal_comma_are_what_they_are_with_a_point(
    whole: int, thousandths: int, between: str
) -> None:
    plain, point = Csv(decimal=","), f"{whole}.{thousandths:03}"
    grouped = Csv(decimal=",", thousands=between)
    comma, groups = point.replace(".", ","), f"{whole:,}".replace(",", between)
    (expected,), _ = typed([point], "Float64")
    assert typed([comma], "Float64", plain) == ([expected], [False])
    for text in (comma, f"{groups},{thousandths:03}"):
        assert typed([text], "Float64", grouped) == ([expected], [False])
    for text in (str(whole), groups, f"{groups},0"):
        assert typed([text], "Int64", grouped) == ([whole], [False])


def typed(texts: list[str], kind: str, read: Csv = PLAIN) -> tuple[list[Any], list[bool]]:
    values, wrong = checked(pa.array(texts), kind, read)
    return values.to_pylist(), wrong.to_pylist()


@pytest.mark.parametrize("text", ["1.5", "1,2,3", "1 23,0", "12 34", "1 2345", " 1", "1 ,5", "x"])
def test_a_number_that_is_written_with_other_marks_is_refused(text: str) -> None:
    read = Csv(decimal=",", thousands=" ")
    assert typed([text], "Float64", read) == ([None], [True])
    assert typed([text], "Int64", read) == ([None], [True])


def test_marks_of_text_say_nothing_of_numbers_in_parquet() -> None:
    read = Csv(decimal=",", null=("", "-1,5"))
    column = pa.array([1.5, -1.5])
    assert checked(column, "Float64", read)[0].to_pylist() == [1.5, None]
    values, wrong = checked(pa.array([Decimal("1.50")]), "Float64", read)
    assert (values.to_pylist(), wrong.to_pylist()) == ([1.5], [False])


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"separator": "||"}, "separator"),
        ({"separator": '"'}, "separator"),
        ({"separator": "é"}, "separator"),
        ({"null": "NA"}, "null"),
        ({"true": "1"}, "true"),
        ({"true": ("1",), "false": ("1", "0")}, "both"),
        ({"decimal": ";"}, "decimal mark"),
        ({"thousands": "0"}, "between thousands"),
        ({"thousands": ".."}, "between thousands"),
        ({"thousands": ".", "decimal": "."}, "both"),
        ({"encoding": "latin-99"}, "encoding"),
        ({"encoding": "hex"}, "encoding"),
    ],
)
def test_rules_that_can_not_be_meant_are_refused(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        Csv(**rules)


numbers = st.integers(-(2**63), 2**64 - 1) | st.integers(-3, 3) | st.integers(2**53 - 2, 2**53 + 2)
floats = st.floats(width=64) | st.integers(-3, 3).map(float) | st.just(2.0**53 + 2)
moments = st.integers(-(2**63), 2**63 - 1) | st.integers(-800_000, 3_000_000).map(
    lambda days: days * 86_400
)
days = st.integers(-(2**31), 2**31 - 1) | st.integers(-800_000, 3_000_000)
texts = (
    st.text(st.characters(codec="utf-8"), max_size=8)
    | st.sampled_from(["true", "FALSE", "1", "0", "1.0", "0x10", "2024-02-29", "2023-02-29"])
    | st.sampled_from(["0000-01-01", "9999-12-31", "1e5", "-0", "NA", "nan", "a\0b", "55.0"])
    | numbers.map(str)
    | floats.map(repr)
)


def whole(kind: pa.DataType) -> st.SearchStrategy[Any]:
    bits = kind.bit_width
    signed = pa.types.is_signed_integer(kind)
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return numbers.filter(lambda number: least <= number <= most) | st.integers(0, 3)


def plain_number(value: Any) -> str:
    return "" if value != value else repr(value)


def moment(unit: str, zone: str | None) -> Callable[[Any], str]:
    per_day = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9, "d": 1}[unit]
    per_day *= 1 if unit == "d" else 86_400

    def write(value: int) -> str:
        day = value // per_day + date(1970, 1, 1).toordinal()
        known = 1 <= day <= date.max.toordinal() and value % per_day == 0 and zone in (None, "UTC")
        return date.fromordinal(day).isoformat() if known else f"{value} {unit}"

    return write


# Arrow types with values for them, and how CSV has each value.
Form = tuple[pa.DataType, st.SearchStrategy[Any], Callable[[Any], str]]
FORMS: list[Form] = [
    *((one, texts, str) for one in (pa.string(), pa.large_string(), pa.string_view())),
    *(
        (one, texts.map(str.encode), bytes.decode)
        for one in (pa.binary(), pa.large_binary(), pa.binary_view())
    ),
    *(
        (one, whole(one), str)
        for one in (
            *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
            *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        )
    ),
    (pa.float64(), floats, plain_number),
    (pa.float32(), st.floats(width=32), plain_number),
    (pa.float16(), st.floats(width=16), plain_number),
    (pa.bool_(), st.booleans(), lambda one: str(one).lower()),
    (pa.decimal128(22, 2), st.decimals(-(10**19), 10**19, places=2), lambda one: f"{one:f}"),
    (pa.decimal256(40, 0), numbers.map(Decimal), lambda one: f"{one:f}"),
    (pa.date32(), days, moment("d", None)),
    *(
        (pa.timestamp(unit, zone), moments, moment(unit, zone))
        for unit, zone in (("s", None), ("ms", "UTC"), ("us", None), ("ns", "UTC"))
    ),
    (pa.timestamp("us", "America/New_York"), moments, moment("us", "America/New_York")),
]


def arrow(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_date32(kind):
        return pa.array(values, pa.int32()).cast(kind)
    if pa.types.is_float16(kind):
        import numpy as np

        return pa.array([None if one is None else np.float16(one) for one in values], kind)
    return pa.array(values, kind)


def is_one_text(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or any(kind is one[0] for one in FORMS[:6])


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_any_parquet_type_gives_what_its_text_gives_or_is_refused(data: st.DataObject) -> None:
    arrow_type, strategy, write = data.draw(st.sampled_from(FORMS))
    kind = data.draw(st.sampled_from(KINDS))
    read = data.draw(st.sampled_from([Csv(), WITH_DIGITS, Csv(null=("", "NA", "-1", "2"))]))
    drawn = data.draw(st.lists(strategy | st.none(), min_size=1, max_size=8))
    column = arrow(arrow_type, drawn)
    if data.draw(st.booleans()) and arrow_type not in (pa.string_view(), pa.binary_view()):
        column = pa.DictionaryArray.from_arrays(pa.array(range(len(drawn))), column)
    values, wrong = checked(column, kind, read)
    assert values.filter(wrong).null_count == pc.sum(wrong, min_count=0).as_py()
    assert all(isinstance(one, str) for one in shown(column, pa.repeat(True, len(drawn))))
    if kind == "string" and not is_one_text(arrow_type):
        return  # which of its texts is meant can't be known
    text = pa.array(["" if one is None else write(one) for one in drawn], pa.string())
    assert (values, wrong) == checked(text, kind, read)
