"""Feast's point-in-time join, by the definitions of today or by those that a run recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from streamflow.features.feature_store import feature_schema, known_store, quiet, unavailable
from streamflow.features.feature_types import FEATURE_TYPES
from streamflow.features.feature_views import FeatureViewDefinition, feature_views
from streamflow.history.columns_before import quoted, rows_as_before
from streamflow.postgres.database import Database
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureStore, FeatureView

    from feast_postgres.offline import PostgresRetrievalJob

# PostgreSQL's type by the model's.
_STORED_TYPES = {
    "INT64": "bigint",
    "FLOAT64": "double precision",
    "BOOL": "boolean",
    "STRING": "text",
}


@dataclass(frozen=True)
class FeatureJoin:
    """What the rows of a training set are joined by; `rows` joins those of a query of entity rows.

    `today` are the features and views of the use case, also where others are joined. `batches`
    joins rows of any age, in batches that ascend by entity: the query's columns, the features, and
    per view the event timestamp of its row by the name `time_of`. Both raise
    FeatureStoreUnavailable.
    """

    schema: FeatureSchema
    views: dict[str, FeatureViewDefinition]
    today: tuple[FeatureSchema, dict[str, FeatureViewDefinition]]
    rows: Callable[[str], pa.Table]
    batches: Callable[[str], Iterator[pa.RecordBatch]]


def time_of(view: str) -> str:
    """The column with the event timestamp of a view's row, as `FeatureJoin.batches` has it."""
    return f"{view}__event_timestamp"


def join_of_today(database: Database, use_case: UseCase, known_at: datetime) -> FeatureJoin:
    """The join by the definitions in Feast's registry, cut at `known_at` (UTC).

    Raises FeatureStoreUnavailable, InvalidSettings if they aren't those of the use case.
    """
    return _of_today(database, use_case, known_store(database, use_case, known_at))


def _of_today(database: Database, use_case: UseCase, store: FeatureStore) -> FeatureJoin:
    schema = feature_schema(store, use_case)
    with unavailable("Feast's registry can't be read"):
        views = feature_views(store, schema)

    def rows(query: str) -> pa.Table:
        with unavailable("Feast's point-in-time join failed"), quiet():
            service = store.get_feature_service(use_case.feature_service)
            return store.get_historical_features(entity_df=query, features=service).to_arrow()

    return FeatureJoin(
        schema, views, (schema, views), rows, _batches(database, use_case, store, schema, views)
    )


def join_of_before(
    database: Database,
    use_case: UseCase,
    known_at: datetime,
    recorded: FeatureSchema,
    recorded_views: Mapping[str, FeatureViewDefinition],
) -> FeatureJoin:
    """The join for a run with these recorded features.

    A feature that the use case has no more, or has with another type or name, is joined as it was
    recorded. One that the use case still has is joined as it is defined today, and one that it
    still has in a view and no longer in the feature service isn't joined: so that what changed
    shows. Features that came since are left out. Raises as `join_of_today`.
    """
    store = known_store(database, use_case, known_at)
    join = _of_today(database, use_case, store)
    schema, views = join.today
    used = _features(recorded, schema, _defined(use_case))
    header = replace(recorded, features=tuple(used))
    if header.features == schema.features:
        return replace(join, schema=header)
    names = dict.fromkeys(feature.feature_view for feature in used)
    used_views = {name: _view(name, used, views, recorded_views) for name in names}

    def rows(query: str) -> pa.Table:
        made = [
            _feast_view(database, use_case, header, name, view) for name, view in used_views.items()
        ]
        with unavailable("Feast's point-in-time join failed"), quiet():
            return _job(store, made, query).to_arrow()

    return FeatureJoin(
        header,
        used_views,
        join.today,
        rows,
        _batches(database, use_case, store, header, used_views),
    )


