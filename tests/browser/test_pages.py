"""Each page in a browser: narrow and wide, light and dark, in each state that a team is in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from tests.browser.conftest import MONTHS, Address, Team

from streamflow.console.pages import ROUTES

pytestmark = pytest.mark.browser

STATES = ("no month", "no model", "one month", "months", "alarm")
PAGES = (
    *("/", "/entities", "/entities/contacts", "/models", "/data", "/history", "/months"),
    *("/sign-in", "/nowhere"),
)
Scheme = Literal["light", "dark"]
WIDTHS, SCHEMES = (390, 1440), ("light", "dark")
PATIENCE_SECONDS = 120


@contextmanager
def looking(browser: Browser, width: int, scheme: Any, **how: Any) -> Iterator[Page]:
    """A page of so many pixels; nothing in it may fail."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, **how
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    # Chromium tells of an answer's status as an error, which it is meant to be.
    assert [one for one in wrong if "status of 4" not in one] == []


def pictures(otherwise: Path) -> Path:
    """The folder for pictures that STREAMFLOW_TEST_PICTURES names."""
    return Path(os.environ.get("STREAMFLOW_TEST_PICTURES") or otherwise)


def require_fine(page: Page, picture: str = "") -> None:
    """Nothing is wider than the window, and a screen reader can read it. Where
    STREAMFLOW_TEST_PICTURES names a folder, it is kept there as a picture, to be looked at."""
    if picture and (folder := os.environ.get("STREAMFLOW_TEST_PICTURES")):
        place = page.url.partition("://")[2].partition("/")[2].rpartition("/reports/")[2]
        place = re.sub(r"[^a-z0-9]+", "-", place.lower()).strip("-")[:60]
        page.screenshot(path=Path(folder) / f"{picture}-{place}.png", full_page=True)
    wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wider <= 0, f"{page.url} is {wider} px too wide"
    found = Axe().run(page).response["violations"]
    serious = [
        (one["id"], one["impact"], one["nodes"][0]["html"][:200])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == [], page.url


def every_page(page: Page, address: str) -> Iterator[str]:
    """Goes to each page that there is in the team's state, and yields its path."""
    for path in PAGES:
        page.goto(address + path)
        yield path
    page.goto(f"{address}/entities")
    if page.locator("table.ranked a").count():
        page.locator("table.ranked a").first.click()
        yield "/entities/one"
        page.locator("table.known tbody td a").first.click()
        yield "/data/versions"
        page.go_back()
        page.get_by_role("link", name="Answers that were given").click()
        yield "/entities/answers"
        if page.get_by_role("link", name="Replay").count():
            page.get_by_role("link", name="Replay").click()
            until_over(page)
            yield "/entities/answers/replay"
    page.goto(f"{address}/models")
    if page.locator('form[action="/models/compare"]').count():
        page.locator('form[action="/models/compare"] button').click()
        until_over(page)
        yield "/models/compare"
    page.goto(f"{address}/data")
    if page.locator("ul.files a").count():
        page.locator("ul.files a").first.click()
        yield "/data#violations"
    if page.get_by_role("button", name="Show").count():
        page.get_by_label("table").select_option("subscriptions")
        page.get_by_role("button", name="Show").click()
        yield "/data/corrections"
    page.goto(f"{address}/months")
    if page.get_by_role("link", name="Report of").count():
        page.get_by_role("link", name="Report of").first.click()
        yield "/months/report"


def sign_in(page: Page, address: str, key: str) -> None:
    page.goto(f"{address}/sign-in")
    page.get_by_label("API key").fill(key)
    page.locator("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/")


def until_over(page: Page) -> None:
    """The act that the page is about has ended."""
    page.locator("#act .standing:not(.unknown)").wait_for(timeout=PATIENCE_SECONDS * 1000)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("state", STATES)
def test_every_page(
    browser: Browser,
    teams: dict[str, Team],
    console: Address,
    state: str,
    width: int,
    scheme: Scheme,
) -> None:
    picture = f"{state}-{width}-{scheme}".replace(" ", "_")
    with looking(browser, width, scheme) as page:
        seen = set()
        for path in every_page(page, console(teams[state])):
            require_fine(page, picture)
            seen.add(path)
    if state in ("months", "alarm"):
        answered = {route.path for route in ROUTES if route.method == "GET"}
        # A picture; and the page of an act that somebody with a key has begun.
        assert answered - seen == {"/models/plot", "/acts"}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_of_somebody_who_may_act(
    browser: Browser, teams: dict[str, Team], console: Address, width: int, scheme: Scheme
) -> None:
    team = teams["with keys"]
    address, key = console(team), team.new_key("read", "predict", "promote")
    with looking(browser, width, scheme) as page:
        sign_in(page, address, key)
        for path in every_page(page, address):
            if path == "/entities/one":
                page.locator("details.forget summary").click()
            require_fine(page, f"key-{width}-{scheme}")
        page.goto(f"{address}/models")
        form = page.locator('form[action="/models/promote"]')
        form.get_by_label("Version").select_option("1")
        form.get_by_label("Why").fill("to see that it can't take the place of itself")
        form.get_by_role("button").click()
        until_over(page)
        require_fine(page, f"key-{width}-{scheme}")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_of_a_month(
    browser: Browser, teams: dict[str, Team], tmp_path: Path, width: int, scheme: Scheme
) -> None:
    reports = sorted((teams["months"].home / "reports").glob("*.html"))
    assert len(reports) == len(MONTHS)
    reports = [reports[0], reports[-1]]
    with looking(browser, width, scheme) as page:
        for report in reports:
            page.goto(report.as_uri())
            require_fine(page, f"report-{width}-{scheme}")
            page.emulate_media(media="print")
            require_fine(page, f"report-print-{width}-{scheme}")
            page.emulate_media(media="null")
            printed = pictures(tmp_path) / f"{report.stem}-{scheme}.pdf"
            page.pdf(path=printed, format="A4")
            assert printed.stat().st_size > 10_000


def test_the_report_within_the_console(
    browser: Browser, teams: dict[str, Team], console: Address
) -> None:
    with looking(browser, 1440, "light") as page:
        page.goto(f"{console(teams['months'])}/months")
        page.get_by_role("link", name=f"Report of {MONTHS[-1]}").click()
        assert MONTHS[-1] in page.locator("h1").inner_text()
        # Its styles are its own, and its policy allows them.
        assert page.evaluate("getComputedStyle(document.body).marginTop") == "0px"


def test_the_search_answers_while_one_types(
    browser: Browser, teams: dict[str, Team], console: Address
) -> None:
    with looking(browser, 1440, "light") as page:
        page.goto(f"{console(teams['months'])}/entities")
        last = page.locator("table.ranked a").last.inner_text()
        with page.expect_response(lambda answer: "q=" in answer.url):
            page.get_by_label("Part of the id").press_sequentially(last, delay=5)
        page.wait_for_function("document.querySelectorAll('table.ranked a').length === 1")
        assert page.locator("table.ranked a").inner_text() == last
        assert page.get_by_label("Part of the id").input_value() == last
