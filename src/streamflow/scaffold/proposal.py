"""What a use case from these tables would be: its key, its label, its features, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

from streamflow.errors import InvalidSettings
from streamflow.history.column_findings import RESERVED_COLUMNS
from streamflow.scaffold.answers import with_answers
from streamflow.scaffold.draft import Feature, Proposal, TableProposal
from streamflow.scaffold.events import features_of, of_events
from streamflow.scaffold.key_and_label import counts_rows, key_under_another_name, values_of
from streamflow.scaffold.leaks import auc_alone
from streamflow.scaffold.names import plain_name
from streamflow.scaffold.profile import MOST_CATEGORIES, Column, Profile
from streamflow.scaffold.readable import require_readable
from streamflow.scaffold.words import IS_KEY, IS_ROW_NUMBER
from streamflow.use_case.label import LabelValue

# A column that tells the label this well by itself is likely known only afterwards.
LEAK_AUC = 0.98


def propose(
    name: str,
    profiles: Sequence[Profile],
    key: str,
    label: str,
    horizon_days: int,
    positive: Sequence[str] = (),
    events_until: date | None = None,
) -> Proposal:
    """The use case from the tables that have one row per entity; `positive` are the texts of the
    label that mean yes, if told. Tables with several rows per entity are of events, if they may be,
    and none is later than `events_until`. Raises InvalidSettings."""
    notes: list[str] = []
    label_table, _, label_column = label.partition(".")
    usable, several = _usable(profiles, key, notes)
    if label_table not in [table.raw.name for table, _ in usable]:
        raise InvalidSettings(
            f"The label's table {label_table!r} has not one row per {key!r}.",
            "Say another key: --key NAME.",
        )
    require_readable([table for table, _ in usable])
    for table, _ in usable:
        notes += [f"{one.said}: {one.next}; it is text here" for one in table.unclear]
        notes += [f"{table.raw.name}: left out, {one}" for one in _left_out(table)]
    entity_table = _entity_table(usable, key, label_table)
    about = next(one for one in usable if one[0].raw.name == entity_table)
    entities = values_of(*about)
    tables, features = [], list[Feature]()
    yes: tuple[LabelValue, ...] = ()
    no: tuple[LabelValue, ...] = ()
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
        there = values_of(table, key_there)
        if there - entities:
            raise _strangers(table, key_there, entities, about)
        complete = entities <= there
        if not complete and table.raw.name != label_table:
            missing = len(entities - there)
            notes.append(
                f"{table.raw.name}: {missing:,} of {len(entities):,} have no row; their features "
                'are null (absent="null")'
            )
        if of_label is not None:
            table, (yes, no) = with_answers(table, of_label, positive)
        one = TableProposal(table, names, of_label, complete)
        tables.append(one)
        features += _features(one, key_there, notes)
    events = [*_events(several, key, events_until, taken, notes)]
    features += [feature for one in events for feature in features_of(one)]
    if not features:
        raise InvalidSettings(
            "No column is left to learn from.", "Add a file with numbers or few categories."
        )
    named = next(one for one in tables if one.name == label_table)
    assert named.label is not None
    where = f"{label_table}.{named.names[named.label]}"
    if (yes, no) != ((True,), (False,)):  # as 1 and 0 are
        said = [", ".join(map(repr, values)) for values in (yes, no)]
        notes.append(f"{where}: yes is {said[0]}; no is {said[1]}; for another, say --positive")
    if unknown := named.profile.column(named.label).nulls:
        notes.append(f"{where}: {unknown:,} of its rows have none, and aren't learnt from")
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
        yes,
        no,
        tuple(events),
        tuple(
            one.raw.place
            for one in profiles
            if one.raw.name not in {there.name for there in (*tables, *events)}
        ),
    )
    return replace(proposal, notes=(*notes, *_leaks(proposal)))


def _usable(
    profiles: Sequence[Profile], key: str, notes: list[str]
) -> tuple[list[tuple[Profile, str]], list[tuple[Profile, Column]]]:
    """The tables with one row per entity, each with the name of the key in its file; and those with
    several, each with its key."""
    found: list[tuple[Profile, str]] = []
    several: list[tuple[Profile, Column]] = []
    for table in profiles:
        named = [one for one in table.columns if plain_name(one.name) == key]
        if not named:
            other = key_under_another_name(profiles, table, key)
            if other is None:
                notes.append(f"{table.raw.name}: left out, it has no column {key}")
            else:
                found.append((table, other))
        elif named[0].unique:
            found.append((table, named[0].name))
        else:
            several.append((table, named[0]))
    return found, several


def _events(
    several: Sequence[tuple[Profile, Column]],
    key: str,
    until: date | None,
    taken: set[str],
    notes: list[str],
) -> Iterator[TableProposal]:
    """The tables that are of events; what isn't is left out, and told."""
    for table, column in several:
        name, why = table.raw.name, _not_one_row(table, column)
        if column.nulls or until is None:
            notes.append(f"{name}: left out, {why}")
            continue
        found = of_events(table, _names(table, key, column.name, set()), key, taken, until)
        if isinstance(found, str):
            notes.append(f"{name}: left out, {why}; for features from events, {found}")
            continue
        assert found.events is not None
        notes += [f"{name}: left out, {one}" for one in _left_out(table)]
        notes.append(
            f"{name}: several rows per {column.name}, so they are events, each at its "
            f"{found.events.time}; features of it are {', '.join(found.events.aggregations)}"
        )
        yield found


