"""The pages, asked without a browser: what they lead to, what a form states, and what they never do.

How they look and behave in a browser is in test_pages_in_browser.py.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("starlette")

from starlette.types import ASGIApp

import b12kg
from b12kg.cli import main
from b12kg.cli.serve import document, signs
from b12kg.errors import InvalidRecord, UsageError
from b12kg.evidence import verify_pack
from b12kg.nanopub import Key, signing_key
from b12kg.recommend import ExecutableGuideline
from b12kg.records import read
from b12kg.resources import EXAMPLES
from b12kg.service.app import Settings
from b12kg.web.app import with_pages
from b12kg.web.form import ALSO, AS_OF, DROP, ID, WHERE, Form, fields_of, filled, stated
from b12kg.web.patient import FILES, VIEWS
from b12kg.web.site import STATIC, third_party
from tests.asgi import Answered, ask, end
from tests.conftest import SECOND
from tests.fhir_resources import condition
from tests.test_tables import records

ROOT = Path(__file__).parents[1]
TODAY = date(2026, 1, 15)
NODE = Path(__file__).parent / "web_node"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
FORM = "application/x-www-form-urlencoded"
CONFLICT = (EXAMPLES / "conflict.json").read_bytes()


def fixed(**more: Any) -> Settings:
    return Settings(today=lambda: TODAY, now=lambda: datetime(2026, 1, 15, tzinfo=UTC), **more)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return signing_key(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def app(executable: ExecutableGuideline, key: Key) -> Iterator[ASGIApp]:
    made = with_pages(executable, fixed(query_timeout=60), key=key)
    yield made
    end(made)


@pytest.fixture(scope="module")
def second() -> Iterator[ASGIApp]:
    made = with_pages(b12kg.load(SECOND), fixed())
    yield made
    end(made)


def get(app: ASGIApp, address: str) -> Answered:
    path, _, query = address.partition("?")
    return ask(app, "GET", unquote(path), query=query, accept=BROWSER)


def post(app: ASGIApp, path: str, fields: Any) -> Answered:
    return ask(app, "POST", path, urlencode(fields).encode(), content_type=FORM, accept=BROWSER)


def upload(
    app: ASGIApp, path: str, file: tuple[str, bytes] | None = None, field: str = "file", **fields: str
) -> Answered:
    parts = [f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in fields.items()]
    if file is not None:
        head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="{file[0]}"\r\n\r\n'
        parts.append(head.encode() + file[1] + b"\r\n")
    body = b"".join([*parts, b"--x--\r\n"])
    return ask(app, "POST", path, body, content_type="multipart/form-data; boundary=x", accept=BROWSER)


class Page(HTMLParser):
    """The attributes of every element of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def fields_in(page: Page) -> list[tuple[str, str]]:
    """What a browser would send of the form of facts, but for its selects, as it stands in the page."""
    found = []
    for tag, attributes in page.elements:
        name = attributes.get("name", "")
        if tag != "input" or not name or attributes.get("type") in ("file", "submit"):
            continue
        if attributes.get("type") in ("radio", "checkbox") and "checked" not in attributes:
            continue
        found.append((name, attributes.get("value", "")))
    return found


# ---- every page, and where it leads ----------------------------------------------------------------


def crawl(app: ASGIApp) -> Iterator[tuple[str, Answered, Page]]:
    """Every page that the first leads to, the terms of the graph among them."""
    to_do, seen = ["/"], set[str]()
    while to_do:
        address = to_do.pop()
        if address in seen:
            continue
        seen.add(address)
        found = get(app, address)
        page = Page(found.text if found.media == "text/html" else "")
        yield address, found, page
        for link in (*page.all("href"), *page.all("src")):
            target = link.partition("#")[0]
            if target.startswith("?"):
                target = address.partition("?")[0] + target
            if target.startswith("/"):
                to_do.append(target)


@pytest.mark.parametrize("name", ["app", "second"])
def test_every_link_leads_somewhere(name: str, request: pytest.FixtureRequest) -> None:
    pages = {address: (found, page) for address, found, page in crawl(request.getfixturevalue(name))}
    assert len(pages) > (150 if name == "app" else 30)
    ids = {address: page.all("id") for address, (_, page) in pages.items()}
    for address, (found, page) in pages.items():
        assert found.status == 200, address
        assert len(ids[address]) == len(set(ids[address])), address
        for link in page.all("href"):
            target, _, fragment = link.partition("#")
            there = address if not target else address.partition("?")[0] + target if target.startswith("?") else target
            if fragment and there in pages and not link.startswith("http"):
                assert unquote(fragment) in ids[there], (address, link)


def test_each_page_says_the_review_status_and_loads_nothing_from_elsewhere(app: ASGIApp) -> None:
    own = 0
    for address, found, page in crawl(app):
        if found.media != "text/html" or address.startswith("/id/"):
            continue
        own += 1
        assert "content is pending human review" in page.text, address
        policy = found.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        of_editor = "; style-src-attr 'unsafe-inline'" if address == "/query" else ""
        assert "unsafe" not in policy.replace(of_editor, "")
        assert found.headers["referrer-policy"] == "no-referrer"
        assert "style" not in [name for _, attributes in page.elements for name in attributes], address
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")], address
        loaded = [a.get("src") or a["href"] for tag, a in page.elements if tag in ("script", "link", "img")]
        assert all(link.startswith(("/static/", "data:,")) for link in loaded), loaded
    assert own > 60


