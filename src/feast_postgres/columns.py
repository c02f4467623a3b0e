"""The name and the columns of a feature view's table, and the conversion of their values.

Importing this module does not import Feast: a process without Feast can read the tables too.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, LiteralString

if TYPE_CHECKING:
    from feast import FeatureView, Field
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

OWN_COLUMNS = ("event_timestamp", "created_timestamp", "unwritten")

# Feast's types that PostgreSQL has too: the type of the column, and the field of Feast's Value.
_NATIVE: dict[str, tuple[LiteralString, str | None]] = {
    "BOOL": ("bool", "bool_val"),
    "INT32": ("int4", "int32_val"),
    "INT64": ("int8", "int64_val"),
    "FLOAT": ("float4", "float_val"),
    "DOUBLE": ("float8", "double_val"),
    "STRING": ("text", "string_val"),
    "BYTES": ("bytea", "bytes_val"),
    "UNIX_TIMESTAMP": ("timestamptz", "unix_timestamp_val"),
}
# Those of them that Feast allows for a join key.
_KEY_TYPES = ("INT32", "INT64", "STRING", "BYTES", "UNIX_TIMESTAMP")
_SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
_LONGEST_IDENTIFIER = 63  # of PostgreSQL, in bytes
_MOST_DIGITS = 10  # of a version, a 32-bit number
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
# Feast writes a null timestamp of a data frame as this number.
_NULL_TIMESTAMP = -(2**63)


@dataclass(frozen=True)
class Column:
    """The column of a feature or of a join key; `field` is that of Feast's Value,
    None if it is stored serialized."""

    feature: str
    name: str
    value_type: str
    sql_type: LiteralString
    field: str | None

    def to_sql(self, value: Value) -> object:
        """The Value as PostgreSQL stores it; None for a null.

        An INT32 may be given as an INT64, a FLOAT as a DOUBLE, and the other way round.

        Raises ValueError if the column's type can't hold it without a change.
        """
        field = value.WhichOneof("val")
        if field is None or field == "null_val":
            return None
        if self.field is None:
            return value.SerializeToString()
        native = getattr(value, field)
        if field != self.field and not self._holds_exactly(field, native):
            raise ValueError(f"{self.feature!r} is a {self.field}, and was given {field} {native}")
        if field == "unix_timestamp_val":
            if native == _NULL_TIMESTAMP:
                return None
            try:
                return _EPOCH + timedelta(seconds=native)
            except OverflowError as error:
                raise ValueError(
                    f"{self.feature!r}: {native} seconds is before year 1 or after 9999"
                ) from error
        if field == "string_val" and "\0" in native:
            raise ValueError(f"{self.feature!r}: a PostgreSQL text can't hold the NUL character")
        return native

    def _holds_exactly(self, field: str, number: Any) -> bool:
        """Whether the column holds the number of another field of Value without a change."""
        if {field, self.field} == {"int32_val", "int64_val"}:
            return self.field == "int64_val" or -(2**31) <= number < 2**31
        if {field, self.field} != {"float_val", "double_val"}:
            return False
        try:
            single: float = struct.unpack("f", struct.pack("f", number))[0]
        except OverflowError:
            return False
        return single == number or math.isnan(number)

    def from_sql(self, native: Any) -> Value:
        """The Value from which `to_sql` made `native`."""
        from feast.protos.feast.types.Value_pb2 import Value

        if native is None:
            return Value()
        if self.field is None:
            value: Value = Value.FromString(native)
            return value
        return Value(**{self.field: self.to_field(native)})

    def to_field(self, native: Any) -> Any:
        """PostgreSQL's value as `field` of a Value takes it."""
        if self.field == "unix_timestamp_val":
            return (native - _EPOCH) // _SECOND
        return native


# The only key column of a view whose join keys are unknown or have a type that PostgreSQL lacks:
# Feast's serialization of all join keys.
SERIALIZED_KEY = Column("entity_key", "entity_key", "ENTITY_KEY", "bytea", None)


