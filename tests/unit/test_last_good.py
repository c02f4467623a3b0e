from __future__ import annotations

import os
import shutil

import pytest
from tests.fakes import FakeRegistry, assert_problem, eventually, model, serving

from streamflow.registry.model_cache import LastServed, ModelCache
from streamflow.training import served_model


def kept_in(folder):
    return ModelCache(folder, store=folder.parent)


class World:
    """A registry, and the disk that outlives each API over it."""

    def __init__(self, cache):
        self.cache = cache
        self.registry = FakeRegistry()

    def promote(self, version, served):
        """Promote it, with files of its own in the cache, as a download leaves them."""
        folder = self.cache / "new"
        folder.mkdir(parents=True)
        (folder / served_model.SCHEMA_FILE).write_text(f"version {version}")
        model_hash = served_model.digest(folder)
        folder.rename(self.cache / model_hash)
        self.registry.promote(version, served, model_hash)
        return self.cache / model_hash / served_model.SCHEMA_FILE

    def start(self):
        return serving(self.registry, last_served=LastServed(kept_in(self.cache), "example_model"))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "models")


def test_a_start_without_the_registry_goes_on_with_what_answered_last(world):
    for version in (1, 2):
        world.promote(version, model(version / 10))
        with world.start() as service:
            assert service.version() == version
    world.registry.down = True
    with world.start() as service:
        assert service.predict().json()["probability"] == 0.2
        answer = service.client.get("/ready")
        assert (answer.status_code, answer.json()["model"]["version"]) == (200, 2)
        assert answer.json()["model"]["registry"]["code"] == "mlflow_unavailable"
        assert 'streamflow_dependency_up{dependency="registry"} 0.0' in service.metrics()
        world.registry.down = False
        world.promote(3, model(0.3))
        eventually(lambda: service.version() == 3)


def test_files_that_were_tampered_with_are_not_gone_on_with(world, log):
    file = world.promote(1, model(0.1))
    with world.start():
        pass
    file.write_text("something else")
    world.registry.down = True
    with world.start() as service:
        assert_problem(service.predict(), 503, "mlflow_unavailable")
        (told,) = log.lines("last_good_unavailable")
        assert told["code"] == "unservable_model"
        file.write_text("version 1")
        eventually(lambda: service.version() == 1)


def test_what_was_archived_is_not_brought_back(world):
    world.promote(1, model(0.1))
    with world.start() as service:
        world.registry.archive()
        eventually(lambda: service.version() is None)
    world.registry.down = True
    with world.start() as service:
        assert_problem(service.predict(), 503, "mlflow_unavailable")


def test_a_version_that_cannot_be_served_is_no_reason_to_forget_the_last_good_one(world):
    world.promote(1, model(0.1))
    with world.start() as service:
        world.promote(2, ValueError("not a model"))
        eventually(lambda: "refused" in service.client.get("/ready").json()["model"])
        assert service.version() == 1
    for down in (False, True):
        world.registry.down = down
        with world.start() as service:
            assert service.version() == 1


def test_a_store_that_is_away_at_the_start_is_no_reason_to_forget_either(world):
    world.promote(1, model(0.1))
    with world.start() as service:
        online = service.online
    online.down()
    last_served = LastServed(kept_in(world.cache), "example_model")
    with serving(world.registry, online, last_served=last_served) as service:
        assert_problem(service.predict(), 503, "feature_store_unavailable")
        world.registry.down = True
        eventually(lambda: "registry" in service.client.get("/ready").json()["model"])
        online.failure = None
        eventually(lambda: service.version() == 1)


def test_a_disk_that_cannot_be_written_costs_no_prediction_and_is_tried_again(
    world, log, monkeypatch
):
    full = True
    replace = os.replace

    def replacing(*names):
        if full:
            raise OSError(28, "No space left on device")
        replace(*names)

    monkeypatch.setattr(os, "replace", replacing)
    world.promote(1, model(0.1))
    with world.start() as service:
        assert service.version() == 1
        world.promote(2, model(0.2))
        eventually(lambda: service.version() == 2)
        assert len(log.lines("last_good_unavailable")) == 1
        full = False
        eventually(lambda: log.lines("last_good_answers_again"))
    world.registry.down = True
    with world.start() as service:
        assert service.version() == 2


def test_what_was_remembered_stays_until_the_next_is_whole(tmp_path, monkeypatch):
    world = World(tmp_path)
    world.promote(1, model(0.1))
    last_served = LastServed(kept_in(tmp_path), "a model/of ours")
    last_served.record(world.registry.current)
    told, folder = last_served.read()
    assert (told.version, told.run_id, folder.parent) == (1, "run-1", tmp_path)
    before = sorted(tmp_path.iterdir())

    world.promote(2, model(0.2))
    monkeypatch.setattr(os, "fsync", lambda descriptor: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        last_served.record(world.registry.current)
    assert last_served.read()[0].version == 1
    added = set(tmp_path.iterdir()) - set(before)
    assert [path.name for path in added] == [world.registry.current.model_hash]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_version_that_a_full_disk_cannot_take_is_tried_again_and_the_one_before_goes_on(
    world, monkeypatch
):
    world.promote(1, model(0.1))
    copyfile, full = shutil.copyfile, True

    def copying(*files, **options):
        if full:
            raise OSError(28, "No space left on device")
        return copyfile(*files, **options)

    monkeypatch.setattr(shutil, "copyfile", copying)
    registered = world.cache.parent / "registered"
    kept = kept_in(world.cache)
    world.registry.download = lambda version: (
        kept.cached(version) or kept.files(version, lambda _: registered)
    )
    with world.start() as service:
        assert service.version() == 1
        file = world.promote(2, model(0.2))
        file.parent.rename(registered)
        eventually(lambda: "refused" in service.client.get("/ready").json()["model"])
        told = service.client.get("/ready").json()["model"]["refused"]
        assert told["detail"].endswith("can't be kept on disk: No space left on device.")
        assert (told["version"], service.version()) == (2, 1)
        full = False
        eventually(lambda: service.version() == 2)
