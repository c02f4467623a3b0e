"""A sample's bound: it separates the sample's last hash from the next one, and is nobody's hash."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamflow.features.entity_sample import draw, sampled
from streamflow.postgres.queries import identifier

hashes = st.text("0123456789abcdef", min_size=32, max_size=32)


class Hashes:
    """In place of a database: the hashes of its entities in order, from a place on."""

    def __init__(self, ordered: list[str]) -> None:
        self.ordered = ordered

    def rows(self, name: str, names: object, *, last: int, **values: object) -> list[Any]:
        assert name == "entity_hashes"
        return [{"hash": one} for one in self.ordered[last : last + 2]]


@given(found=st.sets(hashes, min_size=1, max_size=20), size=st.integers(1, 25))
def test_as_many_hashes_come_before_the_bound_as_the_sample_has(found: set[str], size: int) -> None:
    database: Any = Hashes(sorted(found))
    moment = datetime(2024, 2, 1, tzinfo=UTC)
    sample = draw(database, {}, [date(2024, 1, 31)], moment, size)
    before = [one for one in found if sample.bound is None or one < sample.bound]
    assert len(before) == min(size, len(found))
    if sample.bound is not None and size > 1:
        assert min(found) < sample.bound


def test_without_a_sample_histories_stay_as_they_are() -> None:
    names = {"key": identifier("user_id"), "entity_history": identifier("churn", "users_history")}
    database: Any = None
    assert sampled(database, names, None) == names