def test_a_second_guideline_appears_without_a_template_being_touched(second: ASGIApp) -> None:
    page = Page(get(second, "/").text)
    assert "temperature" in page.text
    assert "Cold" in page.text
    assert "vitamin" not in page.text.lower()
    found = post(second, "/", {AS_OF: "2026-01-15", "Cold": "yes", "Flu": "no", "Temperature": "37.9"})
    assert found.status == 422  # without its unit, which has to be said where there are several and is sent where not
    found = post(
        second, "/", {AS_OF: "2026-01-15", "Cold": "yes", "Flu": "no", "Temperature": "38", "Temperature.unit": "Cel"}
    )
    assert "Conflict in the source" in Page(found.text).text


def test_no_clinical_word_stands_in_the_templates(executable: ExecutableGuideline) -> None:
    from tests.test_architecture import CLINICAL

    files = [
        *(STATIC.parent / "templates").glob("*.html"),
        *(STATIC / name for name in ("page.js", "query.js", "page.css")),
    ]
    assert len(files) > 15
    content = executable.content
    names = {*content.concepts, *content.quantities, *content.rules, *content.offers, *content.phenotypes}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not CLINICAL.search(text), path.name
        assert names.isdisjoint(re.findall(r"[\w-]+", text)), path.name


# ---- a form and its record -------------------------------------------------------------------------


def pairs_of(form: Form) -> list[tuple[str, str]]:
    return [*form.values.items(), *((ALSO, text) for text in form.also_as_json())]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=records(b12kg.load().content))
def test_a_form_states_what_the_record_did(record: dict[str, Any], executable: ExecutableGuideline) -> None:
    content = executable.content
    reading = read(json.dumps(record).encode(), content)
    if reading.problems:
        return
    form, problems = fields_of(pairs_of(filled(reading.record, content)), content)
    again = stated(form, content)
    assert problems == []
    assert again.problems == ()
    assert read(again.record, content).record.to_dict() == reading.record.to_dict()


@pytest.mark.parametrize(
    "number", ["0.0000001", "100000000000000000000", "0.1", "35", "-0.5", "1e-9", "12345678901234567"]
)
def test_no_number_changes_on_its_way_through_the_form(executable: ExecutableGuideline, number: str) -> None:
    content = executable.content
    text = (
        f'{{"id": "p", "asOf": "2026-01-15", "measurements": [{{"of": "Hematocrit", "value": {number}, "unit": "%"}}]}}'
    )
    before = read(text.encode(), content).record
    after = read(stated(filled(before, content), content).record, content).record
    assert after.to_dict() == before.to_dict()


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.json")), ids=lambda path: path.stem)
def test_each_view_of_each_example_is_a_page(app: ASGIApp, executable: ExecutableGuideline, path: Path) -> None:
    read_in = upload(app, "/read", (path.name, path.read_bytes()), asOf="2026-01-15")
    assert read_in.status == 200
    fields = dict(fields_in(Page(read_in.text)))
    answer = executable.recommend(path.read_bytes(), as_of=TODAY)
    for name, decision in answer.decisions.items():
        card = re.search(
            rf'<article class="card {decision.status}" id="decision-{name}".*?</article>', read_in.text, re.DOTALL
        )
        assert card is not None, name
        for offer in (*decision.recommended, *decision.outcome.conflicting):
            assert html.escape(answer.guideline.offers[offer].label) in card[0]
    for view in VIEWS:
        found = post(app, "/", {AS_OF: fields[AS_OF], "view": view, "BariatricSurgery": "yes"})
        assert found.status == 200
        assert f'value="{view}" aria-current="true"' in found.text


def test_what_was_asked_first_stays_where_it_is(app: ASGIApp) -> None:
    first = Page(get(app, "/").text)
    asked = [value for name, value in fields_in(first) if name == "record.asked"]
    assert len(asked) > 5
    answered = [*fields_in(first), (asked[0], "yes")]
    after = Page(post(app, "/", [pair for pair in answered if pair != (asked[0], "")]).text)
    again = [value for name, value in fields_in(after) if name == "record.asked"]
    assert again[: len(asked)] == asked


