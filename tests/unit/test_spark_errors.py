"""What is told where Spark is missing, doesn't answer, or is lost."""

from __future__ import annotations

import socket
from importlib import util

import pytest

from streamflow.errors import FeatureStoreUnavailable, InvalidSettings
from streamflow.features.engines.spark_errors import require_spark, shown, spark_errors
from streamflow.settings import load_settings


@pytest.fixture
def everything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda _: object())
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/bin/java")
    monkeypatch.delenv("SPARK_REMOTE", raising=False)


@pytest.mark.parametrize("missing", ["pyspark", "sqlglot"])
def test_a_missing_package_is_named_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, everything_is_installed: None, missing: str
) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(InvalidSettings, match=rf"package {missing}.*\n*.*streamflow\[spark\]"):
        require_spark("local[2]")


def test_missing_java_is_told_but_where_a_server_has_it(
    monkeypatch: pytest.MonkeyPatch, everything_is_installed: None
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    for remote in (None, "local", "yarn", "spark://nobody:7077"):
        with pytest.raises(InvalidSettings, match="Java 17"):
            require_spark(remote)
    monkeypatch.setenv("SPARK_REMOTE", "sc://somebody")
    require_spark(None)


@pytest.mark.parametrize("scheme", ["sc", "spark"])
def test_a_remote_that_does_not_answer_is_named_without_its_token(
    everything_is_installed: None, scheme: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        require_spark(f"{scheme}://127.0.0.1:{port}")
    with pytest.raises(FeatureStoreUnavailable) as raised:
        require_spark(f"{scheme}://127.0.0.1:{port}/;token=secret")
    assert f"{scheme}://127.0.0.1:{port}" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_one_of_several_masters_is_enough(everything_is_installed: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = f"127.0.0.1:{listening.getsockname()[1]}"
        require_spark(f"spark://127.0.0.1:1,{there}")


def test_a_remote_without_a_port_that_is_a_number_is_refused(everything_is_installed: None) -> None:
    with pytest.raises(InvalidSettings, match="spark://host:7077"):
        require_spark("spark://here:there")


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("[PATH_NOT_FOUND] Path does not exist: file:/a", "under the same path"),
        ("java.io.FileNotFoundException: /a (Permission denied)", "user that executors run as"),
        ("An error occurred while calling o1:\n: java.io.FileNotFoundException", "the same path"),
        ("Cannot call methods on a stopped SparkContext", "same command again"),
    ],
)
def test_an_error_of_spark_is_told_with_the_next_step(said: str, step: str) -> None:
    with (
        pytest.raises(FeatureStoreUnavailable) as raised,
        spark_errors("sc://host;token=t", "The join"),
    ):
        raise RuntimeError(said)
    assert said.splitlines()[0] in raised.value.message
    assert "token" not in str(raised.value)
    assert step in str(raised.value)


def test_a_remote_of_another_kind_is_refused_without_showing_it() -> None:
    with pytest.raises(InvalidSettings, match="STREAMFLOW_SPARK_REMOTE can't be used") as raised:
        load_settings(spark_remote="http://host;token=secret")
    assert "secret" not in str(raised.value)
    for remote in ("sc://a:1;token=b", "spark://a:1,b:2", "local", "local[2]", "yarn", "k8s://a"):
        assert load_settings(spark_remote=remote).spark_remote == remote
    assert shown(None) == "by its own configuration"
