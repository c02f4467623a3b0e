"""Compare two lineages factor by factor, and describe each difference in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from streamflow.lineage.code import Code, changed_files, shown
from streamflow.lineage.compare_tables import ChangedColumn, Difference
from streamflow.lineage.configuration import Configuration
from streamflow.lineage.data import Data
from streamflow.lineage.document import Lineage, Model
from streamflow.lineage.environment import Environment
from streamflow.training.dataset_table import LABEL

MAX_FILES = 5
# What comes after it names an entity, and is kept nowhere.
EXAMPLE = "; first: "


@dataclass(frozen=True)
class Factor:
    """`said` lists the differences, the most important first; of an equal factor, what it is."""

    name: str
    same: bool
    said: list[str]


def compare(
    before: Lineage,
    after: Lineage,
    difference: Difference | None,
    without_effect: frozenset[str] = frozenset(),
    today: Configuration | None = None,
    forgotten: int = 0,
) -> list[Factor]:
    """The five factors, in the order in which a cause is searched, and the model.

    `difference` is None if a training set wasn't stored; `without_effect` are files of code whose
    changes decide no model. Values that a changed feature definition
    changes are listed under configuration, because it is the cause. `today` is the use case's
    configuration, where `after` has definitions that it has no more. So many rows of before were
    `forgotten`: `difference` is without them.
    """
    changed = changed_definitions(before.configuration, after.configuration)
    data, consequences = _data(before, after, difference, changed, forgotten)
    now = today or after.configuration
    configuration = _leaf_differences(asdict(before.configuration), asdict(now))
    randomness = _leaf_differences(asdict(before.randomness), asdict(after.randomness))
    return [
        data,
        _code(before.code, after.code, without_effect),
        _environment(before.environment, after.environment),
        _factor("configuration", [*configuration, *consequences], before.configuration.model),
        _factor("randomness", randomness, f"random_state {before.randomness.random_state}"),
        _model(before.model, after.model),
    ]


def _factor(name: str, differences: list[str], description: str) -> Factor:
    return Factor(name, not differences, differences or [description])


def changed_definitions(before: Configuration, after: Configuration) -> set[str]:
    """The features that are defined differently, or that only one configuration has."""
    found = set()
    for name in _features(before) | _features(after):
        one, other = (_definition(configuration, name) for configuration in (before, after))
        if one != other:
            found.add(name)
    return found


def _features(configuration: Configuration) -> set[str]:
    return {feature.name for feature in configuration.feature_schema.features}


def _definition(configuration: Configuration, name: str) -> object:
    for feature in configuration.feature_schema.features:
        if feature.name == name:
            view = configuration.feature_views[feature.feature_view]
            return feature, {**asdict(view), "features": {name: view.features.get(name)}}
    return None


def forgotten_rows(rows: int, forgotten: int) -> str:
    """What is said of data in which nothing has changed but that rows were forgotten."""
    were = "1 row was" if forgotten == 1 else f"{forgotten:,} rows were"
    stay = "1 is as it was" if rows - forgotten == 1 else f"{rows - forgotten:,} are as they were"
    return f"{were} forgotten; the other {stay}"


def _data(
    before: Lineage,
    after: Lineage,
    difference: Difference | None,
    changed_features: set[str],
    forgotten: int,
) -> tuple[Factor, list[str]]:
    """The factor, and the differences in the data that changed feature definitions cause."""
    old, new = before.data, after.data
    if old.hash == new.hash:
        return Factor("data", True, [f"{old.rows:,} rows"]), []
    if difference is None:
        lines = [*_row_counts(old, new), *_column_hashes(before, new, changed_features)]
        consequences: list[str] = []
    else:
        lines, consequences = [], []
        for column in difference.columns:
            caused = column.name in changed_features
            (consequences if caused else lines).append(_changed_column(column, before))
        missing = new.without_features - old.without_features
        entities = [*_entities("gone", difference.removed, before)]
        entities += _entities("came", difference.added, before)
        if changed_features and missing == len(difference.removed) - len(difference.added):
            consequences += entities
        else:
            lines = [*entities, *lines]
    if forgotten and difference is not None and not lines:
        rows = forgotten_rows(max(old.rows, new.rows), forgotten)
        return Factor("data", False, [rows]), consequences
    if lines:
        if forgotten:
            rows = "row was" if forgotten == 1 else "rows were"
            lines.append(f"{forgotten:,} {rows} forgotten")
        lines += _possible_causes(old, new)
    description = [f"{new.rows:,} rows, the same but for what configuration changes"]
    return Factor("data", not lines, lines or description), consequences


def _row_counts(old: Data, new: Data) -> Iterator[str]:
    if old.rows != new.rows:
        yield f"rows {old.rows:,} → {new.rows:,}"


def _column_hashes(before: Lineage, new: Data, changed_features: set[str]) -> Iterator[str]:
    """The columns whose hashes differ; with other entities, only the column of entities."""
    hashes = {column.name: column.hash for column in new.columns}
    key = before.data.columns[0]
    same_rows = hashes.get(key.name) == key.hash
    for column in before.data.columns if same_rows else [key]:
        other = hashes.get(column.name, column.hash)
        if other != column.hash and column.name not in changed_features:
            yield (
                f"{_table_of(before, column.name)}: {column.name}; which rows can't be told, "
                "because a training set wasn't kept"
            )


def _changed_column(column: ChangedColumn, lineage: Lineage) -> str:
    first = column.changes[0]
    entity = f"{lineage.configuration.feature_schema.entity} {first.entity}"
    change = f"{entity} {_text(first.before, 'null')} → {_text(first.after, 'null')}"
    rows = f"{column.rows:,} row{'s' if column.rows > 1 else ''}"
    return f"{rows} of {_table_of(lineage, column.name)}: {column.name}{EXAMPLE}{change}"


def _entities(status: str, entities: list[str], lineage: Lineage) -> Iterator[str]:
    if entities:
        rows = f"{len(entities):,} row{'s' if len(entities) > 1 else ''}"
        entity = lineage.configuration.feature_schema.entity
        yield f"{rows} {status}{EXAMPLE}{entity} {entities[0]}"


def _table_of(lineage: Lineage, column: str) -> str:
    configuration = lineage.configuration
    for feature in configuration.feature_schema.features:
        if feature.name == column:
            return configuration.feature_views[feature.feature_view].source
    return configuration.label.table if column == LABEL else configuration.entity_table


def _possible_causes(old: Data, new: Data) -> Iterator[str]:
    """What may have caused a difference: another time, other ingestions."""
    if old.as_of != new.as_of:
        yield f"as_of {old.as_of} → {new.as_of}"
    if old.every_month != new.every_month:
        yield f"months {_months(old)} → {_months(new)}"
    if old.known_at != new.known_at:
        yield f"known_at {old.known_at.isoformat()} → {new.known_at.isoformat()}"
    for reason in ("without_label", "without_features"):
        if (was := getattr(old, reason)) != (now := getattr(new, reason)):
            yield f"left out {reason.replace('_', ' ')}: {was:,} → {now:,}"
    for counts, rule in (("without_row", "left out"), ("taken_as_null", "taken as null")):
        before_by, after_by = getattr(old, counts), getattr(new, counts)
        for table in sorted(before_by.keys() | after_by.keys()):
            was, now = before_by.get(table, 0), after_by.get(table, 0)
            if was != now:
                yield f"{rule} without a row in {table}: {was:,} → {now:,}"
    before = {one.ingestion_id: one for one in old.ingestions}
    after = {one.ingestion_id: one for one in new.ingestions}
    for number in sorted(before.keys() ^ after.keys()):
        one = before.get(number) or after[number]
        yield (
            f"ingestion {number} (as of {one.as_of}, recorded {one.recorded_at.isoformat()}, "
            f"loaded {one.ingested_at.isoformat()}) {'came' if number in after else 'is gone'}"
        )


def _months(data: Data) -> str:
    months = data.every_month
    return f"{len(months)} ({months[0]} to {months[-1]})" if len(months) > 1 else "1"


def _code(before: Code, after: Code, without_effect: frozenset[str]) -> Factor:
    changed = [shown(name, file) for name, file in changed_files(before, after)]
    files = [file for file in changed if file not in without_effect]
    was, now = (code.commit[:7] if code.commit else "no commit" for code in (before, after))
    if not files:
        commits = f"; commit {was} → {now} touches none of it" if was != now else ""
        bar = f", but for the acceptance bar or comments in {', '.join(changed)}" if changed else ""
        return Factor("code", True, [f"the same sources{bar or commits}"])
    names = ", ".join(files[:MAX_FILES]) + (", …" if len(files) > MAX_FILES else "")
    count = f"{len(files)} file{'s' if len(files) > 1 else ''}"
    commit = f"commit {was} → {now}" if was != now else f"changed at commit {was}"
    return Factor("code", False, [f"{commit}, {count}: {names}"])


def _different_keys(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]


def _environment(before: Environment, after: Environment) -> Factor:
    lines = [
        f"{name} {before.versions.get(name, '(none)')} → {after.versions.get(name, '(none)')}"
        for name in _different_keys(before.versions, after.versions)
    ]
    for what in ("python", "platform"):
        if (was := getattr(before, what)) != (now := getattr(after, what)):
            lines.append(f"{what.capitalize()} {was} → {now}")
    if before.processor.model != after.processor.model:
        lines.append(f"processor {before.processor.model} → {after.processor.model}")
    flags, other_flags = set(before.processor.flags), set(after.processor.flags)
    for what, some in (("gone", flags - other_flags), ("new", other_flags - flags)):
        if some:
            lines.append(f"processor's flags {what}: {', '.join(sorted(some))}")
    blas, other_blas = ({one.package: one for one in each.blas} for each in (before, after))
    for package in _different_keys(blas, other_blas):
        was, now = (
            f"{one.library} {one.version} for {one.architecture}" if one else "(none)"
            for one in (blas.get(package), other_blas.get(package))
        )
        lines.append(f"BLAS of {package}: {was} → {now}")
    lines += _leaf_differences(before.kernels, after.kernels)
    description = f"{len(before.versions)} packages"
    # The installed versions decide; the lock file only explains a difference.
    if before.lock_hash != after.lock_hash:
        lock = f"lock {before.lock_hash[:7]} → {after.lock_hash[:7]}"
        if lines:
            lines.append(lock)
        else:
            description += f"; {lock} changes none of them"
    return _factor("environment", lines, description)


def _model(before: Model, after: Model) -> Factor:
    lines = []
    for what, was, now in (
        ("model", before.hash, after.hash),
        ("validation scores", before.scores_hash, after.scores_hash),
    ):
        if was != now:
            lines.append(f"{what} {was[:12]} → {now[:12] or '(none)'}")
    return _factor("model", lines, f"{before.hash[:12]}, to the last bit")


def _leaf_differences(before: object, after: object, path: str = "") -> list[str]:
    """A line per leaf of a nested document that differs, with its path."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            line
            for key in _different_keys(before, after)
            for line in _leaf_differences(
                before.get(key), after.get(key), f"{path}.{key}" if path else key
            )
        ]
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        by_key, other = ({_item_key(one): one for one in each} for each in (before, after))
        return _leaf_differences(by_key, other, path) or [f"{path} in another order"]
    if isinstance(before, Mapping) or isinstance(after, Mapping):
        return [f"{path} {'came' if before is None else 'is gone'}"]
    return [f"{path} {_text(before)} → {_text(after)}"]


def _item_key(item: object) -> str:
    return str(item["name"]) if isinstance(item, Mapping) and "name" in item else str(item)


def _text(value: object, none: str = "(none)") -> str:
    return none if value is None else str(value)
