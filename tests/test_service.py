"""The API and the terms over HTTP: what is answered, in which form, and what is refused and how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("starlette")

import rdflib
from starlette.types import ASGIApp

import b12kg
from b12kg.errors import Problem, UsageError
from b12kg.guideline import Guideline
from b12kg.recommend import ExecutableGuideline
from b12kg.resources import EXAMPLES
from b12kg.service.api import FHIR, JSON, JSONLD, RDFXML, TRIG, TURTLE
from b12kg.service.app import Settings, application
from b12kg.service.negotiation import chosen
from b12kg.service.problem import MEDIA_TYPE, place, shown
from b12kg.service.terms import HTML, Terms, address_of
from tests.asgi import Answered, ask, asked
from tests.conftest import SECOND

RECORDS = sorted(EXAMPLES.glob("*.json"))
RECORD = (EXAMPLES / "conflict.json").read_bytes()
PARSERS = {TURTLE: "turtle", JSONLD: "json-ld", RDFXML: "xml", TRIG: "trig"}


@pytest.fixture(scope="module")
def app(executable: ExecutableGuideline) -> ASGIApp:
    return application(executable)


def post(app: ASGIApp, path: str, body: bytes | dict[str, Any] = RECORD, **more: Any) -> Answered:
    return ask(app, "POST", path, body, **{"content_type": JSON, **more})


def graph_of(answer: Answered) -> rdflib.Dataset:
    found = rdflib.Dataset()
    found.parse(data=answer.body, format=PARSERS[answer.media])
    return found


def is_problem(answer: Answered, status: int) -> Any:
    assert (answer.status, answer.media) == (status, MEDIA_TYPE), answer.text
    form = answer.json()
    assert form["status"] == status
    assert form["title"]
    return form


# ---- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_answer_is_that_of_the_library(app: ASGIApp, executable: ExecutableGuideline, path: Path) -> None:
    answer = executable.recommend(path)
    assert post(app, "/api/recommend", path.read_bytes()).json() == answer.to_dict()
    compact = post(app, "/api/recommend", path.read_bytes(), query="explain=false").json()
    assert compact == answer.to_dict(explain=False)
    full: Any = answer.to_dict()
    for name, decision in compact["decisions"].items():
        assert decision.items() <= full["decisions"][name].items()
    assert {"preface", "disclaimer"} <= compact.keys()


@pytest.mark.parametrize("media", [TURTLE, JSONLD, TRIG])
def test_the_answer_as_rdf(app: ASGIApp, executable: ExecutableGuideline, media: str) -> None:
    answer = post(app, "/api/recommend", accept=media)
    assert (answer.status, answer.media) == (200, media)
    statements = {quad[:3] for quad in graph_of(answer).quads()}
    assert statements == set(executable.recommend(RECORD).graph())


def test_the_answer_as_fhir(app: ASGIApp, executable: ExecutableGuideline) -> None:
    answer = post(app, "/api/recommend", accept=FHIR)
    assert (answer.status, answer.media) == (200, FHIR)
    assert answer.json() == executable.recommend(RECORD).to_fhir()


@pytest.mark.parametrize(
    ("path", "forms"),
    [
        ("/api/recommend", (JSON, TURTLE, JSONLD, TRIG, FHIR)),
        ("/api/validate", (JSON, TURTLE, JSONLD, FHIR)),
        ("/api/explain", (JSON, TURTLE, JSONLD)),
        ("/api/what-if", (JSON, TURTLE, JSONLD)),
    ],
)
def test_the_same_request_gives_the_same_bytes_in_each_form(app: ASGIApp, path: str, forms: tuple[str, ...]) -> None:
    found = {media: post(app, path, accept=media) for media in forms}
    assert [(a.status, a.media) for a in found.values()] == [(200, media) for media in forms]
    for media, first in found.items():
        again = post(app, path, accept=media, parts=3)
        assert again.body == first.body
        assert first.headers["cache-control"] == "no-store"
        if media in PARSERS:
            assert len(graph_of(first)) > 0 or path == "/api/validate"
    is_problem(post(app, path, accept="image/png"), 406)


def test_a_record_in_each_form_gives_the_same_decisions(app: ASGIApp) -> None:
    name = "pernicious-anemia-ileal-resection"
    first = post(app, "/api/recommend", (EXAMPLES / f"{name}.json").read_bytes()).json()
    turtle = (EXAMPLES / f"{name}.ttl").read_bytes()
    triples = rdflib.Graph().parse(data=turtle, format="turtle").serialize(format="nt", encoding="utf-8")
    for body, media in ((turtle, TURTLE), (triples, "application/n-triples")):
        found = post(app, "/api/recommend", body, content_type=f"{media}; charset=utf-8").json()
        assert found["recordDigest"] == first["recordDigest"]


def test_fhir_in_with_what_became_of_it(app: ASGIApp) -> None:
    pytest.importorskip("fhir.resources")
    body = next(iter(sorted((EXAMPLES / "fhir").glob("*.json")))).read_bytes()
    for media in (JSON, FHIR):
        found = post(app, "/api/recommend", body, content_type=media, query="asOf=2026-01-15").json()
        assert found["import"]["used"]
    problems = is_problem(post(app, "/api/recommend", body, content_type=FHIR), 422)["problems"]
    assert problems[0]["path"] == "asOf"


def test_the_date_of_a_record_is_never_guessed(app: ASGIApp) -> None:
    record = {"id": "urn:example:p", "absent": ["VitaminB12Deficiency"]}
    assert is_problem(post(app, "/api/recommend", record), 422)["problems"][0]["path"] == "asOf"
    found = post(app, "/api/recommend", record, query="asOf=2026-01-15")
    assert (found.status, found.json()["asOf"]) == (200, "2026-01-15")


def test_validate(app: ASGIApp) -> None:
    assert post(app, "/api/validate").json() == {"valid": True, "problems": []}
    wrong = {"id": "p", "asOf": "2026-01-15", "present": ["Nothing"], "absent": ["PerniciousAnemia", 5]}
    found = post(app, "/api/validate", wrong)
    assert found.status == 200
    assert not found.json()["valid"]
    assert {p["path"] for p in found.json()["problems"]} == {"present[0]", "absent[1]"}
    outcome = post(app, "/api/validate", wrong, accept=FHIR).json()
    assert {i["expression"][0] for i in outcome["issue"]} == {"present[0]", "absent[1]"}
    report = graph_of(post(app, "/api/validate", wrong, accept=TURTLE))
    sh = rdflib.Namespace("http://www.w3.org/ns/shacl#")
    assert len(list(report.quads((None, sh.resultSeverity, sh.Violation, None)))) == 2


def test_explain_and_what_if(app: ASGIApp, executable: ExecutableGuideline) -> None:
    name = "MaintenanceTreatment"
    plain = post(app, "/api/explain", query=f"decision={name}").json()
    assert [*plain["decisions"]] == [name]
    assert "whatIf" not in plain["decisions"][name]
    full = post(app, "/api/explain", query=f"decision={name}&whatIf=true").json()
    found = post(app, "/api/what-if", query=f"decision={name}").json()
    assert found["decisions"][name] == full["decisions"][name]["whatIf"] != []
    more = post(app, "/api/what-if", query=f"decision={name}&immutable=true").json()["decisions"][name]
    assert len(more) > len(found["decisions"][name])
    offer = plain["decisions"][name]["whyNot"][0]["offer"]
    one = post(app, "/api/explain", query=f"offer={offer}").json()["decisions"]
    assert {contrast["offer"] for part in one.values() for contrast in part["whyNot"]} == {offer}


def test_the_guideline(app: ASGIApp, guideline: Guideline) -> None:
    found = ask(app, "GET", "/api/guideline")
    form = found.json()
    assert form["digest"] == guideline.digest
    assert [*form["decisions"]] == [*guideline.decisions]
    assert form["quantities"].keys() == guideline.quantities.keys()
    sizes = {
        media: len(graph_of(ask(app, "GET", "/api/guideline", accept=media))) for media in (TURTLE, JSONLD, RDFXML)
    }
    assert len(set(sizes.values())) == 1, sizes
    assert min(sizes.values()) > 1000
    assert ask(app, "GET", "/api/guideline", accept=FHIR).json()["resourceType"] == "Bundle"


def test_the_audit_is_that_of_the_library_and_says_so_again_without_working(executable: ExecutableGuideline) -> None:
    from b12kg.audit import audit

    app = application(executable)

    async def both() -> list[Answered]:
        first = await asked(app, "GET", "/api/audit")
        return [first, await asked(app, "GET", "/api/audit", accept=TURTLE)]

    with pytest.MonkeyPatch.context() as patch:
        found, turtle = anyio.run(both)
        patch.setattr("b12kg.service.api._audit_of", None)
        again = ask(app, "GET", "/api/audit", if_none_match=found.headers["etag"])
    assert found.json() == json.loads(json.dumps(audit(executable).to_dict()))
    assert len(graph_of(turtle)) > 100
    assert (again.status, again.body) == (304, b"")


def test_an_etag_is_of_the_guideline_and_of_the_form(app: ASGIApp, second_app: ASGIApp, guideline: Guideline) -> None:
    tags = {media: ask(app, "GET", "/api/guideline", accept=media).headers["etag"] for media in (JSON, TURTLE, FHIR)}
    assert len(set(tags.values())) == 3
    assert all(guideline.digest[7:39] in tag for tag in tags.values())
    assert ask(second_app, "GET", "/api/guideline").headers["etag"] not in tags.values()
    for known in (tags[JSON], f'"other", W/{tags[JSON]}', "*"):
        again = ask(app, "GET", "/api/guideline", if_none_match=known)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tags[JSON])
    assert ask(app, "GET", "/api/guideline", if_none_match=tags[TURTLE]).status == 200


def test_another_guideline_is_served_by_its_folder(second_app: ASGIApp) -> None:
    record = {"id": "urn:r", "asOf": "2026-01-15", "present": ["Flu"], "jurisdiction": "DE"}
    found = post(second_app, "/api/recommend", record, query="explain=false").json()
    assert found["guideline"]["id"] == "second"
    page = ask(second_app, "GET", "/id/example.org/second/Flu", accept=HTML)
    assert (page.status, "flu" in page.text, "Disclaimer." in page.text) == (200, True, True)


@pytest.fixture(scope="module")
def second_app() -> ASGIApp:
    return application(b12kg.load(SECOND))


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query", "words"),
    [
        ("/api/recommend", "explian=false", "there are explain, asOf"),
        ("/api/recommend", "explain=no", "explain: accepted are true, false"),
        ("/api/recommend", "explain=", "explain: accepted are true, false"),
        ("/api/recommend", "asOf=15.1.2026", "asOf: accepted are a date, YYYY-MM-DD"),
        ("/api/recommend", "asOf=20260115", "asOf: accepted are a date, YYYY-MM-DD"),
        ("/api/recommend", "explain=true&explain=false", "explain: it may be given once"),
        ("/api/validate", "explain=true", "there are asOf"),
        ("/api/explain", "decision=Nothing", "decision: accepted are InitialTreatment"),
        ("/api/explain", "offer=nothing", "offer: accepted are"),
        ("/api/explain", "offer=oral-1mg-daily&decision=FolicAcid", "offer: it belongs to none of the decisions"),
        ("/api/what-if", "decision=%00", "decision: accepted are InitialTreatment"),
    ],
)
def test_a_parameter_that_is_not_understood(app: ASGIApp, path: str, query: str, words: str) -> None:
    assert words in is_problem(post(app, path, query=query), 400)["detail"]


def test_addresses_methods_and_forms(app: ASGIApp) -> None:
    is_problem(ask(app, "GET", "/nowhere"), 404)
    wrong = ask(app, "GET", "/api/recommend")
    is_problem(wrong, 405)
    assert wrong.headers["allow"] == "POST"
    is_problem(post(app, "/health"), 405)
    for media in ("text/plain", "application/rdf+xml", "application/xml"):
        assert JSON in is_problem(post(app, "/api/recommend", content_type=media), 415)["detail"]
    assert ask(app, "HEAD", "/health").status == 200


@pytest.mark.parametrize(
    ("body", "media", "path"),
    [
        (b"", JSON, "line 1, column 1"),
        (b"{", JSON, "line 1, column 2"),
        (b"\xff\xfe\xff", JSON, "byte"),
        (b"[]", JSON, "record"),
        (b'{"id": NaN}', JSON, "record"),
        (
            b'{"id": "p", "asOf": "2026-01-15", "present": [{"of": "PerniciousAnemia", "on": "x"}]}',
            JSON,
            "present[0].on",
        ),
        (b"<a> <b> .", TURTLE, "record"),
        (b"{}", JSONLD, "id"),
        (b"not RDF", "application/n-triples", "record"),
    ],
)
def test_a_record_that_is_not_answered_says_where(app: ASGIApp, body: bytes, media: str, path: str) -> None:
    found = is_problem(post(app, "/api/recommend", body, content_type=media), 422)
    assert found["problems"][0]["path"].startswith(path)
    assert all(p.keys() == {"path", "message", "accepted", "severity"} for p in found["problems"])


def test_reading_fhir_without_its_extra(app: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise UsageError("reading FHIR takes an extra: install b12kg[fhir]")

    monkeypatch.setattr("b12kg.records._read_fhir", missing)
    found = post(app, "/api/recommend", {"resourceType": "Patient", "id": "1"}, content_type=FHIR)
    assert "b12kg[fhir]" in is_problem(found, 501)["detail"]


# ---- parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "a/x"),
        ("*/*", "a/x"),
        ("b/*", "b/y"),
        ("b/y, a/x", "a/x"),
        ("b/y, a/x;q=0.9", "b/y"),
        ("*/*;q=0.1, b/y;q=0.2", "b/y"),
        ("a/*;q=0, b/y;q=0.1", "b/y"),
        ("a/x;q=0, */*;q=0.3", "b/y"),
        ("A/X ; q=0.5", "a/x"),
        ("c/z", None),
        ("a/x;q=0", None),
        ("nonsense", None),
        ("a/x;q=2", "a/x"),
        (f"{'c/z,' * 1000}a/x", None),
    ],
)
def test_content_negotiation(accept: str, expected: str | None) -> None:
    assert chosen(accept, ("a/x", "b/y")) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("present[3].source", "present[3].source"),
        ("measurements[0].secret", "measurements[0]"),
        ("secret", "record"),
        ("secret present[0]", "record"),
        ("line 3, column 7", "line 3, column 7"),
        ("Patient/secret at Bundle.entry[0].resource", "Bundle.entry[0].resource"),
        ("Condition/secret at line 4.code", "line 4.code"),
        (
            "Condition/secret at Bundle.entry[1].resource.onsetDateTime (present[0])",
            "Bundle.entry[1].resource.onsetDateTime",
        ),
        ("Bundle.entry[2].fullUrl", "Bundle.entry[2].fullUrl"),
        ("https://secret.example/p", "record"),
    ],
)
def test_a_place_holds_nothing_of_the_client(path: str, expected: str) -> None:
    assert place(Problem(path, "message")) == expected


def test_what_a_parser_repeats_is_not_told() -> None:
    (told,) = shown([Problem("record", "not turtle: at line 3: secret")])
    assert told["message"] == "not turtle, line 3"


# ---- terms -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def terms(guideline: Guideline) -> Terms:
    return Terms(guideline)


def test_every_term_has_an_address_and_every_form(app: ASGIApp, terms: Terms, guideline: Guideline) -> None:
    described = {
        str(s)
        for s in guideline.graph().subjects()
        if isinstance(s, rdflib.URIRef) and str(s).startswith("https://w3id.org/b12kg/")
    }
    assert {*terms.addresses.values()} == described
    assert len(described) > 500
    assert {address_of(iri) for iri in described} == {*terms.addresses}
    sample = [*sorted(terms.addresses)[::40], address_of(guideline.rules["maintenance-neuro"].iri)]
    for address in sample:
        own = {
            tuple(map(str, t[1:]))
            for t in guideline.graph().triples((rdflib.URIRef(terms.addresses[address]), None, None))
        }
        sizes = set()
        for media in (TURTLE, JSONLD, RDFXML):
            found = ask(app, "GET", f"/id/{address}", accept=media)
            assert (found.status, found.media) == (200, media)
            statements = graph_of(found)
            sizes.add(len(statements))
            said = {str(q[1]) for q in statements.quads((rdflib.URIRef(terms.addresses[address]), None, None, None))}
            assert said == {property_ for property_, _ in own}
        assert len(sizes) == 1
        page = ask(app, "GET", f"/id/{address}", accept=HTML)
        assert (page.status, page.media) == (200, HTML)


def test_a_page_leads_on_and_runs_nothing(app: ASGIApp, guideline: Guideline) -> None:
    rule = guideline.rules["maintenance-neuro"]
    page = ask(app, "GET", f"/id/{address_of(rule.iri)}", accept="text/html,*/*;q=0.8")
    assert rule.label in page.text
    assert f'href="/id/{address_of(guideline.decisions["MaintenanceTreatment"].iri)}"' in page.text
    assert guideline.disclaimer in page.text
    assert "<script" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    links = page.headers["link"]
    for media in (HTML, TURTLE, JSONLD, RDFXML):
        assert f'rel="alternate"; type="{media}"' in links
    assert f'<{rule.iri}>; rel="describes"' in links
    used = ask(app, "GET", f"/id/{address_of(rule.iri)}.ttl")
    assert used.media == TURTLE


def test_terms_that_are_none(app: ASGIApp) -> None:
    for path in ("/id/", "/id/Nothing", "/id/../record.py", "/id/clinical/oral.exe", "/id/http://www.w3.org/ns/prov"):
        is_problem(ask(app, "GET", path), 404)
    is_problem(ask(app, "GET", "/id/clinical/oral", accept="image/png"), 406)
    tag = ask(app, "GET", "/id/clinical/oral").headers["etag"]
    assert ask(app, "GET", "/id/clinical/oral", if_none_match=tag).status == 304


def test_what_a_guideline_says_is_no_markup(tmp_path: Path) -> None:
    text = (SECOND / "guideline.ttl").read_text(encoding="utf-8").replace('"flu"@en', '"<script>flu</script>"@en')
    (tmp_path / "guideline.ttl").write_text(text, encoding="utf-8")
    page = ask(application(b12kg.load(tmp_path)), "GET", "/id/example.org/second/Flu", accept=HTML).text
    assert "&lt;script&gt;flu" in page
    assert "<script" not in page


def test_settings_refuse_what_is_no_origin() -> None:
    for origin in ("*", "ehr.example.org", "https://ehr.example.org/", "null", "https://*.example.org", "file://x"):
        with pytest.raises(UsageError, match="no origin"):
            Settings(origins=(origin,))


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record for record in caplog.records if record.name.startswith("b12kg")] == []
