"""Which column tells the rows apart, and which one is to be predicted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from streamflow.errors import InvalidSettings
from streamflow.scaffold.names import plain_name
from streamflow.scaffold.profile import Column, Profile

IS_KEY = re.compile(r"(^|_)(id|key|nr|no|number|num|code|uuid|guid|nummer)$|id$")
# A column of several states, of which some are what is looked for.
IS_STATE = re.compile(r"(^|_)(status|state|stand|outcome|result)$")
MOST_STATES = 10
IS_LABEL = re.compile(
    r"churn|label|target|outcome|fail|default|fraud|attrition|dropped|dropout|cancel|kuendigung|"
    r"closed|left|exited|is_lost|response|converted|^y$"
)


def propose_key(profiles: Sequence[Profile], wanted: str | None = None) -> str:
    """The column by which rows are told apart, by its name in the use case.

    It is the one that tells the rows of the most tables apart and is called so. Raises
    InvalidSettings if there is none, or no `wanted` one.
    """
    names = sorted({plain_name(one.name) for table in profiles for one in table.columns})
    if wanted is not None:
        if plain_name(wanted) not in names:
            raise InvalidSettings(
                f"No file has a column {wanted!r}.", f"Say one of: --key {', '.join(names)}."
            )
        return plain_name(wanted)

    def rank(name: str) -> tuple[object, ...]:
        columns = _columns_named(profiles, name)
        places = [list(table.columns).index(one) for table, one in columns]
        unique = sum(one.unique for _, one in columns)
        return unique, len(columns), bool(IS_KEY.search(name)), -min(places), name

    unique = [one for one in names if any(col.unique for _, col in _columns_named(profiles, one))]
    if not unique:
        raise InvalidSettings(
            "No column has another value in each row, so no row can be told from the others.",
            "A table of a month has one row per entity; say which column it is: --key NAME.",
        )
    return max(unique, key=rank)


def propose_label(profiles: Sequence[Profile], key: str, wanted: str | None = None) -> str:
    """The column to be predicted as `table.column`, by names of the use case.

    It is one with two values, by preference one that is called so, or one of a few states, in a
    table with one row per key. Raises InvalidSettings.
    """
    there = {
        f"{table.raw.name}.{plain_name(one.name)}": one
        for table in profiles
        if _one_row_each(table, key)
        for one in table.columns
        if plain_name(one.name) != key and one.kind != "date"
    }
    columns = {name: one for name, one in there.items() if one.distinct == 2}
    states = {name: one for name, one in there.items() if 2 < len(one.categories) <= MOST_STATES}
    called = {
        name: one
        for name, one in states.items()
        if IS_LABEL.search(name) or IS_STATE.search(name.partition(".")[2])
    }
    if wanted is not None:
        columns |= states
    elif not columns:
        columns = called
    if wanted is not None:
        found = [
            one for one in columns if plain_name(wanted) in (plain_name(one), one.partition(".")[2])
        ]
        if len(found) == 1:
            return found[0]
        what = "isn't a column with a few values" if not found else f"may be {' or '.join(found)}"
        raise InvalidSettings(
            f"The label {wanted!r} {what}.", f"Say one of: --label {', '.join(columns)}."
        )
    if not columns:
        raise InvalidSettings(
            "No column has two values, so none can be the label.",
            "The label says yes or no of each entity; add its file, or a column of 1 and 0.",
        )

    def rank(name: str) -> tuple[object, ...]:
        table, _, column = name.partition(".")
        size = next(len(one.columns) for one in profiles if one.raw.name == table)
        named = bool(IS_LABEL.search(column)) + bool(IS_LABEL.search(table))
        return named, columns[name].kind == "boolean", -size, list(columns).index(name)

    return max(columns, key=rank)


def _one_row_each(table: Profile, key: str) -> bool:
    """Whether each row has a key of its own, as far as the table has one by that name."""
    named = [one for one in table.columns if plain_name(one.name) == key]
    return not named or named[0].unique


def _columns_named(profiles: Sequence[Profile], name: str) -> list[tuple[Profile, Column]]:
    return [
        (table, one) for table in profiles for one in table.columns if plain_name(one.name) == name
    ]
