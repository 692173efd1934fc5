"""Whom an outcome changes for: every patient that either version tells apart, looked up in both.

Owns the common refinement: the features of both, and ranges that the thresholds of both cut. No
outcome is worked out here; what two outcomes differ in is for said.py.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from itertools import product
from typing import TypeVar

from b12kg.compiled import Compiled
from b12kg.countries import COUNTRIES
from b12kg.diff.said import KINDS, NOT_ASKED, REFUSED, Kind, Said, kind_of, said, together
from b12kg.errors import InvalidGuideline, Problem
from b12kg.expression import DataHasValue, DataSomeValuesFrom, Truth
from b12kg.guideline import JURISDICTION, Guideline, Phenotype
from b12kg.outcome import values_of
from b12kg.record import JsonValue, within
from b12kg.tables import NOBODY, Feature, Table, example
from b12kg.tabulate import MOST_ROWS
from b12kg.verify import accepted, in_words

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class Condition:
    """Some of the patients of a change, by the fewest facts that say who they are.

    Args:
        patients: the facts in words; where an outcome is undetermined also which facts are unknown.
        known: the facts, feature -> value in words.
        count: how many fully known patients these are.
        witness: a record of one of them, whom the versions answer differently.
    """

    patients: str
    known: Mapping[str, str]
    count: int
    witness: Mapping[str, JsonValue]

    def to_dict(self) -> dict[str, JsonValue]:
        """The condition as JSON."""
        known: dict[str, JsonValue] = dict(self.known)
        return {"patients": self.patients, "known": known, "count": self.count, "witness": dict(self.witness)}


@dataclass(frozen=True, slots=True)
class OutcomeChange:
    """Patients of whom a decision ends otherwise, in the same way.

    Args:
        old, new: what is said to the witness of the first condition; to others of these patients other
            alternatives may be named, or, where it is undetermined, other missing facts.
        conditions: who they are; a patient can be in several.
        count: how many fully known patients these are.
        rows: how many patients, those with unknown facts included.
    """

    decision: str
    kind: Kind
    old: Said
    new: Said
    conditions: tuple[Condition, ...]
    count: int
    rows: int

    def to_dict(self) -> dict[str, JsonValue]:
        """The change as JSON."""
        return {
            "decision": self.decision,
            "kind": self.kind,
            "old": self.old.to_dict(),
            "new": self.new.to_dict(),
            "conditions": [condition.to_dict() for condition in self.conditions],
            "count": self.count,
            "rows": self.rows,
        }


@dataclass(frozen=True, slots=True)
class DecisionFigures:
    """How much was compared for a decision.

    Args:
        rows: ways to know or not know each feature that either version asks about.
        possible: those in which a patient of either version can be.
        patients: those of them in which everything is known.
        changed: kind -> possible rows.
    """

    rows: int
    possible: int
    patients: int
    changed: Mapping[Kind, int]

    def to_dict(self) -> dict[str, JsonValue]:
        """The figures as JSON."""
        changed: dict[str, JsonValue] = {kind: self.changed.get(kind, 0) for kind in KINDS}
        return {"rows": self.rows, "possibleRows": self.possible, "patients": self.patients, "changed": changed}


# ---- both versions as one ----------------------------------------------------------------------


def of_both(old: Guideline, new: Guideline) -> Guideline:
    """A guideline that has the concepts, quantities, thresholds and jurisdictions of both, for its features only."""
    asked = {leaf for guideline in (old, new) for leaf in guideline.leaves_of(sorted(guideline.phenotypes))}
    asking = {
        f"{number}": Phenotype(f"{number}", "", "", leaf, ())
        for number, leaf in enumerate(asked)
        if isinstance(leaf, DataSomeValuesFrom | DataHasValue)
    }
    return replace(
        new,
        concepts={**old.concepts, **new.concepts},
        quantities={**old.quantities, **new.quantities},
        phenotypes=asking,
    )


def _accepted(old: Compiled, new: Compiled, quantity: str, value: Decimal) -> bool:
    """Whether each version that has a quantity takes this value of it."""
    return all(accepted(one, quantity, value) for one in (old, new) if quantity in one.guideline.quantities)


def _tied_anew(old: Guideline, new: Guideline, features: Set[str]) -> Iterator[str]:
    """The concepts of both versions that say something else of the features, by the kinds of concepts, in each."""
    for name in old.concepts.keys() & new.concepts.keys():
        before, after = ((set(g.parents_of(name)), set(g.kinds_of(name))) for g in (old, new))
        if any((one ^ other) & features for one, other in zip(before, after, strict=True)):
            yield name


class _Side:
    """One version's answers about a decision, asked in the words of both."""

    def __init__(self, compiled: Compiled, both: Guideline, decision: str) -> None:
        self.guideline, self.tables, self.decision = compiled.guideline, compiled.tables, decision
        self.features = self._features()
        self.bins = {
            quantity: {
                bin_.label: next(
                    own.label
                    for own in self.guideline.bins_of(quantity)
                    if within(bin_.restrictions, own.restrictions) is True
                )
                for bin_ in both.bins_of(quantity)
            }
            for quantity in self.guideline.quantities
        }
        self.codes = self.guideline.codes_of_jurisdiction()

    def _features(self) -> set[str]:
        """What the outcome of the decision and its alerts depend on."""
        if self.decision not in self.guideline.decisions:
            return set()
        alerting = [rule.alert_when for rule in self.guideline.rules_of(self.decision) if rule.alert_when]
        return {*self.guideline.features_of(self.decision), *self.guideline.features_behind(alerting)}

    def says(self, known: Mapping[str, str]) -> Said:
        """What the version says to a patient of whom just these facts are known."""
        facts = self._facts(known)
        if facts is None:
            return REFUSED
        if not all(table.entry(_row(table, facts)) for table in self.tables.possible):
            return REFUSED
        if self.decision not in self.tables.decisions:
            return NOT_ASKED
        table = self.tables.decisions[self.decision]
        verdict = table.at(_row(table, facts))

        def truth(phenotype: str) -> Truth:
            table = self.tables.phenotypes[phenotype]
            return table.at(_row(table, facts))

        return said(self.guideline, verdict, truth)

    def _facts(self, known: Mapping[str, str]) -> dict[str, str] | None:
        """The facts with what they entail, in the version's own words; None if it refuses a record of them."""
        found: dict[str, str] = {}
        for name, value in known.items():
            if name == JURISDICTION:
                found[name] = value if value in self.codes else "elsewhere"
            elif name in self.guideline.quantities:
                found[name] = self.bins[name][value]
            elif name in self.guideline.concepts:
                entailed = self.guideline.parents_of(name) if value == "present" else self.guideline.kinds_of(name)
                if any(found.setdefault(concept, value) != value for concept in (name, *entailed)):
                    return None
            else:
                return None
        return found


