"""Templates into HTML."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from markupsafe import Markup

from streamflow.console.texts import TEXTS, text
from streamflow.reports.environment import template_environment

if TYPE_CHECKING:
    from jinja2 import Environment


def rendered(template: str, values: Mapping[str, Any], block: str | None = None) -> str:
    """The template's HTML; of one of its blocks alone, if it is named."""
    found = environment().get_template(template)
    if block is None:
        return found.render(values)
    return "".join(found.blocks[block](found.new_context(dict(values))))


@cache
def environment() -> Environment:
    """The templates of the console; every value is escaped."""
    made = template_environment(
        "streamflow.console",
        count=count,
        percent=percent,
        figure=figure,
        moment=moment,
        value=value_in_words,
    )
    made.globals.update(t=text, texts=TEXTS, address=address)
    return made


def address(path: str, **query: object) -> str:
    """An address of the console; what is None or empty isn't in its query."""
    given = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def count(value: float | None) -> str:
    """A whole number with commas."""
    return text("unknown") if value is None else f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage."""
    return text("unknown") if value is None else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def figure(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals."""
    return text("unknown") if value is None else f"{value:.{digits}f}"


def moment(value: datetime | None) -> str | Markup:
    """A time in UTC."""
    if value is None:
        return text("unknown")
    in_utc = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        in_utc.isoformat(), in_utc.strftime("%Y-%m-%d %H:%M UTC")
    )


def value_in_words(value: Any) -> str:
    """A feature's value as a person reads it."""
    if value is None:
        return text("value.null")
    if isinstance(value, bool):
        return text("value.true") if value else text("value.false")
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
