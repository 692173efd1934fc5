"""Why not another offer, and what would change the answer: read off a decision's table when asked for.

Owns both as values and as JSON. The rows of a table are patients, and those near a patient's own row
are the ones who differ from this patient in few facts. Why the answer is what it is, stands in the
findings on the rules. Each bears its type in the Explanation Ontology (https://purl.org/heals/eo).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from b12kg.iris import EO
from b12kg.outcome import Outcome, PossibleOutcome, Verdict
from b12kg.record import JsonValue
from b12kg.tables import Feature, Table

if TYPE_CHECKING:
    from b12kg.recommendation import Recommendation, RuleFinding

TRACE_BASED = EO + "TraceBasedExplanation"
CONTRASTIVE = EO + "ContrastiveExplanation"
COUNTERFACTUAL = EO + "CounterfactualExplanation"

Standing = Literal["alternative", "possible-alternative", "conflicting", "possible", "refined", "not-offered"]
Kind = Literal["excluded", "overridden", "unknown", "permitted", "disagreement", "refined"]


@dataclass(frozen=True, slots=True)
class Change:
    """One feature as it is and as it would be, in words; ``before`` is None where it is unknown."""

    of: str
    before: str | None
    after: str

    def to_dict(self) -> dict[str, JsonValue]:
        """The change as JSON."""
        return {"of": self.of, "from": self.before, "to": self.after}


# Changes that have to be made together.
ChangeSet = tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Another outcome, with each smallest set of changed or added facts that leads to it."""

    outcome: PossibleOutcome
    changes: tuple[ChangeSet, ...]

    def to_dict(self) -> dict[str, JsonValue]:
        """The counterfactual as JSON."""
        outcome = self.outcome
        return {
            "type": COUNTERFACTUAL,
            "status": outcome.status,
            "recommended": list(outcome.recommended),
            "conflicting": list(outcome.conflicting),
            "changes": _changes(self.changes),
        }


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a rule that makes an offer does not bring it about.

    Args:
        finding: what was found on the rule; where its phenotype is excluded, the blocking facts.
        kind: its phenotype is excluded; it is overridden; it is unknown whether it is followed; it
            merely permits; rules that are followed do not agree; or they refine this offer.
        by: the overriding, disagreeing or refining rules, each with the basis of the override or None;
            of several overriding ones it can depend on what is unknown which it is.
        missing: the facts that decide whether the rule is followed.
    """

    finding: RuleFinding
    kind: Kind
    by: tuple[tuple[str, str | None], ...]
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, JsonValue]:
        """The hindrance as JSON."""
        return {
            "rule": self.finding.rule.name,
            "modality": self.finding.rule.modality,
            "kind": self.kind,
            "because": [fact.to_dict() for fact in self.finding.because],
            "by": [{"rule": rule, "basis": basis} for rule, basis in self.by],
            "missing": list(self.missing),
        }


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Why an offer is not recommended, and the smallest sets of unknown facts that would make it so."""

    offer: str
    standing: Standing
    hindrances: tuple[Hindrance, ...]
    if_known: tuple[ChangeSet, ...]

    def to_dict(self) -> dict[str, JsonValue]:
        """The contrast as JSON."""
        return {
            "type": CONTRASTIVE,
            "offer": self.offer,
            "standing": self.standing,
            "rules": [hindrance.to_dict() for hindrance in self.hindrances],
            "ifKnown": _changes(self.if_known),
        }


def _changes(sets: tuple[ChangeSet, ...]) -> list[JsonValue]:
    return [[change.to_dict() for change in changes] for changes in sets]


