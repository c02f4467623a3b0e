"""Promotions and rollbacks while many predictions are asked for, of two workers.

`STREAMFLOW_TEST_CHANGES` is how many of them (8).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import httpx
import pytest
from tests import promoting
from tests.e2e.serve import serving
from tests.e2e.two_versions import JANUARY, NOW, PATIENCE_SECONDS, two_versions, until

from streamflow.pipeline import train
from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.settings import Settings

pytestmark = pytest.mark.slow

CHANGES = int(os.environ.get("STREAMFLOW_TEST_CHANGES", "8"))
CONNECTIONS = 16


class Changes:
    """How many changes were begun and are done by now."""

    begun = done = 0


class Client:
    """Asks all the time; has for each answer how many changes were done when it was asked for, and
    how many begun when it came."""

    def __init__(self, url: str, machine: str, changes: Changes) -> None:
        self.failed: list[str] = []
        self.answers: list[tuple[int, int, int, float]] = []
        self.machine = machine
        self._url = url
        self._changes = changes
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    @contextmanager
    def asking(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            self._thread.join()

    @property
    def newest(self) -> int | None:
        """The version of the newest answer."""
        return self.answers[-1][2] if self.answers else None

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=PATIENCE_SECONDS) as client:
            while not self._stopped.is_set():
                done = self._changes.done
                answer = client.post("/predict", json={"machine_id": self.machine})
                if answer.status_code != 200:
                    self.failed.append(answer.text)
                    continue
                told = answer.json()
                version, score = told["model"]["version"], told["probability"]
                self.answers.append((done, self._changes.begun, version, score))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"use_case": "tests.tiny_case"})


def test_every_answer_is_whole_and_names_a_version_that_was_in_production(
    ready: Platform, settings: Settings, environment: dict[str, str]
) -> None:
    one, two = two_versions(ready, promoting.promote)
    three = train.train(ready, JANUARY, None, 3, NOW).version
    # Who is in Production after each: two promotions, then two rollbacks.
    planned = [one, *([two, three, two, one] * CHANGES)[:CHANGES]]
    changes = Changes()
    busy = {"STREAMFLOW_API_WORKERS": "2", "STREAMFLOW_LATENCY_BUDGET_MS": "30000"}
    with serving(settings.home, {**environment, **busy}) as child, ExitStack() as stack:
        url = child.command.ready_url.removesuffix("/ready")

        clients = [Client(url, f"m-{number:04}", changes) for number in range(CONNECTIONS)]
        for client in clients:
            stack.enter_context(client.asking())
        for number, version in enumerate(planned[1:]):
            now = datetime.now(UTC)
            changes.begun += 1
            if number % 4 < 2:
                promoting.promote(ready, version, "Production", "on", "test", now)
            else:
                promoting.rollback(ready, "back", "test", now)
            changes.done += 1
            # Each connection is one worker's: both have followed, where both are asked.
            until(lambda version=version: all(each.newest == version for each in clients))
    recorded = model_history.changes(ready.database, ready.registry.model)
    assert [change.version for change in recorded] == planned
    scores: dict[tuple[str, int], set[float]] = {}
    for client in clients:
        assert client.failed == []
        assert client.answers
        for done, begun, version, score in client.answers:
            # A change is followed a moment after it was made, and before the next one here.
            assert version in planned[max(done - 1, 0) : begun + 1]
            scores.setdefault((client.machine, version), set()).add(score)
    # The version that an answer names is the one that scored it.
    assert {len(of_one) for of_one in scores.values()} == {1}
    machines = [client.machine for client in clients]
    assert any(scores[each, one] != scores[each, two] for each in machines)
