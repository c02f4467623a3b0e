"""Lineage: the fingerprints of a run, from which it can be reproduced.

Five factors decide a model: data, code, environment, configuration and randomness. Their
fingerprints and the model's own are one document, `lineage.json`, an artifact of the run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Literal

from streamflow.errors import NoLineage
from streamflow.features.point_in_time import Assembled
from streamflow.hashes import Sha256
from streamflow.lineage.code import OWN_PACKAGES, Code, code
from streamflow.lineage.configuration import Configuration, configuration, parameters
from streamflow.lineage.data import Data, data
from streamflow.lineage.environment import Environment, Randomness, environment, randomness
from streamflow.registry.records import MODEL_HASH_TAG, Run
from streamflow.training.candidate import Candidate, Recipe, built
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    from pydantic import TypeAdapter

LINEAGE_FILE = "lineage.json"
LINEAGE_HASH_TAG = "streamflow.lineage_hash"


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
        """The text of `lineage.json`."""
        return json.dumps(asdict(self), default=_iso, indent=2, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> Lineage:
        """Parse `lineage.json`. Raises NoLineage if this version of StreamFlow can't read it."""
        from pydantic import ValidationError

        try:
            return _adapter().validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            raise NoLineage(
                f"{LINEAGE_FILE} can't be read: {'.'.join(map(str, first['loc']))}: "
                f"{first['msg']}.",
                "It belongs to another version of StreamFlow, or was changed by hand.",
            ) from error


def schema() -> dict[str, object]:
    """The document's JSON Schema, published in `docs/lineage.schema.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_adapter().json_schema(),
    }


@cache
def _adapter() -> TypeAdapter[Lineage]:
    from pydantic import TypeAdapter

    return TypeAdapter(Lineage)


def describe(
    use_case: UseCase,
    module: str,
    assembled: Assembled,
    model: str,
    recipe: Recipe,
    candidate: Candidate | None,
) -> Lineage:
    """The lineage of a candidate that was just trained by the recipe on `assembled`.

    `module` is the use case's dotted path, `model` the name of its model. Without a candidate, the
    model's hashes are empty.
    """
    training_set, estimator = assembled.training_set, built(recipe, candidate)
    return Lineage(
        format=1,
        data=data(assembled),
        code=code([*OWN_PACKAGES, module]),
        environment=environment(),
        configuration=configuration(
            *(use_case, training_set.schema, assembled.feature_views, model, estimator, recipe),
            assembled.sample.size if assembled.sample is not None else None,
            candidate.searched if candidate else None,
        ),
        randomness=randomness(recipe.random_state, parameters(estimator)),
        model=fingerprint(candidate),
    )


def fingerprint(candidate: Candidate | None) -> Model:
    """The model's fingerprint; its hashes are empty without a candidate."""
    if candidate is None:
        return Model("", "", 0)
    return Model(candidate.model_hash, candidate.scores_hash, len(candidate.judged.validation_rows))


def tags(lineage: Lineage, document: str) -> dict[str, str]:
    """The fingerprints as tags of the run; `document` is the text of `lineage.json`."""
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


def read_recorded(run: Run, document: str | None) -> Lineage:
    """Parse the run's `lineage.json`. Raises NoLineage if it is missing or was changed."""
    if document is None:
        raise NoLineage(
            f"Run {run.run_id} has no {LINEAGE_FILE}: it was trained before lineage was recorded, "
            "or its artifacts are gone.",
            "Train again with `streamflow train`, or restore the artifacts from a backup.",
        )
    if run.tags.get(LINEAGE_HASH_TAG) != hashlib.sha256(document.encode()).hexdigest():
        raise NoLineage(
            f"The {LINEAGE_FILE} of run {run.run_id} isn't the one that was kept: its hash isn't "
            f"the tag {LINEAGE_HASH_TAG}.",
            "Restore the artifacts from a backup.",
        )
    return Lineage.from_json(document)


def _iso(moment: date) -> str:
    return moment.isoformat()  # of a datetime, this includes the time


def _hash(section: dict[str, object]) -> str:
    text = json.dumps(section, default=_iso, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
