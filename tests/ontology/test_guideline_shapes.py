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
VOCABULARY = "<https://w3id.org/b12kg/vocabulary>"
RANGE = "dro:LowHematocrit owl:equivalentClass"
FACET = RANGE + " owl:withRestrictions rdf:first"
DAYS = "dro:hematocrit-reticulocytes-days-5-7-then-until-normal.timing-1"
LISTED: dict[tuple[str, str], Change] = {
    ("Ontology-versionInfo", "pattern"): change(VOCABULARY, "owl:versionInfo", '"0.1"'),
    ("Ontology-version", "equals"): change(VOCABULARY, "pav:version", '"0.0.9"'),
    ("Ontology-title", "qualifiedMinCount"): change(VOCABULARY, "dcterms:title", '"Titel"@de'),
    ("Ontology-title", "qualifiedMaxCount"): add(VOCABULARY, "dcterms:title", '"Another title"@en'),
    ("Ontology-description", "qualifiedMinCount"): change(VOCABULARY, "dcterms:description", '"No full stop"@en'),
    ("Ontology-description", "qualifiedMaxCount"): add(VOCABULARY, "dcterms:description", '"Another."@en'),
    ("Term-label", "qualifiedMinCount"): change("b12:Rule", "rdfs:label", '"Regel"@de'),
    ("Term-label", "qualifiedMaxCount"): add("b12:Rule", "rdfs:label", '"another"@en'),
    ("Term-definition", "qualifiedMinCount"): change("b12:Rule", "skos:definition", '"Eine Regel."@de'),
    ("Term-definition-once", "uniqueLang"): add("b12:Rule", "skos:definition", '"Another."@en'),
    ("Term-definition-form", "pattern"): change("b12:Rule", "skos:definition", '"No full stop"@en'),
    ("Term-authority", "minCount"): change("dro:PatientWithSevereDeficiency", "prov:wasDerivedFrom"),
    ("Term-wasDerivedFrom", "or"): add("dro:initial-severe", "prov:wasDerivedFrom", "dro:reference-1"),
    ("Term-editorialReason", "pattern"): change("dro:publisher", "b12:editorialReason", '"No full stop"@en'),
    ("Document-sha256", "pattern"): change("dro:article", "b12:sha256", '"5AD6"'),
    ("Document-modified", "pattern"): change("dro:article", "dcterms:modified", '"October 20, 2025"'),
    ("Place-line", "minInclusive"): change("dro:L20", "b12:line", "0"),
    ("Place-sha256", "pattern"): change("dro:L20", "b12:sha256", '"5AD6"'),
    ("Passage-paraphrase", "qualifiedMinCount"): change("dro:L20", "b12:paraphrase"),
    ("Passage-paraphrase", "qualifiedMaxCount"): add("dro:L20", "b12:paraphrase", '"Another."@en'),
    ("Range-start", "minInclusive"): change("dro:L20.selector", "oa:start", "-1"),
    ("Range-order", "lessThan"): change("dro:L20.selector", "oa:start", "763"),
    ("Figure-unit", "minLength"): change("dro:L62.figure-1", "b12:unit", '""'),
    ("UnitWord-name", "minLength"): change("dro:unit-mg", "b12:name", '""'),
    ("UnitWord-unit", "minLength"): change("dro:unit-mg", "b12:unit", '""'),
    ("Place-likenessDigest", "pattern"): change("dro:L20", "b12:likenessDigest", '"5AD6"'),
    ("NumberWord-name", "pattern"): change("dro:word-three", "b12:name", '"Three"'),
    ("MarkerOccurrence-order", "minInclusive"): change("dro:L20.marker-1", "b12:order", "0"),
    ("CitationMarker-distinct", "qualifiedMaxCount"): change("dro:marker-2", "b12:number", "1"),
    ("CitationMarker-resolved", "xone"): change("dro:marker-1", "b12:resolvesTo"),
    ("CitationMarker-guessed", "or"): add("dro:marker-8", "b12:resolvesTo", "dro:reference-7"),
    ("Hypothesis-marker", "minCount"): change("dro:marker-6", "b12:hypothesis"),
    ("Hypothesis-marker", "maxCount"): add("dro:marker-8", "b12:hypothesis", "dro:hypothesis-6-us-label"),
    ("Hypothesis-marker", "class"): add("dro:L20", "b12:hypothesis", "dro:hypothesis-6-us-label"),
    ("Reference-distinct", "qualifiedMaxCount"): change("dro:reference-2", "b12:number", "1"),
    ("Measurable-canonicalUnit", "minLength"): change("clin:Hematocrit", "b12:canonicalUnit", '""'),
    ("UnitConversion-factor", "minExclusive"): change("clin:Hematocrit.L-L", "b12:factor", "0.0"),
    ("TreatmentStatus-states", "minCount"): change("clin:FolicAcid.never", "b12:statesAbsent"),
    ("TreatmentStatus-states", "maxCount"): add(
        "clin:FolicAcid.never", "b12:statesPresent", "clin:B12TreatmentStarted"
    ),
    ("TreatmentStatus-states", "class"): change("clin:FolicAcid.never", "b12:statesAbsent", "clin:FolicAcid"),
    ("TreatmentStatus-one-side", "disjoint"): add(
        "clin:FolicAcid.never", "b12:statesPresent", "clin:FolicAcidTreatment"
    ),
    ("Threshold-unit-canonical", "equals"): change("dro:LowHematocrit", "b12:unit", '"L/L"'),
    ("Threshold-datatype", "hasValue"): change(RANGE, "owl:onDatatype", "xsd:integer"),
    ("Threshold-datatype", "minCount"): change(RANGE, "owl:onDatatype"),
    ("Threshold-datatype", "maxCount"): add(RANGE, "owl:onDatatype", "xsd:integer"),
    ("Threshold-facet", "datatype"): change(FACET, "xsd:maxExclusive", "35"),
    ("Threshold-facet", "minCount"): change(FACET, "xsd:maxExclusive"),
    ("Decision-order-distinct", "qualifiedMaxCount"): change("dro:Preparation", "b12:order", "1"),
    ("Decision-rule", "minCount"): change("dro:assess-b12-status", "b12:decision"),
    ("Decision-rule", "class"): add("dro:L48", "b12:decision", "dro:Assessment"),
    ("Rule-passage", "minCount"): change("dro:initial-severe", "prov:wasDerivedFrom"),
    ("Rule-passage", "class"): add("dro:initial-severe", "prov:wasDerivedFrom", "dro:article"),
    ("Override-self", "disjoint"): change("dro:initial-neuro-over-initial-severe", "b12:over", "dro:initial-neuro"),
    ("Override-authority", "minCount"): change(
        "dro:maintenance-neuro-over-maintenance-standard", "prov:wasDerivedFrom"
    ),
    ("Override-editorial", "or"): change("dro:initial-neuro-over-initial-severe", "b12:editorialReason"),
    ("Argument-sides", "minCount"): change("dro:argument-L47", "b12:against"),
    ("Argument-sides", "class"): add("dro:argument-L47", "b12:for", "clin:oral"),
    ("Argument-one-side", "disjoint"): add("dro:argument-L47", "b12:for", "clin:cyanocobalamin"),
    ("Offer-wording", "xone"): change(
        "dro:withhold-folic-acid-until-b12-treated", "rdfs:label", '"Withhold folic acid"@en'
    ),
    ("Regimen-dose", "qualifiedMinCount"): change("dro:oral-1mg-daily.dose", "rdf:type", "b12:StartCondition"),
    ("Regimen-dose", "qualifiedMaxCount"): add("dro:oral-1mg-daily", "b12:component", "dro:oral-1-2mg-daily.dose"),
    ("Regimen-administration", "qualifiedMinCount"): change(
        "dro:oral-1mg-daily.route", "rdf:type", "b12:StartCondition"
    ),
    ("Regimen-administration", "qualifiedMaxCount"): add(
        "dro:oral-1mg-daily", "b12:component", "dro:oral-1-2mg-daily.route"
    ),
    ("Regimen-preparation", "qualifiedMinCount"): change(
        "dro:oral-1mg-daily.preparation", "rdf:type", "b12:StartCondition"
    ),
    ("Regimen-preparation", "qualifiedMaxCount"): add(
        "dro:oral-1mg-daily", "b12:component", "dro:oral-1-2mg-daily.preparation"
    ),
    ("Regimen-timing", "qualifiedMinCount"): change("dro:oral-1mg-daily.timing", "rdf:type", "b12:StartCondition"),
    ("Regimen-timing", "qualifiedMaxCount"): add("dro:oral-1mg-daily", "b12:component", "dro:oral-1-2mg-daily.timing"),
    ("Regimen-duration", "qualifiedMinCount"): change("dro:oral-1mg-daily.duration", "rdf:type", "b12:StartCondition"),
    ("Regimen-duration", "qualifiedMaxCount"): add(
        "dro:oral-1mg-daily", "b12:component", "dro:oral-1-2mg-daily.duration"
    ),
    ("Component-notStated", "in"): change("dro:oral-1mg-daily.preparation", "b12:notStated", "false"),
    ("Component-offer", "minCount"): change("dro:oral-1mg-daily", "b12:component", "dro:oral-1mg-daily.dose"),
    ("Component-offer", "maxCount"): add("dro:oral-1mg-daily", "b12:component", "dro:oral-1-2mg-daily.dose"),
    ("Component-offer", "class"): add("dro:L41", "b12:component", "dro:oral-1mg-daily.dose"),
    ("Component-stated", "xone"): add("dro:oral-1mg-daily.preparation", "prov:wasDerivedFrom", "dro:L41"),
    ("Component-empty", "or"): add("dro:injection-monthly-lifelong.dose", "b12:low", "1.0"),
    ("Dose-low", "minExclusive"): change("dro:oral-1mg-daily.dose", "b12:low", "0.0"),
    ("Dose-range", "lessThanOrEquals"): change("dro:oral-1-2mg-daily.dose", "b12:low", "3.0"),
    ("Dose-unit", "in"): change("dro:oral-1mg-daily.dose", "b12:unit", '"mcg"'),
    ("Dose-complete", "or"): change("dro:oral-1mg-daily.dose", "b12:high"),
    ("Administration-complete", "or"): change("dro:oral-1mg-daily.route", "b12:route"),
    ("PreparationChoice-preparation", "class"): add("dro:oral-1mg-daily.preparation", "b12:preparation", "clin:oral"),
    ("PreparationChoice-preparation", "maxCount"): add(
        "dro:oral-1mg-daily.preparation", "b12:preparation", "clin:cyanocobalamin", "clin:hydroxocobalamin"
    ),
    ("PreparationChoice-complete", "or"): change("dro:oral-1mg-daily.preparation", "b12:notStated"),
    ("Timing-frequency", "minInclusive"): change("dro:oral-1mg-daily.timing", "b12:frequency", "0"),
    ("Timing-period", "minExclusive"): change("dro:oral-1mg-daily.timing", "b12:period", "0.0"),
    ("Timing-periodUnit", "in"): change("dro:oral-1mg-daily.timing", "b12:periodUnit", '"day"'),
    ("Timing-periodMax-longer", "lessThan"): change(
        "dro:im-1mg-every-2-3-months-lifelong.timing", "b12:periodMax", "2.0"
    ),
    ("Timing-days", "lessThanOrEquals"): change(DAYS, "b12:fromDay", "8"),
    ("Timing-days-complete", "minInclusive"): change(DAYS, "b12:toDay", "0"),
    ("Timing-complete", "or"): change("dro:oral-1mg-daily.timing", "b12:periodUnit"),
    ("Duration-lifelong", "in"): change("dro:oral-1mg-daily.duration", "b12:lifelong", "false"),
    ("StartCondition-priorEnded", "in"): change(
        "dro:im-1mg-every-2-3-months-lifelong.start", "b12:priorEnded", "false"
    ),
    ("Duration-complete", "xone"): change("dro:oral-1mg-daily.duration", "b12:lifelong"),
    ("Bound-boundValue", "minExclusive"): change("dro:im-1mg-3-per-week-2-weeks.duration", "b12:boundValue", "0.0"),
    ("Bound-boundUnit", "in"): change("dro:im-1mg-3-per-week-2-weeks.duration", "b12:boundUnit", '"week"'),
    ("Bound-complete", "or"): change("dro:im-1mg-3-per-week-2-weeks.duration", "b12:boundUnit"),
}

