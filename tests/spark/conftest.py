"""One cluster for all of these tests, and one session of Spark in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.spark.cluster import Cluster, Gate, java

from streamflow.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Commands are about machines that fail: models of few rows, trained in a moment."""
    return settings.model_copy(update={"use_case": "tests.tiny_case"})


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if java() is None:
        pytest.skip("there is no Java 17 or later: apt-get install openjdk-17-jre-headless")
    pytest.importorskip("pyspark", reason="make test-spark installs pyspark")
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    before = dict(os.environ)
    try:
        cluster.start()
        os.environ.update(cluster.environment)
        yield cluster
    finally:
        cluster.stop()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def spark(cluster: Cluster) -> Iterator[SparkSession]:
    from feast_spark.session import spark_session

    session = spark_session(cluster.url)
    yield session
    session.stop()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    folder = tmp_path / "gate"
    folder.mkdir()
    return Gate(folder)
