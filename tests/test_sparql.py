"""SPARQL over HTTP: what is asked in each way, answered in each form, refused, and stopped."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import pyoxigraph as ox
import pytest

pytest.importorskip("starlette")

from hypothesis import given, settings
from hypothesis import strategies as st
from rdflib import Graph, URIRef
from starlette.types import ASGIApp, Message

import b12kg
from b12kg.errors import UsageError
from b12kg.iris import RDF, SH
from b12kg.queries import dataset_of, find_query, run, shipped, store_of
from b12kg.recommend import ExecutableGuideline
from b12kg.resources import EXAMPLES
from b12kg.service import sparql
from b12kg.service.api import Api
from b12kg.service.app import Settings, application
from b12kg.service.description import SCHEMA, SD, VOID
from b12kg.service.problem import MEDIA_TYPE
from b12kg.service.worker import BOOLEANS, LARGEST, LONGEST, SOLUTIONS, TRIPLES, answer, stored
from tests.asgi import Answered, ask, asked
from tests.test_service_promises import watched

ROOT = Path(__file__).parents[1]
RECORD = (EXAMPLES / "conflict.json").read_text(encoding="utf-8")
ROWS = "SELECT ?s ?o { ?s <http://www.w3.org/2000/01/rdf-schema#label> ?o } ORDER BY ?s ?o"
GRAPHS = "SELECT ?g (COUNT(*) AS ?n) { GRAPH ?g { ?s ?p ?o } } GROUP BY ?g ORDER BY ?g"
# What a query is put together of that goes out, if it is understood so.
ELSEWHERE = "SERVICE <http://127.0.0.1:9/> {}"
PIECES = (
    *(ELSEWHERE, "#", "\n", "\r", "'", '"', "'''", '"""', "\\", "{", "}", "VALUES ?x {", "VALUES ?y {", "1", "<a:b#c>"),
    *(r"\u0027", r"\u0022", r"\u000A", r"\u000D", r"\u0023", r"\u005C", r"\U000A", r"\u00e9", "\x0b", "\x85", "\u2028"),
    *(f"# \r {ELSEWHERE}", f"# {ELSEWHERE}\n", f"'{ELSEWHERE}'", f"{ELSEWHERE} #"),
)
TIMEOUT = 4.0
MOST = 1_000
PRIORITY = sparql._PRIORITY


@pytest.fixture(scope="module")
def endpoint() -> Iterator[sparql.Endpoint]:
    """With workers of ordinary priority: other tests take the processors meanwhile, and time is limited here."""
    guideline = b12kg.load()
    made = sparql.Endpoint(guideline, Api(guideline), timeout=TIMEOUT, memory=2**30, rows=MOST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparql, "_PRIORITY", 0)
        yield made
        made.close()


@pytest.fixture(scope="module")
def app(endpoint: sparql.Endpoint) -> ASGIApp:
    made = application(endpoint.guideline, Settings(query_timeout=TIMEOUT))
    served: Any = made
    routes = served.app.router.routes  # those of the endpoint above, whose workers the tests look at
    routes[:] = endpoint.routes() + [route for route in routes if route.path not in {r.path for r in endpoint.routes()}]
    return made


@pytest.fixture(scope="module")
def workers(endpoint: sparql.Endpoint) -> sparql.Workers:
    return anyio.run(endpoint._ready)


@pytest.fixture(scope="module")
def names(endpoint: sparql.Endpoint) -> tuple[str, str]:
    content = endpoint.guideline.content
    return content.iri, sparql.findings_of(content)


def get(app: ASGIApp, query: str, accept: str = "text/csv", **more: str) -> Answered:
    return ask(app, "GET", "/sparql", query=urlencode({"query": query, **more}), accept=accept)


def form(app: ASGIApp, accept: str = "text/csv", **fields: str) -> Answered:
    return ask(app, "POST", "/sparql", urlencode(fields).encode(), content_type=sparql.FORM, accept=accept)


def refused(found: Answered, status: int, *words: str) -> None:
    assert (found.status, found.media) == (status, MEDIA_TYPE)
    told = found.json()
    assert told["status"] == status
    for word in words:
        assert word in f"{told['title']} {told.get('detail', '')}"


# ---- asked in each way, answered in each form ----------------------------------------------------


def test_the_three_operations_give_the_same(app: ASGIApp) -> None:
    one = get(app, ROWS)
    assert one.status == 200
    assert len(one.text.splitlines()) > 100
    assert form(app, query=ROWS).body == one.body
    assert ask(app, "POST", "/sparql", ROWS.encode(), content_type=sparql.QUERY, accept="text/csv").body == one.body
    charset = f"{sparql.QUERY}; charset=UTF-8"
    assert ask(app, "POST", "/sparql", ROWS.encode(), content_type=charset, accept="text/csv").body == one.body
    # What some clients say beside Accept.
    assert get(app, ROWS, format="json", output="json", results="json").body == one.body
    assert one.headers["cache-control"] == "no-store"
    assert one.headers["vary"] == "Accept"


@pytest.mark.parametrize("media", SOLUTIONS)
def test_rows_in_each_form(app: ASGIApp, media: str, endpoint: sparql.Endpoint) -> None:
    found = get(app, ROWS, media)
    assert (found.status, found.media) == (200, media)
    findings = Graph().parse(data=anyio.run(endpoint.api.audits)["text/turtle"])
    store = store_of([endpoint.guideline.content.graph(), findings])
    assert found.body == serialized(store, ROWS, media)
    assert found.headers["result-truncated"] == "false"


