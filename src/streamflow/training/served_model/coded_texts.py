"""A column of texts as numbers: what is asked of a text is asked once, not per row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]


class CodedTexts(Sequence[str | None]):
    """A text per row, or None: `codes` has the place of each row's text in `texts`, and
    len(texts) for None."""

    def __init__(self, codes: Codes, texts: Sequence[str]) -> None:
        self.codes = codes
        self.texts = texts

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, place: int) -> str | None: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str | None]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str | None] | None:
        if isinstance(place, slice):
            return CodedTexts(self.codes[place], self.texts)
        code = int(self.codes[place])
        return self.texts[code] if code < len(self.texts) else None

    def __iter__(self) -> Iterator[str | None]:
        texts: Any = np.array([*self.texts, None], dtype=object)
        return iter(texts[self.codes].tolist())

    def of_rows(self, rows: npt.NDArray[np.int64]) -> CodedTexts:
        """Those of some rows, by their places."""
        return CodedTexts(self.codes[rows], self.texts)

    @property
    def is_null(self) -> npt.NDArray[np.bool_]:
        """Per row whether it has no text."""
        found: npt.NDArray[np.bool_] = self.codes == len(self.texts)
        return found

    def values(self) -> list[tuple[int, str | None]]:
        """The codes that rows have, each with its text, in the order of the first row of each."""
        rows = len(self.codes)
        first = np.full(len(self.texts) + 1, rows)
        # Of several values for one place, NumPy keeps the last: here, the first row.
        first[self.codes[::-1]] = np.arange(rows - 1, -1, -1)
        ordered = [int(code) for code in np.argsort(first) if first[code] < rows]
        return [(code, self.texts[code] if code < len(self.texts) else None) for code in ordered]
