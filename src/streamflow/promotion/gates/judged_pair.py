"""The scores of two versions on the same rows, whose labels are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from streamflow.training.served_model import Labels, Matrix


@dataclass(frozen=True)
class JudgedPair:
    """Scores of the candidate and of the current version on rows that neither was trained on.

    `source` says in words which rows they are, as in `2024-03-31` or `the validation rows of both`.
    `labels` are 0 or 1, scores are probabilities of 1; each is one per row: (rows,).
    `current_scores` is None if no version is in Production. `entities` names each row's entity
    where one may have several rows. `segments` has, by `table.column`, each row's value, None where
    it is null. `twins` are the versions some of whose scores are of a twin that was fitted without
    the rows.
    """

    source: str
    labels: Labels
    candidate_scores: Matrix
    current_scores: Matrix | None
    entities: Sequence[str] | None = None
    segments: Mapping[str, Sequence[object]] = field(default_factory=dict)
    twins: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.labels)

    @property
    def positives(self) -> int:
        """How many labels are true."""
        return int(np.sum(self.labels == 1))

    @property
    def negatives(self) -> int:
        """How many labels are false."""
        return self.rows - self.positives

    def at(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.integer]) -> JudgedPair:
        """The pair on some of the rows: a mask, or positions."""
        positions = np.arange(self.rows)[rows].tolist()
        return replace(
            self,
            labels=self.labels[rows],
            candidate_scores=self.candidate_scores[rows],
            current_scores=None if self.current_scores is None else self.current_scores[rows],
            entities=None if self.entities is None else [self.entities[row] for row in positions],
            segments={
                name: [values[row] for row in positions] for name, values in self.segments.items()
            },
        )
