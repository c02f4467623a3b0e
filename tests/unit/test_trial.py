"""A model's trial: one that loops, takes all memory or crashes ends a process that isn't ours."""

from __future__ import annotations

import json
import stat
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.fakes import FEATURES, schema
from tests.orchard import orchard, small_forest

from streamflow.errors import UnservableModel
from streamflow.registry import trial
from streamflow.registry.model_cache import ModelCache
from streamflow.registry.records import ModelVersion
from streamflow.registry.trial import REFUSED_FOR, Superseded, Trials
from streamflow.registry.trial_process import rows
from streamflow.training import served_model
from streamflow.training.export import write
from streamflow.training.fit import fit

NOW = datetime(2024, 3, 1, tzinfo=UTC)


class Models:
    """Models in a cache, and trials of them with small limits."""

    def __init__(self, home: Path) -> None:
        self.cache = ModelCache(home / "models", home / "store", megabytes=200)
        self.now = NOW
        self.trials = Trials(self.cache, lambda: self.now, cpu_seconds=2, wall_seconds=20)

    def put(self, *nodes: Any, **files: bytes) -> tuple[ModelVersion, Path]:
        """A version whose graph has these nodes, which make `probabilities`."""
        folder = self.cache.folder / "new"
        folder.mkdir(parents=True)
        (folder / served_model.SCHEMA_FILE).write_text(schema(*FEATURES).to_json())
        (folder / "model.onnx").write_bytes(graph(*nodes))
        return self.registered(folder)

    def registered(self, folder: Path) -> tuple[ModelVersion, Path]:
        model_hash = served_model.digest(folder)
        version = ModelVersion("orchard", 3, "run", "Production", (), {}, model_hash)
        return version, folder.rename(self.cache.folder / model_hash)


def graph(*nodes: Any) -> bytes:
    features = helper.make_tensor_value_info("features", TensorProto.DOUBLE, [None, None])
    outputs = [
        helper.make_tensor_value_info("labels", TensorProto.INT64, None),
        helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, None),
    ]
    half = numpy_helper.from_array(np.array([[0.25, 0.75]]), "half")
    zero = numpy_helper.from_array(np.array([0.0, 0.0]).reshape(1, 2), "nothing")
    one = numpy_helper.from_array(np.array([1], np.int64), "axis")
    made = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["features", "axis"], ["sum"], keepdims=1),
            helper.make_node("Mul", ["sum", "nothing"], ["zeros"]),
            *(nodes or [helper.make_node("Add", ["zeros", "half"], ["probabilities"])]),
            helper.make_node("ArgMax", ["probabilities"], ["labels"], axis=1, keepdims=0),
        ],
        "g",
        [features],
        outputs,
        [half, zero, one],
    )
    opset = [helper.make_opsetid("", 17)]
    model: bytes = helper.make_model(made, opset_imports=opset, ir_version=8).SerializeToString()
    return model


def endless() -> list[Any]:
    """A loop whose condition stays true."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["value", "half"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.DOUBLE, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.DOUBLE, None),
        ],
    )
    true = numpy_helper.from_array(np.array(True), "true")
    return [
        helper.make_node("Constant", [], ["true"], value=true),
        helper.make_node("Loop", ["", "true", "zeros"], ["probabilities"], body=body),
    ]


def large(megabytes: int) -> list[Any]:
    """A constant of so many megabytes, in a file of a few hundred bytes."""
    shape = numpy_helper.from_array(np.array([megabytes * 125_000], np.int64), "shape")
    zero = numpy_helper.from_array(np.array([0.0]), "zero")
    return [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["large"], value=zero),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("Add", ["zeros", "most"], ["still zeros"]),
        helper.make_node("Add", ["still zeros", "half"], ["probabilities"]),
    ]


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(tmp_path)


def test_a_model_that_scores_passes(models: Models) -> None:
    models.trials.require_passed(*models.put())


@pytest.mark.parametrize("name", ["forest", "lightgbm"])
def test_every_kind_of_model_that_is_served_passes(name: str, models: Models) -> None:
    from churn.model import MODELS

    folder = models.cache.folder / "new"
    write(fit(orchard(), MODELS.get(name, small_forest), 42), folder)
    replace(models.trials, cpu_seconds=15).require_passed(*models.registered(folder))


def test_a_constant_within_the_limit_passes(models: Models) -> None:
    models.trials.require_passed(*models.put(*large(50)))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("megabytes", [300, 1000, 1_000_000])
def test_a_model_that_takes_too_much_memory_is_refused(megabytes: int, models: Models) -> None:
    with pytest.raises(UnservableModel, match="200 MB"):
        models.trials.require_passed(*models.put(*large(megabytes)))


def test_a_model_that_never_comes_back_is_refused_and_its_process_is_gone(models: Models) -> None:
    version, folder = models.put(*endless())
    with pytest.raises(UnservableModel, match=r"Version 3 of 'orchard' .* doesn't come back"):
        models.trials.require_passed(version, folder)
    assert not list(children())


def children() -> list[psutil.Process]:
    """The processes that try a model, below this one."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if any("trial_process" in word for word in process.cmdline()):
                found.append(process)
    return found


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("model.onnx", b"not a model", "InvalidProtobuf|Failed"),
        ("model.onnx", b"", "Failed|INVALID|Invalid"),
        ("model.lightgbm.txt", b"tree\nversion=v4\n", "cut short"),
        (served_model.SCHEMA_FILE, b"{}", "Error"),
    ],
)
def test_a_file_that_isnt_a_model_is_refused(
    file: str, content: bytes, told: str, models: Models
) -> None:
    folder = models.cache.folder / "new"
    folder.mkdir(parents=True)
    (folder / served_model.SCHEMA_FILE).write_text(schema(*FEATURES).to_json())
    (folder / file).write_bytes(content)
    with pytest.raises(UnservableModel, match=told):
        replace(models.trials, cpu_seconds=15).require_passed(*models.registered(folder))


