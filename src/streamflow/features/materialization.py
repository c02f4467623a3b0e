"""Copies each entity's newest features to the online store. `streamflow.serving` reads them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from streamflow.errors import FeatureStoreUnavailable
from streamflow.features.applied_definitions import require_applied
from streamflow.features.engines.feature_errors import unavailable
from streamflow.features.feature_store import known_store, quiet
from streamflow.features.kept.rows import follow_history
from streamflow.features.kept.views import history_rows, is_kept, model_view, source_table
from streamflow.features.unrecorded_features import unrecorded_months
from streamflow.history.as_of import event_timestamp
from streamflow.history.history_changes import require_history
from streamflow.history.ingestions import recorded_ingestions
from streamflow.history.months import not_withdrawn, require_month
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier
from streamflow.progress import Progress, silent
from streamflow.use_case import Table, UseCase

if TYPE_CHECKING:
    from feast import FeatureView


@dataclass(frozen=True)
class Materialized:
    """A feature view that was materialized up to `as_of`: its entities, and how long it took.

    `newest` is the newest month that is online.
    """

    feature_view: str
    rows: int
    seconds: float
    as_of: date
    newest: date


def materialize(
    database: Database,
    use_case: UseCase,
    as_of: date,
    now: datetime,
    progress: Progress = silent,
    online_store: Mapping[str, object] | None = None,
) -> list[Materialized]:
    """Copy each entity's newest features up to the end of `as_of` to the online store.

    Only rows that are known at `now` (UTC) are copied. A row with an older event timestamp than the
    online one never replaces it. What was withdrawn by `now` is taken out, also of later months,
    and the newest row that still counts is put in. `progress` is called with each feature view.
    Raises AsOfRefused, InvalidSettings if the use case hasn't been applied,
    FeatureStoreUnavailable.
    """
    database.execute("wait_for_ingestion", use_case=use_case.name)
    require_month(database, use_case, as_of, now)
    require_history(database, use_case)
    store = known_store(database, use_case, now, online_store)
    done = []
    follow_history(database, use_case, store)
    with unavailable("Feast doesn't know the feature views"):
        views = store.list_feature_views()
    if not views:
        raise FeatureStoreUnavailable(
            f"No feature view of {use_case.name!r} is in Feast's registry.",
            "Run `streamflow apply`.",
        )
    with unavailable(f"Feast doesn't know the feature service {use_case.feature_service!r}"):
        service = store.get_feature_service(use_case.feature_service)
    require_applied(service, {view.name: view for view in views}, use_case)
    newest = _newest(database, use_case, views, now)
    for view in views:
        progress(view.name)
        key, all_rows = identifier(use_case.join_key), history_rows(use_case, view)
        history = Table.history_of(source_table(view))
        rows_now = known_rows(database, use_case, history, now, all_rows)
        oldest = database.row("oldest_event", {"history": all_rows})["event_timestamp"]
        end = event_timestamp(as_of)
        if rows_now is not all_rows:
            # A row that is taken out makes room for the newest one of any month online.
            end = max(end, event_timestamp(newest.get(model_view(view), as_of)))
        started = time.perf_counter()
        if oldest is not None:
            with unavailable(f"Materializing {view.name} failed"), quiet():
                store.materialize(oldest - timedelta(days=1), end, [view.name])
        seconds = time.perf_counter() - started
        names = {"history": rows_now, "key": key}
        rows = database.row("count_window", names, end=end, known_at=now)["entities"]
        # Of a kept view it is known up to when its features were recorded, not up to now.
        event = end
        if is_kept(view):
            event = database.row("newest_event", names, end=end, known_at=now)["event_timestamp"]
        if event is not None:
            day = event.astimezone(UTC).date()
            newest_online = max(newest.get(view.name, day), day)
            database.execute(
                "record_materialization",
                use_case=use_case.name,
                feature_view=view.name,
                as_of=day,
                event_timestamp=event,
                known_at=now,
                rows=rows,
                seconds=seconds,
                not_recorded=json.dumps(_not_recorded(database, use_case, view, now)),
                newest=max(event, event_timestamp(newest_online)),
            )
        before = newest.get(view.name, as_of)
        done.append(Materialized(view.name, rows, seconds, as_of, max(before, as_of)))
    return done


def is_materialized(
    database: Database,
    use_case: UseCase,
    as_of: date,
    known_at: datetime,
    now: datetime,
    online_store: Mapping[str, object] | None = None,
) -> bool:
    """Whether each feature view was materialized up to the end of `as_of` or further, with what was
    known at `known_at` (UTC). Raises InvalidSettings, FeatureStoreUnavailable."""
    store = known_store(database, use_case, now, online_store)
    with unavailable("Feast doesn't know the feature views"):
        views = [view for view in store.list_feature_views() if not is_kept(view)]
    missing = {view.name: view.created_timestamp for view in views}
    for row in database.rows("materializations", use_case=use_case.name):
        name, finished_at = row["feature_view"], row["finished_at"]
        created = missing.get(name)
        if created is not None and finished_at is not None and finished_at < _in_utc(created):
            continue
        if row["event_timestamp"] >= event_timestamp(as_of) and row["known_at"] >= known_at:
            missing.pop(name, None)
    return bool(views) and not missing


def _not_recorded(
    database: Database, use_case: UseCase, view: FeatureView, now: datetime
) -> dict[str, list[str]]:
    mapped = {feature: column for column, feature in view.batch_source.field_mapping.items()}
    features = {field.name: mapped.get(field.name, field.name) for field in view.features}
    found = unrecorded_months(database, use_case, source_table(view), features, now)
    return {str(as_of): names for as_of, names in found.items()}


def _newest(
    database: Database, use_case: UseCase, views: Iterable[FeatureView], now: datetime
) -> dict[str, date]:
    """Per view the newest month that is online but for what was withdrawn by `now`, since the view
    is there: one that was removed and came again begins without rows."""
    since = {view.name: view.created_timestamp for view in views}
    newest: dict[str, date] = {}
    for row in database.rows("materializations", use_case=use_case.name):
        name, finished_at = row["feature_view"], row["finished_at"]
        created = since.get(name)
        if created is not None and finished_at is not None and finished_at < _in_utc(created):
            continue
        day = (row["newest"] or row["event_timestamp"]).astimezone(UTC).date()
        newest[name] = day if row["newest"] else max(newest.get(name, day), day)
    recorded = recorded_ingestions(database, use_case)
    still = {name: not_withdrawn(recorded, day, now) for name, day in newest.items()}
    return {name: day for name, day in still.items() if day is not None}


def _in_utc(moment: datetime) -> datetime:
    """Feast's times have no time zone, and are in UTC."""
    return moment.replace(tzinfo=moment.tzinfo or UTC)
