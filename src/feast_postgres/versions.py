"""Versions of a feature view side by side: which one a view is, and its table.

A tag `feast_postgres.table` of a view names its table: `view`, or `view@vN` for version N. Without
it, with `enable_online_feature_view_versioning` in the registry's configuration, each version has a
table of its own: version 0 the table that the view has without versions, version N one that is
named `view@vN`, as Feast names it in a reference to a feature (`view@vN:feature`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg import Connection, errors, sql

from feast_postgres.columns import (
    TableLayout,
    referenced_table,
    table_layout,
    table_name,
    version_prefix,
)
from feast_postgres.tables import existing_columns, versions

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.repo_config import RepoConfig


# The tag of a feature view that says which table is its own.
TABLE_TAG = "feast_postgres.table"


def versioned(config: RepoConfig) -> bool:
    """Whether Feast's versions of a feature view have tables of their own."""
    return bool(getattr(config.registry, "enable_online_feature_view_versioning", False))


def table_reference(view: FeatureView) -> str | None:
    """The table that the view's tag names; None without a tag."""
    return (view.tags or {}).get(TABLE_TAG)


def known_table(config: RepoConfig, view: FeatureView) -> str | None:
    """The name of the view's table; None if the database must be asked for it."""
    if (reference := table_reference(view)) is not None:
        return referenced_table(config.project, reference)
    return None if versioned(config) else table_name(config.project, view.name)


def known_version(view: FeatureView) -> int | None:
    """The version that the request names, or the view itself; None if neither does.

    Feast's copies of a view have no version (a feature service reads copies), nor has a view that
    was applied again without a change.
    """
    from feast.version_utils import parse_version

    requested = getattr(view.projection, "version_tag", None)
    current = getattr(view, "current_version_number", None)
    latest, pinned = parse_version(getattr(view, "version", None) or "latest")
    for version in (requested, current, None if latest else pinned):
        if version is not None:
            return int(version)
    return None


def served_version(connection: Connection[object], config: RepoConfig, view: FeatureView) -> int:
    """The version whose table has the view's rows: if it isn't known, the newest one with the same
    columns. 0 without versions."""
    if not versioned(config):
        return 0
    version = known_version(view)
    if version is None:
        version = _newest_alike(connection, config, view, table_layout(view))
    return version or 0


def served_table(connection: Connection[object], config: RepoConfig, view: FeatureView) -> str:
    """The name of the table of a feature view."""
    return known_table(config, view) or table_name(
        config.project, view.name, served_version(connection, config, view)
    )


def online_table(
    connection: Connection[object], config: RepoConfig, view: FeatureView
) -> sql.Identifier:
    """The table of a feature view, in the schema that the configuration names."""
    return sql.Identifier(config.online_store.db_schema, served_table(connection, config, view))


@contextmanager
def missing_table_named() -> Iterator[None]:
    """Say what to run where a view's table doesn't exist."""
    try:
        yield
    except errors.UndefinedTable as error:
        message = error.diag.message_primary
        raise errors.UndefinedTable(
            f"{message}: the feature view, or this version of it, has no table in the online "
            "store yet. Run `feast apply`, then `feast materialize`."
        ) from error


def _newest_alike(
    connection: Connection[object], config: RepoConfig, view: FeatureView, layout: TableLayout
) -> int | None:
    schema, project = config.online_store.db_schema, config.project
    wanted = {(column.name, column.value_type, True) for column in layout.keys}
    wanted |= {(column.name, column.value_type, False) for column in layout.feature_columns}
    found = versions(connection, schema, version_prefix(project, view.name))
    for version in [*sorted(found, reverse=True), 0]:
        table = sql.Identifier(schema, table_name(project, view.name, version))
        columns = existing_columns(connection, table)
        if {column for column in columns if column[1] is not None} == wanted:
            return version
    return None