def _batches(
    database: Database,
    use_case: UseCase,
    store: FeatureStore,
    schema: FeatureSchema,
    views: Mapping[str, FeatureViewDefinition],
) -> Callable[[str], Iterator[pa.RecordBatch]]:
    def batches(query: str) -> Iterator[pa.RecordBatch]:
        used = {name: _view(name, list(schema.features), {}, views) for name in schema.views}
        with unavailable("Feast's point-in-time join failed"):
            made = [
                _feast_view(database, use_case, schema, name, replace(view, ttl_seconds=None), True)
                for name, view in used.items()
            ]
            with quiet():
                job = _job(store, made, query)
            yield from job.record_batches(ordered_by=[schema.join_key])

    return batches


# A feature view's fields with a model's types, by the names of both.
_Defined = Mapping[str, Mapping[str, str]]


def _defined(use_case: UseCase) -> _Defined:
    from feast import FeatureView

    return {
        view.name: {
            field.name: FEATURE_TYPES.get(str(field.dtype), str(field.dtype))
            for field in view.features
        }
        for view in use_case.features()
        if isinstance(view, FeatureView)
    }


def _features(recorded: FeatureSchema, today: FeatureSchema, defined: _Defined) -> list[Feature]:
    """Per recorded feature the one to join; in the recorded order, if today's isn't another."""
    of_today = {feature.name: feature for feature in today.features}
    used: list[Feature] = []
    for was in recorded.features:
        now = of_today.get(was.name)
        if now is None:
            if defined.get(was.feature_view, {}).get(was.name) != was.type:
                used.append(was)
        elif now.type != was.type or (
            now.feature_view != was.feature_view and was.feature_view not in defined
        ):
            used.append(was)
        else:
            used.append(now)
    place = {feature.name: number for number, feature in enumerate(today.features)}
    shared = [place[feature.name] for feature in used if feature is of_today.get(feature.name)]
    if shared == sorted(shared):
        return used
    return sorted(used, key=lambda feature: place.get(feature.name, len(place)))


def _view(
    name: str,
    used: list[Feature],
    today: Mapping[str, FeatureViewDefinition],
    recorded: Mapping[str, FeatureViewDefinition],
) -> FeatureViewDefinition:
    """The view with the features that are joined from it."""
    view = today.get(name) or recorded[name]
    features = {one.name: _feast_type(one) for one in used if one.feature_view == name}
    return replace(view, features=features)


def _feast_type(feature: Feature) -> str:
    return next(feast for feast, ours in FEATURE_TYPES.items() if ours == feature.type)


def _feast_view(
    database: Database,
    use_case: UseCase,
    schema: FeatureSchema,
    name: str,
    view: FeatureViewDefinition,
    with_time: bool = False,
) -> FeatureView:
    """A view of Feast that is in no registry, with its rows' event timestamps as a feature."""
    from feast import Entity, FeatureView, Field, ValueType, types
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
        PostgreSQLSource,
    )

    wanted = {
        feature: _STORED_TYPES[FEATURE_TYPES[kind]] for feature, kind in view.features.items()
    }
    rows = rows_as_before(database, use_case, view.table.strip('"'), wanted)
    fields = {schema.join_key: "String", **view.features}
    if with_time:
        rows = f"SELECT *, event_timestamp AS {quoted(time_of(name))} FROM ({rows}) AS rows"
        fields[time_of(name)] = "UnixTimestamp"
    return FeatureView(
        name=name,
        entities=[
            Entity(name=schema.entity, join_keys=[schema.join_key], value_type=ValueType.STRING)
        ],
        ttl=view.ttl,
        schema=[Field(name=one, dtype=getattr(types, kind)) for one, kind in fields.items()],
        source=PostgreSQLSource(
            name=view.source,
            query=rows,
            timestamp_field="event_timestamp",
            created_timestamp_column="recorded_at",
        ),
    )


def _job(store: FeatureStore, views: list[FeatureView], query: str) -> PostgresRetrievalJob:
    from feast_postgres.offline import PostgresOfflineStore

    return PostgresOfflineStore.get_historical_features(
        store.config,
        views,
        [f"{view.name}:{field.name}" for view in views for field in view.features],
        query,
        store.registry,
        store.project,
    )
