"""What an API of the same home tells of its requests."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from streamflow.operations import running_servers

# A page doesn't wait longer for it.
_SECONDS = 0.5
_LINE = re.compile(
    r'^streamflow_request_duration_seconds_(sum|count)\{route="/predict"\} (\S+)$', re.MULTILINE
)
_MOST_BYTES = 2_000_000


@dataclass(frozen=True)
class ApiFigures:
    """An API that runs at `url`; `mean_seconds` of /predict is None if it doesn't
    tell, or had no request."""

    url: str
    answers: bool
    mean_seconds: float | None


def api_figures(home: Path) -> ApiFigures | None:
    """Of the first API of the home, None if none runs."""
    for url in running_servers.urls(home, "api"):
        try:
            with urllib.request.urlopen(f"{url}/metrics", timeout=_SECONDS) as response:
                text = response.read(_MOST_BYTES).decode("utf-8", "replace")
        except OSError:
            return ApiFigures(url, _answers(url), None)
        sums = {"sum": 0.0, "count": 0.0}
        for kind, value in _LINE.findall(text):
            sums[kind] += float(value)
        mean = sums["sum"] / sums["count"] if sums["count"] else None
        return ApiFigures(url, True, mean)
    return None


def _answers(url: str) -> bool:
    """Whether it is alive, where its metrics are for those with a key."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=_SECONDS):
            return True
    except OSError:
        return False
