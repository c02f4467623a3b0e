"""A hash per row of a training set, so that it can be told of each row whether it is as it was.

Each row has 16 random bytes of its own, its nonce, and a hash over the nonce and the row's values.
While the nonce is there, whoever has the row can check it. The nonce of a forgotten row is thrown
away: its hash stays in the file, and nobody can find the row by trying, however few ids there are.
One SHA-256 over all the rows' hashes (the root) is kept apart from the file, so that no hash can be
exchanged.

Where the table itself isn't kept, there is a hash of each row's id too, by which the row is found
when it is to be forgotten. Hashes are BLAKE2b (RFC 7693), of 16 bytes for the row and 8 for its id,
with the nonce as salt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from streamflow.hashes import Sha256
from streamflow.scratch import replacement

if TYPE_CHECKING:
    import pyarrow as pa

NONCE_BYTES = 16
_ID_BYTES, _ROW_BYTES, _TEXT_BYTES = 8, 16, 16
_NO_NONCE = bytes(NONCE_BYTES)
_FORMAT = b"streamflow rows 1"
_ROWS_AT_A_TIME = 1 << 16


@dataclass(frozen=True)
class RowHashes:
    """The nonces, the hashes of the rows and those of their ids, each one after the other in the
    rows' order. The nonce and the id's hash of a forgotten row are zeros; `ids` is empty if the
    table is kept."""

    nonces: bytes
    rows: bytes
    ids: bytes

    @property
    def count(self) -> int:
        """How many rows there were."""
        return len(self.rows) // _ROW_BYTES

    @property
    def forgotten(self) -> int:
        """How many of them were forgotten."""
        return sum(nonce == _NO_NONCE for nonce in _pieces(self.nonces, NONCE_BYTES))

    @property
    def root(self) -> Sha256:
        """The SHA-256 over the rows' hashes; forgetting a row doesn't change it."""
        return hashlib.sha256(_FORMAT + self.rows).hexdigest()


def row_hashes(table: pa.Table, randomness: bytes, *, with_ids: bool) -> RowHashes:
    """The hashes of a table as `canonical.table` makes it, whose first column has the ids.

    `randomness` are NONCE_BYTES secret random bytes per row.
    """
    rows = b"".join(map(_of_row, _pieces(randomness, NONCE_BYTES), _contents(table)))
    if not with_ids:
        return RowHashes(randomness, rows, b"")
    ids = map(_of_id, _pieces(randomness, NONCE_BYTES), table.column(0).to_pylist())
    return RowHashes(randomness, rows, b"".join(ids))


def without(hashes: RowHashes, entities: Iterable[str], table: pa.Table | None) -> RowHashes:
    """The hashes after the entities were forgotten, whose rows are still in the table.

    Rows that were forgotten before may be in it or lack. Without a table, each row's hash of its id
    is compared with those of the entities.
    """
    gone = frozenset(entities)
    nonces, ids = bytearray(hashes.nonces), bytearray(hashes.ids)
    for place in _places_by_id(hashes, gone) if table is None else _places(hashes, gone, table):
        nonces[place * NONCE_BYTES : (place + 1) * NONCE_BYTES] = _NO_NONCE
        if ids:
            ids[place * _ID_BYTES : (place + 1) * _ID_BYTES] = bytes(_ID_BYTES)
    return RowHashes(bytes(nonces), hashes.rows, bytes(ids))


def _places(hashes: RowHashes, gone: frozenset[str], table: pa.Table) -> Iterator[int]:
    """The places of the rows that are of the ids `gone` in the table."""
    rows = zip(table.column(0).to_pylist(), _contents(table), strict=True)
    pairs = zip(_pieces(hashes.nonces, NONCE_BYTES), _pieces(hashes.rows, _ROW_BYTES), strict=True)
    for place, (nonce, hashed) in enumerate(pairs):
        if nonce == _NO_NONCE:
            continue
        for entity, content in rows:  # goes on after the row that it ended with
            if _of_row(nonce, content) == hashed:
                if entity in gone:
                    yield place
                break


def _places_by_id(hashes: RowHashes, gone: frozenset[str]) -> Iterator[int]:
    pairs = zip(_pieces(hashes.nonces, NONCE_BYTES), _pieces(hashes.ids, _ID_BYTES), strict=False)
    for place, (nonce, hashed) in enumerate(pairs):
        if nonce != _NO_NONCE and any(_of_id(nonce, one) == hashed for one in gone):
            yield place


def holds(hashes: RowHashes, table: pa.Table) -> bool:
    """Whether the table has the rows that weren't forgotten, and no others, as they were."""
    pairs = zip(_pieces(hashes.nonces, NONCE_BYTES), _pieces(hashes.rows, _ROW_BYTES), strict=True)
    known = [(nonce, row) for nonce, row in pairs if nonce != _NO_NONCE]
    return table.num_rows == len(known) and all(
        _of_row(nonce, content) == row
        for (nonce, row), content in zip(known, _contents(table), strict=True)
    )


