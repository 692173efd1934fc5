"""A guideline read from its folder of Turtle.

Owns the reading of each kind of thing from the graph, the modules that a guideline is made of, and
its digest. What the values mean is for guideline.py; whether they are good style, for the shapes.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, get_args

from b12kg.errors import InvalidGuideline, Problem, UnsupportedConstruct
from b12kg.expression import (
    Class,
    ClassExpression,
    DataHasValue,
    DataSomeValuesFrom,
    Facet,
    FacetRestriction,
    ObjectComplementOf,
    ObjectIntersectionOf,
    ObjectSomeValuesFrom,
    ObjectUnionOf,
)
from b12kg.guideline import (
    JURISDICTION,
    Argument,
    Circumstance,
    Citation,
    Component,
    Concept,
    Decision,
    ExpectedAuditFinding,
    ExpectedFinding,
    Guideline,
    Offer,
    Override,
    Passage,
    Phenotype,
    Quantity,
    Reference,
    Rule,
    Support,
    Treatment,
    TreatmentStatus,
)
from b12kg.iris import B12, DCTERMS, OA, OWL, PAV, PROV, RDF, RDFS, SKOS, XSD, name_of
from b12kg.resources import Tree, folder_of, tree_of

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node


_CONSTRUCTORS = {OWL + name for name in ("intersectionOf", "unionOf", "complementOf", "onProperty")}


def load_guideline(where: str | Path | None = None) -> Guideline:
    """The guideline in a folder of Turtle, or one that is shipped.

    Args:
        where: a folder, or the name of a shipped guideline; None if only one is shipped.

    Raises:
        UsageError: there is no such folder or name.
        InvalidGuideline: the Turtle does not parse, or something that every guideline states is
            missing, stated twice, or of the wrong kind.

    >>> load_guideline("droracle-2025").decisions["Assessment"].label
    'assessment'
    """
    folder = folder_of(where)
    tree = tree_of(folder)
    files = _modules(folder, tree)
    beside = [tree.shapes / path.name for path in files if path.parent == tree.ontology]
    shapes = tuple(path for path in (tree.shapes / "record.ttl", *beside, folder / "shapes.ttl") if path.is_file())
    return read_guideline(_parse(files), files=files, shapes=shapes, digest=_digest(folder, tree, files))


def read_guideline(graph: Graph, *, files: tuple[Path, ...], shapes: tuple[Path, ...], digest: str) -> Guideline:
    """The guideline that a graph states; errors as of :func:`load_guideline`.

    Args:
        files: the modules that the graph was parsed from, which are read again where it is asked for later.
        shapes: the shapes of its records.
        digest: what it is known by.
    """
    guideline = _Reader(graph, files, shapes, digest).guideline()
    vars(guideline)["_graph"] = graph  # the cached value of Guideline.graph(), which would parse the files again
    return guideline


def _modules(folder: Path, tree: Tree) -> tuple[Path, ...]:
    """The folder's files, and the shared modules that they import."""
    own = sorted(path for path in folder.glob("*.ttl") if path.name != "shapes.ttl")
    imported = {str(iri) for iri in _parse(own).objects(None, _uri(OWL + "imports"))} | {B12 + "vocabulary"}
    return (*(path for path in sorted(tree.ontology.glob("*.ttl")) if B12 + path.stem in imported), *own)


def _digest(folder: Path, tree: Tree, files: Iterable[Path]) -> str:
    """Over every file whose content can change an answer: path from the project's or the folder's top."""
    used = {*files, *tree.shapes.glob("*.ttl"), *folder.glob("*.ttl"), *(tree.queries / "decide").glob("*.rq")}

    def named(path: Path) -> str:
        if path.is_relative_to(folder):
            return f"guideline/{path.relative_to(folder).as_posix()}"
        return path.relative_to(tree.ontology.parent).as_posix()

    lines = sorted((named(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in used)
    return "sha256:" + hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in lines).encode()).hexdigest()


def _parse(files: Iterable[Path]) -> Graph:
    from rdflib import Graph

    graph = Graph()
    problems = []
    for path in files:
        try:
            graph.parse(path, format="turtle")
        except Exception as error:  # noqa: BLE001 - rdflib raises many kinds; each is the same defect
            problems.append(Problem(path.name, f"not Turtle: {error}"))
    if problems:
        raise InvalidGuideline(problems)
    return graph


