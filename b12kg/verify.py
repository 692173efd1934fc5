"""What holds for every patient there can be: the proof of a guideline over its tables.

Owns the five properties, the figures behind them, and the findings, each with a patient who shows it.
A finding that the source itself causes is named in the guideline's ``expected-findings.ttl``, with the
reason; any other is a defect. Row by row equality with the reasoner is for the test suite.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Literal

from b12kg.compiled import Compiled
from b12kg.guideline import Guideline, Rule
from b12kg.iris import B12, RDF, RDFS, XSD
from b12kg.outcome import Verdict
from b12kg.record import JsonValue, Measurement, Record
from b12kg.tables import Masks, Table, bits, example, masks
from b12kg.tabulate import holds, patients
from b12kg.validate import validate

if TYPE_CHECKING:
    from rdflib import Graph

Kind = Literal[
    "gap",
    "unconcerned",
    "conflict",
    "dead-rule",
    "idle-override",
    "not-monotone",
    "insufficient-question",
    "superfluous-question",
    "unmet",
]
Role = Literal["decides", "adds an alternative only", "corroborates only", "never applies"]
Relation = Literal["agree", "ordered", "overridden by a third", "permission", "conflict"]
Rows = Table[Verdict]
# A record of a patient of whom just these features are known.
Show = Callable[[Mapping[str, str]], Mapping[str, JsonValue]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold, or an expectation that is not met.

    Args:
        kind: gap (nothing is said to a patient whom the decision concerns), unconcerned (a rule applies
            to a patient whom its decision does not concern), conflict (rules that apply together,
            without order or agreement), dead-rule (it never applies), idle-override (its rules never
            apply together), not-monotone (a fact turns a settled answer into another), insufficient- or
            superfluous-question (about ``missing``), unmet (an expected finding that there is none of).
        rules: the rules that it is about, sorted.
        patients: whom it is about, as facts in words; the fewest that suffice.
        count: how many fully known patients these are, or rows for questions and steps.
        witness: a record that shows it.
        expected: why the source itself is the cause, as the guideline says; None if it does not.
    """

    kind: Kind
    decision: str
    rules: tuple[str, ...]
    patients: str
    count: int
    witness: Mapping[str, JsonValue]
    expected: str | None = None

    def to_dict(self) -> dict[str, JsonValue]:
        """The finding as JSON."""
        return {
            "kind": self.kind,
            "decision": self.decision,
            "rules": list(self.rules),
            "patients": self.patients,
            "count": self.count,
            "witness": dict(self.witness),
            "expected": self.expected,
        }


