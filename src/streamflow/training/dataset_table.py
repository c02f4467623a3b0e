"""The training set as one Arrow table: hashed, kept with its run, read back."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

from streamflow.training import canonical
from streamflow.training.fit import TrainingSet
from streamflow.training.served_model import FeatureSchema

TRAINING_SET_FILE = "training_set.parquet"
LABEL = "label"


def of(training_set: TrainingSet) -> Any:
    """The entity, the features in the schema's order and the label, as typed columns."""
    schema = training_set.schema
    return canonical.table(
        [
            (schema.join_key, "STRING", training_set.entities),
            *((one.name, one.type, training_set.columns[one.name]) for one in schema.features),
            (LABEL, "BOOL", training_set.labels),
        ]
    )


def joined(rows: Any, schema: FeatureSchema, label: str) -> Any:
    """The same table out of an Arrow table that has these columns among others."""
    return canonical.table(
        [
            (schema.join_key, "STRING", rows[schema.join_key]),
            *((one.name, one.type, rows[one.name]) for one in schema.features),
            (LABEL, "BOOL", rows[label]),
        ]
    )


def data_hash(training_set: TrainingSet) -> str:
    """SHA-256 over the whole training set in canonical order and types."""
    return canonical.hashes(of(training_set))[0]


def training_set(table: Any, schema: FeatureSchema, as_of: date, known_at: datetime) -> TrainingSet:
    """The table's rows as a training set with the features of `schema`, which it must have."""
    return TrainingSet(
        schema=schema,
        entities=table.column(0).to_pylist(),
        columns={one.name: table[one.name].to_pylist() for one in schema.features},
        labels=table.column(table.num_columns - 1).to_pylist(),
        as_of=as_of,
        known_at=known_at,
    )


def write(table: Any, file: Path) -> None:
    """The table as Parquet, the same bytes for the same rows."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, file, compression="zstd", use_dictionary=False)


def read(file: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(file)
