"""Makes the pictures of the README: `make screenshots`. Needs Chromium; the document is not shown in any of them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.browser import CHROMIUM, ROOT, chromium, look, open_example, serving

FOLDER = ROOT / "docs" / "pages"


def main() -> int:
    """Make the pictures; 1 where there is no browser to make them with."""
    if CHROMIUM is None:
        sys.stderr.write("no Chromium is installed\n")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as config, serving(Path(config)) as address, chromium() as browser:
        page = browser.new_context(
            viewport={"width": 1280, "height": 1100}, base_url=address, locale="en-GB"
        ).new_page()
        page.goto("/")
        page.locator("#reading-head").click()
        open_example(page, "conflict.json")
        page.locator("#answer").evaluate("e => e.scrollIntoView()")
        page.wait_for_timeout(500)
        look(page, FOLDER / "recommendation.png")
        page.locator('.views button[value="why"]').click()
        page.locator("#why-MaintenanceTreatment .picture").wait_for()
        page.locator("#why-MaintenanceTreatment").evaluate("e => e.scrollIntoView()")
        page.wait_for_timeout(500)
        look(page, FOLDER / "why.png")
        page.goto("/guideline/decisions/MaintenanceTreatment?table.status=conflict")
        look(page, FOLDER / "table.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
