from __future__ import annotations

from datetime import timedelta

import pytest
from tests.fakes import AMOUNT, COUPON, FEBRUARY, JANUARY, VISITS, from_now, schema

from streamflow.errors import UnknownEntity
from streamflow.serving.feature_status import MISSING, Clock, EntityRow, feature_readings

AT_JANUARY = Clock(FEBRUARY, {"activity_view": JANUARY, "billing_view": JANUARY})


def row(value, time):
    return EntityRow((time,), (value,))


def status_of(feature, stored, clock=AT_JANUARY):
    (reading,) = feature_readings(schema(feature), "ann", stored, clock)
    return reading.status


def test_a_stored_value_is_present():
    assert status_of(VISITS, row(0, JANUARY)) == "present"


def test_a_null_in_a_nullable_feature_is_a_value():
    assert status_of(COUPON, row(None, JANUARY)) == "null"


def test_a_null_in_a_required_feature_is_missing():
    assert status_of(AMOUNT, row(None, JANUARY)) == "missing"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_without_meaning_is_missing(value):
    assert status_of(AMOUNT, row(value, JANUARY)) == "missing"


def test_no_row_in_one_view_is_missing_even_where_null_is_allowed():
    half = EntityRow((JANUARY, None), (3, None))
    readings = feature_readings(schema(VISITS, COUPON), "ann", half, AT_JANUARY)
    assert [reading.status for reading in readings] == ["present", "missing"]


def test_no_row_in_any_view_is_an_unknown_entity():
    with pytest.raises(UnknownEntity, match="'ann'"):
        feature_readings(
            schema(VISITS, COUPON), "ann", EntityRow((None, None), (None, None)), AT_JANUARY
        )


def test_a_feature_never_written_is_missing_even_where_null_is_allowed():
    assert status_of(COUPON, row(MISSING, JANUARY)) == "missing"


def test_a_feature_is_stale_beyond_its_allowed_age_and_not_at_it():
    allowed = timedelta(seconds=VISITS.max_age_seconds)
    instant = timedelta(microseconds=1)
    stored = row(3, JANUARY)
    assert status_of(VISITS, stored, from_now(JANUARY + allowed)) == "present"
    assert status_of(VISITS, stored, from_now(JANUARY + allowed + instant)) == "stale"


def test_a_feature_without_an_allowed_age_is_never_stale():
    assert status_of(AMOUNT, row(1.0, JANUARY), from_now(FEBRUARY)) == "present"


def test_the_materialized_clock_measures_from_the_newest_month_of_the_same_view():
    stored = row(3, JANUARY)
    assert status_of(VISITS, stored, Clock(FEBRUARY, {"activity_view": FEBRUARY})) == "stale"
    assert status_of(VISITS, stored, Clock(FEBRUARY, {"billing_view": FEBRUARY})) == "present"


def test_a_row_newer_than_the_clock_has_no_age():
    stored = row(3, FEBRUARY)
    (reading,) = feature_readings(schema(VISITS), "ann", stored, AT_JANUARY)
    assert (reading.status, reading.age_seconds) == ("present", 0.0)
