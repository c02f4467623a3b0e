"""A request to the console: who sends it, and what is in its address and its form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from streamflow.console.access.errors import FieldRefused
from streamflow.console.access.sessions import Session, form_token
from streamflow.keys.api_keys import Scope

LONGEST_TEXT = 2000


@dataclass(frozen=True)
class Visit:
    """A request at `now` (UTC). `cookie` is the session's, or the visitor's own without a session.

    `query` and `form` have the first value of each name; `path` has the parts of the address that
    a route names.
    """

    now: datetime
    address: str
    cookie: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    path: Mapping[str, str]
    theme: str
    session: Session | None = None

    @property
    def form_token(self) -> str:
        """What each form that is sent to this visitor carries."""
        return form_token(self.cookie)

    @property
    def who(self) -> str:
        """The name under which the visitor's acts are recorded; empty without a session."""
        return self.session.who if self.session is not None else ""

    def may(self, scope: Scope) -> bool:
        """Whether the visitor has signed in with a key that has the scope."""
        return self.session is not None and scope in self.session.scopes

    def text(self, name: str, longest: int = LONGEST_TEXT) -> str:
        """A field of the form, without white space around it; empty if it isn't there.

        Raises FieldRefused if it is longer, or has characters that no text has.
        """
        return _checked(name, self.form.get(name, ""), longest)

    def asked(self, name: str, longest: int = 256) -> str:
        """A part of the address's query, the same way."""
        return _checked(name, self.query.get(name, ""), longest)

    def asked_number(self, name: str, least: int, most: int) -> int | None:
        """A whole number in the query, None if it isn't there. Raises FieldRefused."""
        return whole_number(name, self.asked(name), least, most)

    def number(self, name: str, least: int, most: int) -> int | None:
        """A whole number in the form, None if it isn't there. Raises FieldRefused."""
        return whole_number(name, self.text(name), least, most)


def whole_number(name: str, text: str, least: int, most: int) -> int | None:
    """The number that the text has, None if it is empty. Raises FieldRefused."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and least <= int(text) <= most):
        raise FieldRefused(
            f"{name} is {text[:40]!r}, not a whole number from {least:,} to {most:,}.",
            "Go back and correct it.",
        )
    return int(text)


def _checked(name: str, text: str, longest: int) -> str:
    text = text.strip()
    if len(text) > longest or any(not (one.isprintable() or one in "\r\n\t") for one in text):
        raise FieldRefused(
            f"{name} has more than {longest:,} characters, or some that can't be printed.",
            "Go back and correct it.",
        )
    return text
