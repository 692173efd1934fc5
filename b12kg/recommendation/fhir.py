"""The answer as a FHIR R4 (4.0.1) Bundle of proposals, none of them an order.

Owns which resources an answer becomes. For each decision there is a GuidanceResponse; for one that is settled
with offers a RequestGroup of MedicationRequests and ServiceRequests, all drafts with the intent of a proposal;
for each alert and each conflict a DetectedIssue; and Provenance from all of these to the passages and to the
record's entries. Of several options none is chosen. No clock is read: the same answer gives the same bytes,
and the time of recording, which Provenance has to have, is the first moment of the record's date in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from b12kg import __version__
from b12kg.errors import printable
from b12kg.expression import feature_of
from b12kg.fhir import (
    PREPARATION,
    REGIMEN,
    URI,
    Part,
    canonical,
    coding,
    collected,
    conditions_of,
    dosages,
    entry_reference,
    id_of,
    marked,
    matches_of,
    medication_of,
    own_code,
    patient_reference,
    reference_to,
    source_of,
    timings_of,
    unstated_in,
)
from b12kg.guideline import JURISDICTION
from b12kg.iris import B12
from b12kg.outcome import PossibleOutcome
from b12kg.recommendation import Alert, Answer, Fact, Recommendation, RuleFinding
from b12kg.recommendation.prov import SOFTWARE, iri_of
from b12kg.record import Measurement, Statement

# What to select among options: a conflict leaves it open whether any of them is to be.
_SELECTION = {"recommended": "exactly-one", "choice": "exactly-one", "conflict": "at-most-one"}


def bundle(recommendation: Recommendation) -> Part:
    """The answer as a Bundle (collection) of R4 resources; ids are UUIDs by what a resource is about.

    Of the record it holds the identifier, the digest, and the places of entries that the answer rests on, with
    the names of their facts: no values, and no dates but ``asOf``.

    >>> from b12kg.recommend import load
    >>> answer = load().recommend({"id": "p", "asOf": "2026-01-15", "absent": ["VitaminB12Deficiency"]})
    >>> made = bundle(answer)["entry"]
    >>> made[0]["resource"]["resourceType"], made[0]["resource"]["status"]
    ('GuidanceResponse', 'success')
    """
    return _Writer(recommendation).bundle()


class _Writer:
    def __init__(self, recommendation: Recommendation) -> None:
        self.result = recommendation
        self.guideline = recommendation.guideline
        self.top = iri_of(recommendation)
        self.date = recommendation.record.as_of.isoformat()
        self.subject = patient_reference(recommendation.record.id)

    def bundle(self) -> Part:
        resources = list(self.messages())
        told = [self.ref("OperationOutcome", "messages")] if resources else []
        for name, answer in self.result.decisions.items():
            resources += self.decision(name, answer, told)
        return collected(self.guideline, self.top, resources)

    # -- naming and marking

    def ref(self, type_: str, *key: str) -> Part:
        return reference_to({"resourceType": type_, "id": id_of(self.top, type_, *key)})

    def resource(self, type_: str, key: Sequence[str], title: str, **elements: Any) -> Part:
        form = {"resourceType": type_, "id": id_of(self.top, type_, *key), **elements}
        return marked(self.guideline, form, title)

    def notes(self, *texts: str) -> list[Part]:
        return [{"text": text} for text in (*texts, source_of(self.guideline)) if text]

    def labels(self, offers: Iterable[str]) -> str:
        return "; ".join(self.guideline.offers[offer].label for offer in offers)

    def features(self, features: Iterable[str]) -> str:
        return ", ".join(map(self.guideline.label_of, features))

    # -- what is said of the record

    def messages(self) -> Iterator[Part]:
        """What the source is silent on, what is odd, and what is not used."""
        issues = []
        for notice in self.result.notices:
            words = (
                f"Outside the source: {self.guideline.circumstances[notice.of].label} ({printable(notice.path)}). "
                "The source says nothing about it, and no answer takes it into account."
            )
            issues.append({"severity": "warning", "code": "not-supported", "diagnostics": words})
        for warning in self.result.warnings:
            words = printable(f"Odd in the record: {warning.path}: {warning.message}")
            issues.append({"severity": "warning", "code": "value", "diagnostics": words})
        for unused in self.result.unused:
            words = printable(f"Not used: {unused.of} ({unused.path}): {unused.reason}")
            issues.append({"severity": "information", "code": "informational", "diagnostics": words})
        if issues:
            yield self.resource("OperationOutcome", ("messages",), "What is said of the record", issue=issues)

    # -- one decision

    def decision(self, name: str, answer: Answer, told: Sequence[Part]) -> Iterator[Part]:
        decision = self.guideline.decisions[name]
        concern = {"coding": [own_code(decision.iri, decision.label)], "text": decision.label}
        plan = canonical(self.guideline.iri, self.guideline)
        requests = self.requests(name, answer)
        issues = list(self.issues(name, answer, requests))
        response: Part = {
            "meta": {"tag": [own_code(f"{B12}outcome-{answer.status}", answer.status)]},
            "requestIdentifier": {"system": B12 + "recordDigest", "value": self.result.record.digest},
            "identifier": [{"system": URI, "value": f"{self.top}/{name}"}],
            "moduleCanonical": plan,
            "status": "data-required" if answer.status == "undetermined" else "success",
            "subject": self.subject,
            "occurrenceDateTime": self.date,
            "reasonCode": [concern],
            "note": self.notes(self.outcome(name, answer), *self.behind(name, answer), self.guideline.preface),
        }
        if told:
            response["evaluationMessage"] = [*told]
        if requests:
            response["result"] = self.ref("RequestGroup", name, "options")
        if answer.missing:
            response["dataRequirement"] = [self.requirement(feature) for feature in answer.missing]
        title = f"{decision.label}: {answer.status}. {self.outcome(name, answer)}"
        yield self.resource("GuidanceResponse", (name, "response"), title, **response)
        targets = [self.ref("GuidanceResponse", name, "response")]
        if requests:
            group = {
                "instantiatesCanonical": [plan],
                "status": "draft",
                "intent": "proposal",
                "code": concern,
                "subject": self.subject,
                "authoredOn": self.date,
                "note": self.notes(self.outcome(name, answer)),
                "action": self.actions(name, answer, requests),
            }
            yield self.resource("RequestGroup", (name, "options"), title, **group)
            targets.append(self.ref("RequestGroup", name, "options"))
            for made in requests.values():
                yield from made
        yield from issues
        targets += [reference_to(issue) for issue in issues]
        yield self.provenance((name, "provenance"), targets, answer, answer.rules, name)
        for offer, made in requests.items():
            behind = [f for f in answer.rules if offer in self.with_refined(f)]
            made_refs = [reference_to(request) for request in made]
            yield self.provenance((name, offer, "provenance"), made_refs, None, behind, name, offer)

    def behind(self, decision: str, answer: Answer) -> Iterator[str]:
        """The rules that apply or may, with how strongly they speak, what is ours, and the arguments, in words."""
        words = {"applies": "Applies", "unknown": "May apply", "overridden": "Not followed"}
        for finding in answer.rules:
            rule = finding.rule
            if finding.state in words:
                yield f"{words[finding.state]}: {rule.label} ({rule.modality}): {self.labels(rule.offers)}."
                yield from (f"Editorial: {reason}" for reason in finding.editorial)
        for override in self.guideline.overrides:
            applying = {f.rule.name for f in answer.rules if f.state in words}
            if {override.preferred, override.over} <= applying:
                yield f"{override.preferred} is followed rather than {override.over}: {override.basis}."
        for found in answer.arguments:
            if found.state != "excluded":
                sides = [("for", found.for_), ("against", found.against)]
                about = "; ".join(f"{side} {self.labels(offers)}" for side, offers in sides if offers)
                proviso = f" ({found.argument.proviso})" if found.argument.proviso else ""
                yield f"Argument {about}: {found.argument.label}{proviso}."

    def with_refined(self, finding: RuleFinding) -> set[str]:
        """The offers that a rule which applies, or may, speaks for, and those that say the same more exactly."""
        if finding.state not in ("applies", "unknown"):
            return set()
        offers = set(finding.rule.offers)
        return offers | {name for name in self.guideline.offers if offers & self.guideline.refined_by(name)}

    def outcome(self, name: str, answer: Answer) -> str:
        """The outcome in words."""
        outcome, decision = answer.outcome, self.guideline.decisions[name]
        match answer.status:
            case "undetermined":
                possible = "; or ".join(self.possibility(name, p) for p in outcome.possible)
                words = f"Unknown, and decisive: {self.features(answer.missing)}. It may come to: {possible}."
            case "conflict":
                words = "The source contradicts itself for this patient, and nothing in it says which holds."
            case "choice":
                words = f"The source leaves the choice between: {self.labels(answer.recommended)}."
            case "recommended":
                words = f"Recommended: {self.labels(answer.recommended)}."
            case _:
                words = "No rule of the source applies."
                if outcome.source_silent or outcome.may_be_silent:
                    silence = "If the decision concerns this patient, the source is silent, which is no advice."
                    words = (outcome.source_silent and decision.when_silent) or f"{words} {silence}"
        if outcome.alternatives:
            words += f" May be taken instead: {self.labels(outcome.alternatives)}."
        if outcome.possible_alternatives:
            words += f" By what is unknown, perhaps also: {self.labels(outcome.possible_alternatives)}."
        return words

    def possibility(self, name: str, possible: PossibleOutcome) -> str:
        offers = self.labels((*possible.recommended, *possible.conflicting))
        return f"{possible.status}: {offers}" if offers else possible.status

    def requirement(self, feature: str) -> Part:
        """A decisive fact, as the resource that would state it; the element's id is the fact's name."""
        guideline = self.guideline
        if feature == JURISDICTION:
            return {"id": feature, "type": "Patient", "mustSupport": ["address.country"]}
        iri = guideline.iris_of_names()[feature]
        treatments = [t for t in guideline.treatments.values() if feature in {s.concept for s in t.statuses.values()}]
        subjects = [(t.name, t.iri) for t in treatments] or [(feature, iri)]
        own = [own_code(about, guideline.label_of(feature)) for _, about in subjects]
        codes = [coding(m) for subject in subjects for m in matches_of(*subject) if m.establishes]
        # What has no code is no diagnosis that others could look up.
        type_, path = "Condition" if codes else "Observation", "code"
        if feature in guideline.quantities:
            type_ = "Observation"
        elif treatments:
            type_, path = "MedicationStatement", "medication"
        return {"id": feature, "type": type_, "codeFilter": [{"path": path, "code": [*own, *codes]}]}

    # -- what is proposed

    def requests(self, name: str, answer: Answer) -> dict[str, list[Part]]:
        """The proposals of a settled decision by offer, in the order of the offers' names."""
        if answer.status not in _SELECTION:
            return {}
        standing = _standing(answer)
        return {offer: list(self.proposals(name, answer, offer, standing[offer])) for offer in sorted(standing)}

    def actions(self, name: str, answer: Answer, requests: dict[str, list[Part]]) -> list[Part]:
        """One action for the only proposal, or a group of options among which somebody else selects."""
        standing = _standing(answer)
        options = []
        for offer, made in requests.items():
            label = self.guideline.offers[offer].label
            code = {"coding": [own_code(B12 + standing[offer], standing[offer])], "text": standing[offer]}
            resources = [reference_to(request) for request in made]
            option: Part = {"title": label, "code": [code]}
            if len(resources) == 1:
                option["resource"] = resources[0]
            else:
                option |= {"selectionBehavior": "all", "action": [{"resource": resource} for resource in resources]}
            options.append(option)
        if len(options) == 1:
            return options
        label = self.guideline.decisions[name].label
        return [{"title": label, "selectionBehavior": _SELECTION[answer.status], "action": options}]

    def proposals(self, name: str, answer: Answer, id_: str, standing: str) -> Iterator[Part]:
        """The resources of one offer, for an action one for each timing; each says how the offer stands."""
        offer, label = self.guideline.offers[id_], self.guideline.decisions[name].label
        texts = [f"{label}: {standing}. {self.outcome(name, answer)}", *conditions_of(offer)]
        if unstated := unstated_in(offer):
            texts.append(f"Not stated by the source: {', '.join(unstated)}.")
        if offer.kind == PREPARATION:
            texts.append("The medication alone: how it is given is for other decisions.")
        reasons = (*offer.editorial, *(reason for component in offer.components for reason in component.editorial))
        group = {"system": URI, "value": f"{self.top}/{name}"}
        common: Part = {
            "meta": {"tag": [own_code(B12 + standing, standing)]},
            "instantiatesCanonical": [canonical(offer.iri, self.guideline)],
            "status": "draft",
            "intent": "proposal",
            "subject": self.subject,
            "authoredOn": self.date,
            "note": self.notes(*texts, *(f"Editorial: {reason}" for reason in reasons)),
        }
        backing = [self.ref("GuidanceResponse", name, "response")]
        if offer.kind in (REGIMEN, PREPARATION):
            medication = medication_of(self.guideline, offer)
            form = {"medicationCodeableConcept": medication, "supportingInformation": backing, "groupIdentifier": group}
            if offer.kind == REGIMEN:
                form["dosageInstruction"] = dosages(offer)
            yield self.resource("MedicationRequest", (name, offer.id), offer.label, **common, **form)
            return
        for number, timing in enumerate(timings_of(offer) or [None], 1):
            code = {"coding": [own_code(offer.iri, offer.label)], "text": offer.label}
            form = {"code": code, "supportingInfo": backing, "requisition": group}
            if timing is not None:
                form["occurrenceTiming"] = timing
            yield self.resource("ServiceRequest", (name, offer.id, str(number)), offer.label, **common, **form)

    # -- alerts and conflicts

    def issues(self, name: str, answer: Answer, requests: Mapping[str, list[Part]]) -> Iterator[Part]:
        if answer.status == "conflict":
            sides = [
                f for f in answer.rules if f.state == "applies" and {*f.rule.offers} & {*answer.outcome.conflicting}
            ]
            said = "; ".join(f"{f.rule.label} ({f.rule.modality}): {self.labels(f.rule.offers)}" for f in sides)
            detail = f"{self.outcome(name, answer)} {said}."
            implicated = [reference_to(request) for offer in answer.outcome.conflicting for request in requests[offer]]
            yield self.issue((name, "conflict"), "conflict within the source", detail, implicated)
        for alert in self.result.alerts:
            if name in self.guideline.rules[alert.rule].decisions:
                yield self.alert(name, alert)

    def alert(self, name: str, alert: Alert) -> Part:
        rule = self.guideline.rules[alert.rule]
        title = f"{'alert' if alert.certainty == 'certain' else 'possible alert'}: {self.labels(rule.offers)}"
        missing = f" It depends on what is unknown: {self.features(alert.missing)}." if alert.missing else ""
        facts = sorted({(f.of, *_entry(f)) for f in self.alerting(alert.rule)})
        return self.issue(
            (name, "alert", alert.rule), title, f"{rule.label}.{missing}", [entry_reference(*f) for f in facts]
        )

    def issue(self, key: Sequence[str], title: str, detail: str, implicated: Sequence[Part]) -> Part:
        form = {
            "status": "preliminary",
            "code": {"text": title},
            "patient": self.subject,
            "identifiedDateTime": self.date,
            "implicated": [*implicated],
            "detail": f"{detail} {source_of(self.guideline)}",
            "reference": self.guideline.document,
        }
        return self.resource("DetectedIssue", key, f"{title}. {detail}", **form)

    def alerting(self, rule: str) -> Iterator[Fact]:
        """The facts that the condition of a rule's alert asks about."""
        known, condition = self.result.facts, self.guideline.rules[rule].alert_when
        for leaf in self.guideline.leaves_of([condition] if condition else []):
            feature = feature_of(leaf)
            if feature in known.concepts:
                yield from (Fact(feature, statement) for statement in known.concepts[feature][1])
            elif feature in known.measurements:
                yield Fact(feature, known.measurements[feature])
            elif feature == JURISDICTION and known.jurisdiction is not None:
                yield Fact(feature, known.jurisdiction)

    # -- where it comes from

    def provenance(
        self,
        key: Sequence[str],
        targets: Sequence[Part],
        answer: Answer | None,
        findings: Iterable[RuleFinding],
        decision: str,
        offer: str | None = None,
    ) -> Part:
        """From resources to the passages and the record's entries behind them.

        Args:
            answer: whose arguments and alerts count too; None for an offer's proposals.
            offer: whose own passages count too.
        """
        guideline = self.guideline
        passages: set[str] = set(guideline.offers[offer].passages) if offer else set()
        facts: list[Fact] = []
        for finding in findings:
            facts += finding.because
            if finding.state != "excluded":
                passages |= set(finding.passages)
        if answer is not None:
            held = [found.argument for found in answer.arguments if found.state != "excluded"]
            passages |= {passage for argument in held for passage in argument.passages}
            for alert in self.result.alerts:
                if decision in guideline.rules[alert.rule].decisions:
                    facts += self.alerting(alert.rule)
        plan = {"system": URI, "value": canonical(guideline.iri, guideline)}
        entities = [{"role": "derivation", "what": {"identifier": plan, "display": guideline.label}}]
        entities += [self.passage(name) for name in sorted(passages, key=lambda p: (guideline.passages[p].start, p))]
        entries = sorted({(f.of, *_entry(f)) for f in facts})
        entities += [{"role": "source", "what": entry_reference(*entry)} for entry in entries]
        record = {"system": B12 + "recordDigest", "value": self.result.record.digest}
        entities.append({"role": "source", "what": {"identifier": record, "display": "the record as it was read"}})
        software = {"identifier": {"system": URI, "value": SOFTWARE}, "display": f"b12kg {__version__}"}
        form = {
            "target": [*targets],
            "occurredDateTime": self.date,
            "recorded": f"{self.date}T00:00:00Z",
            "policy": [guideline.iri],
            "agent": [{"type": {"text": "software"}, "who": software}],
            "entity": entities,
        }
        return self.resource("Provenance", key, f"Where it comes from: {guideline.decisions[decision].label}", **form)

    def passage(self, name: str) -> Part:
        passage = self.guideline.passages[name]
        place = f"line {passage.line}, characters {passage.start} to {passage.end}, sha256 {passage.sha256}"
        display = f"{self.guideline.title} ({self.guideline.publisher}), {place}"
        return {"role": "source", "what": {"identifier": {"system": URI, "value": passage.iri}, "display": display}}


def _standing(answer: Answer) -> dict[str, str]:
    """Each offer that a settled decision comes to, and how it stands, in the words of the vocabulary."""
    return {
        **dict.fromkeys(answer.outcome.alternatives, "alternative"),
        **dict.fromkeys(answer.outcome.conflicting, "conflicting"),
        **dict.fromkeys(answer.recommended, "recommended"),
    }


def _entry(fact: Fact) -> tuple[str, str]:
    """The place of a fact's entry in the record, and its source or an empty text."""
    entry = fact.entry
    if isinstance(entry, Statement | Measurement):
        return entry.path, entry.source or ""
    return fact.of, ""
