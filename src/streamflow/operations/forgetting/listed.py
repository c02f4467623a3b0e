"""The list of those who were forgotten, as a file of the home, for the restore of an older backup.

It is as secret as the salt in it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from streamflow.errors import UnreadableFile
from streamflow.postgres.database import Database
from streamflow.scratch import replacement
from streamflow.settings import Settings

FILE = "forgotten.json"


@dataclass(frozen=True)
class ListedLine:
    """A line of the list; salt and hash in hexadecimal digits, the time in UTC."""

    use_case: str
    salt: str
    hash: str
    forgotten_at: AwareDatetime
    forgotten_by: str
    why: str


def keep_list(settings: Settings, database: Database) -> None:
    """Copy the list of those who were forgotten into the home; only its owner can read it.

    Raises OSError.
    """
    lines = [
        asdict(ListedLine(**{**row, "salt": row["salt"].hex(), "hash": row["hash"].hex()}))
        for row in database.rows("forgotten_list")
    ]
    with replacement(settings.home / FILE) as new:
        new.write_text(json.dumps(lines, default=str, indent=1) + "\n", encoding="utf-8")


def take_list(file: Path, database: Database) -> int:
    """Add the lines of a list that the database hasn't, and return how many the list has.

    Raises UnreadableFile.
    """
    try:
        lines = TypeAdapter(list[ListedLine]).validate_json(file.read_bytes())
        values = [
            {**asdict(one), "salt": bytes.fromhex(one.salt), "hash": bytes.fromhex(one.hash)}
            for one in lines
        ]
    except (OSError, ValidationError, ValueError) as error:
        raise UnreadableFile(
            f"{file} can't be read as a list of those who were forgotten: "
            f"{str(error).partition(chr(10))[0].rstrip('.')}.",
            f"Name the file {FILE} of a home in which `streamflow forget` ran.",
        ) from error
    with database.transaction():
        for each in values:
            database.execute("record_forgotten", **each, tables="{}")
    return len(lines)
