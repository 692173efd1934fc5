"""What ``b12kg diff`` prints: the advice, who is concerned, what records lose, and which terms differ.

Owns layout only; what is found is for diff/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from b12kg.diff import KINDS, Cohort, Comparison, OutcomeChange, Said, TermChange
from b12kg.iris import name_of

_SHOWN = 5  # conditions of one change; the JSON form has all of them


def lines(comparison: Comparison) -> Iterator[str]:
    """The comparison in words."""
    old, new = comparison.old, comparison.new
    yield f"{new.label} ({new.id}): {old.version} ({old.digest[:19]}) -> {new.version} ({new.digest[:19]})"
    if old.iri != new.iri:
        yield f"These are no two versions of one guideline: the old one is {old.label} ({old.id})."
    yield f"Review status of the source: {new.review_status}."
    yield ""
    yield f"Advice: {comparison.advice}."
    yield from (f"  {advice}  {reason}" for advice, reason in comparison.reasons)
    figures = comparison.figures.values()
    rows, patients = (sum(getattr(f, name) for f in figures) for name in ("possible", "patients"))
    looked_at = f"{rows} rows of {len(comparison.figures)} decisions, {patients} fully known patients among them"
    if comparison.changes:
        yield f"Compared over {looked_at}."
    else:
        yield f"No patient's outcome changes: proven over {looked_at}."
    for change in comparison.changes:
        yield ""
        yield from _outcome(change)
    for offer in comparison.offers:
        yield ""
        yield f"{offer.offer} says something else"
        yield from (f"  {part}: {before or '-'} -> {after or '-'}" for part, before, after in offer.parts)
    if comparison.cohort is not None:
        yield ""
        yield from _cohort(comparison.cohort)
    if comparison.terms:
        yield ""
        yield f"Terms: {len(comparison.terms)}"
    for term in comparison.terms:
        yield from _term(term)
    yield ""
    yield new.disclaimer


def _outcome(change: OutcomeChange) -> Iterator[str]:
    yield f"{change.kind} in {change.decision}: {change.count} fully known patients, {change.rows} rows"
    yield f"  old       {_said(change.old)}"
    yield f"  new       {_said(change.new)}"
    for condition in change.conditions[:_SHOWN]:
        yield f"  patients  {condition.patients}" + (f" ({condition.count})" if condition.count else "")
        yield f"  witness   {json.dumps(condition.witness, ensure_ascii=False)}"
    if len(change.conditions) > _SHOWN:
        yield f"  ... and {len(change.conditions) - _SHOWN} more ways to say who; --format json has all"


def _said(said: Said) -> str:
    offers = ", ".join((*said.recommended, *said.conflicting))
    words = [f"{said.status}{f': {offers}' if offers else ''}"]
    words += ["the source is silent"] if said.source_silent else []
    words += [f"alternatives {', '.join(sorted(said.choosable))}"] if said.choosable else []
    words += [f"missing {', '.join(said.missing)}"] if said.missing else []
    words += [f"alert {rule} ({certainty})" for rule, certainty in said.alerts]
    return "; ".join(words)


def _cohort(cohort: Cohort) -> Iterator[str]:
    yield f"Cohort: {len(cohort.places)} of {cohort.records} records change"
    for decision, kinds in cohort.changed.items():
        counts = ", ".join(f"{len(kinds[kind])} {kind}" for kind in KINDS if kind in kinds)
        if counts:
            yield f"  {decision}: {counts}"
    for by, places in cohort.refused.items():
        if places:
            yield f"  refused by {by}: {len(places)} ({', '.join(places)})"


def _term(term: TermChange) -> Iterator[str]:
    yield f"  {term.change} {term.kind} {name_of(term.iri)}"
    for change in term.properties:
        path = " / ".join(name_of(part.replace("#", "/")) for part in change.path)
        old, new = (", ".join(map(_short, values)) or "-" for values in (change.old, change.new))
        yield f"    {path}: {old} -> {new}"


def _short(value: str) -> str:
    """A value without its datatype; an IRI by its name."""
    if value.startswith("<"):
        return name_of(value.strip("<>").replace("#", "/"))
    return value.rpartition('"')[0] + '"' if value.startswith('"') else value
