"""Claim: fingerprints add less than 5 % to a training of 1,000,000 rows x 14 features.

The peer is the same training without them: the sum of its other steps. The model is the one with
the fastest fit, so that the share of the fingerprints is the largest. USERS=1000000 by default.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, date, datetime

from bench import report, temporary_folder
from streamflow.bootstrap import platform
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.use_case import Generation

AS_OF = date(2024, 1, 31)
FINGERPRINTS = "fingerprints"


def steps(ready: Platform, model: str) -> dict[str, float]:
    """Seconds per step of one training."""
    seconds: dict[str, float] = {}
    began: tuple[str, float] = ("", time.perf_counter())

    def progress(step: str) -> None:
        nonlocal began
        now = time.perf_counter()
        seconds[began[0]] = seconds.get(began[0], 0.0) + now - began[1]
        began = (step, now)

    train.train(ready, AS_OF, model, 42, datetime.now(UTC), progress)
    progress("")
    return seconds


def main() -> None:
    """Measure, print and write the results."""
    users = int(os.environ.get("USERS", "1000000"))
    with_fingerprints: list[float] = []
    without: list[float] = []
    with temporary_folder() as folder:
        home = folder / "home"
        with platform(load_settings(home=home, database_url=None, use_case="churn")) as ready:
            assert ready.use_case.generate is not None
            ready.use_case.generate(Generation(home / "data", users, 1, 42))
            now = datetime.now(UTC)
            ingest(ready, home / "data" / "month_000", AS_OF, None, now, "bench")
            apply(ready)
            for _ in range(int(os.environ.get("ROUNDS", "2"))):
                seconds = steps(ready, "logistic_regression")
                print({step: round(value, 2) for step, value in seconds.items() if step})
                with_fingerprints.append(sum(seconds.values()))
                without.append(with_fingerprints[-1] - seconds[FINGERPRINTS])
    shares = ", ".join(
        f"{100 * (a - b) / b:.1f} %" for a, b in zip(with_fingerprints, without, strict=True)
    )
    report(
        "fingerprints",
        f"A training of {users:,} rows x 14 features (fingerprints add {shares})",
        "with fingerprints",
        {"with fingerprints": with_fingerprints, "without": without},
    )


if __name__ == "__main__":
    sys.exit(main())
