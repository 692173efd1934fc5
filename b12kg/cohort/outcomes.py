"""The outcomes of each decision, numbered; what a number stands for.

Owns the codes: what tells two outcomes apart, which rows come to which, and the companion table that says it all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from b12kg.errors import Problem, UnsupportedConstruct
from b12kg.expression import Truth
from b12kg.guideline import Guideline
from b12kg.outcome import PossibleOutcome, Verdict
from b12kg.recommendation import Alert
from b12kg.record import JsonValue
from b12kg.tables import NOBODY, Table, Tables, bits

# Codes are written as unsigned numbers of 16 bits.
MOST = 2**16

# The alerts that a verdict raises, given the truth of phenotypes; the same for single records.
Alerts = Callable[[Verdict, Callable[[str], Truth]], Iterable[Alert]]


@dataclass(frozen=True, slots=True)
class Coded:
    """One outcome of a decision: the verdict, and the truth of what its alerts and passages ask about."""

    verdict: Verdict
    truths: Mapping[str, Truth]


@dataclass(frozen=True)
class Codes:
    """For each decision, the code of each row over the features that its outcome depends on.

    Args:
        tables: the entry of a row is its code.
        outcomes: decision -> what each code stands for.
    """

    tables: Mapping[str, Table[int]]
    outcomes: Mapping[str, Sequence[Coded]]


def codes(guideline: Guideline, tables: Tables) -> Codes:
    """The codes of a guideline.

    Raises:
        UnsupportedConstruct: a decision has more outcomes than there are codes.
    """
    found: dict[str, Table[int]] = {}
    outcomes: dict[str, Sequence[Coded]] = {}
    for decision, table in tables.decisions.items():
        asked = _asked(guideline, decision)
        found[decision], outcomes[decision] = _coded(
            guideline, table, {name: tables.phenotypes[name] for name in asked}
        )
        if len(outcomes[decision]) > MOST:
            message = "more outcomes than there are codes"
            raise UnsupportedConstruct([Problem(decision, message, str(len(outcomes[decision])), f"at most {MOST}")])
    return Codes(found, outcomes)


def _asked(guideline: Guideline, decision: str) -> list[str]:
    """The phenotypes that the alerts and the passages of a decision's rules depend on."""
    rules = guideline.rules_of(decision)
    alerting = {rule.alert_when for rule in rules if rule.alert_when is not None}
    limiting = {support.only_for for rule in rules for support in rule.support if support.only_for is not None}
    return sorted(alerting | limiting)


def _coded(
    guideline: Guideline, table: Table[Verdict], phenotypes: Mapping[str, Table[Truth]]
) -> tuple[Table[int], list[Coded]]:
    """The decision's table over the features of the phenotypes as well, and what each code stands for.

    A row that leaves out what it entails has no code: what a patient's kinds entail is worked out first.
    """
    tables: list[Table[Verdict] | Table[Truth]] = [table, *phenotypes.values()]
    features = {feature.name: feature for of in tables for feature in of.features}
    ordered = tuple(feature for _, feature in sorted(features.items()))
    numbers: dict[tuple[int, ...], int] = {}
    outcomes: list[Coded] = []
    rows: list[int] = []
    for indices in itertools.product(*(range(len(feature.values) + 1) for feature in ordered)):
        place = dict(zip((feature.name for feature in ordered), indices, strict=True))
        verdict = _at(table, place)
        truths = [_at(of, place) for of in phenotypes.values()]
        known = {f.name: f.values[place[f.name]] for f in ordered if place[f.name] != f.unknown}
        if verdict == NOBODY or NOBODY in truths or not is_closed(guideline, known, place):
            rows.append(NOBODY)
            continue
        code = numbers.setdefault((verdict, *truths), len(outcomes))
        if code == len(outcomes):
            said = {name: of.entries[truth] for (name, of), truth in zip(phenotypes.items(), truths, strict=True)}
            outcomes.append(Coded(table.entries[verdict], said))
        rows.append(code)
    return Table(ordered, rows, range(len(outcomes))), outcomes


def is_closed(guideline: Guideline, known: Mapping[str, str], among: Collection[str]) -> bool:
    """Whether features say all that they entail among some: a kind present its parents, a parent absent its kinds."""
    for name, value in known.items():
        if name in guideline.concepts:
            entailed = guideline.parents_of(name) if value == "present" else guideline.kinds_of(name)
            if any(known.get(other) != value for other in entailed if other in among):
                return False
    return True


def _at(table: Table[Verdict] | Table[Truth], place: Mapping[str, int]) -> int:
    return table.codes[sum(place[name] * stride for name, stride in table.strides.items())]


def companion(guideline: Guideline, codes: Codes, alerts: Alerts) -> list[dict[str, JsonValue]]:
    """What every code of every decision stands for, one mapping each."""
    return [
        {"decision": decision, "code": code, **_said(guideline, decision, found, codes.tables[decision], alerts)}
        for decision, outcomes in codes.outcomes.items()
        for code, found in enumerate(outcomes)
    ]


def _said(guideline: Guideline, decision: str, found: Coded, table: Table[int], alerts: Alerts) -> dict[str, JsonValue]:
    outcome, rules = found.verdict.outcome, found.verdict.rules
    passages = {
        support.passage
        for verdict in rules
        if verdict.state == "applies"
        for support in guideline.rules[verdict.rule].support
        if support.only_for is None or found.truths[support.only_for] == "entailed"
    }
    return {
        "status": outcome.status,
        "recommended": [*outcome.recommended],
        "alternatives": [*outcome.alternatives],
        "possibleAlternatives": [*outcome.possible_alternatives],
        "conflicting": [*outcome.conflicting],
        "missing": [*outcome.missing],
        "possible": [_words(possible) for possible in outcome.possible],
        "sourceSilent": outcome.source_silent,
        "alerts": [f"{alert.rule} {alert.certainty}" for alert in alerts(found.verdict, found.truths.__getitem__)],
        **{
            state: [verdict.rule for verdict in rules if verdict.state == state]
            for state in ("applies", "overridden", "excluded", "unknown")
        },
        "passages": [*sorted(passages)],
        **{
            f"{state}Mask": bits(verdict.state == state for verdict in rules)
            for state in ("applies", "overridden", "excluded", "unknown")
        },
        "missingMask": bits(feature.name in outcome.missing for feature in table.features),
    }


def _words(possible: PossibleOutcome) -> str:
    return " ".join((possible.status, *possible.recommended, *possible.conflicting))
