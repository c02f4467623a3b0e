"""Tables that a notebook gets: Arrow, and from there pandas, polars or DuckDB."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, repr=False)
class ArrowTable:
    """A table in `arrow`. Whatever takes Arrow's PyCapsule stream takes it: `polars.DataFrame(t)`,
    `pyarrow.table(t)`, DuckDB."""

    arrow: pa.Table

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return list(self.arrow.column_names)

    def to_pandas(self) -> pd.DataFrame:
        """The table as a pandas DataFrame.

        Whole numbers and booleans have pandas' types that know null (`Int64`, `boolean`), so that a
        null doesn't turn them into floats or objects.
        """
        import pandas as pd
        import pyarrow as pa

        types = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        frame: pd.DataFrame = self.arrow.to_pandas(types_mapper=types.get)
        return frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Arrow's PyCapsule interface."""
        return self.arrow.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self):,} rows: {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        """The first rows, as a notebook shows them."""
        html: Any = type(self)(self.arrow.slice(0, 5)).to_pandas().to_html(index=False)
        return f"<p>{len(self):,} rows</p>{html}"


@dataclass(frozen=True, repr=False)
class TrainingSetTable(ArrowTable):
    """The rows that a training learns from: the entity, `as_of` if they are of several months, the
    features, and `label`.

    `months` are the as_ofs; only what was recorded by `known_at` (UTC) is used. `data_hash`
    (SHA-256) is the one that a run trained on these rows records. `without_label` and
    `without_features` count the rows that were left out.
    """

    months: tuple[date, ...] = ()
    known_at: datetime | None = None
    data_hash: str = ""
    without_label: int = 0
    without_features: int = 0


@dataclass(frozen=True, repr=False)
class ScoresTable(ArrowTable):
    """The scores of `version` of the month `as_of`, by rank."""

    version: int = 0
    as_of: date | None = None
    scored_at: datetime | None = None
