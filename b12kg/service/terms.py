"""The terms of the guideline at addresses of their own: what is said of each, as a page or as RDF.

Owns the step between an IRI and its address, what belongs to the description of a term, and its page. Says nothing
that the guideline's graph does not.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from b12kg.guideline import Guideline
from b12kg.iris import BASE, PREFIXES, RDF, RDFS, SKOS, name_of
from b12kg.service.api import JSONLD, RDFXML, TURTLE, etag, has
from b12kg.service.negotiation import chosen, names
from b12kg.service.problem import problem

if TYPE_CHECKING:
    from pyoxigraph import Store, Triple

HTML = "text/html"
_FORMS = (HTML, TURTLE, JSONLD, RDFXML)
_SUFFIXES = {"html": HTML, "ttl": TURTLE, "jsonld": JSONLD, "rdf": RDFXML}
_MOST = 500  # statements about other terms that name this one, on its page

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "code{overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ccc}"
    "th{width:14rem}footer{margin-top:2rem;border-top:1px solid #ccc}a{color:#0b4f9e}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class Terms:
    """The terms that the guideline's graph describes, by their addresses."""

    def __init__(self, guideline: Guideline) -> None:
        from pyoxigraph import NamedNode, RdfFormat, Store

        self.guideline = guideline
        self.store: Store = Store()
        for path in guideline.files:
            self.store.load(path=str(path), format=RdfFormat.TURTLE)
        self.own = (BASE, guideline.iri.rpartition("/")[0] + "/")
        described = {quad.subject.value for quad in self.store if isinstance(quad.subject, NamedNode)}
        self.addresses = {address_of(iri): iri for iri in sorted(described) if iri.startswith(self.own)}

    def routes(self) -> list[Route]:
        """The addresses of the terms."""
        return [Route("/id/{term:path}", self.answer)]

    async def answer(self, request: Request) -> Response:
        """What is said of a term, in the form that the client asks for, by ``Accept`` or by a suffix."""
        path, asked = request.path_params["term"], request.headers.get("accept", "")
        stem, dot, suffix = path.rpartition(".")
        if path not in self.addresses and dot and suffix in _SUFFIXES:
            path, asked = stem, _SUFFIXES[suffix]
        iri = self.addresses.get(path)
        if iri is None:
            return problem(404, "No such term", "GET /api/guideline lists those that a record may use")
        media = chosen(asked, _FORMS)
        if media is None:
            return problem(406, "No such form of a term", f"there are {names(_FORMS)}")
        tag = etag(self.guideline, media)
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept", "Link": _links(path, iri)}
        if has(request, tag):
            return Response(status_code=304, headers=headers)
        if media == HTML:
            headers["Content-Security-Policy"] = _POLICY
            return Response(self.page(iri), headers=headers, media_type=HTML)
        return Response(self.rdf(iri, media), headers=headers, media_type=media)

    # -- what is said

    def description(self, iri: str) -> list[Triple]:
        """The statements about a term, and about the blank nodes that they lead to."""
        from pyoxigraph import BlankNode, NamedNode

        found: list[Triple] = []
        seen: set[NamedNode | BlankNode] = set()
        to_do: list[NamedNode | BlankNode] = [NamedNode(iri)]
        while to_do:
            subject = to_do.pop()
            if subject in seen:
                continue
            seen.add(subject)
            triples = [quad.triple for quad in self.store.quads_for_pattern(subject, None, None, None)]
            found += triples
            to_do += [t.object for t in triples if isinstance(t.object, BlankNode)]
        return sorted(found, key=str)

    def rdf(self, iri: str, media: str) -> bytes:
        """The description of a term in a form of RDF."""
        from pyoxigraph import Quad, RdfFormat, serialize

        form = {TURTLE: RdfFormat.TURTLE, JSONLD: RdfFormat.JSON_LD, RDFXML: RdfFormat.RDF_XML}[media]
        triples = self.description(iri)
        quads = [Quad(t.subject, t.predicate, t.object) for t in triples]
        written: bytes | None = serialize(quads if media == JSONLD else triples, format=form, prefixes=PREFIXES)
        assert written is not None  # noqa: S101 - it is None only where an output is given
        return written

    def page(self, iri: str) -> str:
        """The description of a term as a page, with what is said of others by it."""
        from pyoxigraph import BlankNode, NamedNode

        node = NamedNode(iri)
        rows = []
        for triple in self.description(iri):
            if triple.subject != node:
                continue
            value = triple.object
            shown = self._blank(value) if isinstance(value, BlankNode) else self._shown(value)
            rows.append((self._shown(triple.predicate), shown))
        more = [
            (self._shown(quad.subject), self._shown(quad.predicate))
            for quad in self.store.quads_for_pattern(None, None, node, None)
            if isinstance(quad.subject, NamedNode)
        ]
        label = self.label(iri)
        alternates = "".join(
            f'<link rel="alternate" type="{media}" href="{_href(address_of(iri), suffix)}">'
            for suffix, media in _SUFFIXES.items()
            if media != HTML
        )
        guideline = self.guideline
        left = f"<p>{len(more) - _MOST} more are left out; SPARQL lists them.</p>" if len(more) > _MOST else ""
        parts = [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(label)}</title>{alternates}<style>{_STYLE}</style></head><body><main>",
            f"<h1>{escape(label)}</h1><p><code>{escape(iri)}</code></p>",
            f"<h2>What is said of it</h2>{_table(sorted(rows))}",
            f"<h2>Where it is named</h2>{_table(sorted(more)[:_MOST])}{left}" if more else "",
            f"</main><footer><p>{escape(guideline.title)} ({escape(guideline.publisher)}, "
            f"{escape(guideline.last_updated)}). Review status of the source: {escape(guideline.review_status)}.</p>",
            f"<p>{escape(guideline.disclaimer)}</p></footer></body></html>",
        ]
        return "\n".join(part for part in parts if part)

    def label(self, iri: str) -> str:
        """The words for a term; its name where it has none."""
        from pyoxigraph import Literal, NamedNode

        for property_ in (RDFS + "label", SKOS + "prefLabel"):
            for quad in self.store.quads_for_pattern(NamedNode(iri), NamedNode(property_), None, None):
                if isinstance(quad.object, Literal):
                    return quad.object.value
        return name_of(iri.replace("#", "/")) or iri

    def _shown(self, term: object) -> str:
        from pyoxigraph import Literal, NamedNode

        if isinstance(term, Literal):
            return escape(term.value)
        assert isinstance(term, NamedNode)  # noqa: S101 - the store holds no other kind here
        words = "a" if term.value == RDF + "type" else escape(self.label(term.value))
        if address_of(term.value) in self.addresses:
            return f'<a href="{_href(address_of(term.value))}">{words}</a>'
        return f"<code>{escape(_short(term.value))}</code>" if words != "a" else words

    def _blank(self, node: object) -> str:
        """The statements about a blank node, as the lines of Turtle that they are."""
        return f"<code>{escape('; '.join(self._lines(node, 0)))}</code>"

    def _lines(self, node: object, level: int) -> Iterator[str]:
        from pyoxigraph import BlankNode, Literal, NamedNode

        assert isinstance(node, BlankNode)  # noqa: S101 - called with no other
        for quad in sorted(self.store.quads_for_pattern(node, None, None, None), key=str):
            value = quad.object
            name = name_of(quad.predicate.value.replace("#", "/"))
            if isinstance(value, BlankNode):
                yield f"{name} ( {'; '.join(self._lines(value, level + 1))} )"
            elif not (isinstance(value, NamedNode) and value.value == RDF + "nil"):
                assert isinstance(value, NamedNode | Literal)  # noqa: S101 - the store holds no other kind here
                text = name_of(value.value.replace("#", "/")) if isinstance(value, NamedNode) else value.value
                yield f"{name} {text}"


