"""What the stack is made from, held to its promises without starting anything."""

from __future__ import annotations

import re
import runpy
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamflow.settings import Settings

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "environment.py"
OFFICIAL = {"postgres", "prom/prometheus", "grafana/grafana"}
OWN = {"streamflow-full", "streamflow-spark", "streamflow-${STREAMFLOW_API_IMAGE:-api}"}
ONE_SHOT = {"migrate", "pipeline", "backup", "forget", "spark-pipeline"}
EXAMPLE = "# Passwords\nONE_PASSWORD=\nTWO_PASSWORD=\n\n#STREAMFLOW_API_PORT=8000\n"


def drawn_one_by_one() -> Any:
    numbers = iter(range(100))
    return lambda: f"drawn{next(numbers)}"


@pytest.fixture(scope="module")
def complete() -> Any:
    return runpy.run_path(str(SCRIPT))["complete"]


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text())["services"])


def test_each_secret_is_drawn_and_nothing_else_touched(complete: Any) -> None:
    text, drawn = complete(EXAMPLE, None, drawn_one_by_one())
    assert text == EXAMPLE.replace("ONE_PASSWORD=", "ONE_PASSWORD=drawn0").replace(
        "TWO_PASSWORD=", "TWO_PASSWORD=drawn1"
    )
    assert drawn == ["ONE_PASSWORD", "TWO_PASSWORD"]


@pytest.mark.parametrize("end", ["", "\n"])
def test_what_is_there_stays_and_what_is_missing_comes_after_it(complete: Any, end: str) -> None:
    mine = f"# mine\nMINE=\nTWO_PASSWORD=kept{end}"
    text, drawn = complete(EXAMPLE, mine, drawn_one_by_one())
    assert text == "# mine\nMINE=\nTWO_PASSWORD=kept\nONE_PASSWORD=drawn0\n"
    assert drawn == ["ONE_PASSWORD"]
    assert complete(EXAMPLE, text, drawn_one_by_one()) == (text, [])


def test_a_secret_emptied_by_hand_is_drawn_anew(complete: Any) -> None:
    text, drawn = complete(EXAMPLE, "ONE_PASSWORD=\nTWO_PASSWORD=kept\n", drawn_one_by_one())
    assert text == "ONE_PASSWORD=drawn0\nTWO_PASSWORD=kept\n"
    assert drawn == ["ONE_PASSWORD"]


def test_the_file_is_its_owners_alone_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(file)], capture_output=True, text=True, check=True
        )
        text = file.read_text()
        values = dict(re.findall(r"^([A-Z_]+)=(.+)$", text, re.MULTILINE))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert not [value for value in values.values() if value in done.stdout]
        file.chmod(0o644)  # by whoever edits it
    assert "0 secrets drawn" in done.stdout
    assert file.read_text() == text
    assert len(set(values.values())) == len(values) > 10
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in values.values())
    assert list(tmp_path.iterdir()) == [file]


