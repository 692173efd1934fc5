"""Every patient that a decision can tell apart, worked out once.

Owns the enumeration that fills the tables. How a fully known patient's decision ends is for the
caller's engine to say. A row with unknown features is merged from the rows in which one of these is
known: sets of rules, offers and answers are bits of numbers, so that a row costs microseconds. What
that must come to is said by outcome.py, and compared with it row by row in the test suite.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

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
from b12kg.guideline import Guideline
from b12kg.outcome import (
    Ending,
    Filling,
    Outcome,
    PossibleOutcome,
    RuleState,
    RuleVerdict,
    Verdict,
    fillings,
    values_of,
    verdict,
)
from b12kg.record import within
from b12kg.tables import NOBODY, Feature, Table, Tables, bits

# More rows than this take minutes and gigabytes; a decision diagram would have to stand in a table's place.
MOST_ROWS = 5_000_000

Entry = TypeVar("Entry")
Decide = Callable[[Sequence[tuple[Filling, frozenset[str]]]], list[Ending]]


def build(guideline: Guideline, decide: Decide) -> Tables:
    """Work out every row of every table.

    Args:
        decide: gives the endings of fully known patients; of each, the filling and its phenotypes.

    Raises:
        InvalidGuideline: a decision depends on so many features that its rows pass ``MOST_ROWS``.
    """
    asked = [patient for decision in guideline.decisions for patient in patients(guideline, decision)]
    ended: dict[str, list[tuple[Filling, Ending]]] = {name: [] for name in guideline.decisions}
    for (filling, _), ending in zip(asked, decide(asked), strict=True):
        ended[filling.decision].append((filling, ending))
    return Tables(
        decisions={name: _Decision(guideline, name, endings).table() for name, endings in ended.items()},
        phenotypes={name: _of_phenotype(guideline, name, p.expression) for name, p in guideline.phenotypes.items()},
        possible=_possible_rows(guideline),
        bins={name: guideline.bins_of(name) for name in guideline.quantities},
    )


# ---- patients ----------------------------------------------------------------------------------


def patients(guideline: Guideline, decision: str) -> Iterator[tuple[Filling, frozenset[str]]]:
    """Every fully known patient that a decision tells apart, with the phenotypes that the decision asks about.

    Raises:
        InvalidGuideline: there are too many.
    """
    _features(guideline, guideline.features_of(decision), decision)
    for filling in fillings(guideline, decision):
        if can_be(guideline, filling.values):
            inside = {
                name
                for name in guideline.phenotypes_of(decision)
                if holds(guideline, guideline.phenotypes[name].expression, filling.values)
            }
            yield filling, frozenset(inside)


def _features(guideline: Guideline, names: Iterable[str], what: str) -> tuple[Feature, ...]:
    """The features of a table; ``what`` is named where they make too many rows."""
    features = tuple(Feature(name, tuple(words for words, _ in values_of(guideline, name))) for name in names)
    count = math.prod(len(feature.values) + 1 for feature in features)
    if count > MOST_ROWS:
        found = f"{count} rows by {', '.join(feature.name for feature in features)}"
        raise InvalidGuideline([Problem(what, "depends on too many features", found, f"at most {MOST_ROWS} rows")])
    return features


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


# ---- phenotypes --------------------------------------------------------------------------------


def _of_phenotype(guideline: Guideline, name: str, expression: ClassExpression) -> Table[Truth]:
    def truth(values: Mapping[str, str]) -> Truth:
        return "entailed" if holds(guideline, expression, values) else "excluded"

    def merged(truths: Iterable[Truth]) -> Truth:
        different = set(truths)
        return different.pop() if len(different) == 1 else "unknown"

    features = _features(guideline, guideline.features_behind([name]), name)
    return _tabulate(guideline, features, truth, merged)


def _possible_rows(guideline: Guideline) -> tuple[Table[bool], ...]:
    tied = {guideline.tied(map(feature_of, leaves(expression))) for expression in guideline.impossible}
    return tuple(
        _tabulate(guideline, _features(guideline, names, "disjointness"), lambda _: True, all) for names in sorted(tied)
    )


def _tabulate(
    guideline: Guideline,
    features: tuple[Feature, ...],
    find: Callable[[Mapping[str, str]], Entry],
    merge: Callable[[Iterable[Entry]], Entry],
) -> Table[Entry]:
    """A table of what is found for fully known patients, and merged where a feature is unknown."""
    entries: dict[Entry, int] = {}
    codes: list[int] = []
    for _, known, below in _rows(features):
        if not below:
            found = [find(known)] if can_be(guideline, known) else []
        else:
            made = [*entries]
            found = [made[codes[row]] for row in below[0] if codes[row] != NOBODY]
        if not found:
            codes.append(NOBODY)
            continue
        entry = merge(found)
        codes.append(entries.setdefault(entry, len(entries)))
    return Table(features, codes, [*entries])


def _rows(features: tuple[Feature, ...]) -> Iterator[tuple[tuple[int, ...], dict[str, str], list[list[int]]]]:
    """Every row in order: its unknown features, what is known, and for each unknown one the rows that know it.

    Unknown is the last digit of a feature, so those rows come before it.
    """
    strides = [*Table[None](features, (), ()).strides.values()]
    digits = [range(len(feature.values) + 1) for feature in features]
    for row, indices in enumerate(itertools.product(*digits)):
        unknown = tuple(place for place, index in enumerate(indices) if index == features[place].unknown)
        known = {f.name: f.values[index] for f, index in zip(features, indices, strict=True) if index != f.unknown}
        below = [[row - step * strides[place] for step in range(features[place].unknown, 0, -1)] for place in unknown]
        yield unknown, known, below


# ---- decisions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Common:
    """What the fully known patients of a row have in common, as bits.

    Args:
        answers: the different answers.
        alternatives, possible_alternatives: the offers that are alternatives for all, for some.
        silent, may_be_silent: whether the source is silent for all, for some.
        applies, may_apply: the rules that apply to all, to some.
        followed, may_be_followed: those that are moreover not overridden.
        overridden_by, may_be_overridden_by: for each rule those that override it wherever it applies
            (all bits where it does not), and somewhere.
        decisive: the features in which alone two of them differ whose answers differ.
        decisive_for: for each rule the same, for whether it is followed.
    """

    answers: int
    alternatives: int
    possible_alternatives: int
    silent: bool
    may_be_silent: bool
    applies: int
    may_apply: int
    followed: int
    may_be_followed: int
    overridden_by: tuple[int, ...]
    may_be_overridden_by: tuple[int, ...]
    decisive: int
    decisive_for: tuple[int, ...]


def _together(one: _Common, other: _Common) -> _Common:
    return _Common(
        one.answers | other.answers,
        one.alternatives & other.alternatives,
        one.possible_alternatives | other.possible_alternatives,
        one.silent and other.silent,
        one.may_be_silent or other.may_be_silent,
        one.applies & other.applies,
        one.may_apply | other.may_apply,
        one.followed & other.followed,
        one.may_be_followed | other.may_be_followed,
        tuple(a & b for a, b in zip(one.overridden_by, other.overridden_by, strict=True)),
        tuple(a | b for a, b in zip(one.may_be_overridden_by, other.may_be_overridden_by, strict=True)),
        one.decisive | other.decisive,
        tuple(a | b for a, b in zip(one.decisive_for, other.decisive_for, strict=True)),
    )


class _Decision:
    """Works out the table of one decision from the endings of everybody of whom all is known."""

    def __init__(self, guideline: Guideline, name: str, endings: Sequence[tuple[Filling, Ending]]) -> None:
        self.guideline = guideline
        self.name = name
        self.endings = endings
        self.features = _features(guideline, guideline.features_of(name), name)
        self.rules = [rule.name for rule in guideline.rules_of(name)]
        self.answers = sorted({ending.key for _, ending in endings})
        self.offers = sorted({offer for _, ending in endings for offer in ending.alternatives})
        self.commons: list[_Common] = []
        self.places: dict[_Common, int] = {}
        # For each row the place of what its patients have in common.
        self.common_of: list[int] = []

    def table(self) -> Table[Verdict]:
        by_values = {tuple(filling.values.values()): self.leaf(ending) for filling, ending in self.endings}
        merged: dict[tuple[object, ...], int] = {}
        codes: list[int] = []
        verdicts: dict[Verdict, int] = {}
        seen: dict[tuple[object, ...], int] = {}
        for unknown, known, below in _rows(self.features):
            if not unknown:
                leaf = by_values.get(tuple(known.values()))
                self.common_of.append(NOBODY if leaf is None else self.place(leaf))
            else:
                first, last = ([self.common_of[row] for row in below[end]] for end in (0, -1))
                rows = (*first, *last, unknown[0] if len(unknown) == 1 else None)
                if rows not in merged:
                    merged[rows] = self.merge(first, last, unknown)
                self.common_of.append(merged[rows])
            if self.common_of[-1] == NOBODY:
                codes.append(NOBODY)
                continue
            common, missing = self.commons[self.common_of[-1]], self.missing(unknown, below)
            if self.needs_more_than_one(common, *missing):
                those = [(f, ending) for f, ending in self.endings if known.items() <= f.values.items()]
                found = verdict(self.guideline, self.name, those)
                codes.append(verdicts.setdefault(found, len(verdicts)))
                continue
            key = (self.common_of[-1], missing)
            if key not in seen:
                seen[key] = verdicts.setdefault(self.verdict(common, *missing), len(verdicts))
            codes.append(seen[key])
        return Table(self.features, codes, [*verdicts])

    def place(self, common: _Common) -> int:
        """Where it stands among those found so far; each stands once."""
        place = self.places.setdefault(common, len(self.commons))
        if place == len(self.commons):
            self.commons.append(common)
        return place

    def leaf(self, ending: Ending) -> _Common:
        applies = bits(rule in ending.applying for rule in self.rules)
        followed = bits(rule in ending.applying and rule not in ending.overridden for rule in self.rules)
        alternatives = bits(offer in ending.alternatives for offer in self.offers)
        by = [
            bits(other in ending.overridden.get(rule, ()) for other in self.rules) if rule in ending.applying else None
            for rule in self.rules
        ]
        return _Common(
            answers=1 << self.answers.index(ending.key),
            alternatives=alternatives,
            possible_alternatives=alternatives,
            silent=ending.source_silent,
            may_be_silent=ending.source_silent,
            applies=applies,
            may_apply=applies,
            followed=followed,
            may_be_followed=followed,
            overridden_by=tuple(-1 if mask is None else mask for mask in by),
            may_be_overridden_by=tuple(mask or 0 for mask in by),
            decisive=0,
            decisive_for=(0,) * len(self.rules),
        )

    def merge(self, first: list[int], last: list[int], unknown: tuple[int, ...]) -> int:
        """What the rows that know one more feature have in common.

        Args:
            first, last: these rows by the first and by the last of the unknown features. A feature is
                decisive in a row if it is in one of those that know another; with one unknown
                feature left, if the rows that know it differ.
        """
        commons = [self.commons[place] for place in last if place != NOBODY]
        if not commons:
            return NOBODY
        found = reduce(_together, commons)
        if len(unknown) > 1:
            others = reduce(_together, [self.commons[place] for place in first if place != NOBODY])
            decisive = found.decisive | others.decisive
            pairs = zip(found.decisive_for, others.decisive_for, strict=True)
            decisive_for = tuple(one | other for one, other in pairs)
        else:
            feature = 1 << unknown[0]
            decisive = feature if found.answers.bit_count() > 1 else 0
            differ = found.may_be_followed & ~found.followed
            decisive_for = tuple(feature if differ >> rule & 1 else 0 for rule in range(len(self.rules)))
        return self.place(
            _Common(
                found.answers,
                found.alternatives,
                found.possible_alternatives,
                found.silent,
                found.may_be_silent,
                found.applies,
                found.may_apply,
                found.followed,
                found.may_be_followed,
                found.overridden_by,
                found.may_be_overridden_by,
                decisive,
                decisive_for,
            )
        )

    def missing(
        self, unknown: tuple[int, ...], below: list[list[int]]
    ) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """The decisive features, the most decisive first: for the answer, and for whether each rule is followed."""
        common = self.commons[self.common_of[-1]]
        if not unknown or not (common.decisive or any(common.decisive_for)):
            return (), ((),) * len(self.rules)
        known = {
            place: [self.commons[self.common_of[row]] for row in rows if self.common_of[row] != NOBODY]
            for place, rows in zip(unknown, below, strict=True)
        }

        def ordered(decisive: int, count: Callable[[_Common], int]) -> tuple[str, ...]:
            found = [place for place in unknown if decisive >> place & 1]
            worst = {place: max(map(count, known[place])) for place in found}
            return tuple(self.features[place].name for place in sorted(found, key=lambda place: (worst[place], place)))

        def ways(rule: int) -> Callable[[_Common], int]:
            return lambda common: 1 + (common.may_be_followed >> rule & 1) - (common.followed >> rule & 1)

        for_rules = (ordered(decisive, ways(rule)) for rule, decisive in enumerate(common.decisive_for))
        return ordered(common.decisive, lambda common: common.answers.bit_count()), tuple(for_rules)

    def needs_more_than_one(
        self, common: _Common, missing: tuple[str, ...], missing_for: tuple[tuple[str, ...], ...]
    ) -> bool:
        """Whether something is open that no single feature decides, as can be where disjointness is declared."""
        open_rules = common.may_be_followed & ~common.followed
        return (common.answers.bit_count() > 1 and not missing) or any(
            open_rules >> rule & 1 and not names for rule, names in enumerate(missing_for)
        )

    def verdict(self, common: _Common, missing: tuple[str, ...], missing_for: tuple[tuple[str, ...], ...]) -> Verdict:
        settled = common.answers.bit_count() == 1
        answers = [answer for place, answer in enumerate(self.answers) if common.answers >> place & 1]
        status, recommended, conflicting = answers[0] if settled else ("undetermined", (), ())
        outcome = Outcome(
            status=status,
            source_silent=settled and common.silent,
            may_be_silent=common.may_be_silent,
            recommended=recommended,
            alternatives=_those(self.offers, common.alternatives),
            possible_alternatives=_those(self.offers, common.possible_alternatives & ~common.alternatives),
            conflicting=conflicting,
            missing=missing,
            possible=() if settled else tuple(itertools.starmap(PossibleOutcome, answers)),
        )
        return Verdict(outcome, tuple(self.rule(common, place, missing_for[place]) for place in range(len(self.rules))))

    def rule(self, common: _Common, place: int, missing: tuple[str, ...]) -> RuleVerdict:
        certain, possible = common.applies >> place & 1, common.may_apply >> place & 1
        followed, may_be_followed = common.followed >> place & 1, common.may_be_followed >> place & 1
        always = common.overridden_by[place] if possible else 0
        state: RuleState = "applies" if certain else "unknown"
        if not may_be_followed:
            state = "overridden" if possible else "excluded"
        return RuleVerdict(
            rule=self.rules[place],
            state=state,
            certain=bool(certain),
            overridden_by=_those(self.rules, always),
            may_be_overridden_by=_those(self.rules, common.may_be_overridden_by[place] & ~always),
            followed="certain" if followed else "possible" if may_be_followed else "never",
            follow_missing=missing,
        )


def _those(names: Sequence[str], mask: int) -> tuple[str, ...]:
    return tuple(name for place, name in enumerate(names) if mask >> place & 1)
