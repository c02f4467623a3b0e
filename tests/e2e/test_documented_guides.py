"""Every command block of the guides around the month is run, and says what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import url_of
from tests.documented_reader import FIRST_MODEL, Pages, prepare, reader

from streamflow.settings import Settings


@pytest.mark.slow
def test_the_guides_of_operations(homes: Path, tmp_path: Path, settings: Settings) -> None:
    before = {
        # The API's processes learn of a key within two seconds.
        "curl -H": "KEY=$(streamflow keys create --scope predict --name mine | head -1); sleep 3",
    }
    elsewhere = f"STREAMFLOW_DATABASE_URL= STREAMFLOW_HOME={homes}/elsewhere"
    if settings.history != "postgres":
        elsewhere += f" STREAMFLOW_HISTORY=file://{tmp_path}/elsewhere"
    other_home = {
        "STREAMFLOW_HOME=elsewhere": elsewhere,
        "/srv/history": str(tmp_path / "history"),
        "curl -H": "curl --silent --show-error --fail -H",
    }
    with reader(homes, tmp_path, url_of(settings), **other_home) as shell:
        prepare(shell, *FIRST_MODEL)
        pages = Pages(shell, before)
        pages.run("operations.md")
        pages.run("models.md")
        pages.serve("streamflow serve")
        pages.run("access.md")
        if settings.history == "postgres":  # which the page moves from there
            pages.run("history.md")
    assert pages.wrong == [], "\n\n".join(pages.wrong)
