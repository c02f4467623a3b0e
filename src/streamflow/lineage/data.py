"""The data of a training: the training set's hashes, and the ingestions it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from pydantic import AwareDatetime

from streamflow.hashes import Sha256
from streamflow.history.ingestions import Ingestion
from streamflow.training import canonical
from streamflow.training.canonical import Column

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Data:
    """The training set of `as_of` as known at `known_at` (UTC), and who isn't in it, by reason."""

    as_of: date
    known_at: AwareDatetime
    hash: Sha256
    rows: int
    without_label: int
    without_features: int
    columns: list[Column]
    ingestions: list[Ingestion]


def data(
    table: pa.Table,
    as_of: date,
    known_at: datetime,
    left_out: tuple[int, int],
    ingestions: list[Ingestion],
) -> Data:
    """The fingerprint of a training set, given as an Arrow table.

    `left_out` counts the entities without a label, and those without all features.
    """
    table_hash, columns = canonical.hashes(table)
    without_label, without_features = left_out
    return Data(
        as_of=as_of,
        known_at=known_at,
        hash=table_hash,
        rows=table.num_rows,
        without_label=without_label,
        without_features=without_features,
        columns=columns,
        ingestions=ingestions,
    )
