"""A guideline as typed values, read from its Turtle.

Owns the values that every stage shares (concepts, quantities, phenotypes, rules, offers, passages)
and the reading of them from the graph. Holds no clinical fact: every name comes from the graph.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, get_args

from b12kg.errors import InvalidGuideline, Problem, UnsupportedConstruct, UsageError
from b12kg.expression import (
    Class,
    ClassExpression,
    DataHasValue,
    DataSomeValuesFrom,
    Facet,
    FacetRestriction,
    Leaf,
    ObjectComplementOf,
    ObjectIntersectionOf,
    ObjectSomeValuesFrom,
    ObjectUnionOf,
    feature_of,
    leaves,
)
from b12kg.iris import B12, DCTERMS, OA, OWL, PROV, RDF, RDFS, SKOS, XSD, name_of
from b12kg.resources import GUIDELINES, ONTOLOGY, QUERIES, SHAPES

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

# The feature of a record that is neither a concept nor a quantity: a property of the vocabulary.
JURISDICTION = "jurisdiction"


@dataclass(frozen=True, slots=True)
class Concept:
    """What a record may state as present or absent; ``parents`` are the concepts it is a kind of."""

    name: str
    iri: str
    label: str
    definition: str
    parents: tuple[str, ...]
    immutable: bool


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a record may give a value of; ``factors`` turn each accepted unit into ``unit``."""

    name: str
    iri: str
    label: str
    definition: str
    data_property: str
    unit: str
    factors: Mapping[str, Decimal]
    immutable: bool


@dataclass(frozen=True, slots=True)
class TreatmentStatus:
    """What one status of a treatment states: a concept, and whether it is present."""

    concept: str
    present: bool
    has_begun: bool


@dataclass(frozen=True, slots=True)
class Treatment:
    """A treatment whose status a record may state in place of a concept."""

    name: str
    iri: str
    label: str
    statuses: Mapping[str, TreatmentStatus]


@dataclass(frozen=True, slots=True)
class Circumstance:
    """A concept on which the guideline is silent."""

    name: str
    iri: str
    label: str


@dataclass(frozen=True, slots=True)
class Phenotype:
    """A defined class of patients."""

    name: str
    iri: str
    label: str
    expression: ClassExpression


@dataclass(frozen=True, slots=True)
class Reference:
    """A work that the document lists, with its type by our judgement and its label by the document's."""

    id: str
    iri: str
    label: str
    title: str
    type: str
    source_label: str
    strength: str
    certainty: str


