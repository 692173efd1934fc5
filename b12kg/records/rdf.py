"""The RDF forms of a record: Turtle, N-Triples and JSON-LD, to and from the JSON format.

Owns the step between triples and the mapping that json.py reads, so that every check of a record
has one home. Nothing is fetched, and a triple that has no meaning in a record is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from b12kg.errors import InvalidRecord, Problem
from b12kg.guideline import Guideline
from b12kg.iris import B12, RDF, XSD, name_of
from b12kg.record import Record
from b12kg.records.json import read_json
from b12kg.records.schema import CONTEXT, RECORDS, jsonld_context

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

# Property of a record -> key of the JSON format.
_LISTS = {
    "present": "present",
    "absent": "absent",
    "measurement": "measurements",
    "treatment": "treatments",
    "outsideSource": "outsideSource",
}
_ENTRY = ("of", "on", "source", "value", "unit", "comparator", "status", "startedOn")


def read_rdf(data: str | bytes, format: str, guideline: Guideline) -> dict[str, object]:
    """The record in an RDF text, as a mapping of the JSON format; its lists are sorted.

    Args:
        format: turtle, nt or jsonld.

    Raises:
        InvalidRecord: it does not parse, holds none or several records, has a triple that no
            record has, or would load something from elsewhere.
    """
    text = data if isinstance(data, str) else _decode(data)
    graph = _from_jsonld(text, guideline) if format == "jsonld" else _parse(text, format)
    reader = _Reader(graph, guideline)
    document = reader.record()
    if reader.problems:
        raise InvalidRecord(reader.problems)
    return document


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRecord([Problem(f"byte {error.start}", "not UTF-8")]) from error


def _parse(text: str, format: str) -> Graph:
    from rdflib import Graph

    try:
        return Graph().parse(data=text, format=format, publicID=RECORDS)
    except Exception as error:
        message = " ".join(str(error).split())[:200]
        raise InvalidRecord([Problem("record", f"not {format}: {message}")]) from error


def _from_jsonld(text: str, guideline: Guideline) -> Graph:
    document = json.loads(json.dumps(read_json(text), default=float))
    context = document.pop("@context", None)
    _refuse_contexts(document, "record")
    if isinstance(context, Mapping):
        _refuse_contexts(context, "@context")
    elif context not in (None, CONTEXT):
        accepted = f"none, an object, or {CONTEXT}"
        raise InvalidRecord([Problem("@context", "a context is not fetched", str(context)[:60], accepted)])
    if not isinstance(context, Mapping):
        context = jsonld_context(guideline)["@context"]
    return _parse(json.dumps({"@context": context, **document}), "json-ld")


def _refuse_contexts(part: object, path: str) -> None:
    """Refuse what makes a JSON-LD parser fetch: a context inside, or an import."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key in ("@context", "@import") and not (key == "@context" and isinstance(value, Mapping)):
                problem = Problem(f"{path}.{key}", "a context is not fetched", str(value)[:60], "a context at the top")
                raise InvalidRecord([problem])
            _refuse_contexts(value, f"{path}.{key}")
    elif isinstance(part, list):
        for index, value in enumerate(part):
            _refuse_contexts(value, f"{path}[{index}]")


