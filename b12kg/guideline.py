"""A guideline as typed values.

Owns the values that every stage shares: concepts, quantities, phenotypes, rules, offers, passages.
How they are read from Turtle is for turtle.py. Holds no clinical fact: every name comes from a graph.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from b12kg.expression import (
    ClassExpression,
    DataHasValue,
    DataSomeValuesFrom,
    FacetRestriction,
    Leaf,
    feature_of,
    leaves,
)

if TYPE_CHECKING:
    from rdflib import Graph

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
    editorial: tuple[str, ...]


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
    editorial: tuple[str, ...] = ()


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
    """What a rule puts forward; ``kind`` is Regimen, Preparation or Action; ``treatment`` is what a regimen gives."""

    id: str
    iri: str
    kind: str
    label: str
    direction: str
    treatment: str | None
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

    @property
    def merely_permits(self) -> bool:
        """Whether its offers may be taken rather than are advised."""
        return self.modality == "permits"


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
    """A question that the guideline answers; ``concerns`` is the phenotype it is about.

    ``comes_after`` is the decision whose treatment comes before the treatment of this one.
    """

    name: str
    iri: str
    label: str
    concerns: str
    when_silent: str | None
    comes_after: str | None


@dataclass(frozen=True, slots=True)
class ExpectedFinding:
    """A finding that the source itself causes, by what identifies it, and the reason."""

    kind: str
    decision: str
    rules: tuple[str, ...]
    patients: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExpectedAuditFinding:
    """What one check of the audit finds because the source is so: the IRIs of what it is about, and the reason."""

    check: str
    about: tuple[str, ...]
    reason: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Bin:
    """A range of a quantity within which no threshold of the guideline lies."""

    restrictions: tuple[FacetRestriction, ...]
    label: str

    def patients(self, quantity: str) -> ClassExpression:
        """The patients of whom the quantity lies in the range; one number is a value and no range (classify.py)."""
        values = {bound.value for bound in self.restrictions}
        if len(self.restrictions) == 2 and len(values) == 1:
            return DataHasValue(quantity, values.pop())
        return DataSomeValuesFrom(quantity, self.restrictions)


@dataclass(frozen=True, eq=False)
class Guideline:
    """A guideline, worked out far enough that no stage has to look into its graph.

    Mappings are keyed by the names that records and results use; decisions are in their order.
    ``impossible`` holds the expressions that no patient is in, by what the guideline declares disjoint.
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
    impossible: tuple[ClassExpression, ...]
    expected: tuple[ExpectedFinding, ...]
    expected_by_audit: tuple[ExpectedAuditFinding, ...]
    files: tuple[Path, ...]
    shapes: tuple[Path, ...]

    def parents_of(self, concept: str) -> tuple[str, ...]:
        """Every concept that this one is a kind of, near or far, sorted."""
        return self._ancestors[concept]

    def kinds_of(self, concept: str) -> tuple[str, ...]:
        """Every concept that is a kind of this one, near or far, sorted."""
        return self._kinds[concept]

    @cached_property
    def _ancestors(self) -> dict[str, tuple[str, ...]]:
        def climb(name: str, seen: frozenset[str]) -> frozenset[str]:
            above = frozenset(self.concepts[name].parents) - seen
            return above.union(*(climb(parent, seen | above) for parent in above))

        return {name: tuple(sorted(climb(name, frozenset([name])))) for name in self.concepts}

    @cached_property
    def _kinds(self) -> dict[str, tuple[str, ...]]:
        above = self._ancestors
        return {name: tuple(sorted(kind for kind, parents in above.items() if name in parents)) for name in above}

    def rules_of(self, decision: str) -> tuple[Rule, ...]:
        """The rules of a decision, sorted by name."""
        return self._rules_of[decision]

    @cached_property
    def _rules_of(self) -> dict[str, tuple[Rule, ...]]:
        rules = [rule for _, rule in sorted(self.rules.items())]
        return {name: tuple(rule for rule in rules if name in rule.decisions) for name in self.decisions}

    def leaves_of(self, phenotypes: Iterable[str]) -> tuple[Leaf, ...]:
        """The leaves of the phenotypes' definitions, each once."""
        return tuple(dict.fromkeys(leaf for name in phenotypes for leaf in self._leaves[name]))

    @cached_property
    def _leaves(self) -> dict[str, tuple[Leaf, ...]]:
        return {name: tuple(dict.fromkeys(leaves(p.expression))) for name, p in self.phenotypes.items()}

    @cached_property
    def alerting(self) -> tuple[str, ...]:
        """The decisions that have a rule which raises an alert, in their order."""
        return tuple(name for name in self.decisions if any(rule.alert_when for rule in self.rules_of(name)))

    def arguments_about(self, decision: str) -> tuple[Argument, ...]:
        """The arguments for or against offers of a decision, with no other offers than these."""
        return self._arguments_about[decision]

    @cached_property
    def _arguments_about(self) -> dict[str, tuple[Argument, ...]]:
        found = {}
        for decision in self.decisions:
            offered = {offer for rule in self.rules_of(decision) for offer in rule.offers}
            limited = (
                replace(
                    argument,
                    for_=tuple(offer for offer in argument.for_ if offer in offered),
                    against=tuple(offer for offer in argument.against if offer in offered),
                )
                for argument in self.arguments
            )
            found[decision] = tuple(argument for argument in limited if argument.for_ or argument.against)
        return found

    def phenotypes_of(self, decision: str) -> tuple[str, ...]:
        """The phenotypes that the outcome of a decision depends on, sorted."""
        return tuple(sorted({rule.phenotype for rule in self.rules_of(decision)} | {self.decisions[decision].concerns}))

    def features_of(self, decision: str) -> tuple[str, ...]:
        """The names of what the outcome of a decision depends on, sorted."""
        return self.features_behind(self.phenotypes_of(decision))

    def features_behind(self, phenotypes: Iterable[str]) -> tuple[str, ...]:
        """The features that the phenotypes ask about, and those that bear on these, sorted."""
        return self.tied({feature_of(leaf) for leaf in self.leaves_of(phenotypes)})

    def tied(self, features: Iterable[str]) -> tuple[str, ...]:
        """The features, and those that what is impossible ties to them: a fact about one can settle another."""
        found = set(features)
        ties = [{feature_of(leaf) for leaf in leaves(expression)} for expression in self.impossible]
        while more := [features for features in ties if not features <= found and self._related(features, found)]:
            found = found.union(*more)
        return tuple(sorted(found))

    def _related(self, some: Iterable[str], others: set[str]) -> bool:
        """Whether one of the features is one of the others, or a kind or parent of one."""

        def relatives(feature: str) -> tuple[str, ...]:
            if feature not in self.concepts:
                return (feature,)
            return (feature, *self.parents_of(feature), *self.kinds_of(feature))

        return not others.isdisjoint(relative for feature in some for relative in relatives(feature))

    @cached_property
    def features_asked(self) -> frozenset[str]:
        """The features that some rule, decision or argument depends on."""
        asked = {
            *(name for rule in self.rules.values() for name in (rule.phenotype, rule.alert_when) if name),
            *(decision.concerns for decision in self.decisions.values()),
            *(argument.phenotype for argument in self.arguments),
        }
        return frozenset(self.features_behind(sorted(asked)))

    def bins_of(self, quantity: str) -> tuple[Bin, ...]:
        """The ranges into which the thresholds of all phenotypes cut a quantity, from low to high."""
        ranges = {facet for restrictions in self.thresholds_of(quantity) for facet in restrictions}
        return _bins(ranges, self.quantities[quantity].unit)

    def thresholds_of(self, quantity: str) -> tuple[tuple[FacetRestriction, ...], ...]:
        """The ranges of a quantity that phenotypes ask about."""
        return self._thresholds.get(quantity, ())

    @cached_property
    def _thresholds(self) -> dict[str, tuple[tuple[FacetRestriction, ...], ...]]:
        found: dict[str, tuple[tuple[FacetRestriction, ...], ...]] = {}
        for leaf in self.leaves_of(sorted(self.phenotypes)):
            if isinstance(leaf, DataSomeValuesFrom):
                found[leaf.quantity] = (*found.get(leaf.quantity, ()), leaf.restrictions)
        return found

    def codes_of_jurisdiction(self) -> tuple[str, ...]:
        """The jurisdictions that some phenotype names, sorted."""
        found = self.leaves_of(sorted(self.phenotypes))
        return tuple(sorted({str(leaf.value) for leaf in found if isinstance(leaf, DataHasValue)}))

    def refined_by(self, offer: str) -> frozenset[str]:
        """The offers that this one refines, near or far."""
        return frozenset().union(*({other, *self.refined_by(other)} for other in self.offers[offer].refines))

    def bases_of(self, preferred: Iterable[str], over: str) -> tuple[tuple[str, str], ...]:
        """Each of the preferred rules with the basis on which it overrides the other."""
        basis = {override.preferred: override.basis for override in self.overrides if override.over == over}
        return tuple((rule, basis[rule]) for rule in preferred)

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
        from rdflib import Graph

        graph = Graph()
        for path in self.files:
            graph.parse(path, format="turtle")
        return graph


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
        words = " and ".join(bound.words(unit) for bound in bounds)
        bins.append(Bin(tuple(bounds), words or "any value"))
    return tuple(bins)