@pytest.mark.parametrize("media", BOOLEANS)
@pytest.mark.parametrize("truth", [True, False])
def test_yes_and_no_in_each_form(app: ASGIApp, media: str, truth: bool) -> None:
    found = get(app, "ASK { ?s ?p ?o }" if truth else "ASK { ?s <urn:none> ?o }", media)
    assert (found.status, found.media) == (200, media)
    again: Any = ox.parse_query_results(found.body, format=ox.QueryResultsFormat.from_media_type(media))
    assert bool(again) is truth


@pytest.mark.parametrize("media", TRIPLES)
@pytest.mark.parametrize(
    "query", ["CONSTRUCT WHERE { ?s <http://www.w3.org/ns/prov#wasDerivedFrom> ?o }", "DESCRIBE {}"]
)
def test_triples_in_each_form(app: ASGIApp, media: str, query: str, names: tuple[str, str]) -> None:
    found = get(app, query.replace("{}", f"<{names[0]}>"), media)
    assert (found.status, found.media) == (200, media)
    triples = {*ox.parse(found.body, format=ox.RdfFormat.from_media_type(media))}
    assert len(triples) == int(found.headers["result-rows"]) > 3


def test_a_form_that_is_not_there(app: ASGIApp) -> None:
    refused(get(app, ROWS, "text/turtle"), 406, "text/csv")
    refused(get(app, ROWS, "image/png"), 406, "text/tab-separated-values")
    refused(get(app, "ASK {}", "text/csv"), 406, "application/sparql-results+xml")
    refused(get(app, "CONSTRUCT WHERE { ?s ?p ?o }", "text/csv"), 406, "text/turtle")


def test_the_form_that_is_preferred(app: ASGIApp) -> None:
    assert get(app, ROWS, "").media == "application/sparql-results+json"
    assert get(app, ROWS, "text/csv;q=0.3, application/sparql-results+xml;q=0.9").media.endswith("results+xml")
    assert get(app, "DESCRIBE <urn:a>", "*/*").media == "text/turtle"


def test_every_shipped_query_gives_what_pyoxigraph_gives_here(app: ASGIApp, endpoint: sparql.Endpoint) -> None:
    """With a record beside the guideline; queries of reports and runs find none of those in either."""
    executable = endpoint.guideline
    answer_ = executable.recommend(RECORD.encode())
    findings = Graph().parse(data=anyio.run(endpoint.api.audits)["text/turtle"])
    store = store_of([executable.content.graph(), answer_.graph(), findings])
    compared = 0
    for query in shipped().values():
        if query.kind == "construct":
            continue
        found = form(app, "text/csv", query=query.text, record=RECORD)
        assert found.status == 200, query.id
        wanted = serialized(store, query.text, "text/csv").decode().splitlines()
        if len(wanted) <= MOST:
            assert sorted(found.text.splitlines()) == sorted(wanted), query.id
            compared += len(wanted) - 1
    assert compared > 1_000
    assert [*run(store, shipped()["answer-conflicts"])]


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.text().map(ox.Literal), st.just(ox.BlankNode("b")), st.just(ox.NamedNode("urn:a"))),
            st.one_of(
                st.none(),
                st.integers().map(ox.Literal),
                st.floats(allow_nan=False).map(ox.Literal),
                st.text().map(lambda text: ox.Literal(text, language="en")),
                st.text().map(lambda text: ox.Literal(text, datatype=ox.NamedNode("urn:d"))),
            ),
        ),
        max_size=5,
    )
)
@settings(max_examples=200, deadline=None)
def test_rows_that_were_taken_out_are_the_same_again(rows: list[tuple[Any, Any]]) -> None:
    store = ox.Store()
    for number, values in enumerate(rows):
        for property_, value in zip(("urn:p", "urn:q"), values, strict=True):
            if value is not None:
                store.add(ox.Quad(ox.NamedNode(f"urn:{number:03}"), ox.NamedNode(property_), value))
        store.add(ox.Quad(ox.NamedNode(f"urn:{number:03}"), ox.NamedNode("urn:r"), ox.Literal(number)))
    query = "SELECT ?x ?y { ?s <urn:r> ?n OPTIONAL { ?s <urn:p> ?x } OPTIONAL { ?s <urn:q> ?y } } ORDER BY ?n"
    for media in SOLUTIONS:
        head, body = answer(store, request(query, accept=media))
        assert body == serialized(store, query, media)
        assert head["rows"] == len(rows)


def serialized(store: ox.Store, query: str, media: str) -> bytes:
    """What pyoxigraph writes itself; its solutions must not outlive this, since another thread may not drop them."""
    solutions: Any = store.query(query)
    written = io.BytesIO()
    solutions.serialize(written, format=ox.QueryResultsFormat.from_media_type(media))
    return written.getvalue()


def request(query: str, **more: Any) -> dict[str, Any]:
    return {"query": query, "default": None, "named": None, "accept": "text/csv", "rows": 9, **more}


