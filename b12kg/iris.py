"""The namespaces of the graph, and the step between an IRI and the name that people write.

Owns every prefix that Python uses. A name is what stands after the last slash of an IRI.
"""

from __future__ import annotations

BASE = "https://w3id.org/b12kg/"
B12 = BASE

CITO = "http://purl.org/spar/cito/"
DCTERMS = "http://purl.org/dc/terms/"
EO = "https://purl.org/heals/eo#"
OA = "http://www.w3.org/ns/oa#"
OWL = "http://www.w3.org/2002/07/owl#"
PAV = "http://purl.org/pav/"
PROV = "http://www.w3.org/ns/prov#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"
SH = "http://www.w3.org/ns/shacl#"
SKOS = "http://www.w3.org/2004/02/skos/core#"
XSD = "http://www.w3.org/2001/XMLSchema#"

PREFIXES = {
    "b12": B12,
    "cito": CITO,
    "dcterms": DCTERMS,
    "eo": EO,
    "oa": OA,
    "owl": OWL,
    "pav": PAV,
    "prov": PROV,
    "rdfs": RDFS,
    "sh": SH,
    "skos": SKOS,
    "xsd": XSD,
}


def name_of(iri: str) -> str:
    """The name by which people write the term of this IRI.

    >>> name_of("https://w3id.org/b12kg/clinical/Hematocrit")
    'Hematocrit'
    """
    return iri.rpartition("/")[2]
