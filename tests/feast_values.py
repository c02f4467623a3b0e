"""Random values of every value type that Feast has, generated from its own description of them."""

from __future__ import annotations

import math
from typing import Any

from feast.protos.feast.types.Value_pb2 import Value
from feast.types import from_value_type
from feast.value_type import ValueType
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

# Value types that no feature can have; and types whose field in Value is not named like the type.
NO_TYPES = ("UNKNOWN", "NULL")
OTHER_FIELDS = {
    "PDF_BYTES": "bytes_val",
    "IMAGE_BYTES": "bytes_val",
    "VALUE_LIST": "list_val",
    "VALUE_SET": "set_val",
}
FIELDS = {
    kind.name.lower(): OTHER_FIELDS.get(kind.name, f"{kind.name.lower()}_val")
    for kind in ValueType
    if kind.name not in NO_TYPES
}

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
MOMENTS = st.integers(-62_135_596_800, 253_402_300_799)
# One of the many NaN: PostgreSQL's text form has only one.
NOT_A_NUMBER = st.just(math.nan)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    FieldDescriptor.TYPE_STRING: TEXT,
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False) | NOT_A_NUMBER,
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32, allow_nan=False) | NOT_A_NUMBER,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_ENUM: st.just(0),
}


def dtype_of(name: str) -> Any:
    """Feast's type for a feature of the value type of this name."""
    return from_value_type(ValueType[name.upper()])


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Values of the type, half of them null."""
    field = Value.DESCRIPTOR.fields_by_name[FIELDS[name]]
    content = MOMENTS if field.name == "unix_timestamp_val" else _contents(field, depth=1)
    return content.map(lambda inner: Value(**{field.name: inner})) | st.just(Value())


def exact(values: dict[str, Any]) -> dict[str, bytes]:
    """Bytes to compare, because NaN is unequal to itself and maps have no order."""
    return {name: value.SerializeToString(deterministic=True) for name, value in values.items()}


def _contents(field: Any, depth: int) -> st.SearchStrategy[Any]:
    kind = field.message_type
    if kind is None:
        one = SCALARS[field.type]
    elif kind.GetOptions().map_entry:
        key, value = (_contents(kind.fields_by_name[name], depth) for name in ("key", "value"))
        return st.dictionaries(key, value, max_size=2)
    else:
        one = st.deferred(lambda: _messages(kind, depth))
    return st.lists(one, max_size=3) if field.is_repeated else one


def _messages(kind: Any, depth: int) -> st.SearchStrategy[Any]:
    message = GetMessageClass(kind)
    if not kind.oneofs:
        contents = {field.name: _contents(field, depth) for field in kind.fields}
        return st.fixed_dictionaries(contents).map(lambda fields: message(**fields))
    choices = [field for field in kind.fields if field.message_type is None or depth]
    return st.sampled_from(choices).flatmap(
        lambda field: _contents(field, depth - 1).map(lambda inner: message(**{field.name: inner}))
    )
