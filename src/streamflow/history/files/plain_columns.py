"""A column of any Arrow type as one of the few types that the rules of values know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def plain(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The column without encoding, its text as `string`; and a mask of text that isn't UTF-8.

    What isn't UTF-8 is null. A NaN is null too, as it is for those who write it: a column whose
    gaps made it a float.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    elif pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    invalid = pa.repeat(False, len(column))
    if pa.types.is_floating(column.type):
        nan = pc.fill_null(pc.is_nan(column), False)
        column = pc.if_else(nan, pa.scalar(None, column.type), column)
    elif _is_text(column.type):
        try:
            column = pc.cast(column, pa.string())
            column.validate(full=True)
        except pa.ArrowInvalid:
            contents = pc.cast(column, pa.binary()).to_pylist()
            invalid = pa.array([not _is_utf8(one) for one in contents])
            texts = [
                one.decode() if one is not None and _is_utf8(one) else None for one in contents
            ]
            column = pa.array(texts, pa.string())
    elif pa.types.is_null(column.type):
        column = pc.cast(column, pa.string())
    return column, invalid


def as_text(column: pa.Array) -> pa.Array | None:
    """Text, and numbers as CSV would have them; None for a type that has no one text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_decimal(kind):
        # Arrow writes the zero of many decimal places as 0E-10.
        return pc.replace_substring_regex(pc.cast(column, pa.string()), r"^0E.*", "0")
    return None


def shown(column: pa.Array, chosen: pa.Array) -> list[str]:
    """Each chosen value as text for a report, even those that Python has no value for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = []
    for index in pc.indices_nonzero(chosen).to_pylist():
        value = column[index]
        try:
            texts.append(str(value.as_py()))
        except UnicodeDecodeError:
            texts.append(str(value.as_buffer().to_pybytes()))
        except (ValueError, OverflowError):
            texts.append(str(value.cast(pa.string()).as_py()))
    return texts


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    kinds = pa.types
    strings = (kinds.is_string, kinds.is_large_string, kinds.is_string_view)
    # Older writers leave out that their text is text.
    binaries = (kinds.is_binary, kinds.is_large_binary, kinds.is_binary_view)
    return any(one(kind) for one in (*strings, *binaries, kinds.is_fixed_size_binary))


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