def test_an_empty_field_states_nothing(app: ASGIApp) -> None:
    found = Page(
        post(app, "/", {AS_OF: "2026-01-15", "PerniciousAnemia": "", "Hematocrit": "", "Hematocrit.unit": "%"}).text
    )
    assert "13 unknown facts can change an answer" in found.text
    assert "1 of 11 decisions are settled" in found.text


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"Hematocrit": "many"}, "Hematocrit", "No number"),
        ({"Hematocrit": "35"}, "Hematocrit", "Unit"),
        ({"Hematocrit": "350", "Hematocrit.unit": "%"}, "Hematocrit", "A share of a volume"),
        ({"Hematocrit": "35", "Hematocrit.unit": "%", "Hematocrit.on": "2027-01-01"}, "Hematocrit", "of the record"),
        ({"Hematocrit.on": "2025-01-01"}, "Hematocrit", "The value is missing"),
        ({"PerniciousAnemia": "perhaps"}, "PerniciousAnemia", "Neither yes nor no"),
        ({"PerniciousAnemia": "yes", "PerniciousAnemia.on": "soon"}, "PerniciousAnemia", "date"),
        ({"PerniciousAnemia": "yes", "VitaminB12Deficiency": "no"}, "VitaminB12Deficiency", "stated as absent"),
        ({"FolicAcid": "sometimes"}, "FolicAcid", "status"),
        ({WHERE: "UK"}, "jurisdiction", "No country code"),
        ({AS_OF: ""}, "record.asOf", "missing"),
        ({AS_OF: "tomorrow"}, "record.asOf", "date"),
        ({ALSO: "{}"}, None, "cannot be read"),
        ({ALSO: '{"in": "present", "entry": {"of": "Nothing"}}'}, "record.also-0", "Nothing"),
        ({"Nothing": "yes"}, None, "does not have"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    app: ASGIApp, fields: dict[str, str], field: str | None, words: str
) -> None:
    found = post(app, "/", {AS_OF: "2026-01-15", **fields})
    assert found.status == 422
    assert "Not answered" in found.text
    assert 'class="card' not in found.text
    page = Page(found.text)
    links = [link for link in page.all("href") if link.startswith("#f-")]
    assert [link.partition(".unit")[0].partition(".on")[0] for link in links[:1]] == (
        [] if field is None else [f"#f-{field}"]
    )
    assert {link[1:] for link in links} <= {*page.all("id")}
    if words != "Nothing":
        assert words.lower() in page.text.lower()
    if field is not None:
        assert 'class="wrong"' in found.text


def test_a_view_that_there_is_none_of_is_refused(app: ASGIApp) -> None:
    for view in ("nothing", "../base", "answer.html", ""):
        found = post(app, "/", {AS_OF: "2026-01-15", "view": view})
        assert found.status == 422, view
        assert "no such view" in Page(found.text).text
    assert post(app, "/", {AS_OF: "2026-01-15", "view": "calendar", "start": "soon"}).status == 422
    assert post(app, "/", {AS_OF: "2026-01-15", "view": "calendar", "start": "9999-12-31"}).status == 422


def test_what_is_larger_than_a_record_is_refused(app: ASGIApp) -> None:
    large = json.dumps({"id": "p", "asOf": "2026-01-15", "present": [{"of": "x", "source": "y" * 300_000}]})
    assert post(app, "/", {AS_OF: "2026-01-15", ID: "x" * 300_000}).status == 413
    assert upload(app, "/read", record=large).status == 413
    assert upload(app, "/read", ("x.ttl", b'# "resourceType"' + b"x" * 300_000)).status == 413
    assert post(app, "/take", {"record": large, "as": "json"}).status == 413


def test_an_entry_that_no_field_holds_is_shown_kept_and_can_be_removed(app: ASGIApp) -> None:
    values = [{"of": "Hematocrit", "value": v, "unit": "%", "on": f"2025-0{v - 30}-01"} for v in (31, 33)]
    record = {"id": "p", "asOf": "2026-01-15", "measurements": values}
    page = Page(upload(app, "/read", record=json.dumps(record)).text)
    kept = [value for name, value in fields_in(page) if name == ALSO]
    assert len(kept) == 1
    assert "Further entries of the record" in page.text
    without = Page(post(app, "/", [*((n, v) for n, v in fields_in(page) if n != "view"), (DROP, "0")]).text)
    assert [value for name, value in fields_in(without) if name == ALSO] == []


def test_a_record_that_cannot_be_read_leaves_the_form(app: ASGIApp) -> None:
    for pasted, words in (
        ("{", "not json"),
        ('{"asOf": "x"}', "date"),
        ("@prefix", "not turtle"),
        ("", "nothing was given"),
    ):
        found = upload(app, "/read", record=pasted)
        assert found.status == 422
        assert found.headers["hx-retarget"] == "#reading"
        assert words in Page(found.text).text.lower()
    assert upload(app, "/read", example="no such").status == 422
    file = ("x.json", CONFLICT)
    both = upload(app, "/read", file, record="{}")
    assert both.status == 422
    assert "a file and a pasted text were given" in Page(both.text).text
    name = "several unknowns"
    assert "urn:example:conflict" not in upload(app, "/read", file, record="{}", example=name).text


def test_an_import_reports_every_resource(app: ASGIApp, executable: ExecutableGuideline) -> None:
    path = EXAMPLES / "fhir" / "pernicious-anemia.json"
    page = Page(upload(app, "/read", (path.name, path.read_bytes()), asOf="2026-01-15").text)
    imported = executable.recommend(path.read_bytes(), as_of=TODAY).imported
    assert imported is not None
    for entries in imported.lists().values():
        for entry in entries:
            assert entry.resource in page.text
            assert " ".join(entry.reason.split()) in page.text


