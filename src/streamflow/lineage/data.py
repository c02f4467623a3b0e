"""What a training learnt from: the training set's hashes, and the files that it goes back to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic import AwareDatetime

from streamflow.hashes import Sha256
from streamflow.history.ingestions import Ingestion
from streamflow.training import canonical
from streamflow.training.canonical import Column


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
    table: Any,
    as_of: date,
    known_at: datetime,
    left_out: tuple[int, int],
    ingestions: list[Ingestion],
) -> Data:
    """`table` is the training set's; `left_out` are those without label and without features."""
    whole, columns = canonical.hashes(table)
    without_label, without_features = left_out
    return Data(
        as_of=as_of,
        known_at=known_at,
        hash=whole,
        rows=table.num_rows,
        without_label=without_label,
        without_features=without_features,
        columns=columns,
        ingestions=ingestions,
    )
