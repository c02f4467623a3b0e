"""A person is forgotten: rows, files of the home, files of runs, and the bytes that are left.

Each part is done whole or not at all, and finds by itself what is left to do: after a kill, the
same command goes on. What can't be reached is told, with the next command.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from streamflow.errors import DataRefused, StreamFlowError
from streamflow.history.forgotten.forgotten import forgotten_lines
from streamflow.history.forgotten.salted_hash import SALT_BYTES
from streamflow.lineage.reproduction import WHY_TAG
from streamflow.operations.forgetting import history_files, home_files, listed, run_files, space
from streamflow.operations.forgetting.rows import Person, forget_rows
from streamflow.operations.forgetting.run_files import RunRows
from streamflow.operations.forgetting.space import Left
from streamflow.operations.mlflow_store import mlflow_store
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.progress import Progress, silent

AGAIN = "the same command again"


class NotForgotten(DataRefused):
    """What was asked for would keep the id."""


@dataclass(frozen=True)
class Forgotten:
    """Who was forgotten, and what was done: rows by table, places by file, runs by their id with
    the rows of each that are gone. `left` is what isn't done yet.
    """

    people: list[Person]
    files: dict[str, int]
    runs: list[RunRows]
    left: list[Left]


def forget(
    platform: Platform,
    entities: Sequence[str],
    why: str,
    who: str,
    now: datetime,
    progress: Progress = silent,
    randomness: Callable[[int], bytes] = secrets.token_bytes,
    *,
    even_if_unknown: bool = False,
    later: bool = False,
) -> Forgotten:
    """Forget the entities, which is recorded with `why`, `who` and `now` (UTC).

    `randomness` returns so many secret random bytes. With `later`, the files of the database keep
    the bytes until `finish`.
    Raises NotForgotten if `why` has one of the ids, UnknownPerson, NotPermitted, InvalidSettings
    for a history that is elsewhere, FeatureStoreUnavailable if its files can't be written; nothing
    is done then.
    """
    database = platform.database
    history_files.require_reachable(database, platform.use_case)
    for entity in entities:
        if re.search(rf"(?<!\w){re.escape(entity)}(?!\w)", why):
            raise NotForgotten(
                "The reason has an id in it, and the reason is kept for ever.",
                "Say --why without the id.",
            )
    # What is under way ends first, and nothing begins: it could write what it has read before.
    with Database(database.url) as locking, locking.transaction():
        progress("waiting for running steps")
        locking.execute("lock_steps")
        progress("rows")
        people = forget_rows(
            *(database, platform.use_case, entities, why, who, now, randomness(SALT_BYTES)),
            even_if_unknown=even_if_unknown,
        )
        numbers = [one.forgotten_id for one in people]
        progress("files")
        files, left = _files(platform, entities)
        if not left:
            _done(database, numbers, "files")
        runs, of_runs = _runs(platform, entities, randomness, progress)
        if not of_runs:
            _done(database, numbers, "runs")
        left += of_runs
    if later:
        left.append(Left("the database's files", "it was put off", space.FINISH))
    else:
        left += finish(platform, progress)
    return Forgotten(people, files, runs, left)


def finish(platform: Platform, progress: Progress = silent) -> list[Left]:
    """Take the bytes of everybody who was forgotten out of the database's files; what is left."""
    database, use_case = platform.database, platform.use_case
    unfinished = [line for line in forgotten_lines(database, use_case) if "space" not in line.steps]
    if not unfinished:
        return []
    tables = {name for line in unfinished for name in line.tables}
    left = history_files.remove_files_of_before(database, use_case, progress)
    left += space.reclaim(database, use_case, tables, progress)
    if not left:
        _done(database, [line.forgotten_id for line in unfinished], "space")
    return left


def _files(platform: Platform, entities: Sequence[str]) -> tuple[dict[str, int], list[Left]]:
    try:
        listed.keep_list(platform.settings, platform.database)
        key = platform.use_case.join_key
        return home_files.forget_in_home(platform.settings, key, entities), []
    except OSError as error:
        return {}, [Left("files of the home", f"{error.strerror}: {error.filename}", AGAIN)]


def _runs(
    platform: Platform,
    entities: Sequence[str],
    randomness: Callable[[int], bytes],
    progress: Progress,
) -> tuple[list[RunRows], list[Left]]:
    key = platform.use_case.join_key
    try:
        with mlflow_store(platform.settings, platform.database) as store:
            runs = run_files.forget_in_runs(store, key, entities, randomness, progress)
            run_files.forget_in_tags(store, [WHY_TAG], entities)
        return runs, []
    except StreamFlowError as error:
        return [], [Left("files of runs", error.message, f"{error.next} Then {AGAIN}.")]
    except OSError as error:
        return [], [Left("files of runs", f"{error.strerror}: {error.filename}", AGAIN)]


def _done(database: Database, numbers: Sequence[int], step: str) -> None:
    if numbers:
        database.execute("record_forgotten_step", forgotten_ids=list(numbers), step=step)
