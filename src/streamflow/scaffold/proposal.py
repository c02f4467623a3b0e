"""What a use case from these tables would be: its key, its label, its features, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from streamflow.errors import InvalidSettings
from streamflow.history.column_findings import RESERVED_COLUMNS
from streamflow.scaffold.draft import Feature, Proposal, TableProposal
from streamflow.scaffold.key_and_label import IS_KEY, IS_LABEL
from streamflow.scaffold.leaks import auc_alone
from streamflow.scaffold.names import plain_name
from streamflow.scaffold.profile import MOST_CATEGORIES, Column, Profile

# A column that tells the label this well by itself is likely known only afterwards.
LEAK_AUC = 0.98
# A text that stands for yes if the other one doesn't: what is looked for is the rarer one.
_POSITIVE = ("1", "true", "yes", "y", "t", "ja", "j", "oui", "si", "sim")


def propose(
    name: str,
    profiles: Sequence[Profile],
    key: str,
    label: str,
    horizon_days: int,
    positive: Sequence[str] = (),
) -> Proposal:
    """The use case from the tables that have one row per entity; `positive` are the texts of the
    label that mean yes, if told. Raises InvalidSettings."""
    notes: list[str] = [f"{one.raw.name}: {said}" for one in profiles for said in one.unclear]
    label_table, _, label_column = label.partition(".")
    usable = _usable(profiles, key, notes)
    if label_table not in [table.raw.name for table, _ in usable]:
        raise InvalidSettings(
            f"The label's table {label_table!r} has not one row per {key!r}.",
            "Say another key: --key NAME.",
        )
    entity_table = _entity_table(usable, key, label_table)
    entities = _values(*next(one for one in usable if one[0].raw.name == entity_table))
    tables, features = [], list[Feature]()
    taken: set[str] = set()
    for table, key_there in usable:
        names = _names(table, key, key_there, taken)
        taken |= {ours for ours in names.values() if ours != key}
        of_label = next(
            (
                there
                for there in names
                if table.raw.name == label_table and plain_name(there) == label_column
            ),
            None,
        )
        there = _values(table, key_there)
        if strangers := len(there - entities):
            notes.append(
                f"{table.raw.name}: {strangers:,} of its {key} aren't in {entity_table}, and "
                "`ingest` will refuse them"
            )
        complete = entities <= there
        if not complete and table.raw.name != label_table:
            missing = len(entities - there)
            notes.append(
                f"{table.raw.name}: {missing:,} of {len(entities):,} have no row; their features "
                'are null (absent="null")'
            )
        one = TableProposal(_with_label(table, of_label, positive), names, of_label, complete)
        tables.append(one)
        features += _features(one, key_there, notes)
    if not features:
        raise InvalidSettings(
            "No column is left to learn from.", "Add a file with numbers or few categories."
        )
    named = next(one for one in tables if one.name == label_table)
    assert named.label is not None
    if next(one for one in profiles if one.raw.name == label_table).column(named.label).categories:
        yes, no = (", ".join(map(repr, texts)) for texts in (named.read.true, named.read.false))
        notes.append(f"{label_table}.{named.names[named.label]}: yes is {yes}; no is {no}")
    proposal = Proposal(
        name,
        key,
        entity_table,
        label_table,
        named.names[named.label],
        horizon_days,
        tuple(tables),
        tuple(features),
        (),
    )
    return replace(proposal, notes=(*notes, *_leaks(proposal)))


def _usable(profiles: Sequence[Profile], key: str, notes: list[str]) -> list[tuple[Profile, str]]:
    """The tables with one row per entity, each with the name of the key in its file."""
    found: list[tuple[Profile, str]] = []
    without: list[Profile] = []
    for table in profiles:
        named = [one for one in table.columns if plain_name(one.name) == key]
        if not named:
            without.append(table)
        elif named[0].unique:
            found.append((table, named[0].name))
        else:
            notes.append(f"{table.raw.name}: left out, {_not_one_row(table, named[0])}")
    values = [_values(*one) for one in found]
    for table in without:
        same = next(
            (
                one.name
                for one in table.columns
                if one.unique
                and any(
                    len(_values(table, one.name) & there) >= 0.9 * one.distinct for there in values
                )
            ),
            None,
        )
        if same is None:
            notes.append(f"{table.raw.name}: left out, it has no column {key}")
        else:
            found.append((table, same))
    return found


def _not_one_row(table: Profile, key: Column) -> str:
    if key.nulls:
        return f"{key.nulls:,} of its rows have no {key.name}"
    seen: dict[object, int] = {}
    rows = zip(
        table.raw.rows[key.name].to_pylist(), table.raw.rows["line"].to_pylist(), strict=True
    )
    for value, line in rows:
        if value in seen:
            break
        seen[value] = line
    return (
        f"it has several rows per {key.name}, such as {value!r} in lines {seen[value]} and {line}; "
        "sum them up to one row"
    )


def _entity_table(usable: Sequence[tuple[Profile, str]], key: str, label_table: str) -> str:
    """The table with the most entities; of several the one that is called so, and the label's
    last."""
    about = IS_KEY.sub("", key) or key

    def rank(one: tuple[Profile, str]) -> tuple[object, ...]:
        name = one[0].raw.name
        called = name.startswith(about) or about.startswith(name.rstrip("s"))
        return one[0].columns[0].rows, called, name != label_table

    return max(usable, key=rank)[0].raw.name


def _values(table: Profile, column: str) -> set[str]:
    return set(map(str, table.raw.rows[column].to_pylist()))


def _names(table: Profile, key: str, key_there: str, taken: set[str]) -> dict[str, str]:
    """By its name in the file, each column's name in the use case: one that code can have, once."""
    names: dict[str, str] = {}
    for column in table.columns:
        ours = key if column.name == key_there else plain_name(column.name)
        if ours in RESERVED_COLUMNS:
            ours += "_"
        if column.name != key_there and (ours in taken or ours == key or ours in names.values()):
            ours = f"{table.raw.name}_{ours}"
        while ours in names.values():
            ours += "_"
        names[column.name] = ours
    return names


