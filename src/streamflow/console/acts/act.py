"""What an act is to those who wait for it, and how one ends with an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streamflow.errors import ServiceUnavailable, StreamFlowError

# Gets what an act tells while it runs.
Tell = Callable[[Mapping[str, Any]], None]
# Does an act by its name and arguments, and returns its result as JSON has it. Raises ActFailed.
Run = Callable[[str, Mapping[str, Any], Tell], Mapping[str, Any]]


class ActFailed(StreamFlowError):
    """The error of an act, with the HTTP status of a page about it."""

    def __init__(self, status: int, code: str, message: str, next: str) -> None:
        self.status = status
        self._code = code
        super().__init__(message, next)

    @property
    def code(self) -> str:
        """The code of the error that the act ended with."""
        return self._code

    def as_dict(self) -> Mapping[str, Any]:
        """As the act's process writes it."""
        return {
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "next": self.next,
        }


class TooMuchAtOnce(ServiceUnavailable):
    """More acts wait than should."""

    def __init__(self, waiting: int) -> None:
        super().__init__(
            f"{waiting} other comparisons and promotions wait to be done.", "Try again in a minute."
        )