@dataclass(frozen=True, slots=True)
class Citation:
    """A citation marker at a passage: which reference it means, and how that is known."""

    marker: str
    reference: str | None
    resolution: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A range of the document: half-open code point offsets, and the digest of what stands there."""

    id: str
    iri: str
    line: int
    start: int
    end: int
    sha256: str
    paraphrase: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Support:
    """A passage behind a rule; ``only_for`` names the phenotype that it is limited to."""

    passage: str
    only_for: str | None = None


@dataclass(frozen=True, slots=True)
class Component:
    """One part of an offer; ``text`` is None where no passage states it.

    Args:
        kind: dose, route, preparation, timing, duration, until, start or precondition.
        text: the component in words.
        values: its numbers, units and names, by the keys of the JSON form.
        passages: the passages that state it.
        editorial: why it is so, where no passage says quite that.
    """

    kind: str
    text: str | None
    values: Mapping[str, str | int | float | bool]
    passages: tuple[str, ...]
    editorial: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a rule puts forward; ``kind`` is Regimen, Preparation or Action."""

    id: str
    iri: str
    kind: str
    label: str
    direction: str
    refines: tuple[str, ...]
    components: tuple[Component, ...]
    passages: tuple[str, ...]
    editorial: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the document says for a phenotype in one or more decisions."""

    name: str
    iri: str
    label: str
    decisions: tuple[str, ...]
    phenotype: str
    modality: str
    offers: tuple[str, ...]
    support: tuple[Support, ...]
    editorial: tuple[str, ...]
    alert_when: str | None


@dataclass(frozen=True, slots=True)
class Override:
    """That one rule is followed rather than another, and why."""

    preferred: str
    over: str
    basis: str
    passages: tuple[str, ...]
    editorial: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Argument:
    """What a passage says for and against offers, for the patients of a phenotype."""

    id: str
    iri: str
    label: str
    definition: str
    passages: tuple[str, ...]
    phenotype: str
    for_: tuple[str, ...]
    against: tuple[str, ...]
    proviso: str | None
    editorial: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """A question that the guideline answers; ``concerns`` is the phenotype it is about."""

    name: str
    iri: str
    label: str
    concerns: str
    when_silent: str | None


@dataclass(frozen=True, slots=True)
class Bin:
    """A range of a quantity within which no threshold of the guideline lies."""

    restrictions: tuple[FacetRestriction, ...]
    label: str


@dataclass(frozen=True, eq=False)
class Guideline:
    """A guideline, worked out far enough that no stage has to look into its graph.

    Mappings are keyed by the names that records and results use; decisions are in their order.
    """

    id: str
    iri: str
    label: str
    version: str
    digest: str
    review_status: str
    last_updated: str
    publisher: str
    title: str
    preface: str
    disclaimer: str
    document: str
    concepts: Mapping[str, Concept]
    quantities: Mapping[str, Quantity]
    treatments: Mapping[str, Treatment]
    circumstances: Mapping[str, Circumstance]
    phenotypes: Mapping[str, Phenotype]
    references: Mapping[str, Reference]
    passages: Mapping[str, Passage]
    offers: Mapping[str, Offer]
    decisions: Mapping[str, Decision]
    rules: Mapping[str, Rule]
    overrides: tuple[Override, ...]
    arguments: tuple[Argument, ...]
    files: tuple[Path, ...]
    shapes: tuple[Path, ...]

    def parents_of(self, concept: str) -> tuple[str, ...]:
        """Every concept that this one is a kind of, near or far, sorted."""
        return self._ancestors[concept]

    def kinds_of(self, concept: str) -> tuple[str, ...]:
        """Every concept that is a kind of this one, near or far, sorted."""
        return tuple(sorted(kind for kind, parents in self._ancestors.items() if concept in parents))

    @cached_property
    def _ancestors(self) -> dict[str, tuple[str, ...]]:
        def climb(name: str, seen: frozenset[str]) -> frozenset[str]:
            above = frozenset(self.concepts[name].parents) - seen
            return above.union(*(climb(parent, seen | above) for parent in above))

        return {name: tuple(sorted(climb(name, frozenset([name])))) for name in self.concepts}

    def rules_of(self, decision: str) -> tuple[Rule, ...]:
        """The rules of a decision, sorted by name."""
        return tuple(rule for _, rule in sorted(self.rules.items()) if decision in rule.decisions)

    def leaves_of(self, phenotypes: Iterable[str]) -> tuple[Leaf, ...]:
        """The leaves of the phenotypes' definitions, each once."""
        found = (leaf for name in phenotypes for leaf in leaves(self.phenotypes[name].expression))
        return tuple(dict.fromkeys(found))

    def phenotypes_of(self, decision: str) -> tuple[str, ...]:
        """The phenotypes that the outcome of a decision depends on, sorted."""
        return tuple(sorted({rule.phenotype for rule in self.rules_of(decision)} | {self.decisions[decision].concerns}))

    def features_of(self, decision: str) -> tuple[str, ...]:
        """The names of what the outcome of a decision depends on, sorted."""
        return tuple(sorted({feature_of(leaf) for leaf in self.leaves_of(self.phenotypes_of(decision))}))

    def bins_of(self, quantity: str) -> tuple[Bin, ...]:
        """The ranges into which the thresholds of all phenotypes cut a quantity, from low to high."""
        ranges = {
            facet
            for leaf in self.leaves_of(sorted(self.phenotypes))
            if isinstance(leaf, DataSomeValuesFrom) and leaf.quantity == quantity
            for facet in leaf.restrictions
        }
        return _bins(ranges, self.quantities[quantity].unit)

    def codes_of_jurisdiction(self) -> tuple[str, ...]:
        """The jurisdictions that some phenotype names, sorted."""
        found = self.leaves_of(sorted(self.phenotypes))
        return tuple(sorted({str(leaf.value) for leaf in found if isinstance(leaf, DataHasValue)}))

    def iris_of_names(self) -> dict[str, str]:
        """The IRI of every name that a record may use."""
        return {
            **{name: concept.iri for name, concept in self.concepts.items()},
            **{name: quantity.iri for name, quantity in self.quantities.items()},
            **{name: treatment.iri for name, treatment in self.treatments.items()},
            **{name: circumstance.iri for name, circumstance in self.circumstances.items()},
        }

    def label_of(self, feature: str) -> str:
        """The words for a feature, as people read them."""
        if feature in self.concepts:
            return self.concepts[feature].label
        return self.quantities[feature].label if feature in self.quantities else feature

    def graph(self) -> Graph:
        """The guideline's own graph: all its Turtle files, merged. Shared: do not change it."""
        return self._graph

    @cached_property
    def _graph(self) -> Graph:
        return _parse(self.files)


