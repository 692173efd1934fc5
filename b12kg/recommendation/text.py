"""The form of an answer that a clinician reads in a terminal.

Owns layout and the words that join what the graph says; every clinical word comes from the graph.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from b12kg.errors import printable
from b12kg.guideline import Decision, Offer
from b12kg.recommendation import Alert, Answer, ArgumentFinding, Recommendation, RuleFinding
from b12kg.recommendation.words import STANDING, STATUS, Words, sides

if TYPE_CHECKING:
    from b12kg.recommendation.explanations import WhatIf, WhyNot

_COLOURS = {"recommended": "32", "choice": "32", "conflict": "31", "undetermined": "33", "not-applicable": "2"}
_WARNING, _HEADING = "31", "1"


def text(recommendation: Recommendation, *, colour: bool = False, width: int = 100) -> str:
    """The answer in words.

    Args:
        colour: whether to use ANSI colours; nothing is told by colour alone.
        width: columns of the terminal; lines are wrapped to it.
    """
    return "\n".join(_Page(recommendation, colour, max(width, 60)).lines()) + "\n"


def explanation(
    recommendation: Recommendation,
    decisions: Sequence[str],
    *,
    offer: str | None = None,
    with_what_if: bool = False,
    immutable: bool = False,
    colour: bool = False,
    width: int = 100,
) -> str:
    """Why, why not and, if asked for, what would change it, in words.

    Args:
        decisions: which ones; none for all.
        offer: the only one to say why not of; None for all.
        immutable: also by changing what nobody can change.

    Raises:
        UsageError: there is no such decision, or the offer is none of theirs.
    """
    page = _Page(recommendation, colour, max(width, 60))
    return "\n".join(page.explanation(decisions, offer, with_what_if, immutable)) + "\n"


class _Page:
    def __init__(self, recommendation: Recommendation, colour: bool, width: int) -> None:
        self.recommendation = recommendation
        self.guideline = recommendation.guideline
        self.colour = colour
        self.width = width
        self.words = Words(recommendation.guideline)

    def lines(self) -> Iterator[str]:
        yield from self.head()
        for alert in self.recommendation.alerts:
            yield ""
            yield from self.alert(alert)
        for name, answer in self.recommendation.decisions.items():
            yield ""
            yield from self.decision(name, answer)
        yield from self.closing()

    def head(self) -> Iterator[str]:
        guideline, record = self.guideline, self.recommendation.record
        yield self.paint(guideline.label, _HEADING)
        yield from self.wrap(
            f"guideline {guideline.id} {guideline.version}, record {printable(record.id)}, as of {record.as_of}"
        )
        yield from self.wrap(
            f"source: {guideline.title} {guideline.publisher}, {guideline.last_updated}. "
            f"Review status of the source: {guideline.review_status}."
        )
        yield from self.wrap(guideline.preface)
        yield from self.notices()

    def notices(self) -> Iterator[str]:
        notices, warnings = self.recommendation.notices, self.recommendation.warnings
        if notices or warnings:
            yield ""
        for notice in notices:
            label = self.guideline.circumstances[notice.of].label
            yield from self.wrap(
                f"! Outside the source: {label} ({notice.path}). The source says nothing about it, "
                "and no answer below takes it into account.",
                then="  ",
            )
        for warning in warnings:
            yield from self.wrap(f"! Odd in the record: {warning}", then="  ")

    def alert(self, alert: Alert) -> Iterator[str]:
        rule = self.guideline.rules[alert.rule]
        certainty = "ALERT" if alert.certainty == "certain" else "POSSIBLE ALERT"
        labels = "; ".join(self.guideline.offers[offer].label for offer in rule.offers)
        yield from self.wrap(self.paint(f"!! {certainty}: {labels}", _WARNING), then="   ")
        if alert.missing:
            yield from self.wrap(f"It depends on what is unknown: {self.words.features(alert.missing)}.", "   ")
        yield from self.passages([support.passage for support in rule.support], "   ")

    # -- one decision

    def decision(self, name: str, answer: Answer) -> Iterator[str]:
        yield from self.outcome(name, answer)
        yield from self.alternatives(answer)
        for finding in answer.rules:
            if finding.state in ("applies", "overridden"):
                yield from self.rule(finding)
        if answer.status != "conflict":
            yield from self.arguments(answer.arguments, self.shown(answer))

    def outcome(self, name: str, answer: Answer) -> Iterator[str]:
        decision = self.guideline.decisions[name]
        label = decision.label[0].upper() + decision.label[1:]
        yield f"{self.paint(label, _HEADING)}: {self.paint(STATUS[answer.status].upper(), _COLOURS[answer.status])}"
        match answer.status:
            case "not-applicable":
                yield from self.wrap(self.words.silence(decision, answer), "  ")
            case "undetermined":
                yield from self.undetermined(decision, answer)
            case "conflict":
                yield from self.conflict(answer)
            case _:
                for offer in answer.recommended:
                    yield from self.offer(self.guideline.offers[offer], "  ")

    def undetermined(self, decision: Decision, answer: Answer) -> Iterator[str]:
        count = len(answer.missing)
        facts = "this fact decides" if count == 1 else f"these {count} facts decide"
        yield from self.wrap(f"Unknown, and {facts}: {self.words.features(answer.missing)}.", "  ")
        yield "  It may come to:"
        for possible in answer.outcome.possible:
            yield from self.wrap(f"- {self.words.possibility(decision, possible)}", "  ", "    ")

    def conflict(self, answer: Answer) -> Iterator[str]:
        yield from self.wrap(
            "The source contradicts itself for this patient, and nothing in it says which holds:", "  "
        )
        yield from self.beside([list(self.side(side, answer)) for side in sides(answer)])

    def side(self, findings: Sequence[RuleFinding], answer: Answer) -> Iterator[str]:
        offers = sorted({offer for finding in findings for offer in finding.rule.offers})
        yield " or ".join(self.guideline.offers[offer].label for offer in offers)
        for finding in findings:
            lines = ", ".join(self.words.reference(passage) for passage in finding.passages)
            yield f"by {finding.rule.name} ({finding.rule.modality}; {lines})"
        for argument in answer.arguments:
            if argument.state != "excluded":
                for sign, subjects in (("for", argument.for_), ("against", argument.against)):
                    if not set(subjects).isdisjoint(offers):
                        yield f"{sign}: {self.words.argument(argument)}"

    def alternatives(self, answer: Answer) -> Iterator[str]:
        for title, offers in (
            ("Alternative", answer.outcome.alternatives),
            ("Possible alternative, by what is unknown", answer.outcome.possible_alternatives),
        ):
            for offer in offers:
                yield from self.wrap(f"{title}:", "  ")
                yield from self.offer(self.guideline.offers[offer], "    ")

    def shown(self, answer: Answer) -> set[str]:
        outcome = answer.outcome
        possible = {o for p in outcome.possible for o in (*p.recommended, *p.conflicting)}
        return {*outcome.recommended, *outcome.alternatives, *outcome.possible_alternatives, *possible}

    def offer(self, offer: Offer, indent: str) -> Iterator[str]:
        yield from self.wrap(self.paint(offer.label, _HEADING), indent, indent + "  ")
        for component in offer.components:
            if component.kind == "precondition" and component.text is not None:
                yield from self.wrap(f"only {component.text}", indent + "  ")
            if component.kind == "start" and component.text is not None and component.text not in offer.label:
                yield from self.wrap(component.text, indent + "  ")
        unstated = [component.kind for component in offer.components if component.text is None]
        if unstated:
            yield from self.wrap(f"not stated by the source: {', '.join(unstated)}", indent + "  ")

    def rule(self, finding: RuleFinding) -> Iterator[str]:
        rule = finding.rule
        if finding.state == "overridden":
            by = self.words.overriders((*finding.overridden_by, *finding.may_be_overridden_by), rule.name)
            lead = "Applies but is not followed" if finding.certain else "Not followed, whether or not it applies"
            yield from self.wrap(f"{lead}: {rule.name} ({rule.modality}); {by}", "  ", "      ")
        else:
            yield from self.wrap(f"Applies: {rule.name} ({rule.modality})", "  ", "      ")
            if finding.may_be_overridden_by:
                by = self.words.overriders(finding.may_be_overridden_by, rule.name)
                yield from self.wrap(f"by what is unknown, perhaps {by}", "      ")
        if finding.because:
            yield from self.wrap("because " + "; ".join(map(self.words.fact, finding.because)), "      ", "        ")
        yield from self.passages(finding.passages, "      ")
        for reason in finding.editorial:
            yield from self.wrap(f"editorial: {reason}", "      ", "        ")

    def arguments(self, arguments: Iterable[ArgumentFinding], shown: set[str]) -> Iterator[str]:
        for finding in arguments:
            if finding.state == "excluded":
                continue
            for sign, offers in (("for", finding.for_), ("against", finding.against)):
                named = [self.guideline.offers[offer].label for offer in offers if offer in shown]
                if named:
                    words = f"Argument {sign} {' / '.join(named)}: {self.words.argument(finding)}"
                    yield from self.wrap(words, "  ", "      ")

    # -- explanations

    def explanation(
        self, decisions: Sequence[str], offer: str | None, with_what_if: bool, immutable: bool
    ) -> Iterator[str]:
        yield from self.head()
        result = self.recommendation
        counterfactuals = result.what_if(*decisions, immutable=immutable) if with_what_if else {}
        for name, contrasts in result.why_not(*decisions, offer=offer).items():
            answer = result.decisions[name]
            yield ""
            yield from self.outcome(name, answer)
            applying = [finding for finding in answer.rules if finding.state == "applies"]
            yield "  Why"
            if not applying:
                yield "    No rule applies for certain."
            for finding in applying:
                yield from (f"  {line}" for line in self.rule(finding))
            for contrast in contrasts:
                yield from self.why_not(contrast)
            if with_what_if:
                yield "  What would change it, and to what"
                if not counterfactuals[name]:
                    yield "    Nothing that can change."
                for found in counterfactuals[name]:
                    yield from self.what_if(self.guideline.decisions[name], found)
        yield from self.closing()

    def why_not(self, contrast: WhyNot) -> Iterator[str]:
        yield from self.wrap(f"Why not {self.guideline.offers[contrast.offer].label} ({contrast.offer})?", "  ", "    ")
        yield from self.wrap(STANDING[contrast.standing], "    ")
        for hindrance in contrast.hindrances:
            yield from self.wrap(f"{hindrance.finding.rule.name} {self.words.hindrance(hindrance)}.", "    ", "      ")
        for changes in contrast.if_known:
            yield from self.wrap(f"It would be recommended if {self.words.changes(changes)}.", "    ", "      ")

    def what_if(self, decision: Decision, found: WhatIf) -> Iterator[str]:
        yield from self.wrap(f"- {self.words.possibility(decision, found.outcome)}", "    ", "      ")
        for changes in found.changes:
            yield from self.wrap(f"if {self.words.changes(changes)}", "      ", "        ")

    def passages(self, names: Iterable[str], indent: str) -> Iterator[str]:
        for name in names:
            words = f"{self.words.reference(name)}: {self.guideline.passages[name].paraphrase}"
            yield from self.wrap(words, indent, indent + "  ")

    def closing(self) -> Iterator[str]:
        if self.words.cited:
            yield ""
            yield self.paint("Citations (markers of the source; it numbers no list)", _HEADING)
            for marker, words in sorted(self.words.cited.items()):
                yield from self.wrap(f"[{marker}] {words}", "  ", "      ")
        if self.recommendation.unused:
            yield ""
            yield self.paint("Read and not used", _HEADING)
            for unused in self.recommendation.unused:
                yield from self.wrap(f"{unused.path} {unused.of}: {unused.reason}", "  ", "      ")
        yield ""
        yield from self.wrap(self.guideline.disclaimer)

    # -- layout

    def paint(self, words: str, code: str) -> str:
        return f"\033[{code}m{words}\033[0m" if self.colour else words

    def wrap(self, words: str, indent: str = "", then: str | None = None) -> list[str]:
        later = indent if then is None else then
        return textwrap.wrap(
            words,
            self.width,
            initial_indent=indent,
            subsequent_indent=later,
            break_long_words=False,
            break_on_hyphens=False,
        )

    def beside(self, columns: Sequence[Sequence[str]]) -> Iterator[str]:
        """Paragraphs in columns, one column a side."""
        gap = "  |  "
        width = max(24, (self.width - 2 - len(gap) * (len(columns) - 1)) // len(columns))
        wrapped = [
            [line for paragraph in column for line in textwrap.wrap(paragraph, width, subsequent_indent="  ")]
            for column in columns
        ]
        for row in itertools.zip_longest(*wrapped, fillvalue=""):
            yield "  " + gap.join(cell.ljust(width) for cell in row).rstrip()
