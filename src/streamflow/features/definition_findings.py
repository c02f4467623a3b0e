"""What is wrong with a use case's Feast definitions, held against its tables' contracts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamflow.features.sources import history_source
from streamflow.history.contract_findings import contract_types
from streamflow.training.dataset_table import LABEL
from streamflow.use_case import Label, Table, UseCase
from streamflow.use_case.findings import Finding, raised
from streamflow.use_case.module import nearest

if TYPE_CHECKING:
    from feast import Entity, FeatureService, FeatureView
    from feast.feature_view_projection import FeatureViewProjection

# Feast's field type by the contract's type; a date is no feature.
FIELD_TYPES = {"Int64": "Int64", "Float64": "Float64", "boolean": "Bool", "string": "String"}

COMPUTE_BEFORE = (
    "what it computes is neither trained on nor served: compute it in the table's file, or in the "
    "estimator's pipeline"
)


@dataclass(frozen=True)
class _Definitions:
    """The use case's definitions by their names, and its tables' columns with their types."""

    use_case: UseCase
    entities: Mapping[str, Entity]
    views: Mapping[str, FeatureView]
    columns: Mapping[str, Mapping[str, str]]


def definition_findings(use_case: UseCase, tables: Iterable[Table]) -> list[Finding]:
    """What is wrong with the use case's Feast definitions, over the `tables` that can be read."""
    from feast import Entity, FeatureService, FeatureView

    try:
        objects = list(use_case.features())
    except Exception as error:
        return [raised("features", error, "a function that returns [entity, view, …, service]")]
    definitions = _Definitions(
        use_case,
        {one.name: one for one in objects if isinstance(one, Entity)},
        {one.name: one for one in objects if isinstance(one, FeatureView)},
        {table.name: contract_types(table) for table in tables},
    )
    services = [one for one in objects if isinstance(one, FeatureService)]
    findings = [*_object_findings(objects)]
    for view in definitions.views.values():
        findings += _source_findings(view, definitions)
        findings += _entity_findings(view, definitions)
    return [*findings, *_service_findings(services, objects, definitions)]


def _object_findings(objects: Sequence[Any]) -> Iterator[Finding]:
    from feast import OnDemandFeatureView

    names: Counter[tuple[str, str]] = Counter()
    for one in objects:
        name = getattr(one, "name", None)
        if not isinstance(name, str):
            yield Finding("features", f"{one!r:.80} isn't a definition of Feast", "Leave it out")
            continue
        names[type(one).__name__, name.lower()] += 1
        if isinstance(one, OnDemandFeatureView):
            yield Finding(
                f"on-demand feature view {name!r}",
                COMPUTE_BEFORE,
                "the feature as a column of its table, and no on-demand feature view",
            )
    for (kind, name), count in names.items():
        if count > 1:
            yield Finding("features", f"{count} times {kind} {name!r}", f'{kind}(name="{name}_2"…)')


def _source_findings(view: FeatureView, definitions: _Definitions) -> Iterator[Finding]:
    """Each view reads the history of a table, so that it can be cut at a moment of knowing."""
    where, tables = f"feature view {view.name!r}", definitions.columns
    source = view.batch_source
    name = nearest(view.name if source is None else source.name, tables)
    if source is None or source.name not in tables:
        named = "it has no source" if source is None else f"there is no table {source.name!r}"
        yield Finding(where, named, f'source=history_source("{name}")')
        return
    if getattr(view, "source_views", None) or not _same_source(source, source.name):
        yield Finding(
            where,
            f"its source isn't the history of {source.name!r}",
            f'source=history_source("{source.name}")',
        )
    columns = tables[source.name]
    for field in view.features:
        if field.name not in columns:
            kinds = [column for column, kind in columns.items() if kind in FIELD_TYPES]
            like = nearest(field.name, [one for one in kinds if one != _key(definitions)])
            yield Finding(
                f"{where}, field {field.name!r}",
                f"table {source.name!r} has no such column",
                f'Field(name="{like}", dtype={FIELD_TYPES.get(columns.get(like, ""), "…")})',
            )


def _same_source(source: Any, table: str) -> bool:
    ours = history_source(table)
    return (
        type(source) is type(ours)
        and source.get_table_query_string() == ours.get_table_query_string()
        and source.timestamp_field == ours.timestamp_field
        and source.created_timestamp_column == ours.created_timestamp_column
        and not source.field_mapping
    )


def _entity_findings(view: FeatureView, definitions: _Definitions) -> Iterator[Finding]:
    from feast import ValueType

    where, key = f"feature view {view.name!r}", _key(definitions)
    names = [name for name in view.entities if name != "__dummy"]
    if len(names) != 1:
        said = f"it has the entities {', '.join(names)}" if names else "it has no entity"
        fitting = [name for name, one in definitions.entities.items() if one.join_key == key]
        yield Finding(where, f"{said}; it needs one", f"entities=[{(*fitting, 'entity')[0]}]")
        return
    entity = definitions.entities.get(names[0])
    if entity is None:
        yield Finding(
            where,
            f"its entity {names[0]!r} isn't in the list that features() returns",
            f"return [{names[0]}, …]",
        )
    elif isinstance(key, str) and (entity.join_key, entity.value_type) != (key, ValueType.STRING):
        yield Finding(
            f"entity {entity.name!r}",
            f"it has the join key {entity.join_key!r} of the type {entity.value_type.name}",
            f'Entity(name="{entity.name}", join_keys=["{key}"], value_type=ValueType.STRING)',
        )


