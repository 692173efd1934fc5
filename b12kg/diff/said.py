"""What a version says to a patient about a decision, and in what way two versions differ there.

Owns the kinds of difference. An offer of the same name that says something else is another offer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from b12kg.explain import Truths, alerts_of
from b12kg.guideline import Guideline, Offer
from b12kg.outcome import PossibleOutcome, Verdict
from b12kg.record import JsonValue

# refused, accepted: records that only the old, only the new version takes. changed: an answer, or an
# alert, is another one or gone. answered: what was open or not applicable is not so any more.
# questions: what is undetermined asks for, or may come to, something else.
Kind = Literal["refused", "changed", "answered", "accepted", "questions"]
KINDS: tuple[Kind, ...] = ("refused", "changed", "answered", "accepted", "questions")
_ANSWERS = ("recommended", "choice", "conflict")


@dataclass(frozen=True, slots=True)
class Said:
    """What a version says to a patient about a decision; fields as of an outcome.

    Args:
        status: ``refused`` where it does not take the record, ``not-asked`` where it has no such decision.
        alerts: rule -> certain or possible.
    """

    status: str
    source_silent: bool = False
    recommended: tuple[str, ...] = ()
    conflicting: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    possible_alternatives: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    possible: tuple[PossibleOutcome, ...] = ()
    alerts: tuple[tuple[str, str], ...] = ()

    @property
    def core(self) -> tuple[object, ...]:
        """By what patients are taken together: not what only some of them may choose instead."""
        return self.status, self.source_silent, self.recommended, self.conflicting, self.alerts

    @property
    def offers(self) -> frozenset[str]:
        """Every offer that is named."""
        return frozenset((*self.recommended, *self.conflicting, *self.choosable))

    @property
    def possible_offers(self) -> frozenset[str]:
        """Every offer that the outcome may come to."""
        return frozenset(offer for p in self.possible for offer in (*p.recommended, *p.conflicting))

    @property
    def choosable(self) -> frozenset[str]:
        """The alternatives, certain or possible."""
        return frozenset((*self.alternatives, *self.possible_alternatives))

    def to_dict(self) -> dict[str, JsonValue]:
        """What is said as JSON, with the keys of an answer."""
        return {
            "status": self.status,
            "sourceSilent": self.source_silent,
            "recommended": list(self.recommended),
            "conflicting": list(self.conflicting),
            "alternatives": list(self.alternatives),
            "possibleAlternatives": list(self.possible_alternatives),
            "missing": list(self.missing),
            "possible": [
                {"status": p.status, "recommended": list(p.recommended), "conflicting": list(p.conflicting)}
                for p in self.possible
            ],
            "alerts": [{"rule": rule, "certainty": certainty} for rule, certainty in self.alerts],
        }


REFUSED, NOT_ASKED = Said("refused"), Said("not-asked")


def said(guideline: Guideline, verdict: Verdict, truth: Truths) -> Said:
    """What an outcome says, with the alerts that the rules of the decision raise."""
    outcome = verdict.outcome
    return Said(
        outcome.status,
        outcome.source_silent,
        outcome.recommended,
        outcome.conflicting,
        outcome.alternatives,
        outcome.possible_alternatives,
        outcome.missing,
        outcome.possible,
        tuple((alert.rule, alert.certainty) for alert in alerts_of(guideline, verdict, truth)),
    )


def kind_of(old: Said, new: Said, rewritten: frozenset[str]) -> Kind | None:
    """In what way two versions differ for a patient; None if they do not."""
    if old.status == "refused" or new.status == "refused":
        return None if old.status == new.status else "accepted" if old.status == "refused" else "refused"
    if new.status == "not-asked" or not set(old.alerts) <= set(new.alerts):
        return "changed"
    if old.status in _ANSWERS:
        same = old == new and rewritten.isdisjoint(old.offers)
        return None if same else "changed"
    if old.status == "undetermined" == new.status and old.alerts == new.alerts:
        if not rewritten.isdisjoint(old.choosable):
            return "changed"
        return None if old == new and rewritten.isdisjoint(old.possible_offers) else "questions"
    if old.status == new.status and old.alerts == new.alerts:
        return None if old == new else "changed"
    return "answered"


def together(old: Said, new: Said, rewritten: frozenset[str]) -> tuple[object, ...]:
    """By what the patients of one change are taken together."""
    if old.core != new.core:
        return old.core, new.core
    shifted = (old.choosable - new.choosable, new.choosable - old.choosable)
    return old.core, shifted, rewritten & (old.offers | old.possible_offers)


# ---- offers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OfferChange:
    """An offer of both versions that says something else: parts with what they said and say; None if nothing."""

    offer: str
    parts: tuple[tuple[str, str | None, str | None], ...]

    def to_dict(self) -> dict[str, JsonValue]:
        """The change as JSON."""
        return {"offer": self.offer, "parts": [{"part": p, "old": old, "new": new} for p, old, new in self.parts]}


def rewritten(old: Guideline, new: Guideline) -> tuple[OfferChange, ...]:
    """The offers of both versions whose direction or parts differ; labels and passages do not count."""
    found = []
    for name in sorted(old.offers.keys() & new.offers.keys()):
        was, now = _parts(old.offers[name]), _parts(new.offers[name])
        differing = [
            (part, was.get(part, (None, None))[0], now.get(part, (None, None))[0])
            for part in dict.fromkeys((*was, *now))
            if was.get(part) != now.get(part)
        ]
        if differing:
            found.append(OfferChange(name, tuple(differing)))
    return tuple(found)


def _parts(offer: Offer) -> dict[str, tuple[str | None, object]]:
    """Each part of what an offer says, in words and in values; several of a kind are numbered."""
    found: dict[str, tuple[str | None, object]] = {"direction": (offer.direction, None)}
    if offer.treatment is not None:
        found["treatment"] = (offer.treatment, offer.treatment)
    kinds = Counter[str]()
    for component in offer.components:
        kinds[component.kind] += 1
        number = f" {kinds[component.kind]}" if kinds[component.kind] > 1 else ""
        values = ", ".join(f"{key} {value}" for key, value in sorted(component.values.items()))
        words = component.text and (f"{component.text} ({values})" if values else component.text)
        found[component.kind + number] = (words, values)
    return found
