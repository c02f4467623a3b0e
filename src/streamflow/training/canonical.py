"""A table as bytes that are the same for the same content, and the SHA-256 over them.

Per column: its name, type and number of rows; after that, per row, a byte that says whether the
value is not null, and the value (int64, float64 and bool little-endian, text as UTF-8 after its
length in bytes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from streamflow.hashes import Sha256

if TYPE_CHECKING:
    import pyarrow as pa

Bytes = npt.NDArray[np.uint8]
Lengths = npt.NDArray[np.int64]
Values: TypeAlias = "pa.Array | pa.ChunkedArray | npt.ArrayLike"

_VALUES = {"STRING": "<i8", "INT64": "<i8", "FLOAT64": "<f8", "BOOL": "?"}


@dataclass(frozen=True)
class Column:
    """`hash` is over the column's name, type and values."""

    name: str
    type: str
    hash: Sha256


def table(columns: Iterable[tuple[str, str, Values]]) -> pa.Table:
    """An Arrow table of columns, each a name, a type (STRING, INT64, FLOAT64 or BOOL) and values.

    Raises OverflowError or ArrowInvalid for a value that its column's type can't hold.
    """
    import pyarrow as pa

    types, arrays, fields = _arrow_types(), [], []
    for name, kind, values in columns:
        if isinstance(values, pa.Array | pa.ChunkedArray):
            arrays.append(values.cast(types[kind]))
        else:
            arrays.append(pa.array(values, types[kind]))
        fields.append(pa.field(name, types[kind]))
    return pa.table(arrays, schema=pa.schema(fields))


def hashes(table: pa.Table) -> tuple[Sha256, list[Column]]:
    """The SHA-256 over the whole table, and over each of its columns."""
    kinds = {arrow: kind for kind, arrow in _arrow_types().items()}
    whole, columns = hashlib.sha256(), []
    for field, chunked in zip(table.schema, table.columns, strict=True):
        kind = kinds[field.type]
        alone = hashlib.sha256()
        for part in (
            f"{field.name}\0{kind}\0{len(chunked)}\0".encode(),
            _content(chunked.combine_chunks(), kind).data,
        ):
            whole.update(part)
            alone.update(part)
        columns.append(Column(field.name, kind, alone.hexdigest()))
    return whole.hexdigest(), columns


def _content(array: pa.Array, kind: str) -> Bytes:
    """The bytes of all rows, built by NumPy: a million values take milliseconds."""
    import pyarrow.compute as pc

    is_valid = array.is_valid().to_numpy(zero_copy_only=False)
    filled = array.fill_null("" if kind == "STRING" else False if kind == "BOOL" else 0)
    values = pc.binary_length(filled) if kind == "STRING" else filled
    rows = np.empty(len(array), [("is_valid", "u1"), ("value", _VALUES[kind])])
    rows["is_valid"], rows["value"] = is_valid, values.to_numpy(zero_copy_only=False)
    heads = rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
    is_written = np.ones(heads.shape, dtype=np.bool_)
    is_written[~is_valid, 1:] = False  # a null is only the byte that says so
    if kind != "STRING":
        return heads[is_written]
    return _interleaved(heads[is_written], is_written.sum(axis=1), filled, rows["value"])


def _interleaved(
    heads: Bytes, head_lengths: Lengths, texts: pa.Array, text_lengths: Lengths
) -> Bytes:
    """Head, text, head, text, … in one array."""
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :][: len(texts) + 1]
    body = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    lengths = np.column_stack([head_lengths, text_lengths]).ravel()
    is_head = np.repeat(np.tile([True, False], len(texts)), lengths)
    content = np.empty(len(is_head), np.uint8)
    content[is_head], content[~is_head] = heads, body
    return content


def _arrow_types() -> dict[str, pa.DataType]:
    import pyarrow as pa

    return {
        "STRING": pa.large_string(),
        "INT64": pa.int64(),
        "FLOAT64": pa.float64(),
        "BOOL": pa.bool_(),
    }
