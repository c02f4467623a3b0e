"""Who was forgotten and is there again, by an older backup say, is forgotten again: by the hash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from streamflow.errors import InvalidSettings
from streamflow.history.forgotten.forgotten import ForgottenLine, forgotten_lines
from streamflow.history.forgotten.salted_hash import salted_hash
from streamflow.operations.forgetting import history_files, rows_of_files, run_files
from streamflow.operations.forgetting.forget import AGAIN, Forgotten, forget
from streamflow.operations.forgetting.space import Left
from streamflow.operations.forgetting.tables import entity_tables, with_hash
from streamflow.operations.mlflow_store import mlflow_store
from streamflow.platform import Platform
from streamflow.progress import Progress, silent


def forget_again(platform: Platform, progress: Progress = silent) -> Forgotten:
    """Forget everybody again who was forgotten and is there; see `forget`."""
    lines = forgotten_lines(platform.database, platform.use_case)
    if not lines:
        return Forgotten([], {}, [], [])
    progress("looking for who was forgotten")
    found, left = {*_in_tables(platform, lines)}, list[Left]()
    try:
        found |= {*_in_runs(platform, lines)}
    except InvalidSettings as error:
        left.append(Left("files of runs", error.message, f"{error.next} Then {AGAIN}."))
    if not found:
        return Forgotten([], {}, [], left)
    # Their lines are there: nothing of this is recorded.
    return forget(platform, sorted(found), "", "", lines[-1].forgotten_at, progress)


def _in_tables(platform: Platform, lines: Iterable[ForgottenLine]) -> Iterable[str]:
    database, use_case = platform.database, platform.use_case
    hashes: dict[bytes, list[bytes]] = defaultdict(list)
    for line in lines:
        hashes[line.salt].append(line.hash)
    for salt, of_salt in hashes.items():
        for table in entity_tables(database, use_case):
            yield from with_hash(database, use_case, table, salt, of_salt)
        yield from history_files.with_hash(database, use_case, salt, of_salt)


def _in_runs(platform: Platform, lines: Iterable[ForgottenLine]) -> Iterable[str]:
    known = {(line.salt, line.hash) for line in lines}
    salts = {salt for salt, _ in known}
    looked_at: set[str] = set()
    with mlflow_store(platform.settings, platform.database) as store:
        for file in run_files.tables_of_runs(store.artifacts):
            ids = rows_of_files.ids_of_parquet(file, platform.use_case.join_key)
            new = set(ids.unique().to_pylist()) - looked_at if ids is not None else set()
            looked_at |= new
            for entity in new:
                if any((salt, salted_hash(salt, entity)) in known for salt in salts):
                    yield entity
