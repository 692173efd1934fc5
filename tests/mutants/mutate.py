"""Mutants of a guideline: every small change of what its graph says, found by walking the graph.

Owns the operators. An operator takes the graph and yields changes; it names classes and properties
of the vocabulary and never a thing of a guideline. What notices a change is for kill.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from rdflib import OWL, PROV, RDF, RDFS, SKOS, XSD, BNode, Graph, Literal, Namespace, URIRef
from rdflib.term import Node

from b12kg.countries import COUNTRIES

B12 = Namespace("https://w3id.org/b12kg/")

Triple = tuple[Node, Node, Node]


@dataclass(frozen=True)
class Change:
    """What an operator does at one place: the triples that go and those that come in their stead."""

    place: str
    words: str
    removed: tuple[Triple, ...] = ()
    added: tuple[Triple, ...] = ()


@dataclass(frozen=True)
class Mutant:
    """One change of a guideline; ``id`` is the same each time, whatever its blank nodes are called."""

    id: str
    kind: str
    change: Change

    @property
    def description(self) -> str:
        """Where it is and what it does, in words."""
        return f"{self.change.place}: {self.change.words}"

    def apply(self, graph: Graph) -> Graph:
        """A changed copy of the graph that it was made from."""
        changed = Graph()
        changed += graph
        for triple in self.change.removed:
            changed.remove(triple)
        for triple in self.change.added:
            changed.add(triple)
        return changed


Operator = Callable[[Graph], Iterator[Change]]


def mutants(graph: Graph) -> list[Mutant]:
    """Every mutant of a guideline's graph, sorted by id.

    Raises:
        ValueError: a change does nothing, takes away what is not there, or is not told apart from another.
    """
    found: dict[str, Mutant] = {}
    for kind, operator in OPERATORS.items():
        for change in operator(graph):
            mutant = Mutant(f"{kind}: {change.place}: {change.words}", kind, change)
            removed, added = set(change.removed), set(change.added)
            there = {triple for triple in removed | added if triple in graph}
            if mutant.id in found or not removed <= there or added & there or not removed | added:
                raise ValueError(f"no mutant of its own: {mutant.id}")
            found[mutant.id] = mutant
    return [found[id_] for id_ in sorted(found)]


# ---- reading the graph -------------------------------------------------------------------------


def name(node: Node) -> str:
    """What stands after the last slash or hash, or the literal itself."""
    return str(node) if isinstance(node, Literal) else str(node).replace("#", "/").rpartition("/")[2]


def instances(graph: Graph, *classes: URIRef) -> list[Node]:
    """The instances of any of the classes, in a fixed order."""
    return sorted({node for class_ in classes for node in graph.subjects(RDF.type, class_)}, key=str)


def values(graph: Graph, node: Node, *properties: URIRef) -> list[tuple[URIRef, Node]]:
    """What the properties say of a node, in a fixed order."""
    return [(p, value) for p in properties for value in sorted(graph.objects(node, p), key=str)]


def one(graph: Graph, node: Node, property_: URIRef) -> Node:
    """The one value of a property."""
    ((_, value),) = values(graph, node, property_)
    return value


def everything_of(graph: Graph, *nodes: Node) -> tuple[Triple, ...]:
    """All triples in which one of the nodes is subject or object."""
    return tuple(
        {triple for n in nodes for pattern in ((n, None, None), (None, None, n)) for triple in graph.triples(pattern)}
    )


# ---- ways to change a triple -------------------------------------------------------------------


def dropped(node: Node, property_: URIRef, value: Node) -> Change:
    return Change(name(node), f"{name(property_)} {name(value)} dropped", removed=((node, property_, value),))


def replaced(node: Node, property_: URIRef, old: Node, new: Node) -> Change:
    words = f"{name(property_)} {name(old)} becomes {name(new)}"
    return Change(name(node), words, ((node, property_, old),), ((node, property_, new),))


def at(place: str, change: Change) -> Change:
    """The change, with another name for where it is: a blank node has none of its own."""
    return replace(change, place=place)


def drop(classes: Iterable[URIRef], *properties: URIRef) -> Operator:
    """Drops each value that one of the properties has at an instance of one of the classes."""

    def operator(graph: Graph) -> Iterator[Change]:
        for node in instances(graph, *classes):
            for property_, value in values(graph, node, *properties):
                yield dropped(node, property_, value)

    return operator


def exchange(classes: Iterable[URIRef], property_: URIRef, *kinds: URIRef) -> Operator:
    """Replaces the value of the property by each other instance of one of the kinds."""

    def operator(graph: Graph) -> Iterator[Change]:
        for node in instances(graph, *classes):
            for _, old in values(graph, node, property_):
                for new in instances(graph, *kinds):
                    if new != old and (node, property_, new) not in graph:
                        yield replaced(node, property_, old, new)

    return operator


def shift(classes: Iterable[URIRef], *properties: URIRef) -> Operator:
    """Makes each number one greater, and one smaller."""

    def operator(graph: Graph) -> Iterator[Change]:
        for node in instances(graph, *classes):
            for property_, old in values(graph, node, *properties):
                for step in (1, -1):
                    yield replaced(node, property_, old, moved(old, Decimal(step)))

    return operator


def moved(number: Node, step: Decimal) -> Literal:
    """A number of the same datatype, a step away."""
    if not isinstance(number, Literal):
        raise TypeError(f"no number: {number}")
    return Literal(str(Decimal(str(number)) + step), datatype=number.datatype)


# ---- thresholds --------------------------------------------------------------------------------

FACETS = (XSD.minInclusive, XSD.minExclusive, XSD.maxInclusive, XSD.maxExclusive)
# By how much a threshold is moved, in its own unit: less than anybody measures.
SLIGHTLY = Decimal("0.01")


def bounds(graph: Graph) -> Iterator[tuple[Node, Node, URIRef, Node]]:
    """Each threshold with the node, facet and value of each of its bounds."""
    for threshold in instances(graph, B12.Threshold):
        for bound in graph.items(one(graph, one(graph, threshold, OWL.equivalentClass), OWL.withRestrictions)):
            for facet, value in values(graph, bound, *FACETS):
                yield threshold, bound, facet, value


def other_facet(swap: tuple[str, str]) -> Operator:
    """Replaces one part of a facet's name by the other: the bound itself, or its direction."""

    def operator(graph: Graph) -> Iterator[Change]:
        for threshold, bound, facet, value in bounds(graph):
            old, new = swap if swap[0] in facet else swap[::-1]
            changed = URIRef(facet.replace(old, new))
            words = f"{name(facet)} becomes {name(changed)}"
            yield Change(name(threshold), words, ((bound, facet, value),), ((bound, changed, value),))

    return operator


