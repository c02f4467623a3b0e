"""The commands on a standalone cluster, each with a driver of its own, some of which are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.spark.cluster import Cluster

from streamflow.settings import Settings

JANUARY, FEBRUARY = "2024-01-31", "2024-02-29"
PATIENCE_SECONDS = 120


@pytest.fixture
def on_spark(cluster: Cluster, environment: dict[str, str]) -> dict[str, str]:
    return {
        **environment,
        **cluster.environment,
        "STREAMFLOW_ENGINE": "spark",
        "STREAMFLOW_SPARK_REMOTE": cluster.url,
    }


def killed_when(
    there: Callable[[], Any], command: tuple[str, ...], environment: dict[str, str], folder: Path
) -> None:
    """Start the command, and kill it with its driver as soon as something is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streamflow", *command],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + PATIENCE_SECONDS
    while not there():
        assert process.poll() is None, "the command ended by itself"
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_the_story_on_a_cluster(
    on_spark: dict[str, str],
    environment: dict[str, str],
    cli: Callable[..., subprocess.CompletedProcess[str]],
    settings: Settings,
    tmp_path: Path,
) -> None:
    spark = {name: one for name, one in on_spark.items() if environment.get(name) != one}
    scratch = settings.home / "scratch"

    def done(*arguments: str, **engine: str) -> Any:
        ended = cli(*arguments, "--json", **engine)
        assert ended.returncode == 0, f"{arguments}: {ended.stdout}\n{ended.stderr}"
        return json.loads(ended.stdout)

    done("generate", "data", "--users", "200", "--months", "2")
    for number, as_of in enumerate((JANUARY, FEBRUARY)):
        done("ingest", f"data/month_{number:03}", "--as-of", as_of, **spark)
    done("apply", **spark)

    # A driver that is killed in a join leaves nothing half.
    train = ("train", "--as-of", JANUARY)
    killed_when(lambda: [*scratch.glob("*/*.parquet")], train, on_spark, tmp_path)
    assert done("models") == []
    there = done(*train, **spark)
    here = done(*train, STREAMFLOW_ENGINE="duckdb")
    assert there["data_hash"] == here["data_hash"]
    assert there["model_hash"] == here["model_hash"]
    assert done("reproduce", there["run_id"], **spark)["verdict"] == "identical"

    # Nor does one that is killed in a scoring.
    score = ("score", "--as-of", FEBRUARY, "--version", str(there["version"]))
    killed_when(lambda: [*scratch.glob("*/model-*.zip")], score, on_spark, tmp_path)
    scored = done(*score, **spark)
    assert scored["added"]
    assert scored["entities"] > 100
    assert not done(*score, **spark)["added"]

    materialized = done("materialize", "--as-of", FEBRUARY, **spark)
    assert materialized