@dataclass(frozen=True, slots=True)
class DecisionFigures:
    """How much was looked at for one decision, and what its rules do.

    Args:
        rows: rows of its table, the impossible ones included.
        possible: rows that a patient can be in.
        patients: fully known patients whom it tells apart.
        statuses: how it ends, over all possible rows.
        roles: what each rule does, over all fully known patients.
        pairs: how each two rules that can apply together stand to each other, with the number of patients.
        steps: learned facts whose effect on a settled row was looked at.
        questions: undetermined rows whose missing facts were learned in every way.
    """

    rows: int
    possible: int
    patients: int
    statuses: Mapping[str, int]
    roles: Mapping[str, Role]
    pairs: Mapping[tuple[str, str], Mapping[Relation, int]]
    steps: int
    questions: int

    def to_dict(self) -> dict[str, JsonValue]:
        """The figures as JSON."""
        return {
            "rows": self.rows,
            "possibleRows": self.possible,
            "patients": self.patients,
            "statuses": dict(sorted(self.statuses.items())),
            "roles": dict(self.roles),
            "pairs": [
                {"rules": list(pair), "patients": {**{str(relation): count for relation, count in counts.items()}}}
                for pair, counts in sorted(self.pairs.items())
            ],
            "steps": self.steps,
            "questions": self.questions,
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """The figures and findings of a guideline."""

    guideline: Guideline
    figures: Mapping[str, DecisionFigures]
    findings: tuple[Finding, ...]

    @property
    def unexpected(self) -> tuple[Finding, ...]:
        """The findings that the guideline does not name as caused by its source."""
        return tuple(finding for finding in self.findings if finding.expected is None)

    def to_dict(self) -> dict[str, JsonValue]:
        """Everything as JSON."""
        guideline = self.guideline
        return {
            "guideline": {"id": guideline.id, "version": guideline.version, "digest": guideline.digest},
            "reviewStatus": guideline.review_status,
            "decisions": {name: figures.to_dict() for name, figures in self.figures.items()},
            "findings": [finding.to_dict() for finding in self.findings],
            "unexpected": len(self.unexpected),
            "disclaimer": guideline.disclaimer,
        }

    def graph(self) -> Graph:
        """The findings as RDF, each with its witness as a record."""
        return _graph(self)


def verify(compiled: Compiled) -> Verification:
    """Check a guideline over every row of its tables.

    >>> from b12kg.compiled import load_compiled
    >>> verify(load_compiled("droracle-2025")).unexpected
    ()
    """
    guideline = compiled.guideline
    show: Show = partial(example, guideline, accept=partial(accepted, compiled))
    figures, findings = {}, list[Finding]()
    for name, table in compiled.tables.decisions.items():
        findings += _gaps(guideline, name, table, show)
        findings += _unconcerned(guideline, name, table, show)
        findings += _conflicts(guideline, name, table, show)
        roles = _roles(guideline, name)
        findings += (
            Finding("dead-rule", name, (rule,), "anybody", 0, show({}))
            for rule, role in roles.items()
            if role == "never applies"
        )
        steps, not_monotone = _monotone(guideline, name, table, show)
        questions, wrong = _questions(guideline, name, table, show)
        findings += [*not_monotone, *wrong]
        figures[name] = DecisionFigures(
            rows=len(table.codes),
            possible=sum(1 for _ in table.rows()),
            patients=sum(1 for _ in _fully_known(table)),
            statuses=Counter(verdict.outcome.status for _, verdict in table.rows()),
            roles=roles,
            pairs=_pairs(guideline, name, table),
            steps=steps,
            questions=questions,
        )
    findings += _idle_overrides(guideline, figures, show)
    return Verification(guideline, figures, _with_reasons(guideline, findings, show))


def accepted(compiled: Compiled, quantity: str, value: Decimal) -> bool:
    """Whether a record may state this value of a quantity, in the canonical unit."""
    guideline = compiled.guideline
    unit = guideline.quantities[quantity].unit
    measurement = Measurement(quantity, value, unit, value, "measurements[0]")
    record = Record("urn:example:patient", date.fromisoformat(guideline.last_updated), measurements=(measurement,))
    return not any(problem.severity == "error" for problem in validate(record, guideline, compiled.shapes))


def _with_reasons(guideline: Guideline, findings: Sequence[Finding], show: Show) -> tuple[Finding, ...]:
    """The findings with the reason of each that is expected, and the expectations that are not met."""
    expected = {(e.kind, e.decision, e.rules, e.patients): e for e in guideline.expected}
    explained = []
    for finding in findings:
        found = expected.pop((finding.kind, finding.decision, finding.rules, finding.patients), None)
        explained.append(replace(finding, expected=found.reason if found else None))
    explained += (
        Finding("unmet", e.decision, e.rules, f"{e.kind}: {e.patients}", 0, show({})) for e in expected.values()
    )
    return tuple(explained)


def _fully_known(table: Rows) -> Iterator[tuple[int, Verdict]]:
    """The rows in which nothing is unknown."""
    return ((row, verdict) for row, verdict in table.rows() if len(table.known(row)) == len(table.features))


def in_words(known: Mapping[str, str]) -> str:
    """Facts as people write them.

    >>> in_words({"A": "present", "B": "< 10 cm"})
    'A present, B < 10 cm'
    """
    return ", ".join(f"{feature} {value}" for feature, value in known.items()) or "anybody"


# ---- total -------------------------------------------------------------------------------------


def _gaps(guideline: Guideline, decision: str, table: Rows, show: Show) -> Iterator[Finding]:
    """Patients whom the decision concerns, and to whom no rule applies: each by the fewest facts that say so."""
    yield from _fewest(decision, table, show, "gap", (), lambda verdict: verdict.outcome.source_silent)


def _unconcerned(guideline: Guideline, decision: str, table: Rows, show: Show) -> Iterator[Finding]:
    """Patients to whom a rule applies though its decision does not concern them: one of the two is wrong."""
    concerns = guideline.phenotypes[guideline.decisions[decision].concerns].expression
    for rule in guideline.rules_of(decision):
        rows = [
            row
            for row, verdict in _fully_known(table)
            if not holds(guideline, concerns, table.known(row))
            and any(found.rule == rule.name and found.certain for found in verdict.rules)
        ]
        if rows:
            known = table.known(min(rows, key=partial(_conditions, table)))
            words = f"no {guideline.phenotypes[guideline.decisions[decision].concerns].label}"
            yield Finding("unconcerned", decision, (rule.name,), words, len(rows), show(known))


def _fewest(
    decision: str,
    table: Rows,
    show: Show,
    kind: Kind,
    rules: tuple[str, ...],
    concerned: Callable[[Verdict], bool],
) -> Iterator[Finding]:
    """A finding for each way to state the fewest facts whose patients are all concerned."""
    rows = {row for row, verdict in table.rows() if concerned(verdict)}
    full = [row for row, _ in _fully_known(table) if row in rows]
    ways: dict[int, frozenset[int]] = {}
    for row in rows:
        known = table.known(row)
        fewer = (table.row({f: v for f, v in known.items() if f != feature}) for feature in known)
        if rows.isdisjoint(fewer):
            ways[row] = frozenset(one for one in full if known.items() <= table.known(one).items())
    for row, people in sorted(ways.items()):
        # By the kinds of concepts, other words can say the same of some of these patients.
        if not any(people < others for others in ways.values()):
            witness = show(table.known(min(people, key=partial(_conditions, table))))
            yield Finding(kind, decision, rules, in_words(table.known(row)), len(people), witness)


def _conditions(table: Rows, row: int) -> tuple[int, int]:
    """For sorting by how many concepts are present, so that a witness has as few as can be."""
    return sum(value == "present" for value in table.known(row).values()), row


# ---- consistent --------------------------------------------------------------------------------


def _conflicts(guideline: Guideline, decision: str, table: Rows, show: Show) -> Iterator[Finding]:
    """The smallest sets of rules that are followed together by some patient, and agree on no offer."""
    sets = {rules for _, verdict in _fully_known(table) for rules in _disagreeing(guideline, verdict)}

    def followed(rules: tuple[str, ...], verdict: Verdict) -> bool:
        return all(rule.followed == "certain" for rule in verdict.rules if rule.rule in rules)

    for rules in sorted(sets):
        yield from _fewest(decision, table, show, "conflict", rules, partial(followed, rules))


def _disagreeing(guideline: Guideline, verdict: Verdict) -> list[tuple[str, ...]]:
    """Of the rules that a fully known patient is to follow, the smallest sets that agree on nothing."""
    followed = [
        rule.rule for rule in verdict.rules if rule.state == "applies" and not guideline.rules[rule.rule].merely_permits
    ]
    found: list[tuple[str, ...]] = []
    for size in range(2, len(followed) + 1):
        for some in itertools.combinations(followed, size):
            smaller = any(set(other) <= set(some) for other in found)
            if not smaller and not _agree(guideline, [guideline.rules[name] for name in some]):
                found.append(some)
    return found


def _agree(guideline: Guideline, rules: Sequence[Rule]) -> bool:
    """Whether some offer is made by each of the rules, or refines one that it makes."""
    return any(
        all(not {offer, *guideline.refined_by(offer)}.isdisjoint(other.offers) for other in rules)
        for rule in rules
        for offer in rule.offers
    )


def _pairs(guideline: Guideline, decision: str, table: Rows) -> dict[tuple[str, str], dict[Relation, int]]:
    """For each two rules that can apply together, how they stand to each other, in how many patients."""
    found: dict[tuple[str, str], Counter[Relation]] = {}
    edges = {frozenset((override.preferred, override.over)) for override in guideline.overrides}
    for _, verdict in _fully_known(table):
        applying = [rule for rule in verdict.rules if rule.certain]
        for pair in itertools.combinations(applying, 2):
            one, other = (guideline.rules[rule.rule] for rule in pair)
            relation: Relation = (
                "ordered"
                if {one.name, other.name} in edges
                else "overridden by a third"
                if any(rule.state == "overridden" for rule in pair)
                else "permission"
                if one.merely_permits or other.merely_permits
                else "agree"
                if _agree(guideline, [one, other])
                else "conflict"
            )
            found.setdefault((one.name, other.name), Counter())[relation] += 1
    return {pair: dict(counts) for pair, counts in found.items()}


# ---- live --------------------------------------------------------------------------------------


def _roles(guideline: Guideline, decision: str) -> dict[str, Role]:
    """What each rule of a decision does: what would change for anybody if it were not there."""
    from b12kg.decide import decide

    people = list(patients(guideline, decision))
    endings = decide(guideline, people)
    roles: dict[str, Role] = {}
    for rule in guideline.rules_of(decision):
        concerned = [index for index, ending in enumerate(endings) if rule.name in ending.applying]
        others = decide(guideline, [people[index] for index in concerned], leaving_out=rule.name) if concerned else []
        changed = [(endings[index], other) for index, other in zip(concerned, others, strict=True)]
        if not changed:
            roles[rule.name] = "never applies"
        elif any(one.key != other.key for one, other in changed):
            roles[rule.name] = "decides"
        elif any(one.alternatives != other.alternatives for one, other in changed):
            roles[rule.name] = "adds an alternative only"
        else:
            roles[rule.name] = "corroborates only"
    return roles


def _idle_overrides(guideline: Guideline, figures: Mapping[str, DecisionFigures], show: Show) -> Iterator[Finding]:
    """Overrides that never act, since in no decision any patient is in the populations of both rules."""
    for override in guideline.overrides:
        rules = guideline.rules[override.preferred], guideline.rules[override.over]
        one, other = sorted(rule.name for rule in rules)
        shared = [name for name in rules[1].decisions if name in rules[0].decisions]
        if not any((one, other) in figures[name].pairs for name in shared):
            yield Finding("idle-override", rules[1].decisions[0], (one, other), "nobody", 0, show({}))


# ---- monotone ----------------------------------------------------------------------------------


def _learned(table: Rows, known: Mapping[str, str]) -> Iterator[int]:
    """The rows that one more known fact leads to, for every feature and value that a patient can have."""
    for feature in table.features:
        if feature.name not in known:
            for value in feature.values:
                row = table.row({**known, feature.name: value})
                if table.entry(row) is not None:
                    yield row


def _monotone(guideline: Guideline, decision: str, table: Rows, show: Show) -> tuple[int, list[Finding]]:
    """Whether learning one more fact leaves every settled answer as it is; the steps, and those that do not."""
    steps, turned = 0, list[tuple[int, tuple[str, ...]]]()
    names = [rule.name for rule in guideline.rules_of(decision)]
    for row, before in table.rows():
        for learned in _learned(table, table.known(row)):
            steps += 1
            after = table.at(learned)
            taken_back = _taken_back(before, after, masks(table, row), masks(table, learned))
            settled = before.outcome.status != "undetermined"
            if taken_back or (settled and before.outcome.key != after.outcome.key) or _drops(before, after):
                turned.append((row, tuple(name for place, name in enumerate(names) if taken_back >> place & 1)))
    return steps, _by_row(decision, table, show, "not-monotone", turned)


def _taken_back(before: Verdict, after: Verdict, was: Masks | None, now: Masks | None) -> int:
    """The rules, as bits, of which something that was found no longer holds."""
    if was is None or now is None:
        raise ValueError("a row that nobody can be in has no states")
    certain = bits(one.certain and not other.certain for one, other in zip(before.rules, after.rules, strict=True))
    return (
        certain
        | was.excluded & ~now.excluded
        | was.applies & ~(now.applies | now.overridden)
        | was.overridden & ~(now.overridden | now.excluded)
    )


def _drops(before: Verdict, after: Verdict) -> bool:
    """Whether an alternative that was certain is gone, or an answer that was ruled out is possible again."""
    if before.outcome.status == "undetermined":
        possible = {(p.status, p.recommended, p.conflicting) for p in before.outcome.possible}
        then = {(p.status, p.recommended, p.conflicting) for p in after.outcome.possible} or {after.outcome.key}
        return not then <= possible
    return not set(before.outcome.alternatives) <= set(after.outcome.alternatives)


def _by_row(
    decision: str, table: Rows, show: Show, kind: Kind, rows: Sequence[tuple[int, tuple[str, ...]]]
) -> list[Finding]:
    """One finding for all the rows of a kind; the first is its witness."""
    if not rows:
        return []
    known = table.known(rows[0][0])
    rules = tuple(sorted({rule for _, some in rows for rule in some}))
    return [Finding(kind, decision, rules, in_words(known), len(rows), show(known))]


# ---- minimal questions -------------------------------------------------------------------------


def _questions(guideline: Guideline, decision: str, table: Rows, show: Show) -> tuple[int, list[Finding]]:
    """Whether the missing facts settle each undetermined row, and none of them could be left out."""
    asked, insufficient, superfluous = 0, list[tuple[int, tuple[str, ...]]](), list[tuple[int, tuple[str, ...]]]()
    for row, verdict in table.rows():
        if verdict.outcome.status != "undetermined":
            continue
        asked += 1
        missing = verdict.outcome.missing
        if not missing or not _settles(table, row, missing):
            insufficient.append((row, ()))
        if any(_settles(table, row, [other for other in missing if other != one]) for one in missing):
            superfluous.append((row, ()))
    return asked, [
        *_by_row(decision, table, show, "insufficient-question", insufficient),
        *_by_row(decision, table, show, "superfluous-question", superfluous),
    ]


def _settles(table: Rows, row: int, features: Sequence[str]) -> bool:
    """Whether every way to learn the features leaves the decision settled."""
    known, values = table.known(row), {feature.name: feature.values for feature in table.features}
    for learned in itertools.product(*(values[name] for name in features)):
        found = table.entry(table.row({**known, **dict(zip(features, learned, strict=True))}))
        if found is not None and found.outcome.status == "undetermined":
            return False
    return True


# ---- as RDF ------------------------------------------------------------------------------------


def _graph(verification: Verification) -> Graph:
    from rdflib import Graph, Literal, URIRef

    from b12kg.records.json import read_document
    from b12kg.records.rdf import record_graph

    guideline, graph = verification.guideline, Graph()
    top = URIRef(f"{guideline.iri}/verification/{guideline.digest.removeprefix('sha256:')[:32]}")

    def add(subject: URIRef, property_: str, value: URIRef | Literal) -> None:
        graph.add((subject, URIRef(property_), value))

    add(top, RDF + "type", URIRef(B12 + "Verification"))
    add(top, RDFS + "label", Literal(f"what holds for every patient of {guideline.label}", lang="en"))
    add(top, B12 + "verifies", URIRef(guideline.iri))
    add(top, B12 + "guidelineDigest", Literal(guideline.digest))
    add(top, B12 + "reviewStatus", Literal(guideline.review_status))
    add(top, B12 + "disclaimer", Literal(guideline.disclaimer))
    for number, finding in enumerate(verification.findings, start=1):
        node, witness = URIRef(f"{top}/{number}"), f"{top}/{number}/witness"
        add(top, B12 + "finding", node)
        add(node, RDF + "type", URIRef(B12 + "VerificationFinding"))
        add(node, RDFS + "label", Literal(f"{finding.kind}: {finding.patients}", lang="en"))
        add(node, B12 + "findingKind", URIRef(B12 + finding.kind))
        add(node, B12 + "inDecision", URIRef(guideline.decisions[finding.decision].iri))
        add(node, B12 + "patients", Literal(finding.patients))
        add(node, B12 + "count", Literal(str(finding.count), datatype=URIRef(XSD + "integer")))
        for rule in finding.rules:
            add(node, B12 + "rule", URIRef(guideline.rules[rule].iri))
        if finding.expected is not None:
            add(node, B12 + "editorialReason", Literal(finding.expected))
        add(node, B12 + "witness", URIRef(witness))
        record, _ = read_document({**finding.witness, "id": witness}, guideline)
        graph += record_graph(record, guideline)
    return graph
