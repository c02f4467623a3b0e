"""The step that writes each entity's newest features to the online store."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

from streamflow.errors import AsOfRefused, DatabaseUnavailable
from streamflow.features import materialization, use_case_check
from streamflow.history.months import months, record_absent_entities
from streamflow.pipeline.step_lock import one_step
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.serving import prediction_log_partitions


def materialize(
    platform: Platform, as_of: date | None, now: datetime, progress: Progress = silent
) -> list[materialization.Materialized]:
    """Materialize features up to `as_of`, or up to the newest ingested month without it.

    Who is absent from the newest month online is counted afterwards. It also drops the days of the
    prediction log that are older than the settings allow, because with database roles the API may
    only append to the log.
    Raises UseCaseRefused, AsOfRefused, FeatureStoreUnavailable.
    """
    use_case_check.require_usable(platform.use_case)
    with suppress(DatabaseUnavailable):  # a reader has locked them; the next run drops them
        days = timedelta(days=platform.settings.prediction_log_days)
        oldest = now.astimezone(UTC).date() - days
        prediction_log_partitions.drop_partitions_before(platform.database, oldest)
    if as_of is None:
        known = months(platform.database, platform.use_case)
        if not known:
            raise AsOfRefused(
                f"No month of {platform.use_case.name!r} has been ingested yet.",
                "Load one with `streamflow ingest DIR --as-of YYYY-MM-DD`.",
            )
        as_of = known[-1]
    with one_step(platform.database):
        done = materialization.materialize(
            platform.history,
            platform.use_case,
            as_of,
            now,
            progress,
            platform.settings.online_store,
        )
        newest = max((one.newest for one in done), default=as_of)
        record_absent_entities(platform.history, platform.use_case, newest)
    return done
