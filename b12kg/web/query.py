"""SPARQL by hand: an editor, the shipped queries by their questions, and answers as tables.

Owns the page and the forms to take an answer away in. The query is answered by the endpoint, under all of its bounds.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from b12kg.guideline import Guideline
from b12kg.iris import PREFIXES, RDF, RDFS, SKOS
from b12kg.queries import Query, shipped
from b12kg.service.api import TURTLE, Api, etag, has, is_date
from b12kg.service.problem import MEDIA_TYPE, problem
from b12kg.service.sparql import Asked, Endpoint, findings_of
from b12kg.web.sent import fields
from b12kg.web.site import Site

RESULTS = "application/sparql-results+json"
MOST_SHOWN = 500  # rows on the page; the file has all of them
FORMS = {
    "csv": ("CSV", "answer.csv", "text/csv"),
    "json": ("JSON", "answer.srj", RESULTS),
    "turtle": ("Turtle", "answer.ttl", TURTLE),
}
_GROUPS = {"competency": "What people ask", "audit": "What the audit asks: violations, and what limits the trust"}
_NEEDS = "needs --"  # in the heading of a query: more than the guideline, such as a record
_FIELDS = ("query", "record", "asOf", "shipped", "as")


class QueryPage:
    """Answers with the page for queries."""

    def __init__(self, guideline: Guideline, api: Api, sparql: Endpoint, site: Site) -> None:
        self.guideline = guideline
        self.api = api
        self.sparql = sparql
        self.site = site

    def routes(self) -> list[Route]:
        """The addresses of the page."""
        return [
            Route("/query", self.page, methods=["GET", "POST"]),
            Route("/query/file", self.file, methods=["POST"]),
            Route("/query/terms", self.terms),
        ]

    async def page(self, request: Request) -> Response:
        """The editor, with the answer to what is in it, if it was asked."""
        if request.method != "POST":
            return self._shown(request, {"query": self._first})
        given = await _fields(request)
        if isinstance(given, Response):
            return given
        if given.get("shipped"):
            query = self._gallery.get(given["shipped"])
            if query is None:
                return problem(400, "There is no such query", "the page lists those that there are")
            return self._shown(request, {**given, "query": query.text.strip() + _open_parameters(query)})
        answer = await self._answered(request, given, f"{RESULTS}, {TURTLE}")
        if answer.media_type == MEDIA_TYPE:
            return self._shown(request, given, answer.status_code, told=json.loads(bytes(answer.body)))
        return await self.api.apart(lambda: self._with_answer(request, given, answer))

    async def file(self, request: Request) -> Response:
        """The answer to a query as a file."""
        given = await _fields(request)
        if isinstance(given, Response):
            return given
        if given.get("as") not in FORMS:
            return problem(400, "There is no such form", f"there are {', '.join(FORMS)}")
        _, name, media = FORMS[given["as"]]
        answer = await self._answered(request, given, media)
        if answer.media_type != MEDIA_TYPE:
            answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer

    async def terms(self, request: Request) -> Response:
        """What an editor completes: the terms of the graphs, each with its label and kind."""
        tag = etag(self.guideline, "completion")
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if has(request, tag):
            return Response(status_code=304, headers=headers)
        found = await self.api.apart(lambda: self._terms)
        return Response(json.dumps({"prefixes": PREFIXES, "terms": found}), 200, headers, "application/json")

    async def _answered(self, request: Request, given: Mapping[str, str], accept: str) -> Response:
        if not given.get("query", "").strip():
            return problem(400, "There is no query", "write one, or take one of those that ship")
        as_of, record = given.get("asOf", "").strip(), given.get("record", "").strip()
        if as_of and not is_date(as_of):
            return problem(400, "The date is none", "accepted: YYYY-MM-DD")
        day = date.fromisoformat(as_of) if as_of and record else None
        # A browser ends the lines of a field in its own way.
        query = given["query"].replace("\r\n", "\n")
        asked = Asked(query, None, None, record.encode() if record else None, day)
        return await self.sparql.answered(request, asked, accept)

    def _with_answer(self, request: Request, given: Mapping[str, str], answer: Response) -> Response:
        """The page with rows, or with triples."""
        counted = {"rows": int(answer.headers["Result-Rows"]), "cut": answer.headers["Result-Truncated"] == "true"}
        body = bytes(answer.body)
        if answer.media_type == RESULTS:
            return self._shown(request, given, result=json.loads(body), **counted)
        return self._shown(request, given, graph=body.decode(), **counted)

    def _shown(self, request: Request, given: Mapping[str, str], status: int = 200, **found: Any) -> Response:
        values: dict[str, Any] = {"told": None, "result": None, "graph": None, "rows": 0, "cut": False, **found}
        return self.site.page(
            request,
            "query.html",
            422 if status >= 400 else status,
            nonce=secrets.token_urlsafe(16),  # the editor brings its own styles
            given={"record": "", "asOf": "", **given},
            groups={_GROUPS[folder]: shipped(folder) for folder in _GROUPS},
            forms=FORMS,
            needs=f"{_NEEDS}record",
            most=MOST_SHOWN,
            most_rows=self.sparql.rows,
            seconds=self.sparql.timeout,
            graphs=(self.guideline.iri, findings_of(self.guideline)),
            **values,
        )

    @property
    def _first(self) -> str:
        """What the editor begins with: the first that asks the guideline alone."""
        asked = shipped("competency").values()
        return next(query.text.strip() for query in asked if not query.params and _NEEDS not in query.text)

    @cached_property
    def _gallery(self) -> dict[str, Query]:
        return {name: query for folder in _GROUPS for name, query in shipped(folder).items()}

    @cached_property
    def _terms(self) -> list[tuple[str, str, str]]:
        """Every term with a prefix that the graph names: the term, its label, and what it is."""
        from rdflib import URIRef

        graph = self.guideline.graph()
        labels = {s: str(o) for p in (SKOS + "prefLabel", RDFS + "label") for s, o in graph.subject_objects(URIRef(p))}
        kinds = {s: _prefixed(str(o)) or "" for s, o in graph.subject_objects(URIRef(RDF + "type"))}
        nodes = {node for triple in graph for node in triple if isinstance(node, URIRef)}
        named = ((_prefixed(str(node)), labels.get(node, ""), kinds.get(node, "")) for node in nodes)
        return sorted((name, label, kind) for name, label, kind in named if name is not None)


def _prefixed(iri: str) -> str | None:
    """An IRI by the longest prefix that fits it, where there is one.

    >>> _prefixed("http://www.w3.org/2000/01/rdf-schema#label"), _prefixed("urn:x")
    ('rdfs:label', None)
    """
    fitting = [(base, prefix) for prefix, base in PREFIXES.items() if iri.startswith(base) and iri != base]
    base, prefix = max(fitting, default=("", ""), key=lambda item: len(item[0]))
    return f"{prefix}:{iri.removeprefix(base)}" if base else None


def _open_parameters(query: Query) -> str:
    """The parameters of a query, each open until an IRI is put in its place."""
    lines = [f"VALUES ?{name} {{ UNDEF }}  # UNDEF stands for any; or {what}" for name, what in query.params.items()]
    return "\n" + "\n".join(lines) if lines else ""


async def _fields(request: Request) -> dict[str, str] | Response:
    """The fields of a request, each once."""
    pairs = await fields(request, most=20)
    if isinstance(pairs, Response):
        return pairs
    found = dict(pairs)
    if len(found) < len(pairs) or not found.keys() <= {*_FIELDS}:
        return problem(400, "The form cannot be read", f"each field once, of {', '.join(_FIELDS)}")
    return found
