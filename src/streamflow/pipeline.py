"""The story: ingest, apply, train, promote, materialize, predict. The command line shows it.

Each function is one step, safe to repeat; time and who acts are arguments.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from streamflow import features, online, point_in_time
from streamflow import ingest as ingestion
from streamflow.bootstrap import Platform
from streamflow.errors import NoProductionModel
from streamflow.runs import ModelVersion, Run

Progress = Callable[[str], None]


def silent(step: str) -> None:
    """No progress is shown."""


def ingest(
    platform: Platform,
    folder: Path,
    as_of: date,
    recorded_at: datetime | None,
    now: datetime,
    who: str,
    progress: Progress = silent,
) -> ingestion.Ingestion:
    """Add a month to history; see `streamflow.ingest.ingest`."""
    return ingestion.ingest(
        platform.database,
        platform.use_case,
        folder,
        as_of,
        recorded_at or now,
        now,
        who,
        platform.settings.home / "reports",
        progress,
    )


def apply(platform: Platform) -> features.Applied:
    """Feast's definitions into its registry, and tables for them into the online store."""
    store = features.open_store(platform.database.url, platform.use_case)
    return features.apply(store, platform.use_case)


def materialize(
    platform: Platform, as_of: date | None, now: datetime, progress: Progress = silent
) -> list[online.Materialized]:
    """Features online, up to `as_of` or the newest month that has been ingested."""
    if as_of is None:
        known = point_in_time.months(platform.database, platform.use_case)
        as_of = known[-1] if known else now.date()
    return online.materialize(platform.database, platform.use_case, as_of, now, progress)


def runs(platform: Platform) -> list[Run]:
    return platform.registry.runs()


def models(platform: Platform) -> list[ModelVersion]:
    return platform.registry.versions()


def predict(platform: Platform, entity_id: str, now: datetime) -> dict[str, Any]:
    """What the API would answer for the entity, without the API.

    Raises NoProductionModel, UnknownEntity, MissingFeatures, StaleFeatures, UnseenCategory,
    UnservableModel, FeatureStoreUnavailable, MlflowUnavailable.
    """
    from streamflow import answers, served_model
    from streamflow.serving.predictor import Predictor, Served

    use_case, settings = platform.use_case, platform.settings
    version = platform.registry.production()
    if version is None:
        raise NoProductionModel(use_case.registered_model)
    model = served_model.load(platform.registry.download(version))
    store = features.open_store(platform.database.url, use_case)
    features_online = online.OnlineFeatures(store, platform.database, use_case)
    predictor = Predictor(
        features_online,
        registered_model=use_case.registered_model,
        join_key=use_case.join_key,
        stale_features=settings.stale_features,
        freshness_clock=settings.freshness_clock,
    )
    predictor.know_newest(features_online.newest_event_timestamps())
    predictor.serve(Served(version, model))
    return answers.prediction(use_case.join_key, predictor.predict(entity_id, now))


def write_feast_config(platform: Platform, folder: Path) -> Path:
    """`feature_store.yaml` in `folder`, readable by its owner alone: it holds the password."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "feature_store.yaml"
    text = yaml.safe_dump(
        features.configuration(platform.database.url, platform.use_case), sort_keys=False
    )
    descriptor, temporary = tempfile.mkstemp(dir=folder)  # made with mode 0600
    with open(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
    Path(temporary).replace(file)
    return file
