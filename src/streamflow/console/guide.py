"""The pages of documentation, as `make docs` has built them: served at /docs/guide where they are.

They lie in `build/docs` beside the source, in a checkout and in the full image; an installed wheel
has none.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles

ADDRESS = "/docs/guide"
_SELF = "'self'"
_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


def built_guide() -> Path | None:
    """The folder of the built pages, None if there is none."""
    folder = Path(__file__).parents[3] / "build" / "docs"
    return folder if (folder / "index.html").exists() else None


class Guide(StaticFiles):
    """The files of the built pages. A page may run its own scripts and no others."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, html=True)

    def file_response(self, full_path: str | os.PathLike[str], *rest: Any, **more: Any) -> Response:
        """The file; of a page, with the policy that names its scripts by their hashes."""
        response = super().file_response(full_path, *rest, **more)
        if str(full_path).endswith(".html"):
            text = Path(full_path).read_text(encoding="utf-8")
            response.headers["Content-Security-Policy"] = policy(text)
        return response


def policy(page: str) -> str:
    """What a page may load: from the console alone, and scripts in it only as they are."""
    scripts = sorted({f"'sha256-{_digest(one)}'" for one in _SCRIPT.findall(page)})
    return (
        f"default-src 'none'; script-src {' '.join([_SELF, *scripts])}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
