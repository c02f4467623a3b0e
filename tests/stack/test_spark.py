"""The profile `spark` of compose.yaml: a master and two workers, which score as PostgreSQL does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from tests.stack.conftest import Stack, environment, run

pytestmark = pytest.mark.skipif(
    "STREAMFLOW_LONG_TESTS" not in os.environ, reason="STREAMFLOW_LONG_TESTS=1"
)
CLUSTER = ("spark-master", "spark-worker-1", "spark-worker-2")
SCORES = """
SELECT jsonb_agg(of_one ORDER BY scoring_id) FROM (
    SELECT scoring_id, count(*) AS entities, md5(string_agg(concat_ws(
        ',', entity_id, float8send(probability), label, rank, decile), ';' ORDER BY entity_id))
        AS scores
    FROM streamflow.scores WHERE scoring_id IN ({}, {}) GROUP BY 1) AS of_one
"""


@pytest.fixture(scope="module")
def spark(stack: Stack) -> Iterator[Stack]:
    """The stack with the cluster, as docs/engines.md says."""
    run("make", "images-spark", env=environment())
    try:
        up = ("up", "--detach", "--no-build", "--wait")
        stack.compose("--profile", "spark", *up, *CLUSTER)
        yield stack
    finally:
        stack.compose("--profile", "spark", "rm", "--stop", "--force", *CLUSTER)


def test_workers_in_containers_score_to_the_bit_as_postgresql_does(spark: Stack) -> None:
    assert [name for name in CLUSTER if not spark.is_healthy(name)] == []
    scored = ("score", "--as-of", "2024-02-29", "--json")
    numbers = []
    for service in ("pipeline", "spark-pipeline"):
        # Another moment of knowing is another scoring.
        known_at = datetime.now(UTC).isoformat()
        done = json.loads(
            spark.compose("run", "--rm", "-T", service, *scored, "--known-at", known_at).stdout
        )
        assert done["added"]
        numbers.append(done["scoring_id"])
    psql = ("psql", "--username", "streamflow", "--dbname", "streamflow", "--tuples-only")
    said = spark.compose(
        "exec", "-T", "postgres", *psql, "--command", SCORES.format(*numbers)
    ).stdout
    one, other = json.loads(said)
    assert one["entities"] == other["entities"] > 100
    assert one["scores"] == other["scores"]
