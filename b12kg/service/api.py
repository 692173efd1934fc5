"""The API: a record in, and what the guideline gives for it out, in the form that the client asks for.

Owns which forms there are at each address, and what a request may say beside the record. Keeps nothing of a request;
reads no clock: a record that states no date takes it from ``asOf``.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from b12kg import __version__
from b12kg.errors import Problem
from b12kg.guideline import Guideline
from b12kg.iris import B12, RDF, SH
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.service.negotiation import chosen, names
from b12kg.service.problem import problem, shown

JSON, FHIR = "application/json", "application/fhir+json"
TURTLE, TRIG, JSONLD, RDFXML = "text/turtle", "application/trig", "application/ld+json", "application/rdf+xml"
RDF_FORMS = {TURTLE: "turtle", TRIG: "trig", JSONLD: "jsonld"}
# The forms of a record, by the media type of the body.
INPUTS = {JSON: "json", FHIR: "fhir", TURTLE: "turtle", JSONLD: "jsonld", "application/n-triples": "nt"}
# Bytes of a record that is answered at once, in 30 ms at worst; what takes longer must not hold up the others.
_SMALL = 4 * 1024
# Bytes of one that is no FHIR: of some kB, with a thousand of its entries wrong in every way, it takes a second.
_LARGEST = 256 * 1024
_THREADS = 2
_AUDIT_SECONDS = 300

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for: the form of the answer, and its parameters."""

    media: str
    parameters: Mapping[str, list[str]]

    def one(self, name: str, default: str) -> str:
        """The value of a parameter that may be given once."""
        return self.parameters.get(name, [default])[-1]

    def flag(self, name: str, default: bool) -> bool:
        """Whether a parameter is true."""
        return self.one(name, str(default).lower()) == "true"


