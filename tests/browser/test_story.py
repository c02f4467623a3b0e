"""From the key to the history, in a browser with JavaScript and in one without."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import Browser, Page
from tests.browser.conftest import Address, Team
from tests.browser.test_pages import (
    PATIENCE_SECONDS,
    SCHEMES,
    WIDTHS,
    looking,
    require_fine,
    sign_in,
    until_over,
)
from tests.e2e.serve import serving

pytestmark = pytest.mark.browser

GATES = 8


@contextmanager
def signed_in(page: Page, address: str, key: str) -> Iterator[None]:
    sign_in(page, address, key)
    yield
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").wait_for()


def act(page: Page, place: str, why: str, **chosen: str) -> None:
    """Send a form of the page of the models."""
    page.get_by_role("link", name="Models", exact=True).click()
    form = page.locator(f'form[action="/models/{place}"]')
    for label, option in chosen.items():
        form.get_by_label(label.capitalize(), exact=True).select_option(option)
    form.get_by_label("Why").fill(why)
    form.get_by_role("button").click()


def standing(page: Page) -> str:
    """How the act that the page is about has ended."""
    until_over(page)
    return page.locator("#act .standing").inner_text()


def served(api: str, key: str, version: int) -> bool:
    """Whether the API answers by the version in the end."""
    until = time.monotonic() + PATIENCE_SECONDS
    headers = {"Authorization": f"Bearer {key}"}
    while time.monotonic() < until:
        said = httpx.get(f"{api}/ready", headers=headers).json()
        if re.search(rf'"version": ?"?{version}\b', httpx.Response(200, json=said).text):
            return True
        time.sleep(0.2)
    return False


@pytest.mark.parametrize("browsing", ["with JavaScript", "without"])
def test_the_whole_story(
    browser: Browser, approving: dict[str, Team], console: Address, browsing: str
) -> None:
    team, scripts = approving[browsing], browsing == "with JavaScript"
    ann = team.new_key("read", "predict", "promote")
    bob = team.new_key("read", "promote", name="bob")
    address = console(team)
    with (
        serving(team.home, team.environment()) as child,
        looking(browser, 1440, "light", java_script_enabled=scripts) as page,
    ):
        # Without JavaScript, a click lasts until the act is done.
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        api = child.command.ready_url.removesuffix("/ready")
        with signed_in(page, address, ann):
            find_somebody_and_read_why(page)
            choose_how_many_and_export(page, scripts)
            act(page, "promote", "to try it", version="2", to="production")
            assert "may not go to Production: approval failed" in standing(page)
            assert page.locator("ul.gates li").count() == GATES
            if scripts:
                require_fine_everywhere(page)
        with signed_in(page, address, bob):
            act(page, "approve", "looked at <b>it</b>", version="2")
            page.wait_for_url(f"{address}/history")
        with signed_in(page, address, ann):
            act(page, "promote", "it was right", version="2", to="production")
            assert standing(page) == "Version 2 is in Production."
            assert served(api, ann, 2)
            compare(page)
            act(page, "rollback", "it was wrong")
            assert standing(page) == "Version 1 is in Production."
            assert served(api, ann, 1)
            page.get_by_role("link", name="See the history").click()
            assert "The chain is whole" in page.locator("main").inner_text()
            rows = page.locator("tbody tr")
            for row, (why, who) in enumerate(
                [
                    *(("it was wrong", "(ann)"), ("it was right", "(ann)")),
                    *(("looked at <b>it</b>", "(bob)"), ("to try it", "(ann)")),
                ]
            ):
                assert why in rows.nth(row).inner_text()
                assert who in rows.nth(row).inner_text()
            page.get_by_role("button", name="dark").click()
            assert page.locator("html").get_attribute("data-theme") == "dark"


def require_fine_everywhere(page: Page) -> None:
    for width in WIDTHS:
        for scheme in SCHEMES:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            require_fine(page, f"gates-{width}-{scheme}")


def find_somebody_and_read_why(page: Page) -> None:
    page.get_by_role("link", name="Users", exact=True).click()
    somebody = page.locator("table.ranked a").first.inner_text()
    page.get_by_label("Part of the id").fill(somebody)
    page.get_by_role("button", name="Show").click()
    page.locator("table.ranked a", has_text=somebody).click()
    assert somebody in page.locator("h1").inner_text()
    assert page.locator("ol.reasons li").count() > 0
    assert page.locator("table.known tbody tr").count() > 10


def choose_how_many_and_export(page: Page, scripts: bool) -> None:
    page.get_by_role("link", name="Users", exact=True).click()
    page.get_by_role("link", name="Whom to contact").click()
    slider, contacts = page.get_by_role("slider"), page.locator("#plan dd").first
    before = contacts.inner_text()
    slider.focus()
    for _ in range(30):
        slider.press("ArrowRight")
    if not scripts:
        page.get_by_role("button", name="Show").click()
    chosen = slider.input_value()
    page.locator(f'#plan input[name="contacts"][value="{chosen}"]').wait_for()
    assert contacts.inner_text() != before
    with page.expect_download() as waited:
        page.get_by_role("button", name="Export").click()
    file = waited.value
    assert re.fullmatch(r"list-\d+-2024-01-31\.csv", file.suggested_filename)
    with open(file.path(), encoding="utf-8", newline="") as opened:
        listed = list(csv.DictReader(opened))
    assert len(listed) == int(chosen)
    assert {one["assignment"] for one in listed} == {"contact", "hold-out"}


def compare(page: Page) -> None:
    page.get_by_role("link", name="Models", exact=True).click()
    page.locator('form[action="/models/compare"]').get_by_role("button").click()
    assert "ersion" in standing(page)
    assert "change" in page.locator("#act").inner_text()
