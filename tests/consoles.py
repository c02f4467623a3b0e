"""A console over a database of a test, and somebody who visits it as a browser does."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from httpx import Response
from starlette.testclient import TestClient

from streamflow.console.access.boundary import Boundary
from streamflow.console.acts.act import Run, Tell
from streamflow.console.acts.jobs import Jobs
from streamflow.console.acts.performed import failure, perform
from streamflow.console.app import create_app
from streamflow.console.parts import ConsoleParts
from streamflow.features.engines.history_database import reading_database
from streamflow.keys import api_keys
from streamflow.keys.access import Access, is_loopback
from streamflow.keys.api_keys import ApiKey, Scope
from streamflow.keys.audit import Audit
from streamflow.keys.key_sync import DatabaseKeyStore, KeySync
from streamflow.platform import Platform
from streamflow.postgres.database import Database

PATIENCE = 6000
HOME = "http://127.0.0.1:8080"
TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


@dataclass
class Clock:
    """The console's time, which a test moves."""

    at: datetime = datetime(2024, 3, 5, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def later(self, **by: float) -> None:
        self.at += timedelta(**by)


@dataclass
class Console:
    """A console that runs; `audit` has what was refused and isn't written yet."""

    app: Boundary
    parts: ConsoleParts
    audit: Audit
    access: Access
    clock: Clock = field(default_factory=Clock)
    keys: list[ApiKey] = field(default_factory=list)

    def key(self, *scopes: Scope, name: str = "ann") -> tuple[str, ApiKey]:
        """A new key, with what it is in the database."""
        secret = api_keys.new_key()
        database = self.parts.platform.database
        made = api_keys.create(database, secret, scopes, name, None, "a test", self.clock())
        self.keys.append(made)
        self.access.replace_keys(self.keys)
        return secret, made

    def refused(self) -> list[tuple[str, str | None, int | None]]:
        """The code, the route and the key of what was refused since the last question."""
        entries = [one.request for one in self.audit.due(everything=True)]
        return [(one.code, one.route, one.key_id) for one in entries]


class Visitor:
    """A browser without JavaScript: it has cookies, and sends the forms of its pages."""

    def __init__(self, console: Console) -> None:
        self.client = TestClient(console.app, base_url=HOME, follow_redirects=False)

    def get(self, path: str, **headers: str) -> Response:
        return self.client.get(path, headers=headers)

    def token(self, path: str = "/sign-in") -> str:
        found = TOKEN.search(self.get(path).text)
        assert found is not None
        return found[1]

    def send(self, path: str, token: str | None = None, **form: str) -> Response:
        given = {"form_token": self.token() if token is None else token, **form}
        return self.client.post(path, data=given)

    def ended(self, place: str) -> dict[str, Any]:
        """What an act says at its end, which began with an answer that leads to `place`."""
        for _ in range(PATIENCE):
            told: dict[str, Any] = self.get(place, accept="application/json").json()
            if told["over"]:
                return told
            time.sleep(0.02)
        raise AssertionError("it doesn't end")

    def sign_in(self, key: str) -> Response:
        return self.send("/sign-in", key=key)


def in_this_process(platform: Platform) -> Run:
    """Does acts as their own process does, which takes seconds to start."""

    def run(name: str, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        through_json = json.loads(json.dumps(arguments, default=str))
        try:
            return dict(perform(platform, name, through_json, tell))
        except Exception as error:
            raise failure(error) from error

    return run


@contextmanager
def running(
    platform: Platform, host: str = "127.0.0.1", names: Iterable[str] = ()
) -> Iterator[Any]:
    """A console whose keys are read by the test alone, so that nothing depends on a thread."""
    clock, audit = Clock(), Audit()
    access = Access(open_without_keys=is_loopback(host), requests_per_second=10_000.0, now=clock)
    database = Database(platform.database.address, 10.0)
    reading = reading_database(platform.settings, database)
    access.replace_keys([])
    keys = KeySync(DatabaseKeyStore(reading), access, audit)
    jobs = Jobs(in_this_process(platform))
    parts = ConsoleParts(platform, reading, keys, host, frozenset(names), clock, jobs)
    # Without its lifespan, which starts the thread.
    yield Console(create_app(parts), parts, audit, access, clock)
    reading.close()
    database.close()


def at(console: Console, **changes: Any) -> Console:
    """The same console with other parts."""
    parts = replace(console.parts, **changes)
    return Console(create_app(parts), parts, console.audit, console.access, console.clock)