class Api:
    """Answers records over HTTP by one guideline."""

    def __init__(self, guideline: ExecutableGuideline) -> None:
        self.guideline = guideline
        self.threads = anyio.CapacityLimiter(_THREADS)
        self._audits: dict[str, bytes] = {}
        self._auditing = anyio.Lock()

    def routes(self) -> list[Route]:
        """The addresses of the API."""
        return [
            Route("/api/recommend", self.recommend, methods=["POST"]),
            Route("/api/validate", self.validate, methods=["POST"]),
            Route("/api/explain", self.explain, methods=["POST"]),
            Route("/api/what-if", self.what_if, methods=["POST"]),
            Route("/api/guideline", self.described),
            Route("/api/audit", self.audit),
            Route("/health", self.health),
        ]

    def close(self) -> None:
        """Forget what was worked out; nothing of a request is among it."""
        self._audits.clear()

    async def apart(self, work: Callable[[], T]) -> T:
        """What a piece of work that takes a while gives, done beside the other requests."""
        return await anyio.to_thread.run_sync(work, limiter=self.threads)

    # -- records

    async def recommend(self, request: Request) -> Response:
        """Every decision for a record; with ``explain=false`` the outcomes alone."""
        asked = self.asked(request, (JSON, TURTLE, JSONLD, TRIG, FHIR), explain=("true", "false"), asOf=None)
        if isinstance(asked, Response):
            return asked
        explain = asked.flag("explain", True)

        def write(answer: Recommendation) -> bytes:
            if asked.media == JSON:
                imported = {} if answer.imported is None else {"import": answer.imported.to_dict()}
                return as_json(answer.to_dict(explain=explain) | imported)
            if asked.media == FHIR:
                return as_json(answer.to_fhir())
            return answer.serialize(RDF_FORMS[asked.media]).encode()

        return await self._answered(request, asked, write)

    async def explain(self, request: Request) -> Response:
        """Why, why no other offer and, on request, what would change it."""
        decisions, offers = (*self.guideline.content.decisions,), (*self.guideline.content.offers,)
        flags = {"whatIf": ("true", "false"), "immutable": ("true", "false")}
        asked = self.asked(request, (JSON, TURTLE, JSONLD), decision=decisions, offer=offers, **flags, asOf=None)
        return await self._explained(request, asked, with_what_if=False)

    async def what_if(self, request: Request) -> Response:
        """The smallest changes of a record that lead to another settled outcome."""
        flags = {"immutable": ("true", "false")}
        decisions = (*self.guideline.content.decisions,)
        asked = self.asked(request, (JSON, TURTLE, JSONLD), decision=decisions, **flags, asOf=None)
        if isinstance(asked, Response) or asked.media != JSON:
            return await self._explained(request, asked, with_what_if=True)
        named, immutable = asked.parameters.get("decision", []), asked.flag("immutable", False)

        def write(answer: Recommendation) -> bytes:
            found = answer.what_if(*named, immutable=immutable)
            decisions = {name: [other.to_dict() for other in others] for name, others in found.items()}
            return as_json({**answer.heading(), "decisions": decisions, "disclaimer": answer.guideline.disclaimer})

        return await self._answered(request, asked, write)

    async def _explained(self, request: Request, asked: Asked | Response, *, with_what_if: bool) -> Response:
        if isinstance(asked, Response):
            return asked
        named = asked.parameters.get("decision", [])
        offer = asked.parameters["offer"][-1] if "offer" in asked.parameters else None
        if offer is not None and not self._is_of(offer, named):
            return problem(400, "A parameter is not understood", "offer: it belongs to none of the decisions")
        what: dict[str, Any] = {
            "offer": offer,
            "with_what_if": asked.flag("whatIf", with_what_if),
            "immutable": asked.flag("immutable", False),
        }

        def write(answer: Recommendation) -> bytes:
            if asked.media == JSON:
                from b12kg.recommendation.explanations import explained

                return as_json(explained(answer, named, **what))
            from b12kg.recommendation import prov

            graph = prov.explained_graph(answer, named, **what)
            return prov.write({prov.iri_of(answer): graph}, RDF_FORMS[asked.media]).encode()

        return await self._answered(request, asked, write)

    def _is_of(self, offer: str, decisions: list[str]) -> bool:
        content = self.guideline.content
        return any(offer in rule.offers for name in decisions or content.decisions for rule in content.rules_of(name))

    async def validate(self, request: Request) -> Response:
        """What is wrong with a record, or odd about it."""
        asked = self.asked(request, (JSON, TURTLE, JSONLD, FHIR), asOf=None)
        if isinstance(asked, Response):
            return asked

        def work(body: bytes, format_: str, as_of: date | None) -> bytes:
            return _report(self.guideline.validate(body, format=format_, as_of=as_of), asked.media)

        return await self._worked(request, asked, work)

    async def _answered(self, request: Request, asked: Asked, write: Callable[[Recommendation], bytes]) -> Response:
        """The answer to the record of a request, in the form that ``write`` gives it."""

        def work(body: bytes, format_: str, as_of: date | None) -> bytes:
            return write(self.guideline.recommend(body, format=format_, as_of=as_of))

        return await self._worked(request, asked, work)

    async def _worked(
        self, request: Request, asked: Asked, work: Callable[[bytes, str, date | None], bytes]
    ) -> Response:
        media = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        if media not in INPUTS:
            return problem(415, "No such form of a record", f"accepted: {names((*INPUTS,))}")
        body, stated = await request.body(), asked.one("asOf", "")
        as_of = date.fromisoformat(stated) if stated else None
        fhir = media == FHIR or (media == JSON and b'"resourceType"' in body)
        if larger_than_a_record(body, may_be_fhir=fhir):
            return too_large()
        quick = len(body) <= _SMALL and media == JSON == asked.media and not fhir
        made = work(body, "json", as_of) if quick else await self.apart(lambda: work(body, INPUTS[media], as_of))
        return Response(made, headers={"Cache-Control": "no-store", "Vary": "Accept"}, media_type=asked.media)

    async def answered(self, record: bytes, as_of: date | None) -> Recommendation | Response:
        """The answer to a record in JSON, which may be FHIR, or why it is refused."""
        if larger_than_a_record(record, may_be_fhir=True):
            return too_large()
        return await self.apart(lambda: self.guideline.recommend(record, format="json", as_of=as_of))

    # -- the guideline

    async def described(self, request: Request) -> Response:
        """What the guideline says, and what a record may say."""
        asked = self.asked(request, (JSON, TURTLE, JSONLD, RDFXML, FHIR))
        if isinstance(asked, Response):
            return asked
        return await self._cached(request, asked, lambda: _guideline(self.guideline.content, asked.media))

    async def audit(self, request: Request) -> Response:
        """Every finding of every check of the guideline, without its document and test cases."""
        asked = self.asked(request, (JSON, TURTLE, JSONLD))
        if isinstance(asked, Response):
            return asked
        found = await self.audits()
        return await self._cached(request, asked, lambda: found[asked.media])

    @property
    def is_audited(self) -> bool:
        """Whether the audit is there, so that nobody has to wait for it."""
        return bool(self._audits)

    async def audits(self) -> Mapping[str, bytes]:
        """The audit by media type; who asks first waits for it."""
        async with self._auditing:
            if not self._audits:
                with anyio.fail_after(_AUDIT_SECONDS):
                    self._audits |= await anyio.to_thread.run_sync(self._audited, abandon_on_cancel=True)
        return self._audits

    def _audited(self) -> dict[str, bytes]:
        """The audit by media type; in a process of its own, since the reasoner brings a JVM with it."""
        content = self.guideline.content
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(_audit_of, content.files[-1].parent, content.digest).result()

    async def _cached(self, request: Request, asked: Asked, make: Callable[[], bytes]) -> Response:
        """What depends on the guideline only, or 304 where the client has it."""
        tag = etag(self.guideline.content, asked.media)
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept"}
        if has(request, tag):
            return Response(status_code=304, headers=headers)
        return Response(await self.apart(make), headers=headers, media_type=asked.media)

    async def health(self, request: Request) -> Response:
        """That the service answers."""
        asked = self.asked(request, (JSON,))
        if isinstance(asked, Response):
            return asked
        return Response(b'{"status":"ok"}', headers={"Cache-Control": "no-store"}, media_type=JSON)

    # -- what is asked

    def asked(
        self, request: Request, offered: tuple[str, ...], **parameters: tuple[str, ...] | None
    ) -> Asked | Response:
        """What a request asks for, or why that is refused.

        Args:
            parameters: those that may be given, with the values that each may have; None for a date.
        """
        accept = request.headers.get("accept", "")
        media = chosen(accept, offered)
        if media is None:
            return problem(406, "No such form of an answer", f"there are {names(offered)}")
        found: dict[str, list[str]] = {}
        query: bytes = request.scope["query_string"]
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else ():
            if name not in parameters:
                there_are = ", ".join(parameters) or "none"
                return problem(400, "A parameter is not known", f"there are {there_are}")
            accepted = parameters[name]
            if not (is_date(value) if accepted is None else value in accepted):
                values = "a date, YYYY-MM-DD" if accepted is None else ", ".join(accepted)
                return problem(400, "A parameter is not understood", f"{name}: accepted are {values}")
            found.setdefault(name, []).append(value)
        if many := [name for name, values in found.items() if len(values) > 1 and name != "decision"]:
            return problem(400, "A parameter is not understood", f"{many[0]}: it may be given once")
        if "decision" in found:
            found["decision"] = [*dict.fromkeys(found["decision"])]
        return Asked(media, found)


