"""The pages in a real browser: every screen and state, by keyboard, without a script, in the dark and very narrow.

Skipped where there is no Chromium. What is checked by axe-core needs its package, `npm ci --prefix tests/web_node`.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright", reason="needs Playwright")

import b12kg
from b12kg.evidence import verify_pack
from b12kg.recommend import ExecutableGuideline
from b12kg.resources import EXAMPLES
from tests.browser import CHROMIUM, SOURCE, chromium, open_example, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

AXE = Path(__file__).parent / "web_node" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
LONG = "a source with a name that does not end " * 12
EVERYTHING = {"width": 1280, "height": 900}
# 1280 pixels at a zoom of 400 % are 320 of the page's own, and 256 of 1024.
NARROW = {"width": 320, "height": 256}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config")


@pytest.fixture(scope="module")
def address(config: Path) -> Iterator[str]:
    options = ("--source", str(SOURCE)) if SOURCE.exists() else ()
    with serving(config, *options) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page that fails the test if it says anything in its console, or asks for anything elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=address, accept_downloads=True)
    made = context.new_page()
    made.set_default_timeout(20_000)
    odd: list[str] = []
    made.on("console", lambda message: odd.append(message.text) if message.type in ("error", "warning") else None)
    made.on("pageerror", lambda error: odd.append(str(error)))
    made.on("request", lambda r: odd.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None)
    yield made
    context.close()
    # A browser says each status from 400 on in its console, and htmx what was stopped.
    usual = ("Failed to load resource", "Response Status Error", "htmx:afterRequest", "htmx:sendAbort")
    assert [line for line in odd if not line.startswith(usual)] == []


# ---- screens and states ----------------------------------------------------------------------------


def said(page: Page, words: str | re.Pattern[str], **how: Any) -> Locator:
    """Where words stand in the page itself, and not where they are announced once more."""
    return page.locator("main").get_by_text(words, **how)


def empty(page: Page) -> None:
    page.goto("/")


def example(name: str, view: str = "answer") -> Callable[[Page], None]:
    def go(page: Page) -> None:
        page.goto("/")
        page.locator("#reading-head").click()
        open_example(page, name)
        if view != "answer":
            page.locator(f'.views button[value="{view}"]').click()
            page.locator(f'.views button[value="{view}"][aria-current]').wait_for()

    return go


def wrong(page: Page) -> None:
    page.goto("/")
    page.locator("#f-Hematocrit").fill("many")
    page.locator("#wrong").wait_for()


def unread(page: Page) -> None:
    page.goto("/")
    page.locator("#reading-head").click()
    page.locator("#read-record").fill('{"id": 7}')
    page.get_by_role("button", name="Read it").click()
    said(page, "The record was not read").wait_for()


def long_values(page: Page) -> None:
    entry = {"of": "PerniciousAnemia", "source": LONG.strip(), "on": "2025-01-01"}
    record = {"id": "urn:example:" + "x" * 180, "asOf": "2026-01-15", "present": [entry], "outsideSource": ["Child"]}
    record["measurements"] = [
        {"of": "Hematocrit", "value": v, "unit": "%", "on": f"202{v - 30}-01-01"} for v in (31, 32)
    ]
    page.goto("/")
    page.locator("#reading-head").click()
    page.locator("#read-record").fill(json.dumps(record))
    page.get_by_role("button", name="Read it").click()
    said(page, "was read into the fields below").wait_for()
    page.locator('.views button[value="why"]').click()
    page.locator("#why-MaintenanceTreatment").wait_for()


def at(path: str, wait: str = "main") -> Callable[[Page], None]:
    def go(page: Page) -> None:
        page.goto(path)
        page.locator(wait).first.wait_for()

    return go


def asked(query: str, wait: str) -> Callable[[Page], None]:
    def go(page: Page) -> None:
        page.goto("/query")
        page.locator(".cm-content").click()
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(query)
        page.get_by_role("button", name="Run").click()
        said(page, re.compile(wait)).first.wait_for()

    return go


CSV = "patient,PerniciousAnemia,NeurologicalInvolvement,BariatricSurgery,Hematocrit\n" + "".join(
    f"p{n},{['true', 'false', ''][n % 3]},{['true', ''][n % 2]},{['false', 'true', ''][n // 3 % 3]},{30 + n % 9}\n"
    for n in range(60)
)


def table(text: str, wait: str) -> Callable[[Page], None]:
    def go(page: Page) -> None:
        page.goto("/cohort")
        page.locator("#table").set_input_files({"name": "x.csv", "mimeType": "text/csv", "buffer": text.encode()})
        page.locator("#key").fill("patient")
        page.get_by_role("button", name="Show what it comes to").click()
        said(page, wait).wait_for()

    return go


TABLE = "/guideline/decisions/MaintenanceTreatment"
STATES: dict[str, Callable[[Page], None]] = {
    "empty": empty,
    "conflict": example("conflict.json"),
    "settled": example("pernicious-anemia-ileal-resection.json"),
    "unknowns": example("several-unknowns.json"),
    "import": example("fhir/pernicious-anemia.json"),
    "why": example("conflict.json", "why"),
    "change": example("pernicious-anemia-ileal-resection.json", "change"),
    "calendar": example("conflict.json", "calendar"),
    "files": example("conflict.json", "files"),
    "wrong": wrong,
    "unread": unread,
    "long": long_values,
    "guideline": at("/guideline"),
    "decision": at(TABLE),
    "decision-conflicts": at(f"{TABLE}?table.rows=all&table.status=conflict"),
    "decision-nothing": at(f"{TABLE}?table.status=choice"),
    "rule": at("/guideline/rules/maintenance-standard"),
    "offer": at("/guideline/offers/im-1mg-monthly-lifelong"),
    "fact": at("/guideline/facts/DistalIleumResected"),
    "findings": at("/guideline/findings?wait=yes", ".told"),
    "source": at("/source"),
    "query": at("/query", ".cm-content"),
    "query-rows": asked("SELECT ?s ?label { ?s a b12:Rule ; rdfs:label ?label }", "21 rows"),
    "query-none": asked("SELECT ?s { ?s a b12:Nothing }", "0 rows"),
    "query-wrong": asked("SELECT", "cannot be answered|not a SPARQL query|not understood|Not a"),
    "query-triples": asked("CONSTRUCT { ?s a b12:Rule } WHERE { ?s a b12:Rule }", "21 triples"),
    "cohort": at("/cohort"),
    "cohort-counted": table(CSV, "60 rows: 60 answered"),
    "cohort-refused": table("patient,nothing\n1,1\n", "The table was not answered"),
    "about": at("/about"),
    "nothing-here": at("/nothing"),
}


def violations(page: Page) -> list[str]:
    """What axe-core finds on the page as it is."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: Any = page.evaluate("tags => axe.run({runOnly: {type: 'tag', values: tags}})", TAGS)
    assert found["passes"]
    return [f"{v['id']}: {node['target']} {node['failureSummary']}" for v in found["violations"] for node in v["nodes"]]


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core, `npm ci --prefix tests/web_node`")
@pytest.mark.parametrize("state", STATES)
def test_each_state_keeps_to_wcag(page: Page, state: str) -> None:
    STATES[state](page)
    seen = {}
    for scheme, size in (("light", EVERYTHING), ("dark", EVERYTHING), ("light", NARROW)):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.set_viewport_size({"width": size["width"], "height": size["height"]})
        seen[scheme, size["width"]] = violations(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size["width"], f"{wide} pixels wide at {size['width']}"
    assert {key: found for key, found in seen.items() if found} == {}
    # Also what axe-core lets pass for its distance to others; a link within a sentence is as high as its line.
    low = page.evaluate(
        """[...document.querySelectorAll("button, input, select, textarea, summary, nav a")]
        .filter(e => e.getClientRects().length && !e.closest(".hidden") && !e.closest("[aria-hidden]"))
        .map(e => [e.tagName, e.id || e.textContent, (e.closest("label") || e).getBoundingClientRect()])
        .filter(([, , r]) => r.height < 24 || r.width < 24).map(([tag, name]) => `${tag} ${name}`)"""
    )
    assert low == []


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core, `npm ci --prefix tests/web_node`")
def test_a_defect_would_be_found(page: Page) -> None:
    empty(page)
    page.evaluate(
        "document.querySelector('#f-Hematocrit').closest('label').replaceWith(document.createElement('input'))"
    )
    assert any(line.startswith("label: ") for line in violations(page))


@pytest.mark.parametrize("state", ["conflict", "unknowns", "why", "decision", "cohort-counted"])
def test_each_status_has_its_word_and_its_icon(page: Page, state: str) -> None:
    STATES[state](page)
    states: Any = page.evaluate(
        "[...document.querySelectorAll('.state')].map(e => [e.textContent, !!e.querySelector('svg')])"
    )
    if state != "cohort-counted":
        assert len(states) > 3
    assert all(words and icon for words, icon in states)


# ---- what a user does --------------------------------------------------------------------------------


def test_the_whole_way_by_keyboard_from_the_form_to_the_evidence_pack(
    page: Page, executable: ExecutableGuideline, tmp_path: Path
) -> None:
    page.goto("/")

    def tab_to(wanted: str) -> None:
        for _ in range(150):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", wanted):
                outline: Any = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", f"{wanted} does not show that it has the focus"
                return
        raise AssertionError(f"no {wanted} by Tab")

    tab_to("a.skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    tab_to("#row-VitaminB12Deficiency input")
    page.keyboard.press("ArrowRight")
    page.locator("#told", has_text="3 of 11").wait_for()
    assert page.evaluate("document.activeElement.id") == "f-VitaminB12Deficiency-yes"
    tab_to("#row-NeurologicalInvolvement input")
    page.keyboard.press("ArrowRight")
    page.locator("#decision-InitialTreatment.recommended").wait_for()
    assert page.evaluate("document.activeElement.id") == "f-NeurologicalInvolvement-yes"
    tab_to('.views button[value="files"]')
    page.keyboard.press("Enter")
    page.locator("form[data-take]").wait_for()
    assert page.evaluate("document.activeElement.value") == "files"
    tab_to('form[data-take] button[value="evidence"]')
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    pack = tmp_path / "evidence.zip"
    download.value.save_as(pack)
    assert verify_pack(pack, executable).ok
    record = json.loads(zipfile.ZipFile(pack).read("record.json"))
    assert sorted(record["present"]) == ["NeurologicalInvolvement", "VitaminB12Deficiency"]


def test_nothing_is_lost_while_somebody_types(page: Page) -> None:
    page.goto("/")
    page.locator("#row-Hematocrit summary").click()
    field = page.locator("#f-Hematocrit")
    field.focus()
    for letter in "31.257":
        page.keyboard.type(letter)
        page.wait_for_timeout(60)
    page.keyboard.press("ArrowLeft")
    page.keyboard.type("9")
    page.locator("#f-Hematocrit\\.unit").select_option("%")
    page.locator('.told:has-text("settled")').wait_for()
    page.wait_for_timeout(200)
    assert field.input_value() == "31.2597"
    assert page.locator("#f-Hematocrit\\.unit").input_value() == "%"
    assert page.locator("#row-Hematocrit details").evaluate("e => e.open")


def test_what_is_chosen_while_an_answer_is_on_its_way_stays(page: Page) -> None:
    page.goto("/")
    for _ in range(3):
        page.locator("#f-VitaminB12Deficiency-yes").check()
        for wait in (5, 30, 45, 60, 75):
            page.wait_for_timeout(wait)
            page.locator("#f-NeurologicalInvolvement-yes").check()
            page.locator("#f-BariatricSurgery").check()
            page.wait_for_timeout(wait)
            page.locator("#f-BariatricSurgery-no").check()
        page.locator("#decision-InitialTreatment.recommended").wait_for()
        assert page.locator("#f-BariatricSurgery-no").is_checked()
        assert page.locator("#f-NeurologicalInvolvement-yes").is_checked()
        page.goto("/")


def test_fast_clicks_end_as_they_were_clicked(page: Page, executable: ExecutableGuideline) -> None:
    page.goto("/")
    names = ["PerniciousAnemia", "NeurologicalInvolvement", "BariatricSurgery", "RenalDysfunction", "PlanningPregnancy"]
    page.evaluate("names => names.forEach(name => document.getElementById(`f-${name}-no`).click())", names)
    for name in names[:3]:
        page.locator(f"#f-{name}-yes").check()
    expected = executable.recommend({"id": "p", "asOf": "2026-01-15", "present": names[:3], "absent": names[3:]})
    wanted = {f"decision-{name}": f"card {found.status}" for name, found in expected.decisions.items()}
    page.wait_for_function(
        "wanted => Object.entries(wanted).every(([id, state]) => document.getElementById(id)?.className === state)",
        arg=wanted,
    )


def test_a_change_is_announced_where_it_was_announced_before(page: Page) -> None:
    page.goto("/")
    told = page.locator("#told").element_handle()
    before = told.text_content()
    page.locator("#f-VitaminB12Deficiency-no").check()
    page.wait_for_function("before => document.getElementById('told').textContent !== before", arg=before)
    assert told.evaluate("e => e.isConnected && e.getAttribute('role') === 'status'")
    assert "of 11 decisions are settled" in (told.text_content() or "")


def test_what_is_new_is_announced_and_led_to(page: Page) -> None:
    unread(page)
    page.wait_for_function("() => document.activeElement.textContent === 'The record was not read'")
    open_example(page, "conflict.json")
    page.wait_for_function("() => document.activeElement.textContent.startsWith('The record was read into the fields')")
    page.wait_for_function("() => document.getElementById('heard').textContent.includes('was read into the fields')")
    page.goto(TABLE)
    page.get_by_label("Comes to").select_option("conflict")
    page.wait_for_function("() => document.getElementById('heard').textContent.includes('12 rows')")
    asked("SELECT ?s { ?s a b12:Nothing }", "0 rows")(page)
    page.wait_for_function("() => document.getElementById('heard').textContent.includes('0 rows')")
    table(CSV, "60 rows: 60 answered")(page)
    page.wait_for_function("() => document.getElementById('heard').textContent.includes('60 answered')")


def test_a_service_that_is_gone_is_said(browser: Browser, config: Path) -> None:
    with serving(config) as there:
        context = browser.new_context(base_url=there)
        page = context.new_page()
        page.goto("/")
    page.locator("#f-VitaminB12Deficiency-no").check()
    page.locator("#said", has_text="cannot be reached").wait_for()
    assert page.locator(".card").count() == 0  # they were the answer to something else
    assert page.locator("#told").text_content() == "Not answered."
    assert page.locator("#said").get_attribute("role") == "alert"
    context.close()


def test_no_answer_is_left_beside_what_is_wrong(page: Page) -> None:
    page.goto("/")
    date = page.locator('input[name="record.asOf"]')
    for how in ("emptied", "begun"):
        date.fill("2026-01-15")
        page.locator(".card").first.wait_for()
        if how == "emptied":
            date.fill("")
        else:
            date.press("Backspace")
        page.locator("#wrong").wait_for()
        assert page.locator(".card").count() == 0
        assert "thing to mend" in (page.locator("#told").text_content() or "")


def test_the_calendar_follows_its_first_day(page: Page) -> None:
    example("conflict.json", "calendar")(page)
    page.get_by_label("First day of treatment").fill("2026-03-01")
    said(page, "Day 1, the first day of treatment, is 2026-03-01").wait_for()
    page.locator("#f-NeurologicalInvolvement-no").check()
    page.locator("#told", has_text="1 of them").wait_for()
    assert page.get_by_label("First day of treatment").input_value() == "2026-03-01"
    assert page.locator(".line .event").count() > 3


def test_a_link_holds_the_record_where_nobody_is_sent_it(browser: Browser, address: str) -> None:
    context = browser.new_context(base_url=address, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.url} {request.headers.get('referer', '')}"))
    example("conflict.json", "files")(page)
    page.get_by_role("button", name="Copy a link that holds the record").click()
    said(page, "Copied: a link").wait_for()
    link: str = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{address}/#record=")
    page.goto("/about")
    page.goto(link)
    page.locator("#decision-MaintenanceTreatment.conflict").wait_for()
    assert page.locator('input[name="record.id"]').input_value() == "urn:example:conflict"
    assert page.url == f"{address}/"
    coded = link.partition("=")[2]
    assert not [line for line in sent if coded in line or "urn:example" in line or "PerniciousAnemia" in line]
    page.locator('.views button[value="files"]').click()
    for name, start in (("Text", "Dr.Oracle"), ("JSON", "{"), ("Turtle", "@prefix"), ("Calendar", "BEGIN:VCALENDAR")):
        page.get_by_role("button", name=f"Copy {name}").click()
        said(page, f"Copied: {name}").wait_for()
        assert page.evaluate("navigator.clipboard.readText()").startswith(start)
    page.goto("/#record=none")
    said(page, "was not read").or_(page.locator("#said:not(:empty)")).first.wait_for()
    context.close()


def test_the_view_stays_and_what_was_typed_is_there_again(page: Page) -> None:
    example("conflict.json", "why")(page)
    page.locator("#f-NeurologicalInvolvement-no").check()
    page.locator("#told", has_text="1 of them").wait_for()
    assert page.locator('.views button[value="why"]').get_attribute("aria-current") == "true"
    page.locator("#why-MaintenanceTreatment").get_by_role("link").first.click()
    page.wait_for_url("**/guideline/**")
    page.go_back()
    page.locator("#told", has_text="1 of them").wait_for()
    assert page.locator('.views button[value="why"]').get_attribute("aria-current") == "true"
    assert page.locator("#f-NeurologicalInvolvement-no").is_checked()
    assert page.locator('input[name="record.id"]').input_value() == "urn:example:conflict"


def test_a_file_can_be_dropped(page: Page) -> None:
    page.goto("/")
    data = (EXAMPLES / "conflict.json").read_text(encoding="utf-8")
    page.evaluate(
        """text => {
            const files = new DataTransfer();
            files.items.add(new File([text], "x.json", { type: "application/json" }));
            const at = { bubbles: true, cancelable: true, dataTransfer: files };
            document.body.dispatchEvent(new DragEvent("dragover", at));
            document.body.dispatchEvent(new DragEvent("drop", at));
        }""",
        data,
    )
    page.locator("#decision-MaintenanceTreatment.conflict").wait_for()


def test_queries_complete_stop_and_are_saved(page: Page, tmp_path: Path) -> None:
    page.goto("/query")
    editor = page.locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.type("SELECT ?s { ?s a b12:Overr")
    page.locator(".cm-tooltip-autocomplete").get_by_text("b12:Override", exact=True).wait_for()
    page.keyboard.press("Enter")
    page.keyboard.press("Control+Enter")
    said(page, "10 rows").wait_for()
    assert "PREFIX b12:" in (editor.text_content() or "")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    saved = tmp_path / "answer.csv"
    download.value.save_as(saved)
    assert len(saved.read_text(encoding="utf-8").splitlines()) == 11
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.type("ASK { ?s ?p b12:clinical/Pernic")
    page.locator(".cm-tooltip-autocomplete").get_by_text("b12:clinical/PerniciousAnemia", exact=True).wait_for()
    page.keyboard.press("Enter")
    assert "<https://w3id.org/b12kg/clinical/PerniciousAnemia>" in (editor.text_content() or "")
    page.keyboard.press("Control+Enter")
    said(page, "Yes", exact=True).wait_for()
    editor.click()
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.closest('.cm-editor')")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i . ?j ?k ?l }")
    page.get_by_role("button", name="Run").click()
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Stop").click()
    page.locator("#said", has_text="Stopped.").wait_for()
    page.keyboard.press("Control+a")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("SELECT ?s { VALUES ?s { 1 2 3 } }")
    page.get_by_role("button", name="Run").click()
    said(page, "3 rows").wait_for()


def test_a_shipped_query_is_taken_and_asked_of_an_answer(page: Page) -> None:
    example("conflict.json", "files")(page)
    page.get_by_role("button", name="Ask SPARQL about this answer").click()
    page.locator(".cm-content").wait_for()
    assert "urn:example:conflict" in page.locator("#record").input_value()
    page.get_by_role("button", name="How does each decision end for the record?").click()
    page.locator(".cm-content").wait_for()
    page.get_by_role("button", name="Run").click()
    said(page, "14 rows").wait_for()


def test_a_cohort_is_counted_and_saved(page: Page, tmp_path: Path) -> None:
    table(CSV, "60 rows: 60 answered")(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Answers as CSV").click()
    saved = tmp_path / "answers.csv"
    download.value.save_as(saved)
    assert len(saved.read_text(encoding="utf-8").splitlines()) == 61
    assert page.locator("svg[role=img]").count() >= 2


def test_a_patient_of_a_table_and_of_a_finding_can_be_opened(page: Page) -> None:
    page.goto(f"{TABLE}?table.status=conflict")
    page.get_by_role("button", name="Open the patient of row 1", exact=True).click()
    page.locator("#decision-MaintenanceTreatment.conflict").wait_for()


def test_a_filter_changes_the_rows(page: Page) -> None:
    page.goto(TABLE)
    rows = page.locator("#rows p[role=status]")
    before = rows.text_content()
    page.get_by_label("Comes to").select_option("conflict")
    page.wait_for_function("before => document.querySelector('#rows p').textContent !== before", arg=before)
    assert set(page.locator("#rows tbody .state").all_text_contents()) == {"Conflict in the source"}


# ---- without a script --------------------------------------------------------------------------------


def test_everything_but_copying_works_without_a_script(browser: Browser, address: str, tmp_path: Path) -> None:
    context = browser.new_context(base_url=address, java_script_enabled=False, accept_downloads=True)
    page = context.new_page()
    page.goto("/")
    page.locator("#f-VitaminB12Deficiency-yes").check()
    page.locator("#f-NeurologicalInvolvement-yes").check()
    page.get_by_role("button", name="Answer", exact=True).last.click()
    assert page.locator("#decision-InitialTreatment.recommended").count() == 1
    page.locator('.views button[value="why"]').click()
    assert page.locator(".chain").count() > 0
    page.locator('.views button[value="files"]').click()
    assert page.locator("[data-copy]").first.is_hidden()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download Evidence pack").click()
    download.value.save_as(tmp_path / "pack.zip")
    assert verify_pack(tmp_path / "pack.zip", b12kg.load()).ok
    page.locator("#reading-head").click()
    open_example(page, "conflict.json")
    assert page.locator("#decision-MaintenanceTreatment.conflict").count() == 1
    page.goto("/query")
    page.locator("textarea#query").fill("SELECT ?s { VALUES ?s { 1 2 3 } }")
    page.get_by_role("button", name="Run").click()
    assert said(page, "3 rows").count() == 1
    page.goto("/cohort")
    page.locator("#table").set_input_files({"name": "x.csv", "mimeType": "text/csv", "buffer": CSV.encode()})
    page.locator("#key").fill("patient")
    page.get_by_role("button", name="Show what it comes to").click()
    assert said(page, "60 rows: 60 answered").count() == 1
    page.goto(TABLE)
    page.get_by_label("Comes to").select_option("conflict")
    page.get_by_role("button", name="Filter").click()
    assert set(page.locator("#rows tbody .state").all_text_contents()) == {"Conflict in the source"}
    page.goto("/guideline/findings")
    if page.locator(".told").count() == 0:
        page.get_by_role("link", name="Wait for them").click()
    assert page.locator(".told").count() == 1
    context.close()


def test_a_print_has_the_answer_and_not_the_form(page: Page) -> None:
    example("conflict.json")(page)
    page.emulate_media(media="print")
    assert page.locator("#patient").is_hidden()
    assert page.locator(".views").is_hidden()
    assert page.locator("#decision-MaintenanceTreatment").is_visible()
    assert page.get_by_text("pending human review").first.is_visible()
