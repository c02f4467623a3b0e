"""A run and a model version, however they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.registry.stages import ALIASES
from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    from pandas import DataFrame

MODEL_HASH_TAG = "streamflow.model_hash"

# Metrics of a run whose names begin so were measured afterwards, on another month's rows.
EVALUATED = "evaluated/"

# The hash of the rows that judged the model: two figures are comparable where it is the same.
JUDGED_ROWS_TAG = "streamflow.judged_rows_hash"

# The operating system's user who trained the model.
TRAINED_BY_TAG = "streamflow.trained_by"

# Which rows judged the model, in a sentence. A run of old has no such tag: there was one way then.
JUDGED_ON_TAG = "streamflow.judged_on"
JUDGED_AT_RANDOM = (
    "Judged on a random part of the same month's rows: this says nothing about next month."
)


@dataclass(frozen=True)
class ModelVersion:
    """A registered version; `metrics` are those of its training, `model_hash` is of its served
    form. `judged_on` says in a sentence which rows the metrics are of, `judged_rows` is their hash,
    empty where it isn't known.
    """

    name: str
    version: int
    run_id: str
    stage: str
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    model_hash: str
    judged_on: str = ""
    judged_rows: str = ""

    @property
    def identity(self) -> tuple[str, int, str]:
        """What it stays the same model by, whatever its stage, aliases and metrics are."""
        return self.name, self.version, self.model_hash


@dataclass(frozen=True)
class Run:
    """A training in MLflow, finished or not; `metrics` are those of the training alone."""

    run_id: str
    status: str
    started_at: float  # seconds since 1970, UTC
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]

    @property
    def judged_on(self) -> str:
        """Which rows the metrics are of, in a sentence."""
        return self.tags.get(JUDGED_ON_TAG, JUDGED_AT_RANDOM)


@dataclass(frozen=True)
class TrialRecord:
    """What MLflow stores of a search's trial; a metric has a value for each fold."""

    name: str
    params: Mapping[str, object]
    metrics: Mapping[str, Sequence[float]]
    tags: Mapping[str, str]
    failed: bool


@dataclass(frozen=True)
class RunRecord:
    """What MLflow stores of a finished training."""

    params: Mapping[str, object]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifacts: Path  # a folder of files and plots
    served_form: Path  # a folder as `served_model.load` reads it
    schema: FeatureSchema
    input_example: DataFrame  # of a few rows
    requirements: list[str]
    trials: Sequence[TrialRecord] = ()


@dataclass(frozen=True)
class Placed:
    """Who is in the stages of one version, Production and Staging, and where their aliases point.

    `versions` are by stage, without aliases and metrics; an empty stage lacks.
    """

    versions: Mapping[str, ModelVersion]
    aliases: Mapping[str, int]

    @classmethod
    def of(cls, versions: Iterable[ModelVersion], aliases: Mapping[str, int]) -> Placed:
        """Of all versions, the highest in each stage; aliases of ours alone."""
        found: dict[str, ModelVersion] = {}
        for one in versions:
            if one.stage in ALIASES and one.version > _number(found.get(one.stage)):
                found[one.stage] = one
        ours = {name: number for name, number in aliases.items() if name in ALIASES.values()}
        return cls(found, ours)


def _number(version: ModelVersion | None) -> int:
    return version.version if version is not None else 0
