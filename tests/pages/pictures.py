"""Makes the pictures of the incident page in docs: python -m tests.pages.pictures"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.pages import browser, stories
from yolowatch.pages.incident import incident_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURES = (("incident-light.png", "light", 1100, 1500), ("incident-dark.png", "dark", 1100, 1500))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, browser.chromium() as chromium:
        file = Path(folder) / "page.html"
        file.write_text(incident_page(stories.healed_story(Path(folder))))
        for name, scheme, width, height in PICTURES:
            with browser.looked_at(chromium, file.as_uri(), scheme, width) as seen:
                clip = {"x": 0, "y": 0, "width": width, "height": height}
                seen.page.screenshot(path=DOCS / name, full_page=True, clip=clip)


if __name__ == "__main__":
    main()
