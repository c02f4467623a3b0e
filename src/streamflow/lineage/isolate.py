"""Which of several factors that moved changes the model: one is restored at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from streamflow.errors import StreamFlowError
from streamflow.lineage.configuration import parameters
from streamflow.lineage.document import Lineage, Model, fingerprint
from streamflow.lineage.environment import Parameter, is_chance
from streamflow.training import candidate, dataset_table
from streamflow.training.candidate import Recipe
from streamflow.use_case import Estimator, EstimatorBuilder

Outcome = Literal["recorded", "another", "unchanged", "impossible"]

ELSEWHERE = "can't be restored in this process: `streamflow reproduce --in-recorded-environment`"


@dataclass(frozen=True)
class Recorded:
    """What was recorded, and `redefined`, the features that are defined otherwise today.

    `table` is the training set, if it was kept.
    """

    lineage: Lineage
    table: Any | None
    redefined: set[str]


@dataclass(frozen=True)
class Restored:
    """What comes of today's training with `factor` as it was recorded.

    `outcome`: the recorded model, another one than today's, today's model, or it can't be done.
    """

    factor: str
    outcome: Outcome
    said: str


class NotRestorable(Exception):
    pass


def isolate(
    recorded: Recorded,
    today: Recipe,
    model_today: Model,
    moved: list[str],
    folder: Path,
    progress: Callable[[str], None],
) -> list[Restored]:
    """Retrain with each of the `moved` factors restored, and with all that can be, if none is it.

    `model_today` is what comes out without any restoring.
    """
    found: list[Restored] = []
    for factor in moved:
        progress(f"with the recorded {factor}")
        found.append(_with(recorded, today, model_today, [factor], folder / factor))
    able = [one.factor for one in found if one.outcome != "impossible"]
    if len(able) > 1 and not any(one.outcome == "recorded" for one in found):
        progress(f"with the recorded {' and '.join(able)}")
        found.append(_with(recorded, today, model_today, able, folder / "all"))
    return found


def _with(
    recorded: Recorded, today: Recipe, model_today: Model, factors: list[str], folder: Path
) -> Restored:
    name = " and ".join(factors)
    recipe = today
    try:
        for factor in factors:
            if factor not in RESTORE:
                return Restored(name, "impossible", ELSEWHERE)
            recipe = RESTORE[factor](recorded, recipe)
        model = fingerprint(candidate.make_candidate(recipe, folder))
    except NotRestorable as reason:
        return Restored(name, "impossible", f"can't be restored: {reason}")
    except StreamFlowError as error:
        return Restored(name, "another", f"restored, there is no model: {error.message}")
    if model == recorded.lineage.model:
        return Restored(name, "recorded", "restored, the recorded model comes out")
    if model == model_today:
        return Restored(name, "unchanged", "restored, nothing changes: it makes no difference")
    return Restored(name, "another", "restored, a third model comes out: it isn't the only one")


def _data(recorded: Recorded, recipe: Recipe) -> Recipe:
    """The recorded rows and values, but for what is defined otherwise today."""
    today, data = recipe.training_set, recorded.lineage.data
    table = _kept(recorded)
    kept = [one.name for one in today.schema.features if one.name not in recorded.redefined]
    if len(kept) < len(today.schema.features) and not _same_rows(table, recipe):
        raise NotRestorable("there are other rows, and features that are defined otherwise")
    columns = {**today.columns, **{name: table[name].to_pylist() for name in kept}}
    stored = dataset_table.training_set(
        table, replace(today.schema, features=()), data.as_of, data.known_at
    )
    return replace(recipe, training_set=replace(stored, schema=today.schema, columns=columns))


def _configuration(recorded: Recorded, recipe: Recipe) -> Recipe:
    """The recorded features, validation share and parameters; where they're defined otherwise
    today, the values that they had."""
    was, today = recorded.lineage.configuration, recipe.training_set
    columns = dict(today.columns)
    redefined = [one.name for one in was.feature_schema.features if one.name in recorded.redefined]
    if redefined:
        table = _kept(recorded)
        if not _same_rows(table, recipe):
            raise NotRestorable("features are defined otherwise, and there are other rows")
        columns |= {name: table[name].to_pylist() for name in redefined}
    return replace(
        recipe,
        training_set=replace(today, schema=was.feature_schema, columns=columns),
        validation_share=was.validation_share,
        build=_built(recipe.build, was.parameters, chance=False),
    )


def _randomness(recorded: Recorded, recipe: Recipe) -> Recipe:
    was = recorded.lineage.randomness
    return replace(
        recipe,
        build=_built(recipe.build, was.parameters, chance=True),
        random_state=was.random_state,
        threads=was.threads,
    )


def _kept(recorded: Recorded) -> Any:
    if recorded.table is None:
        raise NotRestorable("the training set wasn't kept with the run")
    return recorded.table


def _same_rows(table: Any, recipe: Recipe) -> bool:
    entities: list[str] = table.column(0).to_pylist()
    return entities == recipe.training_set.entities


def _built(build: EstimatorBuilder, wanted: dict[str, Parameter], chance: bool) -> EstimatorBuilder:
    """What builds today's estimator with the recorded parameters, those of chance or the others."""

    def restored(random_state: int) -> Estimator:
        estimator = build(random_state)
        today = parameters(estimator)
        own = {name: value for name, value in today.items() if is_chance(name) == chance}
        if wanted.keys() != own.keys():
            raise NotRestorable(f"the estimator is another one: {type(estimator).__qualname__}")
        values = {name: value for name, value in wanted.items() if value != own[name]}
        for name in values:
            if not isinstance(estimator.get_params()[name], str | int | float | bool | None):
                raise NotRestorable(f"its parameter {name} is an object")
        return estimator.set_params(**values)

    return restored


RESTORE: dict[str, Callable[[Recorded, Recipe], Recipe]] = {
    "data": _data,
    "configuration": _configuration,
    "randomness": _randomness,
}
