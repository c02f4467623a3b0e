"""Stand-ins for what the API depends on, and the API over them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import h11
import numpy as np
import pytest
import uvicorn
from fastapi.testclient import TestClient
from uvicorn.server import ServerState

from streamflow import bootstrap
from streamflow.api.app import create_app
from streamflow.api.http_protocol import http_protocol
from streamflow.errors import (
    FeatureStoreUnavailable,
    MlflowUnavailable,
    StreamFlowError,
    UnservableModel,
)
from streamflow.keys.access import Access
from streamflow.keys.api_keys import ApiKey
from streamflow.keys.audit import Audit, AuditEntry
from streamflow.keys.key_sync import KeySync
from streamflow.registry.records import ModelVersion
from streamflow.serving.feast_online_store import ThreadConnection
from streamflow.serving.feature_status import Clock, EntityRow
from streamflow.settings import Settings
from streamflow.training.served_model import Feature, FeatureSchema, ServedModel

JANUARY = datetime(2024, 1, 31, 23, 59, 59, 999999, UTC)
FEBRUARY = datetime(2024, 2, 29, 23, 59, 59, 999999, UTC)
DAY = 86400.0

VISITS = Feature("visits", "activity_view", "INT64", nullable=False, max_age_seconds=20 * DAY)
AMOUNT = Feature("amount", "billing_view", "FLOAT64", nullable=False)
MEMBER = Feature("member", "billing_view", "BOOL", nullable=False)
COUPON = Feature("coupon", "billing_view", "BOOL", nullable=True)
PLAN = Feature("plan", "billing_view", "STRING", nullable=False, categories=("basic", "family"))
FEATURES = (VISITS, PLAN, AMOUNT, COUPON, MEMBER)


def schema(*features: Feature, join_key: str = "user_id") -> FeatureSchema:
    return FeatureSchema("example_v1", "user", join_key, features or FEATURES)


def model(probability: float, *features: Feature, join_key: str = "user_id") -> ServedModel:
    """A model that returns `probability` for everyone."""

    def score(matrix: Any) -> Any:
        probabilities = np.full(len(matrix), probability)
        return (probabilities > 0.5).astype(np.int64), probabilities

    return ServedModel(schema(*features, join_key=join_key), score)


class FakeRegistry:
    """Versions in memory; `production` is what was promoted last, `down` makes it fail."""

    def __init__(self) -> None:
        self.models: dict[str, ServedModel | Exception] = {}
        self.current: ModelVersion | None = None
        self.down = False
        self.downloads: list[int] = []
        self.ungated: StreamFlowError | None = None
        self.registry_error: StreamFlowError | None = None
        self.overridden: list[dict[str, object]] = []

    def overrides(self, version: int, model_hash: str) -> list[dict[str, object]]:
        return self.overridden

    def promote(
        self, version: int, served: ServedModel | Exception, model_hash: str | None = None
    ) -> None:
        model_hash = model_hash or f"hash-{version}"
        self.models[model_hash] = served
        self.current = ModelVersion(
            name="example_model",
            version=version,
            run_id=f"run-{version}",
            stage="Production",
            aliases=("production",),
            metrics={"auc": 0.8},
            model_hash=model_hash,
        )

    def archive(self) -> None:
        self.current = None

    def production(self) -> ModelVersion | None:
        if self.down:
            raise MlflowUnavailable("MLflow doesn't answer.", "Run `streamflow up`.")
        return self.current

    def download(self, version: ModelVersion) -> Path:
        self.downloads.append(version.version)
        return Path(version.model_hash)

    def load(self, folder: Path) -> ServedModel:
        served = self.models[folder.name]
        if isinstance(served, Exception):
            raise served
        return served


class FakeOnlineFeatures:
    """Rows in memory, `rows[view][entity_id] = (event_timestamp, values)`."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, tuple[datetime, Mapping[str, Any]]]] = {}
        self.newest: dict[str, datetime] = {}
        self.known: set[str] | None = None
        self.failure: Exception | None = None
        self.join_keys: set[str] = set()

    def put(self, view: str, entity_id: str, event_timestamp: datetime, **values: Any) -> None:
        self.rows.setdefault(view, {})[entity_id] = (event_timestamp, values)
        self.newest[view] = max(event_timestamp, self.newest.get(view, event_timestamp))

    def down(self) -> None:
        self.failure = FeatureStoreUnavailable("The online store doesn't answer.", "Start it.")

    def read(self, plan: FeatureSchema, entity_ids: Sequence[str]) -> list[EntityRow]:
        self._fail()
        self.join_keys.add(plan.join_key)
        return [self._row(plan, entity_id) for entity_id in entity_ids]

    def connect(self, on_change: Callable[[], None]) -> ThreadConnection:
        return ThreadConnection(self, on_change)

    def newest_event_timestamps(self) -> dict[str, datetime]:
        self._fail()
        return dict(self.newest)

    def not_recorded(self) -> dict[str, dict[date, list[str]]]:
        self._fail()
        return {}

    def plan(self, schema: FeatureSchema) -> FeatureSchema:
        self._fail()
        for feature in schema.features:
            if self.known is not None and feature.name not in self.known:
                raise UnservableModel(
                    f"The feature store has no {feature.name!r}.", "Run `streamflow apply`."
                )
        return schema

    def require_values(self, plan: FeatureSchema) -> None:
        self._fail()

    def kept_views(self, plan: FeatureSchema) -> dict[str, str]:
        return {}

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _row(self, plan: FeatureSchema, entity_id: str) -> EntityRow:
        stored = {view: self.rows.get(view, {}).get(entity_id, (None, {})) for view in plan.views}
        values = [stored[one.feature_view][1].get(one.name) for one in plan.features]
        return EntityRow(tuple(time for time, _ in stored.values()), tuple(values))


