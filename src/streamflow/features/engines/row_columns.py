"""The columns of everyone's rows, as a scoring reads them; executors of Spark import it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    import pyarrow as pa


def time_of(view: str) -> str:
    """The column with the event timestamp of a view's row."""
    return f"{view}__event_timestamp"


def row_batch(joined: pa.RecordBatch, schema: FeatureSchema) -> pa.RecordBatch:
    """The joined rows with the columns that `month_rows` describes, in their order and types."""
    import pyarrow as pa

    types = {
        "STRING": pa.large_string(),
        "INT64": pa.int64(),
        "FLOAT64": pa.float64(),
        "BOOL": pa.bool_(),
    }
    wanted = {
        schema.join_key: pa.large_string(),
        **{one.name: types[one.type] for one in schema.features},
        **{time_of(view): pa.timestamp("us", "UTC") for view in schema.views},
    }
    return pa.RecordBatch.from_arrays(
        [joined.column(name).cast(kind) for name, kind in wanted.items()],
        schema=pa.schema(wanted.items()),
    )
