"""What is told where Spark is missing, doesn't answer, or is lost on the way."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import AbstractContextManager
from importlib import util
from urllib.parse import urlsplit

from streamflow.errors import FeatureStoreUnavailable, InvalidSettings
from streamflow.features.engines.feature_errors import unavailable

_SECONDS = 5.0
_PORTS = {"sc": 15002, "spark": 7077}
_OTHERWISE = "or use STREAMFLOW_ENGINE=duckdb"


def require_spark(remote: str | None) -> None:
    """Raise InvalidSettings if a package or Java is missing here, FeatureStoreUnavailable if a
    server or master that `remote` names doesn't accept connections."""
    for package in ("pyspark", "sqlglot"):
        if util.find_spec(package) is None:
            raise InvalidSettings(
                f"STREAMFLOW_ENGINE=spark needs the package {package}, which isn't installed here.",
                f"Install it: `pip install 'streamflow[spark]'`; {_OTHERWISE}.",
            )
    in_server = (remote or os.environ.get("SPARK_REMOTE", "")).startswith("sc://")
    if not in_server and not _java():
        raise InvalidSettings(
            "STREAMFLOW_ENGINE=spark needs Java 17 or later, and there is none here.",
            "Install it, such as Debian's openjdk-17-jre-headless, or name its folder in "
            f"JAVA_HOME; {_OTHERWISE}.",
        )
    if remote is not None and (addresses := _addresses(remote)):
        failures = [failure for one in addresses if (failure := _failure(*one)) is not None]
        if len(failures) == len(addresses):
            raise FeatureStoreUnavailable(
                f"Spark at {shown(remote)} doesn't answer: {failures[0]}.",
                f"Start it, or correct STREAMFLOW_SPARK_REMOTE; {_OTHERWISE}.",
            )


def spark_errors(remote: str | None, what: str) -> AbstractContextManager[None]:
    """Raise errors of Spark in the block as FeatureStoreUnavailable; `what` says what it was at."""
    return unavailable(f"{what} on Spark ({shown(remote)}) failed", _next)


def shown(remote: str | None) -> str:
    """The remote without what may be a secret in it, such as a token."""
    return "by its own configuration" if remote is None else remote.partition(";")[0]


_STORAGE = (
    "STREAMFLOW_HOME must be on storage that the driver and all executors have under the same path."
)
# By a part of what Spark says, the next step.
_STEPS = {
    "JAVA_GATEWAY_EXITED": "Look above for what Java says; Spark 4 needs Java 17 or later.",
    "Permission denied": "STREAMFLOW_HOME must be readable by the user that executors run as.",
    "PATH_NOT_FOUND": _STORAGE,
    "FILE_NOT_EXIST": _STORAGE,
    "FileNotFoundException": _STORAGE,
    "does not exist": _STORAGE,
}


def _next(said: str) -> str:
    for part, step in _STEPS.items():
        if part in said:
            return step
    return (
        "Nothing half was stored. Run the same command again when Spark is well: its own log, on "
        f"the console above and in the cluster, says more; {_OTHERWISE}."
    )


def _java() -> bool:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin" if home else None) is not None


def _addresses(remote: str) -> list[tuple[str, int]]:
    scheme, _, hosts = remote.partition("://")
    if scheme not in _PORTS:
        return []
    found = []
    for one in hosts.partition("/")[0].partition(";")[0].split(","):
        try:
            parts = urlsplit(f"//{one}")
            found.append((parts.hostname or "", parts.port or _PORTS[scheme]))
        except ValueError as error:
            raise InvalidSettings(
                f"STREAMFLOW_SPARK_REMOTE has no host and port: {error}.",
                f"Write it as {scheme}://host:{_PORTS[scheme]}.",
            ) from error
    return found


def _failure(host: str, port: int) -> str | None:
    try:
        socket.create_connection((host, port), _SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return None