class FakeKeyStore:
    """Keys and the audit in memory; `failure` is raised instead."""

    def __init__(self, keys: Sequence[ApiKey] = ()) -> None:
        self.keys = list(keys)
        self.entries: list[AuditEntry] = []
        self.failure: Exception | None = None
        self.closed = False

    def all_keys(self) -> list[ApiKey]:
        if self.failure is not None:
            raise self.failure
        return list(self.keys)

    def record(self, entries: Sequence[AuditEntry]) -> None:
        if self.failure is not None:
            raise self.failure
        self.entries += entries

    def close(self) -> None:
        self.closed = True


def stocked() -> FakeOnlineFeatures:
    """An online store at January: `ann` is complete, without coupon; the others lack something."""
    online = FakeOnlineFeatures()
    billing = {"plan": "family", "amount": 0.1 + 0.2, "coupon": None, "member": False}
    online.put("activity_view", "ann", JANUARY, visits=3)
    online.put("billing_view", "ann", JANUARY, **billing)
    online.put("activity_view", "bob", JANUARY, visits=4)
    online.put("activity_view", "eve", JANUARY, visits=5)
    online.put("billing_view", "eve", JANUARY, **{**billing, "plan": "platinum"})
    return online


def from_now(moment: datetime) -> Clock:
    """A clock by which every age is measured from `moment`."""
    return Clock(moment, {}, from_now=True)


