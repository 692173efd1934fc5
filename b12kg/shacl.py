"""SHACL Core shapes as values, and what they find in a graph of plain values.

Owns the constructs of SHACL that a record's shapes may use, named as in the recommendation, and what
each means. Anything else raises: a constraint is never skipped. What a result says of the record is
for validate.py. Source: Shapes Constraint Language, W3C Recommendation of 2017-07-20, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from b12kg.errors import Problem, Severity, UnsupportedConstruct
from b12kg.iris import RDF, RDFS, SH, XSD

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node


class Iri(str):
    """An IRI, as against a text."""

    __slots__ = ()


Term = Iri | str | Decimal | date
# What a node says by each property: values without repetition.
Properties = Mapping[str, Collection[Term]]
Nodes = Mapping[str, Properties]
TYPE = RDF + "type"


@dataclass(frozen=True, slots=True)
class PredicatePath:
    """The values of one property."""

    property: str


@dataclass(frozen=True, slots=True)
class OneOrMorePath:
    """The nodes that are reached by a path taken once or more often."""

    path: Path_


@dataclass(frozen=True, slots=True)
class SequencePath:
    """The values of the last path from the values of those before it."""

    paths: tuple[Path_, ...]


Path_ = PredicatePath | OneOrMorePath | SequencePath


@dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint component with its parameter.

    Args:
        component: the local name of its parameter, such as ``maxCount`` or ``disjoint``; minCount is the shape's own.
        value: a number, or the IRI of a property or datatype.
    """

    component: str
    value: str | Decimal


@dataclass(frozen=True, slots=True)
class PropertyShape:
    """Constraints on what a path leads to: how many values at least, and what holds for those there are."""

    path: Path_
    min_count: int
    constraints: tuple[Constraint, ...]
    severity: Severity
    message: str


# The property shapes for every node of a class, by the class.
Shapes = Mapping[Term, tuple[PropertyShape, ...]]


@dataclass(frozen=True, slots=True)
class Result:
    """A validation result; ``path`` is None where it is no single property, ``value`` where no value is at fault."""

    focus: str
    path: str | None
    value: Term | None
    severity: Severity
    message: str


# ---- reading -----------------------------------------------------------------------------------

_SEVERITIES: dict[str, Severity] = {SH + "Violation": "error", SH + "Warning": "warning"}
# What a shape may say about itself without constraining anything.
_ANNOTATIONS = {TYPE, RDFS + "label", SH + "name", SH + "path", SH + "severity", SH + "message", SH + "property"}
_ANNOTATIONS |= {SH + "targetClass", RDFS + "isDefinedBy", RDFS + "comment", SH + "description", SH + "order"}


def compile_shapes(paths: Iterable[Path]) -> Shapes:
    """The shapes in some Turtle files.

    Raises:
        UnsupportedConstruct: a shape uses something that has no meaning here.
    """
    from rdflib import Graph

    graph = Graph()
    for path in paths:
        graph.parse(path, format="turtle")
    return _Compiler(graph).shapes()


class _Compiler:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def shapes(self) -> Shapes:
        targets = sorted(self.graph.subject_objects(self._uri(SH + "targetClass")), key=str)
        used = {*(node for node, _ in targets), *self.graph.objects(None, self._uri(SH + "property"))}
        for kind in ("NodeShape", "PropertyShape"):
            for node in self.graph.subjects(self._uri(TYPE), self._uri(SH + kind)):
                if node not in used:
                    raise _unsupported(node, "shape without a targetClass", kind)
        found: dict[Term, tuple[PropertyShape, ...]] = {}
        for node, class_ in targets:
            found[str(class_)] = (*found.get(str(class_), ()), *self._properties(node))
        return found

    def _properties(self, node: Node) -> Iterator[PropertyShape]:
        for property_, value in self.graph.predicate_objects(node):
            if str(property_) not in _ANNOTATIONS:
                raise _unsupported(node, "construct of a node shape", f"{property_} {value}")
        for shape in sorted(self.graph.objects(node, self._uri(SH + "property")), key=str):
            yield self._property(shape)

    def _property(self, node: Node) -> PropertyShape:
        message, severity = (self.graph.value(node, self._uri(SH + name)) for name in ("message", "severity"))
        if message is None or str(severity) not in _SEVERITIES:
            raise _unsupported(node, "shape without a message and a severity of Violation or Warning", str(severity))
        path = self.graph.value(node, self._uri(SH + "path"))
        least = self.graph.value(node, self._uri(SH + "minCount"))
        constraints = [
            self._constraint(node, str(property_), value)
            for property_, value in self.graph.predicate_objects(node)
            if str(property_) not in _ANNOTATIONS | {SH + "minCount"}
        ]
        if path is None or (not constraints and least is None):
            raise _unsupported(node, "shape without a path and a constraint", str(path))
        return PropertyShape(
            self._path(node, path),
            0 if least is None else int(str(least)),
            tuple(sorted(constraints, key=lambda constraint: constraint.component)),
            _SEVERITIES[str(severity)],
            str(message),
        )

    def _constraint(self, node: Node, property_: str, value: Node) -> Constraint:
        from rdflib import Literal, URIRef

        component = property_.removeprefix(SH)
        if component not in _COMPONENTS:
            raise _unsupported(node, "constraint", f"{property_} {value}")
        if isinstance(value, URIRef):
            return Constraint(component, str(value))
        if isinstance(value, Literal) and str(value.datatype) in (XSD + "decimal", XSD + "integer"):
            return Constraint(component, Decimal(str(value)))
        raise _unsupported(node, f"value of {component}", str(value))

    def _path(self, shape: Node, node: Node) -> Path_:
        from rdflib import URIRef

        if isinstance(node, URIRef):
            return PredicatePath(str(node))
        parts = {str(property_): value for property_, value in self.graph.predicate_objects(node)}
        if RDF + "first" in parts:
            return SequencePath(tuple(self._path(shape, step) for step in self.graph.items(node)))
        if parts.keys() == {SH + "oneOrMorePath"}:
            return OneOrMorePath(self._path(shape, parts[SH + "oneOrMorePath"]))
        raise _unsupported(shape, "path", ", ".join(sorted(parts)))

    @staticmethod
    def _uri(iri: str) -> Node:
        from rdflib import URIRef

        return URIRef(iri)