class _Reader:
    """Takes a record out of a graph, and notes every triple that it does not understand."""

    def __init__(self, graph: Graph, guideline: Guideline) -> None:
        self.graph = graph
        self.problems: list[Problem] = []
        self.names = {iri: name for name, iri in guideline.iris_of_names().items()}
        self.seen: set[Node] = set()

    def record(self) -> dict[str, object]:
        from rdflib import URIRef

        a = URIRef(RDF + "type")
        typed = set(self.graph.subjects(a, URIRef(B12 + "Record")))
        dated = set(self.graph.subjects(URIRef(B12 + "asOf"), None))
        found = sorted(typed or dated or set(self.graph.subjects()) - set(self.graph.objects()), key=str)
        if len(found) != 1:
            message = f"{len(found)} records" if found else "no record"
            raise InvalidRecord([Problem("record", message, ", ".join(map(str, found))[:200], "one b12:Record")])
        document: dict[str, object] = {"id": self.id(found[0])}
        for name, value in self.properties(found[0]):
            if name in _LISTS:
                entries = document.setdefault(_LISTS[name], [])
                assert isinstance(entries, list)  # noqa: S101 - narrows the type: made two lines above
                entries.append(self.entry(value))
            elif name in ("asOf", "jurisdiction") and name not in document:
                document[name] = str(value)
            else:
                self.refuse(found[0], name, value)
        for key in _LISTS.values():
            if key in document:
                document[key] = sorted(document[key], key=lambda entry: json.dumps(entry, default=str, sort_keys=True))  # type: ignore[call-overload]
        for subject in sorted(set(self.graph.subjects()) - self.seen, key=str):
            self.problems.append(Problem(str(subject), "no part of the record", accepted="one record and its entries"))
        return document

    def id(self, node: Node) -> str:
        from rdflib import BNode

        if isinstance(node, BNode):
            self.problems.append(Problem("record", "has no IRI", accepted="an IRI"))
        text = str(node)
        return unquote(text.removeprefix(RECORDS)) if text.startswith(RECORDS) else text

    def entry(self, node: Node) -> object:
        """A name where only an IRI stands; an entry of the JSON format where a node is described."""
        from rdflib import Literal

        if str(node) in self.names or (node, None, None) not in self.graph:
            return self.names.get(str(node), str(node).removeprefix(RECORDS))
        entry: dict[str, object] = {}
        for name, value in self.properties(node):
            if name not in _ENTRY or name in entry:
                self.refuse(node, name, value)
            elif name == "of":
                entry["of"] = self.names.get(str(value), str(value).removeprefix(RECORDS))
            elif name == "value":
                entry["value"] = _number(str(value)) if isinstance(value, Literal) else str(value)
            else:
                entry[name] = str(value)
        return entry

    def properties(self, node: Node) -> Iterator[tuple[str, Node]]:
        """The properties of a node by name; a property that is not ours by its IRI."""
        self.seen.add(node)
        for property_, value in sorted(self.graph.predicate_objects(node)):
            if str(property_) == RDF + "type" and str(value) in {B12 + kind for kind in _TYPES}:
                continue
            yield (name_of(str(property_)) if str(property_).startswith(B12) else str(property_)), value

    def refuse(self, node: Node, name: str, value: Node) -> None:
        accepted = ", ".join(("asOf", "jurisdiction", *_LISTS, *_ENTRY))
        self.problems.append(Problem(name, "no such property in a record, or stated twice", str(value)[:60], accepted))


_TYPES = ("Record", "Statement", "Measurement")


def _number(text: str) -> object:
    """The number of a literal; a text that is none is left for json.py to refuse."""
    from decimal import Decimal, InvalidOperation

    try:
        return Decimal(text)
    except InvalidOperation:
        return text


# ---- out ---------------------------------------------------------------------------------------


def record_graph(record: Record, guideline: Guideline) -> Graph:
    """The record as RDF, in the terms that :func:`read_rdf` reads.

    An identifier that is no IRI is put under a namespace for records; read back it is itself.
    """
    from rdflib import BNode, Graph, Literal, URIRef

    graph = Graph()
    graph.bind("b12", B12)
    iris = {name: URIRef(iri) for name, iri in guideline.iris_of_names().items()}
    top = URIRef(record.id if ":" in record.id else RECORDS + quote(record.id, safe=""))
    document = record.to_dict()
    graph.add((top, URIRef(RDF + "type"), URIRef(B12 + "Record")))

    def literal(key: str, value: object) -> Literal:
        datatype = {"asOf": "date", "on": "date", "startedOn": "date", "value": "decimal"}.get(key)
        return Literal(str(value), datatype=URIRef(XSD + datatype) if datatype else None)

    for key in ("asOf", "jurisdiction"):
        if key in document:
            graph.add((top, URIRef(B12 + key), literal(key, document[key])))
    for property_, key in _LISTS.items():
        entries = document[key]
        for entry in entries if isinstance(entries, list) else []:
            node: Node = BNode()
            if isinstance(entry, str):
                node = iris[entry]
            elif isinstance(entry, dict):
                for name, value in entry.items():
                    graph.add((node, URIRef(B12 + name), iris[str(value)] if name == "of" else literal(name, value)))
            graph.add((top, URIRef(B12 + property_), node))
    return graph
