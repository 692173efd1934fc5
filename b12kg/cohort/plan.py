"""What is worked out for every row of a frame, as a value that no engine is named in.

Owns the meaning of a row: which rows are refused and why, what the value of each feature is, and which
outcome that is in each decision. The engines (polars.py, sql.py) only say how each expression is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Literal

from b12kg.cohort.outcomes import Codes, is_closed
from b12kg.countries import COUNTRIES
from b12kg.errors import Problem, UnsupportedConstruct, UsageError
from b12kg.expression import Facet
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.iris import B12, RDFS
from b12kg.shacl import Constraint, OneOrMorePath, PredicatePath, PropertyShape, SequencePath, Shapes
from b12kg.tables import NOBODY, Feature, Table, Tables
from b12kg.units import spellings

# ---- expressions -------------------------------------------------------------------------------
# Truth is three-valued, as in SQL: of something unknown it is unknown whether it is less than a number.


@dataclass(frozen=True, slots=True)
class Column:
    """The cell of a column."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """A fixed text."""

    value: str


@dataclass(frozen=True, slots=True)
class Whole:
    """A fixed whole number."""

    value: int


@dataclass(frozen=True, slots=True)
class IsKnown:
    """Whether something is not null; never unknown itself."""

    of: Node


@dataclass(frozen=True, slots=True)
class IsFinite:
    """Whether a double is neither NaN nor infinite."""

    of: Node


@dataclass(frozen=True, slots=True)
class Compare:
    """How a number compares with a fixed one."""

    of: Node
    sign: Literal["<", "<=", ">", ">="]
    number: float


@dataclass(frozen=True, slots=True)
class OneOf:
    """Whether a text is one of some."""

    of: Node
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matches:
    """Whether the whole of a text matches a pattern that every engine reads in the same way."""

    of: Node
    pattern: str


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; of something unknown unknown."""

    of: Node


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True if any is, else unknown if any is unknown, else false."""

    of: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """False if any is, else unknown if any is unknown, else true."""

    of: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """The value beside the first condition that is true, else the last value; None is null."""

    cases: tuple[tuple[Node, Node], ...]
    otherwise: Node | None


@dataclass(frozen=True, slots=True)
class Double:
    """A number of another type, or a text that is one, as a double."""

    of: Node


@dataclass(frozen=True, slots=True)
class Shown:
    """A number as text, with all its digits."""

    of: Node


@dataclass(frozen=True, slots=True)
class Sum:
    """Whole numbers, each times a fixed one, added up."""

    terms: tuple[tuple[int, Node], ...]


@dataclass(frozen=True, slots=True)
class Lookup:
    """The entry of a list at a place; all are codes or all are texts.

    Args:
        given: whether the place is a caller's, so that one that is not within the list has to be an error.
    """

    entries: tuple[int, ...] | tuple[str, ...]
    at: Node
    given: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """The texts that are known, in their order, with a separator between them."""

    texts: tuple[Node, ...]
    separator: str


Node = (
    Column
    | Text
    | Whole
    | IsKnown
    | IsFinite
    | Compare
    | OneOf
    | Matches
    | Not
    | AnyOf
    | AllOf
    | Case
    | Double
    | Shown
    | Sum
    | Lookup
    | Joined
)


# ---- columns -----------------------------------------------------------------------------------

Type = Literal["boolean", "string", "double"]
# Between the reasons for which one row is refused.
SEPARATOR = " | "
# The key of a row where the caller names no column: its number, from 0.
ROW = "row"
_UNIT = "_unit"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column of a frame holds.

    Args:
        type: ``text`` is for files that hold nothing but text, whose cells are then read; ``decimal`` are numbers
            of more digits than every double has; ``null`` holds nothing; ``other`` is any type that no feature has.
        name: as the engine calls it.
        largest: the number up to which every number of the type is exact as a double, where there is one.
    """

    type: Literal["boolean", "string", "double", "number", "decimal", "text", "null", "other"]
    name: str
    largest: float | None = None


