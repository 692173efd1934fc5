"""The guideline as one ontology, in files that Protégé and other OWL tools open.

Owns the merging of the modules and the order in which the files are written. Adds nothing to what
the modules say but a header; leaves the SHACL shapes out, which are no part of the ontology.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from b12kg.errors import InvalidGuideline, Problem
from b12kg.guideline import Guideline
from b12kg.iris import DCTERMS, OWL, PROV, RDF, RDFS

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node


def owl_graph(guideline: Guideline) -> Graph:
    """The guideline's modules as one OWL 2 DL ontology, under a header of its own.

    The ontology is named by the namespace of the guideline, its version by that namespace in the
    version of the module that defines the guideline. Each module stays as the subject of its title
    and description, so that ``rdfs:isDefinedBy`` leads to them, and its version is a source of the
    whole; what made it an ontology to be imported is gone. The passage that a datatype was derived
    from is its ``dcterms:source`` here. Blank nodes are labelled by what they stand for, so that two
    runs give the same graph.

    Raises:
        InvalidGuideline: a module has no version, the guideline no module that defines it, or a
            datatype an object property for which there is no annotation.

    >>> from b12kg.turtle import load_guideline
    >>> merged = owl_graph(load_guideline())
    >>> from rdflib import OWL, RDF
    >>> [str(ontology) for ontology in merged.subjects(RDF.type, OWL.Ontology)]
    ['https://w3id.org/b12kg/droracle-2025']
    """
    from rdflib import Graph, Literal, URIRef
    from rdflib.compare import to_canonical_graph

    merged = Graph(bind_namespaces="none")
    merged += to_canonical_graph(guideline.graph())
    used = {str(term) for triple in merged for term in triple}
    for prefix, namespace in sorted(guideline.graph().namespaces()):
        if any(term.startswith(namespace) for term in used):
            merged.bind(prefix, namespace)
    type_, ontology_class = URIRef(RDF + "type"), URIRef(OWL + "Ontology")
    modules = sorted(merged.subjects(type_, ontology_class), key=str)
    versions = {module: _one(merged, module, OWL + "versionIRI") for module in modules}
    home = _one(merged, URIRef(guideline.iri), RDFS + "isDefinedBy")
    if home not in versions:
        raise InvalidGuideline(
            [Problem(guideline.iri, "defined by no module", str(home), ", ".join(map(str, modules)))]
        )

    for module in modules:
        merged.remove((module, type_, ontology_class))
        merged.remove((module, URIRef(OWL + "versionIRI"), None))
        merged.remove((module, URIRef(OWL + "imports"), None))
    whole = URIRef(_namespace(home))
    merged.add((whole, type_, ontology_class))
    merged.add((whole, URIRef(OWL + "versionIRI"), URIRef(_namespace(versions[home]))))
    merged.add((whole, URIRef(OWL + "versionInfo"), Literal(guideline.version)))
    merged.add((whole, URIRef(DCTERMS + "title"), Literal(guideline.label, lang="en")))
    merged.add((whole, URIRef(DCTERMS + "description"), Literal("All modules of the guideline in one.", lang="en")))
    for module in modules:
        merged.add((whole, URIRef(DCTERMS + "source"), versions[module]))
        for license_ in merged.objects(module, URIRef(DCTERMS + "license")):
            merged.add((whole, URIRef(DCTERMS + "license"), license_))
    _annotate_datatypes(merged)
    return merged


def write_owl(guideline: Guideline, folder: Path) -> tuple[Path, ...]:
    """The merged ontology written into a folder as RDF/XML and as Turtle: the paths of both.

    The files are named by the guideline's id; the same guideline gives the same bytes.

    Raises:
        InvalidGuideline: as of :func:`owl_graph`.
        OSError: a file cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> from b12kg.turtle import load_guideline
    >>> with TemporaryDirectory() as folder:
    ...     [path.name for path in write_owl(load_guideline(), Path(folder))]
    ['droracle-2025.owl', 'droracle-2025.ttl']
    """
    graph = owl_graph(guideline)
    written = (folder / f"{guideline.id}.owl", folder / f"{guideline.id}.ttl")
    for path, write in zip(written, (rdf_xml, _turtle), strict=True):
        path.write_bytes(write(graph))
    return written


# The order of both files. The OWL API takes a restriction for one on an object property unless it has
# read before that its property is a data property and its filler a datatype.
_KINDS = (
    OWL + "Ontology",
    OWL + "AnnotationProperty",
    OWL + "ObjectProperty",
    OWL + "DatatypeProperty",
    RDFS + "Datatype",
    OWL + "Class",
)


def _in_order(graph: Graph) -> list[Node]:
    """The subjects by kind and then by name, blank nodes last."""
    from rdflib import BNode, URIRef

    def place(subject: Node) -> tuple[bool, int, str]:
        kinds = {str(kind) for kind in graph.objects(subject, URIRef(RDF + "type"))}
        return (
            isinstance(subject, BNode),
            min((n for n, kind in enumerate(_KINDS) if kind in kinds), default=99),
            str(subject),
        )

    return sorted(set(graph.subjects()), key=place)


def rdf_xml(graph: Graph) -> bytes:
    """The graph as RDF/XML, declarations before their uses; the same graph gives the same bytes.

    By pyoxigraph, which keeps the order that it is given: rdflib's follows the seed of the hash.
    """
    from pyoxigraph import RdfFormat, parse, serialize

    places = {subject.n3(): place for place, subject in enumerate(_in_order(graph))}
    lines = graph.serialize(format="nt").splitlines(keepends=True)
    lines.sort(key=lambda line: (places[line.partition(" ")[0]], line))
    written: bytes | None = serialize(
        parse("".join(lines), format=RdfFormat.N_TRIPLES),
        format=RdfFormat.RDF_XML,
        prefixes={prefix: str(namespace) for prefix, namespace in graph.namespaces()},
    )
    assert written is not None  # noqa: S101 - it is None only where an output is given
    return written


def _turtle(graph: Graph) -> bytes:
    """By rdflib, which nests class expressions."""
    from io import BytesIO

    from rdflib.plugins.serializers.turtle import TurtleSerializer

    class InOrder(TurtleSerializer):
        def orderSubjects(self) -> list[Any]:  # noqa: N802 - rdflib's name
            return _in_order(graph)

    stream = BytesIO()
    InOrder(graph).serialize(stream, encoding="utf-8")
    return stream.getvalue()


def _annotate_datatypes(graph: Graph) -> None:
    """Say of each datatype by annotation what an object property says of it.

    OWL 2 DL lets one name be a datatype and an individual, but the OWL API 5.1.9, and so Protégé, reads
    a datatype that is the subject of an object property as a class, and each restriction to it as one
    on an object property.
    """
    from rdflib import OWL, RDF, RDFS, URIRef

    derived, source = URIRef(PROV + "wasDerivedFrom"), URIRef(DCTERMS + "source")
    relations = set(graph.subjects(RDF.type, OWL.ObjectProperty))
    for datatype in sorted(node for node in graph.subjects(RDF.type, RDFS.Datatype) if isinstance(node, URIRef)):
        for property_, value in sorted(graph.predicate_objects(datatype)):
            if property_ == derived:
                graph.remove((datatype, derived, value))
                graph.add((datatype, source, value))
            elif property_ in relations:
                problem = "an object property of a datatype, which OWL tools would read as a class"
                raise InvalidGuideline([Problem(datatype, problem, str(property_), "an annotation property")])


def _namespace(iri: Node) -> str:
    return str(iri).rpartition("/")[0]


def _one(graph: Graph, subject: Node, property_: str) -> Node:
    from rdflib import URIRef

    found = sorted(graph.objects(subject, URIRef(property_)), key=str)
    if len(found) != 1:
        raise InvalidGuideline(
            [Problem(str(subject), f"one {property_} is needed", ", ".join(map(str, found)) or "none")]
        )
    return found[0]
