"""Why a backup can't be made or restored."""

from __future__ import annotations

from streamflow.errors import StreamFlowError


class BackupRefused(StreamFlowError):
    """A backup can't be made or restored; nothing was changed."""


class TamperedBackup(BackupRefused):
    """A backup isn't what was written."""

    def __init__(self, file: object, member: str, what: str) -> None:
        super().__init__(
            f"{file} was damaged or changed: {member} {what}.", "Restore another backup."
        )


class NotEmpty(BackupRefused):
    """Something exists where the backup should be restored to."""
