"""DuckDB reads files of an object store by the library that writes them: pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fsspec.implementations.arrow import ArrowFSWrapper
from pyiceberg.io.pyarrow import PyArrowFileIO

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.catalog import Catalog


def register_object_store(
    duckdb: DuckDBPyConnection, catalog: Catalog, location: str, scheme: str
) -> None:
    """Let DuckDB read addresses of the scheme, as `catalog` reaches them."""
    io = PyArrowFileIO(catalog.properties)
    bucket = location.removeprefix(f"{scheme}://").partition("/")[0]
    # Whose protocol is the name of pyarrow's class otherwise: `gcs` for `gs`.
    kind = type("ObjectStore", (ArrowFSWrapper,), {"protocol": scheme})
    duckdb.register_filesystem(kind(io.fs_by_scheme(scheme, bucket)))
