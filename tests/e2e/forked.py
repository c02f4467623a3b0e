"""`streamflow …` in a process that is forked from one with the heavy libraries imported already.

Importing Feast and MLflow is most of a command's time. A test that runs many commands, where other
tests run the same ones from scratch, can save it; all else is as if it was typed.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

LIBRARIES = [
    *(
        "feast",
        "feast.infra.registry.sql",
        "mlflow.pyfunc",
        "mlflow.store.tracking.sqlalchemy_store",
    ),
    *("mlflow.store.model_registry.sqlalchemy_store", "matplotlib.pyplot", "onnxruntime"),
    *("pandera.pandas", "pyarrow.csv", "skl2onnx", "sklearn.ensemble", "sklearn.linear_model"),
]


def run(
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    folder: Path,
    kill_after: float | None = None,
    patience: float = 240,
) -> subprocess.CompletedProcess[str]:
    """The command's end: its exit code and what it wrote; -9 if it was killed after so many
    seconds. Raises AssertionError if it takes longer than `patience` (seconds)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    output = folder / f"output-{'-'.join(arguments).replace('/', '-')}"
    process = context.Process(target=_main, args=(arguments, dict(environment), folder, output))
    process.start()
    try:
        process.join(patience if kill_after is None else kill_after)
        if kill_after is not None:
            process.kill()
            process.join()
        assert process.exitcode is not None, f"{arguments} takes too long"
    finally:
        process.kill()
        process.join()
    written = output.read_text() if output.exists() else ""  # killed before it began
    return subprocess.CompletedProcess(arguments, process.exitcode, written, written)


def _main(
    arguments: tuple[str, ...], environment: dict[str, str], folder: Path, output: Path
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    # As an interpreter that starts would have it.
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["streamflow", *arguments]
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from streamflow.cli.main import main

    main()
