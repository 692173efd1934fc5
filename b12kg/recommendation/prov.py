"""The answer as a PROV-O graph, from the recommendation down to the references.

Owns the triples of an answer and its explanations, and the part of the guideline's graph that they rest on. Nodes are
named, never blank, and no clock is read: the same answer gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from b12kg import __version__
from b12kg.errors import UsageError
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.iris import B12, CITO, DCTERMS, PAV, PREFIXES, PROV, RDF, RDFS, XSD
from b12kg.recommendation import Alert, Answer, Fact, Recommendation, RuleFinding
from b12kg.recommendation.explanations import (
    CONTRASTIVE,
    COUNTERFACTUAL,
    TRACE_BASED,
    ChangeSet,
    Hindrance,
    WhatIf,
    WhyNot,
)
from b12kg.record import Circumstance, Measurement, Statement

if TYPE_CHECKING:
    from rdflib import Graph, Literal, URIRef
    from rdflib.term import Node

SOFTWARE = f"{B12}software/{__version__}"


def recommendation_graph(recommendation: Recommendation) -> Graph:
    """The answer, the record's entries that it rests on, and the guideline's part, in one graph."""
    from rdflib import Graph

    graph = Graph()
    for prefix, iri in PREFIXES.items():
        graph.bind(prefix, iri)
    for part in _parts(recommendation).values():
        graph += part
    return graph


def serialize(recommendation: Recommendation, format: str) -> str:
    """The answer in an RDF format; the same bytes each time.

    Args:
        format: turtle, trig or jsonld. TriG keeps the record's entries, the answer and the
            guideline's part in three named graphs.

    Raises:
        UsageError: the format is none of these.
    """
    return write(
        {f"{iri_of(recommendation)}/graph/{name}": part for name, part in _parts(recommendation).items()}, format
    )


def explained_graph(
    recommendation: Recommendation,
    decisions: Sequence[str] = (),
    *,
    offer: str | None = None,
    with_what_if: bool = True,
    immutable: bool = False,
) -> Graph:
    """The answer with why, why not and what if, in one graph; arguments and errors as for the JSON form."""
    writer = _Writer(recommendation)
    writer.write()
    for name, contrasts in recommendation.why_not(*decisions, offer=offer).items():
        found = recommendation.what_if(name, immutable=immutable)[name] if with_what_if else ()
        writer.explanations(name, contrasts, found)
    return writer.record + writer.answer + excerpt(recommendation.guideline, writer.used)


def write(graphs: Mapping[str, Graph], format: str) -> str:
    """Graphs by their IRI in an RDF format, ``turtle``, ``trig`` or ``jsonld``; named in TriG, merged in the others.

    Raises:
        UsageError: the format is none of these.
    """
    import pyoxigraph as ox

    formats = {"turtle": ox.RdfFormat.TURTLE, "trig": ox.RdfFormat.TRIG, "jsonld": ox.RdfFormat.JSON_LD}
    if format not in formats:
        raise UsageError(f"no RDF format is called {format!r}; there are {', '.join(formats)}")
    # rdflib's serializers follow the hash seed; pyoxigraph writes what it is given, in that order.
    quads = []
    for iri, part in graphs.items():
        graph = ox.NamedNode(iri) if format == "trig" else ox.DefaultGraph()
        lines = "".join(sorted(part.serialize(format="nt").splitlines(keepends=True)))
        triples = ox.parse(lines, format=ox.RdfFormat.N_TRIPLES)
        quads += [ox.Quad(triple.subject, triple.predicate, triple.object, graph) for triple in triples]
    if format != "trig":
        quads = sorted(set(quads), key=str)
    written = ox.serialize(quads, format=formats[format], prefixes=PREFIXES)
    assert written is not None  # noqa: S101 - None only where an output is given
    text = written.decode()
    return text if text.endswith("\n") else text + "\n"


def iri_of(recommendation: Recommendation) -> str:
    """The IRI of the answer: by record, guideline, date and version of b12kg, so that each engine gives it the same.

    Of the version too, since one activity has one software, and another version may answer otherwise.
    """
    record, guideline = recommendation.record, recommendation.guideline
    parts = (record.digest, guideline.digest, record.as_of.isoformat(), __version__)
    return f"{B12}recommendation/{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:32]}"


def _parts(recommendation: Recommendation) -> dict[str, Graph]:
    """The three parts of the graph by name."""
    writer = _Writer(recommendation)
    writer.write()
    guideline = excerpt(recommendation.guideline, writer.used)
    return {"record": writer.record, "recommendation": writer.answer, "guideline": guideline}


class _Writer:
    """Writes the answer and the record's entries, and remembers which terms of the guideline it used."""

    def __init__(self, recommendation: Recommendation) -> None:
        from rdflib import Graph, URIRef

        self.result = recommendation
        self.guideline = recommendation.guideline
        self.record, self.answer = Graph(), Graph()
        self.used: set[str] = {self.guideline.iri, self.guideline.document}
        self.top = URIRef(iri_of(recommendation))
        self.entity = URIRef(f"{self.top}/record")
        self.entries: dict[str, URIRef] = {}

    # -- writing

    def add(self, subject: Node, property_: str, value: Node, graph: Graph | None = None) -> None:
        from rdflib import URIRef

        (self.answer if graph is None else graph).add((subject, URIRef(property_), value))

    def type(self, subject: Node, *classes: str, graph: Graph | None = None) -> None:
        for class_ in classes:
            self.add(subject, RDF + "type", self.iri(class_), graph)

    def iri(self, iri: str) -> URIRef:
        from rdflib import URIRef

        return URIRef(iri)

    def term(self, iri: str) -> URIRef:
        """A term of the guideline, which then goes into its part of the graph."""
        self.used.add(iri)
        return self.iri(iri)

    def text(self, words: str, datatype: str | None = None) -> Literal:
        from rdflib import Literal, URIRef

        return Literal(words, datatype=URIRef(XSD + datatype) if datatype else None)

    def label(self, subject: Node, words: str, graph: Graph | None = None) -> None:
        from rdflib import Literal

        self.add(subject, RDFS + "label", Literal(words, lang="en"), graph)

    def offers(self, subject: Node, property_: str, offers: Iterable[str]) -> None:
        for offer in offers:
            self.add(subject, B12 + property_, self.term(self.guideline.offers[offer].iri))

    def features(self, subject: Node, property_: str, features: Iterable[str]) -> None:
        for feature in features:
            known = self.guideline.iris_of_names()
            self.add(subject, B12 + property_, self.term(known.get(feature, B12 + JURISDICTION)))

    # -- parts

    def write(self) -> None:
        result, guideline, top = self.result, self.guideline, self.top
        self.type(top, B12 + "Recommendation", PROV + "Entity")
        self.label(top, f"What {guideline.label} gives for {result.record.id} as of {result.record.as_of}")
        self.add(top, B12 + "asOf", self.text(result.record.as_of.isoformat(), "date"))
        self.add(top, B12 + "reviewStatus", self.text(guideline.review_status))
        self.add(top, B12 + "preface", self.text(guideline.preface))
        self.add(top, B12 + "disclaimer", self.text(guideline.disclaimer))
        self.add(top, PROV + "wasDerivedFrom", self.entity)
        self.activity()
        self.type(self.entity, B12 + "Record", PROV + "Entity", graph=self.record)
        self.label(self.entity, f"the record {result.record.id} as of {result.record.as_of}", self.record)
        self.add(self.entity, DCTERMS + "identifier", self.text(result.record.id), self.record)
        self.add(self.entity, B12 + "recordDigest", self.text(result.record.digest), self.record)
        self.add(self.entity, B12 + "asOf", self.text(result.record.as_of.isoformat(), "date"), self.record)
        for name, answer in result.decisions.items():
            self.outcome(name, answer)
        for alert in result.alerts:
            self.alert(alert)
        for notice in result.notices:
            self.add(top, B12 + "notice", self.entry(notice))
            self.term(guideline.circumstances[notice.of].iri)
        for warning in result.warnings:
            self.add(top, B12 + "warning", self.text(str(warning)))
        for unused in result.unused:
            node = self.iri(f"{top}/unused/{quote(unused.path)}")
            self.type(node, B12 + "UnusedEntry")
            self.add(top, B12 + "unused", node)
            self.add(node, B12 + "path", self.text(unused.path))
            self.label(node, f"{unused.of}: {unused.reason}")

    def activity(self) -> None:
        guideline, top = self.guideline, self.top
        activity, association = self.iri(f"{top}/activity"), self.iri(f"{top}/association")
        # Of one version each: a store that gathers answers of several must not mix their digests.
        version = guideline.digest.removeprefix("sha256:")[:32]
        software, plan = self.iri(SOFTWARE), self.iri(f"{guideline.iri}/version/{version}")
        self.add(top, PROV + "wasGeneratedBy", activity)
        self.type(activity, PROV + "Activity")
        self.label(activity, "the working out of the recommendation")
        self.label(association, f"b12kg {__version__}, following {guideline.label}")
        self.add(activity, PROV + "used", self.entity)
        self.add(activity, PROV + "used", plan)
        self.add(activity, PROV + "wasAssociatedWith", software)
        self.add(activity, PROV + "qualifiedAssociation", association)
        self.type(association, PROV + "Association")
        self.add(association, PROV + "agent", software)
        self.add(association, PROV + "hadPlan", plan)
        # Beside prov:SoftwareAgent, since not every tool infers the wider class.
        self.type(software, PROV + "SoftwareAgent", PROV + "Agent")
        self.label(software, f"b12kg {__version__}")
        self.add(software, PAV + "version", self.text(__version__))
        self.type(plan, PROV + "Plan", PROV + "Entity")
        self.label(plan, f"{guideline.label}, version {guideline.version}")
        self.add(plan, PROV + "specializationOf", self.term(guideline.iri))
        self.add(plan, PAV + "version", self.text(guideline.version))
        self.add(plan, B12 + "guidelineDigest", self.text(guideline.digest))
        self.add(top, PROV + "wasAttributedTo", software)

    def outcome(self, name: str, answer: Answer) -> None:
        outcome, decision = answer.outcome, self.guideline.decisions[name]
        node = self.iri(f"{self.top}/{name}")
        self.type(node, B12 + "Outcome")
        self.label(node, f"{decision.label}: {outcome.status}")
        self.add(self.top, B12 + "outcome", node)
        self.add(node, B12 + "decision", self.term(decision.iri))
        self.add(node, B12 + "outcomeStatus", self.iri(f"{B12}outcome-{outcome.status}"))
        self.add(node, B12 + "sourceSilent", self.text(str(outcome.source_silent).lower(), "boolean"))
        self.offers(node, "recommended", outcome.recommended)
        self.offers(node, "alternative", outcome.alternatives)
        self.offers(node, "possibleAlternative", outcome.possible_alternatives)
        self.offers(node, "conflicting", outcome.conflicting)
        self.features(node, "missing", outcome.missing)
        for index, possible in enumerate(outcome.possible):
            case = self.iri(f"{node}/possible/{index}")
            self.type(case, B12 + "PossibleOutcome")
            self.label(case, f"{decision.label}: possibly {possible.status}")
            self.add(node, B12 + "possible", case)
            self.add(case, B12 + "outcomeStatus", self.iri(f"{B12}outcome-{possible.status}"))
            self.offers(case, "recommended", possible.recommended)
            self.offers(case, "conflicting", possible.conflicting)
        for finding in answer.rules:
            self.rule(node, finding)
        for weighed in answer.arguments:
            case = self.iri(f"{node}/{weighed.argument.id}")
            self.type(case, B12 + "ArgumentFinding")
            self.label(case, f"{weighed.argument.label}: {weighed.state}")
            self.add(node, B12 + "argumentFinding", case)
            self.add(case, B12 + "argument", self.term(weighed.argument.iri))
            self.add(case, B12 + "ruleState", self.iri(f"{B12}state-{weighed.state}"))
            self.offers(case, "for", weighed.for_)
            self.offers(case, "against", weighed.against)

    def rule(self, outcome: URIRef, finding: RuleFinding) -> None:
        rules, node = self.guideline.rules, self.iri(f"{outcome}/{finding.rule.name}")
        rule = self.term(finding.rule.iri)
        self.type(node, B12 + "RuleFinding", PROV + "Entity")
        self.label(node, f"{finding.rule.label}: {finding.state}")
        self.add(outcome, B12 + "ruleFinding", node)
        self.add(node, B12 + "rule", rule)
        self.add(node, B12 + "ruleState", self.iri(f"{B12}state-{finding.state}"))
        if finding.state == "applies":
            self.add(self.top, PROV + "wasDerivedFrom", rule)
        for fact in finding.because:
            self.add(node, B12 + "because", self.fact(fact))
        for by in finding.overridden_by:
            self.add(node, B12 + "overriddenBy", self.term(rules[by].iri))
        for by in finding.may_be_overridden_by:
            self.add(node, B12 + "mayBeOverriddenBy", self.term(rules[by].iri))
        for passage in finding.passages:
            self.add(node, PROV + "wasDerivedFrom", self.term(self.guideline.passages[passage].iri))

    def alert(self, alert: Alert) -> None:
        rule = self.guideline.rules[alert.rule]
        node = self.iri(f"{self.top}/alert/{alert.rule}/{alert.certainty}")
        self.type(node, B12 + "Alert", PROV + "Entity")
        self.label(node, f"{rule.label}: {alert.certainty}")
        self.add(self.top, B12 + "alert", node)
        self.add(node, B12 + "rule", self.term(rule.iri))
        certainty = "certain" if alert.certainty == "certain" else "possible-alert"
        self.add(node, B12 + "alertCertainty", self.iri(B12 + certainty))
        self.features(node, "missing", alert.missing)
        for support in rule.support:
            self.add(node, PROV + "wasDerivedFrom", self.term(self.guideline.passages[support.passage].iri))

    # -- explanations

    def explanations(self, name: str, contrasts: Iterable[WhyNot], counterfactuals: Iterable[WhatIf]) -> None:
        decision, outcome = self.guideline.decisions[name], self.iri(f"{self.top}/{name}")
        findings = self.result.decisions[name].rules
        why = self.explanation(f"{outcome}/why", TRACE_BASED, f"why: {decision.label}", outcome)
        for finding in findings:
            if finding.state in ("applies", "overridden"):
                self.add(why, PROV + "wasDerivedFrom", self.iri(f"{outcome}/{finding.rule.name}"))
        for contrast in contrasts:
            offer = self.guideline.offers[contrast.offer]
            label = f"why not {offer.label}: {contrast.standing}"
            node = self.explanation(f"{outcome}/why-not/{offer.id}", CONTRASTIVE, label, outcome)
            self.add(node, B12 + "contrastsWith", self.term(offer.iri))
            self.add(node, B12 + "standing", self.text(contrast.standing))
            for hindrance in contrast.hindrances:
                self.hindrance(node, hindrance, self.iri(f"{outcome}/{hindrance.finding.rule.name}"))
            self.change_sets(node, contrast.if_known)
        for index, found in enumerate(counterfactuals):
            label = f"what if: {decision.label} {found.outcome.status}"
            node = self.explanation(f"{outcome}/what-if/{index}", COUNTERFACTUAL, label, outcome)
            self.add(node, B12 + "outcomeStatus", self.iri(f"{B12}outcome-{found.outcome.status}"))
            self.offers(node, "recommended", found.outcome.recommended)
            self.offers(node, "conflicting", found.outcome.conflicting)
            self.change_sets(node, found.changes)

    def explanation(self, iri: str, type_: str, label: str, outcome: URIRef) -> URIRef:
        node = self.iri(iri)
        self.type(node, type_, PROV + "Entity")
        self.label(node, label)
        self.add(node, B12 + "explains", outcome)
        return node

    def hindrance(self, contrast: URIRef, hindrance: Hindrance, finding: URIRef) -> None:
        rule = hindrance.finding.rule
        node = self.iri(f"{contrast}/{rule.name}")
        self.type(node, B12 + "Hindrance", PROV + "Entity")
        self.label(node, f"{rule.label}: {hindrance.kind}")
        self.add(contrast, B12 + "hindrance", node)
        self.add(node, B12 + "rule", self.term(rule.iri))
        self.add(node, B12 + "hindranceKind", self.text(hindrance.kind))
        self.add(node, PROV + "wasDerivedFrom", finding)
        for by, _ in hindrance.by:
            self.add(node, B12 + "hinderedBy", self.term(self.guideline.rules[by].iri))
        self.features(node, "missing", hindrance.missing)

    def change_sets(self, explanation: URIRef, sets: Iterable[ChangeSet]) -> None:
        for number, changes in enumerate(sets):
            together = self.iri(f"{explanation}/changes/{number}")
            self.type(together, B12 + "ChangeSet")
            self.label(together, "; ".join(f"{change.of} {change.after}" for change in changes))
            self.add(explanation, B12 + "changeSet", together)
            for change in changes:
                node = self.iri(f"{together}/{change.of}")
                self.type(node, B12 + "Change")
                self.label(node, f"{change.of} {change.after}")
                self.add(together, B12 + "change", node)
                self.features(node, "of", [change.of])
                self.add(node, B12 + "after", self.text(change.after))
                if change.before is not None:
                    self.add(node, B12 + "before", self.text(change.before))

    # -- the record's entries

    def fact(self, fact: Fact) -> URIRef:
        if isinstance(fact.entry, str):
            node = self.iri(f"{self.entity}/{fact.of}")
            self.type(node, B12 + "Statement", graph=self.record)
            self.label(node, f"{fact.of}: {fact.entry}", self.record)
            self.add(node, B12 + "path", self.text(fact.of), self.record)
            self.add(node, B12 + "jurisdiction", self.text(fact.entry), self.record)
            self.add(self.entity, B12 + "statement", node, self.record)
            return node
        return self.entry(fact.entry)

    def entry(self, entry: Statement | Measurement | Circumstance) -> URIRef:
        """The node of an entry of the record; written at its first use."""
        if entry.path in self.entries:
            return self.entries[entry.path]
        node = self.entries[entry.path] = self.iri(f"{self.entity}/{quote(entry.path)}")
        record = self.record
        self.add(self.entity, B12 + "statement", node, record)
        self.type(node, B12 + "Statement", graph=record)
        self.add(node, B12 + "path", self.text(entry.path), record)
        self.add(node, B12 + "of", self.term(self.guideline.iris_of_names()[entry.of]), record)
        if entry.on is not None:
            self.add(node, B12 + "on", self.text(entry.on.isoformat(), "date"), record)
        if entry.source is not None:
            self.add(node, B12 + "source", self.text(entry.source), record)
        if isinstance(entry, Statement):
            states = "statesPresent" if entry.present else "statesAbsent"
            concept = self.guideline.concepts[entry.of]
            self.label(node, f"{concept.label}: {'present' if entry.present else 'absent'}", record)
            self.add(node, B12 + states, self.iri(concept.iri), record)
            if entry.started_on is not None:
                self.add(node, B12 + "startedOn", self.text(entry.started_on.isoformat(), "date"), record)
            if entry.said_by is not None:
                self.add(node, B12 + "status", self.text(entry.said_by[1]), record)
                self.add(node, B12 + "treatment", self.term(self.guideline.treatments[entry.said_by[0]].iri), record)
        if isinstance(entry, Measurement):
            self.type(node, B12 + "Measurement", graph=record)
            bound = "" if entry.comparator is None else f"{entry.comparator} "
            self.label(
                node, f"{self.guideline.quantities[entry.of].label}: {bound}{entry.value:f} {entry.unit}", record
            )
            self.add(node, B12 + "value", self.text(f"{entry.value:f}", "decimal"), record)
            self.add(node, B12 + "unit", self.text(entry.unit), record)
            if entry.comparator is not None:
                self.add(node, B12 + "comparator", self.text(entry.comparator), record)
        if isinstance(entry, Circumstance):
            self.label(node, self.guideline.circumstances[entry.of].label, record)
        return node


