"""From a record to its recommendation, in the order one would say it.

Owns the composition of the stages and the object that callers hold. Decides nothing itself.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from b12kg.classify import reasoner
from b12kg.decide import decide
from b12kg.errors import InvalidRecord, Problem, ReasonerError
from b12kg.explain import Endings, alerts, answer, unused
from b12kg.expression import ObjectIntersectionOf
from b12kg.guideline import Guideline, load_guideline
from b12kg.outcome import fillings
from b12kg.recommendation import Recommendation
from b12kg.record import Record, facts, patient
from b12kg.validate import validate


def recommend(guideline: Guideline, record: Record, warnings: tuple[Problem, ...] = ()) -> Recommendation:
    """Work out every decision for a valid record with the reference engine: HermiT and SPARQL."""
    hermit = reasoner(guideline)
    who = patient(record, guideline)
    if not hermit.possible(who):
        raise InvalidRecord([Problem("record", "no patient can be as it states, by the reasoner")])
    endings = _endings(guideline, record)
    known = facts(record, guideline)

    def truth(phenotype: str) -> Any:
        return hermit.truth(who, phenotype)

    return Recommendation(
        guideline=guideline,
        record=record,
        engine="reference",
        decisions={name: answer(guideline, name, endings[name], known, truth) for name in guideline.decisions},
        alerts=tuple(a for name in guideline.decisions for a in alerts(guideline, name, endings[name], truth)),
        notices=record.outside,
        warnings=warnings,
        unused=unused(guideline, record, known),
    )


def _endings(guideline: Guideline, record: Record) -> dict[str, Endings]:
    hermit = reasoner(guideline)
    who = patient(record, guideline)
    possible = []
    for decision in guideline.decisions:
        for filling in fillings(guideline, decision):
            filled = ObjectIntersectionOf((who, filling.expression))
            if hermit.possible(filled):
                truths = {name: hermit.truth(filled, name) for name in guideline.phenotypes_of(decision)}
                if "unknown" in truths.values():
                    raise ReasonerError(f"{decision}: {dict(filling.values)} leaves a phenotype open: {truths}")
                possible.append((filling, frozenset(n for n, t in truths.items() if t == "entailed")))
    ended: dict[str, list[Any]] = {name: [] for name in guideline.decisions}
    for (filling, _), ending in zip(possible, decide(guideline, possible), strict=True):
        ended[filling.decision].append((filling, ending))
    return ended
