"""The files of a history in Apache Iceberg become few, and those that nobody needs are removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from streamflow.errors import FeatureStoreUnavailable, InvalidSettings
from streamflow.history.history_table import require_rows_here
from streamflow.history.iceberg.session import IcebergSession
from streamflow.pipeline.step_lock import one_step
from streamflow.platform import Platform
from streamflow.progress import Progress, silent

if TYPE_CHECKING:
    from streamflow.history.iceberg.compacting import CompactedTable
    from streamflow.history.iceberg.unneeded_files import UnneededFiles

# Readers by other programs take no lock; those of a snapshot end before it is so long replaced.
LONGEST_READING = timedelta(days=1)


@dataclass(frozen=True)
class Compacted:
    """The histories whose files were written anew, and the files that nobody needs any more."""

    tables: list[CompactedTable]
    unneeded: UnneededFiles


def compact_history(
    platform: Platform, older_than: timedelta, now: datetime, progress: Progress = silent
) -> Compacted:
    """Write small files of the use case's history to few large ones, with the same rows, and remove
    the files that no snapshot has had for `older_than` before `now` (UTC).

    Raises InvalidSettings if history is in PostgreSQL, FeatureStoreUnavailable if files can't be
    read or written, DatabaseUnavailable; each history is as it was, or compacted, then.
    """
    from streamflow.history.iceberg.compacting import compact
    from streamflow.history.iceberg.unneeded_files import remove_unneeded_files

    session, use_case = platform.database, platform.use_case
    if not isinstance(session, IcebergSession):
        require_rows_here(session, use_case.name)
        raise InvalidSettings(
            f"History of {use_case.name!r} is in PostgreSQL, and has no files to compact.",
            "Nothing is to be done. `streamflow move-history --to LOCATION` moves it to files.",
        )
    replaced_before = now - older_than
    try:
        with one_step(session):
            tables = compact(session, use_case.name, use_case.join_key, replaced_before, progress)
        progress("files that nobody needs")
        return Compacted(tables, remove_unneeded_files(session, use_case.name, replaced_before))
    except OSError as error:
        raise FeatureStoreUnavailable(
            f"History can't be compacted in {session.location}: {error.strerror or error}.",
            "Make room there, or let it be read and written, and run the same command again; no "
            "row was changed.",
        ) from error
