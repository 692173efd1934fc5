"""The exported ontology as others open it: by the OWL API, as Protégé does, and by HermiT."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rdflib import OWL, RDF, RDFS, BNode, Graph, Literal, URIRef
from rdflib.compare import isomorphic

import b12kg
from b12kg.errors import InvalidGuideline
from b12kg.export import owl_graph, write_owl
from b12kg.guideline import Guideline
from b12kg.turtle import load_guideline
from tests.owlapi import MISSING

ROOT = Path(__file__).parents[1]
B12 = "https://w3id.org/b12kg/"
CLIN = B12 + "clinical/"
DRO = B12 + "droracle-2025/"

needs_owlapi = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

PREFIXES = f"""
@prefix owl: <{OWL}> .
@prefix rdfs: <{RDFS}> .
@prefix clin: <{CLIN}> .
@prefix dro: <{DRO}> .
@prefix b12: <{B12}> .
"""

# Each a defect that one of the checks below has to see.
DEFECTS = {
    "undeclared": 'dro:L20 <urn:example:undeclared> "x" .',
    "class-and-datatype": "b12:Patient a rdfs:Datatype .",
    "object-property-of-datatype": "dro:LowHematocrit b12:of clin:Hematocrit .",
    "inconsistent": "b12:Patient owl:disjointWith b12:Finding . <urn:example:p> a b12:Patient , b12:Finding .",
    "unsatisfiable": "clin:BariatricSurgery owl:disjointWith b12:Finding .",
    "equivalent": "clin:VitaminB12Deficiency rdfs:subClassOf clin:PerniciousAnemia .",
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """The exported RDF/XML and Turtle."""
    return write_owl(load_guideline(), tmp_path_factory.mktemp("owl"))


@pytest.fixture(scope="module")
def seen(exported: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the OWL API says of both files, and of the Turtle with each defect."""
    folder = tmp_path_factory.mktemp("defects")
    files = {path.suffix: path for path in exported}
    for name, turtle in DEFECTS.items():
        files[name] = folder / f"{name}.ttl"
        files[name].write_text(exported[1].read_text(encoding="utf-8") + PREFIXES + turtle, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.owlapi", *map(str, files.values())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(zip(files, json.loads(ran.stdout), strict=True))


@needs_owlapi
@pytest.mark.parametrize("file", [".owl", ".ttl"])
def test_the_ontology_is_owl_2_dl(seen: dict[str, dict[str, Any]], file: str) -> None:
    assert seen[file]["violations"] == []
    assert seen[file]["ontology"] == "https://w3id.org/b12kg/droracle-2025"
    assert seen[file]["version"] == f"{B12}{b12kg.__version__}/droracle-2025"


@needs_owlapi
@pytest.mark.parametrize("defect", ["undeclared", "class-and-datatype", "object-property-of-datatype"])
def test_a_violation_of_the_profile_is_seen(seen: dict[str, dict[str, Any]], defect: str) -> None:
    assert seen[defect]["violations"]


@needs_owlapi
@pytest.mark.parametrize("file", [".owl", ".ttl"])
def test_every_triple_is_read_as_the_axiom_that_it_is(
    seen: dict[str, dict[str, Any]], exported: tuple[Path, ...], file: str
) -> None:
    graph = Graph().parse(exported[1], format="turtle")
    assert seen[file]["axioms"] == axioms(graph)


def axioms(graph: Graph) -> dict[str, int]:
    """The axioms of an ontology by type, counted from its triples; a triple that is none of them is an error."""
    kinds = {
        OWL.Class: "class",
        OWL.ObjectProperty: "object",
        OWL.DatatypeProperty: "data",
        OWL.AnnotationProperty: "annotation",
        RDFS.Datatype: "datatype",
        OWL.NamedIndividual: "individual",
    }
    (header,) = graph.subjects(RDF.type, OWL.Ontology)
    of_kind = {word: set(graph.subjects(RDF.type, kind)) for kind, word in kinds.items()}
    of_kind["annotation"] |= {RDFS.label, RDFS.isDefinedBy, RDFS.comment, RDFS.seeAlso, OWL.versionInfo}
    counted: Counter[str] = Counter()
    for subject, property_, object_ in graph:
        if isinstance(subject, BNode) or subject == header:
            continue  # a part of an expression, or an annotation of the ontology
        match property_:
            case RDF.type if object_ in kinds:
                counted["Declaration"] += 1
            case RDF.type if object_ == OWL.FunctionalProperty:
                counted["FunctionalDataProperty" if subject in of_kind["data"] else "FunctionalObjectProperty"] += 1
            case RDF.type:
                assert object_ in of_kind["class"], object_
                counted["ClassAssertion"] += 1
            case RDFS.subClassOf:
                counted["SubClassOf"] += 1
            case OWL.equivalentClass:
                counted["DatatypeDefinition" if subject in of_kind["datatype"] else "EquivalentClasses"] += 1
            case RDFS.domain | RDFS.range:
                kind = "DataProperty" if subject in of_kind["data"] else "ObjectProperty"
                counted[kind + ("Domain" if property_ == RDFS.domain else "Range")] += 1
            case _ if property_ in of_kind["annotation"]:
                counted["AnnotationAssertion"] += 1
            case _ if property_ in of_kind["object"]:
                counted["ObjectPropertyAssertion"] += 1
            case _:
                assert property_ in of_kind["data"], property_
                counted["DataPropertyAssertion"] += 1
    assert sum(counted.values()) > 1000
    return dict(counted)


@needs_owlapi
@pytest.mark.parametrize("file", [".owl", ".ttl"])
def test_the_ontology_is_consistent_and_every_class_can_have_members(
    seen: dict[str, dict[str, Any]], file: str
) -> None:
    assert seen[file]["consistent"]
    assert seen[file]["unsatisfiable"] == []


@needs_owlapi
def test_an_inconsistency_and_an_unsatisfiable_class_are_seen(seen: dict[str, dict[str, Any]]) -> None:
    assert seen["inconsistent"]["violations"] == []
    assert not seen["inconsistent"]["consistent"]
    assert CLIN + "BariatricSurgery" in seen["unsatisfiable"]["unsatisfiable"]


@needs_owlapi
@pytest.mark.parametrize("file", [".owl", ".ttl"])
def test_no_classes_are_equivalent_but_those_that_are_stated_to_be(seen: dict[str, dict[str, Any]], file: str) -> None:
    assert seen[file]["equivalent"] == [[B12 + "Patient", DRO + "AnyPatient"]]


@needs_owlapi
def test_an_accidental_equivalence_is_seen(seen: dict[str, dict[str, Any]]) -> None:
    assert [CLIN + "PerniciousAnemia", CLIN + "VitaminB12Deficiency"] in seen["equivalent"]["equivalent"]


# ---- without Java ------------------------------------------------------------------------------


def test_both_files_say_the_same(exported: tuple[Path, ...]) -> None:
    one, other = Graph().parse(exported[0], format="xml"), Graph().parse(exported[1], format="turtle")
    assert len(one) > 1000
    assert isomorphic(one, other)


def test_two_processes_write_the_same_bytes(exported: tuple[Path, ...], tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from b12kg.export import write_owl; from b12kg.turtle import load_guideline;"
        "write_owl(load_guideline(), pathlib.Path(sys.argv[1]))"
    )
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / seed)],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            timeout=120,
        )
        for path in exported:
            assert (tmp_path / seed / path.name).read_bytes() == path.read_bytes(), (seed, path.name)