def test_of_several_patients_each_can_be_opened(app: ASGIApp, executable: ExecutableGuideline) -> None:
    conditions = [
        {**condition("84027009", id=f"c{n}"), "subject": {"reference": f"Patient/{n}"}, "id": f"c{n}"} for n in (1, 2)
    ]
    bad = {**condition("84027009", id="c3"), "subject": {"reference": "Patient/3"}, "onsetDateTime": "soon"}
    resources = [*({"resourceType": "Patient", "id": str(n)} for n in (1, 2, 3)), *conditions, bad]
    found = upload(app, "/read", ("x.ndjson", "\n".join(map(json.dumps, resources)).encode()))
    assert found.status == 200
    page = Page(found.text)
    assert "It is about 3 patients" in page.text
    assert "Patient/3 cannot be read" in page.text
    opened = [value for name, value in fields_in(page) if name == "record"]
    assert [executable.recommend(json.loads(value)).record.id for value in opened] == ["Patient/1", "Patient/2"]
    assert "Stated as well" in Page(upload(app, "/read", record=opened[0]).text).text


# ---- what is taken away ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FILES)
def test_each_form_of_an_answer_is_what_the_api_gives(
    app: ASGIApp, executable: ExecutableGuideline, key: Key, tmp_path: Path, form: str
) -> None:
    found = post(app, "/take", {"record": CONFLICT.decode(), "as": form, "start": "2026-02-01"})
    answer = executable.recommend(CONFLICT)
    assert found.status == 200
    assert found.headers["content-disposition"] == f'attachment; filename="{FILES[form].file}"'
    assert found.headers["cache-control"] == "no-store"
    if form == "evidence":
        pack = tmp_path / "pack.zip"
        pack.write_bytes(found.body)
        assert verify_pack(pack, executable, signer=key.fingerprint).ok
        assert json.loads(zipfile.ZipFile(io.BytesIO(found.body)).read("record.json")) == answer.record.to_dict()
    elif form == "calendar":
        assert found.body.startswith(b"BEGIN:VCALENDAR")
        assert b"20260201" in found.body
    else:
        expected = {
            "text": answer.to_text().encode(),
            "json": json.dumps(answer.to_dict(), ensure_ascii=False, separators=(",", ":")).encode(),
            "turtle": answer.serialize("turtle").encode(),
            "fhir": json.dumps(answer.to_fhir(), ensure_ascii=False, separators=(",", ":")).encode(),
            "record": json.dumps(answer.record.to_dict(), ensure_ascii=False, separators=(",", ":")).encode(),
        }
        assert found.body == expected[form]


def test_without_a_key_no_evidence_is_offered(executable: ExecutableGuideline) -> None:
    app = with_pages(executable, fixed())
    page = post(app, "/", {AS_OF: "2026-01-15", "view": "files"})
    assert 'value="evidence"' not in page.text
    assert "no key" in Page(page.text).text
    assert post(app, "/take", {"record": CONFLICT.decode(), "as": "evidence"}).status == 501


# ---- the source ------------------------------------------------------------------------------------


