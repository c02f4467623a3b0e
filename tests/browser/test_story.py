"""From the key to the history, in a browser with JavaScript and in one without."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser
from tests.browser.conftest import Address, Team
from tests.browser.test_pages import looking, require_fine

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without"])
def test_sign_in_find_read_promote_roll_back_and_look_at_the_history(
    browser: Browser, teams: dict[str, Team], console: Address, scripts: bool
) -> None:
    # What is done in one browser doesn't change what the other finds.
    team = teams["one month"] if scripts else teams["alarm"]
    key, address = team.new_key("read", "promote"), console(team)
    with looking(browser, 1440, "light", java_script_enabled=scripts) as page:
        page.goto(f"{address}/sign-in")
        page.get_by_label("API key").fill(key)
        page.locator("main").get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{address}/")
        page.get_by_role("link", name="Users", exact=True).click()
        somebody = page.locator("table.ranked a").first.inner_text()
        page.get_by_label("Part of the id").fill(somebody)
        page.get_by_role("button", name="Show").click()
        page.locator("table.ranked a", has_text=somebody).click()
        assert somebody in page.locator("h1").inner_text()
        assert page.locator("ol.reasons li").count() > 0
        page.get_by_role("link", name="Models", exact=True).click()
        act = page.locator('form[action="/models/promote"]')
        act.get_by_label("Version").select_option("1")
        act.get_by_label("To").select_option("staging")
        act.get_by_label("Why").fill("looked at <b>it</b>")
        act.get_by_role("button").click()
        page.wait_for_url(f"{address}/history")
        first = page.locator("tbody tr").first
        assert "looked at <b>it</b>" in first.inner_text()
        assert "(ann)" in first.inner_text()
        page.get_by_role("link", name="Overview", exact=True).click()
        assert "No version is in Production" in page.locator(".standing").inner_text()
        page.get_by_role("link", name="Models", exact=True).click()
        act = page.locator('form[action="/models/promote"]')
        act.get_by_label("Version").select_option("1")
        act.get_by_label("To").select_option("production")
        act.get_by_label("Why").fill("it was right")
        act.get_by_role("button").click()
        page.wait_for_url(f"{address}/history", timeout=120_000)
        assert "The chain is whole" in page.locator("main").inner_text()
        assert "it was right" in page.locator("tbody tr").first.inner_text()
        page.get_by_role("button", name="dark").click()
        assert page.locator("html").get_attribute("data-theme") == "dark"
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("API key").wait_for()
        if scripts:
            require_fine(page)