def eventually(what: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until `what` holds; fail when it doesn't within `seconds`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not what():
        assert time.monotonic() < deadline, "it never came to hold"
        pause.wait(0.005)


@contextmanager
def repeating(act: Callable[[], object], pause_seconds: float = 0.02) -> Iterator[None]:
    """Do it again and again in a thread while the block runs; what it raises, the block raises."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(pause_seconds):
            act()

    with ThreadPoolExecutor(max_workers=1) as pool:
        repeated = pool.submit(repeat)
        try:
            yield
        finally:
            over.set()
        repeated.result()


class Service:
    """The API over fakes, with a client of it."""

    def __init__(self, client, registry, online):
        self.client = client
        self.registry = registry
        self.online = online

    def predict(self, entity_id="ann", **headers):
        return self.client.post("/predict", json={"user_id": entity_id}, headers=headers)

    def version(self):
        answer = self.predict()
        return answer.json()["model"]["version"] if answer.status_code == 200 else None

    def metrics(self):
        return self.client.get("/metrics").text


def api(
    registry,
    online,
    join_key="user_id",
    now=FEBRUARY,
    log_writer=None,
    last_served=None,
    trace=None,
    key_store=None,
    loopback=True,
    staging=None,
    **given,
):
    """The API's app over fakes, without a `.env` file."""
    settings = Settings(_env_file=None, registry_poll_seconds=0.01, **given)
    access = Access(
        open_without_keys=loopback,
        requests_per_second=settings.api_key_rate,
        now=lambda: now,
        host_names=["testserver", *(settings.api_host_names or "").split(",")],
    )
    key_sync = KeySync(key_store or FakeKeyStore(), access, Audit(), poll_seconds=0.01)
    parts = bootstrap.api_parts(
        settings,
        SimpleNamespace(registered_model="example_model", join_key=join_key),
        registry,
        online,
        key_sync,
        log_writer=log_writer,
        last_served=last_served,
        trace=trace,
        now=lambda: now,
        load=registry.load,
        staging=staging,
    )
    return create_app(parts)


def direct_http() -> bool:
    """Whether this run of the tests takes the direct HTTP path: STREAMFLOW_DIRECT_HTTP says so."""
    return Settings(_env_file=None).direct_http


# For tests about the direct HTTP path itself.
direct_only = pytest.mark.skipif(
    not direct_http(), reason="the direct HTTP path is off: STREAMFLOW_DIRECT_HTTP"
)


class OverHttp:
    """An app behind the API's own HTTP protocol, so that what asks it by ASGI goes through both."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.config = uvicorn.Config(
            app,
            http=http_protocol(direct_http()),
            access_log=False,
            proxy_headers=False,
            log_level="error",
        )
        self.config.load()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        connection = Connection(self.config)
        headers = scope["headers"]
        connection.tell(
            h11.Request(method=scope["method"], target=target_of(scope), headers=headers)
        )
        more_body = True
        while more_body:
            heard = await receive()
            if heard["type"] == "http.disconnect":
                connection.leave()
                await asyncio.gather(*connection.protocol.tasks)
                return
            connection.tell(h11.Data(heard["body"]))
            more_body = heard.get("more_body", False)
        connection.tell(h11.EndOfMessage())
        answer, content = await asyncio.wait_for(connection.answer, 30)
        await send(
            {
                "type": "http.response.start",
                "status": answer.status_code,
                "headers": [one for one in answer.headers if one[0] not in (b"date", b"server")],
            }
        )
        await send({"type": "http.response.body", "body": content})


def target_of(scope: Any) -> bytes:
    query = scope["query_string"]
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return path + b"?" * bool(query) + query


class Wire:
    """A connection to the protocol without a network, whose client has `received` so much."""

    def __init__(self, config: uvicorn.Config) -> None:
        self.received = b""
        self.closed = False
        self.protocol: Any = config.http_protocol_class(config, ServerState(), {})
        self.protocol.connection_made(self)

    def send(self, data: bytes) -> None:
        if not self.closed:
            self.protocol.data_received(data)

    def leave(self) -> None:
        self.close()
        self.protocol.connection_lost(None)

    def write(self, data: bytes) -> None:
        self.received += data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("testclient", 50000) if name == "peername" else default

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def write_eof(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Connection(Wire):
    """With a client at its end, which asks once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._client = h11.Connection(h11.CLIENT)
        self._start: h11.Response | None = None
        self._content = b""
        self.answer: asyncio.Future[tuple[h11.Response, bytes]] = asyncio.Future()

    def tell(self, event: h11.Event) -> None:
        self.send(self._client.send(event) or b"")

    def write(self, data: bytes) -> None:
        self._client.receive_data(data)
        while (event := self._client.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Response):
                self._start = event
            elif isinstance(event, h11.Data):
                self._content += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert self._start is not None
                self.answer.set_result((self._start, self._content))
                return


@contextmanager
def serving(registry=None, online=None, **given):
    registry = registry or FakeRegistry()
    online = online or stocked()
    with TestClient(OverHttp(api(registry, online, **given))) as client:
        yield Service(client, registry, online)


def assert_problem(answer, status, code):
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"] == f"urn:streamflow:problem:{code}"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert all(body[field] for field in ("title", "detail", "instance", "next"))
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    return body
