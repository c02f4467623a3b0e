"""Files that go to the executors, and where a function there finds them."""

from __future__ import annotations

from pathlib import Path

from pyspark import SparkFiles
from pyspark.sql import SparkSession


def ship(session: SparkSession, file: Path, *, code: bool = False) -> None:
    """Give the file to each executor, also to one that is started later: so it has to stay there
    while the session lasts. With `code` it is an archive that Python imports from.

    A second file by the same name isn't sent: name it by its hash. Raises errors of pyspark.
    """
    if "connect" in type(session).__module__.split("."):
        session.addArtifacts(str(file), pyfile=code, file=not code)
        return
    # Spark refuses a name that it knows from another folder.
    known = {address.rpartition("/")[2] for address in session.sparkContext.listFiles}
    if file.name in known:
        return
    if code:
        session.sparkContext.addPyFile(str(file))
    else:
        session.sparkContext.addFile(str(file))


def shipped(name: str) -> Path:
    """In an executor: the file by this name."""
    return Path(SparkFiles.get(name))