def _with_label(table: Profile, label: str | None, told: Sequence[str]) -> Profile:
    """The table whose label is true or false, by the texts that say so.

    Raises InvalidSettings if a text that was told isn't there.
    """
    if label is None or (table.column(label).kind == "boolean" and not told):
        return table
    column = table.raw.rows[label].drop_null()
    counts = {one["values"]: one["counts"] for one in column.value_counts().to_pylist()}
    counts = {str(value): count for value, count in counts.items()}
    texts = sorted(set(counts) - {*table.raw.read.null}, key=lambda text: counts[text])
    whole = {re.sub(r"\.0+$", "", text): text for text in texts}
    if strange := [one for one in told if one not in whole]:
        raise InvalidSettings(
            f"{strange[0]!r} isn't a value of {label!r}.",
            f"Say some of: --positive {','.join(sorted(whole))}.",
        )
    positive = [*told] or _positive(list(whole))
    negative = [one for one in whole if one not in positive]
    read = table.raw.read
    true = (*positive, *(read.true if not {*read.true} & {*negative} else ()))
    false = (*negative, *(read.false if not {*read.false} & {*positive} else ()))
    read = replace(read, true=tuple(dict.fromkeys(true)), false=tuple(dict.fromkeys(false)))
    columns = tuple(
        replace(one, kind="boolean", categories=(), lowest=None, highest=None)
        if one.name == label
        else one
        for one in table.columns
    )
    return replace(table, raw=replace(table.raw, read=read), columns=columns)


def _positive(texts: Sequence[str]) -> list[str]:
    """Of a label's texts, the rarest first, those that mean yes: one that says so, those that are
    called like what is looked for, or the rarest."""
    says = [one for one in texts if one.casefold() in _POSITIVE]
    called = [one for one in texts if IS_LABEL.search(one.casefold())]
    if len(called) == len(texts):
        called = []
    return says[:1] or called or [*texts[:1]]


def _features(table: TableProposal, key_there: str, notes: list[str]) -> list[Feature]:
    found = []
    for column in table.profile.columns:
        if column.name in (key_there, table.label):
            continue
        name = table.names[column.name]
        why = _no_feature(column, name)
        if why:
            notes.append(f"{table.name}.{name}: no feature, {why}")
            continue
        nullable = column.nulls > 0
        found.append(Feature(table.name, name, column.kind, nullable))
    return found


def _no_feature(column: Column, name: str) -> str:
    if column.distinct == 0:
        return "it has no value"
    if column.kind == "date":
        return "a date is none; a number of days since then would be"
    if column.distinct == 1 and not column.nulls:
        return f"each row has the same value, {(column.categories or [column.lowest])[0]!r}"
    if column.kind == "string" and column.distinct > MOST_CATEGORIES:
        return f"{column.distinct:,} different texts are ids or free text"
    if column.kind == "Int64" and column.unique and IS_KEY.search(name) and column.rows > 2:
        return "each row has a number of its own, so it is an id"
    return ""


def _leaks(proposal: Proposal) -> list[str]:
    """What predicts the label nearly alone, named and not dropped."""
    notes = []
    for feature, auc in auc_alone(proposal):
        if auc >= LEAK_AUC:
            notes.append(
                f"{feature.table}.{feature.name}: tells the label nearly alone (AUC {auc:.3f}); if "
                "it is known only afterwards, take it out of features.py"
            )
    return notes
