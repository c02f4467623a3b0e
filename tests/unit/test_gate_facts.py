"""What the gates decide by, out of what was gathered."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streamflow.promotion.change import Change
from streamflow.promotion.facts.judged_months import JudgedMonth, JudgedMonths
from streamflow.promotion.facts.judged_pairs import judged_pairs, scored_pair
from streamflow.promotion.facts.timing import THOUSAND, contestant, timings
from streamflow.promotion.gates.latency import FEWEST_TIMINGS
from streamflow.promotion.overrides import overrides
from streamflow.training.served_model import Feature, FeatureSchema, ServedModel

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
SCHEMA = FeatureSchema(
    "a_service", "item", "item_id", (Feature("heat", "heat_fv", "INT64", False),)
)


def month(
    as_of: date,
    unseen: list[bool],
    validated: list[bool],
    alone: bool = False,
    twins: dict[int, Any] | None = None,
) -> Any:
    rows = len(unseen)
    scores = np.arange(rows) / 10 + as_of.month
    return JudgedMonth(
        as_of=as_of,
        entities=[f"i{row}" for row in range(rows)],
        labels=np.arange(rows) % 2,
        candidate_predictions=np.ones(rows, np.int64),
        candidate_scores=scores,
        current_predictions=None if alone else np.zeros(rows, np.int64),
        current_scores=None if alone else -scores,
        candidate=4,
        current=None if alone else 2,
        twins=twins or {},
        unseen=np.array(unseen, np.bool_),
        validated=np.array(validated, np.bool_),
        without_prediction=0,
        segments={"items.kind": [f"kind {row}" for row in range(rows)]},
        candidate_table=pa.table({"heat": [1] * rows}),
        current_table=None,
    )


def test_the_newest_month_judges_by_all_unseen_rows_and_others_by_those_that_judged_both() -> None:
    months = JudgedMonths(
        month(MARCH, [True, False, True], [False, False, True]),
        [
            month(JANUARY, [True, True, False], [True, False, False]),
            month(FEBRUARY, [True, True, True], [False, True, True]),
        ],
    )
    newest, others = judged_pairs(months)
    assert newest.source == "2024-03-31"
    assert newest.candidate_scores.tolist() == pytest.approx([3, 3.2])
    assert newest.segments == {"items.kind": ["kind 0", "kind 2"]}
    assert newest.entities is None
    assert others.source == "2024-01-31, 2024-02-29, the rows that judged both in training"
    assert others.entities == ["i0", "i1", "i2"]
    assert others.labels.tolist() == [0, 1, 0]
    assert others.current_scores is not None
    assert others.current_scores.tolist() == pytest.approx([-1, -2.1, -2.2])
    assert others.segments == {"items.kind": ["kind 0", "kind 1", "kind 2"]}
    scored = scored_pair(months)
    assert scored is not None
    assert (scored.candidate_labels.tolist(), scored.current_labels.tolist()) == ([1] * 3, [0] * 3)


def test_a_month_without_such_rows_judges_nobody() -> None:
    fitted = month(MARCH, [False, False], [False, False])
    assert judged_pairs(JudgedMonths(fitted, [month(JANUARY, [True], [False])])) == []
    assert judged_pairs(JudgedMonths(None)) == []
    assert scored_pair(JudgedMonths(None)) is None


def test_a_version_that_was_fitted_to_all_rows_is_judged_by_its_twin_which_is_named() -> None:
    twin = np.array([np.nan, 0.7, 0.8])
    months = JudgedMonths(
        month(MARCH, [True, True, False], [False] * 3, twins={4: twin}),
        [month(JANUARY, [True] * 3, [True] * 3, twins={2: -twin})],
    )
    newest, others = judged_pairs(months)
    assert newest.source == "2024-03-31, version 4 by its twin that was fitted without them"
    assert newest.candidate_scores.tolist() == pytest.approx([3, 0.7])  # the first is new to it
    assert newest.current_scores is not None
    assert newest.current_scores.tolist() == pytest.approx([-3, -3.1])
    assert newest.twins == (4,)
    assert others.source.endswith("in training, version 2 by its twin that was fitted without them")
    assert others.current_scores is not None
    assert others.current_scores.tolist() == pytest.approx([-1, -0.7, -0.8])
    assert others.twins == (2,)
    scored = scored_pair(months)  # what is served changes for whom, whoever was judged
    assert scored is not None
    assert scored.candidate_scores.tolist() == pytest.approx([3, 3.1, 3.2])


def test_a_twin_that_judges_no_row_isnt_named() -> None:
    nobody = {4: np.array([0.5, np.nan])}
    (pair,) = judged_pairs(JudgedMonths(month(MARCH, [False, True], [False] * 2, twins=nobody)))
    assert (pair.source, pair.twins) == ("2024-03-31", ())


def test_without_a_rival_the_candidate_is_judged_alone() -> None:
    months = JudgedMonths(month(MARCH, [True], [True], alone=True))
    (pair,) = judged_pairs(months)
    assert pair.current_scores is None
    assert scored_pair(months) is None


class Clock:
    """Processor time that passes by scoring alone, and by what disturbs some of the calls."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls: list[tuple[str, int]] = []

    def model(self, name: str, per_row: float) -> ServedModel:
        def score(matrix: Any) -> Any:
            self.calls.append((name, len(matrix)))
            disturbed = 50 if len(self.calls) % 2 else 0
            self.seconds += per_row * len(matrix) + disturbed
            return np.zeros(len(matrix), np.int64), np.zeros(len(matrix))

        return ServedModel(SCHEMA, score)