# ---- what is not asked rightly -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "media", "query", "body", "status", "words"),
    [
        ("GET", "", "query=", b"", 400, ["no query"]),
        ("GET", "", "x=1", b"", 400, ["not known", "query, default-graph-uri"]),
        ("GET", "", "query=ASK{}&query=ASK{}", b"", 400, ["once"]),
        ("GET", "", "query=%ff", b"", 400, ["UTF-8"]),
        ("GET", "", "query=ASK{}&default-graph-uri=x", b"", 400, ["absolute IRIs"]),
        ("GET", "", "query=ASK{}&record=%7B%7D", b"", 400, ["not known"]),
        ("GET", "", "update=CLEAR+ALL", b"", 400, ["Updates are refused"]),
        ("GET", "", "&".join(["output=json"] * 101), b"", 400, ["at most 100"]),
        ("POST", sparql.UPDATE, "", b"CLEAR ALL", 400, ["Updates are refused"]),
        ("POST", sparql.FORM, "", b"update=CLEAR+ALL", 400, ["Updates are refused"]),
        ("POST", sparql.FORM, "query=ASK{}", b"query=ASK{}", 400, ["out of place"]),
        ("POST", sparql.FORM, "", b"query=ASK{}&asOf=2026-01-01", 400, ["date of a record"]),
        ("POST", sparql.FORM, "", b"query=ASK{}&record={}&asOf=soon", 400, ["YYYY-MM-DD"]),
        ("POST", sparql.FORM, "", b"query=ASK{}&record={}&asOf=", 400, ["YYYY-MM-DD"]),
        ("POST", sparql.FORM, "", b"", 400, ["no query"]),
        ("POST", sparql.QUERY, "", b"", 400, ["no query"]),
        ("POST", sparql.QUERY, "", b"\xff", 400, ["UTF-8"]),
        ("POST", sparql.QUERY, "query=ASK{}", b"ASK{}", 400, ["not known"]),
        ("POST", sparql.QUERY + "; charset=latin-1", "", b"ASK{}", 415, ["utf-8"]),
        ("POST", "application/json", "", b"{}", 415, [sparql.QUERY, sparql.FORM]),
        ("POST", "", "", b"ASK{}", 415, [sparql.QUERY]),
    ],
)
def test_a_request_that_is_none(
    app: ASGIApp, method: str, media: str, query: str, body: bytes, status: int, words: list[str]
) -> None:
    refused(ask(app, method, "/sparql", body, query=query, content_type=media), status, *words)


def test_other_methods(app: ASGIApp) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        found = ask(app, method, "/sparql")
        refused(found, 405)
        assert {*found.headers["allow"].replace(" ", "").split(",")} == {"GET", "HEAD", "POST"}


def test_head_is_answered_as_get_is(app: ASGIApp) -> None:
    for query in ("", urlencode({"query": "ASK {}"})):
        got, headed = (ask(app, method, "/sparql", query=query) for method in ("GET", "HEAD"))
        assert (headed.status, headed.headers) == (200, got.headers)


def test_a_page_that_may_ask_reads_that_rows_were_cut(executable: ExecutableGuideline) -> None:
    app = application(executable, Settings(origins=("https://ehr.example.org",)))
    found = ask(app, "GET", "/sparql/examples", origin="https://ehr.example.org")
    exposed = found.headers["access-control-expose-headers"].split(", ")
    assert {"Result-Rows", "Result-Truncated", "Retry-After"} <= {*exposed}


def test_too_long(app: ASGIApp) -> None:
    padded = "ASK {} #" + "x" * LONGEST
    refused(form(app, query=padded), 413, "characters")
    refused(get(app, padded), 414)
    assert form(app, "application/json", query="ASK {} #" + "x" * (LONGEST - 8)).status == 200
    record = json.dumps({"id": "x" * 300_000})
    refused(form(app, query="ASK {}", record=record), 413, "bytes")
    refused(form(app, query="x" * 5_000_000), 413, "body")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELEC ?s {}", ["line 1, column 1", "not a SPARQL query"]),
        ("SELECT ?s {\n  ?s ?p\n}", ["line 2", "not a SPARQL query"]),
        ("INSERT DATA { <urn:a> <urn:b> 1 }", ["update"]),
        ("DELETE WHERE { ?s ?p ?o }", ["update"]),
        ("LOAD <http://127.0.0.1:9/>", ["update"]),
        ("CLEAR ALL", ["update"]),
        ("DROP SILENT ALL", ["update"]),
        ("SELECT * { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } }", ["SERVICE"]),
        ("SELECT * { SERVICE SILENT ?s { ?s ?p ?o } }", ["SERVICE"]),
        ("SELECT * { OPTIONAL { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } } }", ["SERVICE"]),
        ("SELECT * { GRAPH ?g { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } } }", ["SERVICE"]),
        ("SELECT * { { SELECT * { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } } } }", ["SERVICE"]),
        ("SELECT * { ?s ?p ?o FILTER NOT EXISTS { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } } }", ["SERVICE"]),
        ("SELECT * { ?s ?p ?o MINUS { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } } }", ["SERVICE"]),
        ("ASK { { } UNION { serVice <http://127.0.0.1:9/> { ?s ?p ?o } } }", ["SERVICE"]),
        ("CONSTRUCT { ?s ?p ?o } { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } }", ["SERVICE"]),
        ("SELECT (EXISTS { SERVICE <http://127.0.0.1:9/> {} } AS ?x) {}", ["SERVICE"]),
        (r"SELECT * { \u0053ERVICE <http://127.0.0.1:9/> { ?s ?p ?o } }", ["write the character itself"]),
        ("SELECT * { # \r SERVICE <http://127.0.0.1:9/> { ?s ?p ?o }\n }", ["SERVICE"]),
        (
            "SELECT * { # \\u000A VALUES ?x { '''\n SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } # '''}\n }",
            ["write the character itself"],
        ),
        ("ASK {} # \\U000A", ["write the character itself"]),
        (r"SELECT ('\U00110000' AS ?x) {}", ["write the character itself"]),
        (r"SELECT ('\uD800' AS ?x) {}", ["write the character itself"]),
        ("SELECT * FROM <urn:g> { ?s x:y ?o }", ["No such graph"]),
        ("SELECT * FROM x:g { ?s ?p ?o }", ["prefix that is not declared"]),
        ("SELECT * { ?s ?p -" + "9" * 6_000 + " }", ["not a SPARQL query"]),
        ("INSERT {} WHERE {" + "{" * 300 + "}" * 300 + "}", ["nested too deeply"]),
        ("BASE <http://[> ASK FROM <y> {}", ["not a SPARQL query that can be read"]),
        ("ASK { VALUES (?a ?b) { (1) } }", ["does not take it"]),
        ("SELECT * { ?s ?p ?o } LIMIT 99999999999999999999999", ["does not take it"]),
        ("SELECT * {" + "{" * 3_000 + "}" * 3_000 + "}", ["nested too deeply"]),
        ("SELECT * { FILTER(" + "(" * 3_000 + "1" + ")" * 3_000 + ") }", ["nested too deeply"]),
        ("SELECT * { FILTER(" + "!" * 3_000 + "true) }", ["not a SPARQL query"]),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_query_that_is_refused(app: ASGIApp, query: str, words: list[str]) -> None:
    refused(form(app, query=query), 400, *words)


