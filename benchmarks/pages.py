"""How long a change on the page of a patient takes to show, and what pages weigh; writes benchmarks/PAGES.md.

In Chromium, against a service in a process of its own on the same machine. A time is from the event of the change in
the page to the first frame after the answer to it stands there; the smallest, median and largest of many are given.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser import CHROMIUM, chromium, open_example, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TIMES = 40
HERE = Path(__file__).parent
PAGES = ("/", "/guideline", "/guideline/decisions/MaintenanceTreatment", "/source", "/cohort", "/about", "/query")
# Resolves with the time from a change until a frame is shown in which the words above the answer are others.
CHANGE = """([id, key]) => new Promise(done => {
  const field = document.getElementById(id), told = document.getElementById("answer");
  const before = told.textContent;
  const start = performance.now();
  const watch = new MutationObserver(() => {
    if (document.getElementById("answer").textContent === before) return;
    watch.disconnect();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
  });
  const all = { subtree: true, childList: true, characterData: true };
  watch.observe(document.getElementById("workspace").parentElement, all);
  if (key === null) field.click();
  else { field.value = key; field.dispatchEvent(new InputEvent("input", { bubbles: true })); }
})"""


def timed(page: Page, changes: list[tuple[str, str | None]]) -> list[float]:
    """The milliseconds of each of many changes, one after the other."""
    found = []
    for number in range(TIMES):
        found.append(float(page.evaluate(CHANGE, list(changes[number % len(changes)]))))
        page.wait_for_timeout(120)
    return found


def weighed(browser: Browser, address: str, path: str) -> tuple[int, int]:
    """The bytes of a page with all that it loads, and of the page alone; nothing is compressed on the way."""
    sizes: dict[str, int] = {}
    page = browser.new_context(base_url=address).new_page()
    page.on("response", lambda response: sizes.__setitem__(response.url, len(response.body())))
    page.goto(path)
    page.wait_for_load_state("networkidle")
    own = {url: size for url, size in sizes.items() if url.startswith(address)}
    page.close()
    return sum(own.values()), own[address + path]


def row(words: str, found: list[float]) -> str:
    return f"| {words} | {min(found):.0f} | {statistics.median(found):.0f} | {max(found):.0f} |"


def main() -> int:
    if CHROMIUM is None:
        sys.stderr.write("no Chromium is installed\n")
        return 1
    with tempfile.TemporaryDirectory() as config, serving(Path(config)) as address, chromium() as browser:
        page = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=address).new_page()
        page.goto("/")
        page.wait_for_load_state("networkidle")
        rows = [
            row(
                "an empty form, a fact is answered or taken back",
                timed(page, [("f-VitaminB12Deficiency-yes", None), ("f-VitaminB12Deficiency", None)]),
            )
        ]
        page.locator("#reading-head").click()
        open_example(page, "conflict.json")
        flips: list[tuple[str, str | None]] = [
            ("f-NeurologicalInvolvement-no", None),
            ("f-NeurologicalInvolvement-yes", None),
        ]
        rows.append(row("a full record with two conflicts, a fact is changed", timed(page, flips)))
        lengths: list[tuple[str, str | None]] = [("f-DistalIleumResected", "15"), ("f-DistalIleumResected", "35")]
        rows.append(row("the same, a length is typed", timed(page, lengths)))
        for view, words in (
            ("why", "the same with every reason and its picture"),
            ("change", "the same with what would change it"),
        ):
            page.locator(f'.views button[value="{view}"]').click()
            page.locator(f'.views button[value="{view}"][aria-current]').wait_for()
            page.wait_for_timeout(300)
            rows.append(row(words, timed(page, flips)))
        weights = [(path, *weighed(browser, address, path)) for path in PAGES]
        version = browser.version
    processor: Any = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    lines = [
        "# The pages",
        "",
        f"By `make bench-pages`: Chromium {version}, Python {platform.python_version()},",
        f"{os.cpu_count()} cores ({processor}).",
        f"From a change in the page to the first frame with the new answer, in milliseconds, of {TIMES} each;",
        "at most 200 are aimed at. 40 of them are waited for further changes, so that what is typed is one request.",
        "",
        "| what is changed | least | median | most |",
        "|---|---|---|---|",
        *rows,
        "",
        "Bytes of a page with all that it loads, nothing compressed; at most 300,000 are aimed at without the editor",
        "of SPARQL, which is on the page `/query` only.",
        "",
        "| page | with all that it loads | the page alone |",
        "|---|---|---|",
        *(f"| `{path}` | {whole:,} | {alone:,} |" for path, whole, alone in weights),
        "",
    ]
    (HERE / "PAGES.md").write_text("\n".join(lines), encoding="utf-8")
    sys.stdout.write("\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
