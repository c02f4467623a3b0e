"""The tables of the online store: created, changed and dropped as the feature views are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psycopg import Connection, sql

from feast_postgres.columns import (
    TableLayout,
    referenced_table,
    table_layout,
    table_name,
    version_prefix,
)
from feast_postgres.tables import copy_rows, drop, exclusively, exists, reconcile, versions
from feast_postgres.versions import known_version, online_table, table_reference, versioned

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.repo_config import RepoConfig


def update_tables(
    connection: Connection[object],
    config: RepoConfig,
    to_delete: Sequence[FeatureView],
    to_keep: Sequence[FeatureView],
) -> None:
    """Create, change or drop tables to match the feature views, in one transaction per view."""
    # One transaction for all views could deadlock with a reader of two of their tables.
    schema = config.online_store.db_schema
    with exclusively(connection, schema):
        # IF NOT EXISTS needs the right to create schemas even if the schema exists.
        if not connection.execute(
            "SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]
        ).fetchone():
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    for view in to_delete:
        with exclusively(connection, schema):
            drop_tables(connection, config, view)
    for view in to_keep:
        with exclusively(connection, schema):
            table = online_table(connection, config, view)
            layout = table_layout(view)
            if (reference := table_reference(view)) is not None:
                new = not exists(connection, table)
                reconcile(connection, table, layout)
                if new:
                    _copy_version_before(connection, config, reference, layout)
                continue
            # If the version isn't known, the table may be another version's. It must not lose
            # columns.
            unknown = versioned(config) and known_version(view) is None
            if not unknown or not exists(connection, table):
                reconcile(connection, table, layout)


def _copy_version_before(
    connection: Connection[object], config: RepoConfig, reference: str, layout: TableLayout
) -> None:
    """A new version that a view's tag names has the rows of the version before."""
    schema, project = config.online_store.db_schema, config.project
    name, _, number = reference.partition("@v")
    before = [0, *versions(connection, schema, version_prefix(project, name))]
    for version in sorted(before, reverse=True):
        old = sql.Identifier(schema, table_name(project, name, version))
        if version < int(number or 0) and exists(connection, old):
            new = sql.Identifier(schema, referenced_table(project, reference))
            copy_rows(connection, old, new, layout)
            return


def drop_tables(connection: Connection[object], config: RepoConfig, view: FeatureView) -> None:
    """Drop the table that the view's tag names; without a tag, the view's table and those of its
    versions, if they were ever turned on."""
    schema, project = config.online_store.db_schema, config.project
    if (reference := table_reference(view)) is not None:
        drop(connection, sql.Identifier(schema, referenced_table(project, reference)))
        return
    for version in [0, *versions(connection, schema, version_prefix(project, view.name))]:
        drop(connection, sql.Identifier(schema, table_name(project, view.name, version)))


def table_to_write(
    connection: Connection[object], config: RepoConfig, view: FeatureView
) -> sql.Identifier:
    """The view's table; that of a version which `update_tables` wasn't given is created."""
    table = online_table(connection, config, view)
    if versioned(config) and not exists(connection, table):
        with exclusively(connection, config.online_store.db_schema):
            reconcile(connection, table, table_layout(view))
    return table