def test_rows_have_every_null_and_category_that_is_allowed() -> None:
    columns = rows(schema(*FEATURES))
    assert columns["plan"][:3] == ["basic", "basic", "family"]
    assert None in columns["coupon"]
    assert None not in columns["visits"]
    assert {len(values) for values in columns.values()} == {4}


# The verdict is kept.


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    started: list[int] = []
    whole = trial.subprocess.Popen

    def popen(*arguments: Any, **named: Any) -> Any:
        process = whole(*arguments, **named)
        started.append(process.pid)
        return process

    monkeypatch.setattr(trial.subprocess, "Popen", popen)
    return started


def test_a_model_is_tried_once_and_a_refusal_again_after_a_while(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = counting(monkeypatch)
    good, bad = models.put(), models.put(helper.make_node("Log", ["zeros"], ["probabilities"]))

    def refused() -> int:
        with pytest.raises(UnservableModel, match="probability"):
            models.trials.require_passed(*bad)
        return len(started)

    for _ in range(3):
        models.trials.require_passed(*good)
    assert len(started) == 1
    assert [refused(), refused()] == [2, 2]
    models.now += REFUSED_FOR + timedelta(seconds=1)
    assert refused() == 3
    models.trials.require_passed(*good)
    assert len(started) == 3
    # With other limits the verdict is another one.
    looser = replace(models.trials, cpu_seconds=3)
    looser.require_passed(*good)
    assert len(started) == 4


def test_another_release_tries_a_refused_model_at_once(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = counting(monkeypatch)
    bad = models.put(helper.make_node("Log", ["zeros"], ["probabilities"]))
    version = trial.metadata.version
    for release in ("0.1.0", "0.1.0", "0.2.0"):
        monkeypatch.setattr(
            trial.metadata,
            "version",
            lambda name, release=release: release if name == "streamflow" else version(name),
        )
        with pytest.raises(UnservableModel, match="probability"):
            models.trials.require_passed(*bad)
    assert len(started) == 2


def test_verdicts_are_for_this_account_alone_and_what_isnt_one_is_none(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = counting(monkeypatch)
    version, folder = models.put()
    models.trials.require_passed(version, folder)
    kept = models.cache.folder / "trials"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in kept.iterdir()} == {0o600}
    file = kept / f"{version.model_hash}.json"
    whole = json.loads(file.read_text())
    for damaged in ("", "{}", "[]", json.dumps({**whole, "tried_at": 5}), '{"verdict": null}'):
        file.write_text(damaged)
        before = len(started)
        models.trials.require_passed(version, folder)
        assert len(started) == before + 1
    assert {path.suffix for path in kept.iterdir()} == {".json", ".lock"}


def test_several_processes_try_a_model_once(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = counting(monkeypatch)
    version, folder = models.put()
    threads = [
        threading.Thread(target=models.trials.require_passed, args=(version, folder))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 1


def test_without_a_place_for_the_verdict_the_model_is_tried_all_the_same(models: Models) -> None:
    version, folder = models.put()
    (models.cache.folder / "trials").write_text("a file where the folder should be")
    models.trials.require_passed(version, folder)


def test_a_trial_that_isnt_wanted_any_more_ends_at_once(models: Models) -> None:
    version, folder = models.put(*endless())
    patient = replace(models.trials, cpu_seconds=60)
    began = time.monotonic()
    with pytest.raises(Superseded):
        patient.require_passed(version, folder, lambda: False)
    assert time.monotonic() - began < patient.wall_seconds
    assert not children()
    assert not list((models.cache.folder / "trials").glob("*.json"))


def test_who_waits_for_anothers_trial_is_asked_too(models: Models) -> None:
    version, folder = models.put()
    with models.trials._lock(version) as is_mine:
        assert is_mine()
        with pytest.raises(Superseded):
            models.trials.require_passed(version, folder, lambda: False)


def test_no_password_is_in_the_process_that_reads_the_file(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMFLOW_DATABASE_URL", "postgresql://ann:hunter2@db")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    assert not [name for name in trial._environment() if "STREAMFLOW" in name or "MLFLOW" in name]
