"""What a new version of a guideline changes: its terms, its reading of records, and which patients.

Owns the comparison as a whole, and the advice on the new version's number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

from b12kg.compiled import Compiled
from b12kg.diff.cohort import Cohort, over, read_cohort
from b12kg.diff.patients import Condition, DecisionFigures, OutcomeChange, Patients, of_both
from b12kg.diff.reading import reading
from b12kg.diff.said import KINDS, Kind, OfferChange, Said, rewritten
from b12kg.diff.terms import PropertyChange, TermChange, changed_terms
from b12kg.guideline import Guideline
from b12kg.record import JsonValue

if TYPE_CHECKING:
    from rdflib import Graph

__all__ = [
    "KINDS",
    "Cohort",
    "Comparison",
    "Condition",
    "DecisionFigures",
    "OfferChange",
    "OutcomeChange",
    "PropertyChange",
    "Said",
    "TermChange",
    "compare",
    "read_cohort",
]

Advice = Literal["major", "minor", "patch"]
ADVICE: Mapping[Kind, Advice] = {
    "refused": "major",
    "changed": "major",
    "answered": "minor",
    "accepted": "minor",
    "questions": "minor",
}
_ORDER: tuple[Advice, ...] = ("major", "minor", "patch")
_REASONS: Mapping[Kind, str] = {
    "refused": "patients are no longer accepted",
    "changed": "a settled outcome or an alert changes",
    "answered": "what was undetermined or not applicable is answered, or may be",
    "accepted": "patients are accepted who were not",
    "questions": "what is undetermined asks for, or may come to, something else",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that differs between two versions of a guideline.

    Args:
        terms: what the graphs do not describe alike.
        lost: records that were taken and are refused, or read otherwise, or may be, in words.
        gained: records that are taken now, or may be, in words.
        offers: the offers of both that say something else.
        figures: decision -> how much was compared.
        changes: whom an outcome changes for, the gravest kinds first.
    """

    old: Guideline
    new: Guideline
    terms: tuple[TermChange, ...]
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    offers: tuple[OfferChange, ...]
    figures: Mapping[str, DecisionFigures]
    changes: tuple[OutcomeChange, ...]
    cohort: Cohort | None = None

    @property
    def reasons(self) -> tuple[tuple[Advice, str], ...]:
        """Why the version has to move, the strongest reason first; none where nothing changes for anybody."""
        found: list[tuple[Advice, str]] = []
        for kind in KINDS:
            rows = sum(figures.changed.get(kind, 0) for figures in self.figures.values())
            if rows:
                found.append((ADVICE[kind], f"{_REASONS[kind]} ({rows} rows)"))
        found += [("major", words) for words in self.lost]
        found += [("minor", words) for words in self.gained]
        if self.cohort is not None and self.cohort.refused["new"]:
            found.append(("major", f"{len(self.cohort.refused['new'])} records of the cohort are no longer accepted"))
        return tuple(sorted(found, key=lambda reason: _ORDER.index(reason[0])))

    @property
    def advice(self) -> Advice:
        """Which part of the version has to grow, by Semantic Versioning."""
        return self.reasons[0][0] if self.reasons else "patch"

    def to_dict(self) -> dict[str, JsonValue]:
        """Everything as JSON."""
        return {
            "old": {"id": self.old.id, "version": self.old.version, "digest": self.old.digest},
            "new": {"id": self.new.id, "version": self.new.version, "digest": self.new.digest},
            "advice": self.advice,
            "reasons": [{"advice": advice, "reason": reason} for advice, reason in self.reasons],
            "terms": [change.to_dict() for change in self.terms],
            "lost": list(self.lost),
            "gained": list(self.gained),
            "offers": [change.to_dict() for change in self.offers],
            "decisions": {name: figures.to_dict() for name, figures in self.figures.items()},
            "changes": [change.to_dict() for change in self.changes],
            "cohort": None if self.cohort is None else self.cohort.to_dict(),
            "reviewStatus": self.new.review_status,
            "disclaimer": self.new.disclaimer,
        }

    def graph(self) -> Graph:
        """The changes as RDF, each witness as a record."""
        from b12kg.diff.rdf import graph_of

        return graph_of(self)


def compare(
    old: Compiled,
    new: Compiled,
    cohort: Iterable[tuple[str, Mapping[str, object] | bytes]] | None = None,
    *,
    as_of: date | None = None,
) -> Comparison:
    """What changes from one version of a guideline to another, for every patient that can be told apart.

    Args:
        cohort: records in the JSON format with the place of each, as of :func:`read_cohort`.
        as_of: the date for records of the cohort that state none.

    Raises:
        InvalidGuideline: a decision of both together depends on too many features, or a quantity on which
            one depends has another canonical unit. Nothing is approximated.

    >>> from b12kg.compiled import load_compiled
    >>> same = compare(load_compiled("droracle-2025"), load_compiled("droracle-2025"))
    >>> same.advice, same.changes
    ('patch', ())
    """
    before, after = old.guideline, new.guideline
    offers = rewritten(before, after)
    altered = frozenset(change.offer for change in offers)
    union = of_both(before, after)
    figures, changes = {}, list[OutcomeChange]()
    for decision in dict.fromkeys((*before.decisions, *after.decisions)):
        figures[decision], found = Patients(old, new, union, decision, altered).compared()
        changes += found
    lost, gained = reading(old, new)
    return Comparison(
        before,
        after,
        changed_terms(before.graph(), after.graph()),
        lost,
        gained,
        offers,
        figures,
        tuple(sorted(changes, key=lambda change: KINDS.index(change.kind))),
        None if cohort is None else over(old, new, cohort, altered, as_of),
    )
