"""The graph of an answer keeps every promise of its shapes, and each promise can be broken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyshacl import validate as shacl
from rdflib import RDF, RDFS, SH, BNode, Dataset, Graph, Literal, URIRef
from rdflib.compare import isomorphic
from rdflib.query import ResultRow
from rdflib.term import Node

from b12kg.errors import UsageError
from b12kg.iris import B12, CITO, EO, OA, PROV, name_of
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.recommendation.prov import explained_graph
from b12kg.resources import EXAMPLES, SHAPES

PROMISES = Graph().parse(SHAPES / "recommendation.ttl")
ROOT = Path(__file__).parents[1]

RECORDS: dict[str, dict[str, Any]] = {
    "nothing known": {},
    "certain alert": {"present": ["VitaminB12Deficiency", "FolicAcidTreatment"], "absent": ["B12TreatmentStarted"]},
    "possible alert": {"present": ["VitaminB12Deficiency", "FolicAcidTreatment"]},
    "choice": {
        "present": ["VitaminB12Deficiency", "NeurologicalInvolvement", "RenalDysfunction"],
        "jurisdiction": "GB",
    },
    "everything": {
        "jurisdiction": "US",
        "present": [{"of": "PerniciousAnemia", "on": "2025-11-03", "source": "https://example.org/letter"}],
        "absent": ["NeurologicalInvolvement"],
        "measurements": [
            {"of": "DistalIleumResected", "value": 30, "unit": "cm", "on": "2019-05-02"},
            {"of": "Hematocrit", "value": 0.3, "unit": "%"},
            {"of": "SerumB12", "value": 83, "unit": "pg/mL"},
        ],
        "treatments": [{"of": "B12Treatment", "status": "started", "startedOn": "2026-01-10"}],
        "outsideSource": ["Pregnancy"],
    },
}


def answer(executable: ExecutableGuideline, name: str) -> Recommendation:
    return executable.recommend({"id": f"case {name}", "asOf": "2026-01-15", **RECORDS[name]})


@pytest.fixture(scope="module")
def graph(executable: ExecutableGuideline) -> Graph:
    """A graph in which every promise has something to look at: several answers."""
    merged = Graph()
    for name in ("possible alert", "everything", "choice"):
        merged += answer(executable, name).graph()
    merged += executable.recommend(str(EXAMPLES / "conflict.json")).graph()
    merged += explained_graph(answer(executable, "everything"))
    return merged


def broken(graph: Graph) -> set[str]:
    """The names of the shapes that a graph violates."""
    _, report, _ = shacl(graph, shacl_graph=PROMISES)
    assert isinstance(report, Graph)
    return {name_of(str(shape)) for shape in report.objects(None, SH.sourceShape) if isinstance(shape, URIRef)}


@pytest.mark.parametrize("name", RECORDS)
def test_an_answer_keeps_the_promises(executable: ExecutableGuideline, name: str) -> None:
    assert broken(answer(executable, name).graph()) == set()
    assert broken(explained_graph(answer(executable, name))) == set()


def test_an_explained_answer_is_the_answer_with_its_explanations(executable: ExecutableGuideline) -> None:
    plain, explained = answer(executable, "everything"), explained_graph(answer(executable, "everything"))
    assert set(plain.graph()) <= set(explained)
    contrasts = sum(map(len, plain.why_not().values()))
    counterfactuals = sum(map(len, plain.what_if().values()))
    assert min(contrasts, counterfactuals) > 10
    for type_, count in (("TraceBased", 11), ("Contrastive", contrasts), ("Counterfactual", counterfactuals)):
        assert len(set(explained.subjects(RDF.type, URIRef(f"{EO}{type_}Explanation")))) == count
    one = explained_graph(plain, ["Preparation"], offer="methylcobalamin", with_what_if=False)
    (contrast,) = one.subjects(RDF.type, URIRef(f"{EO}ContrastiveExplanation"))
    assert one.value(contrast, b12("standing")) == Literal("possible")
    assert not set(one.subjects(RDF.type, URIRef(f"{EO}CounterfactualExplanation")))


# ---- each promise can be broken ----------------------------------------------------------------


def focus_nodes(graph: Graph, shape: Node) -> list[Node]:
    found = {n for class_ in PROMISES.objects(shape, SH.targetClass) for n in graph.subjects(RDF.type, class_)}
    found |= {n for property_ in PROMISES.objects(shape, SH.targetObjectsOf) for n in graph.objects(None, property_)}
    return sorted(found, key=str)


def ways(path: Node) -> list[list[Node]]:
    """The sequences of properties that a path stands for."""
    if isinstance(path, URIRef):
        return [[path]]
    alternatives = PROMISES.value(path, SH.alternativePath)
    if alternatives is not None:
        return [way for item in PROMISES.items(alternatives) for way in ways(item)]
    return [list(PROMISES.items(path))]


def ends(graph: Graph, focus: Node, way: list[Node]) -> list[tuple[Node, Node, Node]]:
    """The triples at the end of a way."""
    starts = [focus]
    for property_ in way[:-1]:
        starts = [o for s in starts for o in graph.objects(s, property_)]
    return [(s, way[-1], o) for s in starts for o in graph.objects(s, way[-1])]


Change = Callable[[Graph, list[tuple[Node, Node, Node]]], None]


def nothing(graph: Graph, triples: list[tuple[Node, Node, Node]]) -> None:
    for triple in triples:
        graph.remove(triple)


def another(graph: Graph, triples: list[tuple[Node, Node, Node]]) -> None:
    subject, property_, value = triples[0]
    graph.add((subject, property_, URIRef("urn:x:other") if isinstance(value, URIRef) else Literal("other")))


def wrong(graph: Graph, triples: list[tuple[Node, Node, Node]]) -> None:
    for subject, property_, value in triples:
        graph.remove((subject, property_, value))
        graph.add((subject, property_, URIRef("urn:x:other") if isinstance(value, URIRef) else Literal("other")))


CHANGES: dict[URIRef, Change] = {
    SH.minCount: nothing,
    SH.maxCount: another,
    SH.datatype: wrong,
    SH["class"]: wrong,
    SH["in"]: wrong,
    SH.pattern: wrong,
}


def promises() -> Iterator[tuple[URIRef, URIRef, URIRef]]:
    for shape, promise in sorted(PROMISES.subject_objects(SH.property), key=str):
        if isinstance(shape, URIRef) and isinstance(promise, URIRef):
            stated = set(PROMISES.predicates(promise))
            yield from ((shape, promise, constraint) for constraint in sorted(CHANGES) if constraint in stated)


ALL = list(promises())


@pytest.mark.parametrize(
    ("shape", "promise", "constraint"), ALL, ids=[f"{name_of(p)}-{c.split('#')[1]}" for _, p, c in ALL]
)
def test_a_graph_that_breaks_one_promise_is_found_out(
    graph: Graph, shape: URIRef, promise: URIRef, constraint: URIRef
) -> None:
    changed = Graph() + graph
    path = PROMISES.value(promise, SH.path)
    assert path is not None
    for focus in focus_nodes(graph, shape):
        triples = [triple for way in ways(path) for triple in ends(graph, focus, way)]
        if triples:
            CHANGES[constraint](changed, triples)
            break
    else:
        pytest.fail(f"nothing in the graph that {promise} looks at")
    assert name_of(promise) in broken(changed)


def test_there_are_as_many_promises_as_were_written() -> None:
    assert len(ALL) > 70
    tested = {promise for _, promise, _ in ALL}
    others = {p for p in PROMISES.subjects(RDF.type, SH.PropertyShape) if isinstance(p, URIRef)} - tested
    assert {name_of(str(p)) for p in others} == {"Outcome-recommended", "Outcome-conflicting"}


def b12(name: str) -> URIRef:
    return URIRef(B12 + name)


def first(nodes: Iterable[Node]) -> Node:
    return min(nodes, key=str)


def outcomes(graph: Graph, status: str) -> list[Node]:
    """The outcomes, not the possible ones, that end so."""
    ended = graph.subjects(b12("outcomeStatus"), b12(status))
    return [outcome for outcome in ended if (outcome, RDF.type, b12("Outcome")) in graph]


@pytest.mark.parametrize(
    ("status", "property_", "shape"),
    [
        ("outcome-recommended", "alternative", "Outcome-recommended"),
        ("outcome-conflict", "alternative", "Outcome-conflicting"),
    ],
)
def test_an_offer_on_both_sides_is_found_out(graph: Graph, status: str, property_: str, shape: str) -> None:
    changed = Graph() + graph
    outcome = first(outcomes(graph, status))
    offer = first(o for p in ("recommended", "conflicting") for o in graph.objects(outcome, b12(p)))
    changed.add((outcome, b12(property_), offer))
    assert shape in broken(changed)


@pytest.mark.parametrize(
    ("status", "property_"),
    [
        ("outcome-recommended", "recommended"),
        ("outcome-choice", "recommended"),
        ("outcome-conflict", "conflicting"),
        ("outcome-undetermined", "missing"),
        ("outcome-undetermined", "possible"),
    ],
)
def test_an_outcome_without_what_its_status_says_is_found_out(graph: Graph, status: str, property_: str) -> None:
    changed = Graph() + graph
    changed.remove((first(outcomes(graph, status)), b12(property_), None))
    assert "Outcome" in broken(changed)


def test_an_outcome_with_what_its_status_does_not_say_is_found_out(graph: Graph) -> None:
    changed = Graph() + graph
    of_status = set(graph.subjects(b12("outcomeStatus"), b12("outcome-not-applicable")))
    silent = of_status & set(graph.subjects(RDF.type, b12("Outcome")))
    changed.add((first(silent), b12("recommended"), first(graph.objects(None, b12("recommended")))))
    assert "Outcome" in broken(changed)


def test_an_overridden_rule_without_an_overrider_is_found_out(graph: Graph) -> None:
    changed = Graph() + graph
    finding = first(graph.subjects(b12("ruleState"), b12("state-overridden")))
    changed.remove((finding, b12("overriddenBy"), None))
    changed.remove((finding, b12("mayBeOverriddenBy"), None))
    assert "RuleFinding" in broken(changed)


def test_an_alert_whose_certainty_and_missing_facts_do_not_fit_is_found_out(graph: Graph) -> None:
    changed = Graph() + graph
    alert = first(graph.subjects(b12("alertCertainty"), b12("possible-alert")))
    changed.remove((alert, b12("missing"), None))
    assert "Alert" in broken(changed)


# ---- forms -------------------------------------------------------------------------------------


def test_the_three_formats_say_the_same(executable: ExecutableGuideline) -> None:
    found = answer(executable, "everything")
    graph = found.graph()
    turtle = Graph().parse(data=found.serialize("turtle"), format="turtle")
    jsonld = Graph().parse(data=found.serialize("jsonld"), format="json-ld")
    dataset = Dataset()
    dataset.parse(data=found.serialize("trig"), format="trig")
    union = Graph()
    for quad in dataset.quads():
        union.add(quad[:3])
    assert isomorphic(turtle, graph)
    assert isomorphic(jsonld, graph)
    assert isomorphic(union, graph)
    names = {str(named.identifier).rpartition("/")[2] for named in dataset.graphs()} - {"default"}
    assert {"record", "recommendation", "guideline"} <= names


def test_there_is_no_blank_node(graph: Graph) -> None:
    assert not any(isinstance(term, BNode) for triple in graph for term in triple)


@pytest.mark.parametrize("format_", ["turtle", "trig", "jsonld"])
def test_the_same_bytes_whatever_the_hash_seed(format_: str) -> None:
    def run(seed: str) -> bytes:
        command = [sys.executable, "-m", "b12kg", "recommend", "--format", format_, str(EXAMPLES / "conflict.json")]
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, check=True).stdout

    assert run("1") == run("2")


def test_an_unknown_format_is_named(executable: ExecutableGuideline) -> None:
    with pytest.raises(UsageError, match="turtle, trig, jsonld"):
        answer(executable, "nothing known").serialize("rdfxml")


# ---- the chain ---------------------------------------------------------------------------------


def test_the_chain_from_the_recommendation_to_the_references(executable: ExecutableGuideline) -> None:
    graph = answer(executable, "everything").graph()
    chain = """
        SELECT ?rule ?passage ?reference WHERE {
          ?recommendation a b12:Recommendation ; prov:wasDerivedFrom ?rule .
          ?rule b12:decision ?decision ; prov:wasDerivedFrom ?passage .
          ?passage oa:hasSource/b12:reviewStatus ?status ; oa:hasSelector/oa:start ?start .
          OPTIONAL { ?passage cito:citesAsEvidence ?reference }
          FILTER ( ?status = "content is pending human review" )
        }
        """
    rows = graph.query(chain, initNs={"b12": B12, "prov": PROV, "oa": OA, "cito": CITO})
    found: set[tuple[str | None, ...]] = set()
    for row in rows:
        assert isinstance(row, ResultRow)
        found.add(tuple(name_of(str(term)) if term is not None else None for term in row))
    assert ("maintenance-ileal-resection", "L39", "reference-1") in found
    assert ("maintenance-pernicious-anemia", "L34", None) in found
    assert ("initial-without-neuro", "L24", "reference-2") in found
    assert not any(rule == "maintenance-standard" for rule, _, _ in found)


def test_nothing_of_the_record_but_what_answers_rest_on(executable: ExecutableGuideline) -> None:
    graph = answer(executable, "everything").graph()
    paths = {str(path) for path in graph.objects(None, b12("path"))}
    assert "present[0]" in paths
    assert "outsideSource[0]" in paths
    record = next(graph.subjects(b12("recordDigest")))
    identifiers = {str(value) for value in graph.objects(record, URIRef("http://purl.org/dc/terms/identifier"))}
    assert identifiers == {"case everything"}


def test_an_unresolved_marker_cites_nothing(executable: ExecutableGuideline) -> None:
    graph = answer(executable, "everything").graph()
    passage = next(s for s in graph.subjects(RDF.type, b12("Passage")) if name_of(str(s)) == "L34")
    assert (passage, URIRef(CITO + "citesAsEvidence"), None) not in graph
    marker = next(graph.objects(next(graph.objects(passage, b12("hasMarker"))), b12("marker")))
    assert (marker, b12("resolution"), b12("unresolved")) in graph


def test_each_override_that_a_finding_names_comes_with_its_basis(graph: Graph) -> None:
    named = 0
    for finding in graph.subjects(RDF.type, b12("RuleFinding")):
        over = graph.value(finding, b12("rule"))
        for property_ in ("overriddenBy", "mayBeOverriddenBy"):
            for by in graph.objects(finding, b12(property_)):
                both = {*graph.subjects(b12("preferred"), by)} & {*graph.subjects(b12("over"), over)}
                assert [graph.value(override, b12("basis")) is not None for override in both] == [True]
                named += 1
    assert named > 5


@pytest.mark.parametrize("name", RECORDS)
def test_each_offer_of_a_rule_is_described(executable: ExecutableGuideline, name: str) -> None:
    # In one answer alone: several together describe each other's offers.
    graph = answer(executable, name).graph()
    offers = set(graph.objects(None, b12("offers")))
    assert len(offers) > 15
    assert {offer for offer in offers if (offer, RDFS.label, None) not in graph} == set()


def test_a_marker_that_is_unresolved_and_has_a_reference_is_found_out(graph: Graph) -> None:
    changed = Graph() + graph
    unresolved = first(graph.subjects(b12("resolution"), b12("unresolved")))
    changed.add((unresolved, b12("resolvesTo"), first(graph.subjects(RDF.type, b12("Reference")))))
    assert "AnswerMarker" in broken(changed)


def test_answers_by_two_versions_of_a_guideline_can_be_kept_together(executable: ExecutableGuideline) -> None:
    found = answer(executable, "choice")
    newer = replace(found, guideline=replace(found.guideline, digest="sha256:" + "0" * 64))
    assert broken(found.graph() + newer.graph()) == set()


def test_nodes_of_an_answer_have_labels(executable: ExecutableGuideline) -> None:
    graph = answer(executable, "everything").graph()
    top = str(next(graph.subjects(RDF.type, b12("Recommendation"))))
    nodes = {node for node in graph.subjects() if str(node).startswith(top)}
    assert len(nodes) > 50
    assert {node for node in nodes if (node, RDFS.label, None) not in graph} == set()


def test_the_start_of_a_treatment_is_kept(executable: ExecutableGuideline) -> None:
    graph = answer(executable, "everything").graph()
    assert [str(date) for date in graph.objects(None, b12("startedOn"))] == ["2026-01-10"]


def test_no_form_of_an_answer_reaches_for_the_network(
    executable: ExecutableGuideline, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = answer(executable, "everything")

    def refuse(*args: object, **keywords: object) -> None:
        raise AssertionError(f"the network is asked: {args}")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    for format_, name in (("turtle", "turtle"), ("trig", "trig"), ("jsonld", "json-ld")):
        assert len(Dataset().parse(data=found.serialize(format_), format=name)) > 1000
