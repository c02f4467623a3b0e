"""The pages of the reference, written from the code: settings, commands, use case, HTTP."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write(folder: Path) -> None:
    """Write the pages into the folder; a page that is the same already isn't touched."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"settings": settings, "commands": commands, "use-case": use_case, "http": http}
    for name, page in pages.items():
        file, text = folder / f"{name}.md", page()
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def settings() -> str:
    """Each setting with its variable, type, default and description."""
    from streamflow.settings import Settings

    rows = ["# Settings", "", "Environment variables, or lines of a file `.env`.", ""]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f" Default: `{field.default}`."
        about = (field.description or "").strip()
        rows += [f"## `STREAMFLOW_{name.upper()}`", "", f"{_sentence(about)}{default}".strip(), ""]
    return "\n".join(rows)


def commands() -> str:
    """Each command with its arguments and options, as its `--help` has them."""
    from typer.main import get_command

    from streamflow.cli.main import app

    rows = ["# Commands", ""]
    for words, command in sorted(_commands(get_command(app))):
        rows += [
            f"## `streamflow {words}`",
            "",
            _one_line(inspect.cleandoc(command.help or "")),
            "",
        ]
        if command.epilog:
            examples = _one_line(command.epilog.replace("{KEY}", "USER_ID"))
            rows += [re.sub(r"streamflow .*?(?= · |$)", r"`\g<0>`", examples), ""]
        told = [_parameter(one) for one in command.params if not getattr(one, "hidden", False)]
        rows += [*told, ""]
    return "\n".join(rows)


def use_case() -> str:
    """The classes that a use case is made of, with their fields."""
    import streamflow.use_case as room

    rows = ["# Use case", "", "`from streamflow.use_case import …`", ""]
    for name in room.__all__:
        one = getattr(room, name, None)
        if not dataclasses.is_dataclass(one):
            continue
        rows += [f"## `{name}`", "", inspect.cleandoc(one.__doc__ or ""), ""]
        for field in dataclasses.fields(one):
            default = "" if field.default is dataclasses.MISSING else f" = {field.default!r}"
            rows.append(f"- `{field.name}: {field.type}{default}`")
        rows.append("")
    return "\n".join(rows)


def http() -> str:
    """Each route of the API with its responses, of the use case `churn`."""
    document = _openapi()
    rows = ["# HTTP", "", "`GET /docs` of a running API shows the same with examples to try.", ""]
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            rows += [f"## `{method.upper()} {path}`", "", about.get("summary", ""), ""]
            rows += [inspect.cleandoc(about.get("description", "")), ""]
            for status, answer in about["responses"].items():
                rows.append(f"- `{status}`: {_one_line(answer['description'])}")
            rows.append("")
    return "\n".join(rows)


def _openapi() -> dict[str, Any]:
    """The API's own description; nothing is connected to for it."""
    from datetime import UTC, datetime
    from unittest.mock import MagicMock

    from streamflow import bootstrap
    from streamflow.api.app import create_app
    from streamflow.keys.access import Access
    from streamflow.keys.audit import Audit
    from streamflow.keys.key_sync import KeySync
    from streamflow.settings import Settings
    from streamflow.use_case.module import load_use_case

    absent: Any = MagicMock()
    access = Access(
        open_without_keys=False, requests_per_second=1, now=lambda: datetime.now(UTC), host_names=()
    )
    parts = bootstrap.api_parts(
        Settings(), load_use_case("churn"), absent, absent, KeySync(absent, access, Audit())
    )
    application: Any = create_app(parts)
    document: dict[str, Any] = application.app.openapi()
    return document


def _commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        shown = f"`{(parameter.metavar or parameter.name).replace('{KEY}', 'USER_ID').upper()}`"
    else:
        shown = ", ".join(f"`{name}`" for name in parameter.opts)
    about = (getattr(parameter, "help", None) or "").replace("{key}", "user_id")
    return f"- {shown}: {about or 'see `--help`.'}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""
