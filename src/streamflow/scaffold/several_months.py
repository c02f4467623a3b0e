"""Files of several months: the column or the name that says which one, and their newest month."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.history.files.month_column import months_of_texts
from streamflow.history.files.month_folder import ENDINGS
from streamflow.history.files.month_names import months_by_folder, split_by_file
from streamflow.history.files.month_rows import month_texts
from streamflow.progress import Progress, silent
from streamflow.scaffold.names import plain_name
from streamflow.scaffold.profile import Column, Profile, profile
from streamflow.scaffold.raw_tables import RawTable, raw_tables
from streamflow.scaffold.written import NOTHING_TOLD, Told

if TYPE_CHECKING:
    import pyarrow as pa

# In a folder's or a file's name; digits before or after would be another number.
PATTERN = r"(?<!\d)(?P<year>(19|20)\d{2})[-_.]?(?P<month>0[1-9]|1[0-2])(?!\d)"
IS_MONTH = re.compile(
    r"^(month|monat|mois|mes|period|periode|yyyymm|yearmonth|year_month|ym|as_of|as_of_date|"
    r"snapshot|snapshot_date|snapshot_month|report_month|reporting_month|month_end|monthend|"
    r"stichtag|date_month|ref_month|reference_month|week|iso_week|year_week|yearweek|woche|kw|"
    r"kalenderwoche|semaine|semana|week_end|week_ending|week_start|week_starting|quarter|quartal|"
    r"trimestre|fiscal_quarter)$"
)
# Of the folder or file that a row came from.
MONTH = "month of the folder"
# A column of days that are many, such as the day of a birth, isn't one of months.
MOST_MONTHS = 240


@dataclass(frozen=True)
class SeveralMonths:
    """Months, oldest first, that `ingest` loads at once; `options` are what to type for it.

    Either `column` says of which month a row is, or `folders`, or files of one, say it by
    `pattern`.
    """

    months: tuple[date, ...]
    options: str
    folders: tuple[Path, ...] = ()
    column: str = ""
    pattern: str = ""


def profiles_of(
    folder: Path,
    scratch: Path,
    told: Told = NOTHING_TOLD,
    progress: Progress = silent,
    as_of: date | None = None,
) -> tuple[SeveralMonths | None, list[Profile]]:
    """What each table's columns are; and which months the files are of, if they are several, or
    names say which one it is and no `as_of` was told.

    `scratch` is for links to files; `told` is how values are written.
    Raises MissingFiles, InvalidSettings.
    """
    named = months_by_names(folder, scratch)
    if named is not None and len(named[1]) == 1 and as_of is not None:
        named = None
    if named is not None and len(named[1]) > 1:
        raw = merged({as_of: raw_tables(one, progress) for as_of, one in named[1].items()})
        by_names = months_by_column([profile(one, told) for one in raw])
        assert by_names is not None
        return named[0], by_names[1]
    (inside,) = named[1].values() if named is not None else (folder,)
    profiles = [profile(one, told) for one in raw_tables(inside, progress)]
    by_column = months_by_column(profiles)
    if by_column is None:
        return (named[0] if named is not None else None), profiles
    if named is not None:  # the name says when the files were made
        profiles = [profile(one, told) for one in raw_tables(folder, progress)]
        by_column = months_by_column(profiles)
        assert by_column is not None
    return by_column


def months_by_names(folder: Path, scratch: Path) -> tuple[SeveralMonths, dict[date, Path]] | None:
    """The months of a folder that has a folder for each, or files with months in their names; and
    each month's folder, which may be one alone. None if it has neither."""
    if not folder.is_dir():
        return None
    pattern = re.compile(PATTERN)
    own = [one for one in folder.iterdir() if one.is_file() and one.name.endswith(ENDINGS)]
    inside = sorted(one for one in folder.iterdir() if one.is_dir() and pattern.search(one.name))
    if not own and inside:
        found = months_by_folder(inside, pattern)
    elif own and all(pattern.search(one.name) for one in own):
        found = split_by_file(folder, pattern, scratch)
    else:
        return None
    folders = () if own else tuple(found.values())
    options = f"--as-of-pattern '{PATTERN}'"
    return SeveralMonths(tuple(found), options, folders, pattern=PATTERN), found


def merged(by_month: Mapping[date, Sequence[RawTable]]) -> list[RawTable]:
    """The tables of all months, each with the rows of all and the column `MONTH` beside them.

    How they are written is as in the newest month that has them.
    """
    import pyarrow as pa

    found: dict[str, list[tuple[date, RawTable]]] = {}
    for as_of, tables in by_month.items():
        for table in tables:
            found.setdefault(table.name, []).append((as_of, table))
    return [
        replace(
            several[-1][1],
            rows=pa.concat_tables(
                [
                    table.rows.append_column(
                        MONTH, pa.array([str(as_of)] * len(table.rows), pa.string())
                    )
                    for as_of, table in several
                ],
                promote_options="permissive",
            ),
            broken=tuple(one for _, table in several for one in table.broken),
        )
        for several in found.values()
    ]


def months_by_column(profiles: Sequence[Profile]) -> tuple[SeveralMonths, list[Profile]] | None:
    """The months of tables that have a column for them, and the tables without that column, where a
    key needs to tell the rows of a month apart alone. None if no table has one.

    Such a column is called so, has a month in each row, and more than one.
    """
    counts: dict[str, int] = {}
    for table in profiles:
        for column in table.columns:
            called = column.name == MONTH or IS_MONTH.fullmatch(plain_name(column.name))
            if called and len(_months(table, column)) > 1:
                counts[column.name] = counts.get(column.name, 0) + 1
    if not counts:
        return None
    name = max(counts, key=lambda one: counts[one])
    months: set[date] = set()
    tables = []
    for table in profiles:
        found = next((one for one in table.columns if one.name == name), None)
        if found is None:
            tables.append(table)
            continue
        months |= {*_months(table, found).values()}
        tables.append(_without(table, found))
    option = (
        f"--as-of-from-column {name}" if name.isidentifier() else f"--as-of-from-column '{name}'"
    )
    return SeveralMonths(tuple(sorted(months)), option, column=name), tables


def _months(table: Profile, column: Column) -> dict[str, date]:
    """By text, the as_of; nothing if a row has none."""
    if column.nulls or not 1 < column.distinct <= MOST_MONTHS:
        return {}
    texts = {*map(str, _texts(table, column.name).unique().to_pylist())}
    found = months_of_texts(texts)
    return found if found.keys() == texts else {}


def _without(table: Profile, month: Column) -> Profile:
    """The table without its column of months; columns that tell a month's rows apart are marked."""
    rows, columns = table.raw.rows, []
    months = _texts(table, month.name)
    for column in table.columns:
        if column.name == month.name:
            continue
        unique = False
        if column.nulls == 0 and 1 < column.distinct < column.rows:
            pairs = zip(months.to_pylist(), rows[column.name].to_pylist(), strict=True)
            unique = len(set(pairs)) == column.rows
        columns.append(replace(column, unique_in_month=unique))
    raw = replace(table.raw, rows=rows.drop_columns([month.name]))
    return replace(table, raw=raw, columns=tuple(columns))


def _texts(table: Profile, name: str) -> pa.Array:
    return month_texts(table.raw.rows[name].combine_chunks())
