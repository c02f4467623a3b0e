"""The as_of of each row, in an array of days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

DayNumbers = npt.NDArray[np.datetime64]


class Days(Sequence[date]):
    """A date per row; `array` has them as datetime64[D]."""

    def __init__(self, array: DayNumbers) -> None:
        self.array = array

    @staticmethod
    def of_texts(column: pa.ChunkedArray) -> Days:
        """Of texts as YYYY-MM-DD, none of them null."""
        coded = column.combine_chunks().dictionary_encode()
        days = np.array(coded.dictionary.to_pylist(), dtype="datetime64[D]")
        return Days(days[coded.indices.to_numpy()])

    @staticmethod
    def repeated(day: date, rows: int) -> Days:
        """The same day for each row."""
        return Days(np.full(rows, np.datetime64(day, "D")))

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, place: int) -> date: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[date]: ...
    def __getitem__(self, place: int | slice) -> date | Sequence[date]:
        found: Any = self.array[place]
        return Days(found) if isinstance(place, slice) else found.item()

    def __iter__(self) -> Iterator[date]:
        return iter(self.array.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and bool((self.array == days(other)).all())

    __hash__ = None  # type: ignore[assignment]


def days(as_ofs: Sequence[date]) -> DayNumbers:
    """The dates as an array of datetime64[D]."""
    if isinstance(as_ofs, Days):
        return as_ofs.array
    return np.array(as_ofs, dtype="datetime64[D]")
