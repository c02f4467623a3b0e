"""What a month is compared with, and by which bounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streamflow.monitoring.alarm import TRAINING, Alarm, Severity
from streamflow.use_case import Monitoring

# Tests of each feature in each comparison: missing, values not seen before, a multiple of all, of a
# part, shift; of a STRING: missing, new, vanished, shift.
TESTS_PER_FEATURE = 5


@dataclass(frozen=True)
class Compared:
    """`reference` is "training" or "month before", `words` says it with its months.

    `entities` is what the entities are called. A test raises an alarm if its probability by chance
    is at most `level`: the use case's rate of false alarms, divided by the number of tests
    (Bonferroni). `reference_rows` is how many entities are behind the reference's counts.
    """

    reference: str
    words: str
    entities: str
    level: float
    bounds: Monitoring
    reference_rows: int | None = None

    def alarm(
        self, rule: str, what: str, severity: Severity, figure: float, bound: float, sentence: str
    ) -> Alarm:
        """An alarm of this comparison; the sentence gets what it is compared with."""
        said = f"{what}: {sentence}, compared with {self.words}."
        return Alarm(rule, what, severity, float(figure), float(bound), self.reference, said)


def level(bounds: Monitoring, tests: int) -> float:
    """The probability by chance at which one of so many tests raises an alarm."""
    return bounds.false_alarms / max(tests, 1)


def without_repeats(alarms: Iterable[Alarm]) -> list[Alarm]:
    """Of alarms by the same rule about the same, the one that compares with training."""
    found: dict[tuple[str, str], Alarm] = {}
    for alarm in alarms:
        kept = found.get((alarm.rule, alarm.what))
        if kept is None or (alarm.compared_with, kept.compared_with)[0] == TRAINING:
            found[alarm.rule, alarm.what] = alarm
    return list(found.values())


def percent(share: float) -> str:
    """A share in words, as "about 10 %"."""
    if share >= 0.995:
        return "all"
    number = f"{100 * share:.0f}" if share >= 0.02 else f"{100 * share:.2g}"
    return f"about {number} %"
