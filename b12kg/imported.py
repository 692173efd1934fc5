"""What became of every resource of a FHIR input.

Owns the report's lists and their JSON form. Why a resource is in one of them is said by who puts it there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from b12kg.errors import Problem
from b12kg.record import JsonValue


@dataclass(frozen=True, slots=True)
class Entry:
    """What one resource came to.

    Args:
        resource: its type and id.
        place: where it stands in the input.
        of: the name that it is about, if any.
        reason: why it came to this.
        path: the entry of the record that it became, where it is the one that counts.
    """

    resource: str
    place: str
    of: str | None
    reason: str
    path: str | None = None

    def to_dict(self) -> dict[str, JsonValue]:
        """The entry in JSON; keys without a value are left out."""
        form = {"resource": self.resource, "place": self.place, "of": self.of, "reason": self.reason, "path": self.path}
        return {key: value for key, value in form.items() if value is not None}


@dataclass(slots=True)
class ImportReport:
    """What became of every resource of an input; each stands in at least one of the lists.

    Args:
        patient: type and id of the patient.
        mapping: digest of the mapping and of the policies.
        used: what the record rests on, and what states the same again.
        ignored: what states nothing for the record, and why.
        may_suggest: what may bear on a fact and establishes none.
        conflicting: what contradicts another, so that neither is used.
        stale: what a later one replaces.
        others: what is about no patient that is read; the same list for every patient of the input.
    """

    patient: str
    mapping: str
    used: list[Entry] = field(default_factory=list)
    ignored: list[Entry] = field(default_factory=list)
    may_suggest: list[Entry] = field(default_factory=list)
    conflicting: list[Entry] = field(default_factory=list)
    stale: list[Entry] = field(default_factory=list)
    others: tuple[Entry, ...] = ()

    def lists(self, *, others: bool = True) -> dict[str, list[Entry]]:
        """The lists by the names that they have in JSON, each sorted; others, if wanted, stand with what is ignored."""
        found = {
            "used": self.used,
            "maySuggest": self.may_suggest,
            "conflicting": self.conflicting,
            "stale": self.stale,
            "ignored": [*self.ignored, *(self.others if others else ())],
        }
        return {
            name: sorted(entries, key=lambda e: (e.resource, e.of or "", e.place, e.reason))
            for name, entries in found.items()
        }

    def to_dict(self, *, others: bool = True) -> dict[str, JsonValue]:
        """The report in JSON, without what is the same for every patient of the input where that is not wanted."""
        lists: dict[str, JsonValue] = {
            name: [entry.to_dict() for entry in entries] for name, entries in self.lists(others=others).items()
        }
        return {"patient": self.patient, "mapping": self.mapping, **lists}

    def located(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems of the record, each with the resource that the entry of the record was read from."""
        places = {entry.path: f"{entry.resource} at {entry.place}" for entry in self.used if entry.path}
        found = []
        for problem in problems:
            entry, end, _ = problem.path.partition("]")
            place = places.get(entry + end)
            found.append(problem if place is None else replace(problem, path=f"{place} ({problem.path})"))
        return found
