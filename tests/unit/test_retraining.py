"""Training again: drift proposes it, quality confirms it, the policy holds it off."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from tests import tiny_case

from streamflow.monitoring.alarm import QUALITY_RULES, RULES, Alarm, in_order
from streamflow.monitoring.retraining import advise
from streamflow.use_case import Monitoring, Retraining
from streamflow.use_case.module import use_case_findings
from streamflow.use_case.monitoring import monitoring_findings
from streamflow.use_case.retraining import retraining_findings

MARCH, JANUARY = date(2024, 3, 31), date(2024, 1, 31)
POLICY = Retraining(cool_down=timedelta(days=45), fewest_new_labels=100)
SHIFT = Alarm("shift", "hours", "warning", 0.2, 0.1, "training", "hours has moved.")
WORSE = replace(SHIFT, rule="quality", sentence="The AUC is lower.")


def test_without_an_alarm_no_training_is_needed() -> None:
    assert advise([], MARCH, JANUARY, 1000, POLICY).verdict == "not needed"


def test_drift_alone_proposes_and_worse_quality_confirms() -> None:
    proposed = advise([SHIFT], MARCH, JANUARY, 1000, POLICY)
    assert (proposed.verdict, proposed.rule, proposed.retrain) == ("proposed", "shift", False)
    assert "hours has moved." in proposed.sentence
    confirmed = advise([SHIFT, WORSE], MARCH, JANUARY, 1000, POLICY)
    assert (confirmed.verdict, confirmed.rule, confirmed.retrain) == ("confirmed", "quality", True)


@pytest.mark.parametrize("rule", QUALITY_RULES)
def test_each_rule_of_quality_confirms(rule: str) -> None:
    assert advise([replace(WORSE, rule=rule)], MARCH, JANUARY, 1000, POLICY).retrain


def test_what_is_wrong_with_files_is_no_reason_to_train_again() -> None:
    late = replace(SHIFT, rule="late table")
    assert advise([late], MARCH, JANUARY, 1000, POLICY).verdict == "not needed"


def test_the_cool_down_and_too_few_new_labels_hold_it_off() -> None:
    soon = advise([WORSE], date(2024, 2, 29), JANUARY, 1000, POLICY)
    assert (soon.verdict, soon.rule) == ("held off", "cool-down")
    few = advise([WORSE], MARCH, JANUARY, 99, POLICY)
    assert (few.verdict, few.rule) == ("held off", "new labels")
    assert advise([WORSE], MARCH, None, 100, POLICY).retrain


def test_critical_alarms_come_first_then_those_of_the_files() -> None:
    alarms = [replace(SHIFT, rule=rule) for rule in reversed(RULES)]
    critical = replace(SHIFT, severity="critical")
    ordered = in_order([*alarms, critical])
    assert ordered[0] == critical
    assert [one.rule for one in ordered[1:]] == list(RULES)


@pytest.mark.parametrize(
    ("bounds", "said", "instead"),
    [
        ({}, "it is dict", "monitoring=Monitoring()"),
        (Monitoring(shift=0), "shift is 0", "Monitoring(shift=0.1)"),
        (Monitoring(outside=1.5), "outside is 1.5", "Monitoring(outside=0.005)"),
        (Monitoring(false_alarms=None), "false_alarms is None", "Monitoring(false_alarms=0.01)"),  # type: ignore[arg-type]
        (Monitoring(labels_late=3), "labels_late is 3", "timedelta(days=10)"),  # type: ignore[arg-type]
    ],
)
def test_a_bound_that_cannot_be_is_told_with_the_line_to_write(
    bounds: object, said: str, instead: str
) -> None:
    (found,) = monitoring_findings(bounds)
    assert said in found.what
    assert instead in found.instead


@pytest.mark.parametrize(
    "policy",
    [None, Retraining(cool_down=3), Retraining(fewest_new_labels=-1)],  # type: ignore[arg-type]
)
def test_a_policy_that_cannot_be_is_told(policy: object) -> None:
    (found,) = retraining_findings(policy)
    assert "etraining" in found.instead
    use_case = replace(tiny_case.use_case, retraining=policy)  # type: ignore[arg-type]
    assert use_case_findings(use_case) == [found]


def test_none_raises_no_alarm() -> None:
    assert [*monitoring_findings(Monitoring(shift=None, labels_late=None))] == []
