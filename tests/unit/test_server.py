from __future__ import annotations

import os
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn
from tests.fakes import direct_http

from streamflow.api.http_protocol import http_protocol
from streamflow.api.middleware import RequestBoundary
from streamflow.operations import api_server
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.registry.model_cache import ModelCache
from streamflow.settings import Settings
from streamflow.use_case import Gates

URL = "postgresql://nobody@localhost/nothing"
SHARED = ("STREAMFLOW_HOME", "STREAMFLOW_DATABASE_URL", "PROMETHEUS_MULTIPROC_DIR")


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve with that many workers; `during` is called in the place of uvicorn."""

    def serve(workers, during, memory=tmp_path / "no such folder"):
        monkeypatch.setattr(api_server, "MEMORY", memory)
        settings = Settings(
            _env_file=None, home=tmp_path / "a home", api_workers=workers, database_url=URL
        )
        database = Database(URL)
        ready = Platform(
            settings=settings,
            database=database,
            use_case=SimpleNamespace(
                name="example", registered_model="example_model", join_key="user_id", gates=Gates()
            ),
            production=None,
            registry=SimpleNamespace(
                model="example_model", cache=ModelCache(tmp_path / "models", tmp_path / "mlflow")
            ),
        )
        monkeypatch.setattr(uvicorn, "run", during)
        monkeypatch.setattr(
            api_server.log, "write_json_to", lambda: None
        )  # the log is the test run's own
        api_server.serve(ready, "127.0.0.1", 8000)

    return serve


@pytest.fixture
def open_files():
    """Sets the number of files that this process may have open, for the test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def allow(number):
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, before[1]))

    yield allow
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_as_many_connections_are_allowed_as_the_system_lets_us(serve, open_files):
    def during(app, **options):
        found.append(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    found = []
    open_files(300)
    serve(1, during)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert found == [min(most, api_server.OPEN_FILES)]


def environment():
    return {name: os.environ.get(name) for name in SHARED}


@pytest.fixture(params=["unset", "set"])
def before(request, monkeypatch):
    """The environment before, without or with the variables that workers are given."""
    for name in SHARED:
        if request.param == "set":
            monkeypatch.setenv(name, f"the user's {name}")
        else:
            monkeypatch.delenv(name, raising=False)
    return environment()


def test_several_workers_find_the_same_home_and_database_and_a_folder_for_their_metrics(
    serve, before, tmp_path
):
    def during(app, **options):
        given.update(environment(), app=app, **options)
        assert Path(given["PROMETHEUS_MULTIPROC_DIR"]).is_dir()

    given = {}
    serve(3, during)
    assert given["STREAMFLOW_HOME"] == str(tmp_path / "a home")
    assert given["STREAMFLOW_DATABASE_URL"] == URL
    assert Path(given["PROMETHEUS_MULTIPROC_DIR"]).parent == tmp_path / "a home" / "metrics"
    assert (given["app"], given["factory"]) == ("streamflow.operations.api_server:worker", True)
    assert (given["host"], given["port"], given["workers"]) == ("127.0.0.1", 8000, 3)


@pytest.mark.parametrize("failure", [None, OSError, KeyboardInterrupt])
def test_the_environment_is_put_back_however_serving_ends(serve, before, tmp_path, failure):
    def during(app, **options):
        assert environment() != before
        (Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) / "counter_1.db").touch()
        if failure is not None:
            raise failure

    if failure is None:
        serve(2, during)
    else:
        with pytest.raises(failure):
            serve(2, during)
    assert environment() == before
    assert list((tmp_path / "a home").glob("metrics/*")) == []


def test_metrics_are_kept_in_memory_where_no_disk_can_be_full(serve, before, tmp_path):
    def during(app, **options):
        given.append(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).parent)

    given = []
    serve(2, during, memory=tmp_path)
    assert given == [tmp_path / f"streamflow-metrics-{os.geteuid()}"]
    assert list((tmp_path / "a home").glob("metrics/*")) == []


def test_two_servers_of_one_home_do_not_share_metrics(serve, before):
    def during(app, **options):
        folders.add(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        if len(folders) < 2:
            serve(2, during)

    folders = set()
    serve(2, during)
    assert len(folders) == 2


def test_a_single_worker_answers_in_this_process_and_changes_nothing(serve, before):
    def during(app, **options):
        given.update(environment=environment(), app=app, **options)

    given = {}
    serve(1, during)
    assert given["environment"] == before
    assert isinstance(given["app"], RequestBoundary)
    assert given["http"] is http_protocol(direct_http())
    assert "workers" not in given


def test_without_a_number_there_is_a_worker_per_core(serve, before, monkeypatch):
    def during(app, **options):
        given.update(options)

    given = {}
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(5)))
    serve(None, during)
    assert given["workers"] == 5
