"""One script per claim: StreamFlow and a peer on the same data in the same run, interleaved.

Each prints a table with medians, the ratio and the machine, and writes `bench/results/NAME.json`.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Cores, memory, operating system and Python of this machine, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def peak_mebibytes() -> float:
    """The most memory that this process has had in use, in MiB.

    `ru_maxrss` isn't it: a new process begins with its parent's.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that other users may enter: started by root, PostgreSQL runs as another user."""
    with tempfile.TemporaryDirectory(prefix="streamflow-bench-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        yield folder


def interleaved(
    contestants: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Seconds per contestant and round; each round runs all of them in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            seconds[name].append(run())
    return seconds


def report(name: str, claim: str, ours: str, seconds: Mapping[str, list[float]]) -> None:
    """Print medians and how many times `ours` is faster, and write them to the results."""
    medians = {contestant: statistics.median(runs) for contestant, runs in seconds.items()}
    print(f"{claim}\n{machine()}\n")
    for contestant, median in medians.items():
        spread = f"{min(seconds[contestant]):.2f} to {max(seconds[contestant]):.2f}"
        ratio = "" if contestant == ours else f"   {median / medians[ours]:.1f} times ours"
        print(f"{contestant:<40} {median:9.2f} s  ({spread}){ratio}")
    print()
    RESULTS.mkdir(exist_ok=True)
    result = {"claim": claim, "machine": machine(), "seconds": seconds, "medians": medians}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
