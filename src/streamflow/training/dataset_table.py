"""A training set as one Arrow table: hashed, stored with its run, read back.

Its columns are the entity, the features in the schema's order, and the label.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.training import canonical
from streamflow.training.dataset import TrainingSet
from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    import pyarrow as pa

TRAINING_SET_FILE = "training_set.parquet"
LABEL = "label"


def dataset_table(rows: pa.Table, schema: FeatureSchema, label: str) -> pa.Table:
    """The training set's table, made from a table that has these columns and may have more."""
    return canonical.table(
        [
            (schema.join_key, "STRING", rows[schema.join_key]),
            *((one.name, one.type, rows[one.name]) for one in schema.features),
            (LABEL, "BOOL", rows[label]),
        ]
    )


def training_set(
    table: pa.Table, schema: FeatureSchema, as_of: date, known_at: datetime
) -> TrainingSet:
    """The table's rows as a training set with the features of `schema`, which it must have."""
    return TrainingSet(
        schema=schema,
        entities=table.column(0).to_pylist(),
        columns={one.name: table[one.name].to_pylist() for one in schema.features},
        labels=table.column(table.num_columns - 1).to_pylist(),
        as_of=as_of,
        known_at=known_at,
    )


def write(table: pa.Table, file: Path) -> None:
    """Write the table as Parquet: the same bytes for the same rows."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, file, compression="zstd", use_dictionary=False)


def read(file: Path) -> pa.Table:
    """The table that `write` wrote. Raises what pyarrow raises for a damaged file."""
    import pyarrow.parquet

    table: pa.Table = pyarrow.parquet.read_table(file)
    return table
