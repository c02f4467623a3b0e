"""The files of a month's folder, and what lies there instead of one that is missing."""

from __future__ import annotations

import os
from pathlib import Path

from streamflow.errors import MissingFiles
from streamflow.use_case import Table

# Of the files of a month; what is in a .txt or .tsv file is CSV.
ENDINGS = (".csv", ".csv.gz", ".parquet", ".xlsx", ".tsv", ".txt")
_COMPRESSED = (".bz2", ".gz", ".lz4", ".xz", ".zip", ".zst")


class NotArrived(MissingFiles):
    """The month's files aren't there yet: nothing lies where they are looked for that might be
    meant."""

    code = "missing_files"


def find_files(folder: Path, tables: tuple[Table, ...]) -> dict[str, Path]:
    """The file of each table that has arrived, by the table's name.

    Raises MissingFiles if a table has none, two, or one that can't be read; with what lies there
    under a similar name. A table that arrives later may have none, but nothing similar either.
    It's NotArrived if files may still come: the folder that they come to is there, and nothing else
    is wrong.
    """
    if not folder.is_dir():
        comes_later = folder.parent.is_dir() and not os.path.lexists(folder)
        kind = NotArrived if comes_later else MissingFiles
        raise _missing(f"There is no folder {folder}.", kind)
    found: dict[str, Path] = {}
    missing: list[str] = []
    similar: list[str] = []
    for table in tables:
        names = _names(table)
        existing = [folder / name for name in names if (folder / name).is_file()]
        if len(existing) > 1:
            raise MissingFiles(
                f"Table {table.name!r} has two files in {folder}: "
                f"{existing[0].name} and {existing[1].name}.",
                "Remove the one that isn't meant.",
            )
        if existing:
            if not os.access(existing[0], os.R_OK):
                raise _missing(f"You have no right to read {existing[0]}.")
            found[table.name] = existing[0]
            continue
        instead = [_instead(path, table) for path in sorted(folder.iterdir())]
        meant = [one for one in instead if one]
        if meant or not table.arrives_later:
            missing.append(names[0])
            similar += meant
    if missing:
        there = f" There is {'; '.join(similar)}." if similar else ""
        lacking = ", ".join(missing)
        raise (MissingFiles if similar else NotArrived)(
            f"{folder} lacks {lacking}.{there}",
            "Name a folder with one CSV, Parquet or Excel file per table: `streamflow ingest DIR`; "
            f'or, if not every month has it, write Table("{Path(missing[0]).stem}", …, '
            "arrives_later=True) in the use case.",
        )
    return found


def _names(table: Table) -> list[str]:
    if table.sheet:  # of a workbook with several; other files are the table's alone
        own = [f"{table.name}{ending}" for ending in ENDINGS]
        return list(dict.fromkeys([f"{table.file or table.name}.xlsx", *own]))
    name = table.file or table.name
    return [f"{name}{ending}" for ending in ENDINGS]


def _instead(path: Path, table: Table) -> str | None:
    """What lies at `path`, if it's likely meant to be the table's file, and what to do with it."""
    folded, name = path.name.casefold(), f"{path.name!r}"
    wanted = [one.casefold() for one in _names(table)]
    if path.is_dir():
        return f"{name}, which is a folder" if folded in wanted else None
    if path.is_symlink() and not path.exists():
        return f"{name}, a link to nothing" if folded in wanted else None
    if folded.endswith(_COMPRESSED) and any(folded.startswith(one) for one in wanted):
        return f"{name}, which is compressed: unpack it"
    if folded.strip() in wanted:
        return f"{name}: rename it to {folded.strip()}"
    if folded.split(".")[0].strip() == (table.file or table.name).casefold():
        return None if table.arrives_later else f"{name}, whose name ends otherwise"
    return None


def _missing(message: str, kind: type[MissingFiles] = MissingFiles) -> MissingFiles:
    return kind(
        message,
        "Name a folder with one CSV, Parquet or Excel file per table: `streamflow ingest DIR`.",
    )