def explained(
    recommendation: Recommendation,
    decisions: Sequence[str] = (),
    *,
    offer: str | None = None,
    with_what_if: bool = True,
    immutable: bool = False,
) -> dict[str, JsonValue]:
    """Why, why not and what if, as JSON.

    Args:
        decisions: which ones; none for all.
        offer: the only one to say why not of, in the decisions that it belongs to; None for all.
        immutable: what if, also by changing what nobody can change.

    Raises:
        UsageError: there is no such decision, or the offer is none of theirs.
    """
    contrasts = recommendation.why_not(*decisions, offer=offer)
    found: dict[str, JsonValue] = {}
    for name, why in recommendation.why(*contrasts).items():
        form: dict[str, JsonValue] = {"why": why, "whyNot": [contrast.to_dict() for contrast in contrasts[name]]}
        if with_what_if:
            form["whatIf"] = [other.to_dict() for other in recommendation.what_if(name, immutable=immutable)[name]]
        found[name] = form | {"missing": list(recommendation.decisions[name].missing)}
    return {**recommendation.heading(), "decisions": found, "disclaimer": recommendation.guideline.disclaimer}


# ---- what if -----------------------------------------------------------------------------------


def what_if(recommendation: Recommendation, decision: str, *, immutable: bool = False) -> tuple[WhatIf, ...]:
    """Every other settled outcome that changed or added facts lead to, all else in the record being equal.

    The outcomes that take the fewest changes come first.

    Args:
        immutable: also by changing what nobody can change, such as a past operation.
    """
    table, row = recommendation.row_of(decision)
    now = table.at(row).outcome
    guideline = recommendation.guideline

    def allowed(change: Change) -> bool:
        """What is immutable stays once it is so: the presence of a concept, the value of a quantity."""
        concept, quantity = guideline.concepts.get(change.of), guideline.quantities.get(change.of)
        stays = concept is not None and concept.immutable and change.before == "present"
        return immutable or not (stays or (quantity is not None and quantity.immutable and change.before is not None))

    return _nearest(recommendation, decision, lambda outcome: outcome.key != now.key, allowed)


def _nearest(
    recommendation: Recommendation,
    decision: str,
    wanted: Callable[[Outcome], bool],
    allowed: Callable[[Change], bool],
) -> tuple[WhatIf, ...]:
    """The settled outcomes that are wanted, each with the smallest sets of allowed changes that lead to it.

    A change is made to the record: what only followed from a statement that is gone is unknown then.
    """
    table, row = recommendation.row_of(decision)
    now = table.known(row)
    found: dict[PossibleOutcome, list[ChangeSet]] = {}

    def ways(feature: Feature) -> list[Change | None]:
        """To leave the feature as it is, or to change or add it."""
        changes = (Change(feature.name, now.get(feature.name), value) for value in feature.values)
        return [None, *(change for change in changes if change.before != change.after and allowed(change))]

    for chosen in itertools.product(*map(ways, table.features)):
        changes = tuple(change for change in chosen if change is not None)
        changes += _entailed(recommendation, table, changes)
        known = _known_after(recommendation, now, changes)
        verdict = None if known is None else table.entry(table.row(known))
        if verdict is None or verdict.outcome.status == "undetermined" or not wanted(verdict.outcome):
            continue
        if changes and all(map(allowed, changes)):
            found.setdefault(PossibleOutcome(*verdict.outcome.key), []).append(changes)
    by_outcome = {outcome: _smallest(sets) for outcome, sets in found.items()}
    nearest_first = sorted(by_outcome.items(), key=lambda item: (len(item[1][0]), str(item[0])))
    return tuple(WhatIf(outcome, sets) for outcome, sets in nearest_first)


def _known_after(recommendation: Recommendation, now: dict[str, str], changes: ChangeSet) -> dict[str, str] | None:
    """What is known once the record is changed, by what it states and what follows; None if it contradicts itself."""
    guideline = recommendation.guideline
    changed = {change.of: change.after for change in changes}
    stated = {s.of: s.present for s in recommendation.record.statements if s.of not in changed}
    stated |= {of: after == "present" for of, after in changed.items() if of in guideline.concepts}
    known = {name: value for name, value in (now | changed).items() if name not in guideline.concepts}
    for concept, present in stated.items():
        value = "present" if present else "absent"
        for reached in (concept, *(guideline.parents_of(concept) if present else guideline.kinds_of(concept))):
            if known.setdefault(reached, value) != value:
                return None
    return known


