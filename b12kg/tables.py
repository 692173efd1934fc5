"""Every patient that a decision can tell apart, worked out once: the tables, and looking up in them.

Owns features and rows, and the enumeration that fills a table. A row gives each feature one of its
values or leaves it unknown; what it holds was found over every filling of what is unknown. How a
fully known patient's decision ends is for the caller's engine to say.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Generic, TypeVar

from b12kg.countries import COUNTRIES
from b12kg.errors import InvalidGuideline, Problem
from b12kg.expression import (
    ClassExpression,
    DataHasValue,
    DataSomeValuesFrom,
    Leaf,
    ObjectSomeValuesFrom,
    Truth,
    feature_of,
    ground,
    leaves,
)
from b12kg.guideline import JURISDICTION, Bin, Guideline
from b12kg.outcome import Ending, Filling, RuleState, Verdict, fillings, values_of, verdict
from b12kg.record import Facts, JsonValue, json_number, within

# More rows than this take too long to work out; a decision diagram would have to stand in a table's place.
MOST_ROWS = 5_000_000
# The code of a row that no patient can be in.
_NOBODY = -1

Entry = TypeVar("Entry")
Decide = Callable[[Sequence[tuple[Filling, frozenset[str]]]], list[Ending]]


@dataclass(frozen=True, slots=True)
class Feature:
    """What a table asks about; ``values`` in words, and one more place for unknown."""

    name: str
    values: tuple[str, ...]

    @property
    def unknown(self) -> int:
        """The index that stands for unknown: the one after the last value."""
        return len(self.values)


@dataclass(frozen=True)
class Table(Generic[Entry]):
    """What was found for every row over some features.

    A row is a number in mixed radix: the last feature counts ones, and each feature has one more
    digit than values.

    Args:
        codes: for each row the index of its entry; -1 where no patient can be in it.
        entries: everything that was found, each once.
    """

    features: tuple[Feature, ...]
    codes: Sequence[int]
    entries: Sequence[Entry]

    @cached_property
    def strides(self) -> dict[str, int]:
        """By how much the number of a row grows with the index of each feature."""
        sizes = [len(feature.values) + 1 for feature in self.features]
        return {feature.name: math.prod(sizes[place + 1 :]) for place, feature in enumerate(self.features)}

    def entry(self, row: int) -> Entry | None:
        """What was found for a row; None where no patient can be in it."""
        code = self.codes[row]
        return None if code == _NOBODY else self.entries[code]

    def at(self, row: int) -> Entry:
        """What was found for a row that a patient is in.

        Raises:
            IndexError: no patient can be in it.
        """
        found = self.codes[row]
        if found == _NOBODY:
            raise IndexError(f"no patient can be in row {row}")
        return self.entries[found]

    def indices(self, row: int) -> tuple[int, ...]:
        """The index of each feature's value in a row."""
        found = []
        for feature in self.features:
            index, row = divmod(row, self.strides[feature.name])
            found.append(index)
        return tuple(found)

    def known(self, row: int) -> dict[str, str]:
        """The features that a row states, with their values in words."""
        stated = zip(self.features, self.indices(row), strict=True)
        return {feature.name: feature.values[index] for feature, index in stated if index != feature.unknown}

    def row(self, known: Mapping[str, str]) -> int:
        """The row that states these values of its features and no others.

        >>> table = Table((Feature("A", ("present", "absent")), Feature("B", ("low", "high"))), [0] * 9, ["x"])
        >>> table.row({"A": "absent"}), table.known(5)
        (5, {'A': 'absent'})
        """
        return sum(
            (feature.values.index(known[feature.name]) if feature.name in known else feature.unknown)
            * self.strides[feature.name]
            for feature in self.features
        )

    def rows(self) -> Iterator[tuple[int, Entry]]:
        """Every row that a patient can be in, with what was found for it."""
        return ((row, self.entries[code]) for row, code in enumerate(self.codes) if code != _NOBODY)


@dataclass(frozen=True, slots=True)
class Masks:
    """A verdict as bits: rules in the order of their names, features in the order of the table."""

    applies: int
    overridden: int
    excluded: int
    unknown: int
    missing: int


