"""Lineage: what a run was made from, factor by factor, so that it can be made again.

Five factors decide a model: data, code, environment, configuration and randomness. Their
fingerprints and the model's own are one document, `lineage.json`, kept with the run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from typing import Any, Literal

from streamflow.errors import NoLineage
from streamflow.features.point_in_time import Assembled
from streamflow.hashes import Sha256
from streamflow.lineage.code import OURS, Code, code
from streamflow.lineage.configuration import Configuration, configuration, parameters
from streamflow.lineage.data import Data, data
from streamflow.lineage.environment import Environment, Randomness, environment, randomness
from streamflow.registry.records import MODEL_HASH_TAG, Run
from streamflow.training.candidate import Candidate, Recipe
from streamflow.use_case import UseCase

LINEAGE_FILE = "lineage.json"
LINEAGE_HASH_TAG = "streamflow.lineage_hash"
FACTORS = ("data", "code", "environment", "configuration", "randomness")


@dataclass(frozen=True)
class Model:
    """`hash` is over the served form, `scores_hash` over the scores of the validation rows."""

    hash: Sha256
    scores_hash: Sha256
    validation_rows: int


@dataclass(frozen=True)
class Lineage:
    """A run's fingerprints. Times are UTC, hashes SHA-256 in hexadecimal digits."""

    format: Literal[1]
    data: Data
    code: Code
    environment: Environment
    configuration: Configuration
    randomness: Randomness
    model: Model

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=_text, indent=2, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> Lineage:
        """Raises NoLineage if it's not a lineage document that this version can read."""
        from pydantic import ValidationError

        try:
            found: Lineage = _type().validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            raise NoLineage(
                f"{LINEAGE_FILE} can't be read: {'.'.join(map(str, first['loc']))}: "
                f"{first['msg']}.",
                "It belongs to another version of StreamFlow, or was changed by hand.",
            ) from error
        return found


def schema() -> dict[str, Any]:
    """The document's JSON Schema, as it's published in `docs/lineage.schema.json`."""
    described: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_type().json_schema(),
    }
    return described


@cache
def _type() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Lineage)


def describe(
    use_case: UseCase,
    module: str,
    assembled: Assembled,
    model: str,
    recipe: Recipe,
    made: Candidate | None,
) -> Lineage:
    """The lineage of what was `made` here and now by the recipe out of `assembled`.

    `module` is the use case's dotted path, `model` the recipe's name. Where nothing could be made,
    the model's hashes are empty.
    """
    training_set, estimator = assembled.training_set, recipe.build(recipe.random_state)
    return Lineage(
        format=1,
        data=data(
            assembled.table,
            training_set.as_of,
            training_set.known_at,
            (assembled.without_label, assembled.without_features),
            assembled.ingestions,
        ),
        code=code([*OURS, module]),
        environment=environment(),
        configuration=configuration(
            use_case, training_set.schema, assembled.feature_views, model, estimator
        ),
        randomness=randomness(recipe.random_state, parameters(estimator)),
        model=fingerprint(made),
    )


def fingerprint(made: Candidate | None) -> Model:
    """The model's own; empty where nothing could be made."""
    if made is None:
        return Model("", "", 0)
    return Model(made.model_hash, made.scores_hash, len(made.fitted.validation_rows))


def tags(lineage: Lineage, document: str) -> dict[str, str]:
    """The fingerprints as a run's tags; `document` is the lineage as it's written."""
    code, environment = lineage.code, lineage.environment
    return {
        "streamflow.data_hash": lineage.data.hash,
        "streamflow.code_hash": _hash({name: one.hash for name, one in code.packages.items()}),
        "streamflow.environment_hash": _hash(asdict(environment)),
        "streamflow.configuration_hash": _hash(asdict(lineage.configuration)),
        "streamflow.randomness_hash": _hash(asdict(lineage.randomness)),
        MODEL_HASH_TAG: lineage.model.hash,
        "streamflow.scores_hash": lineage.model.scores_hash,
        LINEAGE_HASH_TAG: hashlib.sha256(document.encode()).hexdigest(),
        "streamflow.lock_hash": environment.lock_hash,
        "streamflow.python": environment.python,
        "streamflow.platform": environment.platform,
        "streamflow.code_dirty": str(code.dirty).lower(),
        **({"mlflow.source.git.commit": code.commit} if code.commit else {}),
    }


def recorded(run: Run, document: str | None) -> Lineage:
    """The lineage that was kept with `run`. Raises NoLineage if there's none, or it was changed."""
    if document is None:
        raise NoLineage(
            f"Run {run.run_id} has no {LINEAGE_FILE}: it was made before lineage was kept, or its "
            "artifacts are gone.",
            "Train again with `streamflow train`, or restore the artifacts from a backup.",
        )
    if run.tags.get(LINEAGE_HASH_TAG) != hashlib.sha256(document.encode()).hexdigest():
        raise NoLineage(
            f"The {LINEAGE_FILE} of run {run.run_id} isn't the one that was kept: its hash isn't "
            f"the tag {LINEAGE_HASH_TAG}.",
            "Restore the artifacts from a backup.",
        )
    return Lineage.from_json(document)


def _text(moment: date) -> str:
    return moment.isoformat()  # a datetime's own, with its time


def _hash(section: dict[str, Any]) -> str:
    text = json.dumps(section, default=_text, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
