"""The tables of a guideline, and looking up in them.

Owns features and rows: a row gives each feature one of its values or leaves it unknown, and holds
what was found over every filling of what is unknown. How that is found is for tabulate.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Generic, TypeVar

from b12kg.countries import COUNTRIES
from b12kg.expression import (
    Truth,
)
from b12kg.guideline import JURISDICTION, Bin, Guideline
from b12kg.outcome import RuleState, Verdict
from b12kg.record import Facts, JsonValue, json_number, within

# The code of a row that no patient can be in.
NOBODY = -1

Entry = TypeVar("Entry")


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
        return None if code == NOBODY else self.entries[code]

    def at(self, row: int) -> Entry:
        """What was found for a row that a patient is in.

        Raises:
            IndexError: no patient can be in it.
        """
        found = self.codes[row]
        if found == NOBODY:
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
        return ((row, self.entries[code]) for row, code in enumerate(self.codes) if code != NOBODY)


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
        return bits(state == wanted for state in states)

    return Masks(
        applies=those("applies"),
        overridden=those("overridden"),
        excluded=those("excluded"),
        unknown=those("unknown"),
        missing=bits(feature.name in found.outcome.missing for feature in table.features),
    )


def bits(flags: Iterable[bool]) -> int:
    """Flags as one number, the first as its lowest bit.

    >>> bits([True, False, True])
    5
    """
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
                if measurement.comparator is None:
                    inside = all(bound.holds(measurement.canonical) for bound in bin_.restrictions)
                else:
                    inside = within(measurement.range, bin_.restrictions) is True
                if inside:
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


def example(
    guideline: Guideline, known: Mapping[str, str], accept: Callable[[str, Decimal], bool] = lambda *_: True
) -> dict[str, JsonValue]:
    """A record, in the JSON format, of a patient of whom just these features are known.

    Args:
        known: feature -> its value in words, as :meth:`Table.known` gives them.
        accept: whether a record may state a number of a quantity; where none of those that are tried
            is accepted, the first stands.
    """
    measurements: list[JsonValue] = []
    for name in known:
        if name in guideline.quantities:
            (bin_,) = (bin_ for bin_ in guideline.bins_of(name) if bin_.label == known[name])
            numbers = [*numbers_in(bin_)]
            number = next((number for number in numbers if accept(name, number)), numbers[0])
            measurements.append({"of": name, "value": json_number(number), "unit": guideline.quantities[name].unit})
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


def numbers_in(bin_: Bin) -> Iterator[Decimal]:
    """Some numbers of a range: bounds that belong to it, one between its bounds, those beyond the only one."""
    low, high = (
        next((bound.value for bound in bin_.restrictions if bound.facet.startswith(side)), None)
        for side in ("min", "max")
    )
    tried = [bound.value for bound in bin_.restrictions]
    if low is not None and high is not None:
        tried.append((low + high) / 2)
    for step in (Decimal(1), Decimal("0.1"), Decimal("0.01")):
        tried += [low + step] if low is not None else []
        tried += [high / 2, high - step] if high is not None else []
    tried += [Decimal(0)]
    return (number for number in tried if all(bound.holds(number) for bound in bin_.restrictions))
