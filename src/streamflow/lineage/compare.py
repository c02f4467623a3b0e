"""Two lineages, factor by factor: what is the same, and in words what isn't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from streamflow.lineage import compare_tables
from streamflow.lineage.code import Code
from streamflow.lineage.compare_tables import ChangedColumn, Difference
from streamflow.lineage.configuration import Configuration
from streamflow.lineage.data import Data
from streamflow.lineage.document import Lineage, Model
from streamflow.lineage.environment import Environment
from streamflow.training.dataset_table import LABEL

MOST_FILES = 5


@dataclass(frozen=True)
class Factor:
    """`said` is what differs, the first thing first; of a factor that's the same, what it is."""

    name: str
    same: bool
    said: list[str]


def compare(before: Lineage, after: Lineage, difference: Difference | None) -> list[Factor]:
    """The five factors and the model, in the order in which a cause is looked for.

    `difference` is None where the training sets themselves weren't kept. What a changed definition
    does to the training set is told under configuration, because there's the cause.
    """
    redefined = redefined_features(before.configuration, after.configuration)
    data, consequences = _data(before, after, difference, redefined)
    configuration = _moved(asdict(before.configuration), asdict(after.configuration))
    randomness = _moved(asdict(before.randomness), asdict(after.randomness))
    return [
        data,
        _code(before.code, after.code),
        _environment(before.environment, after.environment),
        _factor("configuration", [*configuration, *consequences], before.configuration.model),
        _factor("randomness", randomness, f"random_state {before.randomness.random_state}"),
        _model(before.model, after.model),
    ]


def flips(before: Any | None, after: Any | None) -> list[str]:
    """How many validation predictions changed side, of the rows that both models were judged by."""
    if before is None or after is None:
        return []
    difference = compare_tables.find(before, after)
    changed = {one.name: one.rows for one in difference.columns}
    both = before.num_rows - len(difference.gone)
    if not changed.keys() & {"prediction", "probability"}:
        return []
    return [
        f"{changed.get('prediction', 0):,} of {both:,} validation predictions change side, "
        f"{changed.get('probability', 0):,} probabilities differ"
    ]


def _factor(name: str, differences: list[str], otherwise: str) -> Factor:
    return Factor(name, not differences, differences or [otherwise])


def redefined_features(before: Configuration, after: Configuration) -> set[str]:
    """The features that aren't defined alike, wherever their values come from."""
    found = set()
    for name in _features(before) | _features(after):
        one, other = (_definition(configuration, name) for configuration in (before, after))
        if one != other:
            found.add(name)
    return found


def _features(configuration: Configuration) -> set[str]:
    return {feature.name for feature in configuration.feature_schema.features}


def _definition(configuration: Configuration, name: str) -> Any:
    for feature in configuration.feature_schema.features:
        if feature.name == name:
            view = configuration.feature_views[feature.feature_view]
            return feature, {**asdict(view), "features": {name: view.features.get(name)}}
    return None


def _data(
    before: Lineage, after: Lineage, difference: Difference | None, redefined: set[str]
) -> tuple[Factor, list[str]]:
    """The factor, and what differs in the data because definitions do."""
    old, new = before.data, after.data
    if old.hash == new.hash:
        return Factor("data", True, [f"{old.rows:,} rows"]), []
    if difference is None:
        lines = [*_rows(old, new), *_unkept(before, new, redefined)]
        consequences: list[str] = []
    else:
        lines = [_changed(one, before) for one in difference.columns if one.name not in redefined]
        consequences = [
            _changed(one, before) for one in difference.columns if one.name in redefined
        ]
        missing = new.without_features - old.without_features
        entities = [*_entities("gone", difference.gone, before)]
        entities += _entities("came", difference.came, before)
        if redefined and missing == len(difference.gone) - len(difference.came):
            consequences += entities
        else:
            lines = [*entities, *lines]
    if lines:
        lines += _circumstances(old, new)
    said = [f"{new.rows:,} rows, the same but for what configuration changes"]
    return Factor("data", not lines, lines or said), consequences


def _rows(old: Data, new: Data) -> Iterator[str]:
    if old.rows != new.rows:
        yield f"rows {old.rows:,} → {new.rows:,}"


def _unkept(before: Lineage, new: Data, redefined: set[str]) -> Iterator[str]:
    """What the hashes of columns still tell: with other rows, no more than that."""
    hashes = {column.name: column.hash for column in new.columns}
    key = before.data.columns[0]
    same_rows = hashes.get(key.name) == key.hash
    for column in before.data.columns if same_rows else [key]:
        other = hashes.get(column.name, column.hash)
        if other != column.hash and column.name not in redefined:
            yield (
                f"{_table_of(before, column.name)}: {column.name}; which rows can't be told, "
                "because a training set wasn't kept"
            )