def _unsupported(node: Node, what: str, found: str) -> UnsupportedConstruct:
    accepted = f"SHACL Core: targetClass, property, minCount, {', '.join(sorted(_COMPONENTS))}"
    return UnsupportedConstruct([Problem(str(node), f"unsupported {what}", found, accepted)])


# ---- meaning -----------------------------------------------------------------------------------


def check(shapes: Shapes, nodes: Nodes) -> list[Result]:
    """What the shapes find in a graph.

    >>> shape = PropertyShape(PredicatePath("p"), 0, (Constraint("maxCount", Decimal(1)),), "error", "too many")
    >>> [r.message for r in check({"C": (shape,)}, {"n": {TYPE: ["C"], "p": ["x", "y"]}})]
    ['too many']
    """
    results: list[Result] = []
    for focus, properties in nodes.items():
        for class_ in properties.get(TYPE, ()):
            for shape in shapes.get(class_, ()):
                path = shape.path
                name = path.property if isinstance(path, PredicatePath) else None
                values = _follow(path, [focus], nodes) if name is None else properties.get(name, ())
                if values:
                    for constraint in shape.constraints:
                        at_fault = _COMPONENTS[constraint.component](values, constraint.value, properties)
                        results += [Result(focus, name, value, shape.severity, shape.message) for value in at_fault]
                if shape.min_count and len(values) < shape.min_count:
                    results.append(Result(focus, name, None, shape.severity, shape.message))
    return results


def _follow(path: Path_, start: Iterable[Term], nodes: Nodes) -> list[Term]:
    """The nodes that a path leads to, each once."""
    match path:
        case PredicatePath(property_):
            found = (value for node in start for value in nodes.get(str(node), {}).get(property_, ()))
            return list(dict.fromkeys(found))
        case SequencePath(paths):
            reached = list(start)
            for step in paths:
                reached = _follow(step, reached, nodes)
            return reached
        case OneOrMorePath(step):
            seen: dict[Term, None] = {}
            ahead = _follow(step, start, nodes)
            while ahead:
                seen |= dict.fromkeys(ahead)
                ahead = [node for node in _follow(step, ahead, nodes) if node not in seen]
            return list(seen)


# A component finds the values at fault among some, or None once where their number is.
Component = Callable[[Collection[Term], str | Decimal, Properties], Iterable[Term | None]]


def _max_count(values: Collection[Term], most: Term, _: object) -> list[None]:
    return [] if len(values) <= _number(most) else [None]


def _datatype(values: Collection[Term], wanted: Term, _: object) -> list[Term]:
    return [value for value in values if _DATATYPES[type(value)] != wanted]


def _disjoint(values: Collection[Term], property_: Term, focus: Properties) -> list[Term]:
    others = focus.get(str(property_), ())
    return [value for value in values if value in others]


def _less_than_or_equals(values: Collection[Term], property_: Term, focus: Properties) -> list[Term]:
    others = focus.get(str(property_), ())
    return [value for value in values for other in others if not _compare(value, other, _AT_MOST)]


def _bound(holds: frozenset[int], values: Collection[Term], bound: Term, _: object) -> list[Term]:
    return [value for value in values if not _compare(value, bound, holds)]


def _compare(one: Term, other: Term, wanted: frozenset[int]) -> bool:
    """Whether two terms compare as wanted; those that cannot be compared do not."""
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return (one > other) - (one < other) in wanted
    if isinstance(one, date) and isinstance(other, date):
        return (one > other) - (one < other) in wanted
    return False


def _number(value: Term) -> int:
    if not isinstance(value, Decimal):
        raise TypeError(f"a count is a number, not {value!r}")
    return int(value)


_AT_MOST, _AT_LEAST, _LESS, _MORE = frozenset({-1, 0}), frozenset({0, 1}), frozenset({-1}), frozenset({1})
_DATATYPES: dict[type, str | None] = {str: XSD + "string", Decimal: XSD + "decimal", date: XSD + "date", Iri: None}
_COMPONENTS: dict[str, Component] = {
    "maxCount": _max_count,
    "datatype": _datatype,
    "disjoint": _disjoint,
    "lessThanOrEquals": _less_than_or_equals,
    "minInclusive": partial(_bound, _AT_LEAST),
    "minExclusive": partial(_bound, _MORE),
    "maxInclusive": partial(_bound, _AT_MOST),
    "maxExclusive": partial(_bound, _LESS),
}
