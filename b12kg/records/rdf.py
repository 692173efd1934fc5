"""The RDF forms of a record: Turtle, N-Triples and JSON-LD, to and from the JSON format.

Owns the step between triples and the mapping that json.py reads, so that every check of a record
has one home. Nothing is fetched, and what has no meaning in a record is refused, never left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from b12kg.errors import InvalidRecord, Problem
from b12kg.guideline import Guideline
from b12kg.iris import B12, RDF, XSD, name_of
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
_LEXICAL = {
    XSD + "decimal": re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)\Z"),
    XSD + "integer": re.compile(r"[+-]?[0-9]+\Z"),
    XSD + "double": re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\Z"),
}
_BLANK = re.compile(r"_:[A-Za-z0-9]+\Z")
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
        _refuse_what_is_not_expanded(document)
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


def _refuse_what_is_not_expanded(document: object) -> None:
    """Refuse all JSON-LD but the expanded, flat form, in which every key and value is what it says.

    A JSON-LD processor drops what a context does not know, what is null, and what makes no IRI,
    without a word; in this form nothing of the kind can be left.

    Raises:
        InvalidRecord: every place at which something could be dropped, rounded or fetched.
    """
    if isinstance(document, dict) and "@context" in document:
        message, found = "a context is not fetched, and one of your own is not read", str(document["@context"])[:60]
        raise InvalidRecord([Problem("@context", message, found, f"{CONTEXT}, or none in expanded form")])
    if isinstance(document, dict) and document.keys() == {"@graph"}:
        document = document["@graph"]
    nodes = document if isinstance(document, list) else [document]
    problems = [problem for index, node in enumerate(nodes) for problem in _odd_node(node, f"[{index}]")]
    if problems:
        raise InvalidRecord(problems)


def _odd_node(node: object, path: str) -> Iterator[Problem]:
    if not isinstance(node, dict):
        yield Problem(path, "not a node of expanded JSON-LD", str(node)[:60], "an object with @id")
        return
    for key, value in node.items():
        place = f"{path}.{key[:60]}"
        values = value if isinstance(value, list) else [value]
        if key in ("@id", "@type"):
            for text in values if key == "@type" else [value]:
                if not isinstance(text, str) or not (_IRI.match(text) or _BLANK.match(text)):
                    yield Problem(place, "not an IRI", str(text)[:60], "an absolute IRI")
        elif not _IRI.match(key):
            yield Problem(place, "not a property of expanded JSON-LD", accepted=f"an IRI, or {CONTEXT} as @context")
        else:
            for index, found in enumerate(values):
                yield from _odd_value(found, f"{place}[{index}]")


def _odd_value(value: object, path: str) -> Iterator[Problem]:
    accepted = '{"@id": IRI}, or {"@value": ..., "@type": datatype}'
    if isinstance(value, dict) and value.keys() == {"@id"}:
        if not isinstance(value["@id"], str) or not (_IRI.match(value["@id"]) or _BLANK.match(value["@id"])):
            yield Problem(path, "not an IRI", str(value["@id"])[:60], "an absolute IRI")
    elif isinstance(value, dict) and "@value" in value and value.keys() <= {"@value", "@type"}:
        literal, datatype = value["@value"], value.get("@type", XSD + "string")
        if not isinstance(literal, str | Decimal) or (isinstance(literal, Decimal) and not exact(literal)):
            yield Problem(path, "not a text, and no number that a double carries", str(literal)[:60], accepted)
        if not isinstance(datatype, str) or not _IRI.match(datatype):
            yield Problem(path, "not an IRI of a datatype", str(datatype)[:60], accepted)
    else:
        yield Problem(path, "not a value of expanded JSON-LD", str(value)[:60], accepted)


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
        lexical = _LEXICAL.get(node.datatype.value) if isinstance(node, Literal) else None
        if lexical is None or not lexical.match(node.value):
            return str(node.value)  # which json.py says is no number
        return Decimal(node.value)

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
            node: Node = BNode(f"{key}{index}of{record.digest[7:23]}")
            if isinstance(entry, str):
                node = iris[entry]
            elif isinstance(entry, dict):
                for name, value in entry.items():
                    graph.add((node, URIRef(B12 + name), iris[str(value)] if name == "of" else literal(name, value)))
            graph.add((top, URIRef(B12 + property_), node))
    return graph
