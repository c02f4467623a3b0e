"""What a month decides: whether to train, whether to promote, whether its files are there."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_case
from tests.json_schema import violations

from streamflow.errors import MissingFiles
from streamflow.history.files.month_folder import NotArrived, find_files
from streamflow.monitoring.retraining import Advice
from streamflow.pipeline.month import document
from streamflow.pipeline.month.rules.promotion_policy import decide
from streamflow.pipeline.month.rules.training_rule import training_rule
from streamflow.promotion.gates.result import GateReport, GateResult
from streamflow.use_case import Retraining
from streamflow.use_case.retraining import retraining_findings

DOCS = Path(__file__).parents[2] / "docs"
JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
POLICY = Retraining(cool_down=timedelta(days=20), fewest_new_labels=100)
CONFIRMED = Advice("confirmed", "quality", "Train again: the AUC is lower.")
PROPOSED = Advice("proposed", "shift", "Training again is proposed.")


def test_without_a_label_nothing_is_trained() -> None:
    found = training_rule({}, None, None, POLICY)
    assert (found.verdict, found.rule, found.as_of) == ("not needed", "no labels", None)


def test_the_first_version_is_trained_on_the_newest_labels() -> None:
    found = training_rule({JANUARY: 10, FEBRUARY: 10}, None, None, POLICY)
    assert (found.verdict, found.rule, found.as_of) == ("train", "first version", FEBRUARY)


def test_new_labels_train_a_challenger_and_old_ones_do_not() -> None:
    labels = {JANUARY: 500, FEBRUARY: 500}
    trained = training_rule(labels, [JANUARY], PROPOSED, POLICY)
    assert (trained.verdict, trained.rule, trained.as_of) == ("train", "new labels", FEBRUARY)
    assert training_rule(labels, [JANUARY, FEBRUARY], CONFIRMED, POLICY).verdict == "not needed"


def test_too_few_new_labels_and_the_cool_down_hold_a_challenger_off() -> None:
    few = training_rule({JANUARY: 500, FEBRUARY: 99}, [JANUARY], CONFIRMED, POLICY)
    assert (few.verdict, few.rule) == ("held off", "new labels")
    slow = Retraining(cool_down=timedelta(days=45), fewest_new_labels=100)
    soon = training_rule({FEBRUARY: 500}, [JANUARY], CONFIRMED, slow)
    assert (soon.verdict, soon.rule) == ("held off", "cool-down")
    assert training_rule({MARCH: 500}, [JANUARY], CONFIRMED, slow).verdict == "train"


def test_labels_of_months_before_what_the_newest_version_learned_from_are_not_new() -> None:
    labels = {JANUARY: 5000, FEBRUARY: 5000, MARCH: 99}
    found = training_rule(labels, [FEBRUARY], None, POLICY)
    assert (found.verdict, found.rule) == ("held off", "new labels")
    assert found.sentence.startswith("99 labels")


def test_a_use_case_may_wait_until_training_again_is_confirmed() -> None:
    waits = Retraining(fewest_new_labels=100, when="confirmed")
    for advice in (None, PROPOSED):
        found = training_rule({FEBRUARY: 500}, [JANUARY], advice, waits)
        assert (found.verdict, found.rule) == ("held off", "not confirmed")
    found = training_rule({FEBRUARY: 500}, [JANUARY], CONFIRMED, waits)
    assert (found.verdict, found.rule) == ("train", "quality")


@pytest.mark.parametrize(
    ("policy", "instead"),
    [
        (Retraining(when="always"), 'when="new labels"'),  # type: ignore[arg-type]
        (Retraining(months=0), "months=1"),
    ],
)
def test_a_training_that_cannot_be_is_told(policy: Retraining, instead: str) -> None:
    (found,) = retraining_findings(policy)
    assert instead in found.instead


def report(against: int | None, **differences: tuple[float, float]) -> GateReport:
    pair: dict[str, Any] = {
        figure: {"difference": {"value": (low + high) / 2, "low": low, "high": high}}
        for figure, (low, high) in differences.items()
    }
    return GateReport(2, against, (GateResult("quality", "passed", "", figures={"pairs": [pair]}),))


def test_a_challenger_that_is_shown_to_be_better_is_promoted() -> None:
    assert decide(report(1, auc=(0.01, 0.03), average_precision=(-0.01, 0.02)), "if-better").promote
    for equal in (report(1), report(1, auc=(-0.01, 0.03))):
        assert not decide(equal, "if-better").promote
        assert decide(equal, "always-if-passed").promote
        assert not decide(equal, "never").promote


def test_a_challenger_that_is_worse_in_one_figure_is_not_better() -> None:
    mixed = report(1, auc=(0.01, 0.03), average_precision=(-0.03, -0.01))
    found = decide(mixed, "if-better")
    assert not found.promote
    assert "average precision -0.0200" in found.why


def test_without_a_version_in_production_one_that_passed_is_promoted() -> None:
    assert decide(report(None), "if-better").promote
    assert not decide(report(None), "never").promote


def test_files_that_may_still_come_are_told_from_files_that_are_wrong(tmp_path: Path) -> None:
    tables = tiny_case.use_case.tables()
    month = tmp_path / "month"
    with pytest.raises(NotArrived) as nothing:
        find_files(month, tables)
    assert nothing.value.code == "missing_files"
    with pytest.raises(MissingFiles) as no_parent:
        find_files(tmp_path / "mnths" / "month", tables)
    assert not isinstance(no_parent.value, NotArrived)
    month.mkdir()
    (month / "machines.csv").touch()
    with pytest.raises(NotArrived, match="lacks readings"):
        find_files(month, tables)
    (month / "Readings.CSV").touch()
    with pytest.raises(MissingFiles, match="rename it") as misnamed:
        find_files(month, tables)
    assert not isinstance(misnamed.value, NotArrived)


def test_the_schema_of_the_month_is_published() -> None:
    published = json.loads((DOCS / "month.schema.json").read_text(encoding="utf-8"))
    assert published == document.schema(), "publish it: json.dumps(document.schema(), indent=2)"
    error = NotArrived("There is no folder.", "Wait.")
    told = document.of_error(error, "waiting", 99, "a model", JANUARY, [])
    assert violations(document.as_dict(told), published) == []
    assert violations({"status": "done"}, published) != []
