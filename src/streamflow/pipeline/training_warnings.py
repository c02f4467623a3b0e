"""What should be known beside a training's figures, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streamflow.features.point_in_time import Assembled
from streamflow.progress import Progress, silent
from streamflow.training import evaluation, training_set_warnings
from streamflow.training.candidate import Candidate
from streamflow.training.fit import Fitted


def training_warnings(
    trained: Candidate, assembled: Assembled, progress: Progress = silent
) -> list[str]:
    """What can't be told from so few rows, and which features tell nothing, everything, or other
    than they did."""
    progress("look at each feature")
    return [
        *evaluation.too_few_to_tell(trained.judged.validation_labels),
        *_unjudged(trained.judged),
        *map(str, assembled.unrecorded),
        *training_set_warnings.training_set_warnings(assembled.table, trained.fitted.schema),
        *_shifted(trained, assembled),
    ]


def _shifted(trained: Candidate, assembled: Assembled) -> list[str]:
    """Which feature has other values in the months that judge, where they are later months."""
    days = assembled.training_set.days
    learned, judging = (
        np.unique(days[rows]).tolist()
        for rows in (trained.judged.training_rows, trained.judged.validation_rows)
    )
    if not learned or not judging or learned[-1] >= judging[0]:
        return []
    return training_set_warnings.most_shifted(
        assembled.table, trained.fitted.schema, learned, judging
    )


def _unjudged(judged: Fitted) -> Iterator[str]:
    if judged.unjudged_rows:
        yield (
            f"{judged.unjudged_rows:,} validation rows have a value that training never saw: the "
            "model has no prediction for them, and they don't judge it."
        )
