"""The entity of each row, in an Arrow array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = npt.NDArray[np.int64]


class Entities(Sequence[str]):
    """An id per row; `array` is of large_string, in one piece. One becomes a text of Python where
    it is asked for alone."""

    def __init__(self, array: pa.Array | pa.ChunkedArray) -> None:
        import pyarrow as pa

        whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        self.array = whole.cast(pa.large_string())

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return Entities(self.array[place])
        text: str = self.array[place].as_py()
        return text

    def __iter__(self) -> Iterator[str]:
        return iter(self.array.to_pylist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and bool(self.array.equals(entities(other).array))

    __hash__ = None  # type: ignore[assignment]

    def of_rows(self, rows: Numbers) -> Entities:
        """Those of some rows, by their places."""
        return Entities(self.array.take(rows))

    def ascending(self) -> npt.NDArray[np.bool_]:
        """Of each but the first whether its bytes come after those of the one before."""
        import pyarrow.compute as pc

        found: npt.NDArray[np.bool_] = pc.greater(self.array[1:], self.array[:-1]).to_numpy(
            zero_copy_only=False
        )
        return found


def entities(ids: Sequence[str]) -> Entities:
    """The ids in an Arrow array."""
    import pyarrow as pa

    return ids if isinstance(ids, Entities) else Entities(pa.array(ids, pa.large_string()))


def distinct(ids: Sequence[str]) -> int:
    """How many ids there are."""
    import pyarrow.compute as pc

    found: int = pc.count_distinct(entities(ids).array).as_py()
    return found


def numbered(ids: Sequence[str]) -> tuple[int, Numbers]:
    """How many ids there are, and per row the place of its id among them, sorted by their bytes."""
    import pyarrow.compute as pc

    coded = entities(ids).array.dictionary_encode()
    order = pc.sort_indices(coded.dictionary).to_numpy()
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return len(order), places[coded.indices.to_numpy()]