def larger_than_a_record(data: bytes, *, may_be_fhir: bool) -> bool:
    """Whether a text is larger than a record may be that is no FHIR.

    >>> bundle = b'{"resourceType": "Bundle"}' + b" " * 262_145
    >>> larger_than_a_record(bundle, may_be_fhir=True), larger_than_a_record(bundle, may_be_fhir=False)
    (False, True)
    """
    return len(data) > _LARGEST and not (may_be_fhir and b'"resourceType"' in data)


def too_large() -> Response:
    """The refusal of a record that is larger than one may be."""
    return problem(413, "The record is too large", f"at most {_LARGEST} bytes, but for FHIR")


def as_json(form: Mapping[str, Any]) -> bytes:
    """A JSON object in UTF-8, without spaces."""
    return orjson.dumps(form)


def etag(guideline: Guideline, media: str) -> str:
    """The validator of what depends on the guideline only: by its digest, our version, and the form."""
    return f'"{guideline.digest.removeprefix("sha256:")[:32]}-{__version__}-{media.rpartition("/")[2]}"'


def has(request: Request, tag: str) -> bool:
    """Whether the client says that it has what bears the tag."""
    known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    return tag in known or known == ["*"]


def is_date(text: str) -> bool:
    """Whether a text is a date as it is written here, YYYY-MM-DD."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


# ---- forms -------------------------------------------------------------------------------------


def _report(problems: list[Problem], media: str) -> bytes:
    """What is wrong with a record: as JSON, as an OperationOutcome, or as a SHACL validation report."""
    told, valid = shown(problems), not any(p.severity == "error" for p in problems)
    if media == JSON:
        return as_json({"valid": valid, "problems": told})
    if media == FHIR:
        issues = [
            {"severity": p["severity"], "code": "invalid", "expression": [p["path"]], "diagnostics": _words(p)}
            for p in told
        ]
        none = {"severity": "information", "code": "informational", "diagnostics": "nothing is wrong with the record"}
        return as_json({"resourceType": "OperationOutcome", "issue": issues or [none]})
    from rdflib import BNode, Graph, Literal, URIRef

    from b12kg.recommendation.prov import write

    graph, report = Graph(), BNode("report")
    graph.add((report, URIRef(RDF + "type"), URIRef(SH + "ValidationReport")))
    graph.add((report, URIRef(SH + "conforms"), Literal(not told)))
    for number, p in enumerate(told):
        result = BNode(f"result{number}")
        severity = URIRef(SH + ("Violation" if p["severity"] == "error" else "Warning"))
        graph.add((report, URIRef(SH + "result"), result))
        graph.add((result, URIRef(RDF + "type"), URIRef(SH + "ValidationResult")))
        graph.add((result, URIRef(SH + "resultSeverity"), severity))
        graph.add((result, URIRef(SH + "resultMessage"), Literal(_words(p), lang="en")))
        graph.add((result, URIRef(B12 + "path"), Literal(p["path"])))
    return write({"urn:b12kg:validation": graph}, RDF_FORMS[media]).encode()


def _words(told: Mapping[str, str]) -> str:
    return told["message"] + (f" (accepted: {told['accepted']})" if told["accepted"] else "")


def _guideline(guideline: Guideline, media: str) -> bytes:
    """The guideline in one of its forms."""
    if media == JSON:
        return as_json(_in_json(guideline))
    if media == FHIR:
        from b12kg.export_fhir import guideline_bundle

        return as_json(guideline_bundle(guideline))
    from b12kg.export import owl_graph, rdf_xml
    from b12kg.recommendation.prov import write

    graph = owl_graph(guideline)
    return rdf_xml(graph) if media == RDFXML else write({guideline.iri: graph}, RDF_FORMS[media]).encode()


def _in_json(guideline: Guideline) -> dict[str, Any]:
    named: dict[str, Any] = {
        "concepts": {
            c.name: {"iri": c.iri, "label": c.label, "definition": c.definition, "kindOf": [*c.parents]}
            for c in guideline.concepts.values()
        },
        "quantities": {
            q.name: {"iri": q.iri, "label": q.label, "definition": q.definition, "unit": q.unit, "units": [*q.factors]}
            for q in guideline.quantities.values()
        },
        "treatments": {
            t.name: {"iri": t.iri, "label": t.label, "statuses": [*t.statuses]} for t in guideline.treatments.values()
        },
        "outsideSource": {c.name: {"iri": c.iri, "label": c.label} for c in guideline.circumstances.values()},
        "decisions": {
            d.name: {"iri": d.iri, "label": d.label, "rules": [rule.name for rule in guideline.rules_of(d.name)]}
            for d in guideline.decisions.values()
        },
        "rules": {
            r.name: {
                "iri": r.iri,
                "label": r.label,
                "modality": r.modality,
                "appliesTo": guideline.phenotypes[r.phenotype].label,
                "offers": [*r.offers],
                "passages": [support.passage for support in r.support],
            }
            for r in guideline.rules.values()
        },
        "offers": {
            o.id: {"iri": o.iri, "label": o.label, "kind": o.kind, "direction": o.direction}
            for o in guideline.offers.values()
        },
    }
    return {
        "id": guideline.id,
        "iri": guideline.iri,
        "label": guideline.label,
        "version": guideline.version,
        "digest": guideline.digest,
        "document": {"iri": guideline.document, "title": guideline.title, "publisher": guideline.publisher},
        "lastUpdated": guideline.last_updated,
        "reviewStatus": guideline.review_status,
        "preface": guideline.preface,
        **named,
        "disclaimer": guideline.disclaimer,
    }


def _audit_of(folder: Path, digest: str) -> dict[str, bytes]:
    """The audit of the guideline in a folder, by media type.

    Raises:
        ValueError: the guideline was changed since the service began.
    """
    from b12kg.audit import audit
    from b12kg.recommend import load
    from b12kg.recommendation.prov import write

    guideline = load(folder)
    if guideline.content.digest != digest:
        raise ValueError("the guideline was changed since the service began; start it anew")
    found = audit(guideline)
    graphs = {guideline.content.iri: found.graph()}
    return {
        JSON: as_json(found.to_dict()),
        **{media: write(graphs, RDF_FORMS[media]).encode() for media in (TURTLE, JSONLD)},
    }
