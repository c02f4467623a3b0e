"""Predict again what was predicted: from the prediction log, and from history as it was online."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from streamflow.errors import NoAnswer, StreamFlowError
from streamflow.features.online_history import (
    HistoryRow,
    OnlineHistory,
    OnlineState,
    newest_month,
)
from streamflow.platform import Platform
from streamflow.serving.feature_status import Clock, EntityRow, allowed_ages
from streamflow.serving.prediction_log_rows import LoggedModel, Receipt
from streamflow.serving.scoring import ScoringRequest, Served, score

ReplayVerdict = Literal["same", "different", "unknown"]


@dataclass(frozen=True)
class Replay:
    """The result of predicting again, compared with the logged one.

    `problem` is the code of the problem if no prediction came out. `why` lists what differs, or why
    the verdict is "unknown".
    """

    verdict: ReplayVerdict
    prediction: int | None = None
    probability: float | None = None
    problem: str | None = None
    why: tuple[str, ...] = ()


class OnlineRow(NamedTuple):
    """The row of history that a view had online, None without one, and the view's newest moment;
    `kept` if the view is one of an older definition."""

    row: HistoryRow | None
    newest: datetime | None
    kept: bool = False


def online_rows(
    history: OnlineHistory,
    model: LoggedModel,
    served: Served | StreamFlowError,
    found: Sequence[Receipt],
) -> list[dict[str, OnlineRow]]:
    """What was online, per receipt of the model and feature view that is still known.

    If a materialization was running, several rows are possible: then the first one that agrees with
    the log, else the first.
    """
    online: list[dict[str, OnlineRow]] = [{} for _ in found]
    for view in model.views:
        types = _types(model, view)
        if not history.knows(view, types):
            continue
        possible = [
            list(history.possible_states(view, types, receipt.predicted_at)) for receipt in found
        ]
        ids_by_state: dict[OnlineState, set[str]] = defaultdict(set)
        for receipt, states in zip(found, possible, strict=True):
            for state in states:
                ids_by_state[state].add(receipt.entity_id)
        rows = {
            state: history.rows(view, types, sorted(entity_ids), state)
            for state, entity_ids in ids_by_state.items()
        }
        for receipt, states, row_of in zip(found, possible, online, strict=True):
            candidates = [
                OnlineRow(
                    rows[state].get(receipt.entity_id),
                    newest_month(state),
                    any(one.kept for one in state),
                )
                for state in states
            ]
            agreed = (one for one in candidates if not _differences(served, receipt, {view: one}))
            row_of[view] = next(agreed, candidates[0])
    return online


def replays(
    platform: Platform,
    history: OnlineHistory,
    served: Served | StreamFlowError,
    receipt: Receipt,
    online: Mapping[str, OnlineRow],
) -> tuple[Replay, Replay]:
    """The replay from the log, and the replay from the rows of history that were online."""
    if isinstance(served, StreamFlowError):
        unknown = Replay("unknown", why=(served.message,))
        return unknown, unknown
    # The freshness clock of the time of the prediction.
    newest = {
        view: moment
        for view in receipt.model.views
        if (
            moment := online[view].newest
            if view in online
            else newest_month(
                next(
                    history.possible_states(view, _types(receipt.model, view), receipt.predicted_at)
                )
            )
        )
    }
    from_now = platform.settings.freshness_clock == "now"
    kept = {view: newest[view] for view in newest if view in online and online[view].kept}
    clock = Clock(receipt.predicted_at, newest, from_now, kept)
    if receipt.values is None or receipt.times is None:
        from_log = Replay("unknown", why=("No prediction was given, so no values were logged.",))
    else:
        logged = EntityRow(tuple(receipt.times.values()), tuple(receipt.values.values()))
        from_log = _replay(served, receipt, logged, clock)
    removed = [view for view in receipt.model.views if view not in online]
    if removed:
        why = (
            f"Feast knows no {', '.join(removed)} any more: bring it back with `streamflow apply`."
        )
        return from_log, Replay("unknown", why=(why,))
    rows = {view: one.row for view, one in online.items()}
    row = EntityRow(
        tuple(one.event_timestamp if (one := rows[view]) else None for view in receipt.model.views),
        tuple(
            one.values[name] if (one := rows[view]) else None
            for name, view, _ in receipt.model.features
        ),
    )
    from_history = _replay(served, receipt, row, clock)
    if differences := _differences(served, receipt, online):
        from_history = replace(
            from_history, verdict="different", why=(*differences, *from_history.why)
        )
    return from_log, from_history


def _types(model: LoggedModel, view: str) -> dict[str, str]:
    return {name: kind for name, feature_view, kind in model.features if feature_view == view}


def _replay(served: Served, receipt: Receipt, row: EntityRow, clock: Clock) -> Replay:
    """Predict again from this row."""
    # A logged prediction was fresh enough then, whatever the settings are today.
    stale: Literal["refuse", "warn"] = "refuse" if receipt.problem else "warn"
    request = ScoringRequest(receipt.entity_id, receipt.request_id)
    (answer,) = score(served, [request], [row], clock, stale)
    if isinstance(answer, NoAnswer):
        same = answer.code == receipt.problem
        why = () if same else (f"No prediction comes out: {answer.message}",)
        return Replay("same" if same else "different", problem=answer.code, why=why)
    outcome = answer.prediction, answer.probability
    same = repr(outcome) == repr((receipt.prediction, receipt.probability))
    why = () if same else (f"The score is {outcome[1]!r}, it was {receipt.probability!r}.",)
    return Replay("same" if same else "different", *outcome, why=why)


def differing_features(
    served: Served | StreamFlowError, receipt: Receipt, online: Mapping[str, OnlineRow]
) -> set[str]:
    """The features whose logged value, or whose row, isn't that of these rows of history."""
    return {name for names, _ in _compared(served, receipt, online) for name in names}


