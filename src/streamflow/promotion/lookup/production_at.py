"""Who was in Production at a time: by the history, and by the receipts' own times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from streamflow.platform import Platform
from streamflow.promotion import history, model_history
from streamflow.promotion.admission.admitted import last_admitted
from streamflow.promotion.change import RecordedChange
from streamflow.registry.stages import PRODUCTION

# So far from the time a prediction is looked for: a look at more of the log would take long.
NEAR = "1 hour"


@dataclass(frozen=True)
class Answered:
    """A prediction near the time, and which version gave it, with its stage then: a canary's is
    Staging."""

    predicted_at: datetime
    version: int
    model_hash: str
    request_id: str
    stage: str


@dataclass(frozen=True)
class ProductionAt:
    """Who was in Production at a time.

    `version` is MLflow's by the history, `served` the one that the API served by it; None if none.
    `since` is the newest change before the time that concerns Production, `until` the first after
    it. `before` and `after` are the predictions next to the time, within an hour.
    """

    at: datetime
    version: int | None
    served: int | None
    since: RecordedChange | None
    until: RecordedChange | None
    before: Answered | None
    after: Answered | None


def production_at(platform: Platform, at: datetime) -> ProductionAt:
    """Who was in Production at the time, in UTC."""
    model = platform.registry.model
    changes = model_history.changes(platform.database, model)
    then = [one for one in changes if one.at <= at]
    concerning = history.production_changes(changes)
    rows = platform.database.rows("answered_at", model=model, at=at, within=NEAR)
    answers = [Answered(**row) for row in rows]
    serving = last_admitted(then)
    return ProductionAt(
        at,
        history.recorded_version(then, PRODUCTION),
        serving.version if serving is not None else None,
        next((one for one in reversed(concerning) if one.at <= at), None),
        next((one for one in concerning if one.at > at), None),
        next((one for one in answers if one.predicted_at <= at), None),
        next((one for one in answers if one.predicted_at > at), None),
    )
