"""The use case's definitions in Feast's registry: what an apply changes there, and the apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from streamflow.errors import InvalidSettings
from streamflow.features.definition_findings import projections
from streamflow.features.engines.feature_errors import unavailable
from streamflow.features.feature_store import quiet
from streamflow.features.kept.views import lacking as lacking
from streamflow.features.view_changes import Kept, view_changes
from streamflow.features.view_changes import ViewChange as ViewChange
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    from feast import FeatureService, FeatureStore, FeatureView

Change = Literal["added", "changed", "unchanged", "removed"]


@dataclass(frozen=True)
class Changes:
    """What becomes of Feast's registry and, with its feature views, of the tables online."""

    feature_views: list[ViewChange]
    feature_services: dict[str, Change]
    entities: dict[str, Change]
    before: list[FeatureView] = field(compare=False, repr=False)

    @property
    def after(self) -> list[FeatureView]:
        """The feature views that are in the registry afterwards."""
        return [one.definition for one in self.feature_views if one.definition is not None]

    @property
    def kept(self) -> dict[str, list[int]]:
        """By feature view that is there for older models alone, the versions that need it."""
        kept = [one for one in self.feature_views if one.change == "kept"]
        return {one.feature_view: one.versions for one in kept}


def planned(store: FeatureStore, use_case: UseCase, kept: Kept | None = None) -> Changes:
    """What `apply` would do.

    Raises InvalidSettings if the feature service is missing, or if a view that a `kept` version
    reads would come from another table; FeatureStoreUnavailable.
    """
    from feast import Entity, FeatureService, FeatureView

    objects = use_case.features()
    if use_case.feature_service not in {object.name for object in objects}:
        raise InvalidSettings(
            f"The definitions of {use_case.name!r} have no feature service "
            f"{use_case.feature_service!r}.",
            "Add it to the use case's features module.",
        )
    with unavailable("Feast's registry can't be read"):
        registered = {view.name: view for view in store.list_feature_views()}
        known_services = {one.name: one for one in store.list_feature_services()}
        known_entities = {one.name: one for one in store.list_entities()}
    views = {one.name: one for one in objects if isinstance(one, FeatureView)}
    services = {one.name: one for one in objects if isinstance(one, FeatureService)}
    before = {name: _selection(one, registered) for name, one in known_services.items()}
    entities = {one.name: one for one in objects if isinstance(one, Entity)}
    return Changes(
        view_changes(
            [*views.values()], [*registered.values()], known_entities.values(), kept or {}
        ),
        _changes(before, {name: _selection(one, views) for name, one in services.items()}),
        {
            name: change
            for name, change in _changes(known_entities, entities).items()
            if change != "removed"  # an entity stays: no definition of before lacks its own
        },
        [*registered.values()],
    )


def apply(store: FeatureStore, use_case: UseCase, changes: Changes | None = None) -> Changes:
    """Write the use case's definitions to Feast's registry, as it was `planned`; without a plan,
    no version is kept.

    The online store's tables follow. It may be killed at any point and run again. Raises as
    `planned` does.
    """
    from feast import FeatureView

    changes = changes or planned(store, use_case)
    given = {one.feature_view: one.definition for one in changes.feature_views if one.definition}
    objects = [one for one in use_case.features() if not isinstance(one, FeatureView)]
    removed = [one.feature_view for one in changes.feature_views if one.change == "removed"]
    staying = [one.feature_view for one in changes.feature_views if one.change == "kept"]
    services = [name for name, one in changes.feature_services.items() if one == "removed"]
    with unavailable("Feast's definitions can't be applied"), quiet():
        gone = [store.get_feature_view(name) for name in removed]
        again = [view for view in gone if view.name in given]
        # What stays is first: if this is killed, no definition that a model needs is lost. A view
        # that comes again from another table goes before it comes.
        if staying:
            store.apply([given[name] for name in staying])
        if again:
            store.apply([], objects_to_delete=again, partial=False)
        store.apply(
            [*objects, *(view for name, view in given.items() if name not in staying)],
            objects_to_delete=[
                *(view for view in gone if view not in again),
                *(store.get_feature_service(name) for name in services),
            ],
            partial=False,
        )
    return changes


def _selection(service: FeatureService, views: Mapping[str, FeatureView]) -> list[tuple[str, str]]:
    return [
        (projection.name, field.name)
        for projection in projections(service, views)
        for field in projection.features
    ]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    changes: dict[str, Change] = {}
    for name, value in after.items():
        same = "unchanged" if name in before and before[name] == value else "changed"
        changes[name] = same if name in before else "added"  # type: ignore[assignment]
    return changes | {name: "removed" for name in before if name not in after}
