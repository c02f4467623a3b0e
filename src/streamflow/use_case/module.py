"""A use case by the name of its module, and what is wrong with it that shows without a library."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import get_args

from streamflow.errors import InvalidSettings
from streamflow.use_case.contract import Unseen, UseCase
from streamflow.use_case.findings import Finding, require_none
from streamflow.use_case.gates import gates_findings
from streamflow.use_case.label import label_findings
from streamflow.use_case.monitoring import monitoring_findings
from streamflow.use_case.phrases import phrase_findings
from streamflow.use_case.retraining import retraining_findings
from streamflow.use_case.risk_bands import risk_band_findings
from streamflow.use_case.search_space import search_findings
from streamflow.use_case.value import value_findings

# Metrics of which more is better, so that a least value can be asked for.
ACCEPTANCE_METRICS = ("auc", "f1", "accuracy", "average_precision")

# Schemas in the same database that aren't the history of a use case.
RESERVED_SCHEMAS = frozenset(
    {"streamflow", "mlflow", "feast", "online", "public", "information_schema"}
)


def load_use_case(dotted_path: str) -> UseCase:
    """The `use_case` of the module at `dotted_path`, which has no finding of `use_case_findings`.

    Raises InvalidSettings if there is no such module, or no `use_case: UseCase` in it;
    UseCaseRefused. Tables and features are checked where they are made.
    """
    use_case = import_use_case(dotted_path)
    require_none(dotted_path, use_case_findings(use_case))
    return use_case


def import_use_case(dotted_path: str) -> UseCase:
    """The `use_case` of the module at `dotted_path`, right or wrong.

    Raises InvalidSettings if there is no such module, or no `use_case: UseCase` in it.
    """
    try:
        module = importlib.import_module(dotted_path)
    except (ImportError, TypeError, ValueError) as error:
        raise InvalidSettings(
            f"The use case {dotted_path!r} can't be imported: {error}.",
            "Set STREAMFLOW_USE_CASE to the dotted path of a module on PYTHONPATH.",
        ) from error
    use_case = getattr(module, "use_case", None)
    if not isinstance(use_case, UseCase):
        raise InvalidSettings(
            f"The module {dotted_path!r} has no `use_case` of type streamflow.use_case.UseCase.",
            "Add one; `src/churn/__init__.py` shows how.",
        )
    return use_case


def use_case_findings(use_case: UseCase) -> list[Finding]:
    """What is wrong with the use case itself, before its tables and features are made."""
    return [
        *_name_findings(use_case),
        *_key_findings(use_case.join_key),
        *label_findings(use_case.label),
        *_model_findings(use_case),
        *_judging_findings(use_case),
        *_unseen_findings(use_case.unseen),
        *_departed_findings(use_case.departed_after),
        *gates_findings(use_case.gates),
        *monitoring_findings(use_case.monitoring),
        *retraining_findings(use_case.retraining),
        *value_findings(use_case.value),
        *risk_band_findings(use_case.risk_bands),
        *phrase_findings(use_case.phrases),
        *search_findings(use_case.search),
    ]


def _name_findings(use_case: UseCase) -> Iterator[Finding]:
    name = use_case.name
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        yield Finding(
            "name",
            f"{name!r} is the name of a schema in PostgreSQL and of a project in Feast: lower-case "
            "letters, digits and underscores, a letter first, 63 at most",
            f'name="{_as_name(name)}"',
        )
    elif name in RESERVED_SCHEMAS or name.startswith("pg_"):
        yield Finding(
            "name", f"{name!r} is a schema that exists for other things", f'name="{name}_use_case"'
        )
    for field_name in ("registered_model", "entity_table", "feature_service"):
        value = getattr(use_case, field_name)
        if not isinstance(value, str) or not value.strip():
            yield Finding(field_name, f"{value!r} isn't a name", f'{field_name}="…"')
    for field_name in ("tables", "features"):
        value = getattr(use_case, field_name)
        if not callable(value):
            yield Finding(
                field_name,
                f"it is {type(value).__name__}, not a function",
                f"{field_name}={field_name}, where `def {field_name}():` returns them",
            )


def _key_findings(key: object) -> Iterator[Finding]:
    if isinstance(key, str) and key.strip():
        return
    parts = [part for part in key if isinstance(part, str)] if isinstance(key, Iterable) else []
    if len(parts) > 1:
        yield Finding(
            "join_key",
            f"{key!r} has {len(parts)} columns, an entity has one; join them to one text in the "
            "files, with a separator that is in neither",
            f'join_key="{"_".join(parts)}"',
        )
    else:
        yield Finding(
            "join_key", f"{key!r} isn't the name of a column", f'join_key="{(*parts, "…")[0]}"'
        )


def _model_findings(use_case: UseCase) -> Iterator[Finding]:
    models = use_case.models
    if not isinstance(models, Mapping) or not models:
        yield Finding("models", "there is none", 'models={"logistic_regression": build}')
        return
    for name, build in models.items():
        if not callable(build):
            yield Finding(
                f"model {name!r}",
                f"it is {type(build).__name__}, not a function from a random state to an estimator",
                f'"{name}": lambda random_state: {type(build).__name__}(…)',
            )
    if use_case.default_model not in models:
        yield Finding(
            "default_model",
            f"{use_case.default_model!r} isn't among the models {', '.join(map(repr, models))}",
            f'default_model="{nearest(use_case.default_model, models)}"',
        )


def _judging_findings(use_case: UseCase) -> Iterator[Finding]:
    share = use_case.validation_share
    if not isinstance(share, int | float) or not 0 < share < 1:
        yield Finding(
            "validation_share", f"{share!r} isn't between 0 and 1", "validation_share=0.25"
        )
    if not isinstance(use_case.acceptance, Mapping):
        yield Finding("acceptance", "it isn't a mapping", 'acceptance={"auc": 0.7}')
        return
    for metric, bar in use_case.acceptance.items():
        if metric not in ACCEPTANCE_METRICS:
            yield Finding(
                "acceptance",
                f"{metric!r} isn't a metric of which more is better: "
                f"{', '.join(ACCEPTANCE_METRICS)}",
                f'acceptance={{"{nearest(metric, ACCEPTANCE_METRICS)}": …}}',
            )
        elif isinstance(bar, bool) or not isinstance(bar, int | float) or not 0 <= bar <= 1:
            yield Finding(
                "acceptance", f"{metric} is at least {bar!r}", f'acceptance={{"{metric}": 0.7}}'
            )


def _unseen_findings(unseen: object) -> Iterator[Finding]:
    rules = get_args(Unseen)
    if not isinstance(unseen, Mapping):
        yield Finding("unseen", "it isn't a mapping from features to rules", "unseen={}")
        return
    for feature, rule in unseen.items():
        if rule not in rules:
            yield Finding(
                "unseen",
                f"{rule!r} for {feature!r} isn't one of {', '.join(rules)}",
                f'unseen={{"{feature}": "{nearest(rule, rules)}"}}',
            )


def _departed_findings(rule: object) -> Iterator[Finding]:
    if rule is not None and (not isinstance(rule, timedelta) or rule < timedelta(0)):
        yield Finding(
            "departed_after",
            f"{rule!r} isn't a time that passes after the month in which an entity was last seen",
            "departed_after=timedelta(days=45)",
        )


def nearest(name: object, known: Iterable[str]) -> str:
    """The one of the `known` names that is most like `name`; the first if none is."""
    names = list(known)
    return next(iter([*get_close_matches(str(name), names, 1), *names]), "…")


def _as_name(text: object) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", str(text).lower()).strip("_")
    return re.sub(r"^(?=[0-9])|^$", "use_case_", words)[:63].rstrip("_")