# Of what is said to be one of several, the defect on the other side: too many instead of none.
OTHER_SIDE: dict[tuple[str, str], Change] = {
    ("CitationMarker-resolved", "xone"): add("dro:marker-6", "b12:resolvesTo", "dro:reference-6"),
    ("Component-stated", "xone"): change("dro:oral-1mg-daily.dose", "prov:wasDerivedFrom"),
    ("Duration-complete", "xone"): add("dro:oral-1mg-daily.duration", "b12:boundValue", "2.0"),
    ("Offer-wording", "xone"): change("dro:oral-1mg-daily", "rdfs:label", '"Do not give 1 mg orally every day"@en'),
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
        parameters = {str(p).removeprefix(str(SH)) for p in SHAPES.predicates(shape) if str(p).startswith(str(SH))}
        for parameter in sorted(parameters - OTHER):
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
    subjects = [node for node in focus_nodes(shape, graph) if (node, path, None) in graph]
    assert subjects, "nothing has the property, so a defect has to be listed"
    subject = subjects[0]
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


@pytest.mark.parametrize(("shape", "parameter"), OTHER_SIDE, ids=label)
def test_each_alternative_finds_its_other_defect(shape: str, parameter: str, sound: Graph) -> None:
    mutant = Graph(namespace_manager=sound.namespace_manager)
    mutant += sound
    OTHER_SIDE[shape, parameter].apply(mutant)
    found = results(mutant, alone(B12SH[shape]))
    assert (B12SH[shape], COMPONENTS[parameter]) in {(of, component) for of, component, _ in found}


def test_no_defect_is_listed_in_vain() -> None:
    keys = {(name(shape), parameter) for shape, parameter in CONSTRAINTS}
    assert LISTED.keys() <= keys
    assert OTHER_SIDE.keys() == {(shape, parameter) for shape, parameter in keys if parameter == "xone"}