def moved_threshold(graph: Graph) -> Iterator[Change]:
    for threshold, bound, facet, old in bounds(graph):
        for step in (SLIGHTLY, -SLIGHTLY):
            yield at(name(threshold), replaced(bound, facet, old, moved(old, step)))


# ---- phenotypes --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operand:
    """A class expression within a phenotype: where it stands, and the triple that points to it."""

    place: str
    node: Node
    pointer: Triple


def connected(graph: Graph) -> Iterator[tuple[str, Node, URIRef, Node]]:
    """Each intersection and union: where it stands, its node, its property and the head of its list."""
    for operand in expressions(graph):
        for property_, operands in values(graph, operand.node, OWL.intersectionOf, OWL.unionOf):
            yield operand.place, operand.node, property_, operands


def expressions(graph: Graph) -> Iterator[Operand]:
    """Every class expression of every phenotype, from the outside in; numbered by its place."""
    for phenotype in instances(graph, B12.Phenotype):
        for property_, value in values(graph, phenotype, OWL.equivalentClass):
            yield from within(graph, Operand(name(phenotype), value, (phenotype, property_, value)))


def within(graph: Graph, operand: Operand) -> Iterator[Operand]:
    yield operand
    for _, cells in values(graph, operand.node, OWL.intersectionOf, OWL.unionOf):
        for number, cell in enumerate(list_cells(graph, cells)):
            inner = one(graph, cell, RDF.first)
            yield from within(graph, Operand(f"{operand.place}/{number}", inner, (cell, RDF.first, inner)))
    for _, inner in values(graph, operand.node, OWL.complementOf):
        yield from within(graph, Operand(f"{operand.place}/not", inner, (operand.node, OWL.complementOf, inner)))