def _service_findings(
    services: Sequence[FeatureService], objects: Sequence[Any], definitions: _Definitions
) -> Iterator[Finding]:
    wanted = definitions.use_case.feature_service
    service = next((one for one in services if one.name == wanted), None)
    where = f"feature service {wanted!r}"
    if service is None:
        named = [one.name for one in services]
        yield Finding(
            "feature_service",
            f"features() returns no feature service {wanted!r}",
            f'feature_service="{nearest(wanted, named)}"'
            if named
            else f'FeatureService(name="{wanted}", features=[{", ".join(definitions.views)}])',
        )
        return
    others = {one.name for one in objects if hasattr(one, "name")} - {*definitions.views}
    used: Counter[str] = Counter()
    types: dict[str, str] = {}
    for projection in projections(service, definitions.views):
        view = definitions.views.get(projection.name)
        if view is not None:
            used.update(field.name for field in projection.features)
            types |= {field.name: str(field.dtype) for field in projection.features}
            yield from _served_view_findings(view, projection, definitions)
        elif projection.name not in others:
            yield Finding(
                where,
                f"its feature view {projection.name!r} isn't in the list that features() returns",
                f"return [{projection.name}, …]",
            )
    if not used:
        yield Finding(
            where, "it names no feature", f'FeatureService(name="{wanted}", features=[…])'
        )
    for name, count in used.items():
        if count > 1:
            yield Finding(
                where,
                f"{count} of its feature views have a feature {name!r}",
                f'another name for one of the columns, such as "{name}_2"',
            )
    if used:
        yield from _unseen_findings(definitions.use_case.unseen, types)
        yield from _phrase_findings(definitions.use_case.phrases, types)


def _unseen_findings(unseen: object, types: Mapping[str, str]) -> Iterator[Finding]:
    """Of the rules for values that training never saw; `types` are those of the features."""
    for name, rule in unseen.items() if isinstance(unseen, Mapping) else ():
        if name not in types:
            like = nearest(name, types)
            yield Finding(
                "unseen", f"there is no feature {name!r}", f'unseen={{"{like}": "{rule}"}}'
            )
        elif rule == "other" and types[name] != "String":
            yield Finding(
                "unseen",
                f"{name!r} is no String, so that it has no other category",
                f'unseen={{"{name}": "warn"}}',
            )


def _phrase_findings(phrases: object, types: Mapping[str, str]) -> Iterator[Finding]:
    for name in phrases if isinstance(phrases, Mapping) else ():
        if name not in types:
            like = nearest(name, types)
            yield Finding(
                "phrases", f"there is no feature {name!r}", f'phrases={{"{like}": "{{value}} …"}}'
            )


def _served_view_findings(
    view: FeatureView, projection: FeatureViewProjection, definitions: _Definitions
) -> Iterator[Finding]:
    from feast import FeatureView

    where = f"feature view {view.name!r}"
    if type(view) is not FeatureView:
        kind = type(view).__name__
        yield Finding(where, f"it is a {kind}; {COMPUTE_BEFORE}", "FeatureView(…) in its place")
    if not (view.online and getattr(view, "enabled", True)):
        yield Finding(where, "the API can't read what isn't online", "online=True, enabled=True")
    if projection.join_key_map:
        yield Finding(where, "another key can't be mapped to it", f"features=[{view.name}]")
    if projection.version_tag is not None:
        yield Finding(where, "an older version of it can't be served", f"features=[{view.name}]")
    if not projection.features:
        yield Finding(where, "it names no field", 'schema=[Field(name="…", dtype=Float64)]')
    source = view.batch_source.name if view.batch_source is not None else ""
    columns = definitions.columns.get(source, {})
    for field in projection.features:
        if field.name in columns:
            yield from _served_field_findings(
                f"{where}, field {field.name!r}", field, source, columns[field.name], definitions
            )


def _served_field_findings(
    where: str, field: Any, table: str, column_type: str, definitions: _Definitions
) -> Iterator[Finding]:
    label, kind = definitions.use_case.label, str(field.dtype)
    wanted = FIELD_TYPES.get(column_type)
    if isinstance(label, Label) and field.name == label.column:
        said = "the label itself" if table == label.table else "named like the label"
        yield Finding(where, f"a feature is {said}", "the feature service without it")
    elif field.name in (LABEL, _key(definitions)):
        yield Finding(
            where,
            "the training set has a column of its own with this name",
            f'"{field.name}_2" as the name of the column',
        )
    elif wanted is None:
        yield Finding(
            where,
            f"its column is a {column_type}, which is no feature",
            "a column with what counts, such as the days since then",
        )
    elif kind != wanted:
        yield Finding(
            where,
            f"its type is {kind}, its column in {table!r} is {column_type}",
            f'Field(name="{field.name}", dtype={wanted})',
        )


def projections(
    service: FeatureService, views: Mapping[str, FeatureView]
) -> list[FeatureViewProjection]:
    """The service's selections of features, those that it names by text among them."""
    found = list(service.feature_view_projections)
    # Feast resolves `view` and `view:feature` when the service is applied.
    for reference in getattr(service, "_pending_feature_refs", ()):
        name, _, feature = reference.partition(":")
        if name in views:
            view = views[name]
            found.append((view[[feature]] if feature else view).projection)
    return found


def _key(definitions: _Definitions) -> str:
    return definitions.use_case.join_key
