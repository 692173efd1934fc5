"""The answer to one record: outcomes, findings on rules and arguments, alerts, notices; as JSON.

Owns the value that every form of an answer is made from, and its JSON form. Finds nothing out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from b12kg.errors import Problem, UsageError
from b12kg.expression import Truth
from b12kg.guideline import Argument, Guideline, Offer, Rule
from b12kg.imported import ImportReport
from b12kg.outcome import Outcome, RuleState, Status, Verdict
from b12kg.record import Circumstance, Facts, JsonValue, Measurement, Record, Statement, json_number
from b12kg.tables import Place, Table, Tables

if TYPE_CHECKING:
    from rdflib import Graph

    from b12kg.recommendation.explanations import WhatIf, WhyNot


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact that a finding rests on: what it is about, how it is known, and from which entry.

    Args:
        of: concept, quantity or jurisdiction that the rule asks about.
        entry: the entry of the record; the code itself for the jurisdiction.
    """

    of: str
    entry: Statement | Measurement | str

    def to_dict(self) -> dict[str, JsonValue]:
        """The fact as JSON; ``entails`` is there where the rule asks about another concept."""
        entry = self.entry
        if isinstance(entry, str):
            return {"of": self.of, "value": entry, "path": self.of}
        form: dict[str, JsonValue] = {"of": entry.of}
        if isinstance(entry, Measurement):
            form |= {"value": json_number(entry.value), "unit": entry.unit}
            if entry.comparator is not None:
                form["comparator"] = entry.comparator
        else:
            form["state"] = "present" if entry.present else "absent"
            if entry.of != self.of:
                form["entails"] = self.of
            if entry.said_by is not None:
                form["saidBy"] = {"of": entry.said_by[0], "status": entry.said_by[1]}
            if entry.started_on is not None:
                form["startedOn"] = entry.started_on.isoformat()
        if entry.on is not None:
            form["on"] = entry.on.isoformat()
        if entry.source is not None:
            form["source"] = entry.source
        form["path"] = entry.path
        return form


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """The state of a rule in one decision, and what it rests on.

    Args:
        because: the facts that entail or exclude the phenotype; none where it is unknown.
        overridden_by: rules that override it whatever the unknown facts are.
        may_be_overridden_by: rules that override it for some filling of the unknown facts.
        passages: names of the passages that support it for this patient.
        certain: whether its phenotype is entailed; a rule can be overridden though that is unknown.
        editorial: what is editorial about the rule, its phenotype, and how its passages are taken.
    """

    rule: Rule
    state: RuleState
    because: tuple[Fact, ...]
    overridden_by: tuple[str, ...]
    may_be_overridden_by: tuple[str, ...]
    passages: tuple[str, ...]
    certain: bool
    editorial: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArgumentFinding:
    """Whether an argument holds for the patient; its offers are those of the decision."""

    argument: Argument
    for_: tuple[str, ...]
    against: tuple[str, ...]
    state: Literal["applies", "excluded", "unknown"]


@dataclass(eq=False)  # not frozen: eleven are made for each record, and a frozen one takes three times as long
class Answer:
    """The outcome of one decision with everything that explains it, found when it is asked for."""

    outcome: Outcome
    find_rules: Callable[[], tuple[RuleFinding, ...]]
    find_arguments: Callable[[], tuple[ArgumentFinding, ...]]

    @cached_property
    def rules(self) -> tuple[RuleFinding, ...]:
        """What was found on each rule of the decision, sorted by name."""
        return self.find_rules()

    @cached_property
    def arguments(self) -> tuple[ArgumentFinding, ...]:
        """What was found on each argument about its offers."""
        return self.find_arguments()

    @property
    def status(self) -> Status:
        """How the decision ends."""
        return self.outcome.status

    @property
    def recommended(self) -> tuple[str, ...]:
        """The agreed offers; several where the status is choice."""
        return self.outcome.recommended

    @property
    def missing(self) -> tuple[str, ...]:
        """The facts that would settle an undetermined decision, the most decisive first."""
        return self.outcome.missing


@dataclass(frozen=True, slots=True)
class Alert:
    """A warning; ``possible`` where its rule applies for some filling of the facts in ``missing`` only."""

    rule: str
    certainty: Literal["certain", "possible"]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unused:
    """An entry of the record that no answer rests on, and why."""

    path: str
    of: str
    reason: str


