"""The chain of the history names the first row that was bent, whatever was bent and however."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from streamflow.promotion.lookup.chain import Anchor, BentRow, Link, first_bent

TEXTS = st.text("ab", max_size=3)


def digest(said: str, previous: str) -> str:
    return hashlib.sha256(f"{said} {previous}".encode()).hexdigest()


def chained(said: list[str], events_from: int = 1) -> list[Link]:
    """The rows that say this, as they were written; those before `events_from` have no event."""
    links: list[Link] = []
    previous = ""
    for number, text in enumerate(said, 1):
        computed = digest(text, previous)
        event = computed if number >= events_from else None
        links.append(Link(number, computed, previous, computed, event))
        previous = computed
    return links


def head(links: list[Link]) -> Anchor:
    assert links[-1].hash is not None
    return Anchor(links[-1].number, links[-1].hash, "MLflow")


@given(st.lists(TEXTS), st.integers(1, 4))
def test_what_was_written_is_whole(said: list[str], events_from: int) -> None:
    links = chained(said, events_from)
    assert first_bent(links) is None
    assert first_bent(links, [head(links[: number + 1]) for number in range(len(links))]) is None


@st.composite
def written(draw: st.DrawFn) -> tuple[list[Link], int, int]:
    """Rows, since when they have events, and one of them."""
    said = draw(st.lists(TEXTS, min_size=1, max_size=6))
    events_from = draw(st.integers(1, len(said) + 1))
    return chained(said, events_from), events_from, draw(st.integers(0, len(said) - 1))


@given(written())
def test_an_altered_row_is_named(case: tuple[list[Link], int, int]) -> None:
    links, _, at = case
    links[at] = replace(links[at], computed="of something else")
    assert first_bent(links) == BentRow(at + 1, "its hash isn't that of what it says")


@given(written())
def test_a_row_that_is_gone_is_named_and_the_last_one_too(
    case: tuple[list[Link], int, int],
) -> None:
    links, events_from, at = case
    anchors = [head(links)]
    left = [one for one in links if one.number != at + 1]
    # The event is another table's: it is left, or it is gone too.
    if at + 1 >= events_from:
        only_its_event = replace(links[at], hash=None, previous_hash=None, computed=None)
        bent = first_bent([*links[:at], only_its_event, *links[at + 1 :]])
        assert bent == BentRow(at + 1, "it is missing: only its event is left")
    bent = first_bent(left, anchors)
    assert bent is not None
    assert bent.number == at + 1


@given(written())
def test_a_row_that_was_hashed_again_with_all_that_follow_is_named_by_its_event(
    case: tuple[list[Link], int, int],
) -> None:
    links, events_from, at = case
    again = chained(["xyz" if n == at else "" for n in range(len(links))], events_from)
    forged = [
        replace(new, event_hash=old.event_hash) for new, old in zip(again, links, strict=True)
    ]
    bent = first_bent([*links[:at], *rechained(links, at, forged)], [head(links)])
    assert bent is not None
    assert bent.number == max(at + 1, events_from) or bent.number == len(links)


def rechained(links: list[Link], at: int, forged: list[Link]) -> list[Link]:
    previous = links[at - 1].hash if at else ""
    made = []
    for one in forged[at:]:
        assert previous is not None
        computed = digest("forged", previous)
        made.append(replace(one, hash=computed, computed=computed, previous_hash=previous))
        previous = computed
    return made


@given(written())
def test_a_row_that_was_put_in_is_named(case: tuple[list[Link], int, int]) -> None:
    links, events_from, at = case
    before = links[at]
    computed = digest("forged", str(before.hash))
    put_in = Link(at + 2, computed, before.hash, computed, None)
    moved = [replace(one, number=one.number + 1) for one in links[at + 1 :]]
    bent = first_bent([*links[: at + 1], put_in, *moved], [head(links)])
    expected = None if at + 1 == len(links) and events_from > at + 1 else at + 2
    if expected is None:  # appended behind rows that have no event either: the anchor is before it
        assert bent is None
    else:
        assert bent is not None
        assert bent.number in (at + 2, at + 3)
    assert first_bent([replace(links[0], number=0), *links]) == BentRow(
        0, "it was put in: the first row has the number 1"
    )
