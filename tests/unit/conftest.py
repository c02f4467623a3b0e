"""What tests without a service share."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from tests.fakes import FakeRegistry, Service, model, serving

from streamflow import log as logs


class Log:
    """The API's log from here on."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._stream = io.StringIO()
        logs.write_json_to(self._stream)

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Each line's facts; those of one `event`, if it's given."""
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if event in (None, line["event"])]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    return Log()


@pytest.fixture
def service() -> Iterator[Service]:
    """The API with one version in Production."""
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    with serving(registry) as service:
        yield service