def _uri(iri: str) -> Node:
    from rdflib import URIRef

    return URIRef(iri)


class _Reader:
    """Reads each kind of thing from a guideline's graph, and gathers what is wrong with any."""

    def __init__(self, graph: Graph, files: tuple[Path, ...], shapes: tuple[Path, ...], digest: str) -> None:
        self.graph = graph
        self.files = files
        self.shapes = shapes
        self.digest = digest
        self.problems: list[Problem] = []

    # -- single values

    def all(self, subject: Node, property_: str) -> list[Node]:
        return sorted(self.graph.objects(subject, _uri(property_)), key=str)

    def maybe(self, subject: Node, property_: str) -> Node | None:
        found = self.all(subject, property_)
        if len(found) > 1:
            self.problem(subject, property_, "stated more than once", ", ".join(map(str, found)), "one value")
        return found[0] if found else None

    def one(self, subject: Node, property_: str) -> str:
        found = self.maybe(subject, property_)
        if found is None:
            self.problem(subject, property_, "missing", "", "one value")
        return str(found)

    def text(self, subject: Node, property_: str) -> str | None:
        found = self.maybe(subject, property_)
        return None if found is None else str(found)

    def names(self, subject: Node, property_: str) -> tuple[str, ...]:
        return tuple(sorted(name_of(str(node)) for node in self.all(subject, property_)))

    def texts(self, subject: Node, property_: str) -> tuple[str, ...]:
        return tuple(str(node) for node in self.all(subject, property_))

    def number(self, subject: Node, property_: str) -> Decimal:
        text = self.one(subject, property_)
        try:
            return Decimal(text)
        except ArithmeticError:
            self.problem(subject, property_, "not a number", text, "a decimal number")
            return Decimal(0)

    def whole(self, subject: Node, property_: str) -> int:
        number = self.number(subject, property_)
        if number != number.to_integral_value():
            self.problem(subject, property_, "not a whole number", str(number), "a whole number")
        return int(number)

    def flag(self, subject: Node, property_: str) -> bool:
        return self.text(subject, property_) == "true"

    def problem(self, subject: Node, property_: str, message: str, found: str, accepted: str) -> None:
        place = f"{name_of(str(subject))} {name_of(property_.replace('#', '/'))}"
        self.problems.append(Problem(place, message, found, accepted))

    def instances(self, class_: str) -> list[tuple[str, Node]]:
        """Name and node of each instance, sorted by name; two of one name are a problem."""
        nodes = sorted(self.graph.subjects(_uri(RDF + "type"), _uri(B12 + class_)), key=str)
        named = sorted((name_of(str(node)), node) for node in nodes)
        for (name, node), (other, _) in itertools.pairwise(named):
            if name == other:
                self.problem(node, RDF + "type", f"two of class {class_} have this name", name, "a name of its own")
        return named

    def pointer(self, subject: Node, property_: str, known: Mapping[str, object]) -> str:
        """The name that a property points to, which must be one of the known."""
        return self.check(subject, property_, name_of(self.one(subject, property_)), known)

    def pointers(self, subject: Node, property_: str, known: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(self.check(subject, property_, name, known) for name in self.names(subject, property_))

    def check(self, subject: Node, property_: str, name: str, known: Mapping[str, object]) -> str:
        if name not in known and name != "None":
            self.problem(subject, property_, "points to something that is not declared", name, ", ".join(sorted(known)))
        return name

    # -- kinds of things

    def guideline(self) -> Guideline:
        node = self.sole("Guideline")
        document = self.sole("Document")
        concepts = {name: self.concept(name, n) for name, n in self.instances("Concept")}
        quantities = {name: self.quantity(name, n) for name, n in self.instances("Measurable")}
        by_property = {quantity.data_property: quantity.name for quantity in quantities.values()}
        treatments = {name: self.treatment(name, n, concepts) for name, n in self.instances("Treatment")}
        phenotypes = {
            name: Phenotype(
                name,
                str(n),
                self.one(n, RDFS + "label"),
                self.definition(n, concepts, by_property),
                self.texts(n, B12 + "editorialReason"),
            )
            for name, n in self.instances("Phenotype")
        }
        references = {name: self.reference(name, n) for name, n in self.instances("Reference")}
        passages = {name: self.passage(name, n, references) for name, n in self.instances("Passage")}
        offers = {
            name: self.offer(name, kind, n, passages, treatments)
            for kind in ("Action", "Preparation", "Regimen")
            for name, n in self.instances(kind)
        }
        ordered = sorted(self.instances("Decision"), key=lambda item: self.whole(item[1], B12 + "order"))
        decisions: dict[str, Decision] = {}
        for name, n in ordered:
            decisions[name] = self.decision(name, n, phenotypes, decisions)
        rules = {
            name: self.rule(name, n, decisions, phenotypes, offers, passages) for name, n in self.instances("Rule")
        }
        overrides = tuple(self.override(n, rules, passages) for _, n in self.instances("Override"))
        arguments = tuple(
            self.argument(name, n, phenotypes, offers, passages) for name, n in self.instances("Argument")
        )
        outside = self.pointers(node, B12 + "outsideScope", dict(self.instances("OutsideSourceConcept")))
        circumstances = {
            name: Circumstance(name, str(n), self.one(n, RDFS + "label"))
            for name, n in self.instances("OutsideSourceConcept")
            if name in outside
        }
        for what, found in (("Decision", decisions), ("Rule", rules), ("Phenotype", phenotypes)):
            if not found:
                self.problem(node, RDF + "type", f"no {what} is declared", "", f"at least one {what}")
        guideline = Guideline(
            id=self.one(node, DCTERMS + "identifier"),
            iri=str(node),
            label=self.one(node, RDFS + "label"),
            version=self.one(node, PAV + "version"),
            digest=self.digest,
            review_status=self.one(document, B12 + "reviewStatus"),
            last_updated=self.one(document, DCTERMS + "modified"),
            publisher=self.one(document, DCTERMS + "publisher"),
            title=self.one(document, DCTERMS + "title"),
            preface=self.one(node, B12 + "preface"),
            disclaimer=self.one(node, B12 + "disclaimer"),
            document=str(document),
            concepts=concepts,
            quantities=quantities,
            treatments=treatments,
            circumstances=circumstances,
            phenotypes=phenotypes,
            references=references,
            passages=passages,
            offers=offers,
            decisions=decisions,
            rules=rules,
            overrides=overrides,
            arguments=arguments,
            impossible=self.impossible(concepts, phenotypes),
            expected=tuple(self.expected(n, decisions, rules) for _, n in self.instances("ExpectedFinding")),
            expected_by_audit=tuple(self.expected_by_audit(n) for _, n in self.instances("ExpectedAuditFinding")),
            files=self.files,
            shapes=self.shapes,
        )
        if self.problems:
            raise InvalidGuideline(self.problems)
        return guideline

    def sole(self, class_: str) -> Node:
        found = self.instances(class_)
        if len(found) != 1:
            names = ", ".join(name for name, _ in found)
            raise InvalidGuideline([Problem(class_, "a guideline has exactly one", names or "none", "one")])
        return found[0][1]

    def concept(self, name: str, node: Node) -> Concept:
        parents = [p for p in self.names(node, RDFS + "subClassOf") if p != "Finding"]
        declared = {n for n, _ in self.instances("Concept")}
        for parent in parents:
            self.check(node, RDFS + "subClassOf", parent, dict.fromkeys(declared))
        label, definition = self.one(node, RDFS + "label"), self.one(node, SKOS + "definition")
        return Concept(name, str(node), label, definition, tuple(parents), self.flag(node, B12 + "immutable"))

    def quantity(self, name: str, node: Node) -> Quantity:
        conversions = self.all(node, B12 + "acceptedUnit")
        factors = {self.one(c, B12 + "unit"): self.number(c, B12 + "factor") for c in conversions}
        unit = self.one(node, B12 + "canonicalUnit")
        if factors.get(unit) != 1:
            self.problem(
                node, B12 + "acceptedUnit", "the canonical unit is not accepted with factor 1", unit, "factor 1"
            )
        return Quantity(
            name,
            str(node),
            self.one(node, RDFS + "label"),
            self.one(node, SKOS + "definition"),
            self.one(node, B12 + "dataProperty"),
            unit,
            factors,
            self.flag(node, B12 + "immutable"),
        )

    def treatment(self, name: str, node: Node, concepts: Mapping[str, Concept]) -> Treatment:
        statuses = {}
        for status in self.all(node, B12 + "hasStatus"):
            present = self.maybe(status, B12 + "statesPresent") is not None
            property_ = B12 + ("statesPresent" if present else "statesAbsent")
            concept = self.pointer(status, property_, concepts)
            begun = self.flag(status, B12 + "hasBegun")
            statuses[self.one(status, B12 + "name")] = TreatmentStatus(concept, present, begun)
        return Treatment(name, str(node), self.one(node, RDFS + "label"), statuses)

    def reference(self, name: str, node: Node) -> Reference:
        return Reference(
            name,
            str(node),
            self.one(node, RDFS + "label"),
            self.one(node, DCTERMS + "title"),
            name_of(self.one(node, B12 + "referenceType")),
            self.text(node, B12 + "sourceLabel") or "",
            self.one(node, B12 + "strength"),
            self.one(node, B12 + "certainty"),
        )

    def passage(self, name: str, node: Node, references: Mapping[str, Reference]) -> Passage:
        selector = _uri(self.one(node, OA + "hasSelector"))
        markers = sorted(self.all(node, B12 + "hasMarker"), key=lambda marker: self.whole(marker, OA + "start"))
        return Passage(
            id=name,
            iri=str(node),
            line=self.whole(node, B12 + "line"),
            start=self.whole(selector, OA + "start"),
            end=self.whole(selector, OA + "end"),
            sha256=self.one(node, B12 + "sha256"),
            paraphrase=self.one(node, B12 + "paraphrase"),
            citations=tuple(self.citation(_uri(self.one(m, B12 + "marker")), references) for m in markers),
        )

    def citation(self, marker: Node, references: Mapping[str, Reference]) -> Citation:
        resolved = self.maybe(marker, B12 + "resolvesTo") is not None
        reference = self.pointer(marker, B12 + "resolvesTo", references) if resolved else None
        return Citation(self.one(marker, B12 + "number"), reference, name_of(self.one(marker, B12 + "resolution")))

    def offer(
        self, name: str, kind: str, node: Node, passages: Mapping[str, Passage], treatments: Mapping[str, Treatment]
    ) -> Offer:
        components = [self.component(c, passages) for c in self.all(node, B12 + "component")]
        return Offer(
            id=name,
            iri=str(node),
            kind=kind,
            label=self.one(node, RDFS + "label"),
            direction=name_of(self.one(node, B12 + "direction")),
            treatment=self.pointer(node, B12 + "regimenOf", treatments) if kind == "Regimen" else None,
            refines=self.names(node, B12 + "refines"),
            components=tuple(c for _, c in sorted(components, key=lambda item: item[0])),
            passages=self.pointers(node, PROV + "wasDerivedFrom", passages),
            editorial=self.texts(node, B12 + "editorialReason"),
        )

    _KINDS: ClassVar[dict[str, str]] = {
        "Dose": "dose",
        "Administration": "route",
        "PreparationChoice": "preparation",
        "Timing": "timing",
        "Duration": "duration",
        "StopCondition": "until",
        "StartCondition": "start",
        "Precondition": "precondition",
    }
    _NUMBERS = ("low", "high", "frequency", "period", "periodMax", "fromDay", "toDay", "boundValue")
    _WORDS = ("unit", "periodUnit", "boundUnit")
    _POINTERS = ("route", "preparation")
    _FLAGS = ("lifelong", "priorEnded")
    # What a component says of these kinds, unless it says that the document does not state it.
    _SAYS: ClassVar[dict[str, tuple[str, ...]]] = {
        "dose": ("low", "high", "unit"),
        "route": ("route",),
        "preparation": ("preparation",),
    }

    # Units of time by which a calendar and FHIR can count; and the most days that a course has.
    _TIMES = ("min", "h", "d", "wk", "mo", "a")
    _MOST_DAYS = 36_500
    _TOGETHER = (("frequency", "period", "periodUnit"), ("boundValue", "boundUnit"), ("fromDay", "toDay"))

    def times(self, node: Node, values: Mapping[str, str | int | float | bool]) -> None:
        """What a component says of times is complete, positive and in a unit of time."""
        for keys in self._TOGETHER:
            for key in keys if any(key in values for key in keys) else ():
                if key not in values:
                    self.problem(node, B12 + key, "missing", "", f"all of {', '.join(keys)}")
                elif key.endswith("Unit") and values[key] not in self._TIMES:
                    self.problem(node, B12 + key, "no unit of time", str(values[key]), ", ".join(self._TIMES))
                elif not key.endswith("Unit") and not 0 < float(values[key]) <= self._MOST_DAYS:
                    self.problem(node, B12 + key, "not such a time", str(values[key]), f"over 0, to {self._MOST_DAYS}")
        for first, last in (("period", "periodMax"), ("fromDay", "toDay")):
            if first in values and last in values and float(values[last]) < float(values[first]):
                self.problem(node, B12 + last, f"less than {first}", str(values[last]), f"{values[first]} or more")

    def component(self, node: Node, passages: Mapping[str, Passage]) -> tuple[tuple[int, int], Component]:
        types = [self._KINDS[t] for t in self.names(node, RDF + "type") if t in self._KINDS]
        if len(types) != 1:
            found = ", ".join(self.names(node, RDF + "type"))
            self.problem(node, RDF + "type", "not one kind of component", found, ", ".join(self._KINDS))
            types = ["dose"]
        values: dict[str, str | int | float | bool] = {}
        for key in self._NUMBERS:
            if self.maybe(node, B12 + key) is not None:
                number = self.number(node, B12 + key)
                values[key] = int(number) if number == number.to_integral_value() else float(number)
        values |= {key: text for key in self._WORDS if (text := self.text(node, B12 + key)) is not None}
        values |= {key: name_of(iri) for key in self._POINTERS if (iri := self.text(node, B12 + key)) is not None}
        values |= {key: True for key in self._FLAGS if self.flag(node, B12 + key)}
        not_stated = self.flag(node, B12 + "notStated")
        for key in () if not_stated else self._SAYS.get(types[0], ()):
            if key not in values:
                self.problem(node, B12 + key, "missing", "", f"a value, as a stated {types[0]} has one")
        self.times(node, values)
        component = Component(
            kind=types[0],
            text=None if not_stated else self.one(node, RDFS + "label"),
            values=values,
            passages=self.pointers(node, PROV + "wasDerivedFrom", passages),
            editorial=self.texts(node, B12 + "editorialReason"),
        )
        order = int(self.text(node, B12 + "order") or 0)
        return (list(self._KINDS.values()).index(types[0]), order), component

    def decision(
        self, name: str, node: Node, phenotypes: Mapping[str, Phenotype], earlier: Mapping[str, Decision]
    ) -> Decision:
        after = self.text(node, B12 + "comesAfter")
        if after is not None and name_of(after) not in earlier:
            self.problem(
                node, B12 + "comesAfter", "points to no decision of an earlier place", after, ", ".join(earlier)
            )
        return Decision(
            name=name,
            iri=str(node),
            label=self.one(node, RDFS + "label"),
            concerns=self.pointer(node, B12 + "concerns", phenotypes),
            when_silent=self.text(node, B12 + "whenSilent"),
            comes_after=None if after is None else name_of(after),
        )

    def rule(
        self,
        name: str,
        node: Node,
        decisions: Mapping[str, Decision],
        phenotypes: Mapping[str, Phenotype],
        offers: Mapping[str, Offer],
        passages: Mapping[str, Passage],
    ) -> Rule:
        support = [Support(passage) for passage in self.pointers(node, PROV + "wasDerivedFrom", passages)]
        for limited in self.all(node, PROV + "qualifiedDerivation"):
            passage = self.pointer(limited, PROV + "entity", passages)
            only_for = self.pointer(limited, B12 + "onlyFor", phenotypes)
            support.append(Support(passage, only_for, self.texts(limited, B12 + "editorialReason")))
        alert = self.maybe(node, B12 + "alertWhen") is not None
        for property_, found in (
            ("decision", self.names(node, B12 + "decision")),
            ("offers", self.names(node, B12 + "offers")),
        ):
            if not found:
                self.problem(node, B12 + property_, "missing", "", "at least one")
        return Rule(
            name=name,
            iri=str(node),
            label=self.one(node, RDFS + "label"),
            decisions=self.pointers(node, B12 + "decision", decisions),
            phenotype=self.pointer(node, B12 + "appliesTo", phenotypes),
            modality=name_of(self.one(node, B12 + "modality")),
            offers=self.pointers(node, B12 + "offers", offers),
            support=tuple(sorted(support, key=lambda s: passages[s.passage].start if s.passage in passages else 0)),
            editorial=self.texts(node, B12 + "editorialReason"),
            alert_when=self.pointer(node, B12 + "alertWhen", phenotypes) if alert else None,
        )

    def override(self, node: Node, rules: Mapping[str, Rule], passages: Mapping[str, Passage]) -> Override:
        return Override(
            preferred=self.pointer(node, B12 + "preferred", rules),
            over=self.pointer(node, B12 + "over", rules),
            basis=name_of(self.one(node, B12 + "basis")),
            passages=self.pointers(node, PROV + "wasDerivedFrom", passages),
            editorial=self.texts(node, B12 + "editorialReason"),
        )

    def expected(self, node: Node, decisions: Mapping[str, Decision], rules: Mapping[str, Rule]) -> ExpectedFinding:
        return ExpectedFinding(
            kind=name_of(self.one(node, B12 + "findingKind")),
            decision=self.pointer(node, B12 + "inDecision", decisions),
            rules=self.pointers(node, B12 + "rule", rules),
            patients=self.one(node, B12 + "patients"),
            reason=self.one(node, B12 + "editorialReason"),
        )

    def expected_by_audit(self, node: Node) -> ExpectedAuditFinding:
        return ExpectedAuditFinding(
            check=self.one(node, B12 + "check"),
            about=tuple(sorted(str(iri) for iri in self.graph.objects(node, _uri(B12 + "about")))),
            reason=self.one(node, B12 + "editorialReason"),
            sha256=next((str(digest) for digest in self.graph.objects(node, _uri(B12 + "sha256"))), None),
        )

    def argument(
        self,
        name: str,
        node: Node,
        phenotypes: Mapping[str, Phenotype],
        offers: Mapping[str, Offer],
        passages: Mapping[str, Passage],
    ) -> Argument:
        return Argument(
            id=name,
            iri=str(node),
            label=self.one(node, RDFS + "label"),
            definition=self.one(node, SKOS + "definition"),
            passages=self.pointers(node, PROV + "wasDerivedFrom", passages),
            phenotype=self.pointer(node, B12 + "appliesTo", phenotypes),
            for_=self.pointers(node, B12 + "for", offers),
            against=self.pointers(node, B12 + "against", offers),
            proviso=self.text(node, B12 + "proviso"),
            editorial=self.texts(node, B12 + "editorialReason"),
        )

    # -- class expressions

    def impossible(
        self, concepts: Mapping[str, Concept], phenotypes: Mapping[str, Phenotype]
    ) -> tuple[ClassExpression, ...]:
        """What no patient is in: two disjoint phenotypes at once, and a concept that is a kind of two disjoint ones.

        A patient may well have findings of two disjoint concepts: they are two findings.
        """

        def kinds(name: str) -> set[str]:
            return {name}.union(*(kinds(other) for other, concept in concepts.items() if name in concept.parents))

        found: list[ClassExpression] = []
        for one, other in sorted(self.graph.subject_objects(_uri(OWL + "disjointWith"))):
            names = name_of(str(one)), name_of(str(other))
            if all(name in phenotypes for name in names):
                found.append(ObjectIntersectionOf(tuple(phenotypes[name].expression for name in names)))
            elif all(name in concepts for name in names):
                found += map(ObjectSomeValuesFrom, sorted(kinds(names[0]) & kinds(names[1])))
            else:
                self.unsupported(one, f"disjointWith {other}")
        a, kind_of = _uri(RDF + "type"), _uri(RDFS + "subClassOf")
        for node in sorted(self.graph.subjects(a, _uri(OWL + "AllDisjointClasses")), key=str):
            self.unsupported(node, "AllDisjointClasses")
        for one, other in sorted(self.graph.subject_objects(kind_of)):
            if name_of(str(one)) in phenotypes:
                self.unsupported(one, f"subClassOf {other}")
        return tuple(found)

    def unsupported(self, node: Node, axiom: str) -> None:
        accepted = "disjointWith between two phenotypes, or between two concepts"
        raise UnsupportedConstruct([Problem(name_of(str(node)), "unsupported axiom", axiom, accepted)])

    def definition(
        self, node: Node, concepts: Mapping[str, Concept], by_property: Mapping[str, str]
    ) -> ClassExpression:
        equivalent = self.all(node, OWL + "equivalentClass")
        if len(equivalent) != 1:
            self.problem(node, OWL + "equivalentClass", "a phenotype has one definition", str(len(equivalent)), "one")
            return Class(B12 + "Patient")
        return self.expression(node, equivalent[0], concepts, by_property)

    def expression(
        self, owner: Node, node: Node, concepts: Mapping[str, Concept], by_property: Mapping[str, str]
    ) -> ClassExpression:
        def below(inner: Node) -> ClassExpression:
            return self.expression(owner, inner, concepts, by_property)

        if str(node) == B12 + "Patient":
            return Class(str(node))
        constructors = [p for p in map(str, self.graph.predicates(node)) if p in _CONSTRUCTORS]
        if len(constructors) > 1:
            what = ", ".join(sorted(name_of(p.replace("#", "/")) for p in constructors))
            message = "several constructs in one class expression"
            raise UnsupportedConstruct([Problem(name_of(str(owner)), message, what, "one")])
        for property_, make in ((OWL + "intersectionOf", ObjectIntersectionOf), (OWL + "unionOf", ObjectUnionOf)):
            for operands in self.graph.objects(node, _uri(property_)):
                return make(tuple(below(operand) for operand in self.graph.items(operands)))
        for operand in self.graph.objects(node, _uri(OWL + "complementOf")):
            return ObjectComplementOf(below(operand))
        property_node = self.text(node, OWL + "onProperty")
        filler = self.maybe(node, OWL + "someValuesFrom")
        value = self.maybe(node, OWL + "hasValue")
        if property_node == B12 + "hasFinding" and filler is not None and name_of(str(filler)) in concepts:
            return ObjectSomeValuesFrom(name_of(str(filler)))
        if property_node is not None and property_node in by_property and filler is not None:
            return DataSomeValuesFrom(by_property[property_node], self.facets(owner, filler))
        if property_node == B12 + JURISDICTION and value is not None:
            return DataHasValue(JURISDICTION, str(value))
        axiom = " ".join(
            f"{name_of(str(p).replace('#', '/'))} {o}" for _, p, o in self.graph.triples((node, None, None))
        )
        accepted = (
            "intersection, union, complement, hasFinding some concept, quantity some threshold, jurisdiction value"
        )
        raise UnsupportedConstruct(
            [Problem(name_of(str(owner)), "unsupported class expression", axiom or str(node), accepted)]
        )

    def facets(self, owner: Node, datatype: Node) -> tuple[FacetRestriction, ...]:
        """The bounds of a named threshold; none for the datatype of all decimals."""
        if str(datatype) == XSD + "decimal":
            return ()
        definition = self.maybe(datatype, OWL + "equivalentClass")
        restrictions = None if definition is None else self.maybe(definition, OWL + "withRestrictions")
        if restrictions is None:
            raise UnsupportedConstruct(
                [Problem(name_of(str(owner)), "not a datatype with restrictions", str(datatype), "a threshold")]
            )
        found = []
        for node in self.graph.items(restrictions):
            for property_, value in self.graph.predicate_objects(node):
                known = [facet for facet in get_args(Facet) if XSD + facet == str(property_)]
                if not known:
                    raise UnsupportedConstruct([Problem(name_of(str(datatype)), "unsupported facet", str(property_))])
                found.append(FacetRestriction(known[0], Decimal(str(value))))
        low = {bound.value for bound in found if bound.facet == "minInclusive"}
        if low & {bound.value for bound in found if bound.facet == "maxInclusive"}:
            # HermiT 1.3.8 finds numbers outside a range from a number to itself to be in it.
            raise UnsupportedConstruct(
                [Problem(name_of(str(datatype)), "a threshold of one number", str(low.pop()), "a range")]
            )
        return tuple(sorted(found, key=lambda bound: (bound.facet, bound.value)))
