"""A service with its pages, and Chromium to look at it with; for tests, and for the pictures of the README."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from b12kg.resources import EXAMPLES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[1]
SOURCE = ROOT.parent / "shared" / "sources" / "dr-oracle-2025-10-20.txt"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@contextmanager
def serving(config: Path, *options: str) -> Iterator[str]:
    """The address of a service that is there meanwhile, with its keys in a folder of its own."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(config), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "b12kg", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Where tests run as root, Chromium has no sandbox of its own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def open_example(page: Page, name: str) -> None:
    """Read one of the example patients into the form."""
    page.locator("#read-file").set_input_files(EXAMPLES / name)
    page.get_by_role("button", name="Read it").click()
    main = page.locator("main")
    main.get_by_text("was read into the fields below").or_(main.get_by_text("What became of each resource")).wait_for()


def look(page: Page, path: Path, *, whole: bool = False) -> None:
    """Take a picture; without the style that would hide the caret, which the pages' policy forbids."""
    page.screenshot(path=path, full_page=whole, caret="initial")
