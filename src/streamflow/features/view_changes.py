"""What an apply does to the feature views, without taking away what a model version needs.

A view whose new definition lacks what a kept version reads gets a new table online. The old table
stays, and with it the old definition, as a view of another name in Feast's registry: it goes on
being materialized, and the version reads what it read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from feast_postgres.versions import TABLE_TAG
from streamflow.errors import InvalidSettings
from streamflow.features.kept.views import (
    feature_types,
    is_kept,
    kept_name,
    kept_view,
    meets,
    model_view,
    online_table,
    reads,
    source_table,
    version,
)
from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    from feast import Entity, FeatureView

# What the models of the versions that stay servable read, by version.
Kept = Mapping[int, FeatureSchema]


@dataclass(frozen=True)
class ViewChange:
    """A feature view in Feast's registry, before and after an apply.

    `table` is its online table: `view`, or `view@vN` for another one than the first. `added` and
    `dropped` have types by feature, `retyped` the type before and after. `versions` are the kept
    ones that need a view that isn't the use case's any more. `definition` is what is applied; None
    if the view is removed.
    """

    feature_view: str
    change: Literal["added", "changed", "unchanged", "kept", "removed"]
    table: str
    added: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    retyped: dict[str, tuple[str, str]] = field(default_factory=dict)
    versions: list[int] = field(default_factory=list)
    definition: FeatureView | None = field(default=None, compare=False, repr=False)


def view_changes(
    defined: Sequence[FeatureView],
    registered: Sequence[FeatureView],
    entities: Iterable[Entity],
    kept: Kept,
) -> list[ViewChange]:
    """The changes from the views in Feast's registry to those of the use case.

    Raises InvalidSettings if a view that a kept version reads would come from another table.
    """
    before = {view.name: view for view in registered}
    names = {view.name for view in defined}
    changes: list[ViewChange] = []
    for view in defined:
        older = [one for one in registered if model_view(one) == view.name != one.name]
        changes += [_still_kept(one, entities, kept) for one in older]
        changes += _changed(view, before.get(view.name), older, entities, kept)
    for view in registered:
        if view.name in names or model_view(view) in names:
            continue
        users = _needing(view, kept)
        if is_kept(view):
            changes.append(_still_kept(view, entities, kept))
        elif users:
            schemas = [kept[one] for one in users]
            changes.append(_kept(kept_view(view, entities, view.name, schemas), users))
        else:
            changes.append(ViewChange(view.name, "removed", online_table(view)))
    return changes


def _changed(
    view: FeatureView,
    old: FeatureView | None,
    older: Sequence[FeatureView],
    entities: Iterable[Entity],
    kept: Kept,
) -> Iterator[ViewChange]:
    """What becomes of one of the use case's views, `old` in the registry, and of `old`."""
    newest = max(map(version, [*older, *([old] if old else [])]), default=-1)
    users = _needing(old, kept) if old is not None else []
    if old is not None and source_table(old) != source_table(view):
        if users or older:
            raise _other_table(view, old, users)
        # Its rows are of another table: it starts anew.
        yield ViewChange(view.name, "removed", online_table(old))
        old, newest = None, -1
    if old is None:
        new = _with_table(view, newest + 1)
        yield ViewChange(
            view.name, "added", online_table(new), added=feature_types(new), definition=new
        )
        return
    lost = [one for one in users if not meets(view, kept[one])]
    new = _with_table(view, newest + 1 if lost else version(old))
    if lost:
        name = kept_name(f"{view.name}@v{version(old)}")
        schemas = [kept[one] for one in lost]
        yield _kept(kept_view(old, entities, name, schemas), lost)
    before, after = feature_types(old), feature_types(new)
    shared = before.keys() & after.keys()
    retyped = {name: (before[name], after[name]) for name in after if name in shared}
    change = ViewChange(
        view.name,
        "changed",
        online_table(new),
        added={name: kind for name, kind in after.items() if name not in shared},
        dropped={name: kind for name, kind in before.items() if name not in shared},
        retyped={name: kinds for name, kinds in retyped.items() if kinds[0] != kinds[1]},
        definition=new,
    )
    same = before == after and old.ttl == new.ttl and not is_kept(old)
    yield replace(change, change="unchanged") if same else change


def _needing(view: FeatureView, kept: Kept) -> list[int]:
    """The kept versions that read the view and that it has all for."""
    return [
        number
        for number, schema in kept.items()
        if reads(schema, model_view(view)) and meets(view, schema)
    ]


def _still_kept(view: FeatureView, entities: Iterable[Entity], kept: Kept) -> ViewChange:
    """A view that an apply of before has kept, for the versions that need it now."""
    users = _needing(view, kept)
    rows = view.batch_source.get_table_query_string()[1:-1]
    schemas = [kept[one] for one in users]
    return _kept(kept_view(view, entities, view.name, schemas, rows), users)


def _kept(view: FeatureView, versions: list[int]) -> ViewChange:
    return ViewChange(view.name, "kept", online_table(view), versions=versions, definition=view)


def _with_table(view: FeatureView, number: int) -> FeatureView:
    """The view with the tag that names its table, if that isn't the first one."""
    view.tags = {name: text for name, text in view.tags.items() if name != TABLE_TAG}
    if number:
        view.tags[TABLE_TAG] = f"{view.name}@v{number}"
    return view


def _other_table(view: FeatureView, old: FeatureView, users: Sequence[int]) -> InvalidSettings:
    said = f"version {', '.join(map(str, users))} reads it" if users else "older ones are kept"
    return InvalidSettings(
        f"Feature view {view.name!r} is made from table {source_table(view)!r} now; "
        f"in Feast's registry from {source_table(old)!r}, and {said}.",
        f'Give it another name, such as FeatureView(name="{view.name}_2", …).',
    )
