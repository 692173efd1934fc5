"""From a record to its recommendation, in the order one would say it.

Owns the composition of the stages, and the guideline as callers hold it. Decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from b12kg.classify import Reasoner, reasoner
from b12kg.decide import decide
from b12kg.errors import InvalidRecord, Problem, ReasonerError
from b12kg.explain import Endings, alerts, answer, unused
from b12kg.expression import ClassExpression, ObjectIntersectionOf
from b12kg.guideline import Guideline
from b12kg.outcome import Ending, Filling, fillings
from b12kg.recommendation import Recommendation
from b12kg.record import Record, facts, patient
from b12kg.records import read
from b12kg.turtle import load_guideline
from b12kg.validate import validate


def load(where: str | Path | None = None) -> ExecutableGuideline:
    """A guideline that answers records.

    Args:
        where: a folder of Turtle, or the name of a shipped guideline; None if only one is shipped.

    Raises:
        UsageError: there is no such folder or name.
        InvalidGuideline: the guideline cannot be worked with; every reason is given.

    >>> load().content.id
    'droracle-2025'
    """
    return ExecutableGuideline(load_guideline(where))


@dataclass(frozen=True, slots=True)
class ExecutableGuideline:
    """A guideline with what can be done with it; ``content`` holds what it says."""

    content: Guideline

    def recommend(
        self, record: Mapping[str, object] | str | bytes | Path, *, format: str = "json", as_of: date | None = None
    ) -> Recommendation:
        """What the guideline gives for a record: every decision, explained.

        Args:
            record: a mapping as in the JSON format, the path of a file, or its content as bytes.
            format: json, turtle, nt or jsonld, where no suffix of a path says it.
            as_of: the date for a record that states none.

        Raises:
            InvalidRecord: the record is not answered; every reason is given.
            UsageError: the format is unknown, or the file cannot be read.
            ReasonerError: Java did not start, or the reasoner failed.

        >>> answer = load().recommend({"id": "urn:example:p", "asOf": "2026-01-15", "absent": ["VitaminB12Deficiency"]})
        >>> answer.decisions["InitialTreatment"].status
        'not-applicable'
        """
        read_record, problems = read(record, self.content, format=format, as_of=as_of)
        problems += validate(read_record, self.content)
        if any(problem.severity == "error" for problem in problems):
            raise InvalidRecord([problem for problem in problems if problem.severity == "error"])
        return recommend(self.content, read_record, tuple(problems))

    def validate(
        self, record: Mapping[str, object] | str | bytes | Path, *, format: str = "json", as_of: date | None = None
    ) -> list[Problem]:
        """What is wrong with a record (errors), or odd about it (warnings); empty if nothing is.

        Arguments as in :meth:`recommend`.

        >>> [p.path for p in load().validate({"id": "p", "asOf": "2026-01-15", "present": ["PerniciousAnaemia"]})]
        ['present[0]']
        """
        try:
            read_record, problems = read(record, self.content, format=format, as_of=as_of)
        except InvalidRecord as error:
            return list(error.problems)
        return [*problems, *validate(read_record, self.content)]


def recommend(guideline: Guideline, record: Record, warnings: tuple[Problem, ...] = ()) -> Recommendation:
    """Work out every decision for a valid record with the reference engine: HermiT and SPARQL.

    Raises:
        InvalidRecord: the reasoner finds that no patient can be as the record states.
    """
    hermit, who, known = reasoner(guideline), patient(record, guideline), facts(record, guideline)
    if not hermit.possible(who):
        raise InvalidRecord([Problem("record", "no patient can be as it states: the reasoner finds a contradiction")])
    endings = _endings(guideline, hermit, who)
    truth = partial(hermit.truth, who)
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


def _endings(guideline: Guideline, hermit: Reasoner, who: ClassExpression) -> dict[str, Endings]:
    """For each decision, every filling that the patient can be, with how the decision ends for it."""
    possible: list[tuple[Filling, frozenset[str]]] = []
    for decision in guideline.decisions:
        for filling in fillings(guideline, decision):
            filled = ObjectIntersectionOf((who, filling.expression))
            if hermit.possible(filled):
                truths = {name: hermit.truth(filled, name) for name in guideline.phenotypes_of(decision)}
                if "unknown" in truths.values():
                    raise ReasonerError(f"{decision}: {dict(filling.values)} leaves a phenotype open: {truths}")
                possible.append((filling, frozenset(name for name, t in truths.items() if t == "entailed")))
    ended: dict[str, list[tuple[Filling, Ending]]] = {name: [] for name in guideline.decisions}
    for (filling, _), ending in zip(possible, decide(guideline, possible), strict=True):
        ended[filling.decision].append((filling, ending))
    return {name: tuple(found) for name, found in ended.items()}
