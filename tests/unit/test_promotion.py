"""The gates' verdict, and where a rollback leads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.errors import NothingToRollBack
from streamflow.promotion.change import Change, Kind
from streamflow.promotion.check_version import stopped
from streamflow.promotion.gates.acceptance import acceptance_bars
from streamflow.promotion.gates.result import GateReport, GateResult, Outcome
from streamflow.promotion.history import (
    recorded,
    recorded_as_ours,
    rollback_target,
    rollback_targets,
    rolled_back_to,
)
from streamflow.registry.stages import ALIASES, PRODUCTION, STAGES

NOW = datetime(2024, 3, 15, tzinfo=UTC)
Audit = list[Change]


def change(kind: Kind, version: int | None, to_stage: str = PRODUCTION) -> Change:
    return Change(kind, "a model", version, "ada", "it's better", NOW, to_stage=to_stage)


def promoted(version: int, to_stage: str = PRODUCTION) -> Change:
    return change("promoted", version, to_stage)


def rolled_back(version: int) -> Change:
    return change("rolled back", version)


def elsewhere(version: int | None, to_stage: str = PRODUCTION) -> Change:
    return change("changed elsewhere", version, to_stage)


def promotions(*versions: int) -> Audit:
    return [promoted(version) for version in versions]


@pytest.mark.parametrize(
    ("auc", "outcome"),
    [(0.7, "passed"), (0.6999999, "failed"), (0.9, "passed"), (float("nan"), "failed")],
)
def test_the_bar_itself_is_good_enough(auc: float, outcome: str) -> None:
    assert [bar.outcome for bar in acceptance_bars({"auc": auc}, {"auc": 0.7})] == [outcome]


def test_every_bar_has_its_say() -> None:
    bars = acceptance_bars({"auc": 0.8123, "f1": 0.4}, {"auc": 0.7, "f1": 0.5, "recall": 0.1})
    assert {bar.figure: (bar.outcome, bar.message) for bar in bars} == {
        "auc": ("passed", "auc is 0.8123, at least 0.7 is asked"),
        "f1": ("failed", "f1 is 0.4000, at least 0.5 is asked"),
        "recall": ("failed", "recall isn't measured, at least 0.1 is asked"),
    }


def report(**outcomes: Outcome) -> GateReport:
    return GateReport(
        7,
        3,
        tuple(
            GateResult(gate, outcome, f"about {gate}", "" if outcome == "passed" else f"do {gate}")
            for gate, outcome in outcomes.items()
        ),
        {"latency": "nobody minds"},
    )


def test_a_refusal_names_the_version_and_the_gates_that_stop_it_alone() -> None:
    refused = stopped(
        report(servable="passed", quality="failed", segments="can't tell", latency="failed")
    )
    assert refused.message == (
        "Version 7 may not go to Production: quality failed, segments can't be told."
    )
    assert refused.next == "do quality"
    assert [one["override"] for one in refused.report["gates"]] == [
        None,
        None,
        None,
        "nobody minds",
    ]


def test_every_stage_with_an_alias_is_a_stage() -> None:
    assert set(ALIASES) <= set(STAGES.values())


def test_a_rollback_leads_to_the_version_before() -> None:
    assert rollback_target(promotions(1, 2), 2) == 1


def test_rollbacks_lead_further_and_further_back() -> None:
    audit = promotions(1, 2, 3)
    assert rollback_target(audit, 3) == 2
    audit.append(rolled_back(2))
    assert rollback_target(audit, 2) == 1
    audit.append(rolled_back(1))
    with pytest.raises(NothingToRollBack):
        rollback_target(audit, 1)


def test_a_promotion_after_a_rollback_is_rolled_back_to_where_it_came_from() -> None:
    assert rollback_target([*promotions(1, 2), rolled_back(1), promoted(3)], 3) == 1


def test_a_version_that_was_promoted_twice_is_passed_over_while_its_the_current() -> None:
    assert rollback_target(promotions(1, 2, 1), 1) == 2
    assert rollback_target(promotions(1, 1), None) == 1
    with pytest.raises(NothingToRollBack):
        rollback_target(promotions(1, 1), 1)


def test_what_got_into_production_by_other_means_is_rolled_back_to_the_last_we_know() -> None:
    assert rollback_target(promotions(1, 2), 9) == 2
    assert rollback_target(promotions(1), 9) == 1


def test_a_rollback_undoes_what_was_done_elsewhere_too() -> None:
    """Version 1 served again, since it was promoted before; 9 never did, and is passed over."""
    assert rollback_target([*promotions(1, 2), elsewhere(1)], 1) == 2
    assert rollback_target([*promotions(1, 2), elsewhere(9)], 9) == 2
    assert rollback_target([*promotions(1, 2), elsewhere(9), elsewhere(1), rolled_back(2)], 2) == 1
    assert rollback_target([*promotions(1, 2), elsewhere(None)], None) == 2


def test_what_is_only_known_to_have_come_from_elsewhere_isnt_ours() -> None:
    audit = [*promotions(1), elsewhere(2)]
    assert recorded(audit).versions == {PRODUCTION: 2}
    assert not recorded_as_ours(audit, 2, PRODUCTION, "")
    assert recorded_as_ours([*audit, promoted(2)], 2, PRODUCTION, "")
    assert not recorded_as_ours([*audit, promoted(2)], 2, PRODUCTION, "another model")
    assert recorded([*audit, elsewhere(2, "Staging")]).versions == {"Staging": 2}
    assert recorded([*audit, elsewhere(None)]).versions == {}


@pytest.mark.parametrize("kind", ["refused", "approved", "canary started", "canary ended"])
def test_what_moves_nothing_changes_nobodys_stage(kind: Kind) -> None:
    audit = [*promotions(1, 2), change(kind, 3)]
    assert recorded(audit).versions == {PRODUCTION: 2}
    assert rollback_target(audit, 2) == 1


def test_an_empty_production_gets_the_last_one_back() -> None:
    assert rollback_target(promotions(1, 2), None) == 2


def test_a_rollback_that_moved_the_stage_and_was_killed_is_the_same_one_again() -> None:
    assert rollback_target(promotions(1, 2, 3), 2) == 2


@pytest.mark.parametrize("current", [None, 1])
def test_without_a_history_there_is_nothing_to_roll_back(current: int | None) -> None:
    with pytest.raises(NothingToRollBack):
        rollback_target([], current)


VERSIONS = st.integers(1, 6)
# A version to promote, None for a rollback, and other stages in between.
STORIES = st.lists(
    st.one_of(VERSIONS, st.none(), st.tuples(VERSIONS, st.sampled_from(["Staging"])))
)


def told(story: list[Any]) -> tuple[Audit, int | None]:
    """The audit of a story, and who is in Production in the end."""
    audit: Audit = []
    current: int | None = None
    for move in story:
        if isinstance(move, tuple):
            audit.append(promoted(*move))
        elif move is not None:
            if move != current:  # `promote` writes no line for what is there already
                audit.append(promoted(move))
            current = move
        else:
            try:
                current = rollback_target(audit, current)
            except NothingToRollBack:
                continue
            audit.append(rolled_back(current))
    return audit, current


@given(STORIES)
def test_a_rollback_from_a_version_is_found_again_until_something_else_is_promoted(
    story: list[Any],
) -> None:
    audit, current = told(story)
    try:
        target = rollback_target(audit, current)
    except NothingToRollBack:
        return
    after = [*audit, replace(rolled_back(target), replaced=current)]
    assert rolled_back_to(after, current) == (target if current is not None else None)
    assert rolled_back_to([*after, promoted(7)], current) is None
    assert rolled_back_to(after, 7) is None


@given(STORIES, VERSIONS)
def test_a_rollback_undoes_a_promotion_whatever_went_before(story: list[Any], new: int) -> None:
    audit, current = told(story)
    if current is None or new == current:
        return
    assert rollback_target([*audit, promoted(new)], new) == current


@given(STORIES)
def test_a_rollback_leads_to_another_version_that_was_in_production(story: list[Any]) -> None:
    audit, current = told(story)
    try:
        target = rollback_target(audit, current)
    except NothingToRollBack:
        return
    assert target != current
    assert target in {one.version for one in audit if one.to_stage == PRODUCTION}


@given(STORIES)
def test_what_rollbacks_would_take_is_told_before_they_do(story: list[Any]) -> None:
    audit, current = told(story)
    targets = rollback_targets(audit, current)
    taken = []
    promoted_so_far = sum(one.kind == "promoted" for one in audit)
    for _ in range(promoted_so_far + 1):
        try:
            current = rollback_target(audit, current)
        except NothingToRollBack:
            assert targets == list(dict.fromkeys(taken))
            return
        taken.append(current)
        audit.append(rolled_back(current))
    pytest.fail("there are more rollbacks than promotions")


@given(STORIES)
def test_other_stages_have_no_part_in_it(story: list[Any]) -> None:
    audit, current = told(story)
    others = [one for one in audit if one.to_stage == PRODUCTION]

    def target(rows: Audit) -> int | None:
        try:
            return rollback_target(rows, current)
        except NothingToRollBack:
            return None

    assert target(audit) == target(others)
