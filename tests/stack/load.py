"""Clients that ask without pause while services come and go, and hold every answer to be right."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

CONNECTIONS = 16
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Answer:
    """When it came (monotonic), how long it took, who gave it, the problem's code if it was one,
    and what was wrong with it, if anything was."""

    at: float
    seconds: float
    status: int
    url: str
    request_id: str = ""
    code: str | None = None
    fault: str | None = None


@dataclass
class Load:
    """`expected` holds, per id, the probability that every answer must have."""

    urls: Sequence[str]
    headers: Mapping[str, str]
    expected: Mapping[str, float]
    answers: list[Answer] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        return [answer.fault for answer in self.answers if answer.fault]

    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in self.answers)

    def codes(self) -> set[str]:
        """Those of the problems that were told."""
        return {answer.code for answer in self.answers if answer.code}

    def last_refusal(self) -> float | None:
        """When the last 503 came, if there was one."""
        refusals = [answer.at for answer in self.answers if answer.status == 503]
        return max(refusals, default=None)

    def slowest_refusal(self) -> float:
        refusals = [answer.seconds for answer in self.answers if answer.status == 503]
        return max(refusals, default=0.0)

    async def ask(self, client: httpx.AsyncClient, url: str, entity_id: str) -> Answer:
        started = time.monotonic()
        response = await client.post(f"{url}/predict", json={"user_id": entity_id})
        now = time.monotonic()
        status, code, fault = response.status_code, None, None
        if status == 200:
            body = response.json()
            if (body["user_id"], body["probability"]) != (entity_id, self.expected[entity_id]):
                fault = f"{entity_id} was answered {body}"
        elif status == 503 and response.headers["content-type"] == PROBLEM:
            code = response.json()["code"]
        else:
            fault = f"{status}: {response.text}"
        request_id = response.headers.get("x-request-id", "")
        return Answer(now, now - started, status, url, request_id, code, fault)

    async def _client(self, number: int, stopping: threading.Event) -> None:
        ids = itertools.cycle(list(self.expected)[number::CONNECTIONS])
        urls = itertools.cycle([*self.urls[number % len(self.urls) :], *self.urls])
        url = next(urls)
        async with httpx.AsyncClient(headers=self.headers, timeout=30) as client:
            while not stopping.is_set():
                entity_id = next(ids)
                for _ in range(len(self.urls)):
                    try:
                        answer = await self.ask(client, url, entity_id)
                        break
                    except httpx.TransportError as error:
                        # As a load balancer does: this replica is gone, the next one is asked.
                        fault = f"nobody answered: {error!r}"
                        answer = Answer(time.monotonic(), 0.0, 0, url, fault=fault)
                        url = next(urls)
                self.answers.append(answer)
                if answer.status != 200:
                    await asyncio.sleep(0.02)

    async def run(self, stopping: threading.Event) -> None:
        await asyncio.gather(*(self._client(number, stopping) for number in range(CONNECTIONS)))


@contextmanager
def under_way(
    urls: Sequence[str], headers: Mapping[str, str], expected: Mapping[str, float]
) -> Iterator[Load]:
    """Sixteen connections to the replicas at `urls`, asking for as long as the block runs."""
    load, stopping = Load(urls, headers, expected), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(load.run(stopping)))
    thread.start()
    try:
        yield load
    finally:
        stopping.set()
        thread.join()
