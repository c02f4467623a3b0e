"""The contract between the machinery and a use case: what another team writes to bring its own.

Everything that costs time to import (Feast, pandera, scikit-learn) is behind a function, so that
importing a use case does nothing and takes no time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from streamflow.errors import InvalidSettings

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema


@dataclass(frozen=True)
class Table:
    """A source table: one file a month, one row per entity.

    `contract` is a pandera `DataFrameSchema` with one `Column` per column of the file, the entity
    key among them. Column types: `string`, `Int64`, `Float64`, `boolean` or `date`.
    A table that `arrives_later` (labels with a horizon) may be absent from a month folder.
    """

    name: str
    contract: DataFrameSchema
    arrives_later: bool = False

    @property
    def history(self) -> str:
        """The name of the table with its history."""
        return f"{self.name}_history"


@dataclass(frozen=True)
class Label:
    """The answer to learn: a boolean column, known `horizon` after the as_of that it speaks of."""

    table: str
    column: str
    horizon: timedelta = timedelta(0)


@dataclass(frozen=True)
class Generation:
    """What to generate: `months` folders `month_000`, `month_001`, … of `users` entities each.

    The same generation gives the same bytes. `drift` 0 keeps every month alike; 1 moves the
    distributions by about one standard deviation over a year. `progress` is told each file written.
    """

    folder: Path
    users: int
    months: int
    seed: int
    drift: float = 0.0
    progress: Callable[[str], None] = field(default=lambda file: None, compare=False)


class Estimator(Protocol):
    """A scikit-learn classifier of two classes, as far as it is used here."""

    def get_params(self) -> dict[str, Any]:
        """Its parameters by name, those of its parts among them."""

    def set_params(self, **parameters: Any) -> Estimator:
        """Change parameters; returns the estimator itself."""

    def fit(self, features: Any, labels: Any) -> object:
        """Fit to a float64 matrix (rows, columns) and labels of 0 or 1 (rows,)."""

    def predict(self, features: Any) -> Any:
        """A label per row."""

    def predict_proba(self, features: Any) -> Any:
        """The probabilities of 0 and of 1 per row: (rows, 2)."""


# Makes an unfitted estimator from a random_state.
EstimatorBuilder = Callable[[int], Estimator]


@dataclass(frozen=True)
class UseCase:
    """Everything that is particular to one prediction task; `streamflow` itself knows no column.

    `features` returns the Feast objects to apply: entities, feature views and one feature service
    named `feature_service`. `models` builds, by name, an unfitted scikit-learn classifier over a
    matrix of float64 from a random_state. `acceptance` holds, per metric, the least value with
    which a version may go to Production. `validation_share` of the rows judge a model, the others
    make it.
    """

    name: str
    registered_model: str
    join_key: str
    entity_table: str
    tables: Callable[[], tuple[Table, ...]]
    label: Label
    features: Callable[[], list[Any]]
    feature_service: str
    models: Mapping[str, EstimatorBuilder]
    default_model: str
    acceptance: Mapping[str, float]
    validation_share: float = 0.25
    generate: Callable[[Generation], None] | None = None


def load_use_case(dotted_path: str) -> UseCase:
    """The `use_case` of the module at `dotted_path`.

    Raises InvalidSettings if there is no such module, or no `use_case: UseCase` in it.
    """
    try:
        module = importlib.import_module(dotted_path)
    except (ImportError, TypeError, ValueError) as error:
        raise InvalidSettings(
            f"The use case {dotted_path!r} can't be imported: {error}.",
            "Set STREAMFLOW_USE_CASE to the dotted path of a module on PYTHONPATH.",
        ) from error
    use_case = getattr(module, "use_case", None)
    if not isinstance(use_case, UseCase):
        raise InvalidSettings(
            f"The module {dotted_path!r} has no `use_case` of type streamflow.use_case.UseCase.",
            "Add one; `src/churn/__init__.py` shows how.",
        )
    return use_case
