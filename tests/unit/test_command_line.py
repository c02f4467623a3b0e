"""The command line as a whole: options that are given once, help, and errors of any kind."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st

from streamflow.cli import failure_details, main
from streamflow.cli.failure_details import redacted
from streamflow.cli.terminal import without_untold
from streamflow.errors import InvalidSettings

NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)
PROGRAM = typer.main.get_command(main.app)


class Ended:
    """How the program ended: its exit code and what it printed."""

    def __init__(self, code: object, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `streamflow …` in this process, in a home of its own."""
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STREAMFLOW_USE_CASE", "tests.tiny_case")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["streamflow", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Ended(ended.value.code, out, err)

    return run


def commands(program: Any = PROGRAM, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every command with its words."""
    for name, command in program.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield command, (*path, name)


def options() -> Iterator[Any]:
    for command, path in commands():
        for option in command.params:
            if option.param_type_name == "option":
                yield pytest.param(path, option, id=f"{' '.join(path)} {option.opts[0]}")


def given_twice(option: Any) -> list[str]:
    once = option.opts[:1] if option.is_flag else [option.opts[0], "1"]
    return [*once, *once]


@pytest.mark.parametrize(("path", "option"), options())
def test_an_option_that_is_given_twice_is_refused_but_for_lists(
    run: Run, path: tuple[str, ...], option: Any
) -> None:
    ended = run(*path, *given_twice(option))
    refused = f"{option.opts[0]} is given 2 times"
    if option.multiple:
        assert refused not in ended.out + ended.err
        assert path in (("keys", "create"), ("backtest",), ("promote",))
    else:
        assert ended.code == 2
        assert refused in ended.out + ended.err


def test_an_option_in_two_forms_is_given_twice_too(run: Run) -> None:
    ended = run("train", "--as-of=2024-01-31", "--as-of", "2024-02-29", "--json")
    assert json.loads(ended.out)["message"] == "--as-of is given 2 times; give it once."


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=" ".join(path))
        for command, path in commands()
        if any(parameter.required for parameter in command.params)
    ],
)
def test_what_is_missing_is_named(run: Run, path: tuple[str, ...]) -> None:
    ended = run(*path)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: Missing ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("generate data --users 0", "--users"),
        (
            "backtest --from 2024-01-31 --to 2024-02-29 --plot /proc/curve.png",
            "/proc/curve.png can't be written: ",
        ),
        ("generate data --months -1", "--months"),
        ("generate data --seed -1", "--seed"),
        ("generate data --drift -0.5", "--drift"),
        ("demo --users 0", "--users"),
        ("feast-config THIS_FILE", "is a file"),
        ("generate THIS_FILE", "is a file"),
        ("serve --port 65536", "--port"),
        ("train --as-of 2024-01-31 --random-state -1", "--random-state"),
        ("train --as-of 2024-01-31 --random-state 4294967296", "--random-state"),
        ("train --as-of 31.1.2024", "'31.1.2024' isn't a day such as 2024-01-31"),
        ("ingest data --as-of 2023-02-29", "'2023-02-29' isn't a day"),
        ("materialize --as-of x", "'x' isn't a day"),
        ("promote 1 --why x --to prod", "'--to': 'prod' is not one of 'staging', 'production'"),
        ("prune --keep 1 --older-than soon", "isn't a duration such as 180d"),
        ("rollback --why=", "Say why"),
        ("rollback --why \u2003\udcff", "isn't text in UTF-8"),
        ("promote 1 --to production --why=\u3000", "Say why"),
        ("keys create --scope read --from-environment NOT_THERE", "no variable NOT_THERE"),
        ("keys create --scope \udcff", "isn't text in UTF-8"),
        ("explain-prediction \udcff", "isn't text in UTF-8"),
        ("predict \udcff", "isn't text in UTF-8"),
        ("predict \u202e", "'\\u202e' is no id, which is 1 to 64 characters"),
        (f"predict {'x' * 65}", "is no id"),
        ("train --as-of 2024-01-31 --known-at x", "'x' isn't a time"),
        (
            "ingest data --as-of 2024-01-31 --recorded-at 0001-01-01T00:00:00+14:00",
            "'0001-01-01T00:00:00+14:00' isn't a time",
        ),
    ],
)
def test_a_value_that_cant_be_used_is_told_as_wrong_usage(
    run: Run, arguments: str, said: str, tmp_path: Path
) -> None:
    # The folder of the clone may have a space in its name.
    ended = run(*(__file__ if one == "THIS_FILE" else one for one in arguments.split(" ")))
    assert (ended.code, ended.out) == (2, "")
    first, next_line = ended.err.splitlines()
    assert said in first
    assert next_line.startswith(f"next:  See `streamflow {arguments.split()[0]}")
    assert next_line.endswith(" --help`.")
    assert list(tmp_path.iterdir()) == []


ONE_BOUND = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 1.0]))


@given(st.lists(st.tuples(ONE_BOUND, ONE_BOUND), min_size=1, max_size=3))
def test_an_auc_that_cant_be_told_has_no_bounds_in_json(bounds: list[Any]) -> None:
    told = [(None, None) if one == (0, 1) else one for one in bounds]
    each = [{"figures": {"auc": 0.7, "auc_low": low, "auc_high": high}} for low, high in bounds]
    shown = [{"figures": {"auc": 0.7, "auc_low": low, "auc_high": high}} for low, high in told]
    assert without_untold({"models": each}) == {"models": shown}
    both = {"2024/auc_low": [one[0] for one in bounds], "2024/auc_high": [one[1] for one in bounds]}
    assert without_untold(both) == {
        "2024/auc_low": [one[0] for one in told],
        "2024/auc_high": [one[1] for one in told],
    }


def test_a_program_without_a_command_shows_its_help(run: Run) -> None:
    for arguments in ((), ("keys",)):
        ended = run(*arguments)
        assert ended.code == 2
        assert "Usage: streamflow" in ended.out + ended.err
        assert "error:" not in ended.err


def test_help_may_be_asked_for_twice(run: Run) -> None:
    assert run("train", "--help", "--help").code == 0


@pytest.mark.parametrize(
    ("use_case", "key"),
    [("tests.tiny_case", "MACHINE_ID"), ("churn", "USER_ID"), ("nothing.there", "ID")],
)
def test_help_names_the_use_case_s_own_key(
    run: Run, monkeypatch: pytest.MonkeyPatch, use_case: str, key: str
) -> None:
    monkeypatch.setenv("STREAMFLOW_USE_CASE", use_case)
    monkeypatch.setenv("COLUMNS", "100")
    shown = run("predict", "--help").out
    assert f"streamflow predict {key}" in shown
    assert f"[{key}]" in shown
    assert {"USER_ID", "MACHINE_ID", "ID"} & set(re.findall(r"\w+", shown)) == {key}


def test_help_of_a_command_has_no_placeholder(run: Run) -> None:
    for command, path in commands():
        texts = [command.help, command.epilog, *(one.help for one in command.params)]
        if any("{" in (text or "") for text in texts):
            assert not re.search(r"\{key\}", run(*path, "--help").out, re.IGNORECASE)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes the command `status` raise an error."""

    def fail_with(error: BaseException) -> None:
        def fail(settings: object) -> None:
            raise error

        monkeypatch.setattr("streamflow.operations.status.status", fail)

    return fail_with


Failing = Callable[[BaseException], None]


def details(home: Path) -> list[Path]:
    return sorted((home / "logs" / "errors").glob("*"))


@pytest.mark.parametrize("files", [("/a/file",), ("/where/from", None, "/a/file")])
def test_a_full_disk_is_told_as_that_and_nothing_more_is_written(
    run: Run, failing: Failing, tmp_path: Path, files: tuple[str, ...]
) -> None:
    failing(OSError(errno.ENOSPC, "No space left on device", *files))
    ended = run("status")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines() == [
        "error: `streamflow status` failed: the disk is full: /a/file.",
        "next:  Make room on that disk, and run the command again.",
    ]
    assert details(tmp_path / "home") == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("x"), "KeyError: 'x'."),
        (ValueError(), "ValueError."),
        (ValueError("first\nsecond"), "ValueError: first."),
        (ValueError("x" * 1_500_000), "x" * 100 + " …."),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (MemoryError(), "isn't enough memory"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/file"), "denied: /a/file"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "Broken pipe."),
        (UnicodeEncodeError("ascii", "ß", 0, 1, "no"), "UnicodeEncodeError"),
    ],
)
def test_an_error_that_nothing_foresaw_is_one_line_and_a_file(
    run: Run, failing: Failing, tmp_path: Path, error: Exception, said: str
) -> None:
    failing(error)
    ended = run("status")
    assert (ended.code, ended.out) == (1, "")
    first, next_line = ended.err.splitlines()
    assert first.startswith("error: `streamflow status` failed: ")
    assert said in first
    assert len(first) < 400
    (file,) = details(tmp_path / "home")
    assert next_line.startswith("next:  ")
    assert str(file) in next_line
    text = file.read_text()
    assert "Traceback (most recent call last)" in text
    assert type(error).__name__ in text
    assert len(text) < 200_000
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_with_json_such_an_error_is_json_on_standard_output(run: Run, failing: Failing) -> None:
    failing(KeyError("x"))
    ended = run("status", "--json")
    told = json.loads(ended.out)
    assert (ended.code, ended.err, told["error"]) == (1, "", "internal_error")


