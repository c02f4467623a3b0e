"""An Arrow table as a file: Parquet or CSV, by the ending of its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.scratch import replacement
from streamflow.training import dataset_table

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = (".csv", ".parquet")


def write(table: pa.Table, file: Path) -> None:
    """Write the table; the file gets its name when it is complete, and replaces an older one.

    In CSV, texts are in quotes, and nothing stands for null. Parquet has the same bytes for the
    same rows. Raises OSError if the file can't be written, ValueError for another ending.
    """
    kind = file.suffix.casefold()
    if kind not in KINDS:
        raise ValueError(f"{file} says by its ending neither CSV nor Parquet")
    with replacement(file) as temporary:
        if kind == ".parquet":
            dataset_table.write(table, temporary)
        else:
            import pyarrow.csv

            pyarrow.csv.write_csv(table, temporary)