def _row(table: Table[Entry], facts: Mapping[str, str]) -> int:
    """The row of a table for facts of which some are not its own."""
    return table.row({feature.name: facts[feature.name] for feature in table.features if feature.name in facts})


# ---- patients ----------------------------------------------------------------------------------

# Of a row: nothing changes, and the fully known patients of it differ in what changes.
_SAME, _MIXED = -2, -3


@dataclass(slots=True)
class _Group:
    """The rows of one change; ``full`` are those in which everything is known."""

    kind: Kind
    rows: list[int]
    full: list[int]


class Patients:
    """One decision compared over every way to know or not know each feature of either version."""

    def __init__(self, old: Compiled, new: Compiled, both: Guideline, decision: str, rewritten: frozenset[str]) -> None:
        self.old, self.new = (_Side(compiled, both, decision) for compiled in (old, new))
        self.both, self.decision, self.rewritten = both, decision, rewritten
        self.show = partial(example, both, accept=partial(_accepted, old, new))
        self.table = Table[None](self._features(), (), ())
        self.groups: list[_Group] = []
        # For each row the group of the change, and the one that all its fully known patients belong to.
        self.own: list[int] = []
        self.common: list[int] = []

    def _features(self) -> tuple[Feature, ...]:
        asked = self.old.features | self.new.features
        names = sorted(asked.union(_tied_anew(self.old.guideline, self.new.guideline, asked)))
        for name in names:
            units = {g.quantities[name].unit for g in (self.old.guideline, self.new.guideline) if name in g.quantities}
            if len(units) > 1:
                message, found = f"the canonical unit of {name} changes", " and ".join(sorted(units))
                raise InvalidGuideline([Problem(self.decision, message, found, "one")])
        features = tuple(Feature(name, tuple(self._values(name))) for name in names)
        count = math.prod(len(feature.values) + 1 for feature in features)
        if count > MOST_ROWS:
            found = f"{count} rows by {', '.join(names)}"
            raise InvalidGuideline(
                [Problem(self.decision, "depends on too many features to be compared", found, f"at most {MOST_ROWS}")]
            )
        return features

    def _values(self, feature: str) -> Iterator[str]:
        """What the feature can be; a jurisdiction that is no country is in no record."""
        for words, _ in values_of(self.both, feature):
            if feature != JURISDICTION or words in COUNTRIES or words not in self.both.codes_of_jurisdiction():
                yield words

    def compared(self) -> tuple[DecisionFigures, Iterator[OutcomeChange]]:
        """The figures, and the changes."""
        features = self.table.features
        places: dict[tuple[object, ...], int] = {}
        rows, possible, patients = 0, 0, 0
        for rows, indices in enumerate(product(*(range(len(feature.values) + 1) for feature in features)), start=1):
            row = rows - 1
            unknown = [place for place, index in enumerate(indices) if index == features[place].unknown]
            own = self._change(row, places)
            if own == _SAME or own >= 0:
                possible += 1
                patients += not unknown
            if own >= 0:
                self.groups[own].rows.append(row)
                self.groups[own].full += [] if unknown else [row]
            self.own.append(own)
            self.common.append(self._common(row, unknown[0]) if unknown else own)
        changed = Counter[Kind]()
        for group in self.groups:
            changed[group.kind] += len(group.rows)
        return DecisionFigures(rows, possible, patients, changed), self._changes()

    def _change(self, row: int, places: dict[tuple[object, ...], int]) -> int:
        """The group of a row's change, made where it is the first; or that nothing changes, or nobody is in it."""
        old, new = self.said(row)
        if old.status == new.status == "refused":
            return NOBODY
        kind = kind_of(old, new, self.rewritten)
        if kind is None:
            return _SAME
        key = (kind, *together(old, new, self.rewritten))
        if key not in places:
            places[key] = len(self.groups)
            self.groups.append(_Group(kind, [], []))
        return places[key]

    def said(self, row: int) -> tuple[Said, Said]:
        """What both versions say to the patients of a row."""
        known = self.table.known(row)
        return self.old.says(known), self.new.says(known)

    def _common(self, row: int, unknown: int) -> int:
        """What the rows that know one more feature have in common; they come before, since unknown is the last."""
        feature = self.table.features[unknown]
        stride = self.table.strides[feature.name]
        found = {self.common[row - stride * step] for step in range(1, feature.unknown + 1)} - {NOBODY}
        return _MIXED if len(found) > 1 else found.pop() if found else NOBODY

    def _changes(self) -> Iterator[OutcomeChange]:
        for place, group in enumerate(self.groups):
            conditions = tuple(self._of_all_known(place, group.full) if group.full else self._of_some_known(group.rows))
            row = self._simplest(group.full or group.rows)
            old, new = self.said(row)
            yield OutcomeChange(self.decision, group.kind, old, new, conditions, len(group.full), len(group.rows))

    def _of_all_known(self, place: int, full: Sequence[int]) -> Iterator[Condition]:
        """The fewest facts of which every patient is one of the group, so that together they name all of them."""
        stating = [row for row, found in enumerate(self.common) if found == place]
        ways: dict[int, frozenset[int]] = {}
        for row in self._fewest(stating):
            known = self.table.known(row)
            ways[row] = frozenset(one for one in full if known.items() <= self.table.known(one).items())
        for row, people in sorted(ways.items(), key=lambda way: (len(self.table.known(way[0])), way[0])):
            # By the kinds of concepts, other words can say the same of some of these patients.
            if not any(people < others or (people == others and other < row) for other, others in ways.items()):
                witness = self.show(self.table.known(self._simplest(people)))
                known = self.table.known(row)
                yield Condition(in_words(known), known, len(people), witness)

    def _of_some_known(self, rows: Sequence[int]) -> Iterator[Condition]:
        """The fewest facts, and what is unknown, where only patients are in the group of whom something is."""
        for row in self._fewest(rows):
            known, missing = (
                self.table.known(row),
                dict.fromkeys(name for said in self.said(row) for name in said.missing),
            )
            words = ", ".join([in_words(known)] * bool(known) + [f"{name} unknown" for name in missing])
            yield Condition(words, known, 0, self.show(known))

    def _fewest(self, rows: Sequence[int]) -> list[int]:
        """Those of the rows that are not among them any more when one fact is left out."""
        among, found = set(rows), []
        for row in rows:
            known = self.table.known(row)
            fewer = (self.table.row({f: v for f, v in known.items() if f != feature}) for feature in known)
            if among.isdisjoint(fewer):
                found.append(row)
        return found

    def _simplest(self, rows: Iterable[int]) -> int:
        """The row with the fewest concepts present."""
        return min(rows, key=lambda row: (sum(v == "present" for v in self.table.known(row).values()), row))