def _changed(column: ChangedColumn, lineage: Lineage) -> str:
    first = column.changes[0]
    who = f"{lineage.configuration.feature_schema.entity} {first.entity}"
    change = f"first: {who} {_value(first.before, 'null')} → {_value(first.after, 'null')}"
    rows = f"{column.rows:,} row{'s' if column.rows > 1 else ''}"
    return f"{rows} of {_table_of(lineage, column.name)}: {column.name}; {change}"


def _entities(what: str, entities: list[str], lineage: Lineage) -> Iterator[str]:
    if entities:
        rows = f"{len(entities):,} row{'s' if len(entities) > 1 else ''}"
        yield f"{rows} {what}; first: {lineage.configuration.feature_schema.entity} {entities[0]}"


def _table_of(lineage: Lineage, column: str) -> str:
    configuration = lineage.configuration
    for feature in configuration.feature_schema.features:
        if feature.name == column:
            return configuration.feature_views[feature.feature_view].source
    return configuration.label.table if column == LABEL else configuration.entity_table


def _circumstances(old: Data, new: Data) -> Iterator[str]:
    """What may explain a difference: another moment, other files."""
    if old.as_of != new.as_of:
        yield f"as_of {old.as_of} → {new.as_of}"
    if old.known_at != new.known_at:
        yield f"known_at {old.known_at.isoformat()} → {new.known_at.isoformat()}"
    for reason in ("without_label", "without_features"):
        if (was := getattr(old, reason)) != (now := getattr(new, reason)):
            yield f"left out {reason.replace('_', ' ')}: {was:,} → {now:,}"
    was_there = {one.ingestion_id: one for one in old.ingestions}
    is_there = {one.ingestion_id: one for one in new.ingestions}
    for number in sorted(was_there.keys() ^ is_there.keys()):
        one = was_there.get(number) or is_there[number]
        yield (
            f"ingestion {number} (as of {one.as_of}, recorded {one.recorded_at.isoformat()}, "
            f"loaded {one.ingested_at.isoformat()}) {'came' if number in is_there else 'is gone'}"
        )


def _code(before: Code, after: Code) -> Factor:
    files = [
        f"{name.replace('.', '/')}/{file}"
        for name in sorted(before.packages.keys() | after.packages.keys())
        for file in _unequal(_files(before, name), _files(after, name))
    ]
    was, now = (code.commit[:7] if code.commit else "no commit" for code in (before, after))
    if not files:
        moved = f"; commit {was} → {now} touches none of it" if was != now else ""
        return Factor("code", True, [f"the same sources{moved}"])
    named = ", ".join(files[:MOST_FILES]) + (", …" if len(files) > MOST_FILES else "")
    count = f"{len(files)} file{'s' if len(files) > 1 else ''}"
    commit = f"commit {was} → {now}" if was != now else f"changed at commit {was}"
    return Factor("code", False, [f"{commit}, {count}: {named}"])


def _files(code: Code, name: str) -> dict[str, str]:
    return code.packages[name].files if name in code.packages else {}


def _unequal(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]


def _environment(before: Environment, after: Environment) -> Factor:
    lines = [
        f"{name} {before.versions.get(name, '(none)')} → {after.versions.get(name, '(none)')}"
        for name in _unequal(before.versions, after.versions)
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
    for package in _unequal(blas, other_blas):
        was, now = (
            f"{one.library} {one.version} for {one.architecture}" if one else "(none)"
            for one in (blas.get(package), other_blas.get(package))
        )
        lines.append(f"BLAS of {package}: {was} → {now}")
    lines += _moved(before.kernels, after.kernels)
    said = f"{len(before.versions)} packages"
    if before.lock_hash != after.lock_hash:  # what is installed decides, and the lock explains
        lock = f"lock {before.lock_hash[:7]} → {after.lock_hash[:7]}"
        lines, said = [*lines, lock] if lines else [], f"{said}; {lock} changes none of them"
    return _factor("environment", lines, said)


def _model(before: Model, after: Model) -> Factor:
    lines = []
    for what, was, now in (
        ("model", before.hash, after.hash),
        ("validation scores", before.scores_hash, after.scores_hash),
    ):
        if was != now:
            lines.append(f"{what} {was[:12]} → {now[:12] or '(none)'}")
    return _factor("model", lines, f"{before.hash[:12]}, to the last bit")


def _moved(before: Any, after: Any, path: str = "") -> list[str]:
    """Each leaf of a nested document that isn't the same, with its path."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            line
            for key in _unequal(before, after)
            for line in _moved(before.get(key), after.get(key), f"{path}.{key}" if path else key)
        ]
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        named, other = ({_named(one): one for one in each} for each in (before, after))
        return _moved(named, other, path) or [f"{path} in another order"]
    if isinstance(before, Mapping) or isinstance(after, Mapping):
        return [f"{path} {'came' if before is None else 'is gone'}"]
    return [f"{path} {_value(before)} → {_value(after)}"]


def _named(item: Any) -> str:
    return str(item["name"]) if isinstance(item, Mapping) and "name" in item else str(item)


def _value(value: Any, none: str = "(none)") -> str:
    return none if value is None else str(value)
