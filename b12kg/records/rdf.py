"""The RDF forms of a record: Turtle, N-Triples and JSON-LD, to and from the JSON format.

Owns the step between triples and the mapping that json.py reads, so that every check of a record
has one home. Nothing is fetched, and what has no meaning in a record is refused, never left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from b12kg.errors import InvalidRecord, Problem
from b12kg.guideline import Guideline
from b12kg.iris import B12, DCTERMS, RDF, XSD, name_of
from b12kg.record import Record
from b12kg.records.json import CONTEXT, exact, limited, parse_json
from b12kg.records.schema import RECORDS, jsonld_context

if TYPE_CHECKING:
    from rdflib import Graph

# Property of a record -> key of the JSON format.
_LISTS = {
    "present": "present",
    "absent": "absent",
    "measurement": "measurements",
    "treatment": "treatments",
    "outsideSource": "outsideSource",
}
_TEXT, _DATE = frozenset({XSD + "string"}), frozenset({XSD + "date"})
_NUMBER = frozenset(XSD + kind for kind in ("decimal", "integer", "double"))
# Property of a record or an entry -> the datatypes of its literal.
_DATATYPES = {
    **dict.fromkeys(("asOf", "on", "startedOn"), _DATE),
    **dict.fromkeys(("jurisdiction", "source", "unit", "comparator", "status"), _TEXT),
    "value": _NUMBER,
}
_ENTRY = ("of", "on", "source", "value", "unit", "comparator", "status", "startedOn")
_TYPES = {B12 + kind for kind in ("Record", "Statement", "Measurement")}
# An absolute IRI without the characters that RFC 3987 leaves out.
_IRI = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*:[^\s<>"{}|\\^`\x00-\x20]+\Z')


def read_rdf(data: bytes, format: str, guideline: Guideline) -> tuple[dict[str, object], list[Problem]]:
    """The record in an RDF text, as a mapping of the JSON format, and what is wrong with its triples.

    The lists of the mapping are sorted, so that the same graph gives the same record.

    Args:
        format: turtle, nt or jsonld.

    Raises:
        InvalidRecord: it does not parse, holds none or several records, or names a context that
            would have to be fetched.
    """
    limited(data)
    if format == "jsonld":
        document = parse_json(data)
        if isinstance(document, dict) and _is_plain(document, guideline):
            return {key: value for key, value in document.items() if key != "@context"}, []
        data = _prepared(document)
    elif data.lstrip()[:5] in (b"<?xml", b"<rdf:"):
        raise InvalidRecord([Problem("record", "RDF/XML is not read", accepted="Turtle, N-Triples or JSON-LD")])
    reader = _Reader(_parse(data, format), guideline)
    return reader.record(), reader.problems


def _parse(data: bytes, format: str) -> list[Any]:
    """The triples of a text. pyoxigraph fetches nothing and logs nothing."""
    from pyoxigraph import RdfFormat, parse

    formats = {"turtle": RdfFormat.TURTLE, "nt": RdfFormat.N_TRIPLES, "jsonld": RdfFormat.JSON_LD}
    base = None if format == "nt" else RECORDS
    try:
        return [quad.triple for quad in parse(data, format=formats[format], base_iri=base)]
    except (SyntaxError, ValueError) as error:
        message = " ".join(str(error.args[0] if error.args else error).split())
        raise InvalidRecord([Problem("record", f"not {format}: {message[:200]}")]) from error


# ---- JSON-LD -----------------------------------------------------------------------------------


def _is_plain(document: Mapping[str, object], guideline: Guideline) -> bool:
    """Whether it is a record of the JSON format, under its own context or none: read as JSON, strictly."""
    context = document.get("@context", CONTEXT)
    ours = context == CONTEXT or context == json.loads(
        json.dumps(jsonld_context(guideline)["@context"]), parse_float=Decimal
    )
    return ours and not any(key.startswith("@") for key in document if key != "@context")


def _prepared(document: object) -> bytes:
    """JSON-LD of another shape, made so that no key and no value can be dropped in silence."""
    context = document.get("@context") if isinstance(document, dict) else None
    problems = [*_dropped(document, "record", top=True)]
    if context is not None and not isinstance(context, dict):
        problems.append(Problem("@context", "a context is not fetched", str(context)[:60], f"{CONTEXT}, or an object"))
    if problems:
        raise InvalidRecord(problems)
    # A key that the context does not know becomes a property of ours that no record has.
    vocabulary = {"@vocab": B12 + "unknown/"}
    if isinstance(document, dict):
        document = {**document, "@context": [vocabulary, *([context] if context else [])]}
    return json.dumps(document, default=float).encode()


def _dropped(part: object, path: str, top: bool = False) -> Iterator[Problem]:
    """What a JSON-LD processor would leave out, round or fetch."""
    if part is None:
        yield Problem(path, "null is no value: leave the key out", "null")
    elif isinstance(part, Decimal) and not exact(part):
        yield Problem(path, "a number that no double carries exactly", str(part)[:60], "at most 15 digits")
    elif isinstance(part, dict):
        for key, value in part.items():
            place = f"{path}.{key}"
            if key == "@import" or (key == "@context" and not top):
                yield Problem(place, "a context is not fetched, and stands at the top only", str(value)[:60])
            elif key.startswith("@") and key not in _KEYWORDS:
                yield Problem(place, "no keyword that a record needs", key, ", ".join(sorted(_KEYWORDS)))
            else:
                yield from _dropped(value, place)
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from _dropped(value, f"{path}[{index}]", top=False)


_KEYWORDS = {"@base", "@container", "@context", "@graph", "@id", "@type", "@value", "@version", "@vocab"}


# ---- from triples ------------------------------------------------------------------------------


class _Reader:
    """Takes a record out of triples, and notes every triple that it does not understand."""

    def __init__(self, triples: list[Any], guideline: Guideline) -> None:
        self.problems: list[Problem] = []
        self.names = {iri: name for name, iri in guideline.iris_of_names().items()}
        self.triples: dict[Any, list[tuple[str, Any]]] = {}
        for triple in sorted(triples, key=str):
            self.triples.setdefault(triple.subject, []).append((triple.predicate.value, triple.object))
        self.seen: set[Any] = set()

    def record(self) -> dict[str, object]:
        found = self.subject()
        document: dict[str, object] = {"id": self.id(found)}
        lists: dict[str, list[object]] = {}
        for name, value in self.properties(found):
            if name in _LISTS:
                lists.setdefault(_LISTS[name], []).append(self.entry(value))
            elif name in ("asOf", "jurisdiction") and name not in document:
                document[name] = self.literal(name, value)
            elif name == DCTERMS + "identifier" and self.is_text(value):
                document["id"] = value.value
            else:
                self.refuse(name, value)
        for subject in self.triples.keys() - self.seen:
            self.problem(str(subject), "no part of the record", accepted="one record and its entries")
        ordered = {key: sorted(entries, key=lambda e: json.dumps(e, default=str)) for key, entries in lists.items()}
        return document | ordered

    def subject(self) -> Any:
        """The one node that is a record: typed so, or the only one that has its date, or that none points to."""
        a = RDF + "type"
        typed = [s for s, pairs in self.triples.items() if any(p == a and o.value == B12 + "Record" for p, o in pairs)]
        dated = [s for s, pairs in self.triples.items() if any(p == B12 + "asOf" for p, _ in pairs)]
        pointed = {o for pairs in self.triples.values() for _, o in pairs}
        found = sorted(typed or dated or [s for s in self.triples if s not in pointed], key=str)
        if len(found) != 1:
            message = f"{len(found)} records" if found else "no record"
            raise InvalidRecord([Problem("record", message, accepted="one b12:Record")])
        return found[0]

    def id(self, node: Any) -> str:
        from pyoxigraph import BlankNode

        if isinstance(node, BlankNode):
            self.problem("id", "the record is a blank node", accepted="an IRI")
            return "_:record"
        text = str(node.value)
        return unquote(text.removeprefix(RECORDS)) if text.startswith(RECORDS) else text

    def properties(self, node: Any) -> Iterator[tuple[str, Any]]:
        """The properties of a node by name; one that is not ours by its IRI."""
        self.seen.add(node)
        for property_, value in self.triples.get(node, []):
            if property_ != RDF + "type" or value.value not in _TYPES:
                ours = property_.startswith(B12) and "/" not in property_.removeprefix(B12)
                yield (name_of(property_) if ours else property_), value

    def entry(self, node: Any) -> object:
        """A name where only an IRI stands; an entry of the JSON format where a node is described."""
        if node not in self.triples:
            return self.name(node)
        entry: dict[str, object] = {}
        for name, value in self.properties(node):
            if name not in _ENTRY or name in entry:
                self.refuse(name, value)
            else:
                entry[name] = self.name(value) if name == "of" else self.literal(name, value)
        return entry

    def name(self, node: Any) -> str:
        """The name of an IRI; of an unknown one the IRI, which json.py says is unknown."""
        from pyoxigraph import NamedNode

        if isinstance(node, NamedNode):
            return self.names.get(node.value, str(node.value))
        self.problem("of", "not an IRI", str(node), "the IRI of a concept, quantity, treatment or circumstance")
        return str(node)

    def literal(self, name: str, node: Any) -> object:
        from pyoxigraph import Literal

        datatypes = _DATATYPES[name]
        accepted = " or ".join(sorted(f"xsd:{name_of(d.replace('#', '/'))}" for d in datatypes))
        iri = name == "source" and not isinstance(node, Literal)
        if not iri and (not isinstance(node, Literal) or node.datatype.value not in datatypes):
            self.problem(name, "not a literal of its datatype", str(node), accepted)
        if datatypes is not _NUMBER:
            return str(node.value)
        try:
            return Decimal(node.value)
        except InvalidOperation:
            return str(node.value)  # which json.py says is no number

    def is_text(self, node: Any) -> bool:
        from pyoxigraph import Literal

        return isinstance(node, Literal) and node.datatype.value == XSD + "string"

    def refuse(self, name: str, value: object) -> None:
        accepted = ", ".join(("asOf", "jurisdiction", *_LISTS, *_ENTRY))
        self.problem(name, "no property of a record or an entry, or stated twice", str(value), accepted)

    def problem(self, path: str, message: str, found: str = "", accepted: str = "") -> None:
        self.problems.append(Problem(path, message, found if len(found) <= 60 else found[:57] + "...", accepted))


# ---- out ---------------------------------------------------------------------------------------


def record_graph(record: Record, guideline: Guideline) -> Graph:
    """The record as RDF, in the terms that :func:`read_rdf` reads.

    An identifier that is no IRI is put under a namespace for records; read back it is itself.
    """
    from rdflib import BNode, Graph, Literal, URIRef
    from rdflib.term import Node

    graph = Graph()
    graph.bind("b12", B12)
    iris = {name: URIRef(iri) for name, iri in guideline.iris_of_names().items()}
    is_iri = _IRI.match(record.id) and not record.id.startswith(RECORDS)
    top = URIRef(record.id if is_iri else RECORDS + quote(record.id, safe=""))
    document = record.to_dict()
    graph.add((top, URIRef(RDF + "type"), URIRef(B12 + "Record")))

    def literal(key: str, value: object) -> Literal:
        datatype = {"asOf": "date", "on": "date", "startedOn": "date", "value": "decimal"}.get(key)
        text = f"{Decimal(str(value)):f}" if key == "value" else str(value)
        return Literal(text, datatype=URIRef(XSD + datatype) if datatype else None)

    for key in ("asOf", "jurisdiction"):
        if key in document:
            graph.add((top, URIRef(B12 + key), literal(key, document[key])))
    for property_, key in _LISTS.items():
        entries = document[key]
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            node: Node = BNode(f"{key}{index}")
            if isinstance(entry, str):
                node = iris[entry]
            elif isinstance(entry, dict):
                for name, value in entry.items():
                    graph.add((node, URIRef(B12 + name), iris[str(value)] if name == "of" else literal(name, value)))
            graph.add((top, URIRef(B12 + property_), node))
    return graph
