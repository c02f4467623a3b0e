"""What is wrong with a use case, where, and the line to write instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamflow.errors import InvalidSettings

MOST_CHARACTERS = 300


@dataclass(frozen=True)
class Finding:
    """Something in a use case that can't work.

    `where` is the part of the use case, `what` is wrong with it, `instead` is the line to write.
    """

    where: str
    what: str
    instead: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. Write: {self.instead}"


class UseCaseRefused(InvalidSettings):
    """A use case can't work as it is written; nothing was changed."""

    def __init__(self, use_case: str, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        lines = [f"The use case {use_case!r} can't be used; nothing was changed."]
        super().__init__(
            "\n".join([*lines, *(f"  {finding}" for finding in findings)]),
            "Correct it; `streamflow check` tells all that is wrong at once.",
        )


def require_none(use_case: str, findings: Sequence[Finding]) -> None:
    """Raises UseCaseRefused if there is a finding."""
    if findings:
        raise UseCaseRefused(use_case, findings)


def raised(where: str, error: Exception, instead: str) -> Finding:
    """The finding that code of the use case raised `error`."""
    return Finding(where, f"it raises {one_line(error)}", instead)


def one_line(error: BaseException) -> str:
    """The error's type and the first line of its text, of at most 300 characters.

    Libraries may put whole data structures into their errors.
    """
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
