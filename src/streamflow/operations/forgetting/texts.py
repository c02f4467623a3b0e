"""An id in text files is masked in place: each of its bytes becomes an asterisk.

The file keeps its length, so that a server that appends to it goes on, and a mask that was
interrupted can be put on again.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

_AT_A_TIME = 200  # ids in one regular expression
# What an id is made of: beside these, another id begins or ends.
_WORD = rb"[0-9A-Za-z_\x80-\xff-]"
# A short id, or a number, is a word of its own in many texts; within these marks it is an id.
_SHORTEST_DISTINCTIVE = 4
_BEFORE = rb"""[\"'`(\[{<>/=,;\n]"""
_AFTER = rb"""[\"'`)\]}<>/?&,;\r\n]"""

Patterns = Sequence[re.Pattern[bytes]]


def patterns(entities: Iterable[str]) -> Patterns:
    """What finds the ids in text: as they are, and as CSV, JSON, HTML and URLs write them.

    An id that is longer, and has one of these in it, isn't found. Of an id that is a number, or has
    fewer than 4 characters, only what stands between quotes, brackets, commas or slashes is.
    """
    distinctive: list[bytes] = []
    others: list[bytes] = []
    for entity in entities:
        (distinctive if is_distinctive(entity) else others).extend(_spellings(entity))
    return [
        *_compiled(distinctive, b"(?<!" + _WORD + b")(?:%s)(?!" + _WORD + b")"),
        *_compiled(others, b"(?:(?<=" + _BEFORE + b")|^)(?:%s)(?:(?=" + _AFTER + b")|$)"),
    ]


def is_distinctive(entity: str) -> bool:
    """Whether the id, as a word, is nothing else than an id: no number, and not very short."""
    return len(entity) >= _SHORTEST_DISTINCTIVE and not entity.isdecimal()


def mask(file: Path, found_by: Patterns) -> int:
    """Mask what the patterns find in the file, and return how often that was."""
    if not found_by:
        return 0
    with file.open("r+b", buffering=0) as stream:
        content = stream.readall()
        places = {one.span() for pattern in found_by for one in pattern.finditer(content)}
        for start, end in sorted(places):
            # A log may have been emptied meanwhile.
            if os.fstat(stream.fileno()).st_size >= end:
                os.pwrite(stream.fileno(), b"*" * (end - start), start)
    return len(places)


def text_files(folders: Iterable[Path], suffixes: frozenset[str] | None = None) -> Iterator[Path]:
    """The files in the folders that aren't links, sorted; of these suffixes alone, if given."""
    for folder in folders:
        with suppress(FileNotFoundError):
            for path in sorted(folder.rglob("*")):
                wanted = suffixes is None or path.suffix.casefold() in suffixes
                if wanted and path.is_file() and not path.is_symlink():
                    yield path


def _spellings(entity: str) -> Iterator[bytes]:
    found = {
        entity,
        entity.replace('"', '""'),
        json.dumps(entity)[1:-1],
        json.dumps(entity, ensure_ascii=False)[1:-1],
        html.escape(entity),
        html.escape(entity, quote=False),
        quote(entity, safe=""),
        quote(entity),
    }
    # The longest first: another one may be its beginning.
    yield from sorted((re.escape(one.encode()) for one in found), key=len, reverse=True)


def _compiled(spellings: Sequence[bytes], form: bytes) -> Iterator[re.Pattern[bytes]]:
    for start in range(0, len(spellings), _AT_A_TIME):
        either = b"|".join(spellings[start : start + _AT_A_TIME])
        yield re.compile(form.replace(b"%s", either), re.MULTILINE)
