"""How a feature view becomes a table: its name, its columns, and values on their way in and out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from feast.protos.feast.types.Value_pb2 import Value

OWN_COLUMNS = ("entity_key", "event_timestamp", "created_timestamp", "unwritten")

# Of Feast's types, those that PostgreSQL has too: column type, and field of Feast's Value.
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
_SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
_LONGEST_IDENTIFIER = 63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Column:
    """Where a feature is kept; `field` is the one of Feast's Value, None if kept serialized."""

    feature: str
    name: str
    value_type: str
    sql_type: LiteralString
    field: str | None

    def to_sql(self, value: Any) -> object:
        """The Value as PostgreSQL keeps it; None for a null.

        Raises ValueError if the feature's type can't hold it.
        """
        field = value.WhichOneof("val")
        if field is None or field == "null_val":
            return None
        if self.field is None:
            return value.SerializeToString()
        if field != self.field:
            raise ValueError(f"Feature {self.feature!r} is a {self.field}, and was given a {field}")
        native = getattr(value, field)
        if field == "unix_timestamp_val":
            try:
                return _EPOCH + timedelta(seconds=native)
            except OverflowError as error:
                raise ValueError(
                    f"Feature {self.feature!r}: {native} seconds is before year 1 or after 9999"
                ) from error
        if field == "string_val" and "\0" in native:
            raise ValueError(
                f"Feature {self.feature!r}: a PostgreSQL text can't hold the NUL character"
            )
        return native

    def from_sql(self, native: Any) -> Any:
        """The Value that `to_sql` was given."""
        if native is None:
            return Value()
        if self.field is None:
            return Value.FromString(native)
        if self.field == "unix_timestamp_val":
            native = (native - _EPOCH) // _SECOND
        return Value(**{self.field: native})


def columns_of(feature_view: Any) -> dict[str, Column]:
    """By feature name, the columns of a feature view's features."""
    return {field.name: _column(field) for field in feature_view.features}


def table_name(project: str, feature_view: str) -> str:
    # No project has a dot in its name, so that no two views share a table, as `a` + `b_c` and
    # `a_b` + `c` would with an underscore.
    return _identifier(f"{project}.{feature_view}")


def utc(moment: datetime) -> datetime:
    """The moment in UTC; without a time zone it's taken to be UTC, as Feast does."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _column(field: Any) -> Column:
    value_type = field.dtype.to_value_type().name
    sql_type, value_field = _NATIVE.get(value_type, ("bytea", None))
    name = _identifier(field.name, taken=(*OWN_COLUMNS, *_SYSTEM_COLUMNS))
    return Column(field.name, name, value_type, sql_type, value_field)


def _identifier(name: str, taken: Iterable[str] = ()) -> str:
    """The name, or if it's too long or taken, what fits of it and a digest of the whole."""
    encoded = name.encode()
    if len(encoded) <= _LONGEST_IDENTIFIER and name not in taken:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    head = encoded[: _LONGEST_IDENTIFIER - len(digest) - 1].decode(errors="ignore")
    return f"{head}_{digest}"
