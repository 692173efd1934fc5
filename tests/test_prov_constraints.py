"""The graphs keep the constraints of PROV, and the ``prov`` package reads and writes them with nothing dropped.

https://www.w3.org/TR/2013/REC-prov-constraints-20130430/, constraints 22 to 56. A constraint that what
our graphs state can break is a query with a defect that it finds. Why the others cannot be broken is said
below, with the terms that would change that: none of them may occur, or the constraint is to be written.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prov.model import ProvDocument
from rdflib import PROV, RDF, Dataset, Graph, URIRef
from rdflib.compare import graph_diff, isomorphic, to_isomorphic
from rdflib.query import ResultRow

from b12kg.errors import InvalidRecord
from b12kg.guideline import Guideline
from b12kg.iris import B12
from b12kg.queries import Query, run, shipped, store_of
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Recommendation, prov
from b12kg.resources import EXAMPLES
from tests.cases import answered, cases

DEFECTS = Path(__file__).parent / "prov_defects"

# Constraint -> the query that looks for what breaks it.
LOOKED_FOR = {
    23: "prov-key-properties-violation",
    42: "prov-derivation-ordering-violation",
    45: "prov-specialization-ordering-violation",
    48: "prov-attribution-ordering-violation",
    50: "prov-typing-violation",
    52: "prov-specialization-reflexive-violation",
    53: "prov-property-overlap-violation",
    54: "prov-object-property-overlap-violation",
    55: "prov-entity-activity-disjoint-violation",
}

TIMES = "startedAtTime endedAtTime"
GENERATION = "qualifiedGeneration Generation hadGeneration generatedAtTime generated"
USAGE = "qualifiedUsage Usage hadUsage"
START = "wasStartedBy qualifiedStart Start startedAtTime"
END = "wasEndedBy qualifiedEnd End endedAtTime"
INVALIDATION = "wasInvalidatedBy qualifiedInvalidation Invalidation invalidated invalidatedAtTime"

# Constraint -> its name, why nothing that our graphs state breaks it, and the terms that would change that.
#
# Strict order comes from derivation alone (42), between the makings of two entities. An order is impossible where a
# cycle of events has a strict step. With the terms that occur, the steps between two makings are those of 42, 45 and
# 48. Uses, starts, ends and invalidations are steps out of which no stated step leads back to a making.
CANNOT_BE_BROKEN: dict[int, tuple[str, str, str]] = {
    22: ("key-object", "an entity, activity or agent is one node; only its times could differ", TIMES),
    24: ("unique-generation", "a making is a triple, which cannot be there twice", GENERATION),
    25: ("unique-invalidation", "nothing is invalidated", INVALIDATION),
    26: ("unique-wasStartedBy", "no start is stated", START),
    27: ("unique-wasEndedBy", "no end is stated", END),
    28: ("unique-startTime", "no clock is read", START),
    29: ("unique-endTime", "no clock is read", END),
    30: ("start-precedes-end", "neither start nor end is stated", f"{START} {END}"),
    31: ("start-start-ordering", "no start is stated", START),
    32: ("end-end-ordering", "no end is stated", END),
    33: ("usage-within-activity", "nothing leads back from a use or an end", f"{START} {END} {USAGE}"),
    34: ("generation-within-activity", "nothing leads to a start or back from an end", f"{START} {END} {GENERATION}"),
    35: ("wasInformedBy-ordering", "no activity informs another", "wasInformedBy qualifiedCommunication Communication"),
    36: ("generation-precedes-invalidation", "nothing is invalidated", INVALIDATION),
    37: ("generation-precedes-usage", "nothing leads back from a use", f"{USAGE} hadActivity"),
    38: ("usage-precedes-invalidation", "nothing is invalidated", INVALIDATION),
    39: ("generation-generation-ordering", "42, 45 and 48 take all makings of one entity for one event", GENERATION),
    40: ("invalidation-invalidation-ordering", "nothing is invalidated", INVALIDATION),
    41: ("derivation-usage-generation-ordering", "no derivation names its use", f"hadActivity hadUsage {GENERATION}"),
    43: ("wasStartedBy-ordering", "no start is stated", START),
    44: ("wasEndedBy-ordering", "no end is stated", END),
    46: ("specialization-invalidation-ordering", "nothing is invalidated", INVALIDATION),
    47: ("wasAssociatedWith-ordering", "nothing leads back from an end or an invalidation", f"{END} {INVALIDATION}"),
    49: ("actedOnBehalfOf-ordering", "no agent acts for another", "actedOnBehalfOf qualifiedDelegation Delegation"),
    51: ("impossible-unspecified-derivation-generation-use", "no derivation names a use", "hadUsage hadGeneration"),
    56: ("membership-empty-collection", "there are no collections", "hadMember Collection EmptyCollection"),
}

QUERIES = list(shipped("prov").values())
Rows = set[tuple[str, ...]]


def asked_of_rdflib(graph: Graph, query: Query) -> Rows:
    return {tuple(map(str, row)) for row in graph.query(query.text) if isinstance(row, ResultRow)}


def asked_of_pyoxigraph(graph: Graph, query: Query) -> Rows:
    rows = run(store_of([graph]), query)
    return {tuple(row[column].value for column in query.columns) for row in rows}


# ---- the graphs --------------------------------------------------------------------------------


def random_records(guideline: Guideline, count: int) -> Iterator[dict[str, Any]]:
    """Records that state each concept present, absent or not at all, and some measurements; not all are valid."""
    choose = random.Random(20260115)
    for number in range(count):
        stated: dict[str, list[Any]] = {"present": [], "absent": [], "": []}
        for concept in sorted(guideline.concepts):
            stated[choose.choice(("present", "absent", "absent", ""))].append(concept)
        del stated[""]
        measured = [
            {"of": "DistalIleumResected", "value": choose.randint(0, 40), "unit": "cm"},
            {"of": "Homocysteine", "value": choose.randint(5, 20), "unit": "umol/L"},
        ]
        jurisdiction = {"jurisdiction": choose.choice(("US", "GB"))} if choose.random() < 0.7 else {}
        chosen = choose.sample(measured, choose.randint(0, len(measured)))
        yield {"id": f"urn:x:{number}", "asOf": "2026-01-15", "measurements": chosen, **jurisdiction, **stated}


@pytest.fixture(scope="module")
def examples(executable: ExecutableGuideline) -> list[Recommendation]:
    found = [executable.recommend(str(path)) for path in sorted(EXAMPLES.glob("*.json"))]
    assert len(found) == 3
    return found


@pytest.fixture(scope="module")
def graphs(examples: list[Recommendation]) -> list[Graph]:
    """Each example as it is and explained."""
    return [graph for example in examples for graph in (example.graph(), prov.explained_graph(example))]


@pytest.fixture(scope="module")
def gathered(executable: ExecutableGuideline, graphs: list[Graph]) -> Graph:
    """The answers to every other case and to random records, and the examples, as one store would keep them."""
    records = [case.record(executable.content) for case in cases()[::2]]
    records += random_records(executable.content, 60)
    answers = [answered(executable, record) for record in records]
    valid = [answer for answer in answers if not isinstance(answer, InvalidRecord)]
    assert len(valid) > 80
    merged = Graph()
    for graph in (*(answer.graph() for answer in valid), *graphs):
        merged += graph
    return merged


# ---- the constraints ---------------------------------------------------------------------------


def test_each_constraint_is_looked_for_or_cannot_be_broken() -> None:
    assert sorted([*LOOKED_FOR, *CANNOT_BE_BROKEN]) == list(range(22, 57))
    assert sorted(LOOKED_FOR.values()) == sorted(query.id for query in QUERIES)
    assert sorted(LOOKED_FOR.values()) == sorted(path.stem for path in DEFECTS.glob("*.ttl"))
    for number, query in LOOKED_FOR.items():
        assert f"PROV-CONSTRAINTS {number}, " in shipped("prov")[query].text


def prov_terms(graph: Graph) -> set[str]:
    """The terms of PROV that something is stated with: as property or as type."""
    used = {property_ for _, property_, _ in graph} | set(graph.objects(None, RDF.type))
    return {str(term).removeprefix(str(PROV)) for term in used if str(term).startswith(str(PROV))}


def test_no_term_occurs_by_which_another_constraint_could_be_broken(gathered: Graph, guideline: Guideline) -> None:
    used = prov_terms(gathered) | prov_terms(guideline.graph())
    assert len(used) >= 15
    for number, (name, _, terms) in CANNOT_BE_BROKEN.items():
        for term in terms.split():
            assert PROV[term]  # rdflib knows the terms of PROV-O, and warns of others
            assert term not in used, f"constraint {number}, {name}, can now be broken: write its query"


def test_no_term_occurs_at_which_no_query_looks(gathered: Graph, guideline: Guideline) -> None:
    looked_at = {term for query in QUERIES for term in re.findall(r"\bprov:(\w+)", query.text)}
    # Kinds of agents: a rdf:type beside prov:Agent, which is looked at.
    assert prov_terms(gathered) | prov_terms(guideline.graph()) <= looked_at | {"SoftwareAgent", "Organization"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.id)
def test_answers_gathered_in_one_store_break_no_constraint(query: Query, gathered: Graph) -> None:
    assert asked_of_pyoxigraph(gathered, query) == set()


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.id)
def test_each_example_breaks_no_constraint(query: Query, graphs: list[Graph]) -> None:
    for graph in graphs:
        assert asked_of_rdflib(graph, query) == set()
        assert asked_of_pyoxigraph(graph, query) == set()


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.id)
def test_the_guideline_breaks_no_constraint(query: Query, guideline: Guideline) -> None:
    graph = guideline.graph()
    if query.id == LOOKED_FOR[50]:  # its Turtle leaves the types to be inferred; what an answer takes of it states them
        graph = prov.excerpt(guideline, {str(subject) for subject in graph.subjects() if isinstance(subject, URIRef)})
    assert asked_of_pyoxigraph(graph, query) == set()


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.id)
def test_a_query_finds_its_defect_and_nothing_else(query: Query, graphs: list[Graph]) -> None:
    path = DEFECTS / f"{query.id}.ttl"
    defect = Graph().parse(path)
    announced = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# finds: ").split()
    expected = {str(defect.namespace_manager.expand_curie(name)) for name in announced}
    assert expected
    rows = asked_of_rdflib(defect, query)
    assert {entity for entity, _, _ in rows} == expected
    assert asked_of_pyoxigraph(defect, query) == rows
    assert asked_of_pyoxigraph(defect + graphs[0], query) == rows


def test_answers_by_two_versions_of_b12kg_break_no_constraint(
    examples: list[Recommendation], monkeypatch: pytest.MonkeyPatch
) -> None:
    older = examples[0].graph()
    monkeypatch.setattr(prov, "__version__", "99.0.0")
    monkeypatch.setattr(prov, "SOFTWARE", f"{B12}software/99.0.0")
    both = older + examples[0].graph()
    assert len(set(both.objects(None, PROV.wasAssociatedWith))) == 2
    assert {query.id: rows for query in QUERIES if (rows := asked_of_pyoxigraph(both, query))} == {}


# ---- through the prov package ------------------------------------------------------------------


def prov_part(graph: Graph) -> Graph:
    """What the prov package has a place for: every triple about something that PROV speaks of.

    That is each subject of a property of PROV and each instance of one of its classes, with all of their types,
    labels and other attributes. All triples in PROV's own terms are among them.
    """
    spoken_of = {
        subject
        for subject, property_, value in graph
        if str(property_).startswith(str(PROV)) or (property_ == RDF.type and str(value).startswith(str(PROV)))
    }
    part = Graph()
    for subject in spoken_of:
        for triple in graph.triples((subject, None, None)):
            part.add(triple)
    return part


def through_the_package(graph: Graph) -> Graph:
    document = ProvDocument.deserialize(content=graph.serialize(format="turtle"), format="rdf", rdf_format="turtle")
    written = Dataset()
    written.parse(data=document.serialize(format="rdf", rdf_format="trig"), format="trig")
    back = Graph()
    for quad in written.quads():
        back.add(quad[:3])
    return back


def with_direct_forms(graph: Graph) -> Graph:
    """A graph with the direct form of each qualified association.

    PROV-O has two forms of an association; the package reads both and writes the qualified one, which says more.
    """
    both = Graph() + graph
    for activity, association in graph.subject_objects(PROV.qualifiedAssociation):
        for agent in graph.objects(association, PROV.agent):
            both.add((activity, PROV.wasAssociatedWith, agent))
    return both


def dropped(graph: Graph) -> Graph:
    """What the package drops of the PROV part of a graph; it may add nothing."""
    before, after = with_direct_forms(prov_part(graph)), with_direct_forms(through_the_package(prov_part(graph)))
    _, lost, new = graph_diff(to_isomorphic(before), to_isomorphic(after))
    assert not new
    assert isomorphic(before, after) == (not lost)
    return lost


@pytest.mark.parametrize("number", range(6))
def test_the_package_drops_nothing_of_an_answer(number: int, graphs: list[Graph]) -> None:
    graph = graphs[number]
    part = prov_part(graph)
    assert len(part) > len(graph) / 2
    assert {triple for triple in graph if any(str(term).startswith(str(PROV)) for term in triple)} <= set(part)
    assert set(dropped(graph)) == set()


def test_the_package_drops_nothing_of_the_guideline(guideline: Guideline) -> None:
    whole = guideline.graph()
    terms = {str(subject) for subject in whole.subjects(RDF.type) if isinstance(subject, URIRef)}
    part = prov.excerpt(guideline, terms)
    assert len(set(part.subjects(RDF.type, PROV.Entity))) > 100
    assert set(dropped(part)) == set()


@pytest.mark.filterwarnings("ignore:The following attributes were not converted")
@pytest.mark.parametrize("class_", ["Agent", "Entity", "Activity"])
def test_what_is_not_stated_to_be_of_its_class_is_dropped_and_noticed(class_: str, graphs: list[Graph]) -> None:
    graph = Graph() + graphs[0]
    (software,) = graph.objects(None, PROV.wasAssociatedWith)
    (activity,) = graph.subjects(RDF.type, PROV.Activity)
    (top,) = graph.subjects(RDF.type, URIRef(B12 + "Recommendation"))
    node = {"Agent": software, "Entity": top, "Activity": activity}[class_]
    graph.remove((node, RDF.type, PROV[class_]))
    assert set(dropped(graph).subjects()) == {node}


@pytest.mark.parametrize("number", range(3))
def test_a_triple_that_is_dropped_is_noticed(number: int, graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    part, package = prov_part(graphs[0]), through_the_package
    triple = sorted(part)[number * len(part) // 3]

    def careless(graph: Graph) -> Graph:
        return package(graph).remove(triple)

    monkeypatch.setitem(globals(), "through_the_package", careless)
    assert set(dropped(graphs[0])) == {triple}


def test_an_association_that_is_dropped_is_noticed(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    package = through_the_package

    def careless(graph: Graph) -> Graph:
        return package(graph).remove((None, PROV.qualifiedAssociation, None))

    monkeypatch.setitem(globals(), "through_the_package", careless)
    assert set(dropped(graphs[0]).predicates()) == {PROV.qualifiedAssociation, PROV.wasAssociatedWith}
