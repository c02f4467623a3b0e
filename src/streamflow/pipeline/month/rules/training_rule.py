"""Whether a month trains a challenger, and the rule that says so. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from streamflow.monitoring.retraining import Advice
from streamflow.use_case import Retraining


@dataclass(frozen=True)
class TrainingRule:
    """`as_of` is the newest month whose labels have matured, None if there is none. `rule` names
    what decided, `sentence` says it in words."""

    verdict: Literal["train", "not needed", "held off"]
    rule: str
    sentence: str
    as_of: date | None = None


def training_rule(
    labels: Mapping[date, int],
    learned: Collection[date] | None,
    advice: Advice | None,
    policy: Retraining,
) -> TrainingRule:
    """What the rule of the use case says.

    `labels` counts, by month, the labels that have matured. `learned` are the months that the
    newest version was trained on, None without a version that serves or could. `advice` is that of
    the newest monitoring, None without one.
    """
    if not labels:
        return TrainingRule("not needed", "no labels", "no label has matured yet")
    newest = max(labels)
    if learned is None:
        return TrainingRule("train", "first version", "no version serves yet", newest)
    until = max(learned, default=newest)
    fresh = sum(count for month, count in labels.items() if month > until)
    if not fresh:
        return TrainingRule(
            "not needed",
            "new labels",
            f"no label has matured since the newest version, which learned until {until}",
            newest,
        )
    said = f"{fresh:,} labels have matured that the newest version wasn't trained on"
    if fresh < policy.fewest_new_labels:
        sentence = f"{said}, {policy.fewest_new_labels:,} are needed"
        return TrainingRule("held off", "new labels", sentence, newest)
    if newest - until < policy.cool_down:
        return TrainingRule(
            "held off",
            "cool-down",
            f"the newest version learned until {until}, and the next may learn until "
            f"{policy.cool_down.days} days after that; the newest labels are of {newest}",
            newest,
        )
    if policy.when == "new labels":
        return TrainingRule("train", "new labels", said, newest)
    if advice is None or not advice.retrain:
        because = advice.sentence if advice is not None else "Nothing was monitored yet."
        sentence = f"{said}; training again isn't confirmed: {because}"
        return TrainingRule("held off", "not confirmed", sentence, newest)
    return TrainingRule("train", advice.rule, f"{said}. {advice.sentence}", newest)
