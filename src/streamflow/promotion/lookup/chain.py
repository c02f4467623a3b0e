"""Whether the history is as it was written: the first row that was bent, if one was. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamflow.promotion.change import Head


@dataclass(frozen=True)
class Link:
    """A number of the history with what is stored for it; None where there is no such row.

    `hash` and `previous_hash` are the row's, `computed` is the hash of what the row says now, and
    `event_hash` is what the change's event says.
    """

    number: int
    hash: str | None
    previous_hash: str | None
    computed: str | None
    event_hash: str | None


@dataclass(frozen=True)
class Anchor(Head):
    """A head of the history that was written down elsewhere, at `place`."""

    place: str


@dataclass(frozen=True)
class BentRow:
    """The first row that isn't what was written, and how that is seen."""

    number: int
    how: str


def first_bent(links: Iterable[Link], anchors: Sequence[Anchor] = ()) -> BentRow | None:
    """The first number at which the chain breaks; None if it is whole and every anchor is in it.

    `links` are in the order of their numbers.
    """
    known = {anchor.number: anchor for anchor in anchors}
    previous, expected, has_events = "", 1, False
    for link in links:
        if link.number < 1:
            return BentRow(link.number, "it was put in: the first row has the number 1")
        if link.number != expected:
            return BentRow(expected, "it is missing")
        if link.hash is None:
            return BentRow(link.number, "it is missing: only its event is left")
        if link.previous_hash != previous:
            return BentRow(link.number, "it doesn't continue the row before")
        if link.hash != link.computed:
            return BentRow(link.number, "its hash isn't that of what it says")
        if link.event_hash is None and has_events:
            return BentRow(link.number, "it has no event: it was put in, or its event is gone")
        if link.event_hash not in (None, link.hash):
            return BentRow(link.number, "its event has another hash")
        anchor = known.pop(link.number, None)
        if anchor is not None and anchor.hash != link.hash:
            return BentRow(link.number, f"{anchor.place} has another hash of it")
        has_events = link.event_hash is not None
        previous, expected = link.hash, expected + 1
    if known:
        lost = min(known)
        return BentRow(max(expected, 1), f"it is missing: {known[lost].place} has row {lost}")
    return None
