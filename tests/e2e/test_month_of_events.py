"""A month of a use case with features from events: `run-month` and `monitor`."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests import event_case
from tests.e2e import forked

from streamflow.settings import Settings

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
MACHINES = 120
IN_SPITE_OF = ("--override", "quality", "--override", "calibration")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"use_case": "tests.event_case"})


@pytest.mark.slow
def test_a_month_of_events_is_loaded_monitored_and_scored_by_one_command(
    environment: dict[str, str], tmp_path: Path
) -> None:
    def answer(*arguments: str, codes: tuple[int, ...] = (0,)) -> Any:
        done = forked.run((*arguments, "--json"), environment, tmp_path)
        assert done.returncode in codes, f"{arguments}: {done.stdout}"
        return json.loads(done.stdout.splitlines()[-1])

    def files(as_of: date) -> str:
        events = event_case.stops(as_of, MACHINES)
        return str(event_case.write(tmp_path / f"{as_of}", as_of, events, MACHINES))

    answer("apply")
    answer("ingest", files(JANUARY), "--as-of", f"{JANUARY}")
    answer("materialize")
    trained = answer("train", "--as-of", f"{JANUARY}")
    promotion = ("promote", str(trained["version"]), "--to", "production", "--why", "the first")
    answer(*promotion, *IN_SPITE_OF)

    # An alarm is no failure: so few machines may move by chance.
    month = ("run-month", files(FEBRUARY), "--as-of", f"{FEBRUARY}")
    said = answer(*month, codes=(0, 3, 4))
    assert said["as_of"] == f"{FEBRUARY}"
    monitored = answer("monitor", "--as-of", f"{FEBRUARY}", codes=(0, 3, 4))
    told = json.dumps(monitored)
    assert all(name in told for name in event_case.AGGREGATIONS)
    scored = answer("score", "--as-of", f"{FEBRUARY}")
    assert f"{MACHINES}" in json.dumps(scored)
    # All of it again: nothing is new.
    answer(*month, codes=(0, 3, 4))
    again = answer("ingest", month[1], "--as-of", f"{FEBRUARY}")
    assert not any(table["added"] for table in again.values())
