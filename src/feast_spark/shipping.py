"""Files that go to the executors, and where a function there finds them."""

from __future__ import annotations

from pathlib import Path

from pyspark import SparkFiles
from pyspark.sql import SparkSession


def ship(session: SparkSession, file: Path, *, code: bool = False) -> None:
    """Give the file to each executor, also to one that is started later: so it has to stay there
    while the session lasts. With `code` it is an archive that Python imports from.

    Another file by the same name is never sent: name it by its hash. Raises errors of pyspark.
    """
    if "connect" in type(session).__module__.split("."):
        session.addArtifacts(str(file), pyfile=code, file=not code)
    elif code:
        session.sparkContext.addPyFile(str(file))
    else:
        session.sparkContext.addFile(str(file))


def shipped(name: str) -> Path:
    """In an executor: the file by this name."""
    return Path(SparkFiles.get(name))
