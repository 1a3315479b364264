"""The pages in a real browser: light and dark, on a telephone and on a desk, as file and served."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.pages import browser, stories
from tests.pages.test_pages import HOSTILE, poisoned
from yolowatch.edges import plain
from yolowatch.edges.http import Address, HttpServer, Page
from yolowatch.model.story import Headline, Story
from yolowatch.pages.glance import runs_page
from yolowatch.pages.incident import incident_page
from yolowatch.pages.rendering import POLICY

pytestmark = pytest.mark.skipif(browser.MISSING is not None, reason=str(browser.MISSING))
PAGES = ("healed", "refused", "hostile", "runs")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Each page as it is served."""
    folder = tmp_path_factory.mktemp("stories")
    for each in ("a", "b", "c"):
        (folder / each).mkdir()
    healed, refused = stories.healed_story(folder / "a"), stories.refused_story(folder / "b")
    poison = plain.from_json(Story, json.dumps(poisoned(json.loads(plain.to_json(healed)))))
    view, told = stories.fleet(folder / "c")
    hostile_run = replace(view.runs[0], run_dir=f"/data/{HOSTILE}", model=HOSTILE, sentence=HOSTILE)
    view = replace(view, runs=(*view.runs, hostile_run), config_trouble=HOSTILE)
    headlines = [
        Headline(each.incident, each.subject.run, each.kind, each.sentence, each.opened)
        for each in (healed, poison)
    ]
    return {
        "healed": incident_page(healed, home="../"),
        "refused": incident_page(refused, home="../"),
        "hostile": incident_page(poison, home="../"),
        "runs": runs_page(view, told.stories.overview.histories, headlines, 1.8e9, "gpu-box-07"),
    }


@pytest.fixture(scope="module")
def server(pages: Mapping[str, str]) -> Iterator[HttpServer]:
    def page(path: str) -> Page | None:
        text = pages.get(path.strip("/"))
        return None if text is None else Page(text.encode(), POLICY)

    found = HttpServer(Address("127.0.0.1", 0), lambda accept: ("text/plain", b""), pages=page)
    found.start()
    yield found
    found.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable(
    chromium: Browser, pages: Mapping[str, str], tmp_path: Path, name: str
) -> None:
    """As a file that was kept: no server, no other file, no script."""
    file = tmp_path / "page.html"
    file.write_text(pages[name])
    with browser.looked_at(chromium, file.as_uri(), "light", 1440) as seen:
        for scheme, width in itertools.product(browser.SCHEMES, browser.WIDTHS):
            seen.as_seen(scheme, width)
            assert seen.evaluate("document.documentElement.scrollWidth") == width
            behind = seen.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (behind == "rgb(16, 19, 23)") == (scheme == "dark")
            texts = seen.evaluate(browser.CONTRASTS)
            assert len(texts) > 15
            assert [text for contrast, _, text in texts if contrast < 4.5] == []
            assert [text for _, height, text in texts if height < 11] == []
            assert seen.page.locator("svg path.line").filter(visible=True).count() >= 1
            assert seen.page.locator("h1").is_visible()
        assert seen.evaluate("document.scripts.length") == 0
        assert seen.complaints == []
        assert seen.requests == [file.as_uri()]
        if name == "hostile":
            said = seen.evaluate("document.body.innerText")
            assert said.count("<script>alert(1)</script>") > 30
            assert seen.evaluate("document.images.length") == 0


@pytest.mark.parametrize("name", ["hostile", "runs"])
def test_a_served_page_obeys_its_policy(chromium: Browser, server: HttpServer, name: str) -> None:
    url = server.url.replace("/metrics", f"/{name}")
    with browser.looked_at(chromium, url, "light", 1440) as seen:
        assert seen.complaints == []
        assert seen.requests == [url]
        # The policy is in force: what a page of ours never holds would not run.
        seen.evaluate(
            "document.body.append(Object.assign(document.createElement('script'),"
            " {textContent: 'window.ran = true'}))"
        )
        assert seen.evaluate("window.ran") is None
        assert any("Content Security Policy" in each for each in seen.complaints)