@given(st.lists(st.sampled_from(PIECES), max_size=9))
@settings(max_examples=3_000, deadline=None)
def test_whatever_would_be_sent_to_another_service_is_refused(pieces: list[str]) -> None:
    """Two parsers read a query, and only one is asked what to refuse: neither may see less than the other."""
    text = f"SELECT * {{ {' '.join(pieces)} \n }}"
    if goes_out(text):
        with pytest.raises(UsageError):
            dataset_of(text, "q")


def goes_out(query: str) -> bool:
    """Whether pyoxigraph would ask another service; it never asks this port, and says so."""
    try:
        serialized(ox.Store(), query, "text/csv")
    except OSError as error:  # which may not outlive this either, since it holds solutions
        return "port 9" in str(error)
    except (SyntaxError, ValueError, RuntimeError):
        pass
    return False


@pytest.mark.parametrize("line_end", ["\r", "\\u000A"])
def test_a_service_behind_what_ends_a_comment_in_one_parser_only(line_end: str) -> None:
    """So that the test above is known to be able to fail: pyoxigraph would send the first, and not the other."""
    hidden = f"SELECT * {{ # {line_end} VALUES ?x {{ '''\n {ELSEWHERE} # '''}}\n }}"
    if line_end == "\r":
        hidden = f"SELECT * {{ # {line_end} {ELSEWHERE}\n }}"
    assert goes_out(hidden)
    with pytest.raises(UsageError):
        dataset_of(hidden, "q")
    in_comment = f"SELECT * {{ # {ELSEWHERE}\n }}"
    assert not goes_out(in_comment)
    assert dataset_of(in_comment, "q") is None


def test_a_query_in_a_file_hides_no_service(tmp_path: Path) -> None:
    path = tmp_path / "x.rq"
    path.write_bytes(f"SELECT * {{ # \\u000A VALUES ?x {{ '''\n {ELSEWHERE} # '''}}\n }}".encode())
    with pytest.raises(UsageError, match="character itself"):
        find_query(str(path))


def test_characters_by_their_numbers() -> None:
    for text in (r"SELECT ('\u00e9' AS ?x) {}", r"SELECT ('\U0001F600' AS ?x) {}", r"SELECT ('C:\\users' AS ?x) {}"):
        assert dataset_of(text, "q") is None
        assert answer(ox.Store(), request(text))[0]["status"] == 200


def test_words_that_are_no_keywords(app: ASGIApp) -> None:
    query = "PREFIX service: <urn:service:> SELECT ?service { # SERVICE <urn:x> {}\n VALUES ?service { 'SERVICE' } }"
    assert get(app, query).text == "service\r\nSERVICE\r\n"


def test_errors_repeat_nothing_of_the_query(app: ASGIApp) -> None:
    secret = "canary42"
    for query in (
        f"SELECT '{secret}'",
        f"SELECT * {{ ?s ?p '{secret}' }} {secret}",
        f"SELECT * {{ SERVICE <urn:{secret}> {{}} }}",
        f"SELECT * FROM <urn:{secret}> {{}}",
        f"INSERT DATA {{ <urn:{secret}> <urn:a> 1 }}",
        f"PREFIX x: <urn:x> SELECT ({secret}:f(1) AS ?y) {{}}",
        f"SELECT (<urn:{secret}>('{secret}') AS ?x) (?x AS ?x) {{}}",
        f"SELECT * {{ BIND(1 AS ?{secret}) BIND(2 AS ?{secret}) }}",
    ):
        found = form(app, query=query)
        assert found.status in (200, 400)
        assert found.status == 200 or secret not in found.text


# ---- graphs --------------------------------------------------------------------------------------


