"""The guideline as one ontology, in files that Protégé and other OWL tools open.

Owns the merging of the modules and the order in which the files are written. Adds nothing to what
the modules say but a header; leaves the SHACL shapes out, which are no part of the ontology.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from b12kg.errors import InvalidGuideline, Problem
from b12kg.guideline import Guideline
from b12kg.iris import DCTERMS, OWL, RDF, RDFS

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node


def owl_graph(guideline: Guideline) -> Graph:
    """The guideline's modules as one OWL 2 DL ontology, under a header of its own.

    The ontology is named by the namespace of the guideline, its version by that namespace in the
    version of the module that defines the guideline. Each module stays as the subject of its title
    and description, so that ``rdfs:isDefinedBy`` leads to them, and its version is a source of the
    whole; what made it an ontology to be imported is gone. Blank nodes are labelled by what they
    stand for, so that two runs give the same graph.

    Raises:
        InvalidGuideline: a module has no version, or the guideline no module that defines it.

    >>> from b12kg.guideline import load_guideline
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
    modules = sorted(merged.subjects(type_, ontology_class))
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
    return merged


def write_owl(guideline: Guideline, folder: Path) -> tuple[Path, ...]:
    """The merged ontology written into a folder as RDF/XML and as Turtle: the paths of both.

    The files are named by the guideline's id; the same guideline gives the same bytes.

    Raises:
        InvalidGuideline: as of :func:`owl_graph`.
        OSError: a file cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> from b12kg.guideline import load_guideline
    >>> with TemporaryDirectory() as folder:
    ...     [path.name for path in write_owl(load_guideline(), Path(folder))]
    ['droracle-2025.owl', 'droracle-2025.ttl']
    """
    graph = owl_graph(guideline)
    written = (folder / f"{guideline.id}.owl", folder / f"{guideline.id}.ttl")
    for path, write in zip(written, (_rdf_xml, _turtle), strict=True):
        path.write_bytes(write(graph))
    return written


def _rdf_xml(graph: Graph) -> bytes:
    """By subject, the header first. Written by pyoxigraph: rdflib's order of subjects follows the hash seed."""
    from pyoxigraph import RdfFormat, parse, serialize
    from rdflib import OWL, RDF

    headers = {f"{header.n3()} " for header in graph.subjects(RDF.type, OWL.Ontology)}
    lines = graph.serialize(format="nt").splitlines(keepends=True)
    lines.sort(key=lambda line: (not line.startswith(tuple(headers)), line.startswith("_:"), line))
    written = serialize(
        parse("".join(lines), format=RdfFormat.N_TRIPLES),
        format=RdfFormat.RDF_XML,
        prefixes={prefix: str(namespace) for prefix, namespace in graph.namespaces()},
    )
    assert written is not None  # None only where an output is given
    return written


def _turtle(graph: Graph) -> bytes:
    """The header first, then properties, then all else by name, class expressions nested."""
    from io import BytesIO

    from rdflib import OWL
    from rdflib.plugins.serializers.turtle import TurtleSerializer

    writer = TurtleSerializer(graph)
    writer.topClasses = [
        OWL.Ontology,
        OWL.AnnotationProperty,
        OWL.ObjectProperty,
        OWL.DatatypeProperty,
    ]
    stream = BytesIO()
    writer.serialize(stream, encoding="utf-8")
    return stream.getvalue()


def _namespace(iri: Node) -> str:
    return str(iri).rpartition("/")[0]


def _one(graph: Graph, subject: Node, property_: str) -> Node:
    from rdflib import URIRef

    found = sorted(graph.objects(subject, URIRef(property_)))
    if len(found) != 1:
        raise InvalidGuideline(
            [Problem(str(subject), f"one {property_} is needed", ", ".join(map(str, found)) or "none")]
        )
    return found[0]