def _entailed(recommendation: Recommendation, table: Table[Verdict], changes: ChangeSet) -> ChangeSet:
    """What else the record states has to change with them: kinds of what is then absent, parents of what is present."""
    guideline = recommendation.guideline
    stated = {statement.of: statement.present for statement in recommendation.record.statements}
    found: dict[str, Change] = {}
    for change in changes:
        if change.of in guideline.concepts:
            present = change.after == "present"
            related = guideline.parents_of(change.of) if present else guideline.kinds_of(change.of)
            for other in related:
                if other not in table.strides and stated.get(other, present) != present:
                    before, after = ("absent", "present") if present else ("present", "absent")
                    found[other] = Change(other, before, after)
    return tuple(change for _, change in sorted(found.items()))


def _smallest(sets: list[ChangeSet]) -> tuple[ChangeSet, ...]:
    fewest = min(map(len, sets), default=0)
    return tuple(sorted((changes for changes in sets if len(changes) == fewest), key=str))


# ---- why not -----------------------------------------------------------------------------------


def why_not(recommendation: Recommendation, decision: str) -> tuple[WhyNot, ...]:
    """Each offer of a decision that is not recommended, and why; sorted by name."""
    answer = recommendation.decisions[decision]
    offers = sorted({offer for finding in answer.rules for offer in finding.rule.offers} - {*answer.recommended})
    return tuple(
        WhyNot(
            offer,
            _standing(recommendation, decision, offer),
            tuple(_hindrance(recommendation, decision, f, offer) for f in answer.rules if offer in f.rule.offers),
            _if_known(recommendation, decision, offer),
        )
        for offer in offers
    )


def _standing(recommendation: Recommendation, decision: str, offer: str) -> Standing:
    outcome, guideline = recommendation.decisions[decision].outcome, recommendation.guideline
    if offer in outcome.conflicting:
        return "conflicting"
    if any(offer in (*possible.recommended, *possible.conflicting) for possible in outcome.possible):
        return "possible"
    if offer in outcome.alternatives:
        return "alternative"
    if offer in outcome.possible_alternatives:
        return "possible-alternative"
    return "refined" if any(offer in guideline.refined_by(o) for o in outcome.recommended) else "not-offered"


def _if_known(recommendation: Recommendation, decision: str, offer: str) -> tuple[ChangeSet, ...]:
    """The smallest sets of unknown facts that would make the offer a recommended one."""
    ways = _nearest(recommendation, decision, lambda o: offer in o.recommended, lambda change: change.before is None)
    return _smallest([changes for way in ways for changes in way.changes])


def _hindrance(recommendation: Recommendation, decision: str, finding: RuleFinding, offer: str) -> Hindrance:
    guideline, answer = recommendation.guideline, recommendation.decisions[decision]
    table, row = recommendation.row_of(decision)
    (missing,) = (rule.follow_missing for rule in table.at(row).rules if rule.rule == finding.rule.name)
    if finding.state == "excluded":
        return Hindrance(finding, "excluded", (), ())
    if finding.state == "overridden":
        by = (*finding.overridden_by, *finding.may_be_overridden_by)
        return Hindrance(finding, "overridden", guideline.bases_of(by, finding.rule.name), ())
    followed = [f.rule for f in answer.rules if f.state == "applies" and not f.rule.merely_permits]
    refining = [rule for rule in followed if any(offer in guideline.refined_by(other) for other in rule.offers)]
    disagreeing = [rule for rule in followed if offer not in rule.offers]
    if finding.state == "unknown" or missing or not disagreeing:
        possible = guideline.bases_of(finding.may_be_overridden_by, finding.rule.name)
        return Hindrance(finding, "unknown", possible, missing or answer.missing)
    kind: Kind = "refined" if refining else "permitted" if finding.rule.merely_permits else "disagreement"
    return Hindrance(finding, kind, tuple((rule.name, None) for rule in refining or disagreeing), ())
