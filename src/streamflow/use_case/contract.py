"""The contract between StreamFlow and a use case: what a team writes to bring its own.

What takes time to import (Feast, pandera, scikit-learn) is imported inside functions, so that
importing a use case does nothing and is fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from streamflow.progress import Progress, silent
from streamflow.use_case.csv_form import Csv
from streamflow.use_case.events import Events, derived_contract
from streamflow.use_case.gates import Gates
from streamflow.use_case.label import Label
from streamflow.use_case.monitoring import Monitoring
from streamflow.use_case.phrases import Phrases
from streamflow.use_case.retraining import Retraining
from streamflow.use_case.search_space import SearchSpace
from streamflow.use_case.value import Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pandera.pandas import DataFrameSchema


Absent = Literal["refuse", "null"]
Unseen = Literal["refuse", "warn", "other"]


@dataclass(frozen=True)
class Table:
    """A source table: one file a month, one row per entity.

    `contract` is a pandera `DataFrameSchema` with one `Column` per column of the file, the entity
    key among them. Column types: `string`, `Int64`, `Float64`, `boolean` or `date`.
    A file may lack a column with `required=False`; its rows haven't recorded it then. A column that
    has another name than before is in `renamed_from`, by its name of today the one before.
    A month folder may lack the file of a table that `arrives_later` (labels with a horizon). With
    `extra_columns="ignore"`, files may have columns that the contract doesn't have.
    `absent` is for an entity without a row in this table that is young enough for the feature
    view: it is neither trained on nor predicted for ("refuse"), or its features of this table are
    null, in training and in predictions alike ("null"). Each model keeps the rule that it was
    trained by.
    The files are named after the table unless `file` has another name, without its ending. Of an
    Excel workbook the sheet is read that is named in `sheet`, or the only one. A column that has
    another name in the files is in `in_file`, by its name here the one there. `read_columns` is for
    columns whose values are written otherwise than `read` says, by their names here; separator and
    encoding are the file's and stay those of `read`.
    With `events`, the file has events instead of a row per entity, and `contract` is left out: its
    columns are the aggregations of the events.
    The dates in `not_after_as_of` are never later than the as_of of their rows, as the day on which
    somebody signed up isn't: so a later month's folder is told from this one's.
    """

    name: str
    contract: DataFrameSchema = None  # with `events`, made of them
    arrives_later: bool = False
    read: Csv = field(default_factory=Csv)
    extra_columns: Literal["refuse", "ignore"] = "refuse"
    absent: Absent = "refuse"
    renamed_from: Mapping[str, str] = field(default_factory=dict)
    not_after_as_of: tuple[str, ...] = ()
    file: str = ""
    sheet: str = ""
    in_file: Mapping[str, str] = field(default_factory=dict)
    events: Events | None = None
    read_columns: Mapping[str, Csv] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the contract of the aggregations."""
        if self.events is not None and self.contract is None:
            object.__setattr__(self, "contract", derived_contract(self.events))

    def read_of(self, column: str) -> Csv:
        """How the column's values are written."""
        return self.read_columns.get(column, self.read)

    @property
    def history(self) -> str:
        """The name of the table with its history."""
        return self.history_of(self.name)

    @staticmethod
    def history_of(name: str) -> str:
        """The name of the table with the history of the table `name`."""
        return f"{name}_history"


@dataclass(frozen=True)
class Generation:
    """What to generate: `months` folders `month_000`, `month_001`, … of `users` entities each.

    The same generation gives the same bytes. `drift` 0 keeps every month alike; 1 moves the
    distributions by about one standard deviation over a year. `rule_drift` 1 replaces the rule from
    features to the label by another one over a year. `progress` is called with each file that was
    written.
    """

    folder: Path
    users: int
    months: int
    seed: int
    drift: float = 0.0
    progress: Progress = field(default=silent, compare=False)
    rule_drift: float = 0.0


class Estimator(Protocol):
    """A scikit-learn classifier of two classes, as far as it is used here."""

    def get_params(self) -> dict[str, object]:
        """Its parameters by name, including those of nested estimators."""

    def set_params(self, **parameters: object) -> Estimator:
        """Change parameters; returns the estimator itself."""

    def fit(self, features: NDArray[np.float64], labels: NDArray[np.integer]) -> object:
        """Fit to a float64 matrix (rows, columns) and labels of 0 or 1 (rows,)."""

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.integer]:
        """A label per row."""

    def predict_proba(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probabilities of 0 and of 1 per row: (rows, 2)."""


# Builds an unfitted estimator from a random_state.
EstimatorBuilder = Callable[[int], Estimator]


@dataclass(frozen=True)
class UseCase:
    """Everything that is particular to one prediction task; `streamflow` itself names no column.

    `features` returns the Feast objects to apply: entities, feature views and one feature service
    named `feature_service`. `models` holds, by name, functions that build an unfitted classifier
    from a random_state. `acceptance` holds, per metric, the lowest value with which a version may
    go to Production, and `gates` the bounds of the other gates. A model is evaluated on
    `validation_share` of the rows and fitted to the others.

    `unseen` says, by feature, what is done with a value that training never saw: a category of a
    String, or a null where no row of the training set had one. "refuse", which is the rule for
    features without an entry: no prediction. "warn": a prediction, with a warning in it. "other",
    for a String alone: a prediction as for none of the known categories, without a warning. Each
    model keeps the rule that it was trained by.

    `departed_after` says how long an entity is predicted for after it has left: an entity whose
    newest row is older than the newest month by more than this has no prediction. 0 is for those
    that the newest month lacks; None, which is the default, sets no end of its own. Each model
    keeps the rule that it was trained by.

    `monitoring` has the bounds beyond which a month raises alarms, `retraining` says when they lead
    to another training.

    `value` says what it is worth to contact an entity, by which lists are ordered; without it they
    are ordered by probability. `risk_bands` holds names for people who read lists, each with the
    lowest probability of its band. `phrases` says, by feature, how it is spoken of in a reason for
    a score; a feature without one is called by its name.

    `search` has, by model, the values of its parameters among which `train --search` looks for the
    best ones; a model without an entry is tried as it is built.

    Two ids that look the same, such as `abc` and `abc ` or one letter written in two ways, are
    refused at ingest as likely the same entity, unless `similar_ids` is "allow".
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
    unseen: Mapping[str, Unseen] = field(default_factory=dict)
    departed_after: timedelta | None = None
    generate: Callable[[Generation], None] | None = None
    similar_ids: Literal["refuse", "allow"] = "refuse"
    gates: Gates = field(default_factory=Gates)
    monitoring: Monitoring = field(default_factory=Monitoring)
    retraining: Retraining = field(default_factory=Retraining)
    value: Value | None = None
    risk_bands: Mapping[str, float] = field(default_factory=dict)
    phrases: Phrases = field(default_factory=dict)
    search: Mapping[str, SearchSpace] = field(default_factory=dict)
