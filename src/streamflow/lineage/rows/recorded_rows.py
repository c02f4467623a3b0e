"""The tables that a run stores, checked by their hash, or row by row where a row was forgotten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.lineage.rows import row_hashes
from streamflow.lineage.rows.row_hashes import RowHashes
from streamflow.training import canonical, dataset_table
from streamflow.training.candidate import SCORES_FILE
from streamflow.training.dataset_table import TRAINING_SET_FILE

if TYPE_CHECKING:
    import pyarrow as pa

# By file the run's tag with the root of its rows' hashes.
ROOT_TAGS = {
    TRAINING_SET_FILE: "streamflow.training_rows_hash",
    SCORES_FILE: "streamflow.validation_rows_hash",
}


def hashes_file(file: Path) -> Path:
    """The file with the hashes of the rows of `file`, beside it: `training_set.rows.parquet`."""
    return file.with_name(f"{file.stem}.rows.parquet")


@dataclass(frozen=True)
class RecordedRows:
    """A table of a run. `table` is None if it wasn't stored, or isn't what was recorded; it has no
    forgotten rows. `hashes` is None if there are none, or they aren't the recorded ones.
    """

    table: pa.Table | None
    hashes: RowHashes | None

    @property
    def forgotten(self) -> int:
        """How many rows were forgotten, as far as is known."""
        return self.hashes.forgotten if self.hashes is not None else 0


def read(
    name: str, expected: str, root: str | None, fetch: Callable[[str], Path | None]
) -> RecordedRows:
    """The table of the file `name`, whose hash was `expected` and whose rows' root is `root`.

    `fetch` returns a copy of one of the run's files, None if there is no such file.
    """
    file, beside = fetch(name), fetch(hashes_file(Path(name)).name)
    hashes = _hashes(beside, root) if beside is not None and root else None
    table = _table(file) if file is not None else None
    if table is not None and canonical.hashes(table)[0] != expected:
        sound = hashes is not None and hashes.forgotten and row_hashes.holds(hashes, table)
        table = table if sound else None
    return RecordedRows(table, hashes)


def keep(
    folder: Path, training_set: pa.Table, scores: pa.Table, randomness: Callable[[int], bytes]
) -> dict[str, str]:
    """Write the hashes of the rows of both tables into the folder, where the tables are that are
    kept; returns the run's tags.

    `randomness` returns so many secret random bytes, which decide nothing of the model.
    """
    tags = {}
    for table, name in ((training_set, TRAINING_SET_FILE), (scores, SCORES_FILE)):
        random = randomness(row_hashes.NONCE_BYTES * table.num_rows)
        hashes = row_hashes.row_hashes(table, random, with_ids=not (folder / name).exists())
        row_hashes.write(hashes, hashes_file(folder / name))
        tags[ROOT_TAGS[name]] = hashes.root
    return tags


def _table(file: Path) -> pa.Table | None:
    try:
        return dataset_table.read(file)
    except (OSError, ValueError, KeyError):  # pyarrow raises these for a damaged file
        return None


def _hashes(file: Path, root: str) -> RowHashes | None:
    try:
        hashes = row_hashes.read(file)
    except (OSError, ValueError, KeyError):
        return None
    return hashes if hashes.root == root else None
