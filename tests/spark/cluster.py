"""A standalone master of Spark with two workers, as processes on loopback, and what kills them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

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
logger.server.name = org.apache.spark.sql.connect.service
logger.server.level = info
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
            f"""#!/bin/sh
            if [ -e "{self.hold}" ]; then pwd >"{self.held}"; fi
            while [ -e "{self.hold}" ]; do sleep 0.05; done
            PYTHONPATH="{packages}:$PYTHONPATH" exec "{sys.executable}" -S "$@"
            """
        )
        python.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        self.url = f"spark://127.0.0.1:{port}"
        ports = ["--port", str(port), "--webui-port", "0"]
        self._start("master", "master.Master", ports, "I have been elected leader")
        for name in ("first", "second"):
            self.start_worker(name)

    @property
    def hold(self) -> Path:
        """While this file is there, Python waits in executors before it starts, which they ask for
        at the first task that needs it; `held` has the working directory of one of them."""
        return self.folder / "hold"

    @property
    def held(self) -> Path:
        return self.folder / "held"

    def start_worker(self, name: str) -> None:
        # For two drivers, one of which is these tests' own.
        options = ["--cores", "2", "--memory", "1280m", "--webui-port", "0"]
        options += ["--work-dir", str(self.folder / name), self.url]
        self._start(name, "worker.Worker", options, "Successfully registered with master")

    def start_connect_server(self, port: int) -> str:
        """Start a server of Spark Connect, which is the driver of all who come to it; its URL."""
        options = ["--master", self.url, "--conf", f"spark.connect.grpc.binding.port={port}"]
        server = "org.apache.spark.sql.connect.service.SparkConnectServer"
        command = ["spark-submit", *options, "--class", server]
        self._run("server", command, "Spark Connect server started", memory="768m")
        return f"sc://127.0.0.1:{port}"

    def _start(self, name: str, main: str, options: list[str], ready: str) -> None:
        daemon = ["spark-class", f"org.apache.spark.deploy.{main}", "--host", "127.0.0.1"]
        self._run(name, [*daemon, *options], ready)

    def _run(self, name: str, command: list[str], ready: str, memory: str | None = None) -> None:
        program, *options = command
        more = {} if memory is None else {"SPARK_DAEMON_MEMORY": memory}
        process = subprocess.Popen(
            [f"{self.environment['SPARK_HOME']}/bin/{program}", *options],
            env={**os.environ, **self.environment, **more},
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

    def worker_of(self, executor: Path) -> str:
        """The worker that the executor with this working directory belongs to."""
        return executor.relative_to(self.folder).parts[0]

    @contextmanager
    def stopped(self, workers: set[str]) -> Iterator[None]:
        """While the block runs, these workers and their executors stand still."""
        groups = [self.processes[name].pid for name in sorted(workers)]
        for group in groups:
            os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            for group in groups:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGCONT)

    def in_a_join(self, driver: Driver, act: Callable[[str], None]) -> str | None:
        """Call `act` with the name of a worker that has a task of a join, while it stands still;
        returns the name, or None if there is no such task.

        For whoever calls it until then: workers stand still most of the time, so that no join comes
        to its end unseen. Raises OSError if the driver doesn't answer.
        """
        workers = {self._worker(one) for one in driver.executors()}
        with self.stopped(workers):
            # The driver hands out tasks to executors that stand still, too.
            time.sleep(0.3 if workers else 0)
            joining = driver.executors_with_tasks("Join")
            found = self._worker(joining[0]) if joining else None
            if found is not None:
                act(found)
        time.sleep(0.1)
        return found

    @contextmanager
    def holding_python(self) -> Iterator[Callable[[], str | None]]:
        """While the block runs, executors that start Python wait. What is yielded tells the name of
        a worker of one that waits."""

        def holder() -> str | None:
            with suppress(FileNotFoundError):
                place = self.held.read_text().strip()
                return self.worker_of(Path(place)) if place else None
            return None

        self.hold.touch()
        try:
            yield holder
        finally:
            self.hold.unlink()
            self.held.unlink(missing_ok=True)

    def _worker(self, executor: str) -> str:
        (folder,) = self.folder.glob(f"*/{executor}")
        return self.worker_of(folder)

    @contextmanager
    def killing_a_worker(self, gate: Gate) -> Iterator[list[str]]:
        """While the block runs, a worker is killed as soon as one of its tasks is at the gate.
        Afterwards there is another one. The list has the worker's name then."""
        killed: list[str] = []

        def kill() -> None:
            if place := gate.wait_for_task():
                killed.append(self.worker_of(Path(place)))
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
class Driver:
    """A driver of Spark that tells at a port of loopback what runs, as `environment` asks it to."""

    port: int

    @property
    def environment(self) -> dict[str, str]:
        options = {"spark.ui.enabled": "true", "spark.ui.port": str(self.port)}
        words = [f"--conf {name}={value}" for name, value in options.items()]
        return {"PYSPARK_SUBMIT_ARGS": " ".join([*words, "pyspark-shell"])}

    def executors(self) -> list[str]:
        """The executors that have registered, each as APPLICATION/NUMBER."""
        application = self._application()
        found = self._told(f"/{application}/executors")
        return [f"{application}/{one['id']}" for one in found if one["id"] != "driver"]

    def executors_with_tasks(self, step: str) -> list[str]:
        """Those that run a task of a query with this step in its plan."""
        application = self._application()
        jobs = {
            job
            for query in self._told(f"/{application}/sql")
            if step in query["planDescription"]
            for job in query["runningJobIds"]
        }
        stages = {
            stage
            for job in self._told(f"/{application}/jobs?status=running")
            if job["jobId"] in jobs
            for stage in job["stageIds"]
        }
        return [
            f"{application}/{task['executorId']}"
            for stage in self._told(f"/{application}/stages?status=active&details=true")
            if stage["stageId"] in stages
            for task in stage["tasks"].values()
            if task["status"] == "RUNNING"
        ]

    def _application(self) -> str:
        found = self._told("")
        if not found:
            raise ConnectionError("the driver isn't ready")
        return str(found[0]["id"])

    def _told(self, address: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/applications{address}"
        with urlopen(url, timeout=30) as answer:
            content = answer.read()
        try:
            return json.loads(content)
        except ValueError:
            # While it starts, it answers with a sentence.
            raise ConnectionError("the driver isn't ready") from None


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
