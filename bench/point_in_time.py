"""Claim: a training set from Feast's point-in-time join, without the planner's nested loops.

Peer: Feast's own PostgreSQL offline store, as its documentation configures it, same tables, same
entities, same feature service. USERS=7043 by default; the peer's time grows with its square.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from bench import interleaved, report, temporary_folder
from streamflow.bootstrap import platform
from streamflow.features import feature_store
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.settings import load_settings
from streamflow.use_case import Generation

AS_OF = date(2024, 1, 31)


def main() -> None:
    """Measure, print and write the results."""
    users = int(os.environ.get("USERS", "7043"))
    with temporary_folder() as folder:
        home = folder / "home"
        with platform(load_settings(home=home, database_url=None, use_case="churn")) as ready:
            use_case = ready.use_case
            assert use_case.generate is not None
            use_case.generate(Generation(home / "data", users, 1, 42))
            now = datetime.now(UTC)
            ingest(ready, home / "data" / "month_000", AS_OF, None, now, "bench")
            apply(ready)
            entities = (
                "SELECT user_id, event_timestamp FROM users_history "
                f"WHERE as_of = DATE '{AS_OF.isoformat()}'"
            )
            ours = feature_store.open_store(ready.database.url, use_case, datetime.now(UTC))
            peer = _peer_store(ready.database.url, use_case)

            def timed(store: Any) -> Callable[[], float]:
                def run() -> float:
                    started = time.perf_counter()
                    service = store.get_feature_service(use_case.feature_service)
                    table = store.get_historical_features(entities, service).to_arrow()
                    assert table.num_rows == users
                    return time.perf_counter() - started

                return run

            seconds = interleaved(
                {"StreamFlow": timed(ours), "Feast's PostgreSQL store": timed(peer)}, rounds=3
            )
    report(
        "point_in_time",
        f"Point-in-time join of {users:,} users x 14 features in four views",
        "StreamFlow",
        seconds,
    )


def _peer_store(url: str, use_case: Any) -> Any:
    from feast import FeatureStore, RepoConfig

    configuration = feature_store.configuration(url, use_case)
    configuration["offline_store"]["type"] = "postgres"
    return FeatureStore(config=RepoConfig(**configuration))


if __name__ == "__main__":
    sys.exit(main())