def test_the_document_is_shown_with_its_passages(executable: ExecutableGuideline) -> None:
    given = ROOT.parent / "shared" / "sources" / "dr-oracle-2025-10-20.txt"
    if not given.exists():
        pytest.skip("the document is not at hand")
    text = document(given)
    page = get(with_pages(executable, fixed(), source=text), "/source").text
    shown = re.search(r'<section class="document".*?</section>', page, re.DOTALL)
    assert shown is not None
    lines = [Page(line).words for line in re.findall(r'<p id="line-\d+">.*?</p>', shown[0], re.DOTALL)]
    assert "\n".join("".join(words) for words in lines) == text.decode()
    assert "word by word" in page
    cited = [citation.marker for passage in executable.content.passages.values() for citation in passage.citations]
    assert sorted(re.findall(r'class="marker" href="#marker-(\w+)"', shown[0])) == sorted(cited)
    for passage in executable.content.passages.values():
        marked = re.search(rf'id="text-{passage.id}"></span>(.*?)</mark>', shown[0], re.DOTALL)
        assert marked is not None
        start = "".join(Page(marked[1]).words)
        assert text.decode()[passage.start : passage.start + len(start)] == start
    changed = text.replace(b"monthly", b"weekly")
    otherwise = Page(get(with_pages(executable, fixed(), source=changed), "/source").text).text
    assert "stand otherwise" in otherwise
    cut = text[: len(text) // 2] + b"\nAn added sentence about 7 mg daily stands here.\n" + text[len(text) // 2 :]
    assert 'class="uncovered"' in get(with_pages(executable, fixed(), source=cut), "/source").text


def test_a_document_that_is_no_text_is_refused(
    executable: ExecutableGuideline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        with_pages(executable, fixed(), source=b"\xff\xfe")
    with pytest.raises(UsageError, match="No such file"):
        document(tmp_path / "none.txt")
    assert main(["serve", "--port", "0", "--source", str(tmp_path / "none.txt")]) == 2
    assert "none.txt: No such file" in capsys.readouterr().err


def test_a_key_that_cannot_be_kept_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert signs() is not None
    assert capsys.readouterr().err == ""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert signs() is None
    assert capsys.readouterr().err.startswith("no evidence packs: ")


# ---- tables ----------------------------------------------------------------------------------------


def test_a_filter_lets_through_what_it_says(app: ASGIApp, executable: ExecutableGuideline) -> None:
    table = executable.compiled.tables.decisions["MaintenanceTreatment"]
    rows = [(table.known(row), verdict.outcome.status) for row, verdict in table.rows()]
    for asked, count in (
        ({}, sum(len(known) == len(table.features) for known, _ in rows)),
        ({"table.rows": "all"}, len(rows)),
        ({"table.rows": "all", "table.status": "conflict"}, sum(status == "conflict" for _, status in rows)),
        (
            {"PerniciousAnemia": "present", "table.rows": "all"},
            sum(k.get("PerniciousAnemia") == "present" for k, _ in rows),
        ),
        ({"PerniciousAnemia": "unknown"}, sum("PerniciousAnemia" not in k for k, _ in rows)),
    ):
        found = get(app, f"/guideline/decisions/MaintenanceTreatment?{urlencode(asked)}")
        assert f"{count} row" in Page(found.text).text, asked
    for odd in (
        "PerniciousAnemia=perhaps",
        "x=1",
        "table.page=0x",
        "table.status=conflict&table.status=conflict",
        "%ff=1",
    ):
        assert get(app, f"/guideline/decisions/MaintenanceTreatment?{odd}").status == 400, odd


def test_a_row_opens_a_patient_who_is_in_it(app: ASGIApp, executable: ExecutableGuideline) -> None:
    found = get(app, "/guideline/decisions/MaintenanceTreatment?table.status=conflict")
    shown = [json.loads(value) for name, value in fields_in(Page(found.text)) if name == "record"]
    assert len(shown) > 5
    for record in shown:
        assert executable.recommend(record).decisions["MaintenanceTreatment"].status == "conflict"
    assert "Conflict in the source" in upload(app, "/read", record=json.dumps(shown[0])).text


# ---- SPARQL and cohorts ----------------------------------------------------------------------------


def test_a_query_is_answered_as_a_table(app: ASGIApp) -> None:
    query = "SELECT ?rule { ?rule a <https://w3id.org/b12kg/Rule> } ORDER BY ?rule"
    page = post(app, "/query", {"query": query})
    assert page.status == 200
    assert "21 rows" in Page(page.text).text
    assert post(app, "/query/file", {"query": query, "as": "csv"}).body.startswith(b"rule\r\nhttps://w3id.org/")
    assert len(post(app, "/query/file", {"query": query, "as": "json"}).json()["results"]["bindings"]) == 21
    graph = "CONSTRUCT { ?rule a ?class } WHERE { ?rule a ?class } LIMIT 3"
    assert "3 triples" in Page(post(app, "/query", {"query": graph}).text).text
    assert post(app, "/query/file", {"query": graph, "as": "turtle"}).media == "text/turtle"
    assert "Yes" in Page(post(app, "/query", {"query": "ASK {}"}).text).text
    about = {"query": "SELECT ?d { ?d a <https://w3id.org/b12kg/Recommendation> }", "record": CONFLICT.decode()}
    assert "row" in Page(post(app, "/query", about).text).text


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"query": "SELECT"}, 422),
        ({"query": ""}, 422),
        ({"query": "SELECT * { SERVICE <http://example.org/> { ?s ?p ?o } }"}, 422),
        ({"query": "ASK {}", "asOf": "soon"}, 422),
        ({"query": "ASK {}", "record": "{"}, 422),
        ({"shipped": "no such"}, 400),
        ({"other": "x"}, 400),
    ],
)
def test_a_query_that_is_refused_says_why(app: ASGIApp, fields: dict[str, str], status: int) -> None:
    found = post(app, "/query", fields)
    assert found.status == status
    assert found.media == "text/html"


def test_every_shipped_query_can_be_taken_and_run(app: ASGIApp) -> None:
    ids = [
        a["value"]
        for tag, a in Page(get(app, "/query").text).elements
        if tag == "button" and a.get("name") == "shipped"
    ]
    assert len(ids) > 60
    for name in ids:
        taken = re.search(r"<textarea[^>]*>(.*?)</textarea>", post(app, "/query", {"shipped": name}).text, re.DOTALL)
        assert taken is not None
        assert post(app, "/query", {"query": html.unescape(taken[1])}).status == 200, name


def test_what_an_editor_completes(app: ASGIApp) -> None:
    found = ask(app, "GET", "/query/terms").json()
    names = {name for name, _, _ in found["terms"]}
    assert {"b12:Rule", "rdfs:label", "b12:clinical/PerniciousAnemia"} <= names
    assert found["prefixes"]["b12"] == "https://w3id.org/b12kg/"