def schema(guideline: Guideline) -> dict[str, Type]:
    """The columns that a frame may have: every concept, every quantity, and the jurisdiction."""
    return {
        **dict.fromkeys(guideline.concepts, "boolean"),
        **dict.fromkeys(guideline.quantities, "double"),
        JURISDICTION: "string",
    }


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason for which rows are not answered, and when it is one."""

    problem: Problem
    when: Node


@dataclass(frozen=True, slots=True)
class Plan:
    """What is worked out for every row.

    Args:
        key: the column that names a row; None where rows are numbered.
        digits: hidden column -> the index of a feature's value, or the one after the last where unknown.
        codes: decision -> the code of its outcome, from the digits.
        refused: whether the row is not answered; never unknown.
        reason: why, as text; null if it is answered. From the columns and the digits.
    """

    key: str | None
    digits: Mapping[str, Node]
    codes: Mapping[str, Node]
    refused: Node
    reason: Node

    @property
    def name(self) -> str:
        """The name of the key in what comes out."""
        return ROW if self.key is None else self.key


def plan(
    guideline: Guideline, tables: Tables, shapes: Shapes, codes: Codes, columns: Mapping[str, Kind], key: str | None
) -> Plan:
    """The plan for a frame of these columns.

    Raises:
        UsageError: a column has no meaning, the key is not there or is named as something else, or no column is
            one of the guideline's.
        UnsupportedConstruct: a shape, or a threshold, has no meaning for columns.
    """
    _refuse_columns(guideline, columns, key)
    cells = {name: _cell(name, type_, columns.get(name)) for name, type_ in schema(guideline).items()}
    facts = {name: cell for name, cell in cells.items() if cell is not None}
    looked_in: list[Table[int] | Table[bool]] = [*codes.tables.values(), *tables.possible]
    features = {feature.name: feature for table in looked_in for feature in table.features}
    digits = {_digit(name): _value_of(guideline, tables, feature, facts) for name, feature in sorted(features.items())}
    refusals = [
        *_unreadable(guideline, columns, facts, key),
        *_by_shapes(guideline, shapes, facts),
    ]
    nobody = _nobody(tables)
    whens = (*(refusal.when for refusal in refusals), *nobody)
    _refuse_unseen(guideline, tables, codes)
    texts = tuple(Case(((r.when, Text(str(r.problem))),), None) for r in refusals)
    axioms = Text("record: no patient can be as it states, by the axioms of the guideline")
    any_refusal = AnyOf(tuple(refusal.when for refusal in refusals))
    return Plan(
        key,
        digits,
        {decision: _looked_up(table) for decision, table in codes.tables.items()},
        Case(((AnyOf(whens), Whole(1)),), Whole(0)),
        Case(((any_refusal, Joined(texts, SEPARATOR)), *((when, axioms) for when in nobody)), None),
    )


def _digit(feature: str) -> str:
    """A name that no feature has."""
    return f"#{feature}"


def _refuse_columns(guideline: Guideline, columns: Mapping[str, Kind], key: str | None) -> None:
    if not isinstance(key, str | None):
        raise UsageError(f"the key is the name of a column, not a {type(key).__name__}")
    known = {*schema(guideline), *(name + _UNIT for name in guideline.quantities)}
    if key is not None and key not in columns:
        near = get_close_matches(key, columns, n=1)
        raise UsageError(
            f"no column {key!r} to be the key{f'; perhaps {near[0]!r} is meant' if near else ''}; "
            f"there are {', '.join(columns)}"
        )
    # What comes out has these, and some engines take names of other letters, large or small, for the same.
    taken = {name.casefold() for name in (*known, *guideline.decisions, "reason")}
    decoded = tuple(f"{decision}_".casefold() for decision in guideline.decisions)
    if key is not None and (key.casefold() in taken or key.casefold().startswith(("#", *decoded))):
        raise UsageError(f"the key cannot be {key!r}: the guideline or the answer has a column of that name")
    unknown = [name for name in columns if name not in known and name != key]
    if unknown:
        said = []
        for name in unknown:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            said.append(f"{name!r}{f' (perhaps {near[0]!r} is meant)' if near else ''}")
        raise UsageError(
            f"no column of the guideline, nor the key: {', '.join(said)}; all columns: {', '.join(sorted(known))}"
        )
    if not columns.keys() & schema(guideline).keys():
        raise UsageError(f"no column of the guideline at all; there are {', '.join(sorted(known))}")


# ---- the value of a feature --------------------------------------------------------------------

# Digits that every double carries, and zeros around them: a text of more could be a number that no double is.
_NUMBER = r"[+-]?(0*\.0*)?0*([0-9]\.?){1,15}0*\.?0*([eE][+-]?[0-9]{1,2})?"
# As JSON, Python, and spreadsheets write them.
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


def _cell(name: str, type_: Type, kind: Kind | None) -> Node | None:
    """The cell as a value of its type; None where the frame holds no such value."""
    column = Column(name)
    if kind is None or kind.type == "null":
        return None
    if kind.type == "text":
        if type_ == "double":
            return Case(((Matches(column, _NUMBER), Double(column)),), None)
        if type_ == "boolean":
            return Case(((OneOf(column, (*_TRUE, *_FALSE)), OneOf(column, _TRUE)),), None)
        return column
    if kind.type == "decimal" and type_ == "double":
        return Case(((Matches(Shown(column), _NUMBER), Double(Shown(column))),), None)
    if kind.type == "number" and type_ == "double":
        return Double(column)
    return column if kind.type == type_ else None


def _value_of(guideline: Guideline, tables: Tables, feature: Feature, facts: Mapping[str, Node]) -> Node:
    """The index of the feature's value."""
    name, unknown = feature.name, Whole(feature.unknown)
    if name in guideline.concepts:
        kinds = [facts[kind] for kind in (name, *guideline.kinds_of(name)) if kind in facts]
        parents = [facts[parent] for parent in (name, *guideline.parents_of(name)) if parent in facts]
        cases: list[tuple[Node, Node]] = []
        if kinds:  # a kind that is present entails its parents
            cases.append((_any(kinds), Whole(feature.values.index("present"))))
        if parents:  # a parent that is absent entails that its kinds are
            cases.append((Not(_all(parents)), Whole(feature.values.index("absent"))))
        return Case(tuple(cases), unknown) if cases else unknown
    if name not in facts:
        return unknown
    cell = facts[name]
    if name == JURISDICTION:
        named = feature.values[:-1]
        places = tuple((OneOf(cell, (code,)), Whole(place)) for place, code in enumerate(named))
        return Case((*places, (IsKnown(cell), Whole(len(named)))), unknown)
    # Bins lie from low to high, each but the first from just above or just below a number on.
    below = [
        (Compare(cell, _SIGNS[bound.facet], _exact(name, bound.value)), Whole(place))
        for place, bin_ in enumerate(tables.bins[name])
        for bound in bin_.restrictions
        if bound.facet.startswith("max")
    ]
    return Case((*below, (IsKnown(cell), Whole(len(feature.values) - 1))), unknown)


