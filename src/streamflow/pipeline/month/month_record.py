"""The steps of a month as they are kept: append-only, one row per result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from streamflow.pipeline.month.step import Step, StepName
from streamflow.postgres.database import Database
from streamflow.promotion.model_history import as_json


@dataclass(frozen=True)
class MonthRecord:
    """Where the steps of one month of a model are kept; `known_at` and `now` are in UTC. `is_past`
    says whether a later month is in history."""

    database: Database
    model: str
    as_of: date
    known_at: datetime
    now: datetime
    who: str
    is_past: bool = False

    def facts(self, step: StepName) -> Mapping[str, Any] | None:
        """The facts of the step as it ended last; None if it never did."""
        found = self._newest().get(step)
        return None if found is None else found["facts"]

    def before(self, step: StepName) -> Step | None:
        """The step as it ended with what is known now; None if it didn't."""
        found = self._newest().get(step)
        if found is None or found["known_at"] != self.known_at:
            return None
        return Step(step, found["outcome"], found["sentence"], False, found["facts"])

    def settled(self, step: StepName) -> Step | None:
        """The step of a past month as it ended: what later months brought doesn't change it."""
        return self.before(step) if self.is_past else None

    def add(self, done: Step) -> None:
        """Append the step, unless its newest row says the same."""
        newest = self._newest().get(done.step)
        facts = json.loads(json.dumps(as_json(done.facts)))
        said = {"outcome": done.outcome, "sentence": done.sentence, "facts": facts}
        said = {**said, "known_at": self.known_at}
        if newest is not None and all(newest[name] == value for name, value in said.items()):
            return
        self.database.execute(
            "record_month_step",
            model=self.model,
            as_of=self.as_of,
            known_at=self.known_at,
            step=done.step,
            outcome=done.outcome,
            sentence=done.sentence,
            facts=json.dumps(facts, allow_nan=False),
            done_at=self.now,
            done_by=self.who,
        )

    def _newest(self) -> dict[str, dict[str, Any]]:
        rows = self.database.rows("month_steps", model=self.model, as_of=self.as_of)
        return {row["step"]: row for row in rows}
