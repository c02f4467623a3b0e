"""Delivers the events of a model's history: each at least once, in order, one at a time.

Each attempt is a row of `streamflow.event_deliveries`. One process at a time delivers the events of
a model: it holds a lock in the database while it sends. An event that isn't delivered is sent again
after a pause that doubles with each attempt; the events after it wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from streamflow import log
from streamflow.platform import Platform
from streamflow.polling import PollingThread
from streamflow.postgres.database import Database
from streamflow.promotion.events.webhook import Attempt, Webhook, webhook

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 300.0
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Backlog:
    """Events that are still to be delivered; `oldest_at` (UTC) is the oldest one's time.

    `attempts` of delivering that one failed; `problem` is what came of the last one.
    """

    waiting: int
    oldest_at: datetime | None = None
    attempts: int = 0
    problem: str | None = None


class Metrics(Protocol):
    """What is published about events."""

    def record_events_waiting(self, waiting: int, oldest_seconds: float) -> None:
        """How many events wait, and for how long the oldest one has."""


def backlog(database: Database, model: str) -> Backlog:
    """The model's events that no attempt has delivered."""
    return Backlog(**database.row("event_backlog", model=model))


def deliver_next(
    database: Database,
    model: str,
    webhook: Webhook,
    now: Callable[[], datetime],
    *,
    first_pause: float = FIRST_PAUSE_SECONDS,
) -> Attempt | None:
    """Send the oldest event that wasn't delivered. None if there is none, if its pause isn't over,
    or if another process delivers."""
    with database.transaction():
        if not database.row("try_lock_events", model=model)["locked"]:
            return None
        found = database.rows("next_event", model=model)
        if not found:
            return None
        event = found[0]
        pause = min(first_pause * 2.0 ** min(event["attempts"] - 1, 30), LONGEST_PAUSE_SECONDS)
        if event["attempts"] and event["seconds_ago"] < pause:
            return None
        event_id = str(event["event_id"])
        attempt = webhook.send(event_id, _payload(event), now())
        database.execute(
            "record_delivery",
            event_id=event_id,
            delivered=attempt.delivered,
            status=attempt.status,
            problem=attempt.problem,
        )
    return attempt


def _payload(event: dict[str, Any]) -> dict[str, Any]:
    """The event as it is sent, with the gates and the reason under their own names."""
    payload: dict[str, Any] = event["payload"]
    data = payload["data"]
    details = data["details"]
    own = {"kind": event["kind"], "reason": data["why"], "gates": details.get("gates")}
    return {**payload, "data": {**data, **own}}


def event_delivery(
    platform: Platform, metrics: Metrics, now: Callable[[], datetime]
) -> EventDelivery | None:
    """The delivery of the model's events to the webhook of the settings; None without a webhook.

    It closes the platform's database at its end. Raises InvalidSettings.
    """
    receiver, model = webhook(platform.settings), platform.registry.model
    if receiver is None:
        return None
    return EventDelivery(platform.database, model, receiver, metrics, now)


class EventDelivery:
    """A thread that delivers a model's events."""

    def __init__(
        self,
        database: Database,
        model: str,
        webhook: Webhook,
        metrics: Metrics,
        now: Callable[[], datetime],
        *,
        poll_seconds: float = POLL_SECONDS,
        first_pause: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._database = database
        self._model = model
        self._webhook = webhook
        self._metrics = metrics
        self._now = now
        self._first_pause = first_pause
        self._failing = False
        self._stopping = False
        self._thread = PollingThread("events", self.poll, poll_seconds, database.close)

    def start(self) -> None:
        """Start delivering."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; an event that is being sent may be sent again by the next process."""
        self._stopping = True
        self._thread.stop()

    def poll(self) -> None:
        """Deliver what can be delivered now, and publish how many events wait."""
        attempt: Attempt | None = Attempt(True)
        while attempt is not None and attempt.delivered and not self._stopping:
            attempt = deliver_next(
                self._database,
                self._model,
                self._webhook,
                self._now,
                first_pause=self._first_pause,
            )
            if attempt is not None:
                self._log(attempt)
        left = backlog(self._database, self._model)
        seconds = (self._now() - left.oldest_at).total_seconds() if left.oldest_at else 0.0
        self._metrics.record_events_waiting(left.waiting, max(0.0, seconds))

    def _log(self, attempt: Attempt) -> None:
        """Once when deliveries begin to fail, and once when they succeed again."""
        if not attempt.delivered and not self._failing:
            log.warning("event_not_delivered", status=attempt.status, problem=attempt.problem)
        elif attempt.delivered and self._failing:
            log.info("events_delivered_again")
        self._failing = not attempt.delivered
