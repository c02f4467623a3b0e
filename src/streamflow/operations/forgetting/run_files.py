"""Rows of runs: training sets and validation scores are written anew without those of a person.

A table of a run has a hash per row beside it. The person's row loses its nonce there first, and
then its place in the table, so that a run that was interrupted in between is finished by the next.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.lineage.document import LINEAGE_FILE
from streamflow.lineage.rows import row_hashes
from streamflow.lineage.rows.recorded_rows import ROOT_TAGS, hashes_file
from streamflow.operations.forgetting.rows_of_files import ids_of_parquet, leave_out_of_parquet
from streamflow.operations.mlflow_store import MlflowStore
from streamflow.postgres.queries import identifier
from streamflow.progress import Progress
from streamflow.training import canonical, dataset_table
from streamflow.training.candidate import SCORES_FILE
from streamflow.training.dataset_table import TRAINING_SET_FILE

if TYPE_CHECKING:
    import pyarrow as pa

# By file what has its SHA-256 in `lineage.json`.
_HASHES = {TRAINING_SET_FILE: ("data", "hash"), SCORES_FILE: ("model", "scores_hash")}


@dataclass(frozen=True)
class RunRows:
    """How many rows of a run's file are gone."""

    run_id: str
    file: str
    rows: int


def forget_in_runs(
    store: MlflowStore,
    join_key: str,
    entities: Sequence[str],
    randomness: Callable[[int], bytes],
    progress: Progress,
) -> list[RunRows]:
    """Leave the entities' rows out of the tables in the artifacts of all runs, deleted ones too.

    A run of before there were hashes of rows gets them now, if its table is what was recorded;
    `randomness` returns so many secret random bytes. Raises OSError.
    """
    done = []
    for folder in _folders(store.artifacts):
        progress(f"run {_run_of(folder)}")
        for file in sorted(folder.glob("*.parquet")):
            rows = _forget_in_table(store, folder, file, join_key, entities, randomness)
            if rows:
                done.append(RunRows(_run_of(folder), file.name, rows))
        for name in ROOT_TAGS:
            if not (folder / name).exists() and hashes_file(folder / name).exists():
                _without_table(hashes_file(folder / name), entities)
    return done


def _folders(artifacts: Path) -> Iterator[Path]:
    """The folders with tables of a run, each named `artifacts` in one that is named by its id."""
    if artifacts.is_dir():
        yield from sorted(
            one
            for one in artifacts.rglob("artifacts")
            if one.is_dir() and not one.is_symlink() and any(one.glob("*.parquet"))
        )


def tables_of_runs(artifacts: Path) -> Iterator[Path]:
    """The Parquet files of all runs, deleted ones too."""
    for folder in _folders(artifacts):
        yield from sorted(folder.glob("*.parquet"))


def _run_of(folder: Path) -> str:
    return folder.parent.name


def _forget_in_table(
    store: MlflowStore,
    folder: Path,
    file: Path,
    join_key: str,
    entities: Sequence[str],
    randomness: Callable[[int], bytes],
) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = ids_of_parquet(file, join_key)
    if ids is None:
        return 0
    wanted = pa.array(sorted(entities), ids.type)
    if not pc.any(pc.is_in(ids, value_set=wanted)).as_py():
        return 0
    if file.name in ROOT_TAGS:
        table, beside = dataset_table.read(file), hashes_file(file)
        if not beside.exists() and _is_as_recorded(folder, file.name, table):
            hashes = row_hashes.row_hashes(
                table,
                randomness(row_hashes.NONCE_BYTES * table.num_rows),
                with_ids=False,
            )
            _tag(store, _run_of(folder), ROOT_TAGS[file.name], hashes.root)
            row_hashes.write(hashes, beside)
        if beside.exists():
            hashes = row_hashes.read(beside)
            row_hashes.write(row_hashes.without(hashes, entities, table), beside)
    return leave_out_of_parquet(file, join_key, frozenset(entities))


def _without_table(beside: Path, entities: Sequence[str]) -> None:
    hashes = row_hashes.read(beside)
    after = row_hashes.without(hashes, entities, None)
    if after != hashes:
        row_hashes.write(after, beside)


def _is_as_recorded(folder: Path, name: str, table: pa.Table) -> bool:
    try:
        document = json.loads((folder / LINEAGE_FILE).read_text(encoding="utf-8"))
        section, key = _HASHES[name]
        recorded = document[section][key]
    except (OSError, ValueError, KeyError):
        return False
    return bool(canonical.hashes(table)[0] == recorded)


def _tag(store: MlflowStore, run_id: str, key: str, value: str) -> None:
    names = {"table": identifier(store.schema, "tags")}
    store.database.execute("set_run_tag", names, run_id=run_id, key=key, value=value)


def forget_in_tags(store: MlflowStore, keys: Sequence[str], entities: Sequence[str]) -> int:
    """Cut off the values of tags of these keys before the example in them, where they name one of
    the entities; returns how many they were. Tags of today name nobody."""
    count = 0
    for table in ("tags", "model_version_tags"):
        names = {"table": identifier(store.schema, table)}
        changed = store.database.execute(
            "cut_tags", names, keys=list(keys), ids=list(entities)
        ).rowcount
        if changed:
            store.database.execute("rewrite_table", names)
        count += changed
    if count:
        store.database.execute("rewrite_statistics")
    return count
