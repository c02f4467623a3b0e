"""The process in which a model is tried: `python -m streamflow.registry.trial_process …`.

Arguments: the model's folder, seconds of processor time, megabytes of memory. It loads the model,
scores a few rows and writes one line of JSON: `{}` if that went well, `{"refused": why}`, or
`{"missing": package}`. A model that loops or takes too much ends the process, and nothing else.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

from streamflow.training import served_model
from streamflow.training.served_model import Feature, FeatureSchema, Labels, Matrix

# Their own memory isn't the model's.
_LIBRARIES = {
    served_model.COLUMNS_FILE: "onnxruntime",
    "model.onnx": "onnxruntime",
    "model.lightgbm.txt": "lightgbm",
    "model.xgboost.json": "xgboost",
}
_MAX_ROWS = 64
_MAX_TEXT = 300


def main() -> None:
    """Try the model that the arguments name."""
    folder, seconds, megabytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # What libraries print isn't an outcome.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _limit_time(seconds)
    print(json.dumps(outcome(folder, megabytes)), file=output, flush=True)


def outcome(folder: Path, megabytes: int) -> dict[str, str]:
    """Load and score within so much memory more than now, and say what came of it."""
    try:
        for file, library in _LIBRARIES.items():
            if (folder / file).exists():
                importlib.import_module(library)
        _limit_memory(megabytes)
        reason = _fault(folder)
    except ModuleNotFoundError as error:
        return {"missing": str(error.name)}
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError) or "alloc" in text:
            limit = f"{megabytes} MB of memory (STREAMFLOW_MODEL_MEGABYTES)"
            return {"refused": f"it takes more than {limit}"}
        return {"refused": text[:_MAX_TEXT]}
    return {"refused": reason} if reason else {}


def _fault(folder: Path) -> str | None:
    model = served_model.load(folder)
    columns = rows(model.schema)
    labels, probabilities = model.predict(columns)
    return scores_fault(labels, probabilities, max(map(len, columns.values()), default=0))


def scores_fault(labels: Labels, probabilities: Matrix, number: int) -> str | None:
    """What is wrong with a model's scores of `number` rows, in words that follow its name."""
    if len(labels) != number or len(probabilities) != number:
        return f"it returns {len(labels)} labels for {number} rows"
    for label, probability in zip(labels.tolist(), probabilities.tolist(), strict=True):
        if label not in (0, 1) or math.isnan(probability) or not 0.0 <= probability <= 1.0:
            return f"it returns label {label}, probability {probability}"
    return None


def rows(schema: FeatureSchema) -> dict[str, list[object]]:
    """Rows of plain values, then rows with each allowed null and category in turn, as columns."""
    plain = {feature.name: plain_value(feature) for feature in schema.features}
    varied = [
        {**plain, feature.name: value}
        for feature in schema.features
        for value in [*feature.categories, *([None] if feature.takes_null else [])]
    ]
    some = [plain, *varied][:_MAX_ROWS]
    return {name: [row[name] for row in some] for name in plain}


def plain_value(feature: Feature) -> bool | int | float | str | None:
    """A value of the feature's type that training has seen, if it is a STRING."""
    if feature.type == "STRING":
        return feature.categories[0] if feature.categories else None
    return {"INT64": 0, "FLOAT64": 0.0, "BOOL": False}[feature.type]


def _limit_time(seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with suppress(OSError):  # on another system than Linux
        # Where memory is short all the same, this process goes first, and not the API.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _limit_memory(megabytes: int) -> None:
    """Only what the process writes counts: maps of files and reserved addresses are free."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return  # other systems than Linux don't hold the limit
    used = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
    most = used * 1024 + megabytes * 1_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main()
