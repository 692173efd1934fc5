"""How a decision ends for a patient, and what several possible endings come to.

Owns the meaning of unknown facts: each way to fill them in has an ending; the same ending each time
is the answer, and otherwise the decisive facts are those that separate the endings. What an engine
finds of a decision is a verdict: the reference makes it from endings, a table looks it up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from b12kg.expression import (
    ClassExpression,
    DataHasValue,
    ObjectComplementOf,
    ObjectIntersectionOf,
    ObjectSomeValuesFrom,
    ObjectUnionOf,
)
from b12kg.guideline import JURISDICTION, Guideline

Status = Literal["recommended", "choice", "conflict", "undetermined", "not-applicable"]
RuleState = Literal["applies", "overridden", "excluded", "unknown"]


@dataclass(frozen=True, slots=True)
class Filling:
    """One way to fill in every feature of a decision.

    Args:
        decision: name of the decision.
        values: feature -> what it is filled with, in words that are the same for the same value.
        expression: the patients whose features are so.
    """

    decision: str
    values: Mapping[str, str]
    expression: ClassExpression


@dataclass(frozen=True, slots=True)
class Ending:
    """How a decision ends where every feature is known; names are sorted.

    Args:
        applying: the rules that apply, overridden ones included.
        overridden: rule -> the applying rules that override it.
        source_silent: the decision concerns the patient and no rule applies.
    """

    status: Status
    recommended: tuple[str, ...]
    conflicting: tuple[str, ...]
    alternatives: tuple[str, ...]
    applying: frozenset[str]
    overridden: Mapping[str, frozenset[str]]
    source_silent: bool

    @property
    def key(self) -> tuple[Status, tuple[str, ...], tuple[str, ...]]:
        """What has to be the same for two endings to be the same answer: not the alternatives."""
        return self.status, self.recommended, self.conflicting


@dataclass(frozen=True, slots=True)
class PossibleOutcome:
    """One of the answers that an undetermined decision may come to."""

    status: Status
    recommended: tuple[str, ...]
    conflicting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a decision.

    Args:
        source_silent: the decision concerns the patient, and no rule applies.
        may_be_silent: that is so for some filling of the unknown facts.
        recommended: the agreed offers.
        alternatives: offers that may be taken instead, whatever the unknown facts are.
        possible_alternatives: those that only some fillings bring.
        conflicting: every side of a conflict.
        missing: the facts that would settle it, the most decisive first.
        possible: what an undetermined decision may come to.
    """

    status: Status
    source_silent: bool
    may_be_silent: bool
    recommended: tuple[str, ...]
    alternatives: tuple[str, ...]
    possible_alternatives: tuple[str, ...]
    conflicting: tuple[str, ...]
    missing: tuple[str, ...]
    possible: tuple[PossibleOutcome, ...]

    @property
    def key(self) -> tuple[Status, tuple[str, ...], tuple[str, ...]]:
        """What makes it the same answer as another: not the alternatives."""
        return self.status, self.recommended, self.conflicting


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What every filling of the unknown facts comes to for one rule; names are sorted.

    Args:
        rule: its name.
        certain: it applies in every filling, overridden or not.
        overridden_by: rules that override it wherever it applies.
        may_be_overridden_by: rules that override it in some of the fillings in which it applies.
        followed: whether it applies and is not overridden: in every filling, in some, or in none.
        follow_missing: the facts that decide whether it is followed, the most decisive first.
    """

    rule: str
    state: RuleState
    certain: bool
    overridden_by: tuple[str, ...]
    may_be_overridden_by: tuple[str, ...]
    followed: Literal["certain", "possible", "never"]
    follow_missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an engine finds of one decision for a patient: the outcome, and each rule, sorted by name."""

    outcome: Outcome
    rules: tuple[RuleVerdict, ...]


def fillings(guideline: Guideline, decision: str) -> Iterator[Filling]:
    """Every way to fill in the features of a decision, the impossible ones included.

    Which of them a patient can be is for the reasoner to say.
    """
    features = guideline.features_of(decision)
    for combination in itertools.product(*(values_of(guideline, feature) for feature in features)):
        values = {feature: words for feature, (words, _) in zip(features, combination, strict=True)}
        yield Filling(decision, values, ObjectIntersectionOf(tuple(expression for _, expression in combination)))


def values_of(guideline: Guideline, feature: str) -> list[tuple[str, ClassExpression]]:
    """What a feature can be filled with: the words for each value, and the patients who have it."""
    if feature == JURISDICTION:
        named: list[ClassExpression] = [DataHasValue(JURISDICTION, code) for code in guideline.codes_of_jurisdiction()]
        elsewhere = ObjectComplementOf(ObjectUnionOf(tuple(named)) if len(named) > 1 else named[0])
        return [*zip(guideline.codes_of_jurisdiction(), named, strict=True), ("elsewhere", elsewhere)]
    if feature in guideline.quantities:
        return [(bin_.label, bin_.patients(feature)) for bin_ in guideline.bins_of(feature)]
    present = ObjectSomeValuesFrom(feature)
    return [("present", present), ("absent", ObjectComplementOf(present))]


