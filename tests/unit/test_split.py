"""Which rows a model is fitted on and judged by."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn import use_case as churn
from streamflow.errors import UntrainableData
from streamflow.training.split import METHODS, Choice, Validation, divided, judged_on, split

MONTHS = [date(2024, month, 28) for month in range(1, 7)]
NONE = timedelta(0)


def panel(months: list[date], entities: int = 40) -> tuple[list[str], list[date], np.ndarray]:
    rows = [(f"e-{entity:03}", month) for entity in range(entities) for month in months]
    labels = np.random.default_rng(1).integers(0, 2, len(rows))
    return [entity for entity, _ in rows], [as_of for _, as_of in rows], labels


def test_out_of_time_judges_on_the_newest_months_and_trains_on_all_before() -> None:
    entities, as_ofs, labels = panel(MONTHS)
    parts = split(Validation("out-of-time", 0.25, 2), entities, as_ofs, labels, NONE, 42)
    assert {as_ofs[row] for row in parts.validation_rows} == set(MONTHS[-2:])
    assert {as_ofs[row] for row in parts.training_rows} == set(MONTHS[:-2])
    assert parts.gap_months == ()


def test_a_longer_horizon_leaves_months_out_between_training_and_validation() -> None:
    entities, as_ofs, labels = panel(MONTHS)
    horizon = timedelta(days=60)
    parts = split(Validation("out-of-time", 0.25), entities, as_ofs, labels, horizon, 42)
    assert parts.gap_months == (date(2024, 5, 28),)
    assert max(as_ofs[row] for row in parts.training_rows) == date(2024, 4, 28)


@given(
    months=st.lists(
        st.dates(date(2020, 1, 1), date(2030, 1, 1)), min_size=1, max_size=24, unique=True
    ),
    days=st.integers(0, 400),
    judging=st.integers(1, 5),
)
def test_no_training_label_is_known_after_the_first_as_of_of_validation(
    months: list[date], days: int, judging: int
) -> None:
    horizon = timedelta(days=days)
    training, gap, validation = divided(months, horizon, judging)
    assert sorted([*training, *gap, *validation]) == sorted(months)
    assert all(month + horizon <= validation[0] for month in training)
    assert all(month + horizon > validation[0] for month in gap)
    assert all(month < validation[0] for month in [*training, *gap])


def test_no_entity_is_on_both_sides() -> None:
    entities, as_ofs, labels = panel(MONTHS)
    parts = split(Validation("entities", 0.25), entities, as_ofs, labels, NONE, 42)
    trained = {entities[row] for row in parts.training_rows}
    judged = {entities[row] for row in parts.validation_rows}
    assert not trained & judged
    assert len(judged) == 10
    assert len(parts.training_rows) + len(parts.validation_rows) == len(labels)


def test_the_same_random_state_divides_alike_and_another_one_otherwise() -> None:
    entities, as_ofs, labels = panel(MONTHS)
    for method in ("entities", "random"):
        one, again, other = (
            split(Validation(method, 0.25), entities, as_ofs, labels, NONE, state)
            for state in (42, 42, 7)
        )
        assert one.validation_rows.tolist() == again.validation_rows.tolist()
        assert one.validation_rows.tolist() != other.validation_rows.tolist()


def test_by_default_several_months_are_judged_out_of_time_and_one_at_random() -> None:
    assert Choice().validation_of(MONTHS, churn).method == "out-of-time"
    assert Choice().validation_of(MONTHS[:1], churn).method == "random"
    # With a horizon of a year no label of an earlier month was known at the last one.
    patient = replace(churn, label=replace(churn.label, horizon=timedelta(days=365)))
    assert Choice().validation_of(MONTHS, patient).method == "entities"


def test_a_choice_of_months_to_judge_on_is_one_of_out_of_time() -> None:
    assert Choice(validation_months=2).validation_of(MONTHS, churn) == Validation(
        "out-of-time", churn.validation_share, 2
    )
    assert Choice(validation="random").validation_of(MONTHS, churn).method == "random"


def test_only_a_figure_of_later_months_isnt_said_to_tell_nothing_about_the_next() -> None:
    for method in METHODS:
        said = judged_on(Validation(method, 0.25), MONTHS[:-1], MONTHS[-1:])
        assert ("nothing about next month" in said) is (method != "out-of-time")
    said = judged_on(Validation("out-of-time", 0.25), MONTHS[:-1], MONTHS[-1:])
    assert "Judged on 2024-06-28, after training on 2024-01-28 to 2024-05-28" in said


def test_a_horizon_that_leaves_no_month_to_train_on_is_refused_with_the_next_command() -> None:
    entities, as_ofs, labels = panel(MONTHS[:2])
    with pytest.raises(UntrainableData, match="leaves no month to train on") as refused:
        split(Validation("out-of-time", 0.25), entities, as_ofs, labels, timedelta(days=90), 42)
    assert "--months" in refused.value.next


def test_a_month_with_one_label_only_cannot_judge() -> None:
    entities, as_ofs, labels = panel(MONTHS)
    labels[[as_of == MONTHS[-1] for as_of in as_ofs]] = 0
    with pytest.raises(UntrainableData, match="to judge by"):
        split(Validation("out-of-time", 0.25), entities, as_ofs, labels, NONE, 42)
