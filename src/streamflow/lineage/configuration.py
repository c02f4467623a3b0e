"""The configuration of a training: feature definitions, the label, the estimator."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import timedelta

from streamflow.features.feature_views import FeatureViewDefinition
from streamflow.lineage.environment import Parameter, is_randomness_parameter
from streamflow.training.calibrated.estimator import CalibrationMethod
from streamflow.training.candidate import Recipe
from streamflow.training.search.search import Searched
from streamflow.training.served_model import FeatureSchema
from streamflow.training.split import Method, Validation
from streamflow.use_case import Estimator, Label, UseCase, inner
from streamflow.use_case.label import positive_of


@dataclass(frozen=True)
class LabelDefinition:
    """The label: where it's found, how long after the as_of it's known, and which values mean yes
    (see `Label.rule`; None for a boolean)."""

    table: str
    column: str
    horizon_seconds: float
    positive: str | None = None

    @classmethod
    def of(cls, label: Label) -> LabelDefinition:
        """That of a use case."""
        return cls(label.table, label.column, label.horizon.total_seconds(), label.rule)

    @property
    def label(self) -> Label:
        """The label that it was made from."""
        horizon = timedelta(seconds=self.horizon_seconds)
        return Label(self.table, self.column, horizon, positive_of(self.positive))


@dataclass(frozen=True)
class SearchDefinition:
    """The search that found the model: the `models` that were tried with the parameters' `space`
    (as text, by `model.parameter`), on which folds; how many trials were asked for and made, and
    the parameters of the best."""

    models: list[str]
    space: dict[str, str]
    seed: int
    asked: int
    trials: int
    folds: str
    chosen: dict[str, Parameter]


@dataclass(frozen=True)
class Configuration:
    """`parameters` are the estimator's, but for those of randomness.

    A parameter that is an object itself is given by its class; its own parameters are there too.
    `validation` names how the model is judged, over the newest `validation_months` where that is
    out of time. Of a `sample`, so many entities were trained on and judged, those with the lowest
    hashes of their ids; None for all. `calibrate` is how probabilities are corrected. The defaults
    are for documents of old.
    """

    use_case: str
    entity_table: str
    label: LabelDefinition
    feature_schema: FeatureSchema
    feature_views: dict[str, FeatureViewDefinition]
    model: str
    estimator: str
    parameters: dict[str, Parameter]
    validation_share: float
    validation: Method = "random"
    validation_months: int | None = None
    refit: bool = False
    sample: int | None = None
    search: SearchDefinition | None = None
    calibrate: CalibrationMethod | None = None

    @property
    def judged(self) -> Validation:
        """How the model is judged, as `split` takes it."""
        return Validation(self.validation, self.validation_share, self.validation_months or 1)


def configuration(
    use_case: UseCase,
    features: FeatureSchema,
    feature_views: dict[str, FeatureViewDefinition],
    model: str,
    estimator: Estimator,
    recipe: Recipe,
    sample: int | None,
    searched: Searched | None = None,
) -> Configuration:
    """Today's configuration; `features` and `feature_views` are as Feast's registry has them."""
    validation = recipe.validation
    return Configuration(
        use_case=use_case.name,
        entity_table=use_case.entity_table,
        label=LabelDefinition.of(use_case.label),
        feature_schema=features,
        feature_views=feature_views,
        model=model,
        estimator=_class_name(inner(estimator)),
        parameters={
            name: value
            for name, value in parameters(estimator).items()
            if not is_randomness_parameter(name)
        },
        validation_share=validation.share,
        validation=validation.method,
        validation_months=validation.months if validation.method == "out-of-time" else None,
        refit=recipe.refit,
        sample=sample,
        search=_search_definition(recipe, searched),
        calibrate=recipe.calibrate,
    )


def _search_definition(recipe: Recipe, searched: Searched | None) -> SearchDefinition | None:
    wanted = recipe.search
    if wanted is None:
        return None
    return SearchDefinition(
        models=list(wanted.builders),
        space={
            f"{model}.{name}": repr(values)
            for model in wanted.builders
            for name, values in sorted(wanted.spaces.get(model, {}).items())
        },
        seed=recipe.random_state,
        asked=wanted.trials,
        trials=len(searched.trials) if searched else 0,
        folds=searched.folds if searched else "",
        chosen=dict(searched.winner.parameters) if searched else {},
    )


def parameters(estimator: Estimator) -> dict[str, Parameter]:
    """The estimator's parameters, those of its parts among them, as JSON can hold them."""
    return {name: _plain(value) for name, value in sorted(estimator.get_params().items())}


def _plain(value: object) -> Parameter:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        return _class_name(value)


def _class_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
