"""The step that says why entities have their scores: the strongest reasons of each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamflow.lineage import judged_version
from streamflow.pipeline.month.scored_rows import CannotBeExplained, scored_rows
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.reasons import explanation, processes, recorded
from streamflow.reasons.explanation import Explanations
from streamflow.reasons.forms.model_columns import ModelColumns, model_columns
from streamflow.reasons.forms.served_form import score_sum
from streamflow.reasons.forms.trees import LinearSum, ScoreSum, Unexplainable
from streamflow.reasons.recorded import Explained, Reason
from streamflow.reasons.sentences import sentence
from streamflow.reasons.shapley import Question
from streamflow.reasons.usual import FeatureValue, usual_values
from streamflow.scores import scorings
from streamflow.scores.scorings import Scoring
from streamflow.training.served_model import FeatureSchema, Matrix
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    import pyarrow as pa

REASONS = 3
BACKGROUND_ROWS = 1_000
BACKGROUND_RULE = "scored entities with the smallest SHA-256 of their id"

# What is left of a contribution of 0 when thousands of leaves are added up.
_NOTHING = 1e-12
# Memory is that of the contributions of so many entities.
_ENTITIES_TOGETHER = 50_000
# Starting another process takes as long as so many entities times trees.
_WORTH_A_PROCESS = 1_000_000


@dataclass(frozen=True)
class Explanation:
    """What of a scoring is explained: the entities with the ranks 1 to `top`.

    `entities` have reasons; `refused` have none, because their contributions don't add up to their
    score within the tolerance, and `refused_entities` names the first of them. `new` counts the
    entities of this run; 0 if all were explained before. `scale` and `base` are those of the newest
    explanation.
    """

    scoring: Scoring
    top: int
    entities: int
    refused: int
    refused_entities: tuple[str, ...]
    new: int
    scale: str
    base: float
    background: Mapping[str, object]


def explain_scores(
    platform: Platform,
    as_of: date | None,
    top: int,
    who: str,
    now: datetime,
    progress: Progress = silent,
    version: int | None = None,
    cores: int | None = None,
) -> Explanation:
    """Explain the `top` highest ranks of the newest scoring (of `as_of` and `version`, if given).

    Ranks that were explained before stay as they are; the others are explained all at once, so that
    a run that was killed leaves nothing, and the same again adds nothing. Contributions are exact
    Shapley values of the served file; see `reasons.explanation`. `cores` is how many processes may
    compute; all cores if None, and it changes no bit.
    Raises NoScoring, CannotBeExplained, UnknownVersion, UnservableModel, FeatureStoreUnavailable,
    MlflowUnavailable.
    """
    database = platform.database
    scoring = scorings.newest(database, platform.use_case, as_of, version)
    top = min(top, scoring.entities)
    first = 1 + max(
        (one.last_rank for one in recorded.explanations(database, scoring.scoring_id)), default=0
    )
    new = 0
    if first <= top:
        new = _explain(platform, scoring, (first, top), who, now, progress, cores)
    return _explanation(platform, scoring, new)


def _explanation(platform: Platform, scoring: Scoring, new: int) -> Explanation:
    there = recorded.explanations(platform.database, scoring.scoring_id)
    if not there:
        return Explanation(scoring, 0, 0, 0, (), 0, "", float("nan"), {})
    newest = there[-1]
    return Explanation(
        scoring=scoring,
        top=newest.last_rank,
        entities=sum(one.entities for one in there),
        refused=sum(one.refused for one in there),
        refused_entities=tuple(recorded.refused(platform.database, scoring.scoring_id, most=20)),
        new=new,
        scale=newest.scale,
        base=newest.base,
        background=newest.background,
    )


def _explain(
    platform: Platform,
    scoring: Scoring,
    ranks: tuple[int, int],
    who: str,
    now: datetime,
    progress: Progress,
    cores: int | None,
) -> int:
    database, use_case = platform.database, platform.use_case
    progress("fetch the version")
    version = platform.version(scoring.version)
    if version.model_hash != scoring.model_hash:
        raise CannotBeExplained(
            f"Version {scoring.version} of {scoring.model!r} has the hash "
            f"{version.model_hash[:12]} now; its scores of AS_OF {scoring.as_of} were made by "
            f"{scoring.model_hash[:12]}.",
            f"Score again: `streamflow score --as-of {scoring.as_of}`.",
        )
    model = judged_version.model_of(platform, version)
    folder = platform.production.download(version)
    score = _score_sum(folder, scoring)
    progress("read the features")
    listed = database.rows(
        "ranked_scores", scoring_id=scoring.scoring_id, first_rank=ranks[0], last_rank=ranks[1]
    )
    drawn = [
        row["entity_id"]
        for row in database.rows(
            "background_entities", scoring_id=scoring.scoring_id, rows=BACKGROUND_ROWS
        )
    ]
    wanted = {*drawn, *(row["entity_id"] for row in listed)}
    rows = scored_rows(platform, version, model, scoring, wanted)
    schema = model.schema
    background = _columns(rows.of(drawn), schema)
    usual = usual_values(schema, background)
    taken = model_columns(folder, schema)
    background_matrix = _matrix(taken, background, scoring)
    explained = Explained(
        scoring_id=scoring.scoring_id,
        first_rank=ranks[0],
        last_rank=ranks[1],
        explained_at=now,
        explained_by=who,
        scale=score.scale,
        base=0.0,
        background={
            "rows": len(drawn),
            "rule": BACKGROUND_RULE,
            "sha256": hashlib.sha256(background_matrix.tobytes()).hexdigest(),
        },
        entities=0,
        refused=0,
    )
    reasons: list[tuple[str, list[Reason]]] = []
    refused: dict[str, float] = {}
    for start in range(0, len(listed), _ENTITIES_TOGETHER):
        part = listed[start : start + _ENTITIES_TOGETHER]
        progress(f"explain ranks {ranks[0] + start:,} to {ranks[0] + start + len(part) - 1:,}")
        entities = [row["entity_id"] for row in part]
        columns = _columns(rows.of(entities), schema)
        matrix = _matrix(taken, columns, scoring)
        question = Question(matrix, background_matrix, taken.blocks)
        served = np.array([row["probability"] for row in part])
        found = _explanations(score, question, served, cores, scoring)
        explained = replace(explained, base=found.base)
        refused |= {
            entities[row]: float(found.errors[row]) for row in np.flatnonzero(found.refused)
        }
        reasons += _reasons(use_case, schema, entities, columns, usual, found)
    progress("write the reasons")
    explained = replace(explained, entities=len(reasons), refused=len(refused))
    written = recorded.record(database, explained, reasons, refused)
    return len(listed) if written else 0


def _score_sum(folder: Path, scoring: Scoring) -> ScoreSum:
    try:
        return score_sum(folder)
    except Unexplainable as error:
        raise _cannot(scoring, error) from error


def _matrix(
    taken: ModelColumns, columns: Mapping[str, Sequence[FeatureValue]], scoring: Scoring
) -> Matrix:
    try:
        return taken.matrix(columns)
    except Unexplainable as error:
        raise _cannot(scoring, error) from error


def _cannot(scoring: Scoring, error: Unexplainable) -> CannotBeExplained:
    return CannotBeExplained(
        f"Scores of version {scoring.version} of {scoring.model!r} have no exact reasons: its "
        f"served file is {error}.",
        "They stand without reasons. Forests, trees, LightGBM, XGBoost and linear models have "
        "some: `streamflow train --model NAME`.",
    )


def _explanations(
    score: ScoreSum, question: Question, served: Matrix, cores: int | None, scoring: Scoring
) -> Explanations:
    trees = 0 if isinstance(score, LinearSum) else len(score.trees)
    worth = 1 + len(question.rows) * trees // _WORTH_A_PROCESS
    wanted = min(cores or len(os.sched_getaffinity(0)), worth)
    try:
        return explanation.explain(
            score,
            question,
            served,
            lambda trees, asked: processes.tree_contributions(trees, asked, wanted),
        )
    except Unexplainable as error:
        raise _cannot(scoring, error) from error


def _columns(table: pa.Table, schema: FeatureSchema) -> dict[str, list[FeatureValue]]:
    return {one.name: table[one.name].to_pylist() for one in schema.features}


def _reasons(
    use_case: UseCase,
    schema: FeatureSchema,
    entities: Sequence[str],
    columns: Mapping[str, Sequence[FeatureValue]],
    usual: Mapping[str, FeatureValue],
    found: Explanations,
) -> list[tuple[str, list[Reason]]]:
    """The strongest reasons of each entity whose explanation adds up."""
    order = explanation.strongest(found.contributions, REASONS).tolist()
    contributions = found.contributions.tolist()
    reasons = []
    for row in np.flatnonzero(~found.refused).tolist():
        of_entity = []
        for position, number in enumerate(order[row], start=1):
            feature, contribution = schema.features[number], contributions[row][number]
            if abs(contribution) < _NOTHING:
                break  # it has no part in the score, and so have all that follow
            value, usually = columns[feature.name][row], usual[feature.name]
            phrase = use_case.phrases.get(feature.name)
            said = sentence(feature, value, usually, phrase, lowers=contribution < 0)
            of_entity.append(Reason(position, feature.name, value, contribution, usually, said))
        reasons.append((entities[row], of_entity))
    return reasons