def masks(table: Table[Verdict], row: int) -> Masks | None:
    """The verdict of a row as bit masks; None where no patient can be in it."""
    found = table.entry(row)
    if found is None:
        return None
    states = [rule.state for rule in found.rules]

    def those(wanted: RuleState) -> int:
        return _bits(state == wanted for state in states)

    return Masks(
        applies=those("applies"),
        overridden=those("overridden"),
        excluded=those("excluded"),
        unknown=those("unknown"),
        missing=_bits(feature.name in found.outcome.missing for feature in table.features),
    )


def _bits(flags: Iterable[bool]) -> int:
    return sum(flag << place for place, flag in enumerate(flags))


@dataclass(frozen=True)
class Tables:
    """The tables of a guideline.

    Args:
        decisions: name -> the verdict on the decision for each row.
        phenotypes: name -> whether each row's patients are in the phenotype.
        possible: for the features that the guideline's disjointness ties together, who can be.
        bins: quantity -> the ranges that are its values.
    """

    decisions: Mapping[str, Table[Verdict]]
    phenotypes: Mapping[str, Table[Truth]]
    possible: tuple[Table[bool], ...]
    bins: Mapping[str, tuple[Bin, ...]]

    def place(self, facts: Facts) -> Place:
        """Where the patient of these facts stands in each table."""
        rows = self._of_nobody_known.copy()
        for name, index in self._indices(facts):
            for table, change in self._steps.get((name, index), ()):
                rows[table] += change
        phenotypes, possible = len(self.decisions), len(self.decisions) + len(self.phenotypes)
        return Place(
            dict(zip(self.decisions, rows, strict=False)),
            dict(zip(self.phenotypes, rows[phenotypes:], strict=False)),
            all(table.entry(row) for table, row in zip(self.possible, rows[possible:], strict=True)),
        )

    def _indices(self, facts: Facts) -> Iterator[tuple[str, int]]:
        """Each known fact's feature with the index of its value; bounds lie within one range (validate.py)."""
        for concept, (present, _) in facts.concepts.items():
            yield concept, 0 if present else 1
        for quantity, measurement in facts.measurements.items():
            for index, bin_ in enumerate(self.bins.get(quantity, ())):
                exact = measurement.comparator is None
                if (
                    all(bound.holds(measurement.canonical) for bound in bin_.restrictions)
                    if exact
                    else within(measurement.range, bin_.restrictions)
                ):
                    yield quantity, index
                    break
        if facts.jurisdiction is not None:
            yield JURISDICTION, self._jurisdictions.get(facts.jurisdiction, len(self._jurisdictions))

    @cached_property
    def _all(self) -> tuple[Table[Verdict] | Table[Truth] | Table[bool], ...]:
        return (*self.decisions.values(), *self.phenotypes.values(), *self.possible)

    @cached_property
    def _of_nobody_known(self) -> list[int]:
        """The row of each table in which everything is unknown: the last."""
        return [len(table.codes) - 1 for table in self._all]

    @cached_property
    def _steps(self) -> dict[tuple[str, int], list[tuple[int, int]]]:
        """For each value of each feature, the tables that ask about it, and how far it is from unknown there."""
        found: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for place, table in enumerate(self._all):
            for feature in table.features:
                for index in range(len(feature.values)):
                    change = (index - feature.unknown) * table.strides[feature.name]
                    found.setdefault((feature.name, index), []).append((place, change))
        return found

    @cached_property
    def _jurisdictions(self) -> dict[str, int]:
        """The index of each jurisdiction that is named; any other is elsewhere, the index after the last."""
        features = [f for table in self._all for f in table.features if f.name == JURISDICTION]
        return {code: index for index, code in enumerate(features[0].values[:-1])} if features else {}


@dataclass(frozen=True, slots=True)
class Place:
    """The row of a patient in the table of each decision and phenotype, and whether there can be such a patient."""

    decisions: Mapping[str, int]
    phenotypes: Mapping[str, int]
    possible: bool