def test_there_are_the_guideline_and_its_findings(app: ASGIApp, names: tuple[str, str]) -> None:
    lines = get(app, GRAPHS).text.splitlines()[1:]
    assert tuple(line.partition(",")[0] for line in lines) == names
    total = int(get(app, "SELECT (COUNT(*) AS ?n) { ?s ?p ?o }").text.split()[1])
    assert total == sum(int(line.partition(",")[2]) for line in lines)  # the union, in which they share no triple
    report = get(app, f"SELECT ?r {{ ?r a <{SH}ValidationReport> }}").text
    assert names[1] in report


def count(app: ASGIApp, pattern: str, dataset: str = "", **more: str) -> int:
    found = form(app, query=f"SELECT (COUNT(*) AS ?n) {dataset} {{ {pattern} }}", **more)
    assert found.status == 200, found.text
    return int(found.text.split()[1])


def test_the_dataset_that_a_query_names(app: ASGIApp, names: tuple[str, str]) -> None:
    guideline, findings = names
    everything, triples = count(app, "?s ?p ?o"), "GRAPH ?g { ?s ?p ?o }"
    of_guideline, of_findings = (count(app, f"GRAPH <{name}> {{ ?s ?p ?o }}") for name in names)
    assert everything == of_guideline + of_findings
    for dataset, parameter in (
        (f"FROM <{findings}>", {"default-graph-uri": findings}),
        (f"BASE <{guideline}/> SELECT", {}),
    ):
        if parameter:
            assert count(app, "?s ?p ?o", dataset) == of_findings == count(app, "?s ?p ?o", **parameter)
            assert count(app, triples, dataset) == 0 == count(app, triples, **parameter)
        else:
            text = f"BASE <{guideline}/> SELECT (COUNT(*) AS ?n) FROM <audit> {{ ?s ?p ?o }}"
            assert int(form(app, query=text).text.split()[1]) == of_findings
    named = {"named-graph-uri": guideline}
    assert count(app, "?s ?p ?o", f"FROM NAMED <{guideline}>") == 0 == count(app, "?s ?p ?o", **named)
    assert count(app, triples, f"FROM NAMED <{guideline}>") == of_guideline == count(app, triples, **named)
    both = f"FROM <{guideline}> FROM <{findings}>"
    assert count(app, "?s ?p ?o", both) == everything
    # The protocol's dataset is before that of the query (SPARQL 1.1 Protocol, section 2.1.4).
    assert count(app, "?s ?p ?o", f"FROM <{guideline}>", **{"default-graph-uri": findings}) == of_findings
    repeated = urlencode(
        [("query", "SELECT (COUNT(*) AS ?n) { ?s ?p ?o }"), *(("default-graph-uri", n) for n in names)]
    )
    assert int(ask(app, "GET", "/sparql", query=repeated, accept="text/csv").text.split()[1]) == everything


@pytest.mark.parametrize("iri", ["http://127.0.0.1:9/", "file:///etc/passwd", "urn:none"])
def test_another_graph_is_not_fetched(app: ASGIApp, iri: str, names: tuple[str, str]) -> None:
    refused(form(app, query=f"SELECT * FROM <{iri}> {{ ?s ?p ?o }}"), 400, "none is fetched", *names)
    refused(form(app, query=f"SELECT * FROM NAMED <{iri}> {{ ?s ?p ?o }}"), 400, "none is fetched")
    refused(form(app, query="ASK {}", **{"default-graph-uri": iri}), 400, "none is fetched")
    refused(form(app, query="ASK {}", **{"named-graph-uri": iri}), 400, "none is fetched")
    assert count(app, f"GRAPH <{iri}> {{ ?s ?p ?o }}") == 0


def test_a_record_comes_along_and_is_gone(app: ASGIApp, endpoint: sparql.Endpoint, names: tuple[str, str]) -> None:
    before = get(app, GRAPHS).text
    wanted = endpoint.guideline.recommend(RECORD.encode())
    with_record = form(app, query=GRAPHS, record=RECORD).text
    lines = with_record.splitlines()[1:]
    assert len(lines) == 3
    own = next(line for line in lines if not line.startswith(names))
    assert int(own.rpartition(",")[2]) == len(wanted.graph())
    for _ in range(2 * len(endpoint_workers(endpoint))):  # each worker
        assert get(app, GRAPHS).text == before
    assert form(app, query=GRAPHS, record=RECORD).text == with_record
    name = own.partition(",")[0]
    assert count(app, "?s ?p ?o", f"FROM <{name}>", record=RECORD) == len(wanted.graph())
    refused(form(app, query=f"SELECT * FROM <{name}> {{ ?s ?p ?o }}"), 400, "none is fetched")


def endpoint_workers(endpoint: sparql.Endpoint) -> list[int]:
    assert endpoint._workers is not None
    return endpoint._workers.pids()


def test_a_record_that_is_not_answered(app: ASGIApp) -> None:
    found = form(app, query="ASK {}", record='{"id": "x", "present": [{"of": "canary"}]}')
    refused(found, 422)
    assert found.json()["problems"][0]["path"].startswith("present[0]")
    assert "canary" not in found.text
    undated = json.dumps({key: value for key, value in json.loads(RECORD).items() if key != "asOf"})
    refused(form(app, query="ASK {}", record=undated), 422)
    assert form(app, "application/json", query="ASK {}", record=undated, asOf="2026-11-01").status == 200


