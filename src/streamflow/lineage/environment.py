"""The environment of a training: packages, Python, platform, processor, BLAS, threads, seeds."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from streamflow.hashes import Sha256

# The thread counts of numerical libraries, and the seed that orders Python's sets.
RANDOMNESS_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT", "PYTHONHASHSEED"),
)
# Which processor instructions a library may use, which can change the last bit of a result.
KERNEL_VARIABLES = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "MKL_CBWR", "GLIBC_TUNABLES")
RANDOMNESS_PARAMETERS = {"random_state", "seed", "n_jobs", "nthread", "num_threads", "thread_count"}

Parameter = str | int | float | bool | None


@dataclass(frozen=True)
class Processor:
    """`flags` are the names of its instruction sets, sorted; empty where they are unknown."""

    model: str
    flags: list[str]


@dataclass(frozen=True)
class Blas:
    """`architecture` is the kind of processor that the library has chosen its kernels for."""

    package: str
    library: str
    version: str | None
    architecture: str | None


@dataclass(frozen=True)
class Environment:
    """`lock_hash` is over requirements.lock if the checkout has one, else over all versions.

    `kernels` are those environment variables that are set and choose a library's instructions.
    """

    python: str
    platform: str
    lock_hash: Sha256
    versions: dict[str, str]
    processor: Processor
    blas: list[Blas]
    kernels: dict[str, str]


@dataclass(frozen=True)
class Randomness:
    """All that chance and the order of sums depend on.

    `parameters` are the estimator's own, `threads` what the numerical libraries take, `variables`
    those environment variables that are set.
    """

    random_state: int
    parameters: dict[str, Parameter]
    threads: dict[str, int]
    variables: dict[str, str]


def environment(root: Path = Path(__file__).parents[3]) -> Environment:
    """The installed packages, the lock file in `root`, and the machine."""
    versions = _versions()
    lock = root / "requirements.lock"
    locked = lock.read_bytes() if lock.is_file() else json.dumps(versions, sort_keys=True).encode()
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        lock_hash=hashlib.sha256(locked).hexdigest(),
        versions=versions,
        processor=_processor(),
        blas=_blas(),
        kernels=_variables(KERNEL_VARIABLES),
    )


def randomness(random_state: int, parameters: dict[str, Parameter]) -> Randomness:
    """The randomness of a training in this process; `parameters` are all of the estimator's."""
    return Randomness(
        random_state=random_state,
        parameters={
            name: value for name, value in parameters.items() if is_randomness_parameter(name)
        },
        threads=_threads(),
        variables=_variables(RANDOMNESS_VARIABLES),
    )


def is_randomness_parameter(parameter: str) -> bool:
    """Whether an estimator's parameter, such as `classify__random_state`, affects randomness."""
    return parameter.rpartition("__")[2] in RANDOMNESS_PARAMETERS


def _variables(names: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _versions() -> dict[str, str]:
    """By lower-case name. Of a package that is installed twice, Python imports the first."""
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        # `distribution.metadata` parses each package's whole description: twenty times as long.
        text: str = distribution.read_text("METADATA") or ""
        head = text.partition("\n\n")[0]
        found = dict(re.findall(r"^(Name|Version): (.*)$", head, re.MULTILINE))
        if len(found) == 2:
            versions.setdefault(found["Name"].strip().lower(), found["Version"].strip())
    return dict(sorted(versions.items()))


def _processor() -> Processor:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return Processor(platform.processor() or platform.machine(), [])
    found = dict(re.findall(r"^(model name|flags|Features)\s*: (.*)$", text, re.MULTILINE))
    flags = found.get("flags") or found.get("Features") or ""
    return Processor(found.get("model name", platform.machine()), sorted(flags.split()))


@dataclass(frozen=True)
class _Library:
    package: str
    kind: str
    library: str
    version: str | None
    architecture: str | None
    threads: int


def _libraries() -> list[_Library]:
    """The numerical libraries that NumPy, SciPy and scikit-learn bring along; else the system's."""
    import scipy.linalg  # noqa: F401
    import sklearn.utils  # noqa: F401
    from threadpoolctl import threadpool_info

    packages = {"numpy": "numpy", "scipy": "scipy", "scikit_learn": "scikit-learn"}
    found = [
        _Library(
            package=packages.get(Path(one["filepath"]).parent.name.partition(".")[0], "system"),
            kind=one["user_api"],
            library=one["internal_api"],
            version=one["version"],
            architecture=one.get("architecture"),
            threads=one["num_threads"],
        )
        for one in threadpool_info()
    ]
    own = [one for one in found if one.package != "system"]
    return own or found


def _blas() -> list[Blas]:
    blas = [
        Blas(one.package, one.library, one.version, one.architecture)
        for one in _libraries()
        if one.kind == "blas"
    ]
    return sorted(blas, key=lambda one: one.package)


def _threads() -> dict[str, int]:
    threads: dict[str, int] = {}
    for one in _libraries():
        threads[one.kind] = max(one.threads, threads.get(one.kind, 0))
    return dict(sorted(threads.items()))
