"""OWL class expressions over patients, as values named as in the OWL 2 structural specification.

Owns the constructs that a phenotype may use, the features that an expression depends on, and what
an expression comes to for a patient of whom some facts are unknown. Does not read or write RDF.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import singledispatch
from typing import Literal

from b12kg.errors import Problem, UnsupportedConstruct

Facet = Literal["minInclusive", "minExclusive", "maxInclusive", "maxExclusive"]
Truth = Literal["entailed", "excluded", "unknown"]

_SIGNS: dict[Facet, str] = {"minExclusive": ">", "minInclusive": ">=", "maxInclusive": "<=", "maxExclusive": "<"}


@dataclass(frozen=True, slots=True)
class Class:
    """A named class that is not taken apart: the class of all patients."""

    iri: str


@dataclass(frozen=True, slots=True)
class ObjectSomeValuesFrom:
    """Patients who have a finding of a concept; ``concept`` is its name."""

    concept: str


@dataclass(frozen=True, slots=True)
class FacetRestriction:
    """One bound of a range of numbers."""

    facet: Facet
    value: Decimal

    def words(self, unit: str) -> str:
        """The bound as people write it.

        >>> FacetRestriction("minExclusive", Decimal("20.0")).words("cm")
        '> 20 cm'
        """
        return f"{_SIGNS[self.facet]} {self.value.normalize():f} {unit}"

    def holds(self, value: Decimal) -> bool:
        """Whether the number is within the bound.

        >>> FacetRestriction("minExclusive", Decimal(20)).holds(Decimal(20))
        False
        """
        match self.facet:
            case "minInclusive":
                return value >= self.value
            case "minExclusive":
                return value > self.value
            case "maxInclusive":
                return value <= self.value
            case "maxExclusive":
                return value < self.value


@dataclass(frozen=True, slots=True)
class DataSomeValuesFrom:
    """Patients of whom a quantity has a value within all the bounds; ``quantity`` is its name."""

    quantity: str
    restrictions: tuple[FacetRestriction, ...]


@dataclass(frozen=True, slots=True)
class DataHasValue:
    """Patients of whom a feature has this very value: a text, or a number in the canonical unit."""

    feature: str
    value: str | Decimal


@dataclass(frozen=True, slots=True)
class ObjectIntersectionOf:
    """Patients who are in all of the operands."""

    operands: tuple[ClassExpression, ...]


@dataclass(frozen=True, slots=True)
class ObjectUnionOf:
    """Patients who are in at least one of the operands."""

    operands: tuple[ClassExpression, ...]


@dataclass(frozen=True, slots=True)
class ObjectComplementOf:
    """Patients who are not in the operand."""

    operand: ClassExpression


ClassExpression = (
    Class
    | ObjectSomeValuesFrom
    | DataSomeValuesFrom
    | DataHasValue
    | ObjectIntersectionOf
    | ObjectUnionOf
    | ObjectComplementOf
)

Leaf = ObjectSomeValuesFrom | DataSomeValuesFrom | DataHasValue


@singledispatch
def leaves(expression: object) -> Iterable[Leaf]:
    """The parts of an expression that a fact of a record can decide, in the order they stand.

    Raises:
        UnsupportedConstruct: the expression is of a kind that has no meaning here.

    >>> some = ObjectSomeValuesFrom("A")
    >>> list(leaves(ObjectIntersectionOf((Class("p"), ObjectComplementOf(some)))))
    [ObjectSomeValuesFrom(concept='A')]
    """
    raise UnsupportedConstruct([Problem("class expression", "no meaning is given to it", found=repr(expression))])


@leaves.register
def _(expression: Class) -> Iterable[Leaf]:
    return ()


@leaves.register
def _(expression: ObjectSomeValuesFrom | DataSomeValuesFrom | DataHasValue) -> Iterable[Leaf]:
    return (expression,)


@leaves.register
def _(expression: ObjectIntersectionOf | ObjectUnionOf) -> Iterable[Leaf]:
    return (leaf for operand in expression.operands for leaf in leaves(operand))


@leaves.register
def _(expression: ObjectComplementOf) -> Iterable[Leaf]:
    return leaves(expression.operand)


def feature_of(leaf: Leaf) -> str:
    """The name of the concept, quantity or property that a leaf asks about."""
    match leaf:
        case ObjectSomeValuesFrom(concept):
            return concept
        case DataSomeValuesFrom(quantity, _):
            return quantity
        case DataHasValue(feature, _):
            return feature


def ground(expression: ClassExpression, known: Mapping[Leaf, bool]) -> tuple[Truth, frozenset[Leaf]]:
    """What an expression comes to when some of its leaves are known, and the leaves it rests on.

    Kleene's three values: sound against OWL, not complete (``A or not A`` stays unknown).

    Args:
        known: whether each leaf that is known holds.

    Returns:
        The truth, and the leaves that suffice for it; none where it is unknown.

    >>> a, b = ObjectSomeValuesFrom("A"), ObjectSomeValuesFrom("B")
    >>> truth, why = ground(ObjectIntersectionOf((a, b)), {b: False})
    >>> truth, [leaf.concept for leaf in why]
    ('excluded', ['B'])
    """
    match expression:
        case Class():
            return "entailed", frozenset()
        case ObjectComplementOf(operand):
            truth, why = ground(operand, known)
            return _OPPOSITE[truth], why
        case ObjectIntersectionOf(operands):
            return _combine([ground(operand, known) for operand in operands], decided_by="excluded")
        case ObjectUnionOf(operands):
            return _combine([ground(operand, known) for operand in operands], decided_by="entailed")
        case _:
            if expression in known:
                return ("entailed" if known[expression] else "excluded"), frozenset([expression])
            return "unknown", frozenset()


_OPPOSITE: dict[Truth, Truth] = {"entailed": "excluded", "excluded": "entailed", "unknown": "unknown"}


def _combine(operands: list[tuple[Truth, frozenset[Leaf]]], decided_by: Truth) -> tuple[Truth, frozenset[Leaf]]:
    """One operand of the deciding truth suffices; otherwise every operand has to be known."""
    deciding = frozenset[Leaf]().union(*(why for truth, why in operands if truth == decided_by))
    if any(truth == decided_by for truth, _ in operands):
        return decided_by, deciding
    if any(truth == "unknown" for truth, _ in operands):
        return "unknown", frozenset()
    return _OPPOSITE[decided_by], frozenset[Leaf]().union(*(why for _, why in operands))
