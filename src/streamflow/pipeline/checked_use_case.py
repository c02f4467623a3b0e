"""The whole check of a use case, once for each state of its sources.

Feast takes seconds to import. A step that works without it remembers in the home which sources were
found to be right.
"""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path

from streamflow.features import use_case_check
from streamflow.lineage.code import OWN_PACKAGES, package
from streamflow.platform import Platform
from streamflow.private_files import make_folder
from streamflow.use_case.module import import_use_case

_LIBRARIES = ("feast", "pandera")


def require_usable(platform: Platform) -> None:
    """Raises UseCaseRefused if tables and features of the platform's use case can't work.

    The features module may import others than the use case's own package; `apply` and `train`
    check again in any case.
    """
    remembered = _remembered(platform)
    if remembered is not None and remembered.exists():
        return
    use_case_check.require_usable(platform.use_case)
    if remembered is not None:
        make_folder(remembered.parent)
        remembered.touch(mode=0o600)


def _remembered(platform: Platform) -> Path | None:
    """The file that says that these sources are right; None for a use case made at run time."""
    name = platform.settings.use_case
    if import_use_case(name) is not platform.use_case:
        return None
    sources = {one: package(one).hash for one in (*OWN_PACKAGES, name)}
    versions = {library: metadata.version(library) for library in _LIBRARIES}
    text = json.dumps([name, sources, versions], sort_keys=True)
    return platform.settings.home / "checked" / hashlib.sha256(text.encode()).hexdigest()
