"""Spark's session, as its user configured it in Spark's own ways."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping

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
}


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
