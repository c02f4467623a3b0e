"""The engine *spark* reads the history that the other engines read, on a real cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.changing_case import ENTITIES, KEY, month
from tests.engine_story import (
    FEBRUARY,
    Story,
    day,
    everyone,
    in_iceberg,
    new_story,
    opened,
    require_each_moment,
    require_same_models,
    with_unusual_names,
)
from tests.spark.cluster import Cluster

from streamflow.errors import FeatureStoreUnavailable
from streamflow.features.engines.history_database import up_to_date
from streamflow.features.engines.spark_sql import spark_sql
from streamflow.features.feature_join import join_of_today
from streamflow.history.as_of import event_timestamp
from streamflow.history.parquet.history_files import parquet_folder
from streamflow.platform import Platform

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.usefixtures("without_plots", "spark")


@pytest.fixture
def story(ready: Platform, tmp_path: Path) -> Story:
    return new_story(ready, tmp_path / "files [of] {a} *story*?")


def test_training_sets_are_those_of_postgresql_at_each_moment_of_a_history_that_changes(
    story: Story, cluster: Cluster
) -> None:
    with opened(story.ready, "spark", spark_remote=cluster.url) as other:
        require_each_moment(story, other)


@pytest.fixture
def in_files(
    new_database: Callable[..., str], prepared_database: str, tmp_path: Path
) -> Iterator[Story]:
    """The same story with history in Apache Iceberg."""
    location, home = f"file://{tmp_path}/history [of] {{a}} *story*", tmp_path / "another home"
    with in_iceberg(new_database(prepared_database), home, location) as ready:
        yield new_story(ready, tmp_path / "files")


@contextmanager
def spark_over(files: Story, cluster: Cluster) -> Iterator[Platform]:
    history = files.ready.settings.history
    with opened(files.ready, "spark", spark_remote=cluster.url, history=history) as other:
        yield other


def test_training_sets_of_iceberg_are_the_same_at_each_moment_of_a_history_that_changes(
    in_files: Story, cluster: Cluster
) -> None:
    with spark_over(in_files, cluster) as other:
        require_each_moment(in_files, other)


def test_everyone_of_a_month_in_iceberg_has_the_same_features(
    in_files: Story, cluster: Cluster
) -> None:
    with spark_over(in_files, cluster) as other:
        found = [everyone(in_files.ready), everyone(other)]
    assert found[0] == found[1]
    assert len(found[0]) > 20


def test_what_spark_loads_into_iceberg_is_there_for_both(in_files: Story, cluster: Cluster) -> None:
    in_files.load({"readings": month(in_files.shape, 6)["readings"]}, 2, FEBRUARY)
    with spark_over(in_files, cluster) as other:
        by_spark = Story(other, in_files.folder.with_name("loaded by spark"), in_files.shape)
        by_spark.load({"readings": month(in_files.shape, 7)["readings"]}, 3, FEBRUARY)
        require_same_models(in_files, other)


def test_a_model_is_the_same_and_each_engine_reproduces_the_other(
    story: Story, cluster: Cluster
) -> None:
    story.load({"readings": month(story.shape, 6)["readings"]}, 2, FEBRUARY)
    with opened(story.ready, "spark", spark_remote=cluster.url) as other:
        require_same_models(story, other)


def test_everyone_of_a_month_comes_in_the_same_order_with_the_same_features(
    story: Story, cluster: Cluster
) -> None:
    with_unusual_names(story)
    home = story.folder / "home [of] {a} *story*?"
    with opened(story.ready, "spark", home, spark_remote=cluster.url) as other:
        found = [everyone(story.ready), everyone(other)]
        assert [*other.settings.scratch.iterdir()]
    assert found[0] == found[1]
    assert len(found[0]) > 60
    # What was handed over to Spark is removed.
    assert [*home.joinpath("scratch").iterdir()] == []


def test_files_that_executors_cannot_read_are_told_with_what_to_do(
    story: Story, cluster: Cluster
) -> None:
    with opened(story.ready, "spark", spark_remote=cluster.url) as other:
        history, case = up_to_date(other.history, other.use_case), other.use_case
        query = f'SELECT DISTINCT {KEY}, event_timestamp FROM {case.name}."{ENTITIES}_history"'
        job = join_of_today(history, case, day(1)).job(query, event_timestamp(FEBRUARY))
        for file in parquet_folder(other.settings.home).rglob("*.parquet"):
            file.unlink()
        with pytest.raises(FeatureStoreUnavailable) as raised:
            job.to_arrow()
    assert "under the same path" in str(raised.value)


@pytest.mark.parametrize(
    "text", ["it's", "back\\slash", "two\nlines", '"quoted" `both`', "50 %", "ä 𝄞", "\\n", "tab\t"]
)
def test_a_text_in_sql_is_the_same_text_in_spark(spark: SparkSession, text: str) -> None:
    from streamflow.columnar.literals import literal

    query = f'SELECT {literal(text)} AS "a ""b"" `c`", count(*) AS rows FROM of.given'
    translated = spark_sql(query, lambda table, schema: f"{schema}_{table}")
    spark.range(3).createOrReplaceTempView("of_given")
    assert spark.sql(translated).collect() == [(text, 3)]
