"""A person's rows in a history in Apache Iceberg: taken out of its files, and no byte is left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from streamflow.errors import FeatureStoreUnavailable, StreamFlowError
from streamflow.history.history_table import require_rows_here
from streamflow.history.iceberg.session import IcebergSession
from streamflow.operations.forgetting.space import FINISH, Left
from streamflow.postgres.database import Database
from streamflow.progress import Progress
from streamflow.use_case import UseCase

_FOR_EVER = datetime.max.replace(tzinfo=UTC)


def require_reachable(database: Database, use_case: UseCase) -> None:
    """Raise InvalidSettings if history isn't where the database reads it."""
    if not isinstance(database, IcebergSession):
        require_rows_here(database, use_case.name)
        return
    from streamflow.history.iceberg.tables import require_place

    require_place(database, use_case.name, database.location)


def delete(
    database: Database, use_case: UseCase, entities: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Take the entities' rows out of the files of history, in the thread's transaction; by entity
    and table, how many there were. None where history is in PostgreSQL.

    Raises FeatureStoreUnavailable.
    """
    if not isinstance(database, IcebergSession):
        return {}
    from streamflow.history.iceberg.forgotten_rows import forget_rows_of_files

    try:
        return forget_rows_of_files(database, use_case.name, use_case.join_key, entities)
    except OSError as error:
        raise FeatureStoreUnavailable(
            f"History can't be written to {database.location}: {error.strerror or error}.",
            "Make room there, or let it be written, and run the same command again; nobody was "
            "forgotten.",
        ) from error


def with_hash(
    database: Database, use_case: UseCase, salt: bytes, hashes: Sequence[bytes]
) -> set[str]:
    """The entities with rows in the files of history whose hash with this salt is one of `hashes`.
    None where history is in PostgreSQL.

    Raises FeatureStoreUnavailable.
    """
    if not isinstance(database, IcebergSession):
        return set()
    from streamflow.history.iceberg.forgotten_rows import entities_with_hash

    try:
        return entities_with_hash(database, use_case.name, use_case.join_key, salt, hashes)
    except OSError as error:
        raise FeatureStoreUnavailable(
            f"History can't be read from {database.location}: {error.strerror or error}.",
            "Let it be read, and run the same command again; nobody was forgotten.",
        ) from error


def remove_files_of_before(database: Database, use_case: UseCase, progress: Progress) -> list[Left]:
    """Remove all files of history that its tables don't have now; what is left, and why."""
    if not isinstance(database, IcebergSession):
        return []
    from streamflow.history.iceberg.unneeded_files import remove_unneeded_files

    what = f"files in {database.location}"
    progress("files of history")
    try:
        unneeded = remove_unneeded_files(database, use_case.name, _FOR_EVER)
    except StreamFlowError as error:
        return [Left(what, error.message, f"{error.next} Then {FINISH}")]
    except OSError as error:
        return [Left(what, f"{error.strerror or error}", FINISH)]
    if not unneeded.removed:
        reason = f"a step is running that may read {unneeded.files:,} of them"
        return [Left(what, reason, f"when it has ended: {FINISH}")]
    return []
