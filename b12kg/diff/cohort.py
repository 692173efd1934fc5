"""What changes for real records: counted, and named by their places only.

Owns the reading of a file of records. Nothing that a record says is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from b12kg.compiled import Compiled
from b12kg.diff.said import NOT_ASKED, Kind, Said, kind_of, said
from b12kg.errors import InvalidRecord, UsageError
from b12kg.expression import Truth
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.record import JsonValue
from b12kg.records.json import LARGEST, parse_json


@dataclass(frozen=True, slots=True)
class Cohort:
    """What changes for some real records, named by their places.

    Args:
        records: how many there are.
        changed: decision -> kind -> places; a record refused by one version is not among them.
        refused: ``old``, ``new`` or ``both`` -> the places of records that these versions do not answer.
    """

    records: int
    changed: Mapping[str, Mapping[Kind, tuple[str, ...]]]
    refused: Mapping[str, tuple[str, ...]]

    @property
    def places(self) -> tuple[str, ...]:
        """The records of which any decision changes, each once."""
        return tuple(dict.fromkeys(p for kinds in self.changed.values() for found in kinds.values() for p in found))

    def to_dict(self) -> dict[str, JsonValue]:
        """The figures as JSON."""
        return {
            "records": self.records,
            "changed": len(self.places),
            "decisions": {
                decision: {kind: list(places) for kind, places in kinds.items()}
                for decision, kinds in self.changed.items()
            },
            "refused": {by: list(places) for by, places in self.refused.items()},
        }


def read_cohort(path: Path) -> Iterator[tuple[str, Mapping[str, object] | bytes]]:
    """The records of a file, each with its place: a record a line, a JSON list, or one record.

    What cannot be read comes as its bytes, for which it is then refused.

    Raises:
        UsageError: the file cannot be read, or is a list of more than 10 MB.
    """
    try:
        with path.open("rb") as file:
            start = file.read(LARGEST + 1)
            file.seek(0)
            if len(start) <= LARGEST:
                try:
                    whole = parse_json(start)
                except InvalidRecord:
                    whole = None
                if isinstance(whole, list):
                    for index, item in enumerate(whole):
                        yield f"[{index}]", item if isinstance(item, Mapping) else b"null"
                    return
                if isinstance(whole, Mapping):
                    yield "record", whole
                    return
            elif start.lstrip().startswith(b"["):
                raise UsageError(f"{path}: a list of more than {LARGEST} bytes; give a record a line")
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"line {number}", line
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def over(
    old: Compiled,
    new: Compiled,
    cohort: Iterable[tuple[str, Mapping[str, object] | bytes]],
    rewritten: frozenset[str],
    as_of: date | None,
) -> Cohort:
    """What changes for the records of a cohort, each given with its place."""
    records = 0
    decisions = dict.fromkeys((*old.guideline.decisions, *new.guideline.decisions))
    changed: dict[str, dict[Kind, list[str]]] = {decision: {} for decision in decisions}
    refused: dict[str, list[str]] = {"old": [], "new": [], "both": []}
    for place, record in cohort:
        records += 1
        was, now = (_answer(compiled, record, as_of) for compiled in (old, new))
        if was is None or now is None:
            refused["old" if now is not None else "new" if was is not None else "both"].append(place)
            continue
        for decision, kinds in changed.items():
            kind = kind_of(_answered(was, decision), _answered(now, decision), rewritten)
            if kind is not None:
                kinds.setdefault(kind, []).append(place)
    return Cohort(
        records,
        {decision: {kind: tuple(places) for kind, places in kinds.items()} for decision, kinds in changed.items()},
        {by: tuple(places) for by, places in refused.items()},
    )


def _answer(compiled: Compiled, record: Mapping[str, object] | bytes, as_of: date | None) -> Recommendation | None:
    """The answer to a record; None where it is refused, which is counted."""
    try:
        return ExecutableGuideline(compiled).recommend(record, as_of=as_of)
    except InvalidRecord:
        return None


def _answered(answer: Recommendation, decision: str) -> Said:
    """What an answer says about a decision."""
    if decision not in answer.decisions:
        return NOT_ASKED
    tables, place = answer.tables, answer.place

    def truth(phenotype: str) -> Truth:
        return tables.phenotypes[phenotype].at(place.phenotypes[phenotype])

    return said(answer.guideline, tables.decisions[decision].at(place.decisions[decision]), truth)
