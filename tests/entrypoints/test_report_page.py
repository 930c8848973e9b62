"""The page in a real Chromium: nothing is fetched, nothing is refused, axe finds nothing, and it fits a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright

from maintenance.gathering import gathered
from maintenance.report.page import html
from maintenance.report.situation import Course
from tests.databases import Database
from tests.days import SCHEDULES, lived
from tests.gateway import gateway
from tests.situations import SITUATION
from tests.unit.test_report import ILL, evil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian and Ubuntu: apt install chromium)")
SIZES = {"phone": 360, "desk": 1280}
Scheme = Literal["light", "dark"]


@dataclass(slots=True)
class Shown:
    """A page in the browser, and all that it asked for and complained about."""

    page: Page
    asked: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    async def violations(self) -> str:
        """What axe has found, in words; empty where there is nothing."""
        found = (await Axe().run(self.page)).response
        return json.dumps(
            [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found["violations"]], indent=1
        )


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield opened
        await opened.close()


@asynccontextmanager
async def shown(browser: Browser, url: str, *, scheme: Scheme = "light", width: int = 1280) -> AsyncIterator[Shown]:
    context = await browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    try:
        seen = Shown(page=await context.new_page())
        seen.page.on("request", lambda request: seen.asked.append(request.url))
        seen.page.on("console", lambda message: seen.told.append(message.text))
        seen.page.on("pageerror", lambda error: seen.told.append(str(error)))
        await seen.page.goto(url)
        yield seen
    finally:
        await context.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The addresses of pages of all kinds."""
    folder = tmp_path_factory.mktemp("pages")
    empty = replace(SITUATION, runs=(), latest=(), begun=(), lags=(), course=Course(), ledger=False)
    kinds = {"well": SITUATION, "empty": empty, "evil": evil(), **{f"ill{n}": one for n, (one, *_) in enumerate(ILL)}}
    for name, situation in kinds.items():
        (folder / f"{name}.html").write_text(html(situation), encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in kinds}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["well", "empty", "evil", "ill1", "ill9"])
async def test_a_page_is_quiet_accessible_and_as_wide_as_its_window(
    browser: Browser, pages: dict[str, str], kind: str, size: str, scheme: Scheme
) -> None:
    async with shown(browser, pages[kind], scheme=scheme, width=SIZES[size]) as seen:
        assert seen.asked == [pages[kind]]
        assert seen.told == []
        assert await seen.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        # With everything opened that a reader may open.
        await seen.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert await seen.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert await seen.violations() == "[]"
        assert seen.asked == [pages[kind]]


async def test_light_and_dark_are_two_pages(browser: Browser, pages: dict[str, str]) -> None:
    async def colour(scheme: Scheme) -> Any:
        async with shown(browser, pages["well"], scheme=scheme) as seen:
            return await seen.page.evaluate(
                "[getComputedStyle(document.body).backgroundColor,"
                " getComputedStyle(document.querySelector('svg.plot .color-0')).fill]"
            )

    light, dark = await colour("light"), await colour("dark")
    assert [one != other for one, other in zip(light, dark, strict=True)] == [True, True]


async def test_the_style_is_applied_under_the_pages_own_security_policy(
    browser: Browser, pages: dict[str, str]
) -> None:
    async with shown(browser, pages["well"]) as seen:
        assert await seen.page.evaluate("getComputedStyle(document.querySelector('.hero')).display") == "grid"
        # The policy refuses what would come from outside, and says so.
        refused = seen.page.evaluate(
            "new Promise(done => {"
            " document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective));"
            " const image = new Image(); image.src = 'http://127.0.0.1:9/x.png'; document.body.append(image); })"
        )
        assert await refused == "img-src"


async def test_an_attack_in_a_name_is_text(browser: Browser, pages: dict[str, str]) -> None:
    async with shown(browser, pages["evil"]) as seen:
        assert await seen.page.evaluate("document.querySelectorAll('script, img').length") == 0
        assert "<script>alert(1)</script>" in await seen.page.inner_text("h1")


async def test_the_app_serves_the_report_of_some_days(
    browser: Browser, fleet: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = replace(fleet.settings, schedules=SCHEDULES)
    await lived(settings, fleet.connection, 3)
    for name, value in fleet.environment.items():
        monkeypatch.setenv(name, value)
    async with gateway() as app:
        url = f"{app.url}/report?code=key"
        async with shown(browser, url, width=SIZES["phone"]) as seen:
            assert (seen.asked, seen.told) == ([url], [])
            assert await seen.page.inner_text(".state .word") == "All well"
            assert await seen.page.locator("svg.plot[role=img]").count() >= 5
            assert await seen.page.locator("figure details table").count() >= 5
            assert await seen.page.locator("details.run").count() == len((await gathered(settings)).runs)
            assert await seen.violations() == "[]"
            assert (await seen.page.screenshot(path=tmp_path / "report.png"))[:4] == b"\x89PNG"
