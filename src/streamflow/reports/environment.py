"""Templates of HTML, in the folder `templates` of a package."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment


def template_environment(package: str, **filters: Callable[..., Any]) -> Environment:
    """The templates of the package; values are escaped, and one that is missing is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(said=said, breakable=breakable, **filters)
    return environment


def said(sentence: str) -> Markup:
    """A sentence in which a command between backticks is shown as one.

    A line isn't broken within one of its words: `--as-of` has hyphens.
    """
    parts = re.split(r"`([^`]+)`", sentence)
    parts[1::2] = [_command(one) for one in parts[1::2]]
    return Markup("").join(parts)


def _command(command: str) -> Markup:
    words = [Markup("<span>{}</span>").format(word) for word in command.split(" ")]
    return Markup("<code>{}</code>").format(Markup(" ").join(words))


def breakable(name: str) -> Markup:
    """A feature's name that a narrow column may break after an underscore."""
    return Markup("_<wbr>").join(name.split("_"))
