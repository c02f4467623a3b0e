"""Who said so: a prediction traced by its receipt, and made again from the log and from history."""

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
from streamflow.serving import prediction_log_partitions, prediction_log_rows
from streamflow.serving.feature_status import Clock, EntityRow
from streamflow.serving.prediction_log_rows import LoggedModel, Receipt
from streamflow.serving.scoring import ScoringRequest, Served, score
from streamflow.training import served_model

Verdict = Literal["same", "different", "unknown"]


@dataclass(frozen=True)
class Replay:
    """The answer that came out again, and how it compares; `why` says what differs, or why it
    can't be told."""

    verdict: Verdict
    prediction: int | None = None
    probability: float | None = None
    problem: str | None = None
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Promotion:
    """What had brought the version to Production, by our own audit."""

    promoted_at: datetime
    promoted_by: str
    action: str
    why: str


@dataclass(frozen=True)
class Explanation:
    """`behind` holds, per feature view, the row of history that was online, if there was one."""

    receipt: Receipt
    promotion: Promotion | None
    behind: Mapping[str, HistoryRow | None]
    from_log: Replay
    from_history: Replay

    @property
    def verdict(self) -> Verdict:
        """What both replays say together: the worse of them."""
        found = {self.from_log.verdict, self.from_history.verdict}
        if "different" in found:
            return "different"
        # Where no prediction was given, there are no values in the log to make it of again.
        if self.receipt.problem is not None:
            return self.from_history.verdict
        return "unknown" if "unknown" in found else "same"


