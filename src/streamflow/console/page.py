"""What a page of the console answers, whatever form it is asked for in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamflow.console.access.visit import Visit
from streamflow.console.parts import ConsoleParts
from streamflow.keys.api_keys import Scope


@dataclass(frozen=True)
class Page:
    """A page: its template with the template's values, and what a program is answered.

    `fragment` names the block of the template that is answered to htmx.
    """

    template: str
    title: str
    values: Mapping[str, Any]
    document: Any = None
    status: int = 200
    fragment: str = "main"


@dataclass(frozen=True)
class Redirect:
    """Go on at another address of the console, after a form. `cookies` are set, empty ones go."""

    to: str
    cookies: Mapping[str, str] = field(default_factory=dict)
    document: Any = None


@dataclass(frozen=True)
class Content:
    """A file: shown, or with a `name` downloaded. `styled` allows the styles that are in it."""

    content: bytes
    media_type: str
    name: str | None = None
    styled: bool = False


Answer = Page | Redirect | Content


@dataclass(frozen=True)
class Route:
    """A page's address. `scope` is what a visitor's key must have, None if anybody may come."""

    path: str
    method: str
    scope: Scope | None
    answer: Callable[[ConsoleParts, Visit], Answer]