def list_cells(graph: Graph, cell: Node) -> Iterator[Node]:
    while cell != RDF.nil:
        yield cell
        cell = one(graph, cell, RDF.rest)


def words_of(graph: Graph, node: Node) -> str:
    """A class expression, short."""
    if isinstance(node, URIRef):
        return name(node)
    for word, property_ in (("and", OWL.intersectionOf), ("or", OWL.unionOf)):
        for _, cells in values(graph, node, property_):
            return f"({f' {word} '.join(words_of(graph, item) for item in graph.items(cells))})"
    for _, inner in values(graph, node, OWL.complementOf):
        return f"not {words_of(graph, inner)}"
    return " ".join(name(value) for _, value in values(graph, node, OWL.someValuesFrom, OWL.hasValue))


def operand_dropped(graph: Graph) -> Iterator[Change]:
    """Each operand goes but for the class of all patients, which is no condition."""
    for place, node, property_, head in connected(graph):
        before: Triple = (node, property_, head)
        for cell in list_cells(graph, head):
            inner, rest = one(graph, cell, RDF.first), one(graph, cell, RDF.rest)
            if inner != B12.Patient:
                gone = (before, (cell, RDF.first, inner), (cell, RDF.rest, rest))
                yield Change(place, f"{words_of(graph, inner)} dropped", gone, ((*before[:2], rest),))
            before = (cell, RDF.rest, rest)


def operand_negated(graph: Graph) -> Iterator[Change]:
    for operand in expressions(graph):
        subject, property_, node = operand.pointer
        if node == B12.Patient or property_ == OWL.complementOf:
            continue
        complement = values(graph, node, OWL.complementOf)
        if complement:
            ((_, inner),) = complement
            yield Change(
                operand.place,
                f"{words_of(graph, node)}: not dropped",
                (operand.pointer,),
                ((subject, property_, inner),),
            )
        else:
            new = BNode()
            added = ((subject, property_, new), (new, RDF.type, OWL.Class), (new, OWL.complementOf, node))
            yield Change(operand.place, f"{words_of(graph, node)} negated", (operand.pointer,), added)


def connective_changed(graph: Graph) -> Iterator[Change]:
    for place, node, property_, operands in connected(graph):
        other = OWL.unionOf if property_ == OWL.intersectionOf else OWL.intersectionOf
        words = f"{name(property_)} becomes {name(other)}"
        yield Change(place, words, ((node, property_, operands),), ((node, other, operands),))


def leaf_replaced(graph: Graph) -> Iterator[Change]:
    """A concept becomes one that it is a kind of, that is a kind of it, or that is a kind of the same."""
    concepts = instances(graph, B12.Concept)
    for operand in expressions(graph):
        for property_, concept in values(graph, operand.node, OWL.someValuesFrom):
            parents = [p for p in graph.objects(concept, RDFS.subClassOf) if p in concepts]
            kinds = [kind for parent in (concept, *parents) for kind in graph.subjects(RDFS.subClassOf, parent)]
            for other in sorted({*parents, *kinds} & set(concepts) - {concept}, key=str):
                yield at(operand.place, replaced(operand.node, property_, concept, other))


def leaf_opened(graph: Graph) -> Iterator[Change]:
    """A range of numbers becomes any number."""
    for operand in expressions(graph):
        for property_, threshold in values(graph, operand.node, OWL.someValuesFrom):
            if (threshold, RDF.type, B12.Threshold) in graph:
                yield at(operand.place, replaced(operand.node, property_, threshold, XSD.decimal))


