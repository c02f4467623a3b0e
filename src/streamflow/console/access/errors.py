"""Why a request to the console is refused, beside what `keys.errors` has."""

from __future__ import annotations

from streamflow.errors import AccessRefused, StreamFlowError

_AGAIN = "Sign in again with your key."


class ForeignHost(AccessRefused):
    """The request names a host that isn't the console's."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"The console isn't {host[:64]!r}.",
            "Open it by the address that `streamflow console` prints; or add the name to "
            "STREAMFLOW_CONSOLE_HOST_NAMES.",
        )


class SessionUnknown(AccessRefused):
    """The cookie isn't one that the console gave."""

    def __init__(self) -> None:
        super().__init__("This session isn't known.", _AGAIN)


class SessionOver(AccessRefused):
    """The session was ended, or has lasted for as long as one may."""

    def __init__(self, key_id: int) -> None:
        self.key_id = key_id
        super().__init__("This session is over.", _AGAIN)


class FormRefused(AccessRefused):
    """A form without the token of this visitor: a page of somebody else may have sent it."""

    def __init__(self, key_id: int | None) -> None:
        self.key_id = key_id
        super().__init__(
            "This form wasn't sent from a page of the console that is yours; nothing was done.",
            "Open the page again, and send its form from there.",
        )


class FormTooLarge(AccessRefused):
    """A form of more bytes than any form of the console has."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"No form of the console has more than {most:,} bytes; nothing was done.",
            "Shorten what is written in it.",
        )


class PageNotFound(StreamFlowError):
    """There is no page at this address."""

    def __init__(self) -> None:
        super().__init__("There is no page at this address.", "Begin at the overview.")


class FieldRefused(StreamFlowError):
    """A field of a form or of an address has a value that can't be used."""