# ---- the guideline's part ----------------------------------------------------------------------

# Down these properties the chain goes on from a term that is used.
_CHAIN = (
    *(PROV + name for name in ("wasDerivedFrom", "wasAttributedTo", "qualifiedDerivation", "entity")),
    *(
        B12 + name
        for name in (
            *("hasMarker", "marker", "resolvesTo", "component", "route", "preparation", "readFrom", "appliesTo"),
            *("offers", "refines", "hasFigure"),
        )
    ),
    "http://www.w3.org/ns/oa#hasSelector",
    "http://www.w3.org/ns/oa#hasSource",
)


def excerpt(guideline: Guideline, terms: Iterable[str]) -> Graph:
    """What the guideline's graph says of these terms and of what they rest on, without class expressions.

    An override between two of the rules comes with them, since its basis explains which one is followed.
    What is derived from something is stated to be an entity, since not every tool infers it.
    A passage whose marker resolves to a reference also ``cito:citesAsEvidence`` it.
    """
    from rdflib import BNode, Graph, URIRef

    whole, part = guideline.graph(), Graph()
    seen = set(terms)
    for override, _, preferred in whole.triples((None, URIRef(B12 + "preferred"), None)):
        if str(preferred) in seen and str(whole.value(override, URIRef(B12 + "over"))) in seen:
            seen.add(str(override))
    waiting = sorted(seen)
    chain = {URIRef(property_) for property_ in _CHAIN}
    while waiting:
        subject = URIRef(waiting.pop())
        for _, property_, value in whole.triples((subject, None, None)):
            if isinstance(value, BNode):
                continue
            part.add((subject, property_, value))
            if property_ in chain and str(value) not in seen:
                seen.add(str(value))
                waiting.append(str(value))
    for derivation in (PROV + "wasDerivedFrom", PROV + "qualifiedDerivation"):
        for derived in set(part.subjects(URIRef(derivation))):
            part.add((derived, URIRef(RDF + "type"), URIRef(PROV + "Entity")))
    for passage in guideline.passages.values():
        for citation in passage.citations:
            if passage.iri in seen and citation.reference is not None:
                reference = guideline.references[citation.reference].iri
                part.add((URIRef(passage.iri), URIRef(CITO + "citesAsEvidence"), URIRef(reference)))
    return part
