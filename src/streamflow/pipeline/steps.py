"""The story: ingest, apply, train, promote, materialize, predict. The command line shows it.

Each function is one step, safe to repeat; time and who acts are arguments.
"""

from __future__ import annotations

import contextlib
import csv
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from streamflow.bootstrap import Platform
from streamflow.errors import DatabaseUnavailable, NoAnswer, NoProductionModel
from streamflow.features import feature_store, materialization, point_in_time
from streamflow.history import ingest as ingestion
from streamflow.postgres.database import Database
from streamflow.registry.records import ModelVersion, Run
from streamflow.serving import prediction_log_partitions

if TYPE_CHECKING:
    from streamflow.serving.predictor import Predictor

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
    """Add a month to history; see `streamflow.history.ingest.ingest`."""
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


def apply(platform: Platform) -> feature_store.Applied:
    """Feast's definitions into its registry, and tables for them into the online store."""
    store = feature_store.open_store(
        platform.database.url, platform.use_case, online_store=platform.settings.online_store
    )
    with _step(platform):
        return feature_store.apply(store, platform.use_case)


def materialize(
    platform: Platform, as_of: date | None, now: datetime, progress: Progress = silent
) -> list[materialization.Materialized]:
    """Features online, up to `as_of` or the newest month that has been ingested.

    Of the prediction log, what is older than it should be ends here too: where database roles are
    set up, the API may append to it alone.
    """
    with contextlib.suppress(DatabaseUnavailable):  # somebody reads it; there's another time
        days = timedelta(days=platform.settings.prediction_log_days)
        prediction_log_partitions.drop_before(platform.database, now.astimezone(UTC).date() - days)
    if as_of is None:
        known = point_in_time.months(platform.database, platform.use_case)
        as_of = known[-1] if known else now.date()
    other = platform.settings.online_store
    with _step(platform):
        return materialization.materialize(
            platform.database, platform.use_case, as_of, now, progress, other
        )


@contextlib.contextmanager
def _step(platform: Platform) -> Iterator[None]:
    """A backup has all of the block or nothing, though Feast writes it in many transactions."""
    with Database(platform.database.url) as alone, alone.transaction():
        alone.execute("lock_step")
        yield


def runs(platform: Platform) -> list[Run]:
    return platform.registry.runs()


def models(platform: Platform) -> list[ModelVersion]:
    return platform.registry.versions()


def predictor(platform: Platform) -> Predictor:
    """The Production model over the online features, as the API has it, without the API.

    Raises NoProductionModel, UnservableModel, FeatureStoreUnavailable, MlflowUnavailable.
    """
    from streamflow.serving.online_store import online_store
    from streamflow.serving.predictor import Predictor
    from streamflow.serving.scoring import Served
    from streamflow.training import served_model

    use_case, settings = platform.use_case, platform.settings
    version = platform.production.production()
    if version is None:
        raise NoProductionModel(use_case.registered_model)
    model = served_model.load(platform.production.download(version))
    online = online_store(settings, platform.database, use_case)
    ready = Predictor(
        online,
        registered_model=use_case.registered_model,
        join_key=use_case.join_key,
        stale_features=settings.stale_features,
        freshness_clock=settings.freshness_clock,
    )
    ready.know_newest(online.newest_event_timestamps())
    ready.serve(Served(version, model, online.plan(model.schema)))
    return ready


def predict(platform: Platform, entity_id: str, now: datetime) -> dict[str, Any]:
    """What the API would answer for the entity; raises what it would."""
    from streamflow.api import responses

    return responses.prediction(
        platform.use_case.join_key, predictor(platform).predict(entity_id, now)
    )


def predict_file(
    platform: Platform, file: Path, output: TextIO, now: datetime, progress: Progress = silent
) -> Counter[str]:
    """A line of CSV per id of `file`: its prediction, or the code of the problem in its place.

    The file is CSV with a column named like the join key, or has an id a line. All ids are
    answered by one model, in chunks, so that memory stays flat. The counts are of `predicted` and
    of each problem. Raises MissingFiles, UnreadableFile if it can't be read, and what
    `predictor` raises.
    """
    from streamflow.api import responses
    from streamflow.pipeline import id_file
    from streamflow.serving.scoring import Question

    ready = predictor(platform)
    model = ready.production().version
    counts: Counter[str] = Counter()
    lines = csv.writer(output, lineterminator="\n")
    heading = [ready.join_key, *responses.CSV_COLUMNS]
    for entity_ids in id_file.chunks(file, ready.join_key):
        if heading:  # only now is it known that the file can be read
            lines.writerow(heading)
            heading = []
        questions = [Question(one, "") for one in entity_ids]
        for entity_id, one in zip(entity_ids, ready.predict_many(questions, now), strict=True):
            counts[one.code if isinstance(one, NoAnswer) else "predicted"] += 1
            lines.writerow([entity_id, *responses.csv_row(model, one)])
        progress(f"{counts.total():,} ids")
    if heading:
        lines.writerow(heading)
    return counts


def write_feast_config(platform: Platform, folder: Path) -> Path:
    """`feature_store.yaml` in `folder`, readable by its owner alone: it holds the password."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "feature_store.yaml"
    text = yaml.safe_dump(
        feature_store.configuration(
            platform.database.url, platform.use_case, online_store=platform.settings.online_store
        ),
        sort_keys=False,
    )
    descriptor, temporary = tempfile.mkstemp(dir=folder)  # made with mode 0600
    with open(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
    Path(temporary).replace(file)
    return file