CSV = b"patient,PerniciousAnemia,NeurologicalInvolvement,Hematocrit\na,true,false,31\nb,,,\nc,false,,310\n"


def test_a_table_is_counted_and_given_back(app: ASGIApp, executable: ExecutableGuideline) -> None:
    pl = pytest.importorskip("polars")
    page = upload(app, "/cohort", ("x.csv", CSV), "table", key="patient")
    assert "3 rows: 2 answered, 1 refused" in Page(page.text).text
    assert "<svg" in page.text
    answers = pl.read_csv(upload(app, "/cohort", ("x.csv", CSV), "table", key="patient", **{"as": "csv"}).body)
    assert answers["patient"].to_list() == ["a", "b"]
    codes = executable.recommend_table(pl.read_csv(CSV, schema_overrides={"Hematocrit": pl.Float64}), key="patient")
    expected = executable.decode(codes)
    assert answers["InitialTreatment_status"].to_list() == expected["InitialTreatment_status"].to_list()
    parquet = io.BytesIO()
    pl.read_csv(CSV).write_parquet(parquet)
    again = upload(app, "/cohort", ("x.parquet", parquet.getvalue()), "table", key="patient", **{"as": "parquet"})
    assert pl.read_parquet(again.body)["patient"].to_list() == ["a", "b"]
    refused = upload(app, "/cohort", ("x.csv", CSV), "table", key="patient", **{"as": "rejects"})
    assert refused.body.startswith(b"patient,reason\nc,Hematocrit")


@pytest.mark.parametrize(
    ("data", "column", "words"),
    [
        (b"", "", "no table was given"),
        (b"a;b\n1;2\n", "", "column"),
        (b"nothing\n1\n", "", "column"),
        (CSV, "none", "none"),
        (b"PAR1 is no table", "", "cannot be read"),
        (b"\xff\xfe\x00", "", "column"),
    ],
)
def test_a_table_that_is_refused_says_why(app: ASGIApp, data: bytes, column: str, words: str) -> None:
    pytest.importorskip("polars")
    found = upload(app, "/cohort", ("x.csv", data), "table", key=column)
    assert found.status == 422
    assert words in Page(found.text).text.lower()


def test_a_table_with_columns_without_end_is_refused_at_once(app: ASGIApp) -> None:
    pl = pytest.importorskip("polars")
    names = [f"c{n}" for n in range(8_000)]
    wide = io.BytesIO()
    pl.DataFrame([pl.Series(name, [True]) for name in names]).write_parquet(wide)
    header = ",".join(f"c{n}" for n in range(400_000)).encode()
    hidden = b'"a\n",' + header
    begun = time.monotonic()
    for data in (wide.getvalue(), header + b"\n", hidden + b"\n", b"c" * 3_000_000):
        found = upload(app, "/cohort", ("x", data), "table")
        assert found.status == 422
        assert re.search("columns; here it may have 1,000|cannot be read", Page(found.text).text)
    assert time.monotonic() - begun < 20  # of a minute and 3 GB without the bound


def test_a_table_that_is_small_in_its_file_only_is_refused(app: ASGIApp) -> None:
    pl = pytest.importorskip("polars")
    many, long = io.BytesIO(), io.BytesIO()
    pl.select(pl.repeat(True, 30_000_000).alias("PerniciousAnemia")).write_parquet(many)
    pl.select(pl.repeat("x" * 10_000, 150_000).alias("p"), pl.lit(True).alias("PerniciousAnemia")).write_parquet(long)
    for data, key, words in ((many, "", "rows; here it may have"), (long, "p", "bytes; here they may have")):
        assert len(data.getvalue()) < 4 * 2**20
        found = upload(app, "/cohort", ("x.parquet", data.getvalue()), "table", key=key)
        assert found.status == 422
        assert words in Page(found.text).text.lower()


# ---- errors, files and promises --------------------------------------------------------------------


def test_an_error_is_a_page_to_a_browser_and_problem_details_to_others(executable: ExecutableGuideline) -> None:
    app = with_pages(executable, fixed(largest=1000))
    for path, status in (
        ("/nothing", 404),
        ("/guideline/rules/none", 404),
        ("/guideline/offers/none", 404),
        ("/static/x/y.js", 404),
    ):
        shown, told = get(app, path), ask(app, "GET", path, accept="*/*")
        assert (shown.status, shown.media) == (status, "text/html")
        assert (told.status, told.media) == (status, "application/problem+json")
        assert shown.headers["x-content-type-options"] == "nosniff"
    large = post(app, "/", {"x": "y" * 1000})
    assert (large.status, large.media) == (413, "text/html")
    assert "too large" in Page(large.text).text
    assert get(app, "/api/guideline?x=1").status == 400


def test_what_others_wrote_is_what_was_pinned() -> None:
    pinned = third_party()
    assert {file["file"] for file in pinned} == {p.name for p in STATIC.glob("*.js")} - {"page.js", "query.js"}
    for file in pinned:
        assert hashlib.sha256((STATIC / file["file"]).read_bytes()).hexdigest() == file["sha256"], file["file"]
        assert len((STATIC / "licences" / file["text"]).read_text(encoding="utf-8")) > 400


