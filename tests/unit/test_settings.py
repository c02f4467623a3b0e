"""Settings: from where, in which order, and what is said of a wrong one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamflow.errors import InvalidSettings
from streamflow.settings import Settings, load_settings

URL = "postgresql://ann:hunter2@db.example.org/streamflow"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("STREAMFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_without_any_setting_there_is_a_default_for_each(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.home == tmp_path / ".streamflow"
    assert settings.use_case == "churn"
    assert settings.database_url is None
    assert settings.direct_http
    assert (settings.api_host, settings.api_port, settings.mlflow_port) == ("127.0.0.1", 8000, 5000)


def test_overrides_come_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("STREAMFLOW_API_PORT=1001\nSTREAMFLOW_MLFLOW_PORT=1002\n")
    assert (load_settings().api_port, load_settings().mlflow_port) == (1001, 1002)
    monkeypatch.setenv("STREAMFLOW_API_PORT", "2001")
    assert (load_settings().api_port, load_settings().mlflow_port) == (2001, 1002)
    assert load_settings(api_port=3001).api_port == 3001


def test_the_home_is_absolute_so_that_a_child_elsewhere_finds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STREAMFLOW_HOME", "state")
    assert load_settings().home == tmp_path / "state"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STREAMFLOW_HOME", "~/state of mine")
    assert load_settings().home == tmp_path / "state of mine"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("STREAMFLOW_API_PORT", "eighty", "integer"),
        ("STREAMFLOW_API_PORT", "0", "greater than or equal to 1"),
        ("STREAMFLOW_MLFLOW_PORT", "65536", "less than or equal to 65535"),
        ("STREAMFLOW_DIRECT_HTTP", "perhaps", "valid boolean"),
        ("STREAMFLOW_REGISTRY_POLL_SECONDS", "0", "greater than 0"),
        ("STREAMFLOW_REGISTRY_POLL_SECONDS", "60", "less than or equal to 5"),
        ("STREAMFLOW_STALE_FEATURES", "ignore", "'refuse' or 'warn'"),
        ("STREAMFLOW_FRESHNESS_CLOCK", "utc", "'materialized' or 'now'"),
    ],
)
def test_a_bad_value_is_told_with_its_variable_and_what_is_allowed(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert f"{variable}='{value}'" in refused.value.message
    assert said in refused.value.message
    assert variable in refused.value.next


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STREAMFLOW_ROLE_PASSWORDS", "hunter2"),
        ("STREAMFLOW_ROLE_PASSWORDS", '["hunter2"]'),
        ("STREAMFLOW_ROLE_PASSWORDS", '{"api": ["hunter2"]}'),
        ("STREAMFLOW_ROLE_PASSWORDS", '{"nobody": "hunter2"}'),
        ("STREAMFLOW_ONLINE_STORE", '["hunter2"'),
        ("STREAMFLOW_ONLINE_STORE", '"hunter2"'),
    ],
)
def test_a_bad_value_that_may_hold_a_password_is_told_without_it(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert refused.value.message.startswith(variable)
    assert "hunter2" not in str(refused.value)
    assert variable in refused.value.next


def test_an_empty_variable_is_as_if_it_was_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_settings()
    for name in Settings.model_fields:
        monkeypatch.setenv(f"STREAMFLOW_{name.upper()}", "")
    assert load_settings() == before


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("STREAMFLOW_ONLINE_STORE", "[" * 100_000, "nested too deeply"),
        ("STREAMFLOW_HOME", "~nobody-of-this-name/x", "STREAMFLOW_HOME can't be used"),
    ],
)
def test_what_breaks_the_reading_of_settings_is_told(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettings, match=said):
        load_settings()


def test_a_file_of_settings_that_cant_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"STREAMFLOW_API_PORT=\xff\n")
    with pytest.raises(InvalidSettings, match=r"\.env can't be read"):
        load_settings()


def test_a_password_is_shown_nowhere() -> None:
    settings = load_settings(database_url=URL)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == URL
    for shown in (
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
    ):
        assert "hunter2" not in shown


def test_settings_dont_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().api_port = 1


def test_what_belongs_to_others_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFLOW_NOT_OURS", "1")
    monkeypatch.setenv("API_PORT", "1")
    assert load_settings().api_port == 8000


def test_every_setting_that_isnt_plain_says_what_it_is() -> None:
    plain = {"api_port", "console_port", "mlflow_port"}
    assert {name for name, field in Settings.model_fields.items() if not field.description} <= plain