# ---- examples ----------------------------------------------------------------------------------


def example(guideline: Guideline, known: Mapping[str, str]) -> dict[str, JsonValue]:
    """A record, in the JSON format, of a patient of whom just these features are known.

    Args:
        known: feature -> its value in words, as :meth:`Table.known` gives them.
    """
    measurements: list[JsonValue] = []
    for name in known:
        if name in guideline.quantities:
            (bin_,) = (bin_ for bin_ in guideline.bins_of(name) if bin_.label == known[name])
            value = json_number(_number_in(bin_))
            measurements.append({"of": name, "value": value, "unit": guideline.quantities[name].unit})
    record: dict[str, JsonValue] = {
        "id": "urn:example:patient",
        "asOf": guideline.last_updated,
        "present": [name for name, value in known.items() if name in guideline.concepts and value == "present"],
        "absent": [name for name, value in known.items() if name in guideline.concepts and value == "absent"],
        "measurements": measurements,
    }
    if JURISDICTION in known:
        named = guideline.codes_of_jurisdiction()
        elsewhere = next(code for code in sorted(COUNTRIES) if code not in named)
        record[JURISDICTION] = known[JURISDICTION] if known[JURISDICTION] in named else elsewhere
    return record


def _number_in(bin_: Bin) -> Decimal:
    """A number of a range: a bound that belongs to it, or one between its bounds or just beyond its only one."""
    low, high = (
        next((bound for bound in bin_.restrictions if bound.facet.startswith(side)), None) for side in ("min", "max")
    )
    for bound in (low, high):
        if bound is not None and bound.facet.endswith("Inclusive"):
            return bound.value
    if low is not None and high is not None:
        return (low.value + high.value) / 2
    if low is not None:
        return low.value + 1
    # Half of an upper bound is still a possible value of what cannot be negative.
    return Decimal(0) if high is None else high.value / 2 if high.value > 0 else high.value - 1


# ---- working out -------------------------------------------------------------------------------


def build(guideline: Guideline, decide: Decide) -> Tables:
    """Work out every row of every table.

    Args:
        decide: gives the endings of fully known patients; of each, the filling and its phenotypes.

    Raises:
        InvalidGuideline: a decision depends on so many features that its rows pass ``MOST_ROWS``.
    """
    asked = [
        (filling, phenotypes)
        for decision in guideline.decisions
        for filling, phenotypes in patients(guideline, decision)
    ]
    ended: dict[str, list[tuple[Filling, Ending]]] = {name: [] for name in guideline.decisions}
    for (filling, _), ending in zip(asked, decide(asked), strict=True):
        ended[filling.decision].append((filling, ending))

    def of_decision(name: str) -> Table[Verdict]:
        endings = ended[name]
        return _tabulate(
            _features(guideline, guideline.features_of(name)),
            [filling.values for filling, _ in endings],
            lambda some: verdict(guideline, name, [endings[index] for index in some]),
        )

    def of_expression(name: str, expression: ClassExpression) -> Table[Truth]:
        features = _features(guideline, guideline.features_behind([name]))
        people = list(_possible(guideline, features, name))
        inside = [holds(guideline, expression, values) for values in people]
        return _tabulate(features, people, lambda some: _truth([inside[index] for index in some]))

    return Tables(
        decisions={name: of_decision(name) for name in guideline.decisions},
        phenotypes={name: of_expression(name, p.expression) for name, p in guideline.phenotypes.items()},
        possible=_possible_rows(guideline),
        bins={name: guideline.bins_of(name) for name in guideline.quantities},
    )


def _features(guideline: Guideline, names: Iterable[str]) -> tuple[Feature, ...]:
    return tuple(Feature(name, tuple(words for words, _ in values_of(guideline, name))) for name in names)


def patients(guideline: Guideline, decision: str) -> Iterator[tuple[Filling, frozenset[str]]]:
    """Every fully known patient that a decision tells apart, with the phenotypes that the decision asks about."""
    _refuse_too_many(decision, _features(guideline, guideline.features_of(decision)))
    for filling in fillings(guideline, decision):
        if can_be(guideline, filling.values):
            inside = {
                name
                for name in guideline.phenotypes_of(decision)
                if holds(guideline, guideline.phenotypes[name].expression, filling.values)
            }
            yield filling, frozenset(inside)