def test_what_others_wrote_comes_from_their_packages(tmp_path: Path) -> None:
    modules = NODE / "node_modules"
    if not modules.is_dir() or shutil.which("npx") is None:
        pytest.skip("needs Node.js, and `npm ci --prefix tests/web_node`")
    assert (STATIC / "htmx.min.js").read_bytes() == (modules / "htmx.org/dist/htmx.min.js").read_bytes()
    assert (STATIC / "idiomorph-ext.min.js").read_bytes() == (
        modules / "idiomorph/dist/idiomorph-ext.min.js"
    ).read_bytes()
    out = tmp_path / "codemirror.js"
    command = json.loads((NODE / "package.json").read_text(encoding="utf-8"))["scripts"]["bundle"].split(" --outfile")[
        0
    ]
    subprocess.run(["npx", *command.split(), f"--outfile={out}"], cwd=NODE, check=True, capture_output=True)
    assert out.read_bytes() == (STATIC / "codemirror.js").read_bytes()


def test_a_page_with_all_that_it_loads_is_below_300_kb(app: ASGIApp) -> None:
    weighed = 0
    for address in ("/", "/guideline", "/guideline/decisions/MaintenanceTreatment", "/source", "/cohort", "/about"):
        found = get(app, address)
        loaded = {a.get("src") or a["href"] for tag, a in Page(found.text).elements if tag in ("script", "link")} - {
            "data:,"
        }
        weight = len(found.body) + sum(len(get(app, link).body) for link in loaded)
        assert 60_000 < weight < 300_000, (address, weight)
        weighed += 1
    assert weighed == 6


@pytest.mark.parametrize(
    ("headers", "local"),
    [
        ({"host": "localhost:8012"}, True),
        ({"host": "127.0.0.1"}, True),
        ({"host": "[::1]:8012"}, True),
        ({"host": "localhost:8012", "x_forwarded_for": "10.0.0.1"}, False),
        ({"host": "guideline.example.org"}, False),
    ],
)
def test_that_nothing_leaves_the_machine_is_said_on_loopback_only(
    executable: ExecutableGuideline, headers: dict[str, Any], local: bool
) -> None:
    app = with_pages(executable, fixed(hosts=()))
    page = Page(ask(app, "GET", "/", accept=BROWSER, **headers).text)
    assert ("nothing of what is typed here leaves it" in page.text) == local
    assert f"asked as {headers['host']}" in page.text
    about = Page(ask(app, "GET", "/about", accept=BROWSER, **headers).text)
    assert ("asked on this machine itself" in about.text) == local


def test_a_record_is_refused_by_every_page_as_by_the_api(app: ASGIApp, executable: ExecutableGuideline) -> None:
    record = {"id": "p", "asOf": "2026-01-15", "present": ["PerniciousAnemia"], "absent": ["PerniciousAnemia"]}
    with pytest.raises(InvalidRecord):
        executable.recommend(record)
    assert post(app, "/take", {"record": json.dumps(record), "as": "text"}).status == 422
    assert upload(app, "/read", record=json.dumps(record)).status == 422
    assert post(app, "/", {AS_OF: "2026-01-15", ID: "p", "PerniciousAnemia": "yes", "Nothing": "x"}).status == 422


# ---- the promises of docs/threat-model.md ------------------------------------------------------------

CANARY = "canary4711"


def every_request(app: ASGIApp, word: str) -> Iterator[Answered]:
    """A word in every place of every form that can hold one, most of them wrong there."""
    record = {"id": word, "asOf": "2026-01-15", "present": [{"of": "PerniciousAnemia", "source": word}]}
    for view in VIEWS:
        yield post(app, "/", {AS_OF: "2026-01-15", ID: word, "view": view, "PerniciousAnemia": "yes"})
    names = (
        "PerniciousAnemia",
        "PerniciousAnemia.on",
        "Hematocrit",
        "Hematocrit.unit",
        "FolicAcid",
        "Child",
        "view",
        "start",
    )
    for name in (*names, WHERE, AS_OF, ALSO, DROP, word):
        yield post(app, "/", {AS_OF: "2026-01-15", "Hematocrit.comparator": "<", name: word})
    for text in (json.dumps(record), word, f'{{"{word}": 1}}', f"<urn:{word}>"):
        yield upload(app, "/read", record=text)
        yield upload(app, "/read", (f"{word}.json", text.encode()))
        yield post(app, "/take", {"record": text, "as": "json"})
    yield upload(app, "/read", example=word)
    yield upload(app, "/read", asOf=word)
    yield upload(app, "/read", None, **{word: word})
    patient = {"resourceType": "Patient", "id": "p", "text": {"status": "generated", "div": word * 300_000}}
    yield upload(app, "/read", ("x.json", json.dumps(patient).encode()))
    yield post(app, "/take", {"record": json.dumps(record), "as": word})
    yield post(app, "/query", {"query": word})
    yield post(app, "/query", {"query": f"ASK {{ 'x' '{word}' }}", "record": json.dumps(record)})
    yield post(app, "/query", {"query": "ASK {}", "record": word, "asOf": word})
    yield post(app, "/query/file", {"query": word, "as": "csv"})
    for table in (f"{word}\n{word}\n", f"p,PerniciousAnemia\n{word},{word}\n", f"p,PerniciousAnemia\n{word},true\n"):
        yield upload(app, "/cohort", (f"{word}.csv", table.encode()), "table", key="p")
    yield get(app, f"/guideline/decisions/MaintenanceTreatment?PerniciousAnemia={word}")
    yield get(app, f"/guideline/rules/{word}")


