"""A month compared with training's, and its AUC estimated without labels, by `streamflow monitor`.

    python -m bench.peers.monitored_by_streamflow HOME AS_OF

Prints one line of JSON. PostgreSQL, which counts, is a process of its own and runs already.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

from bench import peak_mebibytes


def main() -> None:
    """Monitor the month, and print what it took with the figures."""
    started = time.perf_counter()
    from streamflow.bootstrap import platform
    from streamflow.pipeline.month.monitor import monitor
    from streamflow.settings import load_settings

    imported = time.perf_counter()
    home, as_of = Path(sys.argv[1]), date.fromisoformat(sys.argv[2])
    with platform(load_settings(home=home, database_url=None, use_case="churn")) as ready:
        made = monitor(ready, as_of, datetime.now(UTC), version=1).monitored
        ended = time.perf_counter()
    compared = {
        one.what: one.figures for one in made.of("feature") if one.compared_with == "training"
    }
    estimates = [one.figures.get("auc") for one in made.of("estimate")]
    realized = [
        one.figures.get("auc")
        for one in made.of("quality")
        if one.what == "all users" and one.figures["month"] == as_of.isoformat()
    ]
    figures = {
        figure: {name: one[figure] for name, one in compared.items() if figure in one}
        for figure in ("psi", "jensen_shannon", "shares")
    }
    print(
        json.dumps(
            {
                "import_seconds": imported - started,
                "seconds": ended - imported,
                "mebibytes": peak_mebibytes(),
                **figures,
                "estimated_auc": estimates[0] if estimates else None,
                "realized_auc": realized[0] if realized else None,
            }
        )
    )


if __name__ == "__main__":
    main()
