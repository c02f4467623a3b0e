"""Spark's session, as its user configured it in Spark's own ways."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pyspark.sql import SparkSession

# Of the session's SQL, on which values depend. What a cluster's administrator decides (memory,
# cores, files, networks) is in none of these.
_SQL = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    # Two columns may differ in case alone, as they may in PostgreSQL.
    "spark.sql.caseSensitive": "true",
    # Feast's own store turns it on: names in quotes would be patterns.
    "spark.sql.parser.quotedRegexColumnNames": "false",
    # Of files whose columns have numbers, by which they are found where a schema has them.
    "spark.sql.parquet.fieldId.read.enabled": "true",
}


_lock = threading.Lock()
# How many blocks use the session, and whether it was there before the first of them.
_blocks, _found = 0, False


@contextmanager
def running_session(
    remote: str | None = None, configuration: Mapping[str, str] | None = None
) -> Iterator[SparkSession]:
    """`spark_session` while the block runs. The session is ended with the last of such blocks,
    unless the program had started it before the first."""
    global _blocks, _found
    with _lock:
        if not _blocks:
            _found = SparkSession.getActiveSession() is not None
        session = spark_session(remote, configuration)
        _blocks += 1
    try:
        yield session
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks and not _found:
                session.stop()


def spark_session(
    remote: str | None = None, configuration: Mapping[str, str] | None = None
) -> SparkSession:
    """The process's session, started at the first call.

    `remote` is a Spark Connect server (`sc://host:port`) or a master (`spark://host:port`,
    `local[2]`, `yarn`); without it, what Spark's own configuration says. Times of day are in UTC.
    Raises errors of pyspark.
    """
    warnings.filterwarnings("ignore", "The spark (data source|offline store)", RuntimeWarning)
    builder = SparkSession.builder
    if remote is not None and remote.startswith("sc://"):
        builder = builder.remote(remote)
    elif remote is not None:
        if remote.startswith("local"):
            # This machine is the whole cluster: its processes are of this very Python.
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = builder.master(remote)
    for name, value in (configuration or {}).items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    for name, value in _SQL.items():
        session.conf.set(name, value)
    return session
