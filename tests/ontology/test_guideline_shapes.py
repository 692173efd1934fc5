"""Every shipped guideline conforms to shapes/guideline.ttl, and each constraint in it finds its own defect.

A defect is a change of one property of one thing in the real guideline. Those of the plainest constraints
are made by rule from the shape itself; the others are listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pyshacl import validate
from rdflib import RDF, RDFS, SH, XSD, BNode, Graph, Literal, Namespace, URIRef
from rdflib.term import Node

from tests.ontology.graphs import B12, GUIDELINES, ONTOLOGY, modules, parse

SHAPES = parse([ONTOLOGY / "shapes" / "guideline.ttl"])
B12SH = Namespace(B12 + "shapes/")
DROORACLE = next(folder for folder in GUIDELINES if folder.name == "droracle-2025")

# Parameter of a shape -> the constraint component that a result names.
COMPONENTS = {
    parameter: SH[parameter[0].upper() + parameter[1:] + "ConstraintComponent"]
    for parameter in (
        "class",
        "datatype",
        "disjoint",
        "equals",
        "hasValue",
        "in",
        "lessThan",
        "lessThanOrEquals",
        "maxCount",
        "minCount",
        "minExclusive",
        "minInclusive",
        "minLength",
        "nodeKind",
        "or",
        "pattern",
        "qualifiedMaxCount",
        "qualifiedMinCount",
        "uniqueLang",
        "xone",
    )
}
# What is no constraint by itself.
OTHER = {"path", "name", "message", "severity", "qualifiedValueShape", "targetClass", "targetSubjectsOf", "property"}


@dataclass(frozen=True)
class Change:
    """New values of one property of one thing, beside the old ones or in their place.

    ``subject`` is a name in Turtle, followed by the properties that lead from it to a blank node.
    """

    subject: str
    property: str
    values: tuple[str, ...]
    keep: bool

    def apply(self, graph: Graph) -> None:
        """Make the change, which must be one."""
        first, *steps = self.subject.split(" ")
        subject = term(first, graph)
        for step in steps:
            subject = next(graph.objects(subject, term(step, graph)))
        property_ = term(self.property, graph)
        before = set(graph.objects(subject, property_))
        assert before or self.keep, f"{self.subject} has no {self.property} to change"
        if not self.keep:
            graph.remove((subject, property_, None))
        for value in self.values:
            graph.add((subject, property_, term(value, graph)))
        assert set(graph.objects(subject, property_)) != before, "nothing was changed"


def term(text: str, graph: Graph) -> Node:
    """A term by its Turtle."""
    ((_, _, found),) = Graph(namespace_manager=graph.namespace_manager).parse(
        data="".join(f"@prefix {prefix}: <{iri}> .\n" for prefix, iri in graph.namespaces())
        + f"<urn:s> <urn:p> {text} .",
        format="turtle",
    )
    return found


def change(subject: str, property_: str, *values: str) -> Change:
    return Change(subject, property_, values, keep=False)


def add(subject: str, property_: str, *values: str) -> Change:
    return Change(subject, property_, values, keep=True)


# Constraints whose defect is listed: those on paths of several steps, and those that compare.
LISTED: dict[tuple[str, str], Change] = {
}


# ---- the shapes themselves ----------------------------------------------------------------------


def name(shape: Node) -> str:
    return str(shape).removeprefix(B12SH)


def named_shapes(kind: URIRef) -> list[URIRef]:
    found = sorted(s for s in SHAPES.subjects(RDF.type, kind) if isinstance(s, URIRef))
    assert found
    return found


PROPERTY_SHAPES = named_shapes(SH.PropertyShape)
NODE_SHAPES = named_shapes(SH.NodeShape)


def constraints() -> Iterator[tuple[URIRef, str]]:
    """Each parameter of each named shape."""
    for shape in (*PROPERTY_SHAPES, *NODE_SHAPES):
        for parameter in sorted({str(p).removeprefix(str(SH)) for p in SHAPES.predicates(shape) if p in SH}):
            if parameter not in OTHER:
                yield shape, parameter


CONSTRAINTS = list(constraints())


def owner(shape: URIRef) -> URIRef:
    """The node shape that says where a shape looks: itself, or the one that has it as a property."""
    if (shape, RDF.type, SH.NodeShape) in SHAPES:
        return shape
    (found,) = SHAPES.subjects(SH.property, shape)
    assert isinstance(found, URIRef)
    return found


def alone(shape: URIRef) -> Graph:
    """One shape with its targets, in a graph of its own.

    The option of pySHACL to use some shapes only leaves out their property shapes and then accepts anything.
    """
    graph = Graph()

    def copy(node: Node) -> None:
        for property_, value in SHAPES.predicate_objects(node):
            graph.add((node, property_, value))
            if isinstance(value, BNode):
                copy(value)

    copy(shape)
    above = owner(shape)
    if above != shape:
        graph.add((above, RDF.type, SH.NodeShape))
        graph.add((above, SH.property, shape))
        for target in (SH.targetClass, SH.targetSubjectsOf):
            for value in SHAPES.objects(above, target):
                graph.add((above, target, value))
    return graph


def focus_nodes(shape: URIRef, graph: Graph) -> list[URIRef]:
    found: set[Node] = set()
    for class_ in SHAPES.objects(owner(shape), SH.targetClass):
        for kind in graph.transitive_subjects(RDFS.subClassOf, class_):
            found.update(graph.subjects(RDF.type, kind))
    for property_ in SHAPES.objects(owner(shape), SH.targetSubjectsOf):
        found.update(graph.subjects(property_))
    return sorted(node for node in found if isinstance(node, URIRef))


def results(graph: Graph, shapes: Graph, meta: bool = False) -> set[tuple[Node, Node, Node]]:
    """What pySHACL reports: shape, constraint component and focus node of each result."""
    conforms, report, _ = validate(
        graph, shacl_graph=shapes, inference="none", advanced=False, js=False, inplace=True, meta_shacl=meta
    )
    assert isinstance(report, Graph)
    found = set()
    for result in report.subjects(RDF.type, SH.ValidationResult):
        parts = [report.value(result, p) for p in (SH.sourceShape, SH.sourceConstraintComponent, SH.focusNode)]
        shape, component, focus = parts
        assert shape is not None
        assert component is not None
        assert focus is not None
        found.add((shape, component, focus))
    assert conforms is (not found)
    return found


def test_shipped_guideline_conforms(merged: Graph) -> None:
    assert results(merged, SHAPES, meta=True) == set()


@pytest.mark.parametrize("shape", NODE_SHAPES, ids=name)
def test_each_shape_looks_at_something(shape: URIRef, merged: Graph) -> None:
    assert focus_nodes(shape, merged)


@pytest.mark.parametrize("shape", PROPERTY_SHAPES, ids=name)
def test_each_property_shape_is_named_by_the_shape_that_has_it(shape: URIRef) -> None:
    assert name(shape).startswith(name(owner(shape)) + "-")


@pytest.mark.parametrize("shape", sorted({shape for shape, _ in CONSTRAINTS}), ids=name)
def test_each_shape_says_what_is_wrong(shape: URIRef) -> None:
    (message,) = SHAPES.objects(shape, SH.message)
    assert isinstance(message, Literal)
    assert message.language == "en"
    assert list(SHAPES.objects(shape, SH.severity)) == [SH.Violation]


# ---- one defect a constraint --------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound() -> Graph:
    return parse(modules(DROORACLE))


def defect(shape: URIRef, parameter: str, graph: Graph) -> Change:
    """The listed defect; or for a constraint on a single property, the one that follows from it."""
    if (name(shape), parameter) in LISTED:
        return LISTED[name(shape), parameter]
    path = SHAPES.value(shape, SH.path)
    assert isinstance(path, URIRef), "no defect is listed"
    subject = next(node for node in focus_nodes(shape, graph) if (node, path, None) in graph)
    match parameter:
        case "minCount":
            return change(subject.n3(), path.n3())
        case "maxCount" | "nodeKind":
            return add(subject.n3(), path.n3(), '"another"')
        case "class":
            return add(subject.n3(), path.n3(), "<urn:example:undeclared>")
        case "datatype":
            return change(subject.n3(), path.n3(), f'"another"^^{XSD.anyURI.n3()}')
    pytest.fail(f"no defect is listed for sh:{parameter} of {name(shape)}")


def label(value: object) -> str:
    return name(value) if isinstance(value, URIRef) else str(value)


@pytest.mark.parametrize(("shape", "parameter"), CONSTRAINTS, ids=label)
def test_each_constraint_finds_its_defect(shape: URIRef, parameter: str, sound: Graph) -> None:
    mutant = Graph(namespace_manager=sound.namespace_manager)
    mutant += sound
    defect(shape, parameter, sound).apply(mutant)
    found = results(mutant, alone(shape))
    assert (shape, COMPONENTS[parameter]) in {(of, component) for of, component, _ in found}


def test_no_defect_is_listed_in_vain() -> None:
    assert LISTED.keys() <= {(name(shape), parameter) for shape, parameter in CONSTRAINTS}