def jurisdiction_changed(graph: Graph) -> Iterator[Change]:
    """A country becomes the one before it in the list of all codes."""
    codes = sorted(COUNTRIES)
    for operand in expressions(graph):
        for property_, code in values(graph, operand.node, OWL.hasValue):
            other = Literal(codes[codes.index(str(code)) - 1])
            yield at(operand.place, replaced(operand.node, property_, code, other))


# ---- rules -------------------------------------------------------------------------------------


def offers_beside(graph: Graph, rule: Node) -> list[Node]:
    """What other rules of the same decisions offer and this one does not."""
    rules = {other for d in graph.objects(rule, B12.decision) for other in graph.subjects(B12.decision, d)}
    offered = {offer for other in rules for offer in graph.objects(other, B12.offers)}
    return sorted(offered - set(graph.objects(rule, B12.offers)), key=str)


def offer_added(graph: Graph) -> Iterator[Change]:
    for rule in instances(graph, B12.Rule):
        for offer in offers_beside(graph, rule):
            yield Change(name(rule), f"offers {name(offer)} added", added=((rule, B12.offers, offer),))


def offer_replaced(graph: Graph) -> Iterator[Change]:
    for rule in instances(graph, B12.Rule):
        for property_, old in values(graph, rule, B12.offers):
            for new in offers_beside(graph, rule):
                yield replaced(rule, property_, old, new)


def value_of_several_dropped(class_: URIRef, property_: URIRef) -> Operator:
    """Drops a value where there are several: the last one would only be missed by the reader."""

    def operator(graph: Graph) -> Iterator[Change]:
        for node in instances(graph, class_):
            if len(found := values(graph, node, property_)) > 1:
                for _, value in found:
                    yield dropped(node, property_, value)

    return operator


def rule_dropped(graph: Graph) -> Iterator[Change]:
    """The rule goes, with whatever names it, such as an override, and its limited derivations."""
    for rule in instances(graph, B12.Rule):
        naming = graph.subjects(None, rule)
        limited = graph.objects(rule, PROV.qualifiedDerivation)
        yield Change(name(rule), "dropped", everything_of(graph, rule, *naming, *limited))


def limit_dropped(graph: Graph) -> Iterator[Change]:
    """A passage that supports a rule for some of its patients only comes to support it for all."""
    for rule in instances(graph, B12.Rule):
        for property_, derivation in values(graph, rule, PROV.qualifiedDerivation):
            passage = one(graph, derivation, PROV.entity)
            removed = ((rule, property_, derivation), *graph.triples((derivation, None, None)))
            added = ((rule, PROV.wasDerivedFrom, passage),)
            yield Change(name(rule), f"{name(passage)} supports it for everyone", removed, added)


def node_dropped(class_: URIRef) -> Operator:
    """Drops each instance, and all that is said of it and points to it."""

    def operator(graph: Graph) -> Iterator[Change]:
        for node in instances(graph, class_):
            yield Change(name(node), "dropped", everything_of(graph, node))

    return operator


def override_added(graph: Graph) -> Iterator[Change]:
    """Two rules of a decision that nothing orders are ordered, by an override that any check of style accepts."""
    ordered = {
        frozenset({one(graph, o, B12.preferred), one(graph, o, B12.over)}) for o in instances(graph, B12.Override)
    }
    for rule in instances(graph, B12.Rule):
        beside = {other for d in graph.objects(rule, B12.decision) for other in graph.subjects(B12.decision, d)}
        for other in sorted(beside - {rule}, key=str):
            if frozenset({rule, other}) in ordered:
                continue
            node, words = URIRef(f"{rule}-over-{name(other)}"), f"{name(rule)} over {name(other)}"
            passages = {p for r in (rule, other) for p in graph.objects(r, PROV.wasDerivedFrom)}
            added: tuple[Triple, ...] = (
                (node, RDF.type, OWL.NamedIndividual),
                (node, RDF.type, B12.Override),
                (node, RDFS.label, Literal(words, lang="en")),
                (node, SKOS.definition, Literal(f"Where both apply, {words}.", lang="en")),
                (node, RDFS.isDefinedBy, one(graph, rule, RDFS.isDefinedBy)),
                (node, B12.preferred, rule),
                (node, B12.over, other),
                (node, B12.basis, B12.editorial),
                (node, B12.editorialReason, Literal("A mutant.", lang="en")),
                *((node, PROV.wasDerivedFrom, passage) for passage in passages),
            )
            yield Change(name(rule), f"preferred over {name(other)}", added=added)


