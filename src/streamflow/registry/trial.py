"""A model is tried in a process of its own before it is loaded in this one.

A model file can't run code, but it can loop for ever, or take all memory, which nothing inside a
process can stop. The verdict is stored by the model's hash in the model cache, so that each model
is tried once on a machine, by whichever process is first.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from streamflow.private_files import make_folder
from streamflow.registry.model_cache import ModelCache
from streamflow.registry.records import ModelVersion
from streamflow.registry.unservable import package_missing, unservable
from streamflow.scratch import replacement

# Under a heavy load a model that needs half a second waits for much longer.
CPU_SECONDS, WALL_SECONDS = 10, 20
# A machine may have been too busy, so that a refusal isn't for good.
REFUSED_FOR = timedelta(minutes=5)
_LOOK_SECONDS = 1.0
_LOCK_SECONDS = 0.05
# No setting of the API and no password is in the process that reads a stranger's file.
_VARIABLES = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "HOME")


def utc_now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


class Superseded(Exception):
    """The trial was ended, because its outcome isn't wanted any more."""


@dataclass(frozen=True)
class Trials:
    """Tries models, with as much memory as the files in the cache may take.

    `now` returns the time in UTC.
    """

    cache: ModelCache
    now: Callable[[], datetime] = utc_now
    cpu_seconds: int = CPU_SECONDS
    wall_seconds: float = WALL_SECONDS

    def require_passed(
        self, version: ModelVersion, files: Path, wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Return if the model in `files`, whose hash was checked, loads and scores.

        `wanted` is called each second while the trial runs. Raises UnservableModel, Superseded if
        `wanted` returns False.
        """
        deadline = time.monotonic() + self.wall_seconds
        look = time.monotonic() + _LOOK_SECONDS
        with self._lock(version) as is_mine:
            while (verdict := self._stored(version)) is None:
                if is_mine() or time.monotonic() > deadline:
                    try:
                        verdict = self._tried(files, wanted)
                    except OSError as error:
                        raise unservable(version, f"no process can try it: {error}") from error
                    self._store(version, verdict)
                    break
                # Another process tries the same model.
                time.sleep(_LOCK_SECONDS)
                if time.monotonic() > look:
                    look += _LOOK_SECONDS
                    if not wanted():
                        raise Superseded
        if "missing" in verdict:
            raise package_missing(version, verdict["missing"])
        if "refused" in verdict:
            raise unservable(version, verdict["refused"])

    def _tried(self, files: Path, wanted: Callable[[], bool]) -> dict[str, str]:
        deadline = time.monotonic() + self.wall_seconds
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "streamflow.registry.trial_process"),
                *(str(files), str(self.cpu_seconds), str(self.cache.megabytes)),
            ],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            while True:
                try:
                    written, _ = process.communicate(timeout=_LOOK_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if not wanted():
                        raise Superseded from None
                    if time.monotonic() > deadline:
                        return self._ended("it doesn't come back")
        finally:
            process.kill()
            process.communicate()
        if process.returncode == -signal.SIGXCPU:
            return self._ended("it doesn't come back")
        try:
            verdict: dict[str, str] = json.loads(written)
        except ValueError:
            return self._ended(f"it ends the process with {_status(process.returncode)}")
        return verdict

    def _ended(self, what: str) -> dict[str, str]:
        limits = f"{self.cpu_seconds} s and {self.cache.megabytes} MB"
        return {"refused": f"{what} when it is tried, for which it has {limits}"}

    @contextmanager
    def _lock(self, version: ModelVersion) -> Iterator[Callable[[], bool]]:
        """Whether this process is the one that tries the model; it may become so later.

        Where nothing can be written, each process tries for itself.
        """
        try:
            make_folder(self._folder)
            descriptor = os.open(self._file(version, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield lambda: True
            return

        def is_mine() -> bool:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        try:
            yield is_mine
        finally:
            os.close(descriptor)

    def _stored(self, version: ModelVersion) -> dict[str, str] | None:
        """The verdict of an earlier trial with the same limits, release, libraries and Python."""
        try:
            stored = json.loads(self._file(version, "json").read_text(encoding="utf-8"))
            verdict: dict[str, str] = stored["verdict"]
            tried_at = datetime.fromisoformat(stored["tried_at"])
            if stored["conditions"] != self._conditions():
                return None
            if verdict and abs(self.now() - tried_at) > REFUSED_FOR:
                return None
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return verdict

    def _store(self, version: ModelVersion, verdict: dict[str, str]) -> None:
        document = {
            "verdict": verdict,
            "tried_at": self.now().isoformat(),
            "conditions": self._conditions(),
        }
        with suppress(OSError), replacement(self._file(version, "json")) as file:
            file.write_text(json.dumps(document), encoding="utf-8")  # if not, it is tried again

    def _conditions(self) -> dict[str, object]:
        libraries: dict[str, str] = {}
        for name in ("streamflow", "onnxruntime", "lightgbm", "xgboost-cpu"):
            with suppress(metadata.PackageNotFoundError):
                libraries[name] = metadata.version(name)
        limits = [self.cpu_seconds, self.wall_seconds, self.cache.megabytes]
        return {"python": platform.python_version(), "libraries": libraries, "limits": limits}

    def _file(self, version: ModelVersion, kind: str) -> Path:
        return self._folder / f"{self.cache.path(version).name}.{kind}"

    @property
    def _folder(self) -> Path:
        return self.cache.folder / "trials"


def _environment() -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**passed_on, **one_thread, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}


def _status(returncode: int) -> str:
    if returncode >= 0:
        return f"status {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"
