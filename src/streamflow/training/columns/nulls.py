"""Trees that decide about nulls themselves, which have no form outside of LightGBM and XGBoost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from streamflow.training.columns.outputs import Unproved


def require_no_split_by_null(estimator: object) -> None:
    """Raises Unproved if a scikit-learn tree, in whatever it is inside, splits off its nulls.

    Such a split has an infinite threshold, on which skl2onnx doesn't end.
    """
    for tree in _trees(estimator):
        if np.isinf(tree.threshold).any():
            raise Unproved(
                f"nulls that reach {type(estimator).__name__}; put SimpleImputer in front of it"
            )


def _trees(part: Any) -> Iterator[Any]:
    if isinstance(part, list | tuple):
        inside: Any = part
    elif isinstance(part, np.ndarray) and part.dtype == object:
        inside = part.ravel()
    elif type(part).__name__ == "Tree":
        yield part
        return
    elif hasattr(part, "get_params") or type(part).__name__ == "_CalibratedClassifier":
        inside = [*vars(part).values()]
    else:
        return
    for one in inside:
        yield from _trees(getattr(one, "tree_", one))
