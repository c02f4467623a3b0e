"""The API held against its own OpenAPI document by schemathesis, with keys on.

`schemathesis` is looked for on the path: it isn't among the developers' packages.
For the long run, of 10,000 cases:

    STREAMFLOW_SCHEMA_CASES=3400 PATH="$PATH:…" pytest tests/e2e/test_schema.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from tests import promoting, tiny_case
from tests.e2e.serve import serving

from streamflow.keys import api_keys
from streamflow.keys.api_keys import Scope
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.settings import Settings
from streamflow.use_case import Generation

CASES = int(os.environ.get("STREAMFLOW_SCHEMA_CASES", "25"))
JANUARY = date(2024, 1, 31)
KNOWN = datetime(2024, 2, 1, 8, tzinfo=UTC)
NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance", "negative_data_rejection"),
    *("unsupported_method", "ignored_auth"),
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"use_case": "tests.tiny_case"})


@pytest.fixture
def url(ready: Platform, environment: dict[str, str]) -> Iterator[str]:
    """An API that has a model and features, and wants a key."""
    home = ready.settings.home
    tiny_case.generate(Generation(home / "months", users=300, months=1, seed=5))
    ingest(ready, home / "months" / "month_000", JANUARY, None, KNOWN, "test")
    apply(ready)
    version = train.train(ready, JANUARY, None, 1, NOW).version
    promoting.promote(ready, version, "Production", "a test", "test", NOW)
    materialize(ready, JANUARY, NOW)
    with serving(home, environment) as child:
        yield child.command.ready_url.removesuffix("/ready")
        log = child.command.log.read_text()
        assert "request_failed" not in log
        assert "Traceback" not in log


@pytest.fixture
def key(ready: Platform) -> str:
    drawn = api_keys.new_key()
    api_keys.create(ready.database, drawn, [Scope.PREDICT, Scope.READ], "", None, "test", KNOWN)
    return drawn


@pytest.mark.skipif(shutil.which("schemathesis") is None, reason="schemathesis isn't on the path")
def test_every_answer_is_as_the_document_says(key: str, url: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *("schemathesis", "run", f"{url}/openapi.json"),
            *("--header", f"Authorization: Bearer {key}"),
            *("--checks", ",".join(CHECKS), "--max-examples", str(CASES)),
            *("--seed", "1", "--no-color", "--continue-on-failure"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    (cases,) = re.findall(r"(\d+) generated", done.stdout)
    assert int(cases) >= CASES * 3
