"""Whether to train again: proposed by drift, confirmed by quality, held off by the policy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from streamflow.monitoring.alarm import FEATURE_RULES, QUALITY_RULES, SCORE_RULES, Alarm
from streamflow.use_case import Retraining

Verdict = Literal["not needed", "proposed", "confirmed", "held off"]


@dataclass(frozen=True)
class Advice:
    """Whether to train again, and the rule that spoke.

    "proposed": what the model reads has moved, and nothing shows yet that it is worse. "confirmed":
    it is worse, or is estimated to be. "held off": it would be confirmed, but for the policy.
    `rule` is the alarm's, or "cool-down" or "new labels"; empty if no rule spoke.
    """

    verdict: Verdict
    rule: str
    sentence: str

    @property
    def retrain(self) -> bool:
        """Whether a version should be trained now."""
        return self.verdict == "confirmed"


def advise(
    alarms: Iterable[Alarm],
    as_of: date,
    learned_until: date | None,
    new_labels: int,
    policy: Retraining,
) -> Advice:
    """Whether to train again after the monitoring of `as_of` with these `alarms`.

    `learned_until` is the newest month that the newest version was trained on, None without a
    version; `new_labels` counts labels that have matured of months that it wasn't trained on.
    """
    raised = list(alarms)
    worse = next((one for one in raised if one.rule in QUALITY_RULES), None)
    drift = next((one for one in raised if one.rule in (*FEATURE_RULES, *SCORE_RULES)), None)
    spoke = worse or drift
    if spoke is None:
        return Advice(
            "not needed",
            "",
            "Training again isn't needed: nothing that the model reads or says has moved.",
        )
    said = f"{spoke.rule}: {spoke.sentence}"
    if worse is None:
        return Advice(
            "proposed",
            spoke.rule,
            f"Training again is proposed, and not confirmed by quality or its estimate. {said}",
        )
    if learned_until is not None and as_of - learned_until < policy.cool_down:
        return Advice(
            "held off",
            "cool-down",
            f"The newest version learned until {learned_until}; the next training may be "
            f"{policy.cool_down.days} days after that. {said}",
        )
    if new_labels < policy.fewest_new_labels:
        return Advice(
            "held off",
            "new labels",
            f"{new_labels:,} labels have matured that the newest version wasn't trained on, "
            f"{policy.fewest_new_labels:,} are needed. {said}",
        )
    return Advice("confirmed", spoke.rule, f"Train again: `streamflow train`. {said}")