def test_every_secret_that_compose_asks_for_is_drawn() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()))
    drawn = set(re.findall(r"^(\w+)=$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert asked == drawn


# What is another in a container on purpose.
OTHERWISE = {"STREAMFLOW_API_WORKERS"}


def test_a_setting_that_isnt_given_is_what_it_is_without_compose(
    services: dict[str, dict[str, Any]],
) -> None:
    found = {}
    for name in ("api", "pipeline", "console"):
        for variable, value in services[name]["environment"].items():
            field = Settings.model_fields.get(variable.removeprefix("STREAMFLOW_").lower())
            handed_on = re.fullmatch(rf"\$\{{{variable}:-(.*)\}}", value)
            if field is None or handed_on is None or variable in OTHERWISE:
                continue
            default = "" if field.default is None else field.default
            assert type(default)(handed_on[1]) == default, f"{variable} of {name}"
            found[name, variable] = handed_on[1]
    days = "STREAMFLOW_PREDICTION_LOG_DAYS"
    assert found["api", days] == found["pipeline", days]
    assert ("api", "STREAMFLOW_API_KEY_RATE") in found
    assert ("pipeline", "STREAMFLOW_PROMOTE_KEY") in found
    assert ("console", "STREAMFLOW_CONSOLE_HOST_NAMES") in found


def test_every_service_is_held_to_the_same_rules(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        limits = service["deploy"]["resources"]["limits"]
        assert {"memory", "pids"} <= limits.keys(), name
        assert name in ONE_SHOT or service["healthcheck"]["test"], name
        for published in service.get("ports", ()):
            assert str(published).startswith("127.0.0.1:"), name
        for mounted in service.get("volumes", ()):
            assert mounted.endswith(":ro") or not mounted.startswith((".", "/")), name


def test_images_are_official_and_pinned_or_our_own(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        image, _, tag = service["image"].partition(":")
        if service["image"] not in OWN:
            assert image in OFFICIAL, name
            assert re.match(r"v?\d", tag), name
    dockerfile = (ROOT / "Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE)
    sources = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert set(sources) - set(stages) == {"python:3.11-slim-bookworm"}
    assert "syntax" not in dockerfile


def locked(file: str) -> dict[str, set[str]]:
    """Per `name==version` its hashes."""
    entries = re.split(r"\n(?=\S)", (ROOT / file).read_text())
    return {
        re.split(r"[ ;]", entry)[0]: set(re.findall(r"--hash=(sha256:[0-9a-f]{64})", entry))
        for entry in entries
    }


def test_the_slim_image_is_locked_to_the_same_packages() -> None:
    slim, whole = locked("requirements-api.lock"), locked("requirements.lock")
    assert len(slim) > 20
    assert {name: hashes for name, hashes in slim.items() if whole.get(name) != hashes} == {}
    assert all(slim.values())
    names = {name.partition("==")[0] for name in slim}
    assert not names & {"pandas", "scikit-learn", "feast", "mlflow", "scipy", "pyarrow"}


def test_the_full_image_has_the_same_packages_without_the_developers_tools() -> None:
    full, whole = locked("requirements-full.lock"), locked("requirements.lock")
    assert {name: hashes for name, hashes in full.items() if whole.get(name) != hashes} == {}
    assert all(full.values())
    names = {name.partition("==")[0] for name in full}
    assert {"pandas", "feast", "mlflow", "lightgbm", "optuna"} <= names
    assert not names & {"pytest", "ruff", "sphinx", "ipykernel", "playwright"}


def test_spark_has_the_packages_that_score_in_the_versions_of_the_whole() -> None:
    spark, whole = locked("requirements-spark.lock"), locked("requirements.lock")
    names = {name.partition("==")[0] for name in spark}
    assert {"lightgbm", "numpy", "onnxruntime", "pyarrow", "pyspark", "xgboost-cpu"} <= names
    # pyspark and sqlglot are in no other lock.
    versions = {name.partition("==")[0] for name in whole}
    differ = {name for name in spark if name.partition("==")[0] in versions and name not in whole}
    assert differ == set()


def test_workers_of_spark_see_the_home_and_not_the_database(
    services: dict[str, dict[str, Any]],
) -> None:
    driver, workers = services["spark-pipeline"], ["spark-worker-1", "spark-worker-2"]
    assert driver["environment"]["STREAMFLOW_ENGINE"] == "spark"
    for name in workers:
        assert services[name]["volumes"] == ["./deploy/spark:/etc/spark:ro", "pipeline:/state:ro"]
        assert services[name]["networks"] == ["services"]
        assert not [one for one in services[name]["environment"] if "PASSWORD" in one]
    assert "pipeline:/state" in driver["volumes"]
    assert {services[name]["image"] for name in workers} == {driver["image"]}


def test_java_can_load_the_libraries_that_it_unpacks(services: dict[str, dict[str, Any]]) -> None:
    # Docker mounts a tmpfs without the right to execute, unless it's told otherwise.
    for name in ("spark-pipeline", "spark-worker-1", "spark-worker-2"):
        (mounted,) = services[name]["tmpfs"]
        assert mounted.startswith("/tmp:")
        assert "exec" in mounted.split(","), name