def test_a_command_whose_exit_code_1_is_a_verdict_fails_with_2(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(settings: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("streamflow.bootstrap.load_use_case", fail)
    for arguments in (("reproduce", "--all"), ("explain-prediction", "x")):
        ended = run(*arguments)
        assert ended.code == 2
        assert "error: " in ended.err


def test_ctrl_c_is_no_error(run: Run, failing: Failing, tmp_path: Path) -> None:
    failing(KeyboardInterrupt())
    ended = run("status")
    assert (ended.code, ended.out, ended.err) == (130, "", "")
    assert details(tmp_path / "home") == []


def test_details_go_elsewhere_where_the_home_can_t_be_written(
    run: Run, failing: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "home").write_text("a file")
    failing(KeyError("x"))
    assert str(tmp_path / "temporary") in run("status").err
    (tmp_path / "temporary").chmod(0o755)
    monkeypatch.setattr(failure_details, "folders", lambda: [tmp_path / "home"])
    assert "can't be written" in run("status").err


def test_settings_that_fail_in_an_unforeseen_way_are_told_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail() -> None:
        raise KeyError("x")

    monkeypatch.setattr("streamflow.settings.load_settings", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run("status").code == 1


def test_only_the_newest_details_are_kept(tmp_path: Path) -> None:
    for number in range(failure_details.FILES_KEPT + 5):
        at = NOW + timedelta(seconds=number)
        last = failure_details.write(KeyError("x"), [], [tmp_path / "errors"], at, [])
    kept = sorted((tmp_path / "errors").iterdir())
    assert len(kept) == failure_details.FILES_KEPT
    assert kept[-1] == last


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "errors").symlink_to(tmp_path / "elsewhere")
    assert failure_details.write(KeyError("x"), [], [tmp_path / "errors"], NOW, []) is None
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_no_secret_of_the_settings_is_in_the_details(
    run: Run, failing: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "STREAMFLOW_DATABASE_URL": "postgresql://me:s3cr%21et@localhost/x",
        "STREAMFLOW_API_KEY": "a-key-of-theirs",
        "STREAMFLOW_ROLE_PASSWORDS": '{"api": "apipassphrase"}',
        "STREAMFLOW_ONLINE_STORE": '{"type": "redis", "connection_string": "h,password=redispass"}',
        "STREAMFLOW_MLFLOW_TRACKING_URI": "http://user:trackerpass@127.0.0.1:1",
        "MLFLOW_TRACKING_TOKEN": "tokentoken",
        "PGPASSWORD": "from-libpq",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    hidden = ["s3cr%21et", "s3cr!et", "a-key-of-theirs", "apipassphrase", "redispass"]
    hidden += ["trackerpass", "tokentoken", "from-libpq"]
    failing(ValueError(" and ".join([*hidden, *secrets.values()])))
    ended = run("status")
    (file,) = details(tmp_path / "home")
    told = ended.err + file.read_text()
    assert [secret for secret in hidden if secret in told] == []


secret_texts = st.text(
    st.characters(codec="ascii", exclude_categories=["C", "Z"], exclude_characters="'\""),
    min_size=4,
    max_size=40,
)


@given(secret_texts)
@example("a/b@c:d")
def test_a_password_in_a_url_is_never_told(password: str) -> None:
    text = redacted(f"can't open postgresql://me:{password}@host/db, sorry", [])
    assert text == "can't open postgresql://me:***@host/db, sorry"


@given(secret_texts, st.sampled_from(["password={}", "token: '{}'", '"api_key": "{}"']))
def test_what_is_named_a_secret_is_never_told(secret: str, form: str) -> None:
    if not form.endswith(("'", '"')):
        secret = re.sub(r"[,;&)}]", "x", secret)
    told = redacted(f"x {form.format(secret)} y", [])
    assert told.startswith("x ")
    assert told.endswith("*** y")


def test_an_error_that_says_what_to_do_has_no_file(
    run: Run, failing: Failing, tmp_path: Path
) -> None:
    failing(InvalidSettings("It can't be used.", "Correct it."))
    ended = run("status")
    assert (ended.code, ended.err) == (1, "error: It can't be used.\nnext:  Correct it.\n")
    assert not (tmp_path / "home").exists()


PRINTING = """
import sys

number_of_tables = int(sys.argv.pop())
from streamflow.cli import main
from streamflow.cli.terminal import print_table
from streamflow.operations import status

def print_much(settings):
    for number in range(number_of_tables):
        print_table("rows", ["n"], [[number]] * 100)
    return []

status.status = print_much
main.main()
"""


@pytest.mark.parametrize("tables", ["0", "100"])
def test_a_reader_that_goes_away_is_no_error(tables: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PRINTING, "status", tables],
        env={**os.environ, "STREAMFLOW_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_output_that_can_t_be_written_is_told(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", PRINTING, "status", "1"],
            env={**os.environ, "STREAMFLOW_HOME": str(tmp_path)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 1
    assert "the disk is full" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_character_that_the_terminal_lacks_is_no_error(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "streamflow", "train", "--as-of", "schön \u2713\udcff", "--json"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (2, b"")


def test_ctrl_c_while_the_program_loads_leaves_no_traceback() -> None:
    code = """
import signal, sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupted())
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
from streamflow.__main__ import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (130, b"")
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_DFL
