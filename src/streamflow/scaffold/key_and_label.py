"""Which column tells the rows apart, and which one is to be predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamflow.errors import InvalidSettings
from streamflow.scaffold.names import plain_name
from streamflow.scaffold.profile import Column, Profile
from streamflow.scaffold.words import IS_KEY, IS_ROW_NUMBER, IS_STATE, label_strength, not_known

MOST_STATES = 10
# Of a key under another name, so many of its values have to be those of the others.
SAME_VALUES = 0.9


def propose_key_and_label(
    profiles: Sequence[Profile], key: str | None = None, label: str | None = None
) -> tuple[str, str]:
    """The column by which rows are told apart, and the one to be predicted as `table.column`, by
    their names in the use case; `key` and `label` are what was said of them.

    They are found together: the key is one of the label's table. Raises InvalidSettings.
    """
    if key is not None:
        chosen = propose_key(profiles, key)
        return chosen, propose_label(profiles, chosen, label)
    keys = _keys(profiles)
    found = [one for one in keys if any(_labels(profiles, one, label))] or keys[:1]
    strengths = {one: _best_strength(profiles, one, label) for one in found}
    found = [one for one in found if strengths[one] == max(strengths.values())]
    if len(found) > 1:  # the first of equals is the best key
        found.sort(key=lambda one: -sum(one_row_each(profiles, table, one) for table in profiles))
    return found[0], propose_label(profiles, found[0], label)


def propose_key(profiles: Sequence[Profile], wanted: str | None = None) -> str:
    """The column by which rows are told apart, by its name in the use case, or the `wanted` one.

    Raises InvalidSettings if there is none.
    """
    if wanted is None:
        return propose_key_and_label(profiles)[0]
    names = sorted({plain_name(one.name) for table in profiles for one in table.columns})
    if plain_name(wanted) not in names:
        raise InvalidSettings(
            f"No file has a column {wanted!r}.", f"Say one of: --key {', '.join(names)}."
        )
    return plain_name(wanted)


def _keys(profiles: Sequence[Profile]) -> list[str]:
    """The columns that tell the rows of a table apart, the likeliest key first.

    An amount is none, nor is a date: that each row has its own is chance. Nor is a column that only
    counts the rows, if there is another. Raises InvalidSettings if there is none.
    """
    names = {plain_name(one.name) for table in profiles for one in table.columns}

    def rank(name: str) -> tuple[object, ...]:
        columns = _columns_named(profiles, name)
        unique = [(table, one) for table, one in columns if one.unique]
        counting = any(counts_rows(table, one) for table, one in unique)
        called = bool(IS_KEY.search(name)) or any(_is_about(table, name) for table, _ in unique)
        text = all(one.kind == "string" for _, one in unique)
        places = [list(table.columns).index(one) for table, one in columns]
        return (
            not (counting and IS_ROW_NUMBER.search(name)),
            called or not counting,
            len(unique),
            len(columns),
            called,
            text,
            -min(places),
            name,
        )

    usable = [
        name
        for name in names
        if any(
            one.unique and one.kind in ("string", "Int64")
            for _, one in _columns_named(profiles, name)
        )
    ]
    if not usable:
        raise InvalidSettings(
            "No column of texts or whole numbers has another value in each row, so no row can be "
            "told from the others.",
            "A table of a month has one row per entity; say which column it is: --key NAME.",
        )
    return sorted(usable, key=rank, reverse=True)


def counts_rows(table: Profile, column: Column) -> bool:
    """Whether the column has 0, 1, 2, … or 1, 2, 3, … in the order of the rows."""
    if column.kind != "Int64" or column.lowest not in ("0", "1"):
        return False
    first = int(column.lowest)
    rows = table.raw.rows[column.name].to_pylist()
    return [str(one) for one in rows] == [str(one) for one in range(first, first + len(rows))]


def _is_about(table: Profile, name: str) -> bool:
    """Whether the table is called after the column, as `machines` of `machine` are."""
    called = table.raw.name
    return called == name or (called.startswith(name) and len(called) - len(name) <= 2)


def propose_label(profiles: Sequence[Profile], key: str, wanted: str | None = None) -> str:
    """The column to be predicted as `table.column`, by names of the use case.

    It is one with two answers, by preference one that is called so, or one of a few states, in a
    table with one row per key. Raises InvalidSettings, also if several may be meant.
    """
    columns = {name: one for name, one, _ in _labels(profiles, key, wanted)}
    if wanted is not None:
        return _wanted(columns, wanted)
    if not columns or not any(map(_called_so, columns)):
        _require_no_blank_answers(profiles)
    if not columns:
        raise InvalidSettings(
            "No column has two values, so none can be the label.",
            "The label says yes or no of each entity; add its file, or a column of 1 and 0; or say "
            "another key: --key NAME.",
        )

    def rank(name: str) -> tuple[object, ...]:
        table = name.partition(".")[0]
        size = next(len(one.columns) for one in profiles if one.raw.name == table)
        boolean = columns[name].kind == "boolean"
        return _strength(name, size), boolean, -size, list(columns).index(name)

    best = max(columns, key=rank)
    if not rank(best)[0] and len(columns) > 1:
        raise InvalidSettings(
            f"{len(columns)} columns have two values, and none is called like a label: which one "
            "is to be predicted can't be told.",
            f"Say one of: --label {', '.join(columns)}.",
        )
    return best


def _require_no_blank_answers(profiles: Sequence[Profile]) -> None:
    """Raise InvalidSettings for a label that has one answer and blanks."""
    for table in profiles:
        for column in table.columns:
            there = table.raw.rows[column.name]
            if not label_strength(plain_name(column.name), table.raw.name) or column.distinct != 1:
                continue
            values = there.to_pylist()
            place = next((n for n, one in enumerate(values) if one in (None, "")), None)
            if place is None:
                continue
            answer = next(one for one in values if one not in (None, ""))
            line = table.raw.rows["line"][place].as_py()
            raise InvalidSettings(
                f"{table.raw.path.name}, line {line}, column {column.name!r} has no value, as in "
                f"{column.nulls:,} rows; {column.rows - column.nulls:,} have {answer!r}. Whether a "
                "blank means no, or that it isn't known, can't be told; nothing was written.",
                "If it means no, say --blank-is-no (of CSV; else write the answer in each row).",
            )


def _called_so(name: str) -> int:
    """As `label_strength`, of `table.column`."""
    table, _, column = name.partition(".")
    return label_strength(column, table)


def _wanted(columns: dict[str, Column], wanted: str) -> str:
    found = [
        one for one in columns if plain_name(wanted) in (plain_name(one), one.partition(".")[2])
    ]
    if len(found) == 1:
        return found[0]
    what = "isn't a column with a few values" if not found else f"may be {' or '.join(found)}"
    raise InvalidSettings(
        f"The label {wanted!r} {what}.", f"Say one of: --label {', '.join(columns)}."
    )


def _labels(
    profiles: Sequence[Profile], key: str, wanted: str | None
) -> Iterator[tuple[str, Column, int]]:
    """Columns that may be the label, by their names, with how plainly they are called so.

    One of several states is only where none has two answers, or one was said.
    """
    two, states = [], []
    for table in profiles:
        if not one_row_each(profiles, table, key):
            continue
        for column in table.columns:
            name = f"{table.raw.name}.{plain_name(column.name)}"
            if plain_name(column.name) == key or column.kind == "date":
                continue
            strength = _strength(name, len(table.columns))
            answers = [one for one in column.categories if not not_known(one)]
            if (len(answers) if answers else column.distinct) == 2:
                two.append((name, column, strength))
            elif 2 < len(answers) <= MOST_STATES:
                called = strength > 2 or IS_STATE.search(name.partition(".")[2])
                if wanted is not None or called:
                    states.append((name, column, max(strength, 2)))
    if wanted is not None:
        yield from [*two, *states]
    elif any(strength for _, _, strength in two) or not states:
        yield from two
    else:
        yield from states


def _strength(name: str, columns: int) -> int:
    """As `label_strength`; a table of a key and one column more is there for that column."""
    table, _, column = name.partition(".")
    return max(label_strength(column, table), 2 if columns == 2 else 0)


def _best_strength(profiles: Sequence[Profile], key: str, label: str | None) -> int:
    if label is not None:
        return 0
    return max((strength for _, _, strength in _labels(profiles, key, None)), default=-1)


def one_row_each(profiles: Sequence[Profile], table: Profile, key: str) -> bool:
    """Whether the table has a row per key, by that name or, with the same values, another."""
    named = [one for one in table.columns if plain_name(one.name) == key]
    return named[0].unique if named else key_under_another_name(profiles, table, key) is not None


def key_under_another_name(profiles: Sequence[Profile], table: Profile, key: str) -> str | None:
    """The column of the table whose values are those that `key` has elsewhere, if there is one."""
    there = [
        values_of(other, one.name)
        for other in profiles
        for one in other.columns
        if plain_name(one.name) == key and one.unique
    ]
    for column in table.columns:
        if column.unique and column.kind in ("string", "Int64"):
            own = values_of(table, column.name)
            if any(len(own & values) >= SAME_VALUES * column.distinct for values in there):
                return column.name
    return None


def values_of(table: Profile, column: str) -> set[str]:
    """The column's values as text."""
    return {*map(str, table.raw.rows[column].unique().to_pylist())}


def _columns_named(profiles: Sequence[Profile], name: str) -> list[tuple[Profile, Column]]:
    return [
        (table, one) for table in profiles for one in table.columns if plain_name(one.name) == name
    ]
