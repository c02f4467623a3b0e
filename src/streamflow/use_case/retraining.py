"""When a use case trains again because something has moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from streamflow.use_case.findings import Finding


@dataclass(frozen=True)
class Retraining:
    """When it is advised to train again, and when `run-month` does.

    Drift proposes it; worse quality, or a worse estimate of it, confirms it. Neither counts within
    `cool_down` of the newest month that the newest version learned from, nor before
    `fewest_new_labels` labels have matured that it wasn't trained on.

    `run-month` trains a challenger `when` labels have matured that the newest version wasn't
    trained on ("new labels"), or only when training again is confirmed too ("confirmed"); the
    cool-down and the fewest new labels hold for both. The challenger learns from the newest
    `months` whose labels have matured, or from as many as there are.
    """

    cool_down: timedelta = timedelta(days=20)
    fewest_new_labels: int = 500
    when: Literal["new labels", "confirmed"] = "new labels"
    months: int = 1


def retraining_findings(policy: object) -> Iterator[Finding]:
    """What is wrong with the policy."""
    if not isinstance(policy, Retraining):
        yield Finding(
            "retraining",
            f"it is {type(policy).__name__}, not Retraining",
            "retraining=Retraining()",
        )
        return
    if not isinstance(policy.cool_down, timedelta) or policy.cool_down < timedelta(0):
        yield Finding(
            "retraining",
            f"its cool_down {policy.cool_down!r} isn't a time between two trainings",
            "Retraining(cool_down=timedelta(days=20))",
        )
    if policy.when not in ("new labels", "confirmed"):
        yield Finding(
            "retraining",
            f"when is {policy.when!r}, not 'new labels' or 'confirmed'",
            'Retraining(when="new labels")',
        )
    months = policy.months
    if isinstance(months, bool) or not isinstance(months, int) or months < 1:
        yield Finding(
            "retraining",
            f"months is {months!r}, not a whole number of 1 or more",
            "Retraining(months=1)",
        )
    labels = policy.fewest_new_labels
    if isinstance(labels, bool) or not isinstance(labels, int) or labels < 0:
        yield Finding(
            "retraining",
            f"fewest_new_labels is {labels!r}, not a whole number of 0 or more",
            "Retraining(fewest_new_labels=500)",
        )
