"""The head of the history, written down in MLflow, and the history held against it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from streamflow.errors import MlflowUnavailable
from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.promotion.change import Head, RecordedChange
from streamflow.promotion.lookup.chain import Anchor, BentRow, Link, first_bent
from streamflow.registry import history_head


@dataclass(frozen=True)
class Verified:
    """What a look at every row of a model's history found.

    `head` is the newest row; `anchor` is the row that MLflow has written down, None if it has none
    or can't be asked, which `without_anchor` says. `after_anchor` are the rows that came after it.
    """

    model: str
    rows: int
    head: Head | None
    anchor: Head | None
    without_anchor: str | None
    bent: BentRow | None
    after_anchor: Sequence[RecordedChange] = ()


def anchor(platform: Platform, head: Head) -> None:
    """Write the head down in MLflow; what can't be written now is covered by the next one."""
    with suppress(MlflowUnavailable):
        history_head.write_head(platform.registry, head.number, head.hash)


def verify(platform: Platform) -> Verified:
    """Compute each row's hash anew, and hold the rows against their events and MLflow's anchor."""
    model = platform.registry.model
    links = [Link(**row) for row in platform.database.rows("model_history_links", model=model)]
    without: str | None = None
    found: Anchor | None = None
    try:
        written = history_head.read_head(platform.registry)
    except MlflowUnavailable as error:
        without = error.message
    else:
        if written is None:
            without = "MLflow has no row of it written down yet."
        else:
            found = Anchor(*written, place="MLflow")
    bent = first_bent(links, [found] if found is not None else [])
    rows = [link for link in links if link.hash is not None]
    head = Head(rows[-1].number, rows[-1].hash or "") if rows else None
    newer = model_history.changes(platform.database, model, found.number) if found else []
    return Verified(model, len(rows), head, found, without, bent, newer)
