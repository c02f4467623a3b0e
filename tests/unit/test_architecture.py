"""The rules that hold the design together, read off the source and off a fresh interpreter."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

import streamflow
from streamflow import errors

SOURCE = Path(streamflow.__file__).parents[1]
PACKAGES = ("streamflow", "churn", "feast_postgres", "feast_duckdb", "feast_spark", "feast_known")
# It travels with every model under its last name alone, so that it imports itself relatively.
TRAVELLER = SOURCE / "streamflow/training/served_model"

# The rooms that may import these; everybody else goes through them.
ALLOWED = {
    "psycopg": {"streamflow/postgres/", "feast_postgres/"},
    "psycopg_pool": {"streamflow/postgres/", "feast_postgres/"},
    "feast": {
        "streamflow/features/",
        "streamflow/serving/",
        "churn/features.py",
        "feast_postgres/",
        "feast_duckdb/",
        "feast_spark/",
        "feast_known/",
    },
    "duckdb": {"streamflow/columnar/", "feast_duckdb/", "streamflow/history/iceberg/"},
    "pyiceberg": {"streamflow/history/iceberg/"},
    "pyspark": {"feast_spark/"},
    "sqlglot": {"streamflow/features/engines/"},
    "mlflow": {"streamflow/registry/"},
    "fastapi": {"streamflow/api/"},
    "starlette": {"streamflow/api/", "streamflow/console/"},
    "uvicorn": {
        "streamflow/api/",
        "streamflow/operations/api_server.py",
        "streamflow/console/server.py",
    },
    "prometheus_client": {"streamflow/api/telemetry/"},
    "typer": {"streamflow/cli/"},
}
EXTENDING_ICEBERG = (
    "copied_history",
    *("catalog", "compacting", "data_files", "forgotten_rows", "moving", "object_store"),
    *("rewriting", "tables", "unneeded_files", "widening"),
)
MOST_MODULES, MOST_TOP_MODULES = 18, 14
HEAVY = (
    "adbc_driver_manager",
    "adbc_driver_postgresql",
    "feast",
    "lightgbm",
    "matplotlib",
    "mlflow",
    "onnxruntime",
    "pandas",
    "pandera",
    "pyarrow",
    "pyiceberg",
    "pyspark",
    "scipy",
    "skl2onnx",
    "sklearn",
    "sqlglot",
    "treelite",
    "woodelf",
    "xgboost",
    "xlsxwriter",
)
FIGURES = sorted(
    path
    for room in (
        *("promotion/gates", "training/statistics"),
        *("monitoring/rules", "monitoring/statistics"),
    )
    for path in (SOURCE / "streamflow" / room).glob("*.py")
)
PURE = (
    *("training/dataset.py", "training/evaluation.py", "training/feature_importance.py"),
    *("training/fit.py", "training/split.py", "training/values_seen.py"),
    *("training/columns/data_frame.py", "training/columns/estimator.py"),
    "training/calibrated/estimator.py",
    *("training/backtest.py", "training/backtest_conclusions.py"),
    *("promotion/history.py", "promotion/change.py", "promotion/lookup/chain.py"),
    "promotion/admission/admitted.py",
    *("monitoring/alarm.py", "monitoring/counts.py", "monitoring/retraining.py"),
    *("reasons/explanation.py", "reasons/shapley.py", "reasons/forms/trees.py"),
    *("reasons/sentences.py", "reasons/usual.py"),
    *("reasons/forms/onnx_forest.py", "reasons/forms/onnx_linear.py"),
    *("reasons/forms/lightgbm_text.py", "reasons/forms/xgboost_json.py"),
    *("scores/campaigns/effect.py", "scores/campaigns/expected_value.py"),
    *("scores/campaigns/hold_out.py", "scores/campaigns/selection.py"),
    "scores/campaigns/spreadsheet_text.py",
    *(path.relative_to(SOURCE / "streamflow").as_posix() for path in FIGURES),
)
INPUT_AND_OUTPUT = {
    *("asyncio", "ftplib", "http", "io", "logging", "multiprocessing", "os", "pathlib", "pickle"),
    *("requests", "shutil", "smtplib", "socket", "sqlite3", "ssl", "subprocess", "sys"),
    *("tempfile", "threading", "urllib"),
    *(
        "fastapi",
        "feast",
        "feast_postgres",
        "feast_duckdb",
        "feast_spark",
        "feast_known",
        "httpx",
        "mlflow",
        "prometheus_client",
        "psycopg",
    ),
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
            module = node.module
            if path.parent == TRAVELLER and node.level == 1:
                module = f"streamflow.training.{TRAVELLER.name}.{module}"
            else:
                assert node.level == 0, f"{named(path)} has a relative import"
            assert module is not None
            yield from (f"{module}.{alias.name}" for alias in node.names)


def importers(package: str) -> set[str]:
    return {
        named(path)
        for path in modules()
        if any(module.split(".")[0] == package for module in imports(path))
    }


def test_streamflow_never_imports_a_use_case() -> None:
    assert {name for name in importers("churn") if not name.startswith("churn/")} == set()


def test_feasts_plugins_know_neither_streamflow_nor_a_use_case() -> None:
    own = ("feast_postgres/", "feast_duckdb/", "feast_spark/", "feast_known/")
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


@pytest.mark.parametrize("name", PURE)
def test_decisions_are_pure(name: str) -> None:
    path = SOURCE / "streamflow" / name
    found = imports(path)
    assert not {module.split(".")[0] for module in found} & INPUT_AND_OUTPUT
    # What it takes from us is pure as well: names, errors, arithmetic.
    ours = {module for module in found if module.startswith("streamflow.")}
    pure = {f"streamflow.{one.removesuffix('.py').replace('/', '.')}" for one in PURE}
    pure |= {"streamflow.errors", "streamflow.use_case", "streamflow.registry.stages"}
    pure |= {"streamflow.use_case.gates", "streamflow.use_case.value"}
    pure |= {"streamflow.use_case.phrases", "streamflow.use_case.findings"}
    pure |= {"streamflow.training.columns.names"}
    pure |= {"streamflow.training.served_model", "streamflow.progress"}
    pure |= {"streamflow.training.rows.days", "streamflow.training.rows.entities"}
    assert {module for module in ours if module.rpartition(".")[0] not in pure} == set()
    calls = [
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert not {"open", "print", "input", "exec", "eval"} & set(calls)


def test_the_model_that_travels_imports_nothing_of_streamflow() -> None:
    travelling = sorted(TRAVELLER.glob("*.py"))
    assert len(travelling) > 3
    assert not [
        module
        for path in travelling
        for module in imports(path)
        if module.split(".")[0] in PACKAGES
        and not module.startswith("streamflow.training.served_model.")
    ]


def test_each_migration_and_each_decision_has_a_number_of_its_own() -> None:
    root = SOURCE.parent
    for folder in (
        SOURCE / "streamflow" / "postgres" / "sql" / "migrations",
        root / "docs/decisions",
    ):
        numbers = Counter(found.name[:4] for found in folder.glob("[0-9]*"))
        assert [number for number, files in numbers.items() if files > 1] == []
        assert sorted(map(int, numbers)) == list(range(1, len(numbers) + 1)), folder


def test_no_room_is_crowded() -> None:
    sizes = Counter(path.parent for path in modules())
    top = SOURCE / "streamflow"
    assert sizes.pop(top) <= MOST_TOP_MODULES
    assert {named(room): size for room, size in sizes.items() if size > MOST_MODULES} == {}


def rooms() -> list[Path]:
    return sorted(path.parent for path in (SOURCE / "streamflow").glob("*/__init__.py"))


def public_modules(room: Path) -> set[str]:
    """What the room's `__all__` names."""
    tree = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.name)