def write(hashes: RowHashes, file: Path) -> None:
    """Write the hashes as Parquet; the file is there whole, or as it was."""
    import pyarrow as pa
    import pyarrow.parquet

    table = pa.table(
        {
            name: pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(size), hashes.count, [None, pa.py_buffer(content)]
            )
            for name, size, content in (
                ("nonce", NONCE_BYTES, hashes.nonces),
                ("row", _ROW_BYTES, hashes.rows),
                ("id", _ID_BYTES, hashes.ids),
            )
            if content or not hashes.count
        }
    )
    with replacement(file) as new:
        # Random bytes can't be compressed; and bounds would keep a nonce that is gone.
        pyarrow.parquet.write_table(
            table, new, compression="none", use_dictionary=False, write_statistics=False
        )


def read(file: Path) -> RowHashes:
    """The hashes that `write` wrote. Raises what pyarrow raises for a damaged file."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(file)
    return RowHashes(
        *(
            b"".join(table[name].to_pylist()) if name in table.column_names else b""
            for name in ("nonce", "row", "id")
        )
    )


def _pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def _of_id(nonce: bytes, entity: str) -> bytes:
    return hashlib.blake2b(
        entity.encode(), digest_size=_ID_BYTES, salt=nonce, person=b"id"
    ).digest()


def _of_row(nonce: bytes, row: bytes) -> bytes:
    return hashlib.blake2b(row, digest_size=_ROW_BYTES, salt=nonce).digest()


def _contents(table: pa.Table) -> Iterator[bytes]:
    """Per row the same bytes for the same values: of each column whether the value is null, and the
    value (little-endian; of a text, its BLAKE2b), after the names and types of the columns."""
    head = hashlib.blake2b(str(table.schema.remove_metadata()).encode(), digest_size=16).digest()
    for start in range(0, table.num_rows, _ROWS_AT_A_TIME):
        some = table.slice(start, _ROWS_AT_A_TIME)
        parts = [part for column in some.columns for part in _parts(column.combine_chunks())]
        matrix = np.hstack([np.tile(np.frombuffer(head, np.uint8), (some.num_rows, 1)), *parts])
        yield from _pieces(matrix.tobytes(), matrix.shape[1])


def _parts(array: pa.Array) -> Iterator[npt.NDArray[np.uint8]]:
    """A matrix with a row per value: whether it is null, and its bytes, which are 0 for null."""
    import pyarrow as pa

    is_valid = array.is_valid().to_numpy(zero_copy_only=False)
    yield is_valid.astype(np.uint8)[:, np.newaxis]
    if pa.types.is_large_string(array.type) or pa.types.is_string(array.type):
        encoded = array.dictionary_encode()
        texts = [
            hashlib.blake2b(text.encode(), digest_size=_TEXT_BYTES).digest()
            for text in encoded.dictionary.to_pylist()
        ]
        known = np.frombuffer(b"".join([*texts, bytes(_TEXT_BYTES)]), np.uint8)
        places = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
        yield known.reshape(len(texts) + 1, _TEXT_BYTES)[places]
        return
    filled = array.fill_null(False if pa.types.is_boolean(array.type) else 0)
    values = np.ascontiguousarray(filled.to_numpy(zero_copy_only=False))
    values = values.astype(values.dtype.newbyteorder("<"))
    yield values.view(np.uint8).reshape(len(values), values.dtype.itemsize)
