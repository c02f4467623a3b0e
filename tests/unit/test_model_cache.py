"""Whatever a registry says, nothing outside the cache and the store of models is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.errors import UnservableModel
from streamflow.registry.model_cache import ModelCache
from streamflow.registry.records import ModelVersion


def version(model_hash: str) -> ModelVersion:
    return ModelVersion("a model", 1, "run", "Production", (), {}, model_hash)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> ModelCache:
    home = tmp_path_factory.mktemp("a home")
    (home / "store" / "run" / "artifacts").mkdir(parents=True)
    (home / "outside" / "artifacts").mkdir(parents=True)
    (home / "store" / "link").symlink_to(home / "outside")
    return ModelCache(home / "models", home / "store")


@given(
    st.one_of(
        st.text(),
        st.text("0123456789abcdefABCDEF/.\n\0", min_size=60, max_size=66),
        st.from_regex("[0-9a-f]{64}"),
    )
)
def test_a_hash_is_64_digits_or_nothing(cache: ModelCache, model_hash: str) -> None:
    is_hash = len(model_hash) == 64 and set(model_hash) <= set("0123456789abcdef")
    if is_hash:
        assert cache.path(version(model_hash)) == cache.folder / model_hash
        return
    with pytest.raises(UnservableModel, match=r"streamflow\.model_hash"):
        cache.path(version(model_hash))


PARTS = st.sampled_from(["..", ".", "", "%2e%2e", "run", "link", "outside", "artifacts", "%2F"])


@given(st.sampled_from(["", "file://", "file:"]), st.lists(PARTS, max_size=6), st.booleans())
def test_a_location_is_in_the_store_or_refused(
    cache: ModelCache, scheme: str, parts: list[str], from_store: bool
) -> None:
    start = str(cache.store) if from_store else ""
    location = f"{scheme}{start}/{'/'.join(parts)}"
    outside = cache.store.parent / "outside"
    try:
        folder: Any = cache.local_folder(version("0" * 64), location, None)
    except UnservableModel:
        pass
    else:
        assert folder.resolve().is_relative_to(cache.store)
        assert folder.is_dir()
    other = cache.store / "other" / "artifacts"
    other.mkdir(parents=True, exist_ok=True)
    for owner in ("run", "outside", "store", "link"):
        cache.remove(owner, location)
    assert (outside / "artifacts").is_dir()
    assert other.is_dir()
    (cache.store / "run" / "artifacts").mkdir(parents=True, exist_ok=True)


def test_what_a_run_had_is_removed_and_nothing_else(cache: ModelCache) -> None:
    other, run = (cache.store / name / "artifacts" for name in ("other", "run"))
    for folder in (other, run, cache.store / "artifacts"):
        folder.mkdir(parents=True, exist_ok=True)
    for location in ("mlflow-artifacts:/run/artifacts", "s3://bucket/run/artifacts", ""):
        cache.remove("run", location)
    cache.remove("store", (cache.store / "artifacts").as_uri())
    cache.remove("run", other.as_uri())
    assert run.is_dir()
    assert other.is_dir()
    cache.remove("run", run.as_uri())
    assert not run.parent.exists()
    assert other.is_dir()


def test_an_empty_location_isnt_this_folder(cache: ModelCache, monkeypatch: Any) -> None:
    monkeypatch.chdir(Path("/"))
    with pytest.raises(UnservableModel):
        cache.local_folder(version("0" * 64), "", None)
