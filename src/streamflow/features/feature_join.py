"""Feast's point-in-time join, by the definitions of today or by those that a run recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from streamflow.features.engines.feature_errors import unavailable
from streamflow.features.engines.offline_store import (
    RetrievalJob,
    all_features,
    historical_features,
    newest_rows,
)
from streamflow.features.engines.row_columns import time_of
from streamflow.features.engines.spark_history import SparkHistory
from streamflow.features.feature_store import feature_schema, known_store, quiet
from streamflow.features.feature_types import FEATURE_TYPES
from streamflow.features.feature_views import FeatureViewDefinition, feature_views
from streamflow.history.columns_before import rows_as_before
from streamflow.postgres.database import Database
from streamflow.postgres.queries import quoted
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureStore, FeatureView

_Made = TypeVar("_Made")
_FAILED = "Feast's point-in-time join failed"
_CONNECTIONS = 2
# PostgreSQL's type by the model's.
_STORED_TYPES = {
    "INT64": "bigint",
    "FLOAT64": "double precision",
    "BOOL": "boolean",
    "STRING": "text",
}


@dataclass(frozen=True)
class FeatureJoin:
    """What the rows of a training set are joined by.

    `today` are the features and views of the use case, also where others are joined. `job` makes
    Feast's job for a query of entity rows that all have one event timestamp; `any_age` reads rows
    of features however old they are, with their event timestamps.
    """

    schema: FeatureSchema
    views: dict[str, FeatureViewDefinition]
    today: tuple[FeatureSchema, dict[str, FeatureViewDefinition]]
    job: Callable[[str, datetime], RetrievalJob]
    any_age: RowsOfAnyAge

    def rows(
        self, queries: Mapping[datetime, str], made: Callable[[datetime, pa.Table], _Made]
    ) -> list[_Made]:
        """What `made` makes of the joined rows of each query of entity rows, given by their event
        timestamp (UTC). Two are read at the same time, over connections of their own: what was
        known at a moment is the same to both.

        Raises FeatureStoreUnavailable.
        """
        with unavailable(_FAILED), quiet(), ThreadPoolExecutor(_CONNECTIONS) as threads:
            jobs = [(moment, self.job(query, moment)) for moment, query in queries.items()]
            return list(threads.map(lambda one: made(one[0], one[1].to_arrow()), jobs))

    def batches(self, query: str, moment: datetime) -> Iterator[pa.RecordBatch]:
        """The entities of the query with features of any age, in batches that ascend by entity: the
        entity, the features, and per view the event timestamp of its row, by the name `time_of`.

        Raises FeatureStoreUnavailable.
        """
        with unavailable(_FAILED):
            with quiet():
                rows = self.any_age.batches(query, moment)
            yield from rows

    def frame(self, query: str, moment: datetime) -> Any:
        """The same rows as a data frame of Spark, in no order, where Spark reads history.

        Raises FeatureStoreUnavailable.
        """
        with unavailable(_FAILED), quiet():
            return self.any_age.frame(query, moment)


@dataclass(frozen=True)
class RowsOfAnyAge:
    """How the newest rows of the views' features are read, with their event timestamps."""

    database: Database
    use_case: UseCase
    store: FeatureStore
    schema: FeatureSchema
    views: Mapping[str, FeatureViewDefinition]

    def batches(self, query: str, moment: datetime) -> Iterator[pa.RecordBatch]:
        """As `FeatureJoin.batches`."""
        made, times = self._made(), [time_of(name) for name in self.schema.views]
        return newest_rows(
            self.database, self.store, self.schema.join_key, made, times, query, moment
        )

    def frame(self, query: str, moment: datetime) -> Any:
        """As `FeatureJoin.frame`."""
        made = self._made()
        history = self.database
        assert isinstance(history, SparkHistory)
        features = all_features(made)
        return history.historical_features(self.store, made, features, query, moment).frame()

    def _made(self) -> list[FeatureView]:
        features = list(self.schema.features)
        return [
            _feast_view(
                self.database,
                self.use_case,
                self.schema,
                name,
                replace(_view(name, features, {}, self.views), ttl_seconds=None),
                with_time=True,
            )
            for name in self.schema.views
        ]


def join_of_today(database: Database, use_case: UseCase, known_at: datetime) -> FeatureJoin:
    """The join by the definitions in Feast's registry, cut at `known_at` (UTC).

    Raises FeatureStoreUnavailable, InvalidSettings if they aren't those of the use case.
    """
    return _of_today(database, use_case, known_store(database, use_case, known_at))


def _of_today(database: Database, use_case: UseCase, store: FeatureStore) -> FeatureJoin:
    schema = feature_schema(store, use_case)
    with unavailable("Feast's registry can't be read"):
        views = feature_views(store, schema)

    def job(query: str, moment: datetime) -> RetrievalJob:
        named = [store.get_feature_view(name) for name in schema.views]
        features = [f"{one.feature_view}:{one.name}" for one in schema.features]
        return historical_features(database, store, named, features, query, moment)

    of_any_age = RowsOfAnyAge(database, use_case, store, schema, views)
    return FeatureJoin(schema, views, (schema, views), job, of_any_age)


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

    def job(query: str, moment: datetime) -> RetrievalJob:
        made = [
            _feast_view(database, use_case, header, name, view) for name, view in used_views.items()
        ]
        return historical_features(database, store, made, all_features(made), query, moment)

    return FeatureJoin(
        header,
        used_views,
        join.today,
        job,
        RowsOfAnyAge(database, use_case, store, header, used_views),
    )


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
    """Per recorded feature the one to join, in the recorded order: a model depends on it."""
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
    return used


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
