"""Why: the facts, passages and arguments behind the outcome of a decision.

Owns the step from what an engine found (truths, endings) to findings that name the record's
entries and the document's passages. The same for every engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from b12kg.expression import Leaf, Truth, feature_of, ground, leaves
from b12kg.guideline import JURISDICTION, Argument, Guideline, Rule
from b12kg.outcome import Ending, Filling, decisive, overriders_of, settle, state_of
from b12kg.recommendation import ARGUMENT_STATE, Alert, Answer, ArgumentFinding, Fact, RuleFinding, Unused
from b12kg.record import Facts, Record

Endings = Sequence[tuple[Filling, Ending]]


def answer(
    guideline: Guideline, decision: str, endings: Endings, facts: Facts, truth: Callable[[str], Truth]
) -> Answer:
    """The outcome of a decision with the findings on each of its rules and arguments.

    Args:
        endings: every filling that the patient can be, with how the decision ends for it.
        truth: what the engine says of a phenotype for the record as it stands.
    """
    return Answer(
        outcome=settle(endings),
        rules=tuple(_rule(guideline, rule, endings, facts, truth) for rule in guideline.rules_of(decision)),
        arguments=tuple(_arguments(guideline, decision, truth)),
    )


def alerts(guideline: Guideline, decision: str, endings: Endings, truth: Callable[[str], Truth]) -> list[Alert]:
    """The alerts of a decision: rules that apply, or may, to a patient of whom their condition holds."""

    def followed(rule: str) -> Callable[[Ending], bool]:
        return lambda ending: rule in ending.applying and rule not in ending.overridden

    found = []
    for rule in guideline.rules_of(decision):
        if rule.alert_when is None or truth(rule.alert_when) != "entailed":
            continue
        holds = [followed(rule.name)(ending) for _, ending in endings]
        if any(holds):
            missing = decisive(endings, followed(rule.name))
            found.append(Alert(rule.name, "certain" if all(holds) else "possible", missing))
    return found


def unused(guideline: Guideline, record: Record, facts: Facts) -> tuple[Unused, ...]:
    """The entries of a record that no rule, decision or argument looks at, and replaced measurements."""
    asked = {
        *(name for rule in guideline.rules.values() for name in (rule.phenotype, rule.alert_when) if name),
        *(decision.concerns for decision in guideline.decisions.values()),
        *(argument.phenotype for argument in guideline.arguments),
    }
    features = {feature_of(leaf) for leaf in guideline.leaves_of(sorted(asked))}
    nothing = "no rule or argument of the guideline depends on it"
    found = []
    for statement in record.statements:
        reached = guideline.parents_of(statement.of) if statement.present else guideline.kinds_of(statement.of)
        if features.isdisjoint((statement.of, *reached)):
            found.append(Unused(statement.path, statement.of, nothing))
    for measurement in record.measurements:
        if measurement.of not in features:
            found.append(Unused(measurement.path, measurement.of, nothing))
        elif measurement in facts.superseded:
            counts = facts.measurements[measurement.of].path
            found.append(Unused(measurement.path, measurement.of, f"{counts} counts, which is later or the same"))
    if record.jurisdiction is not None and JURISDICTION not in features:
        found.append(Unused(JURISDICTION, record.jurisdiction, nothing))
    return tuple(found)


def _rule(
    guideline: Guideline, rule: Rule, endings: Endings, facts: Facts, truth: Callable[[str], Truth]
) -> RuleFinding:
    always, sometimes = overriders_of(rule.name, endings)
    supported = [s for s in rule.support if s.only_for is None or truth(s.only_for) == "entailed"]
    phenotype = guideline.phenotypes[rule.phenotype]
    return RuleFinding(
        rule=rule,
        state=state_of(rule.name, endings),
        because=because(guideline, rule.phenotype, facts),
        overridden_by=tuple(sorted(always)),
        may_be_overridden_by=tuple(sorted(sometimes)),
        passages=tuple(support.passage for support in supported),
        certain=all(rule.name in ending.applying for _, ending in endings),
        editorial=(*rule.editorial, *phenotype.editorial, *(reason for s in supported for reason in s.editorial)),
    )


def _arguments(guideline: Guideline, decision: str, truth: Callable[[str], Truth]) -> list[ArgumentFinding]:
    offered = {offer for rule in guideline.rules_of(decision) for offer in rule.offers}

    def among(offers: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(offer for offer in offers if offer in offered)

    def finding(argument: Argument) -> ArgumentFinding:
        state = ARGUMENT_STATE[truth(argument.phenotype)]
        return ArgumentFinding(argument, among(argument.for_), among(argument.against), state)

    return [finding(a) for a in guideline.arguments if among(a.for_) or among(a.against)]


def because(guideline: Guideline, phenotype: str, facts: Facts) -> tuple[Fact, ...]:
    """The facts that entail or exclude a phenotype, in the order in which its definition asks.

    None where the phenotype is unknown, or where it holds for everyone.
    """
    expression = guideline.phenotypes[phenotype].expression
    asked = tuple(dict.fromkeys(leaves(expression)))
    _, rests_on = ground(expression, facts.known(asked))
    return tuple(fact for leaf in asked if leaf in rests_on for fact in _facts(leaf, facts))


def _facts(leaf: Leaf, facts: Facts) -> list[Fact]:
    feature = feature_of(leaf)
    if feature in facts.concepts:
        return [Fact(feature, statement) for statement in facts.concepts[feature][1]]
    if feature in facts.measurements:
        return [Fact(feature, facts.measurements[feature])]
    return [Fact(feature, str(facts.jurisdiction))]
