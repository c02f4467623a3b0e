"""The rules that hold the design together, read off the source and off a fresh interpreter."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import streamflow

SOURCE = Path(streamflow.__file__).parents[1]
PACKAGES = ("streamflow", "churn", "feast_postgres")

# Who may know these; everybody else goes through them.
ALLOWED = {
    "psycopg": {
        "streamflow/postgres/database.py",
        # Only to compose identifiers and to take a URL apart; `database` is who connects.
        "streamflow/features/feature_store.py",
        "streamflow/history/ingest.py",
        "streamflow/features/materialization.py",
        "streamflow/features/online_history.py",
        "streamflow/features/point_in_time.py",
        "streamflow/operations/restore.py",
        "streamflow/postgres/client_programs.py",
        "streamflow/postgres/queries.py",
        "streamflow/postgres/roles.py",
        "feast_postgres/",
    },
    "psycopg_pool": {"streamflow/postgres/database.py", "feast_postgres/"},
    "feast": {
        "streamflow/features/feature_store.py",
        "streamflow/features/sources.py",
        "streamflow/serving/online_store.py",
        "churn/features.py",
        "feast_postgres/",
    },
    "mlflow": {
        "streamflow/registry/mlflow_registry.py",
        # Only what MLflow is told of a model's columns.
        "streamflow/registry/mlflow_signature.py",
    },
}
HEAVY = (
    "feast",
    "lightgbm",
    "matplotlib",
    "mlflow",
    "onnxruntime",
    "pandas",
    "pandera",
    "pyarrow",
    "scipy",
    "skl2onnx",
    "sklearn",
    "xgboost",
)
PURE = ("streamflow/training/fit.py", "streamflow/promotion/gates.py", "streamflow/monitoring.py")
INPUT_AND_OUTPUT = {
    *("asyncio", "ftplib", "http", "io", "logging", "multiprocessing", "os", "pathlib", "pickle"),
    *("requests", "shutil", "smtplib", "socket", "sqlite3", "ssl", "subprocess", "sys"),
    *("tempfile", "threading", "urllib"),
    *("fastapi", "feast", "feast_postgres", "httpx", "mlflow", "prometheus_client", "psycopg"),
    *("psycopg2", "psycopg_pool", "pyarrow", "random", "rich", "sqlalchemy", "typer", "uvicorn"),
}


def modules() -> list[Path]:
    found = [path for package in PACKAGES for path in (SOURCE / package).rglob("*.py")]
    assert len(found) > 30
    return sorted(found)


def named(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that the file imports, in functions too, in full."""
    return frozenset(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{named(path)} has a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(package: str) -> set[str]:
    return {
        named(path)
        for path in modules()
        if any(module.split(".")[0] == package for module in imports(path))
    }


def test_streamflow_never_imports_a_use_case() -> None:
    assert {name for name in importers("churn") if not name.startswith("churn/")} == set()


def test_the_feast_plugin_knows_neither_streamflow_nor_a_use_case() -> None:
    own = ("feast_postgres/",)
    assert {name for name in importers("streamflow") if name.startswith(own)} == set()
    assert {name for name in importers("churn") if name.startswith(own)} == set()


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_only_its_own_modules_import(package: str) -> None:
    strangers = {
        name for name in importers(package) if not name.startswith(tuple(ALLOWED[package]))
    }
    assert strangers == set()
    unused = {
        name
        for name in ALLOWED[package]
        if not any(one.startswith(name) for one in importers(package))
    }
    assert unused == set(), "the list above allows what nobody needs any more"


def test_only_the_database_and_the_plugin_connect() -> None:
    """The others that import psycopg take only what composes SQL."""
    for name in ALLOWED["psycopg"] - {"streamflow/postgres/database.py", "feast_postgres/"}:
        taken = {one for one in imports(SOURCE / name) if one.split(".")[0] == "psycopg"}
        assert taken <= {
            "psycopg.sql",
            "psycopg.conninfo.conninfo_to_dict",
            "psycopg.conninfo.make_conninfo",
        }, name


@pytest.mark.parametrize("name", [name for name in PURE if (SOURCE / name).exists()])
def test_decisions_are_pure(name: str) -> None:
    found = imports(SOURCE / name)
    assert not {module.split(".")[0] for module in found} & INPUT_AND_OUTPUT
    # What it takes from us is pure as well: names, errors, arithmetic.
    ours = {module for module in found if module.startswith("streamflow.")}
    allowed = ("streamflow.errors.", "streamflow.training.served_model.", "streamflow.use_case.")
    assert {module for module in ours if not module.startswith(allowed)} == set()
    calls = [
        node.func.id
        for node in ast.walk(ast.parse((SOURCE / name).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert not {"open", "print", "input", "exec", "eval"} & set(calls)


def test_the_model_that_travels_imports_nothing_of_streamflow() -> None:
    assert not [
        module
        for module in imports(SOURCE / "streamflow/training/served_model.py")
        if module.split(".")[0] in PACKAGES
    ]


def test_no_module_is_longer_than_300_lines() -> None:
    lengths = {
        named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()
    }
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_nobody_loads_what_can_run_code() -> None:
    for package in ("pickle", "joblib", "cloudpickle", "dill", "skops", "marshal", "shelve"):
        assert importers(package) == set()


def fresh(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_help_needs_nothing_heavy() -> None:
    code = """
import json, sys
sys.argv = ["streamflow", "--help"]
from streamflow.cli.main import main
try:
    main()
except SystemExit as left:
    assert left.code == 0
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""
    *shown, loaded = fresh(code).splitlines()
    assert any("ingest" in line for line in shown)
    heavy = {*HEAVY, "fastapi", "numpy", "psycopg", "psycopg2", "sqlalchemy", "uvicorn"}
    assert set(json.loads(loaded)) & heavy == set()


IMPORTING = """
import importlib, json, os, sys, threading

# The numerical libraries look around when they are loaded; that's theirs.
import numpy, psycopg, fastapi, uvicorn, typer, rich.console, pydantic_settings, prometheus_client

done = []


def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.fork", "os.exec", "os.system", "os.putenv",
                         "os.unsetenv", "os.mkdir", "os.remove", "os.rename", "signal.")):
        done.append(event)
    elif event == "open" and isinstance(arguments[2], int):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            done.append(f"open {arguments[0]}")


sys.dont_write_bytecode = True
environment = dict(os.environ)
sys.addaudithook(watch)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps({
    "done": done,
    "environment": dict(os.environ) == environment,
    "threads": threading.active_count(),
    "loaded": sorted({name.split(".")[0] for name in sys.modules}),
}))
"""


def test_importing_does_nothing_and_is_cheap() -> None:
    names = [
        named(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in modules()
        if not named(path).startswith("feast_postgres/") and path.name != "__main__.py"
    ]
    assert {
        "streamflow.cli.main",
        "streamflow.api.app",
        "streamflow.registry.mlflow_registry",
        "churn",
    } <= set(names)
    found = json.loads(fresh(IMPORTING, *names))
    assert found["done"] == []
    assert found["environment"]
    assert found["threads"] == 1
    assert set(found["loaded"]) & set(HEAVY) == set()
