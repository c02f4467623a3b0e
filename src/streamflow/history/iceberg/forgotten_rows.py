"""Rows of entities are taken out of the files of a history, and out of all snapshots of it."""

from __future__ import annotations

from collections.abc import Sequence

from streamflow.columnar.literals import literal, rendered
from streamflow.history.forgotten.salted_hash import pads
from streamflow.history.iceberg.data_files import data_files
from streamflow.history.iceberg.rewriting import in_one_file, month_of, replace_files, rows_of
from streamflow.history.iceberg.session import IcebergSession
from streamflow.postgres.queries import identifier, quoted, subquery


def forget_rows_of_files(
    session: IcebergSession, use_case: str, key: str, entities: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Write the files with rows of the entities anew without them, in the thread's transaction; by
    entity and table, how many rows there were. Only the newest snapshot of each table stays.

    The files of before are in no table then, and are there until `remove_unneeded_files`. Raises
    OSError, FeatureStoreUnavailable.
    """
    theirs = f"{quoted(key)} IN ({', '.join(map(literal, entities))})"
    found: dict[str, dict[str, int]] = {}
    for row in session.rows("iceberg_tables", use_case=use_case):
        table = session.catalog.load_table((use_case, row["table_name"]))
        old, new = [], []
        for file in data_files(table):
            query = f"SELECT {quoted(key)}, count(*) FROM ({rows_of(table, [file], theirs)})"
            with session.cursor() as cursor:
                counts = cursor.execute(f"{query} GROUP BY ALL").fetchall()
            if not counts:
                continue
            for entity, rows in counts:
                of_entity = found.setdefault(entity, {})
                name = f"{use_case}.{row['table_name']}"
                of_entity[name] = of_entity.get(name, 0) + rows
            old.append(file)
            others = rows_of(table, [file], f"NOT ({theirs})")
            left = in_one_file(session, table, key, month_of(file), others, "without")
            if left is not None:
                new.append(left)
        current = table.current_snapshot()
        before = [] if current is None else table.metadata.snapshots
        # With files to replace, a new snapshot comes, and the current one goes, too.
        gone = [one.snapshot_id for one in before if old or one is not current]
        if old or gone:
            replace_files(table, old, new, gone)
    return found


def entities_with_hash(
    session: IcebergSession, use_case: str, key: str, salt: bytes, hashes: Sequence[bytes]
) -> set[str]:
    """The entities with rows in the files whose hash with this salt is one of `hashes`.

    Raises OSError, FeatureStoreUnavailable.
    """
    values = {name: one.hex() for name, one in pads(salt).items()}
    found: set[str] = set()
    for row in session.rows("iceberg_tables", use_case=use_case):
        table = session.catalog.load_table((use_case, row["table_name"]))
        if not (files := data_files(table)):
            continue
        ids = f"(SELECT DISTINCT {quoted(key)} FROM ({rows_of(table, files)})) AS ids"
        text = rendered(
            "entities_with_hash",
            {"table": subquery(ids), "column": identifier(key)},
            {**values, "hashes": [one.hex() for one in hashes]},
        )
        with session.cursor() as cursor:
            found.update(entity for (entity,) in cursor.execute(text).fetchall())
    return found
