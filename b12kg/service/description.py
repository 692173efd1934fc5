"""What the SPARQL endpoint says of itself: Service Description, VoID, and the shipped queries as examples.

Owns these graphs and their terms. Everything that they count is counted in the graphs that the endpoint holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from b12kg.guideline import Guideline
from b12kg.iris import DCTERMS, PREFIXES, RDF, RDFS, SH, XSD
from b12kg.queries import shipped

if TYPE_CHECKING:
    from pyoxigraph import Quad, Triple

SD = "http://www.w3.org/ns/sparql-service-description#"
VOID = "http://rdfs.org/ns/void#"
SCHEMA = "https://schema.org/"
_FORMATS = "http://www.w3.org/ns/formats/"
_RESULTS = (
    "SPARQL_Results_JSON",
    "SPARQL_Results_XML",
    "SPARQL_Results_CSV",
    "SPARQL_Results_TSV",
    "Turtle",
    "N-Triples",
    "RDF_XML",
    "JSON-LD",
)
_PREFIXES = PREFIXES | {"formats": _FORMATS, "schema": SCHEMA, "sd": SD, "void": VOID}
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|^`\\]*")
_KINDS = {"select": "Select", "violation": "Select", "concern": "Select", "construct": "Construct"}


def are_iris(texts: Iterable[str]) -> bool:
    """Whether each is an absolute IRI."""
    return all(_IRI.fullmatch(text) for text in texts)


class _Statements:
    """Triples that are added one after another."""

    def __init__(self) -> None:
        self.triples: list[Triple] = []

    def add(self, subject: str, property_: str, *values: str | int, text: bool = False) -> None:
        """State something of a subject: IRIs, texts in English, or numbers."""
        import pyoxigraph as ox

        for value in values:
            if isinstance(value, int):
                term: ox.NamedNode | ox.Literal = ox.Literal(str(value), datatype=ox.NamedNode(XSD + "integer"))
            else:
                term = ox.Literal(value, language="en") if text else ox.NamedNode(value)
            self.triples.append(ox.Triple(ox.NamedNode(subject), ox.NamedNode(property_), term))

    def code(self, subject: str, property_: str, value: str) -> None:
        """State a text that is in no language."""
        import pyoxigraph as ox

        self.triples.append(ox.Triple(ox.NamedNode(subject), ox.NamedNode(property_), ox.Literal(value)))


def written(triples: Iterable[Triple], media: str) -> bytes:
    """Triples in a form of RDF; the same triples give the same bytes.

    >>> import pyoxigraph as ox
    >>> name = ox.NamedNode("http://rdfs.org/ns/void#Dataset")
    >>> written([ox.Triple(name, name, name)], "application/n-triples").decode().split()[0]
    '<http://rdfs.org/ns/void#Dataset>'
    """
    import pyoxigraph as ox

    format_ = ox.RdfFormat.from_media_type(media)
    assert format_ is not None  # noqa: S101 - one of those that are offered
    made = ox.serialize(sorted(set(triples), key=str), format=format_, prefixes=_PREFIXES)
    assert made is not None  # noqa: S101 - None only where an output is given
    return made


def service(address: str, guideline: Guideline, graphs: Mapping[str, bytes]) -> list[Triple]:
    """The description of the endpoint and of the graphs that it holds.

    Args:
        address: of the endpoint.
        graphs: their N-Quads by name.
    """
    import pyoxigraph as ox

    held = {name: [*ox.parse(quads, format=ox.RdfFormat.N_QUADS)] for name, quads in graphs.items()}
    dataset, default = f"{address}#dataset", f"{address}#default-graph"
    made = _Statements()
    made.add(address, RDF + "type", SD + "Service")
    made.add(address, SD + "endpoint", address)
    made.add(address, SD + "supportedLanguage", SD + "SPARQL11Query")
    made.add(address, SD + "feature", SD + "UnionDefaultGraph")
    made.add(address, SD + "resultFormat", *(_FORMATS + name for name in _RESULTS))
    made.add(address, SD + "defaultDataset", dataset)
    made.add(address, SD + "availableGraphs", dataset)
    made.add(dataset, RDF + "type", SD + "Dataset", SD + "GraphCollection", VOID + "Dataset")
    made.add(dataset, DCTERMS + "title", guideline.label, text=True)
    made.add(dataset, DCTERMS + "description", f"{guideline.preface} {guideline.disclaimer}", text=True)
    made.add(dataset, DCTERMS + "source", guideline.document)
    made.add(dataset, VOID + "sparqlEndpoint", address)
    made.add(dataset, VOID + "dataDump", address.removesuffix("sparql") + "api/guideline")
    made.add(dataset, SD + "defaultGraph", default)
    of_examples = {decision.iri for decision in guideline.decisions.values()}
    made.add(dataset, VOID + "exampleResource", *sorted(of_examples))
    made.add(dataset, DCTERMS + "relation", f"{address}/examples")
    for number, (name, quads) in enumerate(sorted(held.items()), 1):
        named, graph = f"{address}#named-graph-{number}", f"{address}#graph-{number}"
        made.add(dataset, SD + "namedGraph", named)
        made.add(named, RDF + "type", SD + "NamedGraph")
        made.add(named, SD + "name", name)
        made.add(named, SD + "graph", graph)
        _count(made, graph, quads)
    _count(made, default, [quad for quads in held.values() for quad in quads])
    return made.triples


def _count(made: _Statements, graph: str, quads: Iterable[Quad]) -> None:
    """What is in a graph: how many triples, of which properties, and entities of which classes."""
    import pyoxigraph as ox

    triples = {quad.triple for quad in quads}
    properties = Counter(triple.predicate.value for triple in triples)
    classes = Counter(
        triple.object.value
        for triple in triples
        if triple.predicate.value == RDF + "type" and isinstance(triple.object, ox.NamedNode)
    )
    made.add(graph, RDF + "type", SD + "Graph", VOID + "Dataset")
    made.add(graph, VOID + "triples", len(triples))
    made.add(graph, VOID + "properties", len(properties))
    made.add(graph, VOID + "classes", len(classes))
    made.add(graph, VOID + "distinctSubjects", len({triple.subject for triple in triples}))
    made.add(graph, VOID + "distinctObjects", len({triple.object for triple in triples}))
    spaces = {re.sub(r"[^/#]*\Z", "", iri) for iri in (*properties, *classes)}
    made.add(graph, VOID + "vocabulary", *sorted(spaces))
    partitions = (("property", "property", "triples", properties), ("class", "class", "entities", classes))
    for kind, term, counted, found in partitions:
        for number, (iri, count) in enumerate(sorted(found.items()), 1):
            part = f"{graph}-{kind}-{number}"
            made.add(graph, VOID + f"{kind}Partition", part)
            made.add(part, VOID + term, iri)
            made.add(part, VOID + counted, count)


def examples(address: str) -> list[Triple]:
    """The shipped queries, each with its question; without values for its parameters a query answers for all."""
    made = _Statements()
    for query in shipped().values():
        iri = f"{address}/examples#{query.id}"
        kind = _KINDS[query.kind]
        made.add(iri, RDF + "type", SH + "SPARQLExecutable", SH + f"SPARQL{kind}Executable")
        made.add(iri, RDFS + "comment", query.question, text=True)
        made.code(iri, RDFS + "label", query.id)
        made.code(iri, SH + kind.lower(), query.text)
        made.code(iri, SCHEMA + "keywords", query.path.parent.name)
        made.add(iri, SCHEMA + "target", address)
    return made.triples