def test_a_timing_is_the_least_of_a_few_calls_and_both_take_turns() -> None:
    clock, table = Clock(), pa.table({"heat": [1, 2, 3]})
    racers = [
        contestant(clock.model(name, per_row), table)
        for name, per_row in (("quick", 0.001), ("slow", 0.01))
    ]
    assert None not in racers
    quick, slow = timings([one for one in racers if one], lambda: clock.seconds)
    assert len(quick.one_row) == len(slow.thousand_rows) == FEWEST_TIMINGS  # it took long enough
    assert quick.one_row.tolist() == pytest.approx([1] * FEWEST_TIMINGS)
    assert slow.one_row.tolist() == pytest.approx([10] * FEWEST_TIMINGS)
    assert slow.thousand_rows.tolist() == pytest.approx([10_000] * FEWEST_TIMINGS)
    assert {rows for _, rows in clock.calls} == {1, THOUSAND}
    turns = [name for name, rows in clock.calls if rows == THOUSAND][::2]
    assert turns[:6] == ["quick", "slow", "slow", "quick", "quick", "slow"]


def test_without_a_row_nothing_is_timed() -> None:
    assert contestant(Clock().model("any", 1), pa.table({"heat": pa.array([], pa.int64())})) is None
    assert timings([]) == []


def test_overrides_are_found_among_all_changes() -> None:
    def promoted(version: int, gates: Any) -> Change:
        details = {"gates": gates}
        return Change("promoted", "a model", version, "ada", "hurry", NOW, details=details)

    gate = {"gate": "latency", "outcome": "failed", "message": "It is slow.", "override": None}
    changes = [
        promoted(1, {"auc": "passed: as before there were gates"}),
        promoted(2, [gate, {**gate, "gate": "quality", "override": "hurry"}]),
        Change("promoted", "a model", 2, "ada", "", NOW, to_stage="Staging"),
    ]
    (found,) = overrides(changes)
    assert (found.version, found.gate, found.why) == (2, "quality", "hurry")
    assert str(found) == (
        "Version 2 went to Production on 2024-06-01 by ada in spite of the gate quality, which "
        "failed: hurry."
    )
