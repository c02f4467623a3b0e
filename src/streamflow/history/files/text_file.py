"""A CSV file's bytes and characters, whatever it is written in and whether it is compressed."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

from streamflow.history.violations import Violation
from streamflow.use_case import Csv

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_BYTES = 8 * 1024 * 1024
# By their first bytes; UTF-32 isn't written by anything that people use.
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# What a damaged or cut gzip file raises.
UNREADABLE = (EOFError, zlib.error, gzip.BadGzipFile)


def open_text(path: Path, read: Csv) -> IO[str]:
    """The file's characters, without a byte-order mark; line ends as they are."""
    return io.TextIOWrapper(_open_bytes(path), encoding=_encoding(read), newline="")


def open_utf8(path: Path, read: Csv) -> pa.NativeFile:
    """The file's characters as a stream of UTF-8, for Arrow."""
    import pyarrow as pa

    if path.suffix == ".gz":  # Python's gzip reads a file of several parts to its end
        stream: pa.NativeFile = pa.PythonFile(_open_bytes(path), mode="r")
    else:
        stream = pa.OSFile(str(path))
    if _is_utf8(read):
        return stream
    return pa.transcoding_input_stream(stream, codecs.lookup(read.encoding).name, "utf8")


def undecodable(path: Path, read: Csv) -> Violation | None:
    """The first line that isn't written in the encoding, with the line to write instead if that is
    plain; or that the compressed file is damaged."""
    encoding = codecs.lookup(read.encoding).name
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with _open_bytes(path) as file:
        try:
            first = file.read(2)
            chunk = first + file.read(CHUNK_BYTES)
            if _is_utf8(read) and first in _MARKS:
                rule = f"{_rule(read)}{_to_write(_MARKS[first])}"
                return Violation(path.name, 1, None, None, rule)
            while True:
                try:
                    line += decoder.decode(chunk, final=not chunk).count("\n")
                except UnicodeDecodeError as error:
                    return _told(path, read, line, error)
                if not chunk:
                    return None
                chunk = file.read(CHUNK_BYTES)
        except UNREADABLE as error:
            return Violation(path.name, None, None, None, f"a file is whole gzip ({error})")


def _told(path: Path, read: Csv, line: int, error: UnicodeDecodeError) -> Violation:
    before, wrong = error.object[: error.start], error.object[error.start : error.end]
    line += before.decode(error.encoding, "replace").count("\n")
    # Every byte is a character in cp1252 but for five, so it is the likely one of the old ones.
    likely = _is_utf8(read) and wrong[0] >= 0xA0
    rule = f"{_rule(read)}{_to_write('cp1252') if likely else ''}"
    return Violation(path.name, line, None, repr(wrong)[2:-1], rule)


def _rule(read: Csv) -> str:
    return f"a file is {'UTF-8' if _is_utf8(read) else read.encoding}"


def _to_write(encoding: str) -> str:
    return f'; if it is {encoding}, write in the use case read=Csv(encoding="{encoding}")'


def _open_bytes(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _is_utf8(read: Csv) -> bool:
    return codecs.lookup(read.encoding).name in ("utf-8", "utf-8-sig")


def _encoding(read: Csv) -> str:
    return "utf-8-sig" if _is_utf8(read) else read.encoding
