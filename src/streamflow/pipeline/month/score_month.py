"""Everyone of a month scored and explained, once for what is known and the version that serves."""

from __future__ import annotations

from datetime import date, datetime

from streamflow.pipeline.month.explain_scores import explain_scores
from streamflow.pipeline.month.month_record import MonthRecord
from streamflow.pipeline.month.scored_rows import CannotBeExplained
from streamflow.pipeline.month.step import Step
from streamflow.platform import Platform
from streamflow.progress import Progress
from streamflow.scores.everyone import score

# Entities with the highest ranks that get reasons.
EXPLAINED = 50_000


def score_month(
    platform: Platform,
    as_of: date,
    record: MonthRecord,
    who: str,
    now: datetime,
    progress: Progress,
) -> Step:
    """Score everyone of the month by the version that serves.

    A month that was scored before isn't scored again by a version that a later month brought; the
    newest month is. Raises what `score` does.
    """
    if (before := record.settled("score")) is not None:
        return before
    known_at = record.known_at
    done = score(platform, as_of, who, now, progress, known_at)
    made, entities = done.scoring, platform.use_case.entity_table
    without = sum(made.refused.values())
    return Step(
        "score",
        "done",
        f"version {made.version} scored {made.entities:,} {entities}; {made.departed:,} have left, "
        f"{without:,} have no score",
        done.added,
        {
            "version": made.version,
            "model_hash": made.model_hash,
            "entities": made.entities,
            "departed": made.departed,
            "refused": dict(sorted(made.refused.items())),
        },
    )


def explain_month(
    platform: Platform, as_of: date, who: str, now: datetime, progress: Progress
) -> Step:
    """Say why the entities with the highest scores have them, if the served form can be explained.

    Raises what `explain_scores` does but CannotBeExplained.
    """
    try:
        done = explain_scores(platform, as_of, EXPLAINED, who, now, progress)
    except CannotBeExplained as error:
        return Step("explain", "not possible", error.message, False)
    refused = f"; {done.refused:,} explanations were refused" if done.refused else ""
    return Step(
        "explain",
        "done",
        f"{done.entities:,} {platform.use_case.entity_table} have reasons{refused}",
        done.new > 0,
        {"entities": done.entities, "refused": done.refused, "scale": done.scale},
    )
