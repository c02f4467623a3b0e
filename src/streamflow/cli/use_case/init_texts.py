"""What `init` prints: the columns of each file, the months, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.cli.terminal import print_table

if TYPE_CHECKING:
    from streamflow.operations.first_model import FirstModel
    from streamflow.scaffold.draft import Proposal
    from streamflow.scaffold.profile import Profile
    from streamflow.scaffold.several_months import SeveralMonths


def print_months(folder: Path, found: SeveralMonths) -> None:
    """Which months the files have."""
    columns = " and ".join(map(repr, found.column.split(",")))
    named = f"the column{'s' * ('and' in columns)} {columns}"
    told = named if found.column else "the names"
    first, newest = found.months[0], found.months[-1]
    if first == newest:
        print(f"{folder}: the month {newest}, by {told}; for another, say --as-of.")
    else:
        print(f"{folder}: {len(found.months)} months by {told}, {first} to {newest}.")


def print_columns(profiles: Sequence[Profile]) -> None:
    """A table for each file: type, nulls and values of each column, and why no narrower
    type."""
    for one in profiles:
        rows = [
            [
                column.name,
                column.kind,
                f"{column.nulls / column.rows:.1%}" if column.rows else "",
                _values(column.categories, column.lowest, column.highest, column.distinct),
                column.evidence,
            ]
            for column in one.columns
        ]
        title = f"{one.raw.path.name}{f', {one.raw.sheet}' if one.raw.sheet else ''}"
        heads = ["column", "type", "null", "values", "why not narrower"]
        print_table(f"{title}: {len(one.raw.rows):,} rows", heads, rows)
        print()


def _values(
    categories: Sequence[str], lowest: str | None, highest: str | None, distinct: int
) -> str:
    if lowest is not None:
        return f"{_short(lowest)} to {_short(highest or '')}"
    shown = ", ".join(categories[:4])
    if len(categories) > 4 or not categories:
        return f"{distinct:,} different" + (f": {shown}, …" if shown else "")
    return shown


def _short(number: str) -> str:
    """A number of many digits with four of them behind the point."""
    return f"{float(number):.4f}".rstrip("0") if len(number.partition(".")[2]) > 4 else number


def print_done(package: Path, proposal: Proposal, done: FirstModel) -> None:
    """The package, the first version, and the next commands."""
    for note in proposal.notes:
        print(f"note: {note}.")
    tables, features = len(proposal.tables + proposal.of_events), len(proposal.features)
    print(
        f"{package}: {tables} table{'s' * (tables != 1)}, {features} "
        f"feature{'s' * (features != 1)}; "
        f"{proposal.label_table}.{proposal.label_column} by {proposal.join_key}."
    )
    print(f"Version {done.version}: AUC {done.auc}, {done.rows:,} rows as of {done.as_of}.")
    print(done.judged_on)
    for warning in done.warnings:
        print(f"warning: {warning}")
    print("Next:")
    print(f"  export STREAMFLOW_USE_CASE={proposal.name} PYTHONPATH={package.parent.resolve()}")
    print(f'  streamflow promote {done.version} --to production --why "the first"')
    print("  streamflow up")
