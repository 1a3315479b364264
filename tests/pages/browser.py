"""A headless Chromium, the one that Debian has, with everything it has to say about a page."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

MISSING = None if shutil.which("chromium") else "no chromium: make deps"
SCHEMES = ("light", "dark")
WIDTHS = (360, 1440)

# Of each text that is seen: its contrast with what lies behind it, as WCAG counts it.
CONTRASTS = """
() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const ink = parse(node instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(node))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), node.getBoundingClientRect().height,
                node.textContent.trim().slice(0, 40)]);
  }
  return found;
}
"""


@dataclass
class Seen:
    """A page that was loaded, and what the browser complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def as_seen(self, scheme: Any, width: int) -> None:
        """The same page by another light, on another screen."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": 900})

    def evaluate(self, script: str) -> Any:
        return self.page.evaluate(script)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def looked_at(browser: Browser, url: str, scheme: Any, width: int) -> Iterator[Seen]:
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, device_scale_factor=1
    )
    seen = Seen(context.new_page())
    seen.page.on("console", lambda message: seen.complaints.append(message.text))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on("dialog", lambda dialog: (seen.complaints.append("dialog"), dialog.dismiss()))
    seen.page.on("requestfailed", lambda request: seen.complaints.append(request.url))
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.goto(url)
    yield seen
    context.close()