def test_a_record_in_fhir(app: ASGIApp) -> None:
    pytest.importorskip("fhir.resources")
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": {"resourceType": "Patient", "id": "p"}},
    ]}  # fmt: skip
    query = "SELECT (COUNT(DISTINCT ?g) AS ?n) { GRAPH ?g { ?s ?p ?o } }"
    found = form(app, query=query, record=json.dumps(bundle), asOf="2026-01-01")
    assert found.text.split() == ["n", "3"]


def test_no_query_connects_writes_or_leaves_a_word(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "canary4711"
    record = json.dumps({**json.loads(RECORD), "id": f"urn:{canary}"})

    def all_of_them() -> list[Answered]:
        found = [form(app, query=GRAPHS, record=record), form(app, query=f"SELECT '{canary}'", record=record)]
        found += [
            form(app, query="ASK {}", record=f'{{"id": "{canary}"'),
            get(app, f"ASK {{ ?s ?p '{canary}' }}", "*/*"),
        ]
        found += [
            get(app, f"SELECT * {{ SERVICE <urn:{canary}> {{}} }}"),
            get(app, f"SELECT * FROM <urn:{canary}> {{}}"),
        ]
        return found

    statuses = [found.status for found in all_of_them()]  # what is loaded once is loaded
    with watched() as seen:
        again = all_of_them()
    assert seen == []
    assert [found.status for found in again] == statuses == [200, 400, 422, 200, 400, 400]
    for found in again:
        assert canary not in found.text
    assert canary not in caplog.text


# ---- limits --------------------------------------------------------------------------------------

# Each takes more time or memory than there is.
BOMBS = {
    "product": "SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i . ?j ?k ?l }",
    "path": "SELECT (COUNT(*) AS ?n) { ?a (!<urn:a>|^!<urn:a>)*/(!<urn:a>|^!<urn:a>)*/(!<urn:a>|^!<urn:a>)* ?b }",
    "sorted product": "SELECT * { ?a ?b ?c . ?d ?e ?f } ORDER BY DESC(?a) ?f",
    "doubling": "SELECT (STRLEN(?x12) AS ?n) { BIND('xxxxxxxx' AS ?x0) "
    + " ".join(f"BIND(CONCAT({', '.join([f'?x{n}'] * 16)}) AS ?x{n + 1})" for n in range(12))
    + " }",
    "concatenation": "SELECT (STRLEN(GROUP_CONCAT(?a)) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i }",
    "distinct": "SELECT (COUNT(DISTINCT CONCAT(STR(?a), STR(?d), STR(?g))) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i }",
    "filter": "SELECT ?a { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i FILTER(REGEX(CONCAT(STR(?a), STR(?d)), '^(a|a?)+$')) }",
    "parser": "SELECT * { FILTER(" + "(" * 40 + "1" + " + (1" * 2_000 + ")" * 2_000 + ")" * 40 + ") }",
}


@pytest.mark.parametrize("bomb", [name for name in BOMBS if name != "parser"])
def test_a_bomb_is_stopped_and_the_others_do_not_notice(app: ASGIApp, workers: sparql.Workers, bomb: str) -> None:
    others: list[tuple[float, Answered]] = []
    done = threading.Event()

    def ask_on() -> None:
        while not done.is_set():
            start = time.monotonic()
            found = get(app, "SELECT (COUNT(*) AS ?n) { ?s ?p ?o }")
            others.append((time.monotonic() - start, found))

    beside = threading.Thread(target=ask_on)
    beside.start()
    start = time.monotonic()
    found = form(app, query=BOMBS[bomb])
    took = time.monotonic() - start
    done.set()
    beside.join()
    refused(found, 503)
    assert found.headers["retry-after"] == "1"
    assert took < TIMEOUT + 2
    assert len(others) > 2
    assert {answered.status for _, answered in others} == {200}
    assert {answered.body for _, answered in others} == {others[0][1].body}


def test_a_query_that_parses_slowly_is_stopped_or_refused(app: ASGIApp) -> None:
    start = time.monotonic()
    assert form(app, query=BOMBS["parser"]).status in (400, 503)
    assert time.monotonic() - start < TIMEOUT + 2


def test_when_all_are_busy_one_waits_no_longer_than_it_may(app: ASGIApp, workers: sparql.Workers) -> None:
    async def all_of_them() -> list[Answered]:
        found: list[Answered] = []

        async def one(query: str) -> None:
            body = urlencode({"query": query}).encode()
            found.append(await asked(app, "POST", "/sparql", body, content_type=sparql.FORM, accept="text/csv"))

        async with anyio.create_task_group() as group:
            for _ in workers.pids():
                group.start_soon(one, BOMBS["product"])
            await anyio.sleep(0.2)
            group.start_soon(one, "ASK {}")
        return found

    start = time.monotonic()
    found = anyio.run(all_of_them)
    assert time.monotonic() - start < TIMEOUT + 3
    assert [one.status for one in found] == [503] * 3
    assert {one.json()["title"] for one in found} <= {"The query took too long", "Others took the time"}


def test_workers_that_are_killed_are_replaced(app: ASGIApp, workers: sparql.Workers) -> None:
    first = {*workers.pids()}
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    for _ in range(4):
        assert get(app, "SELECT (COUNT(*) AS ?n) { ?s ?p ?o }").status == 200

    def kill() -> None:
        for pid in workers.pids():
            os.kill(pid, signal.SIGKILL)

    threading.Timer(0.5, kill).start()
    found = form(app, query=BOMBS["product"])
    refused(found, 503, "its process was ended")
    assert get(app, "SELECT (COUNT(*) AS ?n) { ?s ?p ?o }").status == 200
    assert first != {*workers.pids()}


@pytest.mark.parametrize("after", [0.0, 0.5])
def test_a_query_ends_with_who_asked_it(app: ASGIApp, workers: sparql.Workers, after: float) -> None:
    """Its process is another afterwards, and it did not take its time."""
    before, body = {*workers.pids()}, BOMBS["product"].encode()
    sent: list[Message] = []

    async def asked() -> None:
        left = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if left:
                return left.pop()
            await anyio.sleep(after)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"content-type", b"application/sparql-query")]
        scope = {"type": "http", "method": "POST", "path": "/sparql", "query_string": b"", "headers": headers}
        await app({**scope, "scheme": "http", "server": ("localhost", 80), "root_path": ""}, receive, send)

    begun = time.monotonic()
    anyio.run(asked)
    assert time.monotonic() - begun < TIMEOUT - 1
    assert before != {*workers.pids()}
    assert [message["status"] for message in sent if message["type"] == "http.response.start"] == [503]
    assert get(app, "SELECT (COUNT(*) AS ?n) { ?s ?p ?o }").status == 200


