"""Which of several changed factors changes the model: restore one at a time and retrain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from streamflow.errors import StreamFlowError
from streamflow.lineage.configuration import parameters
from streamflow.lineage.document import Lineage, Model, fingerprint
from streamflow.lineage.environment import Parameter, is_randomness_parameter
from streamflow.progress import Progress
from streamflow.training import candidate, dataset_table
from streamflow.training.candidate import Recipe
from streamflow.training.dataset import FeatureValues
from streamflow.training.rows.entities import Entities
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import Estimator, EstimatorBuilder

if TYPE_CHECKING:
    import pyarrow as pa

Outcome = Literal["recorded", "another", "unchanged", "impossible"]

NOT_IN_THIS_PROCESS = (
    "can't be restored in this process: `streamflow reproduce --in-recorded-environment`"
)


@dataclass(frozen=True)
class Recorded:
    """The recorded run; `table` is its training set, None if it wasn't stored.

    `changed_features` are those whose definitions differ today.
    """

    lineage: Lineage
    table: pa.Table | None
    changed_features: set[str]


@dataclass(frozen=True)
class Restored:
    """The result of training today with `factor` as it was recorded.

    `outcome`: "recorded" is the recorded model, "unchanged" today's, "another" neither of them (or
    no model); "impossible" if the factor can't be restored. `said` is the outcome in words.
    """

    factor: str
    outcome: Outcome
    said: str


class NotRestorable(Exception):
    """The factor can't be restored; the message is the reason."""


def isolate(
    recorded: Recorded,
    today: Recipe,
    model_today: Model,
    changed: list[str],
    folder: Path,
    progress: Progress,
) -> list[Restored]:
    """Retrain with each of the `changed` factors restored; if none explains it, with all of them.

    `model_today` is the model without a restored factor. Factors that can't be restored are left
    out of the last training.
    """
    results: list[Restored] = []
    for factor in changed:
        progress(f"with the recorded {factor}")
        results.append(_train_with(recorded, today, model_today, [factor], folder / factor))
    restorable = [one.factor for one in results if one.outcome != "impossible"]
    if len(restorable) > 1 and not any(one.outcome == "recorded" for one in results):
        progress(f"with the recorded {' and '.join(restorable)}")
        results.append(_train_with(recorded, today, model_today, restorable, folder / "all"))
    return results


def _train_with(
    recorded: Recorded, today: Recipe, model_today: Model, factors: list[str], folder: Path
) -> Restored:
    name = " and ".join(factors)
    recipe = today
    try:
        for factor in factors:
            if factor not in RESTORE:
                return Restored(name, "impossible", NOT_IN_THIS_PROCESS)
            recipe = RESTORE[factor](recorded, recipe)
        model = fingerprint(candidate.make_candidate(recipe, folder))
    except NotRestorable as reason:
        return Restored(name, "impossible", f"can't be restored: {reason}")
    except StreamFlowError as error:
        return Restored(name, "another", f"restored, there is no model: {error.message}")
    except Exception as error:  # today's code and a recorded value that it can't take
        first_line = str(error).strip().partition("\n")[0][:200]
        return Restored(name, "impossible", f"can't be restored: {first_line}")
    if model == recorded.lineage.model:
        return Restored(name, "recorded", "restored, the recorded model comes out")
    if model == model_today:
        return Restored(name, "unchanged", "restored, nothing changes: it makes no difference")
    return Restored(name, "another", "restored, a third model comes out: it isn't the only one")


def _data(recorded: Recorded, recipe: Recipe) -> Recipe:
    """The recorded rows and values, except of features whose definitions differ today."""
    today, data = recipe.training_set, recorded.lineage.data
    table = _recorded_table(recorded)
    names = [one.name for one in today.schema.features if one.name not in recorded.changed_features]
    if len(names) < len(today.schema.features) and not _same_rows(table, recipe):
        raise NotRestorable("the rows differ today, and so do definitions of features")
    columns = {**today.columns, **_values(table, today.schema, names)}
    stored = dataset_table.training_set(
        table, replace(today.schema, features=()), data.as_of, data.known_at
    )
    return replace(recipe, training_set=replace(stored, schema=today.schema, columns=columns))


def _configuration(recorded: Recorded, recipe: Recipe) -> Recipe:
    """The recorded features, validation share and parameters.

    Features whose definitions differ today have their recorded values.
    """
    was, today = recorded.lineage.configuration, recipe.training_set
    columns = dict(today.columns)
    names = [
        one.name for one in was.feature_schema.features if one.name in recorded.changed_features
    ]
    if names:
        table = _recorded_table(recorded)
        if not _same_rows(table, recipe):
            raise NotRestorable("definitions of features differ today, and so do the rows")
        columns |= _values(table, was.feature_schema, names)
    return replace(
        recipe,
        training_set=replace(today, schema=was.feature_schema, columns=columns),
        validation=was.judged,
        horizon=timedelta(seconds=was.label.horizon_seconds),
        refit=was.refit,
        build=_built(recipe.build, was.parameters, chance=False),
        calibrate=was.calibrate,
        search=None,  # the recorded parameters are those that it found
    )


def _randomness(recorded: Recorded, recipe: Recipe) -> Recipe:
    was = recorded.lineage.randomness
    return replace(
        recipe,
        build=_built(recipe.build, was.parameters, chance=True),
        random_state=was.random_state,
        threads=was.threads,
    )


def _recorded_table(recorded: Recorded) -> pa.Table:
    if recorded.table is None:
        raise NotRestorable("the training set wasn't stored with the run")
    return recorded.table


def _values(table: pa.Table, schema: FeatureSchema, names: list[str]) -> dict[str, FeatureValues]:
    features = {one.name: one for one in schema.features}
    return {name: dataset_table.values(table, features[name]) for name in names}


def _same_rows(table: pa.Table, recipe: Recipe) -> bool:
    today = recipe.training_set
    as_ofs = dataset_table.as_ofs(table, today.as_of)
    return Entities(table.column(0)) == today.entities and as_ofs == today.as_ofs


def _built(build: EstimatorBuilder, wanted: dict[str, Parameter], chance: bool) -> EstimatorBuilder:
    """What builds today's estimator with the recorded parameters, those of chance or the others."""

    def restored(random_state: int) -> Estimator:
        estimator = build(random_state)
        today = parameters(estimator)
        own = {
            name: value for name, value in today.items() if is_randomness_parameter(name) == chance
        }
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
