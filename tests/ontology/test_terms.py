"""The vocabulary: one version everywhere, nothing used that is not declared, nothing declared that is not used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rdflib import OWL, RDF, RDFS, Graph, Literal, Namespace, URIRef

import b12kg
from tests.ontology.graphs import B12, GUIDELINES, ONTOLOGY, ROOT, parse

VOCABULARY = ONTOLOGY / "vocabulary.ttl"
MODULES = [
    VOCABULARY,
    ONTOLOGY / "clinical.ttl",
    ONTOLOGY / "fhir.ttl",
    *(p for g in GUIDELINES for p in sorted(g.glob("*.ttl"))),
]
TURTLE = [path for path in sorted(ONTOLOGY.rglob("*.ttl")) if path != VOCABULARY]
QUERIES = sorted((ROOT / "queries").rglob("*.rq"))
PYTHON = sorted((ROOT / "b12kg").rglob("*.py"))
PAV = Namespace("http://purl.org/pav/")
KINDS = (OWL.Class, OWL.ObjectProperty, OWL.DatatypeProperty, OWL.AnnotationProperty)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def declared(graph: Graph) -> set[str]:
    """The names of the classes, properties and values of the vocabulary."""
    ours = {s for s in graph.subjects(RDFS.isDefinedBy, URIRef(B12 + "vocabulary")) if isinstance(s, URIRef)}
    return {str(iri).removeprefix(B12) for iri in ours}


@pytest.fixture(scope="module")
def vocabulary() -> Graph:
    return parse([VOCABULARY])


@pytest.mark.parametrize("module", [path for path in MODULES if path.name != "shapes.ttl"], ids=relative)
def test_each_module_has_the_version_of_the_package(module: Path) -> None:
    graph = parse([module])
    (ontology,) = graph.subjects(RDF.type, OWL.Ontology)
    version = Literal(b12kg.__version__)
    assert list(graph.objects(ontology, OWL.versionInfo)) == [version]
    assert f"/{b12kg.__version__}/" in str(graph.value(ontology, OWL.versionIRI))
    assert set(graph.objects(None, PAV.version)) == {version}


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_each_module_defines_what_it_says_and_imports_what_it_uses(module: Path) -> None:
    graph = parse([module])
    (ontology,) = graph.subjects(RDF.type, OWL.Ontology)
    assert set(graph.objects(None, RDFS.isDefinedBy)) == {ontology}
    files = {str(next(parse([path]).subjects(RDF.type, OWL.Ontology))): path for path in MODULES}
    reached: set[str] = set()
    waiting = [str(ontology)]
    while waiting:
        iri = waiting.pop()
        reached.add(iri)
        imported = parse([files[iri]]).objects(URIRef(iri), OWL.imports)
        waiting += [str(i) for i in imported if str(i) not in reached]
    known = parse([files[iri] for iri in reached])
    homes = {s: path for path in MODULES for s in parse([path]).subjects(RDF.type)}
    foreign = {o for o in set(graph.objects()) | set(graph.predicates()) if isinstance(o, URIRef) and o in homes}
    assert foreign
    assert {term for term in foreign if (term, RDF.type, None) not in known} == set()


@pytest.mark.parametrize("module", TURTLE, ids=relative)
def test_each_prefix_is_used_and_in_order(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    prefixes = re.findall(r"^@prefix (\w+):", text, re.MULTILINE)
    assert prefixes == sorted(prefixes)
    body = re.sub(r'"[^"]*"|<[^>]*>|^#.*$|^@prefix.*$', "", text, flags=re.MULTILINE)
    assert {prefix for prefix in prefixes if not re.search(rf"(?<![\w-]){prefix}:", body)} == set()


@pytest.mark.parametrize("path", [*TURTLE, *QUERIES], ids=relative)
def test_every_term_of_ours_that_is_used_is_declared(path: Path, vocabulary: Graph) -> None:
    text = path.read_text(encoding="utf-8")
    body = re.sub(r'"[^"]*"|<[^>]*>|^#.*$', "", text, flags=re.MULTILINE)
    used = set(re.findall(r"(?<![\w-])b12:([A-Za-z][\w-]*)", body))
    assert used - declared(vocabulary) == set()


def test_every_term_of_ours_that_python_names_is_declared(vocabulary: Graph) -> None:
    used = {
        (relative(path), name)
        for path in PYTHON
        for name in re.findall(r'\bB12 \+ "([\w-]+)"', path.read_text(encoding="utf-8"))
    }
    assert len(used) > 20
    known = declared(vocabulary) | {"vocabulary", "clinical"}
    assert {(path, name) for path, name in used if name not in known} == set()


def test_every_class_and_property_is_used(vocabulary: Graph) -> None:
    """By the guideline, a shape, a query, Python, or another term of the vocabulary; being declared is no use."""
    names = declared(vocabulary)
    names &= {str(s).removeprefix(B12) for kind in KINDS for s in vocabulary.subjects(RDF.type, kind)}
    assert len(names) > 100
    used = {str(o).removeprefix(B12) for o in vocabulary.objects()}
    for path in [*TURTLE, *QUERIES, ONTOLOGY / "record.context.jsonld"]:
        used.update(re.findall(r"(?<![\w-])b12:([A-Za-z][\w-]*)", path.read_text(encoding="utf-8")))
    for path in PYTHON:
        used.update(re.findall(r'"([A-Za-z][\w-]*)"', path.read_text(encoding="utf-8")))
    assert sorted(names - used) == []
