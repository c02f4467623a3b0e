"""The documentation in the console: it works under its policy, and loads nothing from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.browser.conftest import REPOSITORY, Address, Team
from tests.browser.test_pages import looking

from streamflow.console import server

pytestmark = pytest.mark.browser

PAGES = ("", "quickstart.html", "promoting.html", "reference/commands.html", "genindex.html")


@pytest.fixture(scope="session")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as `make docs` builds them."""
    folder = tmp_path_factory.mktemp("guide")
    build = ("-m", "sphinx", "--quiet", "--fail-on-warning", "-b", "html", "docs", str(folder))
    subprocess.run([sys.executable, *build], cwd=REPOSITORY, check=True)
    return folder


@pytest.mark.parametrize("width", [390, 1440])
def test_the_guide_works_under_its_policy(
    browser: Browser,
    console: Address,
    guide: Path,
    prepared_database: str,
    new_database: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
) -> None:
    monkeypatch.setattr(server, "built_guide", lambda: guide)
    address = console(Team(new_database(prepared_database), tmp_path, "churn"))
    asked: list[str] = []
    with looking(browser, width, "dark") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.get_by_role("link", name="The guide").click()
        # Its own script has chosen the colours, which the policy names by its hash.
        page.locator("body[data-theme=auto]").wait_for()
        assert "StreamFlow" in page.title()
        for name in PAGES:
            assert page.goto(f"{address}/docs/guide/{name}").status == 200  # type: ignore[union-attr]
            wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wider <= 0, page.url
        page.goto(f"{address}/docs/guide/search.html?q=rollback")
        page.locator("#search-results li a").first.wait_for()
    assert {one for one in asked if not one.startswith((f"{address}/", "data:"))} == set()
