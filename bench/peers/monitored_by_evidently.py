"""A month compared with training's by Evidently, which estimates nothing without labels.

    python monitored_by_evidently.py FOLDER

in an environment of `requirements-evidently.txt`: nothing of this repository is imported.
FOLDER has `training.parquet` and `month.parquet`. Prints one line of JSON.
"""

import json
import math
import re
import sys
import time
from pathlib import Path


def mebibytes() -> float:
    """The most memory that this process had; what getrusage says begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def main() -> None:
    """Compare, and print what it took with the figures."""
    started = time.perf_counter()
    import pandas
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    imported = time.perf_counter()
    folder = Path(sys.argv[1])
    training = pandas.read_parquet(folder / "training.parquet")
    month = pandas.read_parquet(folder / "month.parquet")
    features = [name for name in training.columns if name not in ("score", "prediction")]
    texts = [name for name in features if training[name].dtype == object]
    numbers = [name for name in features if name not in texts]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    methods = {"psi": "psi", "jensenshannon": "jensen_shannon"}
    report = Report([ValueDrift(column=name, method=how) for name in features for how in methods])
    compared = report.run(
        Dataset.from_pandas(month[features], data_definition=definition),
        Dataset.from_pandas(training[features], data_definition=definition),
    )
    found = {figure: {} for figure in methods.values()}
    for one in compared.dict()["metrics"]:
        figure = methods[one["config"]["method"]]
        # Its distance is of natural logarithms; ours and NannyML's are in bits.
        unit = math.sqrt(math.log(2)) if figure == "jensen_shannon" else 1.0
        found[figure][one["config"]["column"]] = float(one["value"]) / unit
    ended = time.perf_counter()
    print(
        json.dumps(
            {
                "import_seconds": imported - started,
                "seconds": ended - imported,
                "mebibytes": mebibytes(),
                **found,
            }
        )
    )


if __name__ == "__main__":
    main()
