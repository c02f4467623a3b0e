"""Acts under way, and those that have just ended; in memory, as long as the console runs."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from streamflow import log
from streamflow.console.acts.act import ActFailed, Run, TooMuchAtOnce

MOST_KEPT = 100
MOST_UNDER_WAY = 8
# Each takes as much memory as a training.
MOST_AT_ONCE = 2
WAITING_SECONDS = 60.0
# A failed one that nobody but a reader asked for isn't tried again sooner.
FAILED_KEPT = timedelta(minutes=1)


@dataclass
class Job:
    """An act: `lines` is what it has told so far, `gates` those that were evaluated. At its end it
    has a `result` or what `failed`. `begun_at` is in UTC; `about` has what its page is called by.
    """

    job_id: str
    act: str
    about: Mapping[str, Any]
    begun_at: datetime
    lines: list[str] = field(default_factory=list)
    gates: list[Mapping[str, Any]] = field(default_factory=list)
    result: Mapping[str, Any] | None = None
    failed: ActFailed | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.result is not None or self.failed is not None

    def tell(self, said: Mapping[str, Any]) -> None:
        """Keep what the act tells."""
        if "gate" in said:
            self.gates.append(said["gate"])
        elif "progress" in said:
            self.lines.append(said["progress"])


class Jobs:
    """Begins acts in threads, and finds them again."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._jobs: dict[str, Job] = {}
        self._by_question: dict[str, str] = {}
        self._changing = threading.Lock()
        self._at_once = threading.Semaphore(MOST_AT_ONCE)

    def begin(
        self, act: str, arguments: Mapping[str, Any], about: Mapping[str, Any], now: datetime
    ) -> Job:
        """Begin the act; its page is found by its id. Raises TooMuchAtOnce."""
        with self._changing:
            return self._begin(act, arguments, about, now)

    def asked(
        self, act: str, question: Mapping[str, Any], about: Mapping[str, Any], now: datetime
    ) -> Job:
        """The act that answers the question; begun if there is none. Raises TooMuchAtOnce."""
        key = json.dumps([act, question], sort_keys=True, default=str)
        with self._changing:
            job = self._jobs.get(self._by_question.get(key, ""))
            if job is not None and (job.failed is None or now - job.begun_at < FAILED_KEPT):
                return job
            job = self._begin(act, {**question, "now": now}, about, now)
            there = self._by_question.items()
            self._by_question = {one: known for one, known in there if known in self._jobs}
            self._by_question[key] = job.job_id
            return job

    def at_once(self, act: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do the act, and return its result. Raises ActFailed, TooMuchAtOnce."""
        if not self._at_once.acquire(timeout=WAITING_SECONDS):
            raise TooMuchAtOnce(MOST_AT_ONCE)
        try:
            return self.run(act, arguments, lambda _: None)
        finally:
            self._at_once.release()

    def find(self, job_id: str) -> Job | None:
        """The act with the id, None if it isn't known any more."""
        return self._jobs.get(job_id)

    def _begin(
        self, act: str, arguments: Mapping[str, Any], about: Mapping[str, Any], now: datetime
    ) -> Job:
        under_way = sum(not one.over for one in self._jobs.values())
        if under_way >= MOST_UNDER_WAY:
            raise TooMuchAtOnce(under_way)
        for old in list(self._jobs)[: -MOST_KEPT + 1]:
            if self._jobs[old].over:
                del self._jobs[old]
        job = Job(secrets.token_urlsafe(16), act, about, now)
        self._jobs[job.job_id] = job
        named = f"console {act}"
        threading.Thread(target=self._do, args=(job, arguments), name=named, daemon=True).start()
        return job

    def _do(self, job: Job, arguments: Mapping[str, Any]) -> None:
        try:
            with self._at_once:
                job.result = self.run(job.act, arguments, job.tell)
        except ActFailed as failed:
            job.failed = failed
        except Exception as error:
            lines = log.traceback_lines(error)
            log.warning("act_failed", error=type(error).__name__, lines=lines)
            job.failed = ActFailed(
                500, "internal_error", "It couldn't be done.", "The console's log says why."
            )