def find(platform: Platform, request_ids: Sequence[str], entity_id: str | None) -> list[Receipt]:
    """The receipts of these requests, oldest first; with `entity_id`, of that one alone.

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
            "Name one of these with --entity, or leave it out for all of them.",
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
            "Switch it on and start the API again; what was asked before stays unknown.",
        )
    return UnknownPrediction(
        f"No prediction with the request id {request_ids[0]!r} is in the log ({held}). It may be "
        f"older than {settings.prediction_log_days} days, refused as a whole (503), or given by "
        "`streamflow predict`, which isn't logged.",
        "If it was given just now, ask again in a second: the log is written in the background.",
    )


def explain(platform: Platform, found: Sequence[Receipt]) -> list[Explanation]:
    """Each receipt explained, in their order; those of one model have it loaded once.

    Raises FeatureStoreUnavailable, MlflowUnavailable, DatabaseUnavailable.
    """
    history = OnlineHistory(platform.database, platform.use_case)
    audit = platform.database.rows("promotions", model=platform.use_case.registered_model)
    explained: dict[int, Explanation] = {}
    for model in dict.fromkeys(receipt.model for receipt in found):
        numbers = [number for number, one in enumerate(found) if one.model == model]
        served = _served(platform, model)
        behind = _behind(history, model, [found[number] for number in numbers])
        for number, rows in zip(numbers, behind, strict=True):
            receipt = found[number]
            from_log, from_history = _replays(platform, history, served, receipt, rows)
            explained[number] = Explanation(
                receipt, _promotion(audit, receipt), rows, from_log, from_history
            )
    return [explained[number] for number in range(len(found))]


def _served(platform: Platform, model: LoggedModel) -> Served | StreamFlowError:
    """The version as it was registered, held against the log's hash of it; or why it isn't had."""
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
    except (ModelRefused, MlflowUnavailable) as error:
        return error
    return Served(version, served_model.load(folder))


def _promotion(audit: Sequence[Mapping[str, Any]], receipt: Receipt) -> Promotion | None:
    """The newest move of the version to Production before the prediction."""
    for row in reversed(audit):
        moved = (row["version"], row["to_stage"]) == (receipt.model.version, PRODUCTION)
        if moved and row["promoted_at"] <= receipt.predicted_at:
            facts = ("promoted_at", "promoted_by", "action", "why")
            return Promotion(**{name: row[name] for name in facts})
    return None


def _behind(
    history: OnlineHistory, model: LoggedModel, found: Sequence[Receipt]
) -> list[dict[str, HistoryRow | None]]:
    """Per receipt and feature view the row that was online: where a materialization was under way,
    the one that the log agrees with, if any."""
    behind: list[dict[str, HistoryRow | None]] = [{} for _ in found]
    for view in model.views:
        if view not in history.feature_views:
            continue
        types = {name: kind for name, feature_view, kind in model.features if feature_view == view}
        possible = [list(history.possible_states(view, receipt.predicted_at)) for receipt in found]
        asked: dict[OnlineState, set[str]] = defaultdict(set)
        for receipt, options in zip(found, possible, strict=True):
            for together in options:
                asked[together].add(receipt.entity_id)
        rows = {
            together: history.rows(view, types, sorted(entity_ids), together)
            for together, entity_ids in asked.items()
        }
        for receipt, options, into in zip(found, possible, behind, strict=True):
            candidates = [rows[together].get(receipt.entity_id) for together in options]
            agreed = (one for one in candidates if not _differences(receipt, {view: one}))
            into[view] = next(agreed, candidates[0])
    return behind


def _replays(
    platform: Platform,
    history: OnlineHistory,
    served: Served | StreamFlowError,
    receipt: Receipt,
    behind: Mapping[str, HistoryRow | None],
) -> tuple[Replay, Replay]:
    """From the log, and from history."""
    if isinstance(served, StreamFlowError):
        nothing = Replay("unknown", why=(served.message,))
        return nothing, nothing
    if receipt.values is None or receipt.times is None:
        from_log = Replay("unknown", why=("No prediction was given, so no values were logged.",))
    else:
        logged = EntityRow(tuple(receipt.times.values()), tuple(receipt.values.values()))
        from_log = _again(platform, history, served, receipt, logged)
    gone = [view for view in receipt.model.views if view not in behind]
    if gone:
        why = f"Feast knows no {', '.join(gone)} any more: bring it back with `streamflow apply`."
        return from_log, Replay("unknown", why=(why,))
    views, features = receipt.model.views, receipt.model.features
    row = EntityRow(
        tuple(one.event_timestamp if (one := behind[view]) else None for view in views),
        tuple(one.values[name] if (one := behind[view]) else None for name, view, _ in features),
    )
    again = _again(platform, history, served, receipt, row)
    if differences := _differences(receipt, behind):
        again = replace(again, verdict="different", why=(*differences, *again.why))
    return from_log, again


def _again(
    platform: Platform, history: OnlineHistory, served: Served, receipt: Receipt, row: EntityRow
) -> Replay:
    """The answer of `served` to that row, judged as the API judged it then."""
    newest = {
        view: max(end for end, _ in together)
        for view in receipt.model.views
        if (together := next(history.possible_states(view, receipt.predicted_at)))
    }
    by_now = platform.settings.freshness_clock == "now"
    clock = Clock(receipt.predicted_at, None if by_now else newest)
    # What was answered was fresh enough then, whatever the settings say today.
    stale: Literal["refuse", "warn"] = "refuse" if receipt.problem else "warn"
    question = ScoringRequest(receipt.entity_id, receipt.request_id)
    (answer,) = score(served, [question], [row], clock, stale)
    if isinstance(answer, NoAnswer):
        same = answer.code == receipt.problem
        why = () if same else (f"No prediction comes out: {answer.message}",)
        return Replay("same" if same else "different", problem=answer.code, why=why)
    outcome = answer.prediction, answer.probability
    same = repr(outcome) == repr((receipt.prediction, receipt.probability))
    why = () if same else (f"The score is {outcome[1]!r}, it was {receipt.probability!r}.",)
    return Replay("same" if same else "different", *outcome, why=why)


def _differences(receipt: Receipt, behind: Mapping[str, HistoryRow | None]) -> list[str]:
    """What the log says otherwise than these rows of history, in words; without values in the log,
    nothing."""
    if receipt.values is None or receipt.times is None:
        return []
    said = []
    for view, row in behind.items():
        if row is None:
            said.append(
                f"{view} has no row in history, but had one at {_told(receipt.times[view])}."
            )
            continue
        # Other online stores than ours keep whole seconds.
        if abs(row.event_timestamp - receipt.times[view]) >= timedelta(seconds=1):
            said.append(
                f"{view} is of {_told(row.event_timestamp)} in history, of "
                f"{_told(receipt.times[view])} in the log."
            )
        for name, value in row.values.items():
            # The shortest text that is read back as the same number is the same for the same bits.
            if repr(value) != repr(receipt.values[name]):
                said.append(f"{name} is {value!r} in history, {receipt.values[name]!r} in the log.")
    return said


def _told(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
