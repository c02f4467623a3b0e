"""The data of a training: the training set's hashes, and the ingestions it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from pydantic import AwareDatetime

from streamflow.features.point_in_time import Assembled
from streamflow.hashes import Sha256
from streamflow.history.ingestions import Ingestion
from streamflow.training import canonical
from streamflow.training.canonical import Column


@dataclass(frozen=True)
class Data:
    """The training set of `months` as known at `known_at` (UTC), and who isn't in it, by reason.

    `as_of` is the newest month, and the only one where `months` is empty (as in documents of old).
    `without_row` counts by table those who aren't in it because they have no row there,
    `taken_as_null` those who have none and are in it, with nulls. `premature_labels` counts those
    without a label but one that was recorded before it could be known. `sample_bound` is that of
    the configuration's sample, None where all entities were taken.
    """

    as_of: date
    known_at: AwareDatetime
    hash: Sha256
    rows: int
    without_label: int
    without_features: int
    columns: list[Column]
    ingestions: list[Ingestion]
    without_row: dict[str, int] = field(default_factory=dict)
    taken_as_null: dict[str, int] = field(default_factory=dict)
    months: list[date] = field(default_factory=list)
    premature_labels: int = 0
    sample_bound: str | None = None

    @property
    def every_month(self) -> list[date]:
        """The as_ofs whose rows are trained on or judged, ascending."""
        return self.months or [self.as_of]


def data(assembled: Assembled) -> Data:
    """The fingerprint of a training set."""
    table_hash, columns = canonical.hashes(assembled.table)
    return Data(
        as_of=assembled.training_set.as_of,
        known_at=assembled.training_set.known_at,
        hash=table_hash,
        rows=assembled.table.num_rows,
        without_label=assembled.without_label,
        without_features=assembled.without_features,
        columns=columns,
        ingestions=assembled.ingestions,
        without_row=assembled.without_row,
        taken_as_null=assembled.taken_as_null,
        months=assembled.training_set.months,
        premature_labels=assembled.premature_labels,
        sample_bound=assembled.sample.bound if assembled.sample is not None else None,
    )
