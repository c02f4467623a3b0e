"""What has to be said or corrected before a use case can be written from a month's files."""

from __future__ import annotations

from collections.abc import Sequence

from streamflow.errors import InvalidSettings, MissingFiles
from streamflow.scaffold.profile import Profile

_MOST_SHOWN = 5


def require_readable(tables: Sequence[Profile]) -> None:
    """Raise MissingFiles for rows that can't be read, InvalidSettings for numbers that may be meant
    in two ways; nothing is written then."""
    broken = [(table.raw.path, one) for table in tables for one in table.raw.broken]
    if broken:
        shown = [f"  {one}" for _, one in broken[:_MOST_SHOWN]]
        if len(broken) > _MOST_SHOWN:
            shown.append(f"  … and {len(broken) - _MOST_SHOWN:,} more")
        files = ", ".join(sorted({str(path) for path, _ in broken}))
        raise MissingFiles(
            "\n".join([f"{len(broken):,} row(s) can't be read; nothing was written.", *shown]),
            f"Correct {files}: a value that has a separator or a line break in it stands in double "
            "quotes, and notes are no rows. Then run the same `streamflow init` again.",
        )
    for table in tables:
        for one in table.unclear:
            if not one.is_date:
                raise InvalidSettings(
                    f"{one.said}; nothing was written.",
                    f"Say {one.next}, or write all numbers in one way.",
                )
