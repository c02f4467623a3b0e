"""Files of several months: the column or the name that says which one, and their newest month."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from streamflow.errors import MissingFiles
from streamflow.history.files.month_column import months_of_texts
from streamflow.history.files.month_folder import ENDINGS
from streamflow.history.files.month_names import months_by_folder, split_by_file
from streamflow.history.files.month_rows import joined_texts
from streamflow.progress import Progress, silent
from streamflow.scaffold.names import plain_name
from streamflow.scaffold.profile import Profile, profile
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
# Of two columns beside each other, the words before these are the same, such as report_.
_OF_YEAR = re.compile(r"^(?P<of>[a-z_]*?_)?(year|yr|yyyy|jahr|annee|ano|anno)$")
_IN_YEAR = re.compile(
    r"^(?P<of>[a-z_]*?_)?(month|month_(no|nr|number|num|name)|mm|mon|monat|monatsnummer|mois|mes|mese|"
    r"week|iso_week|week_(no|nr|number)|kw|woche|kalenderwoche|semaine|semana|quarter|quartal|"
    r"trimestre)$"
)
# Of the folder or file that a row came from.
MONTH = "month of the folder"
# A column of days that are many, such as the day of a birth, isn't one of months.
MOST_MONTHS = 240


@dataclass(frozen=True)
class SeveralMonths:
    """Months, oldest first, that `ingest` loads at once; `options` are what to type for it.

    Either `column` says of which month a row is, or two with a comma between them do; or `folders`,
    or files of one, say it by `pattern`.
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
    Raises MissingFiles (also if no table is in several of the months that names say),
    InvalidSettings.
    """
    named = months_by_names(folder, scratch)
    if named is not None and len(named[1]) == 1 and as_of is not None:
        named = None
    if named is not None and len(named[1]) > 1:
        raw = merged({as_of: raw_tables(one, progress) for as_of, one in named[1].items()})
        by_names = months_by_column([profile(one, told) for one in raw])
        if by_names is None:
            months = ", ".join(map(str, named[1]))
            raise MissingFiles(
                f"{folder} has files of several months by their names ({months}), and no table "
                "that is in two of them.",
                "Put the files of one month into a folder: `streamflow init DIR`.",
            )
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
    """The months of tables that have a column for them, or one for the year and one for the month;
    and the tables without those columns, where a key needs to tell the rows of a month apart alone.
    None if no table has one.

    Such a column is called so, has a month in each row, and more than one. If they are two, or not
    all tables have it, something is in several months, once in each: a table of events may have the
    month of each event, and its customers are of no month.
    """
    found = [dict(_candidates(table)) for table in profiles]
    by_columns: dict[tuple[str, ...], list[dict[str, date]]] = {}
    for of_table in found:
        for columns, meant in of_table.items():
            by_columns.setdefault(columns, []).append(meant)

    def rank(columns: tuple[str, ...]) -> tuple[bool, int, int]:
        different = {as_of for meant in by_columns[columns] for as_of in meant.values()}
        return MONTH in columns, len(by_columns[columns]), len(different)

    for chosen in sorted(by_columns, key=rank, reverse=True):
        tables = [
            _without(table, chosen) if chosen in own else table
            for table, own in zip(profiles, found, strict=True)
        ]
        of_all = len(chosen) == 1 and len(by_columns[chosen]) == len(profiles)
        several = any(_tells_apart(*one, chosen) for one in zip(tables, found, strict=True))
        if of_all or several or MONTH in chosen:
            months = {as_of for meant in by_columns[chosen] for as_of in meant.values()}
            name = ",".join(chosen)
            quoted = name if all(map(str.isidentifier, chosen)) else quote(name)
            options = f"--as-of-from-column {quoted}"
            return SeveralMonths(tuple(sorted(months)), options, column=name), tables
    return None


def _tells_apart(
    table: Profile, months: Mapping[tuple[str, ...], dict[str, date]], chosen: tuple[str, ...]
) -> bool:
    """Whether something is in several months, once in each."""
    several = chosen in months and 2 * len(months[chosen]) <= len(table.raw.rows)
    return several and any(one.unique_in_month for one in table.columns)


def _candidates(table: Profile) -> Iterator[tuple[tuple[str, ...], dict[str, date]]]:
    """The columns that may say of which month a row is, with what each of their texts means."""
    names = {one.name: plain_name(one.name) for one in table.columns}
    for name, plain in names.items():
        called = name == MONTH or IS_MONTH.fullmatch(plain)
        if called and (months := _months(table, (name,))):
            yield (name,), months
    for year, plain in names.items():
        of_year = _OF_YEAR.fullmatch(plain)
        for other, plain_other in names.items():
            in_year = _IN_YEAR.fullmatch(plain_other)
            if of_year is None or in_year is None or of_year["of"] != in_year["of"]:
                continue
            columns = (year, other)
            if "," not in year + other and (months := _months(table, columns)):
                yield columns, months


def _months(table: Profile, columns: tuple[str, ...]) -> dict[str, date]:
    """By text, the as_of; nothing if a row has none."""
    if any(table.column(one).nulls for one in columns):
        return {}
    texts = _texts(table, columns).unique().to_pylist()
    if not 1 < len(texts) <= MOST_MONTHS or None in texts:
        return {}
    found = months_of_texts({*texts})
    return found if len(found) == len(texts) else {}


def _without(table: Profile, of_month: tuple[str, ...]) -> Profile:
    """The table without its columns of months; those that tell a month's rows apart are marked."""
    rows, columns = table.raw.rows, []
    months = _texts(table, of_month)
    for column in table.columns:
        if column.name in of_month:
            continue
        unique = False
        may_be_key = column.nulls == 0 and column.kind != "Float64"
        if may_be_key and 1 < column.distinct < column.rows:
            pairs = zip(months.to_pylist(), rows[column.name].to_pylist(), strict=True)
            unique = len(set(pairs)) == column.rows
        columns.append(replace(column, unique_in_month=unique))
    raw = replace(table.raw, rows=rows.drop_columns([*of_month]))
    return replace(table, raw=raw, columns=tuple(columns))


def _texts(table: Profile, columns: tuple[str, ...]) -> pa.Array:
    return joined_texts({one: table.raw.rows[one].combine_chunks() for one in columns})
