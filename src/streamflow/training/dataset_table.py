"""A training set as one Arrow table: hashed, stored with its run, read back.

Its columns are the entity, the as_of if the rows are of several months, the features in the
schema's order, and the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.training import canonical
from streamflow.training.dataset import FeatureValues, TrainingSet
from streamflow.training.rows.days import Days
from streamflow.training.rows.entities import Entities
from streamflow.training.served_model import CodedTexts, Feature, FeatureSchema

if TYPE_CHECKING:
    import pyarrow as pa

TRAINING_SET_FILE = "training_set.parquet"
AS_OF = "as_of"
LABEL = "label"


def dataset_table(
    rows: pa.Table,
    schema: FeatureSchema,
    label: str,
    as_ofs: pa.Array | pa.ChunkedArray | None = None,
) -> pa.Table:
    """The training set's table, made from a table that has these columns and may have more.

    `as_ofs` (as text, YYYY-MM-DD) are the rows' own where there are several months. A training set
    of one month has no such column, so that its hash is the one that it always had.
    """
    return canonical.table(
        [
            (schema.join_key, "STRING", rows[schema.join_key]),
            *([] if as_ofs is None else [(AS_OF, "STRING", as_ofs)]),
            *((one.name, one.type, rows[one.name]) for one in schema.features),
            (LABEL, "BOOL", rows[label]),
        ]
    )


def of_months(tables: Sequence[pa.Table]) -> pa.Table:
    """The tables of several months, oldest first, as one; no value is copied."""
    import pyarrow as pa

    return pa.concat_tables(tables)


def row_names(table: pa.Table) -> pa.ChunkedArray:
    """What tells the rows of a table apart: the entity, and its as_of where there are several."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = table.column(0)
    if AS_OF not in table.column_names:
        return names
    as_ofs = table[AS_OF].cast(pa.large_string())
    return pc.binary_join_element_wise(names, as_ofs, pa.scalar(" at ", pa.large_string()))


def training_set(
    table: pa.Table, schema: FeatureSchema, as_of: date, known_at: datetime
) -> TrainingSet:
    """The table's rows as a training set with the features of `schema`, which it must have.

    `as_of` is of the rows of a table that has no column for it.
    """
    return TrainingSet(
        schema=schema,
        entities=Entities(table.column(0)),
        as_ofs=as_ofs(table, as_of),
        columns={one.name: values(table, one) for one in schema.features},
        labels=table.column(table.num_columns - 1).to_numpy(),
        known_at=known_at,
    )


def as_ofs(table: pa.Table, as_of: date) -> Days:
    """The as_of of each row; `as_of` where the table is of one month."""
    if AS_OF not in table.column_names:
        return Days.repeated(as_of, table.num_rows)
    return Days.of_texts(table[AS_OF])


def with_as_of(table: pa.Table, as_of: date) -> pa.Table:
    """The table with a column for the as_of, which it has already if it is of several months."""
    import pyarrow as pa

    if AS_OF in table.column_names:
        return table
    column = pa.repeat(pa.scalar(as_of.isoformat(), pa.large_string()), table.num_rows)
    return table.add_column(1, AS_OF, column)


def values(table: pa.Table, feature: Feature) -> FeatureValues:
    """A value per row as a training set has them. A number per row, and no object, where it can be:
    a million rows of fifteen features are 0.1 GB instead of 0.6."""
    import pyarrow as pa

    column = table[feature.name]
    if feature.type == "STRING":
        return _coded(column)
    if feature.type == "BOOL":
        column = column.cast(pa.uint8())
    # NaN for null. An integer beyond 2^53 is rounded, as the model's own matrix has it.
    numbers: FeatureValues = column.cast(pa.float64(), safe=False).to_numpy()
    return numbers


def _coded(column: pa.ChunkedArray) -> CodedTexts:
    coded = column.combine_chunks().dictionary_encode()
    texts = coded.dictionary.to_pylist()
    return CodedTexts(coded.indices.fill_null(len(texts)).to_numpy().astype("int64"), texts)


def write(table: pa.Table, file: Path) -> None:
    """Write the table as Parquet: the same bytes for the same rows, whatever their batches."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(
        table.combine_chunks(), file, compression="zstd", use_dictionary=False
    )


def read(file: Path) -> pa.Table:
    """The table that `write` wrote. Raises what pyarrow raises for a damaged file."""
    import pyarrow.parquet

    table: pa.Table = pyarrow.parquet.read_table(file)
    return table