def address_of(iri: str) -> str:
    """The part of a term's address behind ``/id/``: its IRI without what all of ours have in common.

    >>> address_of("https://w3id.org/b12kg/clinical/oral"), address_of("https://example.org/second/Flu")
    ('clinical/oral', 'example.org/second/Flu')
    """
    if iri.startswith(BASE):
        return iri.removeprefix(BASE)
    parts = urlsplit(iri)
    return f"{parts.netloc}{parts.path}{'#' + parts.fragment if parts.fragment else ''}"


def _short(iri: str) -> str:
    """An IRI by its prefix, where there is one for it.

    >>> _short("http://www.w3.org/2000/01/rdf-schema#label"), _short("urn:x")
    ('rdfs:label', 'urn:x')
    """
    for prefix, base in PREFIXES.items():
        if iri.startswith(base):
            return f"{prefix}:{iri.removeprefix(base)}"
    return iri


def _href(address: str, suffix: str = "") -> str:
    return f"/id/{quote(address)}{'.' + suffix if suffix else ''}"


def _links(address: str, iri: str) -> str:
    """The other forms of a description, and what it is about, for the header ``Link``."""
    forms = [f'<{_href(address, suffix)}>; rel="alternate"; type="{media}"' for suffix, media in _SUFFIXES.items()]
    return ", ".join([*forms, f'<{quote(iri, safe=":/#")}>; rel="describes"'])


def _table(rows: list[tuple[str, str]]) -> str:
    lines = "".join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in rows)
    return f"<table>{lines}</table>"