_SIGNS: Mapping[Facet, Literal["<", "<=", ">", ">="]] = {
    "maxExclusive": "<",
    "maxInclusive": "<=",
    "minExclusive": ">",
    "minInclusive": ">=",
}
_OPPOSITE: Mapping[Facet, Literal["<", "<=", ">", ">="]] = {
    "maxExclusive": ">=",
    "maxInclusive": ">",
    "minExclusive": "<=",
    "minInclusive": "<",
}


def _exact(where: str, number: Decimal) -> float:
    """The double that is written as the number: doubles then compare with it as the numbers that they are written as.

    The shortest decimals that doubles are written as have the order of the doubles, so that comparing
    doubles is comparing those, if the bound is one of them.
    """
    if Decimal(repr(float(number))) != number:
        raise UnsupportedConstruct([Problem(where, "no double is written as this bound", str(number), "15 digits")])
    return float(number)


def _any(nodes: Sequence[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else AnyOf(tuple(nodes))


def _all(nodes: Sequence[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else AllOf(tuple(nodes))


# ---- outcomes ----------------------------------------------------------------------------------


def _row(table: Table[int] | Table[bool]) -> Node:
    return Sum(tuple((table.strides[f.name], Column(_digit(f.name))) for f in table.features))


def _looked_up(table: Table[int]) -> Node:
    """The code of a row; where nobody can be, any will do, since such a row is refused."""
    return Lookup(tuple(max(code, 0) for code in table.codes), _row(table))


def _nobody(tables: Tables) -> list[Node]:
    """When no patient can be so, by what the guideline declares disjoint."""
    return [
        Compare(Lookup(tuple(int(bool(table.entry(row))) for row in range(len(table.codes))), _row(table)), "<", 1)
        for table in tables.possible
    ]


def _refuse_unseen(guideline: Guideline, tables: Tables, codes: Codes) -> None:
    """A row without a code contradicts itself, leaves out what it entails, or is nobody; no code is made up."""
    for decision, table in codes.tables.items():
        for row in (row for row, code in enumerate(table.codes) if code == NOBODY):
            known = table.known(row)
            if is_closed(guideline, known, table.strides) and all(_holds(t, known) for t in tables.possible):
                raise UnsupportedConstruct([Problem(decision, "nothing refuses a patient who cannot be", str(known))])


def _holds(table: Table[bool], known: Mapping[str, str]) -> bool:
    return bool(table.entry(table.row({name: value for name, value in known.items() if name in table.strides})))


# ---- refusals ----------------------------------------------------------------------------------


def _unreadable(
    guideline: Guideline, columns: Mapping[str, Kind], facts: Mapping[str, Node], key: str | None
) -> Iterator[Refusal]:
    """Cells that are no value of their column, with the words of the reader of single records."""
    if key is not None:
        yield Refusal(Problem(key, "missing", accepted="a key for every row"), Not(IsKnown(Column(key))))
    for name, type_ in schema(guideline).items():
        kind = columns.get(name)
        if kind is None or kind.type == "null":
            continue
        column, cell = Column(name), facts.get(name)
        if cell is None:
            yield Refusal(_wrong(name, type_, kind.name), IsKnown(column))
            continue
        if kind.type == "text" and type_ != "string":
            yield Refusal(_wrong(name, type_, ""), AllOf((IsKnown(column), Not(IsKnown(cell)))))
        exact = Problem(name, "no number that JSON carries exactly", "", "a finite number of at most 15 digits")
        if kind.type == "double" and type_ == "double":
            yield Refusal(exact, Not(IsFinite(cell)))
        if kind.type == "decimal":
            yield Refusal(exact, AllOf((IsKnown(column), Not(IsKnown(cell)))))
        if kind.largest is not None:
            too_large = (Compare(cell, ">", kind.largest), Compare(cell, "<", -kind.largest))
            yield Refusal(exact, AnyOf(too_large))
        if type_ == "string":
            accepted = "an ISO 3166-1 alpha-2 code in capitals, such as GB or US"
            yield Refusal(Problem(name, "no country code", "", accepted), Not(OneOf(cell, tuple(sorted(COUNTRIES)))))
    for name, quantity in guideline.quantities.items():
        unit = columns.get(name + _UNIT)
        if unit is not None:
            yield from _unit(name, quantity.unit, unit, columns.get(name))


def _unit(name: str, wanted: str, kind: Kind, of: Kind | None) -> Iterator[Refusal]:
    """A column may say the unit of another; it is the one that the schema states, since nothing is converted."""
    place, column = name + _UNIT, Column(name + _UNIT)
    measured = None if of is None or of.type == "null" else IsKnown(Column(name))
    if measured is not None:
        missing = Problem(place, f"{name} has no unit; a unit is never guessed", "", wanted)
        yield Refusal(missing, AllOf((measured, Not(IsKnown(column)))))
    if kind.type in ("string", "text"):
        wrong = Not(OneOf(column, spellings(wanted)))
        yield Refusal(Problem(place, f"not the unit of the column {name}", "", wanted), wrong)
    elif kind.type != "null":
        yield Refusal(Problem(place, "not a text", kind.name, wanted), IsKnown(column))


def _wrong(name: str, type_: Type, found: str) -> Problem:
    match type_:
        case "boolean":
            return Problem(name, "neither true nor false", found, "true, false, or null where unknown")
        case "double":
            return Problem(name, "not a number", found, "a double, or null where unknown")
        case "string":
            return Problem(name, "no country code", found, "a text, or null where unknown")


_PRESENT, _ABSENT, _VALUE, _JURISDICTION = (
    B12 + name for name in ("statesPresent", "statesAbsent", "value", "jurisdiction")
)
# What a row always states once and rightly, or cannot state at all: a date, a bound, two readings.
_ONCE = {"maxCount", "datatype"}
_NOT_IN_ROWS = {B12 + name for name in ("on", "startedOn", "below", "above", "reading")}


def _by_shapes(guideline: Guideline, shapes: Shapes, facts: Mapping[str, Node]) -> Iterator[Refusal]:
    """What the shapes of a record refuse; warnings refuse nothing."""
    quantities = {quantity.iri: name for name, quantity in guideline.quantities.items()}
    for class_, found in shapes.items():
        for shape in (shape for shape in found if shape.severity == "error"):
            quantity = quantities.get(str(class_))
            yield from _of_value(shape, quantity, facts) if quantity else _of_record(shape, guideline, facts)


def _of_value(shape: PropertyShape, quantity: str, facts: Mapping[str, Node]) -> Iterator[Refusal]:
    if _is_idle(shape):
        return
    if shape.path != PredicatePath(_VALUE) or shape.min_count > 1:
        raise _unsupported(shape)
    for constraint in shape.constraints:
        if constraint.component in _ONCE:
            continue
        facet = next((facet for facet in _OPPOSITE if facet == constraint.component), None)
        if facet is None or not isinstance(constraint.value, Decimal):
            raise _unsupported(shape)
        cell = facts.get(quantity)
        if cell is not None:
            outside = Compare(cell, _OPPOSITE[facet], _exact(quantity, constraint.value))
            yield Refusal(Problem(quantity, shape.message), AllOf((IsFinite(cell), outside)))


def _of_record(shape: PropertyShape, guideline: Guideline, facts: Mapping[str, Node]) -> Iterator[Refusal]:
    kinds = SequencePath((PredicatePath(_PRESENT), OneOrMorePath(PredicatePath(RDFS + "subClassOf"))))
    opposed = (Constraint("disjoint", _ABSENT),)
    if _is_idle(shape):
        return
    if shape.path == PredicatePath(_JURISDICTION) and {c.component for c in shape.constraints} <= _ONCE:
        if shape.min_count == 1:
            known = IsKnown(facts[JURISDICTION]) if JURISDICTION in facts else Compare(Whole(0), ">", 0)
            yield Refusal(Problem(JURISDICTION, shape.message), Not(known))
        return
    if shape.min_count or shape.constraints != opposed or shape.path not in (PredicatePath(_PRESENT), kinds):
        raise _unsupported(shape)
    if shape.path == PredicatePath(_PRESENT):
        return  # one cell cannot say both
    for name in guideline.concepts:
        present = [facts[kind] for kind in guideline.kinds_of(name) if kind in facts]
        if name in facts and present:
            said = Problem(name, f"{name} is {shape.message}", "", "one of them")
            yield Refusal(said, AllOf((Not(facts[name]), _any(present))))


def _is_idle(shape: PropertyShape) -> bool:
    """Whether it looks at what no row says, or what every row says rightly."""
    if shape.path == PredicatePath(B12 + "asOf"):
        return shape.min_count <= 1 and {constraint.component for constraint in shape.constraints} <= _ONCE
    return isinstance(shape.path, PredicatePath) and shape.path.property in _NOT_IN_ROWS and not shape.min_count


def _unsupported(shape: PropertyShape) -> UnsupportedConstruct:
    return UnsupportedConstruct([Problem("record shapes", "a shape that has no meaning for columns", shape.message)])