def override_reversed(graph: Graph) -> Iterator[Change]:
    for override in instances(graph, B12.Override):
        preferred, over = one(graph, override, B12.preferred), one(graph, override, B12.over)
        removed = ((override, B12.preferred, preferred), (override, B12.over, over))
        added = ((override, B12.preferred, over), (override, B12.over, preferred))
        yield Change(name(override), "reversed", removed, added)


# ---- offers ------------------------------------------------------------------------------------

OFFERS = (B12.Action, B12.Preparation, B12.Regimen)
# What a component can be: the parts of an offer.
PARTS = (
    B12.Dose,
    B12.Administration,
    B12.PreparationChoice,
    B12.Timing,
    B12.Duration,
    B12.StopCondition,
    B12.StartCondition,
    B12.Precondition,
)


def unit_changed(graph: Graph) -> Iterator[Change]:
    """A unit becomes the one that follows it among all units that stand anywhere in the graph."""
    properties = (B12.unit, B12.periodUnit, B12.boundUnit)
    units = sorted({unit for p in properties for unit in graph.objects(None, p)}, key=str)
    for part in instances(graph, *PARTS):
        for property_, old in values(graph, part, *properties):
            yield replaced(part, property_, old, units[(units.index(old) + 1) % len(units)])


# ---- arguments ---------------------------------------------------------------------------------


def side_swapped(graph: Graph) -> Iterator[Change]:
    for argument in instances(graph, B12.Argument):
        for property_, offer in values(graph, argument, B12["for"], B12.against):
            other = B12.against if property_ == B12["for"] else B12["for"]
            words = f"{name(property_)} {name(offer)} becomes {name(other)}"
            yield Change(name(argument), words, ((argument, property_, offer),), ((argument, other, offer),))


# ---- concepts, quantities, treatments ----------------------------------------------------------


def kind_of_dropped(graph: Graph) -> Iterator[Change]:
    """A concept that is a kind of another becomes a finding of its own."""
    concepts = instances(graph, B12.Concept)
    for concept in concepts:
        for property_, parent in values(graph, concept, RDFS.subClassOf):
            if parent in concepts:
                yield replaced(concept, property_, parent, B12.Finding)


def kind_of_added(graph: Graph) -> Iterator[Change]:
    """A concept becomes a kind of another one that it has nothing to do with."""
    concepts = instances(graph, B12.Concept)
    for concept in concepts:
        related = {
            *graph.transitive_objects(concept, RDFS.subClassOf),
            *graph.transitive_subjects(RDFS.subClassOf, concept),
        }
        for other in concepts:
            if other not in related:
                yield Change(name(concept), f"kind of {name(other)}", added=((concept, RDFS.subClassOf, other),))


def state_flipped(graph: Graph) -> Iterator[Change]:
    for status in instances(graph, B12.TreatmentStatus):
        for property_, concept in values(graph, status, B12.statesPresent, B12.statesAbsent):
            other = B12.statesAbsent if property_ == B12.statesPresent else B12.statesPresent
            words = f"{name(property_)} becomes {name(other)}"
            yield Change(name(status), words, ((status, property_, concept),), ((status, other, concept),))


def begun_flipped(graph: Graph) -> Iterator[Change]:
    for status in instances(graph, B12.TreatmentStatus):
        for property_, begun in values(graph, status, B12.hasBegun):
            yield replaced(status, property_, begun, Literal(str(begun) != "true"))


def factor_changed(graph: Graph) -> Iterator[Change]:
    """A factor between units is wrong by a decimal place."""
    for conversion in instances(graph, B12.UnitConversion):
        for property_, old in values(graph, conversion, B12.factor):
            for times in (Decimal(10), Decimal("0.1")):
                new = Literal(str(Decimal(str(old)) * times), datatype=XSD.decimal)
                yield replaced(conversion, property_, old, new)


