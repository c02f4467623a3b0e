"""Features from events by the command line: from files to a prediction, late events, a restore."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from tests import event_case
from tests.e2e import forked
from tests.e2e.serve import serving

from streamflow.settings import Settings

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
MACHINES = 60
LATE = ("m-007", datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC), 400.0, "fire")
# So few rows can't tell how good a model is.
IN_SPITE_OF = ("--override", "quality", "--override", "calibration")
CHANGED = """
from tests.event_case import AGGREGATIONS, with_aggregations
from streamflow.use_case import Count

use_case = with_aggregations({{**AGGREGATIONS, {0}}})
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"use_case": "tests.event_case"})


@pytest.mark.slow
def test_from_files_of_events_to_a_prediction_and_the_same_model_after_late_ones(
    environment: dict[str, str],
    settings: Settings,
    new_database: Callable[..., str],
    tmp_path: Path,
) -> None:
    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return forked.run(arguments, {**environment, **changes}, tmp_path)

    def answer(*arguments: str, **changes: str) -> Any:
        done = run(*arguments, "--json", **changes)
        assert done.returncode == 0, f"{arguments}: {done.stdout}"
        return json.loads(done.stdout)

    def training_set(name: str, *how: str, **changes: str) -> dict[str, dict[str, Any]]:
        file = tmp_path / f"{name}.parquet"
        answer("training-set", "--as-of", f"{FEBRUARY}", "--output", str(file), *how, **changes)
        return {row["machine_id"]: row for row in pq.read_table(file).to_pylist()}

    def load(as_of: date, *late: event_case.Event) -> Any:
        events = [*event_case.stops(as_of, MACHINES), *late]
        folder = event_case.write(tmp_path / f"{as_of}", as_of, events, MACHINES)
        return answer("ingest", str(folder), "--as-of", f"{as_of}")["stops"]

    assert run("check").returncode == 0
    answer("apply")
    load(JANUARY)
    assert load(FEBRUARY)["rows"] == MACHINES
    trained = answer("train", "--as-of", f"{FEBRUARY}", "--months", "2")
    promotion = ("promote", str(trained["version"]), "--to", "production", "--why", "the first")
    answer(*promotion, *IN_SPITE_OF)
    answer("materialize")

    # Offline and online are the same, and so is what a prediction is made of.
    rows = training_set("then")
    with serving(settings.home, environment) as child:
        url = child.command.ready_url.removesuffix("/ready")
        with httpx.Client(base_url=url, timeout=60) as api:
            for machine in rows:
                shown = api.get(f"/features/{machine}").json()["features"]
                values = {name: one["value"] for name, one in shown.items()}
                assert values == {name: rows[machine][name] for name in values}
                told = api.post("/predict", json={"machine_id": machine})
                assert told.json()["features_used"] == values

    # An event of February comes with March's files.
    loaded = load(MARCH, LATE)
    assert loaded["corrected"] == {f"{FEBRUARY}": 1}
    assert answer("reproduce", trained["run_id"])["verdict"] == "identical"
    assert training_set("as known then", "--known-at", trained["known_at"]) == rows
    now = training_set("now", STREAMFLOW_ENGINE="duckdb")
    assert [name for name in rows if now[name] != rows[name]] == ["m-007"]
    assert now["m-007"]["days_since_stop"] == 0

    # Another window needs another name.
    for name, more in (("wider", '"stops_30d": Count(days=31)'), ("more", '"stops_7d": Count(7)')):
        (tmp_path / f"{name}.py").write_text(CHANGED.format(more))
    path = f"{tmp_path}:{environment['PYTHONPATH']}"
    refused = run("apply", "--plan", STREAMFLOW_USE_CASE="wider", PYTHONPATH=path)
    assert refused.returncode != 0
    assert "was Count(days=30)" in " ".join(refused.stdout.split())
    planned = run("apply", "--plan", STREAMFLOW_USE_CASE="more", PYTHONPATH=path)
    assert planned.returncode == 0
    assert "stops.stops_7d: made for all months" in " ".join(planned.stdout.split())

    # A restored home knows the events.
    backup = str(tmp_path / "events.backup")
    answer("backup", backup)
    elsewhere = {
        "STREAMFLOW_HOME": str(tmp_path / "another home"),
        "STREAMFLOW_DATABASE_URL": new_database(),
    }
    if settings.history != "postgres":
        elsewhere["STREAMFLOW_HISTORY"] = f"file://{tmp_path}/another place"
    answer("restore", backup, **elsewhere)
    assert training_set("restored", **elsewhere) == now
    again = ("ingest", str(tmp_path / f"{MARCH}"), "--as-of", f"{MARCH}")
    assert answer(*again, **elsewhere)["stops"]["changes"][0] == "0 events are new"
