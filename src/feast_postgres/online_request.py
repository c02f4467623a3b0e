"""A request for online features: its statements, and Feast's response to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from feast import utils
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from psycopg import sql

from feast_postgres.columns import Column, table_layout
from feast_postgres.online_fetch import Request
from feast_postgres.online_rows import (
    ResultRows,
    Selection,
    group_by_statement,
    key_array,
    select,
    select_features,
    serialized_keys,
)

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.repo_config import RepoConfig

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_PLANS = 256
_Key = tuple[object, ...]
# Join keys of a table and their names in the request, None where it has no such name.
_Inputs = tuple[tuple[str, str | None], ...]

# Feature views and the features requested of each, as Feast groups them.
Grouped = Sequence[tuple["FeatureView", list[str]]]


@dataclass(frozen=True)
class Read:
    """One statement of a request, for tables with the same keys and the same values for them.

    `inputs` pairs each key of the tables, in their order, with its name in the request, None if the
    request has no such key. `positions` are the positions of the selections in the request.
    """

    statement: bytes
    inputs: _Inputs
    positions: tuple[int, ...]
    selections: tuple[Selection, ...]

    def parameters(
        self, join_key_values: Mapping[str, Sequence[Value]], version: int
    ) -> list[list[object]]:
        """The statement's parameters: an array per key."""
        entities = len(next(iter(join_key_values.values())))
        layout = self.selections[0].layout
        columns = [join_key_values[name] if name else () for _, name in self.inputs]
        if layout.serialized:
            names = [join_key for join_key, _ in self.inputs]
            return serialized_keys(layout, names, columns, version)
        return [
            key_array(key, values) if values else [None] * entities
            for key, values in zip(layout.keys, columns, strict=True)
        ]


class Plans:
    """A cache of the reads that requests need, by the features and views requested."""

    def __init__(self) -> None:
        self._plans: dict[_Key, tuple[list[FeatureView], list[Read]]] = {}

    def prepare(
        self,
        config: RepoConfig,
        grouped: Grouped,
        tables: Sequence[str],
        join_key_values: Mapping[str, Sequence[Value]],
        join_key_by_entity: Mapping[str, str],
    ) -> tuple[list[Read], list[Request]]:
        """The reads of a request for views with these tables, and the statement of each with its
        parameters.

        Raises KeyError, as Feast does, if the request has none of a feature view's join keys.
        """
        reads = self._reads(config, grouped, tables, join_key_values, join_key_by_entity)
        version = config.entity_key_serialization_version
        return reads, [
            (read.statement, read.parameters(join_key_values, version)) for read in reads
        ]

    def _reads(
        self,
        config: RepoConfig,
        grouped: Grouped,
        tables: Sequence[str],
        join_key_values: Mapping[str, Sequence[Value]],
        join_key_by_entity: Mapping[str, str],
    ) -> list[Read]:
        schema = config.online_store.db_schema
        inputs = [_inputs(view, join_key_values, join_key_by_entity) for view, _ in grouped]
        key = (
            schema,
            *tables,
            *(
                (id(view), tuple(names), keys)
                for (view, names), keys in zip(grouped, inputs, strict=True)
            ),
        )
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            # Store the views too: as long as they exist, no other object has the same id.
            reads = _plan(grouped, inputs, [sql.Identifier(schema, name) for name in tables])
            plan = [view for view, _ in grouped], reads
            self._plans[key] = plan
        return plan[1]


def _inputs(
    view: FeatureView,
    join_key_values: Mapping[str, Sequence[Value]],
    join_key_by_entity: Mapping[str, str],
) -> tuple[tuple[str, str], ...]:
    """The view's join keys that the request has, each with its name in the request."""
    wanted = {join_key_by_entity[entity]: join_key_by_entity[entity] for entity in view.entities}
    # An alias of the view comes before the join key's own name, which may be meant for another
    # view. Feast takes the one that is last in the request.
    aliases = {
        key: alias
        for key, alias in view.projection.join_key_map.items()
        if alias in join_key_values
    }
    found = tuple(
        (key, name)
        for key, name in sorted({**wanted, **aliases}.items())
        if key in wanted and name in join_key_values
    )
    if not any(join_key_values[name] for _, name in found):
        # A private function of Feast: it raises the error that Feast's own path would raise.
        utils._get_unique_entities(view, join_key_values, join_key_by_entity)
    return found


