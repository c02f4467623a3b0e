"""A month compared with training's, and its AUC estimated without labels, by NannyML.

    python monitored_by_nannyml.py FOLDER

in an environment of `requirements-nannyml.txt`: nothing of this repository is imported.
FOLDER has `training.parquet`, `month.parquet` and `judged.parquet`. Prints one line of JSON.
"""

import json
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
    import nannyml
    import pandas

    imported = time.perf_counter()
    folder = Path(sys.argv[1])
    training = pandas.read_parquet(folder / "training.parquet")
    month = pandas.read_parquet(folder / "month.parquet")
    features = [name for name in training.columns if name not in ("score", "prediction")]
    texts = [name for name in features if training[name].dtype == object]
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=features,
        treat_as_categorical=texts,
        continuous_methods=["jensen_shannon"],
        categorical_methods=["jensen_shannon"],
        chunk_number=1,
    )
    drift = calculator.fit(training).calculate(month).filter(period="analysis").to_df()
    estimator = nannyml.CBPE(
        problem_type="classification_binary",
        y_pred_proba="score",
        y_pred="prediction",
        y_true="label",
        metrics=["roc_auc"],
        chunk_number=1,
    )
    estimated = estimator.fit(pandas.read_parquet(folder / "judged.parquet")).estimate(month)
    auc = estimated.filter(period="analysis").to_df()["roc_auc", "value"].iloc[0]
    ended = time.perf_counter()
    print(
        json.dumps(
            {
                "import_seconds": imported - started,
                "seconds": ended - imported,
                "mebibytes": mebibytes(),
                "jensen_shannon": {
                    name: float(drift[name, "jensen_shannon", "value"].iloc[0]) for name in features
                },
                "estimated_auc": float(auc),
            }
        )
    )


if __name__ == "__main__":
    main()