def _strangers(
    table: Profile, key: str, entities: set[str], about: tuple[Profile, str]
) -> InvalidSettings:
    """The error that the table has keys which the entity table lacks, as `ingest` refuses them."""
    rows = table.raw.rows
    keys = [str(one) for one in rows[key].to_pylist()]
    place = next(number for number, one in enumerate(keys) if one not in entities)
    count = sum(one not in entities for one in keys)
    value, folded = keys[place], keys[place].strip().lstrip("0").casefold()
    alike = next((one for one in entities if one.strip().lstrip("0").casefold() == folded), None)
    instead = f", which has {alike!r}" if alike is not None else ""
    return InvalidSettings(
        f"{table.raw.path.name}, line {rows['line'][place].as_py()}, column {key!r}: {value!r} "
        f"isn't in {about[0].raw.path.name}, column {about[1]!r}{instead}; nor are "
        f"{count - 1:,} others of its {len(keys):,} keys. Nothing was written.",
        f"Write the keys in both files alike; or put {table.raw.path.name} elsewhere; or say "
        "another key: --key NAME.",
    )


def _left_out(table: Profile) -> Iterator[str]:
    """The columns that can't be read apart."""
    unnamed = [one for one in table.raw.left_out if not one.strip()]
    if unnamed:
        yield f"{len(unnamed)} column{'s' * (len(unnamed) > 1)} without a name"
    for one in table.raw.left_out:
        if one.strip():
            yield f"column {one!r}, " + (
                "a name that history needs" if one == "line" else "a name that stands there twice"
            )


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


def _names(table: Profile, key: str, key_there: str, taken: set[str]) -> dict[str, str]:
    """By its name in the file, each column's name in the use case: one that code can have, once."""
    names: dict[str, str] = {}
    for column in table.columns:
        ours = key if column.name == key_there else plain_name(column.name)
        if ours in (*RESERVED_COLUMNS, "occurrence"):
            ours += "_"
        if column.name != key_there and (ours in taken or ours == key or ours in names.values()):
            ours = f"{table.raw.name}_{ours}"
        while ours in names.values():
            ours += "_"
        names[column.name] = ours
    return names


def _features(table: TableProposal, key_there: str, notes: list[str]) -> list[Feature]:
    found = []
    for column in table.profile.columns:
        if column.name in (key_there, table.label):
            continue
        name = table.names[column.name]
        why = _no_feature(column, name)
        if any(one.column == column.name for one in table.profile.unclear):
            why = "whether it is a date can't be told"
        elif IS_ROW_NUMBER.search(name) and counts_rows(table.profile, column):
            why = "it counts the rows"
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