# ---- all of them -------------------------------------------------------------------------------

OPERATORS: dict[str, Operator] = {
    "threshold: bound in or out": other_facet(("Inclusive", "Exclusive")),
    "threshold: above or below": other_facet(("min", "max")),
    "threshold: value": moved_threshold,
    "phenotype: operand dropped": operand_dropped,
    "phenotype: operand negated": operand_negated,
    "phenotype: connective": connective_changed,
    "phenotype: concept": leaf_replaced,
    "phenotype: range opened": leaf_opened,
    "phenotype: jurisdiction": jurisdiction_changed,
    "rule: dropped": rule_dropped,
    "rule: modality": exchange([B12.Rule], B12.modality, B12.Modality),
    "rule: phenotype": exchange([B12.Rule], B12.appliesTo, B12.Phenotype),
    "rule: offer dropped": value_of_several_dropped(B12.Rule, B12.offers),
    "rule: offer replaced": offer_replaced,
    "rule: offer added": offer_added,
    "rule: decision dropped": value_of_several_dropped(B12.Rule, B12.decision),
    "rule: alert dropped": drop([B12.Rule], B12.alertWhen),
    "rule: alert's phenotype": exchange([B12.Rule], B12.alertWhen, B12.Phenotype),
    "rule: passage dropped": drop([B12.Rule], PROV.wasDerivedFrom, PROV.qualifiedDerivation),
    "rule: limit of a passage dropped": limit_dropped,
    "rule: limit of a passage": exchange([PROV.Derivation], B12.onlyFor, B12.Phenotype),
    "override: dropped": node_dropped(B12.Override),
    "override: reversed": override_reversed,
    "override: added": override_added,
    "override: basis": exchange([B12.Override], B12.basis, B12.Basis),
    "override: passage dropped": drop([B12.Override], PROV.wasDerivedFrom),
    "offer: refinement dropped": drop(OFFERS, B12.refines),
    "offer: direction": exchange(OFFERS, B12.direction, B12.Direction),
    "offer: component dropped": drop(OFFERS, B12.component),
    "offer: passage dropped": drop(OFFERS, PROV.wasDerivedFrom),
    "component: amount": shift([B12.Dose], B12.low, B12.high),
    "component: frequency": shift(PARTS, B12.frequency),
    "component: period": shift(PARTS, B12.period, B12.periodMax),
    "component: bound": shift(PARTS, B12.boundValue, B12.fromDay, B12.toDay),
    "component: number dropped": drop(
        PARTS, B12.low, B12.high, B12.frequency, B12.period, B12.periodMax, B12.boundValue, B12.fromDay, B12.toDay
    ),
    "component: unit": unit_changed,
    "component: route": exchange(PARTS, B12.route, B12.Route),
    "component: flag dropped": drop(PARTS, B12.lifelong, B12.notStated),
    "component: passage dropped": drop(PARTS, PROV.wasDerivedFrom),
    "argument: dropped": node_dropped(B12.Argument),
    "argument: offer dropped": drop([B12.Argument], B12["for"], B12.against),
    "argument: side swapped": side_swapped,
    "argument: phenotype": exchange([B12.Argument], B12.appliesTo, B12.Phenotype),
    "argument: passage or proviso dropped": drop([B12.Argument], PROV.wasDerivedFrom, B12.proviso),
    "decision: concerns": exchange([B12.Decision], B12.concerns, B12.Phenotype),
    "decision: words of silence dropped": drop([B12.Decision], B12.whenSilent),
    "concept: kind-of dropped": kind_of_dropped,
    "concept: kind-of added": kind_of_added,
    "concept: immutable dropped": drop([B12.Concept, B12.Measurable], B12.immutable),
    "quantity: factor": factor_changed,
    "quantity: unit dropped": drop([B12.Measurable], B12.acceptedUnit),
    "treatment: state flipped": state_flipped,
    "treatment: begun flipped": begun_flipped,
    "guideline: circumstance dropped": drop([B12.Guideline], B12.outsideScope),
}
