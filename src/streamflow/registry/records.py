"""What is known of a run and of a model version, whoever keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamflow.training.served_model import FeatureSchema

MODEL_HASH_TAG = "streamflow.model_hash"


@dataclass(frozen=True)
class ModelVersion:
    name: str
    version: int
    run_id: str
    stage: str
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    model_hash: str


@dataclass(frozen=True)
class Run:
    run_id: str
    status: str
    started_at: float  # seconds since 1970, UTC
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


@dataclass(frozen=True)
class RunRecord:
    """Everything of a finished training that MLflow is to keep."""

    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifacts: Path  # a folder of files, plots among them
    served_form: Path  # a folder as `served_model.load` reads it
    schema: FeatureSchema
    input_example: Any  # a DataFrame of a few rows
    requirements: list[str]