def _possible(guideline: Guideline, features: tuple[Feature, ...], what: str) -> Iterator[Mapping[str, str]]:
    """Every way to state all of the features that a patient can be in."""
    _refuse_too_many(what, features)
    names = [feature.name for feature in features]
    for values in itertools.product(*(feature.values for feature in features)):
        stated = dict(zip(names, values, strict=True))
        if can_be(guideline, stated):
            yield stated


def _refuse_too_many(what: str, features: tuple[Feature, ...]) -> None:
    count = math.prod(len(feature.values) + 1 for feature in features)
    if count > MOST_ROWS:
        found = f"{count} rows by {', '.join(feature.name for feature in features)}"
        raise InvalidGuideline([Problem(what, "depends on too many features", found, f"at most {MOST_ROWS} rows")])


def _possible_rows(guideline: Guideline) -> tuple[Table[bool], ...]:
    tied = {guideline.tied(map(feature_of, leaves(expression))) for expression in guideline.impossible}
    found = []
    for names in sorted(tied):
        features = _features(guideline, names)
        found.append(_tabulate(features, list(_possible(guideline, features, "disjointness")), lambda _: True))
    return tuple(found)


def can_be(guideline: Guideline, values: Mapping[str, str]) -> bool:
    """Whether a patient can be so: no kind present whose parent is absent, nothing declared impossible.

    Args:
        values: some features with a value each; what is declared impossible counts where all of its
            features are among them.
    """
    for name, value in values.items():
        parents = guideline.parents_of(name) if value == "present" and name in guideline.concepts else ()
        if any(values.get(parent) == "absent" for parent in parents):
            return False
    return not any(
        all(feature_of(leaf) in values for leaf in leaves(expression)) and holds(guideline, expression, values)
        for expression in guideline.impossible
    )


def holds(guideline: Guideline, expression: ClassExpression, values: Mapping[str, str]) -> bool:
    """Whether patients of whom all the expression's features have these values are in it."""
    known = {leaf: _leaf_holds(guideline, leaf, values[feature_of(leaf)]) for leaf in leaves(expression)}
    truth, _ = ground(expression, known)
    return truth == "entailed"


def _leaf_holds(guideline: Guideline, leaf: Leaf, value: str) -> bool:
    match leaf:
        case ObjectSomeValuesFrom():
            return value == "present"
        case DataHasValue(_, wanted):
            return value == wanted
        case DataSomeValuesFrom(quantity, restrictions):
            (bin_,) = (bin_ for bin_ in guideline.bins_of(quantity) if bin_.label == value)
            return within(bin_.restrictions, restrictions) is True


def _truth(inside: Sequence[bool]) -> Truth:
    return "entailed" if all(inside) else "unknown" if any(inside) else "excluded"


def _tabulate(
    features: tuple[Feature, ...], people: Sequence[Mapping[str, str]], find: Callable[[list[int]], Entry]
) -> Table[Entry]:
    """A table whose rows hold what is found over the people who can be in them.

    Args:
        people: every fully known patient that the features tell apart.
        find: what is found over some of them, by their indices.
    """
    # Sets of people as bits of one number.
    everybody = (1 << len(people)) - 1
    having = [
        [*(_bits(person[feature.name] == value for person in people) for value in feature.values), everybody]
        for feature in features
    ]
    codes, entries = [], list[Entry]()
    by_people: dict[int, int] = {0: _NOBODY}
    by_entry: dict[Entry, int] = {}
    for row in itertools.product(*having):
        some = everybody
        for these in row:
            some &= these
        if some not in by_people:
            entry = find([index for index in range(len(people)) if some >> index & 1])
            if entry not in by_entry:
                by_entry[entry] = len(entries)
                entries.append(entry)
            by_people[some] = by_entry[entry]
        codes.append(by_people[some])
    return Table(features, codes, entries)
