"""From a new use case and its first month to a first version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.progress import Progress
from streamflow.training.evaluation import auc_in_words


@dataclass(frozen=True)
class FirstModel:
    """The first version and what is known of it. `auc` is in words, with its interval; `judged_on`
    says which rows it is of; `warnings` are those of the training."""

    version: int
    as_of: date
    rows: int
    auc: str
    judged_on: str
    warnings: tuple[str, ...]


def first_model(
    platform: Platform, folder: Path, as_of: date, now: datetime, who: str, progress: Progress
) -> FirstModel:
    """Load the month, apply the definitions, put its features online and train by the default.

    Raises what these steps raise; each can be run again.
    """
    progress("ingest")
    ingest(platform, folder, as_of, None, now, who)
    progress("apply")
    apply(platform)
    progress("materialize")
    materialize(platform, as_of, now)
    progress("train")
    done = train.train(platform, as_of, None, 42, now, who=who)
    return FirstModel(
        done.version,
        as_of,
        done.rows,
        auc_in_words(done.metrics),
        done.judged_on,
        tuple(map(str, done.warnings)),
    )
