"""Whether the definitions in Feast's registry are those of the use case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from streamflow.errors import InvalidSettings
from streamflow.features.definition_findings import projections
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    from feast import FeatureService, FeatureView


def require_applied(
    service: FeatureService, views: Mapping[str, FeatureView], use_case: UseCase
) -> None:
    """Raise InvalidSettings if the registry's `service` and `views` aren't the use case's.

    Otherwise a model would be trained on what the use case was, not on what it is.
    """
    from feast import FeatureService, FeatureView

    objects = use_case.features()
    defined_views = {one.name: one for one in objects if isinstance(one, FeatureView)}
    (defined_service,) = (
        one for one in objects if isinstance(one, FeatureService) and one.name == service.name
    )
    applied = _outline(service, views)
    defined = _outline(defined_service, defined_views)
    if list(applied.items()) == list(defined.items()):
        return
    lacking = [name for name in defined if name not in applied]
    left = [name for name in applied if name not in defined]
    changed = [name for name in defined if defined[name] != applied.get(name, defined[name])]
    said = [
        f"{what} {', '.join(names)}"
        for what, names in (("lacks", lacking), ("still has", left), ("has another", changed))
        if names
    ]
    raise InvalidSettings(
        f"Feature service {service.name!r} in Feast's registry isn't that of the use case "
        f"{use_case.name!r}: it {'; it '.join(said) or 'has another order'}.",
        "Run `streamflow apply`.",
    )


def _outline(
    service: FeatureService, views: Mapping[str, FeatureView]
) -> dict[str, tuple[str, object, str]]:
    """By `view:feature`, in the service's order: the type, the ttl and the source."""
    outline = {}
    for projection in projections(service, views):
        if projection.name not in views:
            continue
        view = views[projection.name]
        for field in projection.features:
            name = f"{projection.name}:{field.name}"
            outline[name] = (str(field.dtype), view.ttl or None, view.batch_source.name)
    return outline
