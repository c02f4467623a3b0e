"""The model that is served, and its predictions; no HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from streamflow.errors import FeatureStoreUnavailable, NoAnswer, NoProductionModel, StreamFlowError
from streamflow.serving.feature_status import Clock, EntityRow, FeatureReading, feature_readings
from streamflow.serving.scoring import Prediction, ScoringRequest, Served, score

if TYPE_CHECKING:
    from streamflow.serving.columns.online_columns import ReadColumns
    from streamflow.serving.online_store import NotRecorded, OnlineStore


class Predictor:
    """Predicts with the model that was last set; many threads may use it at the same time."""

    def __init__(
        self,
        online: OnlineStore,
        *,
        registered_model: str,
        join_key: str,
        stale_features: Literal["refuse", "warn"] = "refuse",
        freshness_clock: Literal["materialized", "now"] = "materialized",
    ) -> None:
        self.registered_model = registered_model
        self.join_key = join_key
        self._online = online
        self.stale_features = stale_features
        self._freshness_clock = freshness_clock
        # Each is replaced as a whole, never changed, so that a reader needs no lock.
        self._served: Served | None = None
        self._reason: StreamFlowError | None = None
        self._newest: Mapping[str, datetime] | None = None
        self._not_recorded: NotRecorded = {}

    @property
    def served(self) -> Served | None:
        """The model that is served; None if there is none."""
        return self._served

    @property
    def newest(self) -> Mapping[str, datetime] | None:
        """Per feature view its newest event timestamp (UTC); None until that was read once."""
        return self._newest

    def serve(self, served: Served) -> None:
        """Use `served` from the next request on; requests in progress keep theirs."""
        self._served = served

    def withdraw(self, reason: StreamFlowError | None = None) -> None:
        """Serve no model; each request raises `reason`, or NoProductionModel without one."""
        self._reason = reason
        self._served = None

    def set_newest(self, newest: Mapping[str, datetime]) -> None:
        """Measure ages from these event timestamps, if the clock is the materialized month."""
        self._newest = newest

    def set_not_recorded(self, not_recorded: NotRecorded) -> None:
        """Tell a null that a month hasn't recorded from one that is a value."""
        self._not_recorded = not_recorded

    def production(self) -> Served:
        """The model that is served. Raises the reason if there is none, as NoProductionModel."""
        served = self._served
        if served is None:
            raise self._reason or NoProductionModel(self.registered_model)
        return served

    def features(self, entity_id: str, now: datetime) -> tuple[Served, list[FeatureReading]]:
        """What the Production model would be given for `entity_id` at `now`, faults included.

        Raises NoProductionModel, UnknownEntity, Departed, FeatureStoreUnavailable.
        """
        served = self.production()
        clock = self.clock(served, now)
        (row,) = self._online.read(served.plan, [entity_id])
        readings = feature_readings(served.schema, entity_id, row, clock)
        return served, [self._explained(served, reading) for reading in readings]

    def predict(self, entity_id: str, now: datetime, request_id: str | None = None) -> Prediction:
        """The Production model's prediction for `entity_id`, all or nothing.

        Raises NoProductionModel, UnknownEntity, Departed, MissingFeatures, StaleFeatures,
        UnseenCategory, UnseenNull, FeatureStoreUnavailable.
        """
        (result,) = self.predict_many([ScoringRequest(entity_id, request_id or uuid4().hex)], now)
        if isinstance(result, NoAnswer):
            raise result
        return result

    def predict_many(
        self, requests: Sequence[ScoringRequest], now: datetime
    ) -> list[Prediction | NoAnswer]:
        """Per request the Production model's prediction, or why there is none.

        Raises NoProductionModel, FeatureStoreUnavailable.
        """
        # The reference is read once: a later swap does not affect these requests.
        served = self.production()
        rows = self._online.read(served.plan, [request.entity_id for request in requests])
        return self.score(served, requests, rows, now)

    def score(
        self,
        served: Served,
        requests: Sequence[ScoringRequest],
        rows: Sequence[EntityRow],
        now: datetime,
    ) -> list[Prediction | NoAnswer]:
        """The results of `served` for rows that were read already.

        Raises FeatureStoreUnavailable if no feature's age is known.
        """
        clock = self.clock(served, now)
        return score(served, requests, rows, clock, self.stale_features)

    def column_reader(self, served: Served) -> AbstractContextManager[ReadColumns]:
        """While the block runs: a function that reads what `served` needs of many entities, as
        columns, for one thread. It raises FeatureStoreUnavailable, UnservableModel."""
        from streamflow.serving.columns.online_columns import column_reader

        return column_reader(self._online, served.plan, served.schema)

    def _explained(self, served: Served, reading: FeatureReading) -> FeatureReading:
        """The reading, as not recorded if its value isn't there for that reason."""
        if reading.value is not None or reading.event_timestamp is None:
            return reading
        kept = self._online.kept_views(served.plan).get(reading.feature_view, "")
        of_view = self._not_recorded.get(kept, self._not_recorded.get(reading.feature_view, {}))
        as_of = reading.event_timestamp.astimezone(UTC).date()
        if reading.name in of_view.get(as_of, ()):
            return replace(reading, status="not_recorded")
        return reading

    def clock(self, served: Served, now: datetime) -> Clock:
        """What ages of the features of `served` are measured from at `now` (UTC).

        Raises FeatureStoreUnavailable if no feature's age is known.
        """
        by_now = self._freshness_clock == "now"
        if self._newest is None and (
            served.schema.departed_after_seconds is not None
            or any(
                one.absent == "null" or (one.max_age_seconds is not None and not by_now)
                for one in served.schema.features
            )
        ):
            # Treating data of unknown age as fresh would be a guess; so would taking an entity
            # without a row for one that has none, or one that has departed for one that is there.
            raise FeatureStoreUnavailable(
                "The newest month in the online store isn't known yet, "
                "so that no feature's age is known.",
                "Look into GET /ready, and try again.",
            )
        newest = self._newest or {}
        kept = self._online.kept_views(served.plan).items()
        recorded = {view: newest[name] for view, name in kept if name in newest}
        return Clock(now, newest, by_now, recorded)
