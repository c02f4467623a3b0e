"""Acts in a process of their own, `python -m streamflow.console.acts.process`.

The libraries that a promotion needs take several times the console's memory. The act is one line of
JSON on standard input, what it tells are lines of JSON on standard output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

from pydantic import SecretStr

from streamflow.console.acts.act import ActFailed, Run, Tell
from streamflow.operations import processes
from streamflow.settings import Settings

_DONE, _FAILED = "done", "failed"
# It is for the owner of the database, and no act needs it.
_NEVER_GIVEN = "role_passwords"


def in_a_process(settings: Settings) -> Run:
    """Does acts in processes with these settings, which end with this one."""

    def run(name: str, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        parent = os.getpid()
        process = subprocess.Popen(
            [sys.executable, "-m", "streamflow.console.acts.process"],
            env={**os.environ, **_environment(settings)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # With the thread that started it, which waits for its end.
            preexec_fn=lambda: processes.end_with(parent),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            process.stdin.write(json.dumps({"act": name, "arguments": arguments}, default=str))
            process.stdin.close()
            for line in process.stdout:
                said = json.loads(line)
                if _DONE in said:
                    result: Mapping[str, Any] = said[_DONE]
                    return result
                if _FAILED in said:
                    raise ActFailed(**said[_FAILED])
                tell(said)
        raise ActFailed(
            500,
            "act_ended",
            f"The process that did this ended with status {process.returncode}.",
            "The console's log says why. Do it again: whatever it had begun is gone on with.",
        )

    return run


def _environment(settings: Settings) -> dict[str, str]:
    given = {
        name: getattr(settings, name) for name in settings.model_fields_set if name != _NEVER_GIVEN
    }
    # A process elsewhere would take another folder for it.
    given["home"] = settings.home
    return {
        f"STREAMFLOW_{name.upper()}": _text(value)
        for name, value in given.items()
        if value is not None
    }


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, dict) else str(value)


def main() -> None:
    """Do the act that standard input names, for the process that started this one."""
    from streamflow.bootstrap import platform
    from streamflow.console.acts.performed import failure, perform
    from streamflow.settings import load_settings

    output = sys.stdout

    def write(said: Mapping[str, Any]) -> None:
        print(json.dumps(said, default=str), file=output, flush=True)

    asked = json.load(sys.stdin)
    # Whatever a library prints isn't for the console.
    with redirect_stdout(sys.stderr):
        try:
            with platform(load_settings()) as opened:
                write({_DONE: perform(opened, asked["act"], asked["arguments"], write)})
        except Exception as error:
            write({_FAILED: failure(error).as_dict()})


if __name__ == "__main__":
    main()
