"""The keys of a staged file: each an id, there once, known, and not one that looks like another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streamflow.entity_id import HIDDEN, LONGEST, PATTERN, RULE, SPACES
from streamflow.history.violations import Report, Violation, with_code_points
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable
from streamflow.use_case import Table, UseCase

# Two ids look the same if they are equal in Unicode's normal form C, with each run of spaces as one
# space, without spaces at the ends, and without what isn't seen. These ids are so already:
_PLAIN = r"^[!-~]+( [!-~]+)*$"
_FOLDED = {
    "spaces": rf"[\u0009-\u000d\u00a0\u202f{SPACES}]+",
    # Also what only selects a letter's shape, and tags; ids of old months may have what is hidden.
    "unseen": rf"[{HIDDEN}\ufe00-\ufe0f\U000e0000-\U000e01ef]",
}
_LONGEST_SHOWN = 400
_SIMILAR = (
    "no two ids look the same, in the file or with history; "
    'or the use case says similar_ids="allow"'
)


def check_keys(
    database: Database,
    use_case: UseCase,
    table: Table,
    names: Mapping[str, Composable],
    file: str,
    report: Report,
    *,
    unique: bool,
) -> None:
    """Report each key that breaks a rule.

    `names` has the staging table, the key, the history that is known, and the staging table of the
    `entities`. With `unique`, the staging table has an index by which a key is there once.
    """

    def violation(line: int, value: str, rule: str) -> None:
        report(Violation(file, line, use_case.join_key, value, rule))

    for row in [] if unique else database.rows("duplicate_keys", names):
        violation(row["line"], row["value"], "a key is there once")
    if table.name != use_case.entity_table:
        for line, value in _unknown(database, names, use_case.entity_table):
            violation(line, value, f"a key is in {use_case.entity_table}")
        return  # what is in the entity table is an id
    for row in database.rows("refused_ids", names, longest=LONGEST, pattern=PATTERN):
        violation(row["line"], with_code_points(row["value"])[:_LONGEST_SHOWN], f"an id is {RULE}")
    if use_case.similar_ids != "allow":
        for row in database.rows("similar_ids", names, plain=_PLAIN, **_FOLDED):
            both = f"{with_code_points(row['value'])} and {with_code_points(row['other'])}"
            violation(row["line"], both[:_LONGEST_SHOWN], _SIMILAR)


def _unknown(
    database: Database, names: Mapping[str, Composable], entity_table: str
) -> Iterator[tuple[int, str]]:
    """Line and value of each key that the entity table lacks."""
    unknown = list(database.rows("unknown_keys", names))
    similar = {}
    if unknown:
        rows = database.rows("similar_entities", names, **_FOLDED)
        similar = {row["line"]: row["other"] for row in rows}
    for row in unknown:
        line, value = row["line"], row["value"]
        if line in similar:
            there = with_code_points(similar[line])
            value = f"{with_code_points(value)} ({entity_table} has {there})"[:_LONGEST_SHOWN]
        yield line, value
