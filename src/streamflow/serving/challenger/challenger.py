"""The version in Staging as the batches of requests know it: shadow scores and the canary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamflow.serving.challenger.canary import Answered, Canary
from streamflow.serving.challenger.challenger_model import ChallengerModel
from streamflow.serving.challenger.shadow import Shadow

if TYPE_CHECKING:
    from streamflow.serving.challenger.scored_rows import ScoredRows
    from streamflow.serving.scoring import ScoringRequest


class Challenger:
    """All but `model` belongs to the event loop."""

    def __init__(self, model: ChallengerModel, shadow: Shadow, canary: Canary) -> None:
        self.model = model
        self.shadow = shadow
        self.canary = canary

    @property
    def loaded(self) -> bool:
        """Whether there is a version in Staging that scores."""
        return self.model.served is not None

    def positions(self, requests: Sequence[ScoringRequest]) -> list[int]:
        """Those of the requests that the challenger answers."""
        return self.canary.positions(requests) if self.canary.state is not None else []

    def answer(self, scored: ScoredRows, positions: Sequence[int], answered: Answered) -> None:
        """Let the challenger answer those at `positions`, and score the others later."""
        self.canary.submit(scored, positions, answered)
        theirs = set(positions)
        others = [i for i in range(len(scored.requests)) if i not in theirs]
        if others and self.shadow.share:
            self.shadow.add(scored.only(others)._replace(canary=self.canary.state))

    def mirror(self, scored: ScoredRows) -> None:
        """Score in the background what was answered."""
        if self.shadow.share:
            self.shadow.add(scored._replace(canary=self.canary.state))
