"""How the files of a table are written."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from streamflow.errors import InvalidSettings

# Year, month and day in any order, with a mark between them or none.
_DATE_PARTS = r"(?=.*YYYY)(?=.*MM)(?=.*DD)(YYYY|MM|DD)([-./ ]?)(YYYY|MM|DD)\2(YYYY|MM|DD)"


@dataclass(frozen=True)
class Csv:
    """How a table's files are written: what separates values, and what texts mean.

    `null` lists the texts that mean null; in a column of numbers or dates, they mean the value,
    however it is written. `true` and `false` list the texts of booleans. `decimal` is the decimal
    mark of numbers, `thousands` the mark between groups of three digits, if there is one. `units`
    are texts such as `%` or `EUR` that stand before or after numbers: `12 %` is 12. `date` is the
    order of a date's parts, such as `DD.MM.YYYY`. `encoding` is how a CSV file's characters are
    written as bytes, by Python's name for it. `skip_lines` is how many lines, of a sheet rows, are
    above the header. A row whose first value is one of `total_rows`, such as `Total`, isn't read.
    The texts mean the same in a Parquet file, and numbers there are read as if they were written.
    """

    separator: str = ","
    null: tuple[str, ...] = ("",)
    true: tuple[str, ...] = ("true", "True", "TRUE")
    false: tuple[str, ...] = ("false", "False", "FALSE")
    decimal: str = "."
    thousands: str = ""
    date: str = "YYYY-MM-DD"
    encoding: str = "utf-8"
    units: tuple[str, ...] = ()
    skip_lines: int = 0
    total_rows: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise InvalidSettings for what can't be meant."""
        if len(self.separator) != 1 or not self.separator.isascii() or self.separator in '"\r\n':
            raise InvalidSettings(
                f"Csv has the separator {self.separator!r}.",
                "Use one ASCII character that is neither a quote nor a line end.",
            )
        for name in ("null", "true", "false", "units", "total_rows"):
            if isinstance(getattr(self, name), str):
                text = getattr(self, name)
                raise InvalidSettings(
                    f"Csv has one text, {text!r}, as its {name}.", f"Write {name}=({text!r},)."
                )
        if both := {*self.true} & {*self.false}:
            raise InvalidSettings(
                f"Csv has {', '.join(map(repr, sorted(both)))} both as true and as false.",
                "Leave it in one of them.",
            )
        if self.date.count("Y") != 4 or not re.fullmatch(_DATE_PARTS, self.date):
            raise InvalidSettings(
                f"Csv has dates as {self.date!r}.",
                'Use YYYY, MM and DD, once each: date="DD.MM.YYYY".',
            )
        if not isinstance(self.skip_lines, int) or self.skip_lines < 0:
            raise InvalidSettings(
                f"Csv skips {self.skip_lines!r} lines.", "Say how many: skip_lines=2."
            )
        self._check_numbers()
        self._check_encoding()

    def _check_numbers(self) -> None:
        if self.decimal not in (".", ","):
            raise InvalidSettings(
                f"Csv has the decimal mark {self.decimal!r}.", 'Use decimal="." or decimal=",".'
            )
        if len(self.thousands) > 1 or self.thousands.isalnum() or self.thousands in ("+", "-"):
            raise InvalidSettings(
                f"Csv has the mark {self.thousands!r} between thousands.",
                "Use one character that isn't part of a number.",
            )
        if wrong := [one for one in self.units if not one.strip() or any(map(str.isdigit, one))]:
            raise InvalidSettings(
                f"Csv has the unit {wrong[0]!r}.", 'Use texts without digits: units=("%",).'
            )
        if self.thousands == self.decimal:
            raise InvalidSettings(
                f"Csv has {self.decimal!r} both as its decimal mark and between thousands.",
                "Give thousands another mark, or leave it out.",
            )

    def _check_encoding(self) -> None:
        try:
            known = codecs.lookup(self.encoding)
            "".encode(known.name)  # one of bytes to bytes, such as hex, isn't an encoding of text
        except (LookupError, ValueError):
            raise InvalidSettings(
                f"Csv has the encoding {self.encoding!r}, which Python doesn't know.",
                'Use one such as encoding="cp1252" or encoding="utf-16".',
            ) from None