def test_rows_and_triples_are_cut_and_it_is_said(app: ASGIApp) -> None:
    for query, media in (
        ("SELECT * { ?s ?p ?o }", "text/csv"),
        ("CONSTRUCT WHERE { ?s ?p ?o }", "application/n-triples"),
    ):
        found = get(app, query, media)
        assert (found.headers["result-rows"], found.headers["result-truncated"]) == (str(MOST), "true")
        assert len(found.text.splitlines()) == MOST + (media == "text/csv")
        exact = get(app, f"{query} LIMIT {MOST}", media)
        assert (exact.headers["result-rows"], exact.headers["result-truncated"]) == (str(MOST), "false")


def test_an_answer_that_is_too_large(app: ASGIApp) -> None:
    eight = ", ".join(["?x"] * 8)
    query = f"SELECT ?y {{ VALUES ?x {{ '{'x' * 1000}' }} BIND(CONCAT({eight}) AS ?z) ?s ?p ?o }}"
    query = query.replace("?y", f"(CONCAT({', '.join(['?z'] * 16)}) AS ?y)")
    refused(get(app, query), 503, str(LARGEST))
    assert LARGEST < 20_000_000  # it is held for whoever reads slowly


def test_no_limit_is_passed_over_by_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it may open, hold and leave behind, as the process itself says."""
    monkeypatch.setattr(sparql, "_PRIORITY", PRIORITY)
    started = sparql.Workers(b"<urn:s> <urn:p> <urn:o> <urn:g> .\n", 2**29)
    try:
        head, _ = started.ask(json.dumps({**request("ASK {}", accept="*/*"), "seconds": 9, "record": None}).encode(), 9)
        assert head["status"] == 200
        for pid in started.pids():
            assert os.getpriority(os.PRIO_PROCESS, pid) == PRIORITY > 0
            # Of a group of its own, but of this session: another would be given as much of the processors.
            assert (os.getpgid(pid), os.getsid(pid)) == (pid, os.getsid(0))
            limits = Path(f"/proc/{pid}/limits")
            if not limits.exists():
                pytest.skip("only Linux tells the limits of another process")
            lines = {line[:25].strip(): line[25:].split()[0] for line in limits.read_text().splitlines()}
            assert lines["Max core file size"] == "0"
            assert lines["Max data size"] == str(2**29)
        files = [Path(f"/proc/{pid}/limits").read_text() for pid in started.pids()]
        assert any("Max open files            3 " in text for text in files)  # of the one that has answered
    finally:
        started.close()


def test_without_the_check_a_worker_connects_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the parse tree is one guard; that no socket can be opened is another."""
    code = (
        "import resource, sys, pyoxigraph as ox\n"
        "store = ox.Store()\n"
        "if sys.argv[1] == 'limited': resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "try: list(store.query('SELECT * { SERVICE <http://127.0.0.1:PORT/> { ?s ?p ?o } }'))\n"
        "except Exception: pass\n"
    )
    import socket

    for limited, comes in (("open", True), ("limited", False)):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(3.0 if comes else 0.5)
            text = code.replace("PORT", str(server.getsockname()[1]))
            started = subprocess.Popen([sys.executable, "-c", text, limited])
            try:
                connection, _ = server.accept()
                connection.close()
                came = True
            except TimeoutError:
                came = False
            finally:
                started.kill()
                started.wait()
        assert came is comes


