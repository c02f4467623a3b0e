"""What contacting the first so many of a list reaches, out of months whose labels are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.scores.campaigns.reached import Part, by_scores, reached
from streamflow.use_case import Value

VALUE = Value(each=100.0, success=0.5, cost=5.0, unit="EUR")

counts = st.integers(0, 50)


@st.composite
def parts(draw: st.DrawFn) -> Part:
    labelled = draw(counts)
    true = draw(st.integers(0, labelled))
    worth = draw(st.floats(1.0, 1e4))
    more = draw(counts)
    return Part(
        labelled + more,
        labelled,
        true,
        true * worth,
        true * worth**2,
        draw(st.floats(0, 50)),
        draw(st.floats(0, 1e5)),
    )


months = st.lists(st.lists(parts(), min_size=1, max_size=6), min_size=1, max_size=4)


def part(entities: int, true: int) -> Part:
    return Part(entities, entities, true, 100.0 * true, 1e4 * true, 0.5 * entities, 50.0 * entities)


def test_the_first_so_many_reach_what_they_reached_in_that_month() -> None:
    month = [part(10, 9), part(10, 5), part(20, 2)]
    assert reached([month], 10, 40, VALUE).true.value == pytest.approx(9)
    assert reached([month], 15, 40, VALUE).true.value == pytest.approx(9 + 2.5)
    everybody = reached([month], 40, 40, VALUE)
    assert everybody.true.value == pytest.approx(16)
    assert everybody.value is not None
    assert everybody.value.value == pytest.approx(16 * 100 * 0.5 - 40 * 5)


def test_a_list_of_another_length_is_cut_at_the_same_share() -> None:
    month = [part(10, 8), part(10, 2)]
    assert reached([month], 500, 1000, None).true.value == pytest.approx(400)


def test_months_that_differ_widen_the_interval_to_each_of_them() -> None:
    good, bad = [part(1000, 900)], [part(1000, 500)]
    both = reached([good, bad], 100, 100, None).true
    assert both.value == pytest.approx(70)
    assert both.low <= 50
    assert both.high >= 90
    alike = reached([good, good], 100, 100, None).true
    assert alike.high - alike.low < 4


def test_entities_of_differing_worth_widen_the_interval_of_the_value() -> None:
    even = [part(100, 50)]
    uneven = [replace(part(100, 50), squares=4 * 50 * 1e4)]
    widths = []
    for month in (even, uneven):
        value = reached([month], 100, 100, VALUE).value
        assert value is not None
        widths.append(value.high - value.low)
    assert widths[1] == pytest.approx(2 * widths[0])


def test_without_labels_the_scores_say_it() -> None:
    found = by_scores([part(10, 0), part(10, 0)], 15, 20, VALUE)
    assert found.true.value == pytest.approx(7.5)
    assert found.true.low == found.true.high
    assert found.value is not None
    assert found.value.value == pytest.approx(0.5 * 15 * 50 - 75)


@given(months, st.integers(0, 300), st.integers(1, 300))
def test_whatever_the_months_it_is_within_its_interval_and_within_the_list(
    found: list[list[Part]], contacts: int, more: int
) -> None:
    of = contacts + more
    here = reached(found, contacts, of, VALUE)
    assert here.value is not None
    for one in (here.true, here.value):
        assert one.low <= one.value + 1e-6
        assert one.value <= one.high + 1e-6
    assert here.true.low >= 0
    assert here.true.high <= contacts + 1e-6