def _differences(
    served: Served | StreamFlowError, receipt: Receipt, online: Mapping[str, OnlineRow]
) -> list[str]:
    """A line per difference of the log and these rows of history; none without logged values."""
    return [line for _, line in _compared(served, receipt, online)]


def _compared(
    served: Served | StreamFlowError, receipt: Receipt, online: Mapping[str, OnlineRow]
) -> Iterator[tuple[list[str], str]]:
    """The features that differ, and the line that says so; nothing without logged values."""
    if receipt.values is None or receipt.times is None:
        return
    for view, (row, newest, _) in online.items():
        logged = receipt.times[view]
        of_view = [name for name, feature_view, _ in receipt.model.features if feature_view == view]
        if row is None:
            if logged is not None:
                line = f"{view} has no row in history, but had one at {_iso(logged)}."
                yield of_view, line
            continue
        if logged is None:
            if not _too_old(served, view, row, newest):
                moment = _iso(row.event_timestamp)
                line = f"{view} has a row of {moment} in history, and had none in the log."
                yield of_view, line
            continue
        # Other online stores than ours keep whole seconds.
        if abs(row.event_timestamp - logged) >= timedelta(seconds=1):
            line = (
                f"{view} is of {_iso(row.event_timestamp)} in history, of "
                f"{_iso(logged)} in the log."
            )
            yield of_view, line
        for name, value in row.values.items():
            # Two floats have the same `repr` only if they have the same bits.
            if repr(value) != repr(receipt.values[name]):
                line = f"{name} is {value!r} in history, {receipt.values[name]!r} in the log."
                yield [name], line


def _too_old(
    served: Served | StreamFlowError, view: str, row: HistoryRow, newest: datetime | None
) -> bool:
    """Whether an entity with this row counts as without one, by the model's own rule."""
    if isinstance(served, StreamFlowError) or newest is None:
        return True  # it can't be told, so it isn't a difference
    allowed = dict(allowed_ages(served.schema))[view]
    clock = Clock(newest, {view: newest})
    return clock.absent_at(view, row.event_timestamp, allowed) is not None


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