def _plan(
    grouped: Grouped,
    inputs: Sequence[tuple[tuple[str, str], ...]],
    tables: Sequence[sql.Identifier],
) -> list[Read]:
    by_keys: dict[tuple[_Inputs, tuple[Column, ...]], list[tuple[int, Selection]]] = {}
    for position, ((view, names), found, table) in enumerate(
        zip(grouped, inputs, tables, strict=True)
    ):
        layout = table_layout(view)
        named: _Inputs = found
        if not layout.serialized:
            by_key = dict(found)
            named = tuple((key.feature, by_key.get(key.feature)) for key in layout.keys)
        selection = select_features(table, layout, names)
        by_keys.setdefault((named, layout.keys), []).append((position, selection))
    reads = []
    for (named, _), numbered in by_keys.items():
        numbers = iter([position for position, _ in numbered])
        for selections in group_by_statement([selection for _, selection in numbered]):
            statement = select(selections).as_bytes(None)
            positions = tuple(next(numbers) for _ in selections)
            reads.append(Read(statement, named, positions, tuple(selections)))
    return reads


def populate(
    response: GetOnlineFeaturesResponse,
    grouped: Grouped,
    reads: Sequence[Read],
    rows_of_reads: Sequence[ResultRows],
    full_feature_names: bool,
    include_feature_view_version_metadata: bool,
) -> None:
    """Add the rows of the reads to Feast's response, as Feast's own path does."""
    found: list[Any] = [None] * len(grouped)
    for read, rows in zip(reads, rows_of_reads, strict=True):
        columns = iter(list(zip(*rows, strict=True))[1:])
        for position, selection in zip(read.positions, read.selections, strict=True):
            timestamps, unwritten = next(columns), next(columns)
            found[position] = (
                selection,
                timestamps,
                unwritten,
                [next(columns) for _ in selection.stored_columns],
            )
    for (view, names), (selection, timestamps, unwritten, natives) in zip(
        grouped, found, strict=True
    ):
        prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""
        response.metadata.feature_names.val.extend(prefix + name for name in names)
        if include_feature_view_version_metadata:
            _add_version(response, view)
        present = _add_vectors(response, selection, timestamps, unwritten, natives)
        with contextlib.suppress(Exception):  # Feast's metrics are optional
            from feast.metrics import track_feature_statuses

            track_feature_statuses(view.name, present, len(names) * len(timestamps) - present)


def _add_version(response: GetOnlineFeaturesResponse, view: FeatureView) -> None:
    name = view.projection.name_alias or view.projection.name
    if name not in [known.name for known in response.metadata.feature_view_metadata]:
        version = getattr(view, "current_version_number", 0) or 0
        response.metadata.feature_view_metadata.add(name=name, version=version)


def _add_vectors(
    response: GetOnlineFeaturesResponse,
    selection: Selection,
    timestamps: Sequence[datetime | None],
    unwritten: Sequence[list[str] | None],
    natives: Sequence[Sequence[Any]],
) -> int:
    """Add a vector per feature; return how many values are present."""
    whole = not any(unwritten)
    if not whole:
        # A row to which none of the requested columns was ever written counts as no row.
        requested = {column.name for column in selection.stored_columns}
        timestamps = [
            None if missing and requested <= set(missing) else timestamp
            for timestamp, missing in zip(timestamps, unwritten, strict=True)
        ]
    template = GetOnlineFeaturesResponse.FeatureVector()
    _add_timestamps(template, timestamps)
    present_status, absent = FieldStatus.PRESENT, FieldStatus.NOT_FOUND
    by_row = [absent if timestamp is None else present_status for timestamp in timestamps]
    remaining = iter(natives)
    present = 0
    for column in selection.columns:
        vector = response.results.add()
        vector.CopyFrom(template)
        statuses = by_row
        if column is None:
            statuses = [absent] * len(by_row)
        elif not whole:
            statuses = [
                absent if missing and column.name in missing else status
                for status, missing in zip(by_row, unwritten, strict=True)
            ]
        vector.statuses.extend(statuses)
        present += statuses.count(present_status)
        _add_values(vector.values.add, column, next(remaining) if column else [None] * len(by_row))
    return present


def _add_timestamps(
    vector: GetOnlineFeaturesResponse.FeatureVector, timestamps: Sequence[datetime | None]
) -> None:
    add = vector.event_timestamps.add
    for timestamp in timestamps:
        if timestamp is None:
            add()
        else:
            since = timestamp - _EPOCH
            add(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def _add_values(add: Callable[..., Any], column: Column | None, natives: Sequence[Any]) -> None:
    if column is None or column.field is None:
        for native in natives:
            value = add()
            if native is not None:
                value.MergeFromString(native)
        return
    field = column.field
    if field == "unix_timestamp_val":
        natives = [None if native is None else column.to_field(native) for native in natives]
    for native in natives:
        if native is None:
            add()
        else:
            add(**{field: native})
