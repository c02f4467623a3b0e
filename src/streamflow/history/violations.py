"""Violations of contracts: counted, the first ones shown, all of them listed in a file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

from streamflow.errors import ContractViolation

SHOWN_VIOLATIONS = 20
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Violation:
    """One value that breaks one rule; line 1 is the header, no line means the whole file."""

    file: str
    line: int | None
    column: str | None
    value: str | None
    rule: str

    def __str__(self) -> str:
        place = ", ".join(
            f"{name} {value}"
            for name, value in (("line", self.line), ("column", self.column))
            if value is not None
        )
        found = f": {self.value!r}" if self.value is not None else ""
        return f"{self.file}{', ' if place else ''}{place}{found} breaks the rule: {self.rule}"


# Called with each violation.
Report = Callable[[Violation], None]


class Violations:
    """Counts violations, keeps the first ones, and writes each to `file`, created for the first."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.first: list[Violation] = []
        self.counts: Counter[tuple[str, str | None, str]] = Counter()
        self._handle: TextIO | None = None

    def __enter__(self) -> Violations:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.close()

    def add(self, violation: Violation) -> None:
        """Count the violation and write it to the file."""
        if self._handle is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._handle = self.file.open("w", newline="", encoding="utf-8")
            self._writer = csv.writer(self._handle)
            self._writer.writerow(["file", "line", "column", "value", "rule"])
        self._writer.writerow(
            [violation.file, violation.line, violation.column, violation.value, violation.rule]
        )
        self.counts[violation.file, violation.column, violation.rule] += 1
        if len(self.first) < SHOWN_VIOLATIONS:
            self.first.append(violation)

    def raise_if_any(self, folder: Path) -> None:
        """Raise ContractViolation with the first violations if there are any in `folder`."""
        if self._handle is None:
            return
        self._handle.flush()
        total = sum(self.counts.values())
        lines = [f"{total} value(s) in {folder} break their table's contract; nothing was changed."]
        lines += [f"  {violation}" for violation in self.first]
        if total > len(self.first):
            lines.append(f"  … and {total - len(self.first)} more:")
            lines += [
                f"  {count:>8} x {file}{f', column {column}' if column else ''}: {rule}"
                for (file, column, rule), count in self.counts.most_common()
            ]
        lines.append(f"The whole list: {self.file}")
        raise ContractViolation(
            "\n".join(lines), "Correct the files and run the same `streamflow ingest` again."
        )