def test_nothing_that_the_modules_say_is_lost(guideline: Guideline) -> None:
    modules, merged = guideline.graph(), owl_graph(guideline)
    headers = set(modules.subjects(RDF.type, OWL.Ontology))
    thresholds = {node for node in modules.subjects(RDF.type, RDFS.Datatype) if isinstance(node, URIRef)}
    assert len(headers) == 8
    assert thresholds
    source, derived = URIRef("http://purl.org/dc/terms/source"), URIRef("http://www.w3.org/ns/prov#wasDerivedFrom")
    checked = 0
    for subject, property_, object_ in modules:
        if isinstance(subject, BNode) or isinstance(object_, BNode):
            continue  # labelled anew; that they mean the same is what the reasoner's tests are about
        if subject in headers and (property_ in (OWL.imports, OWL.versionIRI) or object_ == OWL.Ontology):
            continue  # replaced by the header of the whole
        moved = subject in thresholds and property_ == derived
        assert (subject, source if moved else property_, object_) in merged
        checked += 1
    assert checked > 1000


def test_every_term_of_ours_has_a_label(guideline: Guideline) -> None:
    merged = owl_graph(guideline)
    kinds = (OWL.Class, OWL.ObjectProperty, OWL.DatatypeProperty, OWL.AnnotationProperty, RDFS.Datatype)
    terms = {t for kind in kinds for t in merged.subjects(RDF.type, kind) if str(t).startswith(B12)}
    assert terms
    assert [term for term in sorted(terms, key=str) if not isinstance(merged.value(term, RDFS.label), Literal)] == []


def with_graph(guideline: Guideline, graph: Graph) -> Guideline:
    """The guideline with another graph behind it."""
    changed = replace(guideline)
    vars(changed)["_graph"] = graph
    return changed


@pytest.mark.parametrize(
    ("removed", "added", "words"),
    [
        ((URIRef(CLIN[:-1]), OWL.versionIRI, None), "", "one http://www.w3.org/2002/07/owl#versionIRI is needed"),
        ((URIRef(DRO + "document"), RDF.type, OWL.Ontology), "", "defined by no module"),
        (
            (None, None, URIRef("urn:nobody")),
            "dro:LowHematocrit b12:of clin:Hematocrit .",
            "object property of a datatype",
        ),
    ],
    ids=["module-without-version", "no-home", "object-property-of-datatype"],
)
def test_what_cannot_be_exported_is_refused(
    guideline: Guideline, removed: tuple[URIRef | None, URIRef | None, URIRef | None], added: str, words: str
) -> None:
    graph = Graph()
    graph += guideline.graph()
    graph.remove(removed)
    graph.parse(data=PREFIXES + added, format="turtle")
    with pytest.raises(InvalidGuideline, match=words):
        owl_graph(with_graph(guideline, graph))