def settle(endings: Sequence[tuple[Filling, Ending]]) -> Outcome:
    """What a decision comes to over every filling that the patient can be.

    An answer is settled if each filling ends with the same status and the same recommended or
    conflicting offers. Alternatives do not count; those that only some fillings bring are possible.
    """
    if not endings:
        raise ValueError("a possible patient has at least one filling")
    distinct = sorted({ending.key for _, ending in endings})
    certain = frozenset(endings[0][1].alternatives).intersection(*(ending.alternatives for _, ending in endings))
    some = frozenset[str]().union(*(ending.alternatives for _, ending in endings))
    settled = len(distinct) == 1
    status, recommended, conflicting = distinct[0] if settled else ("undetermined", (), ())
    return Outcome(
        status=status,
        source_silent=settled and all(ending.source_silent for _, ending in endings),
        may_be_silent=any(ending.source_silent for _, ending in endings),
        recommended=recommended,
        alternatives=tuple(sorted(certain)),
        possible_alternatives=tuple(sorted(some - certain)),
        conflicting=conflicting,
        missing=decisive(endings, lambda ending: ending.key),
        possible=() if settled else tuple(itertools.starmap(PossibleOutcome, distinct)),
    )


def decisive(endings: Sequence[tuple[Filling, Ending]], answer: Callable[[Ending], Hashable]) -> tuple[str, ...]:
    """The unknown features that decide between different answers, the most decisive first.

    A feature is decisive if two fillings that differ in it alone have different answers; if no
    single feature separates any two, the smallest sets of features that do are taken together.
    The most decisive leaves the fewest answers in the worst case; ties are in code point order.
    """
    answers = [(filling.values, answer(ending)) for filling, ending in endings]
    found = _separating_alone(answers) or _separating_together(answers)

    def worst(feature: str) -> int:
        """How many answers are left at most once the feature is known."""
        left: dict[str, set[Hashable]] = {}
        for filling, ending in endings:
            left.setdefault(filling.values[feature], set()).add(answer(ending))
        return max(map(len, left.values()))

    return tuple(sorted(found, key=lambda feature: (worst(feature), feature)))


def _separating_alone(answers: Sequence[tuple[Mapping[str, str], Hashable]]) -> set[str]:
    """The features in which alone two fillings with different answers differ."""
    found = set()
    for feature in answers[0][0]:
        same_but_for_it: dict[tuple[str, ...], Hashable] = {}
        for values, answer in answers:
            others = tuple(value for name, value in values.items() if name != feature)
            if same_but_for_it.setdefault(others, answer) != answer:
                found.add(feature)
                break
    return found


def _separating_together(answers: Sequence[tuple[Mapping[str, str], Hashable]]) -> set[str]:
    """The union of the smallest sets of features in which two fillings with different answers differ."""
    fewest, found = None, set[str]()
    for (left, one), (right, other) in itertools.combinations(answers, 2):
        if one != other:
            apart = {feature for feature in left if left[feature] != right[feature]}
            if fewest is None or len(apart) < fewest:
                fewest, found = len(apart), set()
            if len(apart) == fewest:
                found |= apart
    return found


def state_of(rule: str, endings: Sequence[tuple[Filling, Ending]]) -> RuleState:
    """Whether a rule applies, over every filling.

    It is overridden if each filling in which it applies overrides it, whether or not it applies in
    all of them; if only some of these do, it applies, or that is unknown.
    """
    applying = [ending for _, ending in endings if rule in ending.applying]
    if not applying:
        return "excluded"
    if all(rule in ending.overridden for ending in applying):
        return "overridden"
    return "applies" if len(applying) == len(endings) else "unknown"


def overriders_of(rule: str, endings: Sequence[tuple[Filling, Ending]]) -> tuple[frozenset[str], frozenset[str]]:
    """The rules that override a rule wherever it applies, and those that do so only in some fillings."""
    by = [ending.overridden.get(rule, frozenset()) for _, ending in endings if rule in ending.applying]
    if not by:
        return frozenset(), frozenset()
    always = by[0].intersection(*by)
    return always, frozenset[str]().union(*by) - always


def verdict(guideline: Guideline, decision: str, endings: Sequence[tuple[Filling, Ending]]) -> Verdict:
    """What is found of a decision over every filling that the patient can be."""
    return Verdict(settle(endings), tuple(_rule(rule.name, endings) for rule in guideline.rules_of(decision)))


def _rule(rule: str, endings: Sequence[tuple[Filling, Ending]]) -> RuleVerdict:
    def followed(ending: Ending) -> bool:
        return rule in ending.applying and rule not in ending.overridden

    always, sometimes = overriders_of(rule, endings)
    holds = [followed(ending) for _, ending in endings]
    return RuleVerdict(
        rule=rule,
        state=state_of(rule, endings),
        certain=all(rule in ending.applying for _, ending in endings),
        overridden_by=tuple(sorted(always)),
        may_be_overridden_by=tuple(sorted(sometimes)),
        followed="certain" if all(holds) else "possible" if any(holds) else "never",
        follow_missing=decisive(endings, followed),
    )
