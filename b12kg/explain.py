"""Why: the facts, passages and arguments behind the outcome of a decision.

Owns the step from what an engine found (truths, endings) to findings that name the record's
entries and the document's passages. The same for every engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from b12kg.expression import Leaf, Truth, feature_of, ground
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.outcome import RuleVerdict, Verdict
from b12kg.recommendation import ARGUMENT_STATE, Alert, Answer, ArgumentFinding, Fact, RuleFinding, Unused
from b12kg.record import Facts, Record

# What an engine says of a phenotype for the record as it stands, and the facts behind that.
Truths = Callable[[str], Truth]
Reasons = Callable[[str], tuple[Fact, ...]]


def answer(guideline: Guideline, decision: str, verdict: Verdict, reasons: Reasons, truth: Truths) -> Answer:
    """The outcome of a decision with the findings on each of its rules and arguments.

    Args:
        verdict: what the engine found of the decision.
        reasons: :func:`because` for this record.
    """
    return Answer(
        verdict.outcome,
        lambda: tuple(_rule(guideline, found, reasons, truth) for found in verdict.rules),
        lambda: tuple(_arguments(guideline, decision, truth)),
    )


def alerts(guideline: Guideline, verdicts: Mapping[str, Verdict], truth: Truths) -> Iterator[Alert]:
    """Rules that are followed, or may be, for a patient of whom the condition of their alert holds."""
    for decision in guideline.alerting:
        yield from alerts_of(guideline, verdicts[decision], truth)


def alerts_of(guideline: Guideline, verdict: Verdict, truth: Truths) -> Iterator[Alert]:
    """The alerts that the rules of one decision raise."""
    for found in verdict.rules:
        condition = guideline.rules[found.rule].alert_when
        if found.followed != "never" and condition is not None and truth(condition) == "entailed":
            yield Alert(found.rule, found.followed, found.follow_missing)


def unused(guideline: Guideline, record: Record, facts: Facts) -> tuple[Unused, ...]:
    """The entries of a record that no rule, decision or argument looks at, and replaced measurements."""
    features = guideline.features_asked
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


def _rule(guideline: Guideline, found: RuleVerdict, reasons: Reasons, truth: Truths) -> RuleFinding:
    rule = guideline.rules[found.rule]
    supported = [s for s in rule.support if s.only_for is None or truth(s.only_for) == "entailed"]
    phenotype = guideline.phenotypes[rule.phenotype]
    return RuleFinding(
        rule=rule,
        state=found.state,
        because=reasons(rule.phenotype),
        overridden_by=found.overridden_by,
        may_be_overridden_by=found.may_be_overridden_by,
        passages=tuple(support.passage for support in supported),
        certain=found.certain,
        editorial=(*rule.editorial, *phenotype.editorial, *(reason for s in supported for reason in s.editorial)),
    )


def _arguments(guideline: Guideline, decision: str, truth: Truths) -> Iterator[ArgumentFinding]:
    for argument in guideline.arguments_about(decision):
        yield ArgumentFinding(argument, argument.for_, argument.against, ARGUMENT_STATE[truth(argument.phenotype)])


def because(guideline: Guideline, facts: Facts, truth: Truths, phenotype: str) -> tuple[Fact, ...]:
    """The facts that entail or exclude a phenotype, in the order in which its definition asks.

    None where the phenotype is unknown, or where it holds for everyone.
    """
    if truth(phenotype) == "unknown":
        return ()
    asked = guideline.leaves_of([phenotype])
    _, rests_on = ground(guideline.phenotypes[phenotype].expression, facts.known(asked))
    return tuple(fact for leaf in asked if leaf in rests_on for fact in _facts(leaf, facts))


def _facts(leaf: Leaf, facts: Facts) -> list[Fact]:
    feature = feature_of(leaf)
    if feature in facts.concepts:
        return [Fact(feature, statement) for statement in facts.concepts[feature][1]]
    if feature in facts.measurements:
        return [Fact(feature, facts.measurements[feature])]
    return [Fact(feature, str(facts.jurisdiction))]
