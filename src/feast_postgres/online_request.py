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

from feast_postgres.columns import Column, layout_of, table_name
from feast_postgres.online_rows import (
    Part,
    ResultRows,
    in_statements,
    key_array,
    make_part,
    select,
    serialized_keys,
)

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.protos.feast.types.Value_pb2 import Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_PLANS = 256
_Key = tuple[object, ...]
# Join keys of a table and their names in the request, None where it has no such name.
_Inputs = tuple[tuple[str, str | None], ...]

# Feature views and the features requested of each, as Feast groups them.
Grouped = Sequence[tuple["FeatureView", list[str]]]


@dataclass(frozen=True)
class Read:
    """One statement of a request, for tables that have the same keys from the same input.

    `inputs` are the join keys' names in the request, in the order of the tables' keys; None if the
    request has no such key. `positions` are those of the parts in the request.
    """

    statement: bytes
    inputs: _Inputs
    positions: tuple[int, ...]
    parts: tuple[Part, ...]

    def parameters(self, given: Mapping[str, Sequence[Value]], version: int) -> list[list[object]]:
        """The statement's parameters: an array per key."""
        entities = len(next(iter(given.values())))
        layout = self.parts[0].layout
        columns = [given[name] if name else () for _, name in self.inputs]
        if layout.serialized:
            join_keys = [join_key for join_key, _ in self.inputs]
            return serialized_keys(layout, join_keys, columns, version)
        return [
            key_array(key, values) if values else [None] * entities
            for key, values in zip(layout.keys, columns, strict=True)
        ]


class Plans:
    """A cache of the reads that requests need, by the features and views requested."""

    def __init__(self) -> None:
        self._plans: dict[_Key, tuple[list[FeatureView], list[Read]]] = {}

    def reads(
        self,
        grouped: Grouped,
        given: Mapping[str, Sequence[Value]],
        join_keys: Mapping[str, str],
        schema: str,
        project: str,
    ) -> list[Read]:
        """The reads of a request.

        Raises KeyError, as Feast does, if the request has none of a feature view's join keys.
        """
        inputs = [_inputs(view, given, join_keys) for view, _ in grouped]
        key = (
            schema,
            project,
            *(
                (id(view), tuple(names), one)
                for (view, names), one in zip(grouped, inputs, strict=True)
            ),
        )
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            # The views are stored too: while they exist, no other object has their ids.
            reads = _plan(grouped, inputs, schema, project)
            plan = [view for view, _ in grouped], reads
            self._plans[key] = plan
        return plan[1]


def _inputs(
    view: FeatureView, given: Mapping[str, Sequence[Value]], join_keys: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Of the view's join keys that the request has, its name and the request's name for it."""
    wanted = {join_keys[entity]: join_keys[entity] for entity in view.entities}
    # What a view calls its join key counts more than the key's own name, which may be for another
    # view: Feast takes what comes last in the request.
    aliases = {key: alias for key, alias in view.projection.join_key_map.items() if alias in given}
    found = tuple(
        (key, name)
        for key, name in sorted({**wanted, **aliases}.items())
        if key in wanted and name in given
    )
    if not any(given[name] for _, name in found):
        # A private function of Feast's, which raises the error that Feast would raise.
        utils._get_unique_entities(view, given, join_keys)
    return found


def _plan(
    grouped: Grouped,
    inputs: Sequence[tuple[tuple[str, str], ...]],
    schema: str,
    project: str,
) -> list[Read]:
    alike: dict[tuple[_Inputs, tuple[Column, ...]], list[tuple[int, Part]]] = {}
    for position, ((view, names), found) in enumerate(zip(grouped, inputs, strict=True)):
        layout = layout_of(view)
        given: _Inputs = found
        if not layout.serialized:
            by_key = dict(found)
            given = tuple((key.feature, by_key.get(key.feature)) for key in layout.keys)
        one = make_part(sql.Identifier(schema, table_name(project, view.name)), layout, names)
        alike.setdefault((given, layout.keys), []).append((position, one))
    reads = []
    for (given, _), positioned in alike.items():
        numbers = iter([position for position, _ in positioned])
        for together in in_statements([one for _, one in positioned]):
            statement = select(together).as_bytes(None)
            positions = tuple(next(numbers) for _ in together)
            reads.append(Read(statement, given, positions, tuple(together)))
    return reads


def populate(
    response: GetOnlineFeaturesResponse,
    grouped: Grouped,
    reads: Sequence[Read],
    rows_of_reads: Sequence[ResultRows],
    full_feature_names: bool,
    include_feature_view_version_metadata: bool,
) -> None:
    """Add the results of the reads to Feast's response, as Feast's own path would have."""
    found: list[Any] = [None] * len(grouped)
    for read, rows in zip(reads, rows_of_reads, strict=True):
        columns = iter(list(zip(*rows, strict=True))[1:])
        for position, one in zip(read.positions, read.parts, strict=True):
            moments, unwritten = next(columns), next(columns)
            found[position] = one, moments, unwritten, [next(columns) for _ in one.stored_columns]
    for (view, names), (one, moments, unwritten, natives) in zip(grouped, found, strict=True):
        prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""
        response.metadata.feature_names.val.extend(prefix + name for name in names)
        if include_feature_view_version_metadata:
            _add_version(response, view)
        present = _add_vectors(response, one, moments, unwritten, natives)
        with contextlib.suppress(Exception):  # metrics are an extra of Feast's
            from feast.metrics import track_feature_statuses

            track_feature_statuses(view.name, present, len(names) * len(moments) - present)


def _add_version(response: GetOnlineFeaturesResponse, view: FeatureView) -> None:
    name = view.projection.name_alias or view.projection.name
    if name not in [known.name for known in response.metadata.feature_view_metadata]:
        version = getattr(view, "current_version_number", 0) or 0
        response.metadata.feature_view_metadata.add(name=name, version=version)


def _add_vectors(
    response: GetOnlineFeaturesResponse,
    one: Part,
    moments: Sequence[datetime | None],
    unwritten: Sequence[list[str] | None],
    natives: Sequence[Sequence[Any]],
) -> int:
    """A vector per feature; returns how many values are present."""
    whole = not any(unwritten)
    if not whole:
        # A row to which none of the requested columns was ever written counts as no row.
        requested = {column.name for column in one.stored_columns}
        moments = [
            None if missing and requested <= set(missing) else moment
            for moment, missing in zip(moments, unwritten, strict=True)
        ]
    template = GetOnlineFeaturesResponse.FeatureVector()
    _add_timestamps(template, moments)
    present_status, absent = FieldStatus.PRESENT, FieldStatus.NOT_FOUND
    by_row = [absent if moment is None else present_status for moment in moments]
    remaining = iter(natives)
    present = 0
    for column in one.columns:
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
    vector: GetOnlineFeaturesResponse.FeatureVector, moments: Sequence[datetime | None]
) -> None:
    add = vector.event_timestamps.add
    for moment in moments:
        if moment is None:
            add()
        else:
            since = moment - _EPOCH
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
