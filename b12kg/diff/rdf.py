"""A comparison as RDF, so that SPARQL can ask what changed.

Owns the terms of the section "Comparison" of the vocabulary. Finds nothing out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from b12kg.iris import B12, RDF, RDFS, XSD
from b12kg.records.json import read_document
from b12kg.records.rdf import record_graph

if TYPE_CHECKING:
    from rdflib import Graph

    from b12kg.diff import Comparison


def graph_of(comparison: Comparison) -> Graph:
    """The changes, each with its conditions and a witness of each as a record."""
    from rdflib import Graph, Literal, URIRef

    old, new, graph = comparison.old, comparison.new, Graph()
    digests = "-".join(guideline.digest.removeprefix("sha256:")[:16] for guideline in (old, new))
    top = URIRef(f"{new.iri}/comparison/{digests}")

    def add(subject: URIRef, property_: str, *values: str) -> None:
        for value in values:
            graph.add((subject, URIRef(property_ if "://" in property_ else B12 + property_), Literal(value)))

    def point(subject: URIRef, property_: str, *iris: str) -> None:
        for iri in iris:
            graph.add((subject, URIRef(property_ if "://" in property_ else B12 + property_), URIRef(iri)))

    def number(subject: URIRef, property_: str, value: int) -> None:
        graph.add((subject, URIRef(B12 + property_), Literal(str(value), datatype=URIRef(XSD + "integer"))))

    point(top, RDF + "type", B12 + "Comparison")
    add(top, RDFS + "label", f"{new.label}: {old.version} and {new.version} compared")
    for guideline, (which, version, digest) in (
        (old, ("oldGuideline", "oldVersion", "oldDigest")),
        (new, ("newGuideline", "newVersion", "newDigest")),
    ):
        point(top, which, guideline.iri)
        add(top, version, guideline.version)
        add(top, digest, guideline.digest)
    add(top, "advice", comparison.advice)
    add(top, "adviceReason", *(f"{advice}: {reason}" for advice, reason in comparison.reasons))
    add(top, "reviewStatus", new.review_status)
    add(top, "disclaimer", new.disclaimer)
    for count, term in enumerate(comparison.terms, start=1):
        node = URIRef(f"{top}/term/{count}")
        point(top, "termChange", str(node))
        point(node, RDF + "type", B12 + "TermChange")
        add(node, RDFS + "label", f"{term.change} {term.kind}")
        add(node, "changeKind", term.change)
        if not term.iri.startswith("["):  # a blank node that hangs on nothing goes by its text
            point(node, "changedTerm", term.iri)
        for place, change in enumerate(term.properties, start=1):
            below = URIRef(f"{node}/{place}")
            point(node, "propertyChange", str(below))
            point(below, RDF + "type", B12 + "PropertyChange")
            point(below, "changedProperty", change.path[0])
            add(below, "propertyPath", " / ".join(change.path))
            add(below, "oldValue", *change.old)
            add(below, "newValue", *change.new)
    for count, outcome in enumerate(comparison.changes, start=1):
        node = URIRef(f"{top}/outcome/{count}")
        point(top, "outcomeChange", str(node))
        point(node, RDF + "type", B12 + "OutcomeChange")
        decision = (new.decisions.get(outcome.decision) or old.decisions[outcome.decision]).iri
        point(node, "inDecision", decision)
        add(node, "changeKind", outcome.kind)
        number(node, "count", outcome.count)
        number(node, "rows", outcome.rows)
        for guideline, said, status, offer in (
            (old, outcome.old, "oldStatus", "oldOffer"),
            (new, outcome.new, "newStatus", "newOffer"),
        ):
            add(node, status, said.status)
            point(node, offer, *(guideline.offers[name].iri for name in (*said.recommended, *said.conflicting)))
        for place, condition in enumerate(outcome.conditions, start=1):
            below, witness = URIRef(f"{node}/{place}"), f"{node}/{place}/witness"
            point(node, "condition", str(below))
            point(below, RDF + "type", B12 + "ChangeCondition")
            add(below, RDFS + "label", f"{outcome.kind}: {condition.patients}")
            add(below, "patients", condition.patients)
            number(below, "count", condition.count)
            point(below, "witness", witness)
            reader = old if outcome.kind == "refused" else new
            record, _ = read_document({**condition.witness, "id": witness}, reader)
            graph += record_graph(record, reader)
    return graph
