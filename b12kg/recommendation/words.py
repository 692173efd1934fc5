"""The words of an answer that a terminal and a page share: facts, changes, arguments, what hinders a rule.

Owns how they are put; every clinical word comes from the graph. How they are laid out is for the forms.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from b12kg.errors import printable
from b12kg.guideline import Decision, Guideline
from b12kg.outcome import PossibleOutcome
from b12kg.recommendation import Answer, ArgumentFinding, Fact, RuleFinding
from b12kg.record import Measurement, Statement

if TYPE_CHECKING:
    from b12kg.recommendation.explanations import Change, Hindrance

STATUS = {
    "recommended": "Recommended",
    "choice": "Choice",
    "conflict": "Conflict in the source",
    "undetermined": "Undetermined",
    "not-applicable": "Not applicable",
}
STANDING = {
    "alternative": "It may be taken instead.",
    "possible-alternative": "By what is unknown, it may perhaps be taken instead.",
    "conflicting": "It is one side of the conflict.",
    "possible": "By what is unknown, it may come to it.",
    "refined": "What is recommended says the same more exactly.",
    "not-offered": "No rule that is followed speaks for it.",
}


class Words:
    """The words for the parts of an answer; ``cited`` gathers the markers that were named, with what they mean."""

    def __init__(self, guideline: Guideline) -> None:
        self.guideline = guideline
        self.cited: dict[str, str] = {}

    def overriders(self, by: Iterable[str], over: str) -> str:
        """The rules that override another, each with the basis."""
        return "overridden by " + ", ".join(f"{name} ({basis})" for name, basis in self.guideline.bases_of(by, over))

    def hindrance(self, hindrance: Hindrance) -> str:
        """What becomes of a rule that does not bring its offer about, as what is said of it."""
        by = ", ".join(rule if basis is None else f"{rule} ({basis})" for rule, basis in hindrance.by)
        match hindrance.kind:
            case "excluded":
                because = "; ".join(map(self.fact, hindrance.finding.because))
                label = self.guideline.phenotypes[hindrance.finding.rule.phenotype].label
                return f"does not apply: {because or f'by what the guideline declares disjoint, this is no {label}'}"
            case "overridden":
                finding = hindrance.finding
                certain = self.overriders(finding.overridden_by, finding.rule.name)
                possible = self.overriders(finding.may_be_overridden_by, finding.rule.name)
                ways = [f"is {certain}"] if finding.overridden_by else []
                ways += [f"by what is unknown, is {possible}"] if finding.may_be_overridden_by else []
                return "; ".join(ways)
            case "unknown":
                perhaps = f"; it may be overridden by {by}" if by else ""
                return f"depends on what is unknown: {self.features(hindrance.missing)}{perhaps}"
            case "permitted":
                return f"merely permits it, while {by} says otherwise"
            case "disagreement":
                return f"speaks for it, but {by} does not"
            case "refined":
                return f"speaks for it, and {by} says it more exactly"

    def changes(self, changes: Iterable[Change]) -> str:
        """The changes in words; what is changed rather than added says what it is now."""
        return " and ".join(
            f"{self.features([change.of])} were {change.after}"
            + (" (unknown now)" if change.before is None else f" (now {change.before})")
            for change in changes
        )

    def possibility(self, decision: Decision, possible: PossibleOutcome) -> str:
        """What a decision may come to."""
        labels = [self.guideline.offers[offer].label for offer in (*possible.recommended, *possible.conflicting)]
        match possible.status:
            case "not-applicable":
                return decision.when_silent or "nothing that the source names"
            case "conflict":
                return f"a conflict between: {'; '.join(labels)}"
            case _:
                return " or ".join(labels)

    def argument(self, finding: ArgumentFinding) -> str:
        """An argument, with where it stands."""
        argument = finding.argument
        lines = ", ".join(self.reference(passage) for passage in argument.passages)
        unsure = "; whether it holds for this patient is unknown" if finding.state == "unknown" else ""
        proviso = f" ({argument.proviso})" if argument.proviso else ""
        return f"{argument.definition.rstrip('.')}{proviso} ({lines}{unsure})"

    def fact(self, fact: Fact) -> str:
        """A fact, with its place in the record, its date and its source."""
        entry = fact.entry
        if isinstance(entry, str):
            return f"{fact.of} is {entry}"
        label = self.guideline.label_of(entry.of)
        if isinstance(entry, Measurement):
            words = f"{label} {entry.comparator or ''}{entry.value:f} {entry.unit}"
        else:
            words = f"{label} {'present' if entry.present else 'absent'}"
            if entry.of != fact.of:
                words += f", so {self.guideline.label_of(fact.of)} {'present' if entry.present else 'absent'}"
        details = [entry.path]
        if isinstance(entry, Statement) and entry.said_by is not None:
            details.append(" ".join(entry.said_by))
        if isinstance(entry, Statement) and entry.started_on is not None:
            details.append(f"since {entry.started_on}")
        details += [f"{entry.on}"] if entry.on else []
        details += [printable(entry.source)] if entry.source else []
        return f"{words} ({', '.join(details)})"

    def features(self, names: Iterable[str]) -> str:
        """Facts that are asked for: their labels, and the names that a record uses."""
        labelled = ((name, self.guideline.label_of(name)) for name in names)
        return ", ".join(name if name == label else f"{label} ({name})" for name, label in labelled)

    def reference(self, passage: str) -> str:
        """The passage with its markers; each marker is explained at the end."""
        found = self.guideline.passages[passage]
        for citation in found.citations:
            reference = self.guideline.references.get(citation.reference or "")
            self.cited[citation.marker] = (
                f"{reference.label}: {reference.title} [{reference.type}, {citation.resolution}]"
                if reference is not None
                else "unresolved: nothing in the source says which work is meant"
            )
        markers = ", ".join(citation.marker for citation in found.citations)
        return f"line {found.line} [{markers}]" if markers else f"line {found.line}"

    def silence(self, decision: Decision, answer: Answer) -> str:
        """Why a decision is not applicable."""
        concerned = self.guideline.phenotypes[decision.concerns].label
        if answer.outcome.may_be_silent and not answer.outcome.source_silent:
            return (
                f"No rule of the source applies. Whether this is a {concerned} is unknown; if so, the source names "
                "nothing, which is silence, not advice that nothing is needed."
            )
        if not answer.outcome.source_silent:
            return f"No rule of the source applies: this is no {concerned}."
        return decision.when_silent or (
            "The source names nothing for this patient. That is silence, not advice that nothing is needed."
        )


def sides(answer: Answer) -> list[list[RuleFinding]]:
    """The sides of a conflict: rules that share an offer stand on one side."""
    found: list[list[RuleFinding]] = []
    for finding in answer.rules:
        offers = set(finding.rule.offers)
        if finding.state != "applies" or offers.isdisjoint(answer.outcome.conflicting):
            continue
        joined = [side for side in found if any(not offers.isdisjoint(other.rule.offers) for other in side)]
        found = [side for side in found if side not in joined]
        found.append([*itertools.chain.from_iterable(joined), finding])
    return found
