"""Violations of contracts: counted, the first ones shown, all of them listed in a file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import TextIO

from streamflow.errors import ContractViolation
from streamflow.private_files import make_folder

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
        line = [] if self.line is None else [f"line {self.line}"]
        column = [] if self.column is None else [f"column {self.column!r}"]
        place = ", ".join(line + column)
        found = f": {self.value!r}" if self.value is not None else ""
        return f"{self.file}{', ' if place else ''}{place}{found} breaks the rule: {self.rule}"


def with_code_points(text: str) -> str:
    """The text, with code points for all but visible ASCII: `Ren[U+00E9]`, `abc[U+0020]`.

    So two texts that look the same are told apart.
    """
    return "".join(one if "!" <= one <= "~" else f"[U+{ord(one):04X}]" for one in text)


# Called with each violation.
Report = Callable[[Violation], None]


class Violations:
    """Counts violations, keeps the first of each rule and some more, and writes all to `file`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        # With their numbers, so that they are shown in the order in which they came.
        self._first: list[tuple[int, Violation]] = []
        self._first_of_rule: list[tuple[int, Violation]] = []
        self.counts: Counter[tuple[str, str | None, str]] = Counter()
        self._total = 0
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
            make_folder(self.file.parent)
            self._handle = self.file.open("w", newline="", encoding="utf-8")
            self._writer = csv.writer(self._handle)
            self._writer.writerow(["file", "line", "column", "value", "rule"])
        self._writer.writerow(
            [violation.file, violation.line, violation.column, violation.value, violation.rule]
        )
        rule = (violation.file, violation.column, violation.rule)
        if rule not in self.counts and len(self._first_of_rule) < SHOWN_VIOLATIONS:
            self._first_of_rule.append((self._total, violation))
        elif len(self._first) < SHOWN_VIOLATIONS:
            self._first.append((self._total, violation))
        self.counts[rule] += 1
        self._total += 1

    def raise_if_any(self, folder: Path, hint: str | None = None) -> None:
        """Raise ContractViolation with the first violations if there are any in `folder`.

        `hint` is what else to do than to correct the files.
        """
        if self._handle is None:
            return
        self._handle.flush()
        total = self._total
        lines = [f"{total} value(s) in {folder} break their table's contract; nothing was changed."]
        shown = self._shown()
        lines += [f"  {violation}" for violation in shown]
        if total > len(shown):
            lines.append(f"  … and {total - len(shown)} more:")
            lines += [
                f"  {count:>8} x {file}{'' if column is None else f', column {column!r}'}: {rule}"
                for (file, column, rule), count in self.counts.most_common()
            ]
        lines.append(f"The whole list: {self.file}")
        correct = "Correct the files and run the same `streamflow ingest` again."
        raise ContractViolation(
            "\n".join(lines), f"{hint} Else: {correct[0].lower()}{correct[1:]}" if hint else correct
        )

    def _shown(self) -> list[Violation]:
        """The first violations, of each rule at least one as long as there is room."""
        chosen = (self._first_of_rule + self._first)[:SHOWN_VIOLATIONS]
        return [violation for _, violation in sorted(chosen, key=itemgetter(0))]