def test_a_room_says_what_it_is_for_and_names_what_others_may_import(room: Path) -> None:
    about = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert "May import:" in about
    names = public_modules(room)
    missing = {
        name for name in names if not (room / f"{name}.py").exists() and not (room / name).is_dir()
    }
    # Only what use cases import isn't a module.
    assert room.name == "use_case" or missing <= {"history_source"}


def test_nothing_reaches_into_another_rooms_private_modules() -> None:
    reached = set()
    public = {room.name: public_modules(room) for room in rooms()}
    for path in modules():
        own = named(path).split("/")[1] if named(path).startswith("streamflow/") else ""
        for module in imports(path):
            parts = module.split(".")
            if parts[0] == "streamflow" and parts[1] in public and parts[1] != own:
                private_name = any(part.startswith("_") for part in parts)
                if private_name or (len(parts) > 2 and parts[2] not in public[parts[1]]):
                    reached.add(f"{named(path)} -> {module}")
    assert reached == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph(
        "streamflow", "feast_postgres", "feast_duckdb", "feast_spark", "feast_known", "churn"
    )
    in_circles = [
        f"{module} imports {imported}, which leads back to it"
        for module in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(module))
        if graph.chain_exists(imported, module)
    ]
    assert in_circles == []


def test_every_error_is_in_the_tree() -> None:
    for path in modules():
        if path.name != "__main__.py" and named(path).startswith("streamflow/"):
            importlib.import_module(named(path).removesuffix(".py").replace("/", "."))

    def below(kind: type[errors.StreamFlowError]) -> Iterator[type[errors.StreamFlowError]]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    tree = errors.__doc__ or ""
    ours = [one for one in below(errors.StreamFlowError) if one.__module__.startswith("streamflow")]
    assert len(ours) > 40
    assert [one.__name__ for one in ours if not re.search(rf"\b{one.__name__}\b", tree)] == []


def undocumented(path: Path) -> Iterator[str]:
    def below(node: ast.AST, prefix: str) -> Iterator[str]:
        for one in ast.iter_child_nodes(node):
            if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if one.name.startswith("_"):
                    continue
                if ast.get_docstring(one) is None:
                    yield f"{named(path)}: {prefix}{one.name}"
                if isinstance(one, ast.ClassDef):
                    yield from below(one, f"{prefix}{one.name}.")

    yield from below(ast.parse(path.read_text(encoding="utf-8")), "")


def test_every_public_name_has_a_docstring() -> None:
    assert [name for path in modules() for name in undocumented(path)] == []


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
    # What extends a class of a library needs it, and is imported where it is used alone.
    extending = (f"streamflow/history/iceberg/{one}.py" for one in EXTENDING_ICEBERG)
    plugins = ("feast_postgres/", "feast_duckdb/", "feast_spark/", *extending)
    names = [
        named(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in modules()
        if not named(path).startswith(plugins) and path.name != "__main__.py"
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