@dataclass(frozen=True)
class TableLayout:
    """The columns of a feature view's table: its join keys in order of name, and its features.

    A stream feature view has its join keys among its features: such a feature is the key's column.
    """

    view: str
    keys: tuple[Column, ...]
    features: dict[str, Column]

    @property
    def feature_columns(self) -> list[Column]:
        """The columns of the features, without those of the key."""
        return [column for column in self.features.values() if column not in self.keys]

    @property
    def serialized(self) -> bool:
        """Whether the key is one column with Feast's serialization of all join keys."""
        return self.keys == (SERIALIZED_KEY,)

    def key_to_sql(self, entity_key: EntityKey, version: int) -> tuple[object, ...]:
        """The entity key as the key columns store it; its join keys may be in any order.

        Raises ValueError if its join keys aren't the view's, or their columns can't hold them.
        """
        if self.serialized:
            from feast.infra.key_encoding_utils import serialize_entity_key

            return (serialize_entity_key(entity_key, entity_key_serialization_version=version),)
        values = self.values_by_key(entity_key)
        natives = tuple(key.to_sql(values[key.feature]) for key in self.keys)
        if None in natives:
            null = self.keys[natives.index(None)].feature
            raise ValueError(f"Feature view {self.view!r}: the join key {null!r} is null")
        return natives

    def values_by_key(self, entity_key: EntityKey) -> dict[str, Value]:
        """The entity key's Values by join key. Raises ValueError if they aren't the view's."""
        values = dict(zip(entity_key.join_keys, entity_key.entity_values, strict=True))
        if values.keys() != {key.feature for key in self.keys}:
            raise ValueError(
                f"Feature view {self.view!r} is found by {[key.feature for key in self.keys]}, "
                f"not by {list(entity_key.join_keys)}"
            )
        return values


def table_layout(feature_view: FeatureView) -> TableLayout:
    """The columns of the feature view's table.

    A column has the name of its feature or join key, unless that name is too long or reserved.
    """
    from feast import StreamFeatureView

    taken = {*OWN_COLUMNS, *_SYSTEM_COLUMNS}
    keys: list[Column] = []
    for field in sorted(feature_view.entity_columns, key=lambda field: str(field.name)):
        value_type = field.dtype.to_value_type().name
        if value_type not in _KEY_TYPES:
            keys = []
            break
        keys.append(_column(field, value_type, taken))
    if not keys:
        keys = [SERIALIZED_KEY]
        taken = {*OWN_COLUMNS, *_SYSTEM_COLUMNS, SERIALIZED_KEY.name}
    by_key = {key.feature: key for key in keys if key != SERIALIZED_KEY}
    fields = {field.name: field for field in feature_view.features}
    if keys == [SERIALIZED_KEY] and isinstance(feature_view, StreamFeatureView):
        # as Feast's registry returns it, whether this one comes from there or not
        fields = {field.name: field for field in feature_view.entity_columns} | fields
    features = {
        name: by_key.get(name) or _column(field, field.dtype.to_value_type().name, taken)
        for name, field in fields.items()
    }
    return TableLayout(feature_view.name, tuple(keys), features)


def table_name(project: str, feature_view: str, version: int = 0) -> str:
    """The name of the table of a feature view, or of a version of it."""
    if not version:
        # A project's name has no dot, so no two views share a table. With an underscore, `a` +
        # `b_c` and `a_b` + `c` would.
        return _identifier(f"{project}.{feature_view}", set())
    return f"{version_prefix(project, feature_view)}{version}"


def referenced_table(project: str, reference: str) -> str:
    """The name of the table of `view`, or of `view@vN`, which is version N of it."""
    name, _, version = reference.partition("@v")
    return table_name(project, name, int(version or 0))


def version_prefix(project: str, feature_view: str) -> str:
    """The name of the table of each version of a feature view, but for the number at its end."""
    # No feature view's name has an @, so no view shares a table with another's version.
    end = "@v"
    longest = _LONGEST_IDENTIFIER - len(end) - _MOST_DIGITS
    return _identifier(f"{project}.{feature_view}", set(), longest) + end


def utc(timestamp: datetime) -> datetime:
    """The timestamp in UTC; one without a time zone is in UTC, as in Feast."""
    return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)


def column_name(feature: str, key: str) -> str:
    """The column of a feature in a table that has one join key."""
    return _identifier(feature, {*OWN_COLUMNS, *_SYSTEM_COLUMNS, key})


def column_of_type(feature: str, name: str, value_type: str) -> Column:
    """The column of a feature of this Feast type."""
    return Column(feature, name, value_type, *_NATIVE.get(value_type, ("bytea", None)))


def _column(field: Field, value_type: str, taken: set[str]) -> Column:
    name = _identifier(field.name, taken)
    taken.add(name)
    return column_of_type(field.name, name, value_type)


def _identifier(name: str, taken: set[str], longest: int = _LONGEST_IDENTIFIER) -> str:
    """The name; if it is too long or taken, the beginning of it and a digest of the whole."""
    encoded = name.encode()
    if len(encoded) <= longest and name not in taken:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    head = encoded[: longest - len(digest) - 1].decode(errors="ignore")
    return f"{head}_{digest}"
