"""The step that scores everyone of a month by the form of a version that is served."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date, datetime

from streamflow.errors import FeatureStoreUnavailable, NoProductionModel
from streamflow.features import month_rows
from streamflow.features.engines.spark_history import SparkHistory
from streamflow.history.as_of import event_timestamp
from streamflow.history.months import learned_at, require_past
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.lineage import judged_version
from streamflow.platform import Platform
from streamflow.postgres.queries import identifier
from streamflow.progress import Progress, silent
from streamflow.promotion.admission.admitted_reader import AdmittedReader
from streamflow.registry.records import ModelVersion
from streamflow.scores import chunks, spark_scoring, unfinished
from streamflow.scores.scorer import Scorer
from streamflow.scores.scorings import Scoring
from streamflow.scores.unfinished import ScoringKey
from streamflow.serving.feature_status import Clock
from streamflow.serving.scoring import Served
from streamflow.use_case import Table


@dataclass(frozen=True)
class Scored:
    """A scoring; `added` is False if it had been made before."""

    scoring: Scoring
    added: bool


def score(
    platform: Platform,
    as_of: date,
    who: str,
    now: datetime,
    progress: Progress = silent,
    known_at: datetime | None = None,
    version: int | None = None,
) -> Scored:
    """Score every entity with a row at `as_of`, and store and rank the scores.

    Features are those that the online store would have at `as_of`, ages are measured from it, and
    the rules of a prediction hold. Without `known_at` (UTC), all is used that is known of the month
    and those before. The version is the one that serves, without `version`. A scoring that was made
    before isn't made again; one that was killed goes on.
    Raises NoProductionModel, UnknownVersion, KnownAtRefused, AsOfRefused, UnservableModel,
    FeatureStoreUnavailable, MlflowUnavailable.
    """
    database, use_case = platform.database, platform.use_case
    database.execute("wait_for_ingestion", use_case=use_case.name)
    if known_at is None:
        known_at = min(learned_at(database, use_case, as_of) or now, now)
    require_past(known_at, now)
    chosen = _version(platform, version, now)
    key = ScoringKey(chosen.name, chosen.version, chosen.model_hash, as_of, known_at)
    with unfinished.one_at_a_time(database, key.model):
        made = unfinished.finished(database, key)
        if made is not None:
            return Scored(made, added=False)
        progress("fetch the version")
        model = judged_version.model_of(platform, chosen)
        join = judged_version.join_of(platform, chosen, model, known_at)
        number = unfinished.begin(database, key)
        served = Served(chosen, model)
        moment = event_timestamp(as_of)
        scorer = Scorer(
            served,
            Clock(moment, dict.fromkeys(served.schema.views, moment)),
            platform.settings.stale_features,
            number,
        )
        progress("score")
        history = platform.history
        if isinstance(history, SparkHistory):
            month = spark_scoring.Month(use_case, as_of, known_at, join)
            files = platform.production.download(chosen)
            rows = spark_scoring.score_month(
                database, history, month, scorer, files, cores(), progress
            )
        else:
            batches = month_rows.month_rows(history, use_case, as_of, known_at, join)
            rows = chunks.score_chunks(database, scorer, batches, cores(), progress)
        progress("rank")
        stored = database.row("count_unfinished_scores", unfinished_id=number)["entities"]
        if stored != rows:
            raise FeatureStoreUnavailable(
                f"{stored:,} of {rows:,} entities are stored: the database was started again.",
                f"Go on: `streamflow score --as-of {as_of}`.",
            )
        names = {
            "key": identifier(use_case.join_key),
            "history": known_rows(
                database, use_case, Table.history_of(use_case.entity_table), known_at
            ),
        }
        with database.transaction():
            database.execute(
                "record_departed", names, unfinished_id=number, as_of=as_of, known_at=known_at
            )
            unfinished.finish(database, number, chosen.run_id, chosen.stage, now, who)
        made = unfinished.finished(database, key)
    assert made is not None
    return Scored(made, added=True)


def _version(platform: Platform, version: int | None, now: datetime) -> ModelVersion:
    if version is not None:
        return platform.version(version)
    serves = AdmittedReader.of(platform, lambda: now).production()
    if serves is None:
        raise NoProductionModel(platform.registry.model)
    return serves


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
