"""Explain a prediction by its receipt: who gave it, from which rows, and whether it comes again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from streamflow.errors import MlflowUnavailable, ModelRefused, StreamFlowError, UnknownPrediction
from streamflow.features.online_history import HistoryRow, OnlineHistory
from streamflow.pipeline.replay import Replay, ReplayVerdict, online_rows, replays
from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.promotion.change import Change
from streamflow.promotion.overrides import Override, overrides_of
from streamflow.registry.records import ModelVersion
from streamflow.registry.stages import PRODUCTION
from streamflow.registry.trial import Trials
from streamflow.serving import prediction_log_partitions, prediction_log_rows
from streamflow.serving.prediction_log_rows import LoggedModel, Receipt
from streamflow.serving.scoring import Served
from streamflow.training import served_model


@dataclass(frozen=True)
class Promotion:
    """The recorded change by which the version answered: that moved it to Production, or that let
    it answer some entities from Staging. `promoted_at` is in UTC, `action` is the change's kind.
    `overrides` are the gates in spite of which it had been promoted."""

    promoted_at: datetime
    promoted_by: str
    action: str
    why: str
    overrides: Sequence[Override] = ()


@dataclass(frozen=True)
class Explanation:
    """A prediction explained.

    `behind` has the row of history of each feature view that was online, None without one.
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
    changes = model_history.changes(platform.database, platform.use_case.registered_model)
    explained: dict[int, Explanation] = {}
    for model in dict.fromkeys(receipt.model for receipt in found):
        numbers = [number for number, one in enumerate(found) if one.model == model]
        served = served_then(platform, model)
        online = online_rows(history, model, served, [found[number] for number in numbers])
        for number, rows in zip(numbers, online, strict=True):
            receipt = found[number]
            from_log, from_history = replays(platform, history, served, receipt, rows)
            behind = {view: one.row for view, one in rows.items()}
            explained[number] = Explanation(
                receipt, _promotion(changes, receipt), behind, from_log, from_history
            )
    return [explained[number] for number in range(len(found))]


def served_then(platform: Platform, model: LoggedModel) -> Served | StreamFlowError:
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


def _promotion(changes: Sequence[Change], receipt: Receipt) -> Promotion | None:
    """The newest change before the prediction by which the version answered."""
    model, before = receipt.model, [one for one in changes if one.at <= receipt.predicted_at]
    for one in reversed(before):
        if model.stage == PRODUCTION:
            found = one.moves and one.to_stage == PRODUCTION
        else:
            found = one.kind == "canary started"
        if found and one.version == model.version:
            overridden = overrides_of(before, model.version, model.model_hash)
            return Promotion(one.at, one.who, one.kind, one.why, overridden)
    return None
