"""Explain a prediction by its receipt, and replay it from the prediction log and from history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from streamflow.errors import (
    MlflowUnavailable,
    ModelRefused,
    NoAnswer,
    StreamFlowError,
    UnknownPrediction,
)
from streamflow.features.online_history import HistoryRow, OnlineHistory, OnlineState
from streamflow.platform import Platform
from streamflow.registry.records import ModelVersion
from streamflow.registry.stages import PRODUCTION
from streamflow.registry.trial import Trials
from streamflow.serving import prediction_log_partitions, prediction_log_rows
from streamflow.serving.feature_status import Clock, EntityRow
from streamflow.serving.prediction_log_rows import LoggedModel, Receipt
from streamflow.serving.scoring import ScoringRequest, Served, score
from streamflow.training import served_model

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


@dataclass(frozen=True)
class Promotion:
    """The recorded promotion that moved the version to Production; `promoted_at` is in UTC."""

    promoted_at: datetime
    promoted_by: str
    action: str
    why: str


@dataclass(frozen=True)
class Explanation:
    """A prediction explained.

    `behind` has the row of history of each feature view whose values were online, None without one.
    """

    receipt: Receipt
    promotion: Promotion | None
    behind: Mapping[str, HistoryRow | None]
    from_log: Replay
    from_history: Replay

    @property
    def verdict(self) -> ReplayVerdict:
        """The worse verdict of the two replays."""
        verdicts = {self.from_log.verdict, self.from_history.verdict}
        if "different" in verdicts:
            return "different"
        # Without a prediction the log has no values for a replay.
        if self.receipt.problem is not None:
            return self.from_history.verdict
        return "unknown" if "unknown" in verdicts else "same"


def find(platform: Platform, request_ids: Sequence[str], entity_id: str | None) -> list[Receipt]:
    """The receipts of these requests, oldest first; with `entity_id`, only those of that entity.

    Raises UnknownPrediction if there are none.
    """
    rows = platform.database.rows(
        "predictions", request_ids=list(request_ids), model=platform.use_case.registered_model
    )
    found = [prediction_log_rows.read(row) for row in rows]
    if not found:
        raise _unknown(platform, request_ids)
    chosen = [one for one in found if entity_id in (None, one.entity_id)]
    if not chosen:
        others = ", ".join(one.entity_id for one in found[:10])
        more = f" and {len(found) - 10} more" if len(found) > 10 else ""
        raise UnknownPrediction(
            f"The request wasn't about {entity_id!r}, but about {others}{more}.",
            "Name one of these with --entity, or leave the option out for all of them.",
        )
    return chosen


def _unknown(platform: Platform, request_ids: Sequence[str]) -> UnknownPrediction:
    days = prediction_log_partitions.partition_days(platform.database)
    held = f"it begins on {days[0]}" if days else "it's empty"
    settings = platform.settings
    if not settings.prediction_log:
        return UnknownPrediction(
            f"No prediction with the request id {request_ids[0]!r} is in the log ({held}), and "
            "none is added: STREAMFLOW_PREDICTION_LOG is off.",
            "Switch it on and start the API again; earlier predictions stay unknown.",
        )
    return UnknownPrediction(
        f"No prediction with the request id {request_ids[0]!r} is in the log ({held}). It may be "
        f"older than {settings.prediction_log_days} days, refused as a whole (503), or given by "
        "`streamflow predict`, which isn't logged.",
        "If it is from just now, try again in a second: the log is written in the background.",
    )


def explain(platform: Platform, found: Sequence[Receipt]) -> list[Explanation]:
    """Explain each receipt, in the given order; each model is loaded once.

    Raises FeatureStoreUnavailable, MlflowUnavailable, DatabaseUnavailable.
    """
    history = OnlineHistory(platform.database, platform.use_case)
    audit = platform.database.rows("promotions", model=platform.use_case.registered_model)
    explained: dict[int, Explanation] = {}
    for model in dict.fromkeys(receipt.model for receipt in found):
        numbers = [number for number, one in enumerate(found) if one.model == model]
        served = _served(platform, model)
        online = _online_rows(history, model, [found[number] for number in numbers])
        for number, rows in zip(numbers, online, strict=True):
            receipt = found[number]
            from_log, from_history = _replays(platform, history, served, receipt, rows)
            explained[number] = Explanation(
                receipt, _promotion(audit, receipt), rows, from_log, from_history
            )
    return [explained[number] for number in range(len(found))]


def _served(platform: Platform, model: LoggedModel) -> Served | StreamFlowError:
    """The registered version, whose files have the logged hash; or the error that prevents it."""
    version = ModelVersion(
        name=model.model,
        version=model.version,
        run_id=model.run_id,
        stage=model.stage,
        aliases=(),
        metrics={},
        model_hash=model.model_hash,
    )
    try:
        folder = platform.production.download(version)
        Trials(platform.registry.cache).require_passed(version, folder)
    except (ModelRefused, MlflowUnavailable) as error:
        return error
    return Served(version, served_model.load(folder))


def _promotion(audit: Sequence[Mapping[str, Any]], receipt: Receipt) -> Promotion | None:
    """The newest move of the version to Production before the prediction."""
    for row in reversed(audit):
        moved = (row["version"], row["to_stage"]) == (receipt.model.version, PRODUCTION)
        if moved and row["promoted_at"] <= receipt.predicted_at:
            names = ("promoted_at", "promoted_by", "action", "why")
            return Promotion(**{name: row[name] for name in names})
    return None


def _online_rows(
    history: OnlineHistory, model: LoggedModel, found: Sequence[Receipt]
) -> list[dict[str, HistoryRow | None]]:
    """The row of history that was online, per receipt and feature view.

    If a materialization was running, several rows are possible: then the first one that agrees with
    the log, else the first.
    """
    online: list[dict[str, HistoryRow | None]] = [{} for _ in found]
    for view in model.views:
        if view not in history.feature_views:
            continue
        types = {name: kind for name, feature_view, kind in model.features if feature_view == view}
        possible = [list(history.possible_states(view, receipt.predicted_at)) for receipt in found]
        ids_by_state: dict[OnlineState, set[str]] = defaultdict(set)
        for receipt, states in zip(found, possible, strict=True):
            for state in states:
                ids_by_state[state].add(receipt.entity_id)
        rows = {
            state: history.rows(view, types, sorted(entity_ids), state)
            for state, entity_ids in ids_by_state.items()
        }
        for receipt, states, row_of in zip(found, possible, online, strict=True):
            candidates = [rows[state].get(receipt.entity_id) for state in states]
            agreed = (one for one in candidates if not _differences(receipt, {view: one}))
            row_of[view] = next(agreed, candidates[0])
    return online


def _replays(
    platform: Platform,
    history: OnlineHistory,
    served: Served | StreamFlowError,
    receipt: Receipt,
    online: Mapping[str, HistoryRow | None],
) -> tuple[Replay, Replay]:
    """The replay from the log, and the replay from the rows of history that were online."""
    if isinstance(served, StreamFlowError):
        unknown = Replay("unknown", why=(served.message,))
        return unknown, unknown
    if receipt.values is None or receipt.times is None:
        from_log = Replay("unknown", why=("No prediction was given, so no values were logged.",))
    else:
        logged = EntityRow(tuple(receipt.times.values()), tuple(receipt.values.values()))
        from_log = _replay(platform, history, served, receipt, logged)
    removed = [view for view in receipt.model.views if view not in online]
    if removed:
        why = (
            f"Feast knows no {', '.join(removed)} any more: bring it back with `streamflow apply`."
        )
        return from_log, Replay("unknown", why=(why,))
    views, features = receipt.model.views, receipt.model.features
    row = EntityRow(
        tuple(one.event_timestamp if (one := online[view]) else None for view in views),
        tuple(one.values[name] if (one := online[view]) else None for name, view, _ in features),
    )
    from_history = _replay(platform, history, served, receipt, row)
    if differences := _differences(receipt, online):
        from_history = replace(
            from_history, verdict="different", why=(*differences, *from_history.why)
        )
    return from_log, from_history


def _replay(
    platform: Platform, history: OnlineHistory, served: Served, receipt: Receipt, row: EntityRow
) -> Replay:
    """Predict again from this row, with the freshness clock of the time of the prediction."""
    newest = {
        view: max(end for end, _ in state)
        for view in receipt.model.views
        if (state := next(history.possible_states(view, receipt.predicted_at)))
    }
    by_now = platform.settings.freshness_clock == "now"
    clock = Clock(receipt.predicted_at, None if by_now else newest)
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


def _differences(receipt: Receipt, online: Mapping[str, HistoryRow | None]) -> list[str]:
    """A line per difference of the log and these rows of history; none without logged values."""
    if receipt.values is None or receipt.times is None:
        return []
    lines = []
    for view, row in online.items():
        if row is None:
            lines.append(
                f"{view} has no row in history, but had one at {_iso(receipt.times[view])}."
            )
            continue
        # Other online stores than ours keep whole seconds.
        if abs(row.event_timestamp - receipt.times[view]) >= timedelta(seconds=1):
            lines.append(
                f"{view} is of {_iso(row.event_timestamp)} in history, of "
                f"{_iso(receipt.times[view])} in the log."
            )
        for name, value in row.values.items():
            # Two floats have the same `repr` only if they have the same bits.
            if repr(value) != repr(receipt.values[name]):
                lines.append(
                    f"{name} is {value!r} in history, {receipt.values[name]!r} in the log."
                )
    return lines


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
