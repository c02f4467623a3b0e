"""What a contact is expected to bring. Pure."""

from __future__ import annotations

import numpy as np

from streamflow.training.served_model import Matrix
from streamflow.use_case.value import Value


def worth(value: Value, column: Matrix | None, entities: int) -> Matrix:
    """What each entity is worth: (entities,), in the unit of the value.

    `column` is the value's column by entity: (entities,), NaN where it isn't known. None where the
    value has no column.
    """
    if column is None:
        return np.full(entities, value.each, dtype=np.float64)
    return np.asarray(column * value.months, dtype=np.float64)


def expected_values(probabilities: Matrix, worth: Matrix, value: Value) -> Matrix:
    """The expected value of contacting each entity: probability · worth · success - cost.

    All are (entities,); NaN where the worth isn't known.
    """
    return probabilities * worth * value.success - value.cost
