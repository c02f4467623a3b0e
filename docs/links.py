"""Links of pages to files that aren't pages: they are shown as the file's path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def to_files_that_are_no_pages(app: Any, name: str, source: list[str]) -> None:
    """Replace links that lead out of this folder: on GitHub they work, on the pages they can't."""
    root = Path(app.srcdir)
    folder = (root / name).parent

    def shown(found: re.Match[str]) -> str:
        text, target, _ = found.groups()
        if "://" in target:
            return found[0]
        file = (folder / target).resolve()
        if file.suffix == ".md" and file.is_relative_to(root.resolve()) and file.exists():
            return found[0]
        if file.suffix in (".svg", ".png"):
            return found[0]
        bare = text.strip("`")
        path = file.relative_to(root.parent.resolve())
        return f"`{path}`" if bare == str(path) else f"{text} (`{path}`)"

    source[0] = _LINK.sub(shown, source[0])
