"""The file with the details of an error that nothing foresaw: its traceback, without secrets."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

FILES_KEPT = 20
LONGEST_PART = 20_000  # characters of an error; converters put a whole model into theirs
SHORTEST_SECRET = 4  # a shorter one would be found inside other words

_SECRET_NAME = (
    r"(?:pass(?:word|wd|phrase)?|pwd|token|secret|credential|(?:api|access|private)_?key)"
)
# Lengths have limits, so that the time doesn't grow with the square of the text.
_PATTERNS = (
    # The password of a URL, which may have unquoted special characters.
    (re.compile(r"(://[^\s:/@'\"]{0,200}):[^\s'\"]{1,1000}@"), r"\1:***@"),
    (
        re.compile(
            rf"({_SECRET_NAME}\w{{0,40}}['\"]?\s{{0,9}}[=:]\s{{0,9}})(?:'[^']*'|\"[^\"]*\"|[^\s'\",;&)}}]+)",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
    (re.compile(r"\b(Bearer|Basic)\s{1,9}\S+", re.IGNORECASE), r"\1 ***"),
    (re.compile(r"\bstreamflow_[\w-]{40,}"), "***"),  # an API key
)
_IN_CONNECTION_STRING = re.compile(rf"{_SECRET_NAME}=([^\s,;&]+)", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(rf"{_SECRET_NAME}|_key$", re.IGNORECASE)


def write(
    error: BaseException,
    arguments: Sequence[str],
    folders: Iterable[Path],
    now: datetime,
    secrets: Iterable[str],
) -> Path | None:
    """Write the error to a new file in the first of the folders that can be written.

    The file and its folder are the user's alone, and the newest `FILES_KEPT` files are kept.
    Returns None if no folder can be written.
    """
    name = f"{now:%Y-%m-%dT%H-%M-%S.%fZ}.txt"
    text = _text(error, arguments, now, secrets)
    for folder in folders:
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue  # in a folder for everybody's temporary files, it may be a stranger's
            file = folder / name
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(file, flags, 0o600), "w", encoding="utf-8", errors="replace") as new:
                new.write(text)
            for old in sorted(folder.glob("*.txt"))[:-FILES_KEPT]:
                old.unlink(missing_ok=True)
            return file
    return None


def folders() -> list[Path]:
    """Where details go: the home's log folder, or else one among the system's temporary files."""
    from streamflow.settings import load_settings

    temporary = Path(tempfile.gettempdir()) / f"streamflow-errors-{os.getuid()}"
    try:
        return [load_settings().home / "logs" / "errors", temporary]
    except Exception:  # the settings may be what failed
        return [temporary]


def known_secrets(environment: Mapping[str, str]) -> set[str]:
    """The secrets in settings and environment variables, and the passwords in their URLs."""
    from streamflow.settings import load_settings

    found = [value for name, value in environment.items() if _SECRET_VARIABLE.search(name)]
    found += [value for value in environment.values() if "://" in value]
    with suppress(Exception):  # the settings may be what failed
        found += _secret_values(load_settings().model_dump())
    return {secret for value in found for secret in _with_password(value)}


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text, without the middle if it's long, without these secrets and what looks like one."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "***")
    text = _shortened(text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _text(
    error: BaseException, arguments: Sequence[str], now: datetime, secrets: Iterable[str]
) -> str:
    from importlib.metadata import version

    secrets = set(secrets)
    command = redacted(" ".join(["streamflow", *arguments]), secrets)
    parts = [redacted(part, secrets) for part in traceback.format_exception(error)]
    head = [
        "An error that StreamFlow didn't expect. It may name values of rows; secrets are left out.",
        f"at       {now.isoformat()}",
        f"command  {command}",
        f"version  StreamFlow {version('streamflow')}, Python {platform.python_version()}, "
        f"{sys.platform}",
        "",
    ]
    return "\n".join(head) + "\n" + "".join(parts)


def _shortened(text: str) -> str:
    if len(text) <= LONGEST_PART:
        return text
    half = LONGEST_PART // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters …\n{text[-half:]}"


def _secret_values(value: object, name: str = "") -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _secret_values(one, str(key))
    elif isinstance(value, str) and ("://" in value or _SECRET_VARIABLE.search(name)):
        yield value
    elif isinstance(value, str):
        yield from _IN_CONNECTION_STRING.findall(value)


def _with_password(value: str) -> Iterator[str]:
    """The value; only the password, if it is a URL."""
    if "://" not in value:
        yield value
        return
    with suppress(ValueError):
        password = urlsplit(value).password
        if password:
            yield password
            yield unquote(password)