def test_no_page_connects_writes_or_starts_anything(app: ASGIApp) -> None:
    from tests.test_service_promises import watched

    pytest.importorskip("polars")
    before = [found.status for found in every_request(app, CANARY)]  # what is loaded once is loaded
    with watched() as seen:
        again = [found.status for found in every_request(app, CANARY)]
    assert seen == []
    assert before == again
    assert {*before} == {200, 400, 404, 422}
    rows = b"p,PerniciousAnemia\n" + b"".join(b"%030d,true\n" % n for n in range(90_000))
    assert 3_000_000 < len(rows) < 4_000_000
    with watched() as seen:
        assert upload(app, "/cohort", ("x.csv", rows), "table", key="p").status == 200
    assert seen == []


def test_no_log_and_no_address_holds_a_word_of_a_patient(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for found in every_request(app, CANARY):
        assert found.status < 500
        assert CANARY not in str(found.headers)
        assert found.headers["cache-control"] == "no-store"
        if found.media == "text/html":
            page = Page(found.text)
            links = [
                *page.all("href"),
                *page.all("src"),
                *page.all("action"),
                *page.all("hx-post"),
                *page.all("formaction"),
            ]
            assert not [link for link in links if CANARY in link]
    broken = f"--x\r\nContent-Disposition\x00{CANARY}: form-data\r\n\r\n{CANARY}\r\n--y--".encode()
    found = ask(app, "POST", "/read", broken, content_type="multipart/form-data; boundary=x")
    assert found.status == 400
    assert CANARY not in found.text + caplog.text
    assert "python_multipart" not in caplog.text


def test_what_is_typed_is_text_in_a_page(app: ASGIApp) -> None:
    odd = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7*7}}"
    for found in every_request(app, odd):
        if found.media == "text/html":
            assert "<script>alert" not in found.text
            assert "<img" not in found.text
            assert "49" not in re.findall(r"value=\"([^\"]*)\"", found.text)


def test_a_page_with_a_record_is_kept_nowhere(app: ASGIApp) -> None:
    assert get(app, "/").headers["cache-control"] == "no-cache"
    assert post(app, "/", {AS_OF: "2026-01-15", "PerniciousAnemia": "yes"}).headers["cache-control"] == "no-store"
    assert upload(app, "/read", record=CONFLICT.decode()).headers["cache-control"] == "no-store"


def any_fields() -> st.SearchStrategy[list[tuple[str, str]]]:
    """Fields of the form, and some that it does not have, with what fits and what does not."""
    content = b12kg.load().content
    names = [*content.iris_of_names(), WHERE, AS_OF, ID, ALSO, DROP, "record.asked", "view", "start", "other"]
    parts = ["", ".on", ".source", ".unit", ".comparator", ".startedOn", ".value", ".on.on"]
    name = st.builds(str.__add__, st.sampled_from(names), st.sampled_from(parts[:1] * 5 + parts))
    fitting = ["yes", "no", "", "35", "0.1", "1e9", "%", "cm", "<", "US", "2026-01-15", "2026-13-40", "started", *VIEWS]
    odd = [
        '{"in": "present", "entry": {"of": "Child"}}',
        '{"in": "measurements", "entry": {"of": []}}',
        "[" * 99,
        "\ud800",
    ]
    value = st.one_of(st.sampled_from([*fitting, *odd]), st.text(max_size=9))
    return st.lists(st.tuples(name, value), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=any_fields(), dated=st.booleans())
def test_no_form_gives_an_error_of_the_service(app: ASGIApp, pairs: list[tuple[str, str]], dated: bool) -> None:
    sent = [(n, v.encode("utf-8", "replace").decode()) for n, v in pairs] + ([(AS_OF, "2026-01-15")] if dated else [])
    found = post(app, "/", sent)
    assert found.status in (200, 422), sent
    if found.status == 422:
        assert 'class="wrong' in found.text or "wrong-box" in found.text


def test_with_tokens_a_page_needs_one_too(executable: ExecutableGuideline) -> None:
    from b12kg.service.tokens import Tokens

    app = with_pages(executable, fixed(tokens=Tokens("t" * 40)))
    assert get(app, "/").status == 401
    assert ask(app, "GET", "/", accept=BROWSER, authorization="Bearer " + "t" * 40).status == 200