ARGUMENT_STATE: dict[Truth, Literal["applies", "excluded", "unknown"]] = {
    "entailed": "applies",
    "excluded": "excluded",
    "unknown": "unknown",
}


@dataclass(frozen=True, eq=False)
class Recommendation:
    """What a guideline gives for one record.

    Args:
        engine: what worked it out: ``table`` or ``reference``.
        decisions: name -> answer, in the guideline's order.
        notices: circumstances stated by the record on which the guideline is silent.
        warnings: what is odd about the record without making it invalid.
        facts: what the record's statements come to.
        tables: of the guideline; what explanations are read off.
        place: where the patient stands in them.
        imported: what became of each resource, where the record was read from FHIR; no part of the answer,
            which the same record gives in every format.
    """

    guideline: Guideline
    record: Record
    engine: str
    decisions: Mapping[str, Answer]
    alerts: tuple[Alert, ...]
    notices: tuple[Circumstance, ...]
    warnings: tuple[Problem, ...]
    unused: tuple[Unused, ...]
    facts: Facts
    tables: Tables
    place: Place
    imported: ImportReport | None = None

    def to_dict(self, *, explain: bool = True) -> dict[str, JsonValue]:
        """The JSON form; the same record and guideline give the same bytes.

        Args:
            explain: with what the outcomes rest on: rules, arguments, offers in full, and what was not used.
        """
        guideline = self.guideline
        if not explain:
            return {
                **self.heading(),
                "notices": [*map(self._notice, self.notices), *map(_warning, self.warnings)],
                "alerts": [
                    {"rule": alert.rule, "certainty": alert.certainty, "missing": [*alert.missing]}
                    for alert in self.alerts
                ],
                "decisions": {name: _outcome(answer) for name, answer in self.decisions.items()},
                "disclaimer": guideline.disclaimer,
            }
        return {
            **self.heading(),
            "notices": [*map(self._notice, self.notices), *map(_warning, self.warnings)],
            "alerts": [self._alert(alert) for alert in self.alerts],
            "decisions": {name: self._decision(answer) for name, answer in self.decisions.items()},
            "offers": {name: self._offer(guideline.offers[name]) for name in self._mentioned()},
            "unused": [{"path": u.path, "of": u.of, "reason": u.reason} for u in self.unused],
            "disclaimer": guideline.disclaimer,
        }

    def heading(self) -> dict[str, JsonValue]:
        """What the answer is to, by which guideline, and the review status of its source, as JSON."""
        guideline = self.guideline
        return {
            "record": self.record.id,
            "recordDigest": self.record.digest,
            "asOf": self.record.as_of.isoformat(),
            "engine": self.engine,
            "guideline": {
                "id": guideline.id,
                "version": guideline.version,
                "digest": guideline.digest,
                "reviewStatus": guideline.review_status,
                "lastUpdated": guideline.last_updated,
            },
            "preface": guideline.preface,
        }

    def explain(self, rule: str) -> list[dict[str, JsonValue]]:
        """What was found on a rule, once for each decision that it belongs to.

        Raises:
            UsageError: the guideline has no rule of this name.
        """
        if rule not in self.guideline.rules:
            near = get_close_matches(rule, self.guideline.rules, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(self.guideline.rules))}"
            raise UsageError(f"{self.guideline.id} has no rule {rule!r}{hint}")
        return [
            {"decision": decision, **self._rule(finding)}
            for decision, answer in self.decisions.items()
            for finding in answer.rules
            if finding.rule.name == rule
        ]

    def why(self, *decisions: str) -> dict[str, dict[str, JsonValue]]:
        """By decision, the rules behind its outcome: because of which facts, by which passages and citations.

        Args:
            decisions: which ones; none for all.

        Raises:
            UsageError: the guideline has no decision of this name.
        """
        from b12kg.recommendation.explanations import TRACE_BASED

        found: dict[str, dict[str, JsonValue]] = {}
        for name in self._named(decisions):
            answer = self.decisions[name]
            behind = [self._rule(f) for f in answer.rules if f.state in ("applies", "overridden")]
            recommended, conflicting = _texts(answer.recommended), _texts(answer.outcome.conflicting)
            offers: dict[str, JsonValue] = {"recommended": recommended, "conflicting": conflicting}
            found[name] = {"type": TRACE_BASED, "status": answer.status, **offers, "rules": [*behind]}
        return found

    def why_not(self, *decisions: str, offer: str | None = None) -> dict[str, tuple[WhyNot, ...]]:
        """By decision, why each of its other offers is not recommended.

        Args:
            decisions: which ones; none for all.
            offer: only of this offer, and only the decisions that it belongs to.

        Raises:
            UsageError: there is no such decision, or the offer is none of theirs.
        """
        from b12kg.recommendation.explanations import why_not

        names = self._named(decisions)
        made = {name: {o for f in self.decisions[name].rules for o in f.rule.offers} for name in names}
        offers = set().union(*made.values())
        if offer is None:
            return {name: why_not(self, name) for name in names}
        if offer not in offers:
            near = get_close_matches(offer, sorted(offers), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(offers))}"
            raise UsageError(f"no offer {offer!r} in {', '.join(names)}{hint}")
        return {
            name: tuple(contrast for contrast in why_not(self, name) if contrast.offer == offer)
            for name in names
            if offer in made[name]
        }

    def what_if(self, *decisions: str, immutable: bool = False) -> dict[str, tuple[WhatIf, ...]]:
        """By decision, the smallest sets of changed or added facts that lead to another settled outcome.

        Args:
            decisions: which ones; none for all.
            immutable: also by changing what nobody can change, such as a past operation.

        Raises:
            UsageError: the guideline has no decision of this name.
        """
        from b12kg.recommendation.explanations import what_if

        return {name: what_if(self, name, immutable=immutable) for name in self._named(decisions)}

    def questions(self) -> dict[str, tuple[str, ...]]:
        """The facts that can change an answer, each with the decisions and alerts, by rule, that it helps to settle.

        Those that help to settle most come first; of as many, by name.
        """
        found: dict[str, list[str]] = {}
        waiting = [*((name, answer.missing) for name, answer in self.decisions.items())]
        for waits, missing in (*waiting, *((alert.rule, alert.missing) for alert in self.alerts)):
            for fact in missing:
                found.setdefault(fact, []).append(waits)
        return {fact: tuple(found[fact]) for fact in sorted(found, key=lambda fact: (-len(found[fact]), fact))}

    def row_of(self, decision: str) -> tuple[Table[Verdict], int]:
        """The table of a decision and the patient's row in it."""
        return self.tables.decisions[decision], self.place.decisions[decision]

    def _named(self, decisions: Sequence[str]) -> Sequence[str]:
        for name in decisions:
            if name not in self.decisions:
                near = get_close_matches(name, self.decisions, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(self.decisions)}"
                raise UsageError(f"{self.guideline.id} has no decision {name!r}{hint}")
        return decisions or tuple(self.decisions)

    def to_text(self, *, colour: bool = False, width: int = 100) -> str:
        """The answer in words, as a terminal shows it; ``width`` in columns."""
        from b12kg.recommendation.text import text

        return text(self, colour=colour, width=width)

    def serialize(self, format: str) -> str:
        """The answer as RDF: ``turtle``, ``trig`` or ``jsonld``; the same bytes each time."""
        from b12kg.recommendation.prov import serialize

        return serialize(self, format)

    def to_fhir(self) -> dict[str, Any]:
        """The answer as a FHIR R4 Bundle of proposals; the same bytes each time."""
        from b12kg.recommendation.fhir import bundle

        return bundle(self)

    def graph(self) -> Graph:
        """The answer as a PROV-O graph, down to passages, citations and references."""
        from b12kg.recommendation.prov import recommendation_graph

        return recommendation_graph(self)

    # -- parts of the JSON form

    def _mentioned(self) -> list[str]:
        """Every offer that the decisions name, sorted."""
        named: set[str] = set()
        for answer in self.decisions.values():
            for finding in answer.rules:
                named.update(finding.rule.offers)
        return sorted(named)

    def _notice(self, notice: Circumstance) -> JsonValue:
        label = self.guideline.circumstances[notice.of].label
        form: dict[str, JsonValue] = {"kind": "outside-source", "of": notice.of, "label": label, "path": notice.path}
        form["text"] = f"The source says nothing about {label}; no answer here takes it into account."
        if notice.on is not None:
            form["on"] = notice.on.isoformat()
        if notice.source is not None:
            form["source"] = notice.source
        return form

    def _alert(self, alert: Alert) -> JsonValue:
        passages = self._passages(s.passage for s in self.guideline.rules[alert.rule].support)
        return {
            "rule": alert.rule,
            "certainty": alert.certainty,
            "missing": list(alert.missing),
            "passages": passages,
        }

    def _decision(self, answer: Answer) -> JsonValue:
        return {
            **_outcome(answer),
            "rules": [self._rule(finding) for finding in answer.rules],
            "arguments": [
                {
                    "passage": passage,
                    "for": list(finding.for_),
                    "against": list(finding.against),
                    "state": finding.state,
                    "proviso": finding.argument.proviso,
                    "editorial": list(finding.argument.editorial),
                }
                for finding in answer.arguments
                for passage in finding.argument.passages
            ],
        }

    def _rule(self, finding: RuleFinding) -> dict[str, JsonValue]:
        rule = finding.rule
        return {
            "rule": rule.name,
            "state": finding.state,
            "modality": rule.modality,
            "offers": list(rule.offers),
            "because": [fact.to_dict() for fact in finding.because],
            "overriddenBy": self._overriding(finding.overridden_by, rule.name),
            "mayBeOverriddenBy": self._overriding(finding.may_be_overridden_by, rule.name),
            "passages": self._passages(finding.passages),
            "editorial": list(finding.editorial),
        }

    def _overriding(self, by: Iterable[str], over: str) -> list[JsonValue]:
        return [{"rule": rule, "basis": basis} for rule, basis in self.guideline.bases_of(by, over)]

    def _passages(self, names: Iterable[str]) -> list[JsonValue]:
        found = [self.guideline.passages[name] for name in names]
        return [
            {
                "id": passage.id,
                "line": passage.line,
                "start": passage.start,
                "end": passage.end,
                "sha256": passage.sha256,
                "citations": [
                    {"marker": c.marker, "reference": c.reference, "resolution": c.resolution}
                    for c in passage.citations
                ],
            }
            for passage in found
        ]

    def _offer(self, offer: Offer) -> JsonValue:
        form: dict[str, JsonValue] = {
            "kind": offer.kind,
            "label": offer.label,
            "direction": offer.direction,
            "dose": None,
            "unit": None,
            "route": None,
            "preparation": None,
            "timing": [],
            "duration": None,
            "until": None,
            "start": None,
            "precondition": None,
        }
        timings: list[JsonValue] = []
        editorial = [*offer.editorial, *(reason for component in offer.components for reason in component.editorial)]
        stated_by: dict[str, list[str]] = {}
        for component in offer.components:
            values: dict[str, JsonValue] = dict(component.values)
            stated_by.setdefault(component.kind, []).extend(component.passages)
            if component.text is None:
                continue
            match component.kind:
                case "dose":
                    form |= {"dose": {"low": values["low"], "high": values["high"]}, "unit": values["unit"]}
                case "route" | "preparation":
                    form[component.kind] = values[component.kind]
                case "timing":
                    timings.append({"text": component.text, **values})
                case "duration":
                    form["duration"] = {"text": component.text, **values}
                case _:
                    form[component.kind] = component.text
        form["timing"] = timings
        form["statedBy"] = {kind: _texts(sorted(set(passages))) for kind, passages in stated_by.items()}
        form["passages"] = list(offer.passages)
        form["editorial"] = list(editorial)
        return form


def _outcome(answer: Answer) -> dict[str, JsonValue]:
    outcome = answer.outcome
    return {
        "status": outcome.status,
        "sourceSilent": outcome.source_silent,
        "recommended": list(outcome.recommended),
        "alternatives": list(outcome.alternatives),
        "possibleAlternatives": list(outcome.possible_alternatives),
        "conflicting": list(outcome.conflicting),
        "missing": list(outcome.missing),
        "possible": [
            {"status": p.status, "recommended": list(p.recommended), "conflicting": list(p.conflicting)}
            for p in outcome.possible
        ],
    }


def _texts(texts: Iterable[str]) -> list[JsonValue]:
    return [*texts]


def _warning(problem: Problem) -> JsonValue:
    return {"kind": "warning", "path": problem.path, "text": str(problem)}
