"""A standalone master of Spark with two workers, as processes on loopback, and what kills them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

# What an administrator would write in spark-defaults.conf: all that isn't ours to say.
DEFAULTS = """
spark.driver.memory 768m
spark.executor.memory 640m
spark.executor.cores 1
spark.cores.max 2
spark.driver.host 127.0.0.1
spark.driver.bindAddress 127.0.0.1
spark.ui.enabled false
spark.ui.showConsoleProgress false
spark.sql.shuffle.partitions 4
spark.sql.session.timeZone America/New_York
"""
LOGGING = """
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %p %c{1}: %m%n
logger.daemons.name = org.apache.spark.deploy
logger.daemons.level = info
"""
_SECONDS = 60


@dataclass
class Cluster:
    """`environment` is what a program needs to use it as its administrator configured it."""

    folder: Path
    url: str = ""
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        import pyspark

        return {
            "SPARK_HOME": str(Path(pyspark.__file__).parent),
            "SPARK_CONF_DIR": str(self.folder),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.folder / "scratch"),
            "SPARK_DAEMON_MEMORY": "192m",
            "PYSPARK_PYTHON": str(self.folder / "python"),
        }

    def start(self) -> None:
        (self.folder / "spark-defaults.conf").write_text(DEFAULTS)
        (self.folder / "log4j2.properties").write_text(LOGGING)
        # Executors have the installed packages, and not what is installed by its source: ours.
        python = self.folder / "python"
        packages = sysconfig.get_path("purelib")
        python.write_text(
            f'#!/bin/sh\nPYTHONPATH="{packages}:$PYTHONPATH" exec "{sys.executable}" -S "$@"\n'
        )
        python.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        self.url = f"spark://127.0.0.1:{port}"
        ports = ["--port", str(port), "--webui-port", "0"]
        self._start("master", "master.Master", ports, "I have been elected leader")
        for name in ("first", "second"):
            self.start_worker(name)

    def start_worker(self, name: str) -> None:
        # For two drivers, one of which is these tests' own.
        options = ["--cores", "2", "--memory", "1280m", "--webui-port", "0"]
        options += ["--work-dir", str(self.folder / name), self.url]
        self._start(name, "worker.Worker", options, "Successfully registered with master")

    def _start(self, name: str, main: str, options: list[str], ready: str) -> None:
        command = [
            f"{self.environment['SPARK_HOME']}/bin/spark-class",
            f"org.apache.spark.deploy.{main}",
            "--host",
            "127.0.0.1",
            *options,
        ]
        process = subprocess.Popen(
            command,
            env={**os.environ, **self.environment},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes[name] = process
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if ready in line:
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return
        raise AssertionError(f"{name} of Spark didn't start:\n{''.join(lines)}")

    def kill(self, name: str) -> None:
        """Kill a process with all that it started: a worker with its executors."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for name in [*self.processes]:
            self.kill(name)

    @contextmanager
    def killing_a_worker(self, gate: Gate) -> Iterator[list[str]]:
        """While the block runs, a worker is killed as soon as one of its tasks is at the gate.
        Afterwards there is another one. The list has the worker's name then."""
        killed: list[str] = []

        def kill() -> None:
            if place := gate.wait_for_task():
                killed.append(Path(place).relative_to(self.folder).parts[0])
                self.kill(killed[0])
                gate.open()

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            yield killed
        finally:
            gate.give_up()
            thread.join()
            for name in killed:
                self.start_worker(name)


@dataclass(frozen=True)
class Gate:
    """Where one task of a job waits until somebody opens it; files, as executors are processes."""

    folder: Path

    def in_front_of(self, frame: DataFrame) -> DataFrame:
        """The same rows; the first task to read some waits at the gate before it has any."""
        return frame.mapInArrow(_waiting(str(self.folder)), frame.schema)

    def wait_for_task(self) -> str | None:
        """The working directory of the task at the gate, once it is there."""
        for _ in range(_SECONDS * 20):
            if (self.folder / "given up").exists():
                return None
            with suppress(OSError):
                return (self.folder / "reached").read_text() or None
            threading.Event().wait(0.05)
        return None

    def open(self) -> None:
        (self.folder / "open").touch()

    def give_up(self) -> None:
        (self.folder / "given up").touch()


def _waiting(folder: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    # A function inside of a function goes to the executors with its code.
    def wait(batches):  # type: ignore[no-untyped-def]
        import os
        import time

        for batch in batches:
            if batch.num_rows:
                try:
                    file = os.open(f"{folder}/reached", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                except FileExistsError:
                    pass
                else:
                    os.write(file, os.getcwd().encode())
                    os.close(file)
                    for _ in range(1200):
                        if os.path.exists(f"{folder}/open"):
                            break
                        time.sleep(0.05)
            yield batch

    return wait


def java() -> str | None:
    """Java's version, if it is there and new enough for Spark 4."""
    try:
        said = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr
    except OSError:
        return None
    found = re.search(r'version "(\d+)', said)
    return found[1] if found and int(found[1]) >= 17 else None
