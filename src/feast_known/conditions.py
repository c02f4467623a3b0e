"""Conditions in SQL for a source's rows, by `known_at` and `conditions` of an offline store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.data_source import DataSource
    from feast.repo_config import RepoConfig


def known_conditions(
    config: RepoConfig,
    source: DataSource,
    quoted: Callable[[str], str],
    timestamp: Callable[[datetime], str],
) -> list[str]:
    """What a row of the source, named `known`, has to meet: it was created by the configured
    `known_at`, and it meets the condition that is configured for the source. Empty if neither is.

    `quoted` makes a name of SQL, `timestamp` a time. Raises ValueError if `known_at` has no time
    zone, or the source no created timestamp column.
    """
    found = []
    known_at = config.offline_store.known_at
    if known_at is not None:
        if known_at.utcoffset() is None:
            raise ValueError(f"known_at {known_at} has no time zone")
        mapped = {feature: column for column, feature in source.field_mapping.items()}
        created = mapped.get(source.created_timestamp_column, source.created_timestamp_column)
        if not created:
            raise ValueError(
                f"Source {source.name!r} has no created_timestamp_column, so its rows as of "
                f"{known_at} are unknown. Name the column, or leave known_at out."
            )
        found.append(f"known.{quoted(created)} <= {timestamp(known_at)}")
    if condition := config.offline_store.conditions.get(source.name):
        found.append(f"({condition})")
    return found


def with_source(view: FeatureView, source: Any) -> FeatureView:
    """A copy of the view that reads `source`."""
    # The __dict__ of a FeatureView is private to Feast.
    # Its registry returns the same object again, so it is copied. Its own __copy__ calls the
    # constructor, which replaces a stream view's batch source by that of its stream.
    changed = object.__new__(type(view))
    changed.__dict__.update(view.__dict__)
    changed.batch_source = source
    return changed