def test_the_workers_end_with_the_endpoint_and_with_the_service() -> None:
    started = sparql.Workers(b"", 2**29)
    pids = started.pids()
    started.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    code = (
        "import os, sys\nfrom b12kg.service.sparql import Workers\n"
        "workers = Workers(b'', 2**29)\nprint(*workers.pids(), flush=True)\nos._exit(0)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    end = time.monotonic() + 10
    alive = {int(pid) for pid in ran.stdout.split()}
    assert len(alive) == 2
    while alive and time.monotonic() < end:
        alive = {pid for pid in alive if _runs(pid)}
        time.sleep(0.05)
    assert not alive


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# ---- descriptions --------------------------------------------------------------------------------


@pytest.mark.parametrize("media", sparql.DESCRIPTIONS)
@pytest.mark.parametrize("path", ["/sparql", "/.well-known/void", "/sparql/examples"])
def test_what_it_says_of_itself(app: ASGIApp, path: str, media: str) -> None:
    found = ask(app, "GET", path, accept=media)
    assert (found.status, found.media) == (200, media)
    graph = {*ox.parse(found.body, format=ox.RdfFormat.from_media_type(media))}
    assert graph == {*ox.parse(ask(app, "GET", path, accept="text/turtle").body, format=ox.RdfFormat.TURTLE)}
    assert len(graph) > 20
    again = ask(app, "GET", path, accept=media, if_none_match=found.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    refused(ask(app, "GET", path, accept="image/png"), 406, "text/turtle")


def test_the_description_counts_what_is_there(app: ASGIApp, names: tuple[str, str]) -> None:
    graph = Graph().parse(data=ask(app, "GET", "/sparql", accept="text/turtle").text)
    assert (URIRef("http://localhost/sparql"), URIRef(RDF + "type"), URIRef(SD + "Service")) in graph
    found = {}
    for named, name in graph.subject_objects(URIRef(SD + "name")):
        of = graph.value(named, URIRef(SD + "graph"))
        found[str(name)] = int(str(graph.value(of, URIRef(VOID + "triples"))))
        for kind, term, counted, pattern in (
            ("property", "property", "triples", "?s <{}> ?o"),
            ("class", "class", "entities", "?s a <{}>"),
        ):
            parts = [*graph.objects(of, URIRef(f"{VOID}{kind}Partition"))]
            assert len(parts) > 3
            for part in parts[:5]:
                iri = graph.value(part, URIRef(VOID + term))
                pattern_ = f"GRAPH <{name}> {{ {pattern.format(iri)} }}"
                assert int(str(graph.value(part, URIRef(VOID + counted)))) == count(app, pattern_)
    assert found == {name: count(app, f"GRAPH <{name}> {{ ?s ?p ?o }}") for name in names}
    default = graph.value(URIRef("http://localhost/sparql#default-graph"), URIRef(VOID + "triples"))
    assert int(str(default)) == count(app, "?s ?p ?o")


def test_each_example_runs(app: ASGIApp) -> None:
    graph = Graph().parse(data=ask(app, "GET", "/sparql/examples", accept="text/turtle").text)
    ran = 0
    for kind, media in (("select", "text/csv"), ("construct", "text/turtle")):
        for example, text in graph.subject_objects(URIRef(SH + kind)):
            assert (example, URIRef(RDF + "type"), URIRef(SH + "SPARQLExecutable")) in graph
            assert get(app, str(text), media).status == 200
            ran += 1
    assert ran == len(shipped()) > 90


def test_its_address_is_the_one_it_was_asked_at(executable: ExecutableGuideline) -> None:
    app = application(executable, Settings(hosts=()))
    for host, address in (("[::1]:80", "http://[::1]:80/"), ('a> <urn:x> "', "http://127.0.0.1:8012/")):
        graph = Graph().parse(data=ask(app, "GET", "/sparql/examples", host=host, accept="text/turtle").text)
        assert {str(of) for of in graph.objects(None, URIRef(SCHEMA + "target"))} == {f"{address}sparql"}


# ---- in one process ------------------------------------------------------------------------------


def test_the_dataset_is_read_from_the_tree() -> None:
    assert dataset_of("SELECT * { ?s ?p 'FROM <urn:a>' }", "q") is None
    two = "PREFIX a: <urn:> PREFIX b: <urn:> ASK FROM a:g FROM NAMED b:h {}"
    assert dataset_of(two, "q") == (("urn:g",), ("urn:h",))
    assert dataset_of("BASE <http://x/y> PREFIX : <k/> ASK FROM <g> FROM : {}", "q") == (
        ("http://x/g", "http://x/k/"),
        (),
    )
    assert dataset_of("PREFIX a: <urn:a:> ASK FROM a:b FROM NAMED <urn:c> {}", "q") == (("urn:a:b",), ("urn:c",))
    with pytest.raises(UsageError, match="not a SPARQL query"):
        dataset_of("", "q")


def test_what_stands_in_several_graphs_is_there_once() -> None:
    store = stored(b"<urn:s> <urn:p> <urn:o> <urn:g> .\n<urn:s> <urn:p> <urn:o> <urn:h> .\n")
    for more in ({}, {"default": ["urn:g", "urn:h"]}):
        assert answer(store, request("SELECT ?s { ?s ?p ?o }", **more))[1] == b"s\r\nurn:s\r\n"
    assert answer(store, request("SELECT ?s FROM <urn:g> FROM <urn:h> { ?s ?p ?o }"))[1] == b"s\r\nurn:s\r\n"
    assert answer(store, request("SELECT ?g { GRAPH ?g { ?s ?p ?o } } ORDER BY ?g"))[1] == b"g\r\nurn:g\r\nurn:h\r\n"


def test_blank_nodes_have_the_same_names_in_each_worker(app: ASGIApp) -> None:
    query = "SELECT ?s { ?s ?p ?o FILTER(isBlank(?s)) } ORDER BY ?s LIMIT 50"
    found = {get(app, query).body for _ in range(4)}
    assert len(found) == 1
    assert len(found.pop().splitlines()) == 51
    one, two = (stored(b"_:b <urn:p> <urn:o> <urn:g> .\n") for _ in range(2))
    asked_ = request("SELECT ?s { ?s ?p ?o }")
    assert answer(one, asked_) == answer(two, asked_)