def _bins(cuts: Iterable[FacetRestriction], unit: str) -> tuple[Bin, ...]:
    """Ranges between the cuts; a cut lies just below a number or just above it."""
    just_above = {"minExclusive": True, "maxInclusive": True, "minInclusive": False, "maxExclusive": False}
    edges = sorted({(cut.value, just_above[cut.facet]) for cut in cuts})
    bins = []
    for low, high in itertools.pairwise([None, *edges, None]):
        bounds: list[FacetRestriction] = []
        if low is not None:
            bounds.append(FacetRestriction("minExclusive" if low[1] else "minInclusive", low[0]))
        if high is not None:
            bounds.append(FacetRestriction("maxInclusive" if high[1] else "maxExclusive", high[0]))
        signs = {"minExclusive": ">", "minInclusive": ">=", "maxInclusive": "<=", "maxExclusive": "<"}
        words = " and ".join(f"{signs[b.facet]} {b.value.normalize():f} {unit}" for b in bounds)
        bins.append(Bin(tuple(bounds), words or "any value"))
    return tuple(bins)


# ---- reading -----------------------------------------------------------------------------------


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
    folder = _folder(where)
    files = _modules(folder)
    beside = [SHAPES / path.name for path in files if path.parent == ONTOLOGY]
    shapes = tuple(path for path in (SHAPES / "record.ttl", *beside, folder / "shapes.ttl") if path.is_file())
    return _Reader(_parse(files), files, shapes, _digest(folder, files)).guideline()


def _folder(where: str | Path | None) -> Path:
    shipped = sorted(path.name for path in GUIDELINES.iterdir() if path.is_dir())
    if where is None:
        if len(shipped) != 1:
            raise UsageError(f"name one of the guidelines: {', '.join(shipped)}")
        return GUIDELINES / shipped[0]
    for folder in (Path(where), GUIDELINES / where):
        if folder.is_dir() and any(folder.glob("*.ttl")):
            return folder
    raise UsageError(f"no folder of Turtle at {str(where)!r}, and no such guideline is shipped: {', '.join(shipped)}")


def _modules(folder: Path) -> tuple[Path, ...]:
    """The folder's files, and the shared modules that they import."""
    own = sorted(path for path in folder.glob("*.ttl") if path.name != "shapes.ttl")
    shared = {B12 + "vocabulary": ONTOLOGY / "vocabulary.ttl", B12 + "clinical": ONTOLOGY / "clinical.ttl"}
    imported = {str(iri) for iri in _parse(own).objects(None, _uri(OWL + "imports"))}
    return (*(path for iri, path in shared.items() if iri in imported or iri == B12 + "vocabulary"), *own)


def _digest(folder: Path, files: Iterable[Path]) -> str:
    """Over every file whose content can change an answer: path from the project's or the folder's top."""
    used = {*files, *SHAPES.glob("*.ttl"), *folder.glob("*.ttl"), *(QUERIES / "decide").glob("*.rq")}

    def named(path: Path) -> str:
        if path.is_relative_to(folder):
            return f"guideline/{path.relative_to(folder).as_posix()}"
        return path.relative_to(ONTOLOGY.parent).as_posix()

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
            name: Phenotype(name, str(n), self.one(n, RDFS + "label"), self.definition(n, concepts, by_property))
            for name, n in self.instances("Phenotype")
        }
        references = {name: self.reference(name, n) for name, n in self.instances("Reference")}
        passages = {name: self.passage(name, n, references) for name, n in self.instances("Passage")}
        offers = {
            name: self.offer(name, kind, n, passages)
            for kind in ("Action", "Preparation", "Regimen")
            for name, n in self.instances(kind)
        }
        ordered = sorted(self.instances("Decision"), key=lambda item: self.whole(item[1], B12 + "order"))
        decisions = {name: self.decision(name, n, phenotypes) for name, n in ordered}
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
            version=self.one(node, "http://purl.org/pav/version"),
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

    def offer(self, name: str, kind: str, node: Node, passages: Mapping[str, Passage]) -> Offer:
        components = [self.component(c, passages) for c in self.all(node, B12 + "component")]
        return Offer(
            id=name,
            iri=str(node),
            kind=kind,
            label=self.one(node, RDFS + "label"),
            direction=name_of(self.one(node, B12 + "direction")),
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
        if self.flag(node, B12 + "lifelong"):
            values["lifelong"] = True
        component = Component(
            kind=types[0],
            text=None if self.flag(node, B12 + "notStated") else self.one(node, RDFS + "label"),
            values=values,
            passages=self.pointers(node, PROV + "wasDerivedFrom", passages),
            editorial=self.texts(node, B12 + "editorialReason"),
        )
        order = int(self.text(node, B12 + "order") or 0)
        return (list(self._KINDS.values()).index(types[0]), order), component

    def decision(self, name: str, node: Node, phenotypes: Mapping[str, Phenotype]) -> Decision:
        concerns = self.pointer(node, B12 + "concerns", phenotypes)
        return Decision(name, str(node), self.one(node, RDFS + "label"), concerns, self.text(node, B12 + "whenSilent"))

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
            support.append(Support(passage, self.pointer(limited, B12 + "onlyFor", phenotypes)))
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
        return tuple(sorted(found, key=lambda bound: (bound.facet, bound.value)))
