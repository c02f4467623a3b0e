"""SQL that serializes a source's column as Feast's Value, to the byte as protobuf does it.

For lists and for types that PostgreSQL lacks, whose column in the online store is a bytea.
https://protobuf.dev/programming-guides/encoding/ has the format.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString

from psycopg import sql

Float4 = Callable[[sql.Composable, str], sql.Composable]

# A length as protobuf writes it: seven bits a byte, the lowest first, the eighth says "more".
_LENGTH = """
CASE
    WHEN {n} < 128 THEN set_byte('\\x00', 0, {n})
    WHEN {n} < 16384 THEN set_byte(set_byte('\\x0000', 0, {n} & 127 | 128), 1, {n} >> 7)
    WHEN {n} < 2097152 THEN set_byte(set_byte(set_byte(
        '\\x000000', 0, {n} & 127 | 128), 1, {n} >> 7 & 127 | 128), 2, {n} >> 14)
    ELSE set_byte(set_byte(set_byte(set_byte(
        '\\x00000000', 0, {n} & 127 | 128), 1, {n} >> 7 & 127 | 128), 2, {n} >> 14 & 127 | 128),
        3, {n} >> 21)
END
"""
# Integers in the same way. A negative one has ten bytes, as if it had 64 bits without a sign.
_INTEGERS = """
SELECT coalesce(string_agg(set_byte('\\x00', 0,
    (element >> (7 * i) & CASE i WHEN 9 THEN 1 ELSE 127 END)::int4
    | CASE WHEN i < 9 AND (element < 0 OR element >> (7 * i + 7) > 0) THEN 128 ELSE 0 END
), '' ORDER BY position, i), '') AS body
FROM (
    SELECT {element}::int8 AS element, position
    FROM unnest({value}) WITH ORDINALITY AS given (element, position)
) AS given, generate_series(0, 9) AS i
WHERE i = 0 OR element < 0 OR element >> (7 * i) > 0
"""
_OTHERS = """
SELECT coalesce(string_agg({element}, '' ORDER BY position), '') AS body
FROM unnest({value}) WITH ORDINALITY AS given (element, position)
"""
_PACKED = "CASE body WHEN '' THEN body ELSE '\\x0a' || {length} || body END"
# Only outermost is the null of the column looked at: null || anything is null.
_VALUE = """
CASE WHEN {value} IS NOT NULL THEN (
    SELECT {tag}::bytea || {length} || message
    FROM (SELECT {message} AS message FROM ({body}) AS encoded OFFSET 0) AS encoded
) END
"""
_TEXT = """
SELECT convert_to({value}::text, 'UTF8') AS body
"""
_UNUSUAL = "array_ndims({value}) > 1 OR array_position({value}, NULL) IS NOT NULL"
_TOO_LARGE = f"{_UNUSUAL} OR {-(2**31)} > ANY({{value}}) OR {2**31 - 1} < ANY({{value}})"
_INFINITE = f"{_UNUSUAL} OR 'infinity' = ANY({{value}}) OR '-infinity' = ANY({{value}})"
_REASON = "has arrays with nulls, of several dimensions, or with values that Feast can't hold"

_ELEMENT = sql.Identifier("element")
_INTEGER_TYPES = ("int2", "int4", "int8")
_FLOAT_TYPES = ("float4", "float8", "numeric")
_TIMESTAMP_TYPES = ("timestamptz", "timestamp", "date")
# By type of a feature: the types of the elements of a column that are serialized in the database.
_LIST_TYPES: dict[str, tuple[str, ...]] = {
    "INT32_LIST": _INTEGER_TYPES,
    "INT64_LIST": _INTEGER_TYPES,
    "FLOAT_LIST": _FLOAT_TYPES,
    "DOUBLE_LIST": _FLOAT_TYPES,
    "BOOL_LIST": ("bool",),
    "STRING_LIST": ("text", "varchar"),
    "BYTES_LIST": ("bytea",),
    "UNIX_TIMESTAMP_LIST": _TIMESTAMP_TYPES,
}
_TEXT_TYPES: dict[str, tuple[str, ...]] = {
    "UUID": ("uuid", "text", "varchar"),
    "TIME_UUID": ("uuid", "text", "varchar"),
    "DECIMAL": ("text", "varchar"),
}


def serialized_cast(
    value_type: str, value: sql.Composable, source_type: str, float4: Float4
) -> tuple[sql.Composable, tuple[sql.Composable, str] | None] | None:
    """The expression of the serialized Value, and a condition on rows that only Feast's own engine
    converts, with the reason. None if it converts all of them."""
    if source_type in _TEXT_TYPES.get(value_type, ()):
        body = sql.SQL(_TEXT).format(value=value)
        return _value(value_type, value, body, sql.Identifier("body")), None
    element_type = source_type.removesuffix("[]")
    if element_type == source_type or element_type not in _LIST_TYPES.get(value_type, ()):
        return None
    expression = _list(value_type, value, element_type, float4)
    unusual = _INFINITE if element_type in _TIMESTAMP_TYPES else _UNUSUAL
    if value_type == "INT32_LIST" and element_type == "int8":
        unusual = _TOO_LARGE
    return expression, (sql.SQL(unusual).format(value=value), _REASON)


def _list(
    value_type: str, value: sql.Composable, element_type: str, float4: Float4
) -> sql.Composable:
    if value_type in ("INT32_LIST", "INT64_LIST", "UNIX_TIMESTAMP_LIST"):
        whole: sql.Composable = _ELEMENT
        if value_type == "UNIX_TIMESTAMP_LIST":
            whole = sql.SQL("trunc(extract(epoch FROM {}::timestamptz))").format(_ELEMENT)
        body = sql.SQL(_INTEGERS).format(value=value, element=whole)
        return _value(value_type, value, body, _packed())
    element, packed = _ELEMENT, True
    encoded: sql.Composable
    if value_type == "BOOL_LIST":
        encoded = sql.SQL("CASE WHEN {} THEN '\\x01'::bytea ELSE '\\x00' END").format(element)
    elif value_type == "FLOAT_LIST":
        encoded = _reversed(sql.SQL("float4send({})").format(float4(element, element_type)), 4)
    elif value_type == "DOUBLE_LIST":
        encoded = _reversed(sql.SQL("float8send({}::float8)").format(element), 8)
    else:
        packed = False
        content: sql.Composable = element
        if value_type == "STRING_LIST":
            content = sql.SQL("convert_to({}, 'UTF8')").format(element)
        encoded = sql.SQL("'\\x0a'::bytea || {} || {}").format(_length(content), content)
    body = sql.SQL(_OTHERS).format(value=value, element=encoded)
    return _value(value_type, value, body, _packed() if packed else sql.Identifier("body"))


def _value(
    value_type: str, value: sql.Composable, body: sql.Composable, message: sql.Composable
) -> sql.Composable:
    from feast.protos.feast.types.Value_pb2 import Value

    field = Value.DESCRIPTOR.fields_by_name[f"{value_type.lower()}_val"]
    tag = field.number << 3 | 2
    encoded = bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])
    return sql.SQL(_VALUE).format(
        value=value,
        tag=sql.Literal(encoded),
        length=_length(sql.Identifier("message")),
        message=message,
        body=body,
    )


def _packed() -> sql.Composable:
    return sql.SQL(_PACKED).format(length=_length(sql.Identifier("body")))


def _length(content: sql.Composable) -> sql.Composable:
    return sql.SQL(_LENGTH).format(n=sql.SQL("octet_length({})").format(content))


def _reversed(encoded: sql.Composable, count: int) -> sql.Composable:
    """The bytes with the lowest first, as protobuf has them."""
    part: LiteralString = "substring({} FROM {} FOR 1)"
    return sql.SQL(" || ").join(
        sql.SQL(part).format(encoded, sql.Literal(number)) for number in range(count, 0, -1)
    )
