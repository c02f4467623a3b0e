"""`make env`: .env for Docker Compose, from .env.example, with a random value for each secret.

A secret is a name without a value in .env.example. Values that .env has already stay, so that the
command can be run again after each upgrade. Needs Python alone, without packages.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECRET = re.compile(r"^([A-Z][A-Z0-9_]*)=[ \t]*$", re.MULTILINE)
ASSIGNED = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Z][A-Z0-9_]*)[ \t]*=", re.MULTILINE)


def complete(example: str, existing: str | None, draw: Callable[[], str]) -> tuple[str, list[str]]:
    """The text of .env, and the names of the secrets for which `draw` gave a value."""
    wanted = SECRET.findall(example)
    text = example if existing is None else existing
    if missing := [name for name in wanted if name not in ASSIGNED.findall(text)]:
        text = "\n".join([*text.splitlines(), *(f"{name}=" for name in missing), ""])
    drawn: list[str] = []

    def fill(match: re.Match[str]) -> str:
        if match[1] not in wanted:
            return match[0]
        drawn.append(match[1])
        return f"{match[1]}={draw()}"

    return SECRET.sub(fill, text), drawn


def write(file: Path, text: str) -> None:
    """Write the file completely or not at all; only its owner can read it."""
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=".env-")  # has mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def main(arguments: list[str]) -> None:
    """Complete .env, or the file that is named."""
    file = Path(arguments[0] if arguments else ROOT / ".env").resolve()
    existing = file.read_text(encoding="utf-8") if file.exists() else None
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    text, drawn = complete(example, existing, lambda: secrets.token_hex(24))
    write(file, text)
    print(f"{file}: {len(drawn)} secrets drawn{': ' if drawn else ''}{', '.join(drawn)}")


if __name__ == "__main__":
    main(sys.argv[1:])
