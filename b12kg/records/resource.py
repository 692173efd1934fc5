"""What one FHIR resource states for a record, by its codes, its status and its dates.

Owns the order of the questions that a resource is asked, and the list of the report that it ends in.
Holds no code and no policy: those are data (codes.py). What several resources state together is for
fhir.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, get_args

from b12kg.codes import Claim, Codes, Match, Relation
from b12kg.errors import Problem
from b12kg.guideline import Guideline
from b12kg.imported import Entry, ImportReport
from b12kg.record import Comparator
from b12kg.records.bundle import Input, Resource
from b12kg.records.dates import When, read_date
from b12kg.records.json import exact
from b12kg.records.r4 import LEVELS, SHOWN, is_shaped, size, violations
from b12kg.units import convert, ucum

# Where a kind of resource says when what it states held; the first that is there counts. With two dots, the
# time from the one to the other; where one is missing, that end is open.
_DATES = {
    "Condition": ("onsetDateTime", "onsetPeriod.start", "recordedDate"),
    "Procedure": ("performedDateTime", "performedPeriod.end", "performedPeriod.start.."),
    "Observation": (
        "effectiveDateTime",
        "effectiveInstant",
        "effectivePeriod.start..effectivePeriod.end",
        "..issued",
    ),
    "MedicationRequest": ("authoredOn",),
    "MedicationAdministration": ("effectiveDateTime", "effectivePeriod.start"),
    "MedicationStatement": ("effectiveDateTime", "effectivePeriod.start", "dateAsserted"),
    "AllergyIntolerance": ("onsetDateTime", "onsetPeriod.start", "recordedDate"),
}
# Where it says when that was over; a Condition says so by any element of this beginning.
_ENDS = {
    "Condition": ("abatementDateTime", "abatementPeriod.end", "abatementPeriod.start.."),
    "MedicationStatement": ("effectivePeriod.end",),
}
# What is refuted was so when it was recorded, or later.
_REFUTED = ("recordedDate..",)
_ABATEMENT = "abatement"
# Nobody's data, and short: such a unit may be shown in a message.
_UNIT = re.compile(r"[A-Za-z0-9%/*.^\[\]{}_\u00b5\u03bc-]{1,20}\Z")
_UCUM = "http://unitsofmeasure.org"
_STRENGTH = {relation: place for place, relation in enumerate(get_args(Relation))}


@dataclass(slots=True)
class Fact:
    """What one resource states. ``entry`` is its form in the JSON format; ``key`` the list it goes into."""

    resource: Resource
    key: str
    of: str
    entry: dict[str, Any]
    reason: str
    when: When | None
    over: bool = False  # whether it rests on a resource that is over

    @property
    def order(self) -> tuple[str, str, str]:
        """Sorts the latest last, and otherwise by name, so that the order of the input does not matter."""
        moment = self.when.moment.isoformat() if self.when and self.when.moment else ""
        return (str(self.when.last) if self.when else "", moment, f"{self.resource.name} {self.entry}")


class Reader:
    """Reads the resources about one patient."""

    def __init__(self, guideline: Guideline, codes: Codes, found: Input, patient: str, as_of: date) -> None:
        self.guideline = guideline
        self.codes = codes
        self.policies = codes.policies
        self.input = found
        self.as_of = as_of
        self.report = ImportReport(patient, codes.digest)
        self.facts: list[Fact] = []
        self.events: list[tuple[str, Resource, When | None]] = []
        self.names = {iri: name for name, iri in guideline.iris_of_names().items()}
        self.problems: list[Problem] = []
        self.to_validate: dict[str, Resource] = {}  # by their places
        self.invalid: set[str] = set()  # places
        self.to_read: list[tuple[Resource, list[tuple[str, list[Match]]]]] = []

    def look(self, most: int) -> int:
        """Look for resources that have to do with the guideline; returns how many objects are in them.

        It stops at more than ``most``.
        """
        found = 0
        for resource in self.input.patients[self.report.patient]:
            parts = [(element, matches) for element, matches in self.parts(resource) if matches]
            if parts or resource.type == "Patient" or not is_shaped(resource):
                self.to_read.append((resource, parts))
                medication = self.medication(resource)
                for one in (resource, *((medication,) if medication is not None else ())):
                    if one.place not in self.to_validate:
                        self.to_validate[one.place] = one
                        objects, levels = size(one.body)
                        found += objects
                        if levels > LEVELS:  # before anything that recurses sees it
                            problem = Problem(one.at(), "nested too deeply", str(levels), f"at most {LEVELS} levels")
                            self.problems.append(problem)
                            self.invalid.add(one.place)
                if found > most:
                    break
            else:
                self.list(self.report.ignored, resource, None, self.unrelated(resource))
        return found

    def unrelated(self, resource: Resource) -> str:
        """Why a resource has no code that has to do with the guideline."""
        if "medicationReference" in resource.body and self.medication(resource) is None:
            return "the medicine that it refers to is not in the input, or it is unclear which is meant"
        if not any("coding" in concept for concept in self.concepts(resource)):
            return "it has no code; texts are not read"
        return "no code of it has to do with the guideline"

    def read(self) -> list[Problem]:
        """Read what was found; returns what is wrong with any, as far as that is shown."""
        for one in self.to_validate.values():
            if len(self.problems) >= SHOWN:
                return self.problems
            if one.place not in self.invalid and (problems := [*violations(one)]):
                self.problems += problems
                self.invalid.add(one.place)
        for resource, parts in self.to_read:
            medication = self.medication(resource)
            if {resource.place, resource.place if medication is None else medication.place} & self.invalid:
                continue
            if resource.type == "Patient":
                self.patient(resource)
            elif parts:
                self.resource(resource, parts)
            else:
                self.problems.append(Problem(resource.at("code"), "no CodeableConcept", accepted="codings"))
        return self.problems

    # -- one resource

    def patient(self, resource: Resource) -> None:
        """Circumstances that are an age, from the date of birth."""
        born = self.date(resource, ("birthDate",))
        self.list(self.report.used, resource, None, "who the record is about")
        for name, years in self.policies.ages.items():
            if born is None or born.first > self.as_of or name not in self.guideline.circumstances:
                continue
            today = (self.as_of.year, self.as_of.month, self.as_of.day)
            young, old = (today < (day.year + years, day.month, day.day) for day in (born.first, born.last))
            if young:
                self.state(resource, "outsideSource", name, {}, f"younger than {years} years", None)
            elif old:
                self.list(self.report.may_suggest, resource, name, f"the date of birth leaves an age of {years} open")

    def parts(self, resource: Resource) -> Iterator[tuple[str, list[Match]]]:
        """The parts of a resource that have a code of their own, each with what its code has to do with."""
        for index, concept in enumerate(self.concepts(resource)):
            yield f"component[{index - 1}]" if index else "", self.matches(concept)

    def concepts(self, resource: Resource) -> Iterator[Mapping[str, Any]]:
        """The CodeableConcepts that say what a resource is about, then those of its components; empty where none."""
        body = resource.body
        if resource.type.startswith("Medication"):
            medication = self.medication(resource)
            code = body.get("medicationCodeableConcept") if medication is None else medication.body.get("code")
        else:
            code = body.get("code")
        components = body.get("component", ()) if resource.type == "Observation" else ()
        parts = [part.get("code") for part in components if isinstance(part, Mapping)]
        for concept in (code, *parts):
            yield concept if isinstance(concept, Mapping) else {}

    def medication(self, resource: Resource) -> Resource | None:
        """The Medication that a resource refers to, where it is in the input and the only one that may be meant."""
        if "medicationReference" not in resource.body:
            return None
        found = self.input.find(resource, resource.body["medicationReference"])
        return found[0] if len(found) == 1 and found[0].type == "Medication" else None

    def matches(self, concept: Mapping[str, Any]) -> list[Match]:
        """What the codings of a CodeableConcept have to do with, each subject once, by its strongest relation."""
        codings = concept.get("coding")
        best: dict[str, Match] = {}
        for coding in codings if isinstance(codings, list) else ():
            system, code = (coding.get("system"), coding.get("code")) if isinstance(coding, Mapping) else (None, None)
            if not isinstance(system, str) or not isinstance(code, str):
                continue
            iri = f"{system.removesuffix('/')}/{code}"
            own = [Match(self.names[iri], iri, "exactMatch", system, code, code)] if iri in self.names else []
            for match in (*self.codes.of(system, code), *own):
                known = match.iri in self.names or self.policies.events.get(match.subject) in self.guideline.concepts
                other = best.get(match.subject)
                if known and (other is None or _STRENGTH[match.relation] < _STRENGTH[other.relation]):
                    best[match.subject] = match
        return [best[subject] for subject in sorted(best)]

    def resource(self, resource: Resource, parts: list[tuple[str, list[Match]]]) -> None:
        """What a valid resource comes to."""
        claim, words = self.claim(resource)
        paths = _DATES[resource.type]
        if claim == "ended":
            paths = _ENDS.get(resource.type, ())
        elif claim == "excluded":
            paths = _REFUTED
        when = self.date(resource, paths)
        if claim != "erroneous" and when is not None:
            if when.first > self.as_of:
                claim, words = "silent", "later than the date of the record"
            elif when.first == date.min and when.last > self.as_of:
                claim, words = "silent", "it may be later than the date of the record"
        for element, matches in parts:
            changing = "modifierExtension" if element and "modifierExtension" in self.part(resource, element) else None
            for match in matches:
                if changing and claim != "erroneous":
                    self.match(resource, element, match, "silent", _changed(changing), when)
                else:
                    self.match(resource, element, match, claim, words, when)

    def claim(self, resource: Resource) -> tuple[Claim, str]:
        """What its status elements make of it, and the words for it."""
        made: list[tuple[Claim, str]] = [("holds", "")]
        changed: list[str] = []
        medication = self.medication(resource)
        for part in (resource, *((medication,) if medication is not None else ())):
            for element in self.policies.elements(part.type):
                if element in part.body:
                    made += self.meanings(part, element)
                elif f"_{element}" in part.body:
                    made.append(("silent", f"its {element} is withheld"))
            changes = self.policies.changes.get(part.type, {})
            changed += [_changed(element) for element in ("modifierExtension", "implicitRules") if element in part.body]
            changed += [words for element, words in changes.items() if element in part.body]
        claim, words = max(made, key=lambda pair: self.policies.precedence[pair[0]])
        if changed and claim != "erroneous":
            return "silent", changed[0]
        if claim not in ("holds", "ended"):
            return claim, words
        end = self.date(resource, _ENDS.get(resource.type, ()))
        abated = resource.type == "Condition" and any(key.startswith(_ABATEMENT) for key in resource.body)
        if end is None or end.last <= self.as_of:
            return ("ended", "stated to have ended") if claim == "holds" and (end or abated) else (claim, words)
        if end.first <= self.as_of:
            return "uncertain", "the date on which it ended leaves open whether it had"
        if claim == "holds" or abated:  # an abatement is what was seen; the end of a use can be one that was planned
            return "holds", words
        return "silent", f"{words}, and its end is later than the date of the record"

    def meanings(self, resource: Resource, element: str) -> list[tuple[Claim, str]]:
        """What the codes of one status element make of a resource; codes of other systems say nothing of it."""
        known = [
            self.policies.meanings[key]
            for system, code in _codes_of(resource.body[element])
            if (key := (resource.type, element, system, code)) in self.policies.meanings
        ]
        if not known:
            keys = [(s, c) for t, e, s, c in self.policies.meanings if (t, e) == (resource.type, element)]
            systems = "".join(f" of {system}" for system in sorted({s for s, _ in keys if s}))
            accepted = ", ".join(sorted({c for _, c in keys})) + systems
            self.problems.append(Problem(resource.at(element), "no code of it that R4 has", "", accepted))
        return known

    def date(self, resource: Resource, paths: Iterable[str]) -> When | None:
        """The first of some dates that is there; one that is no date is a problem."""
        for path in paths:
            start, dots, end = path.partition("..")
            first, last = (self.one_date(resource, name) for name in (start, end))
            if not dots:
                if first is not None:
                    return first
            elif first is not None or last is not None:
                when = When(date.min if first is None else first.first, date.max if last is None else last.last)
                if when.first <= when.last:
                    return when
                self.problems.append(Problem(resource.at(end), "before its start", accepted="the start or later"))
        return None

    def one_date(self, resource: Resource, path: str) -> When | None:
        """The date at a place, if there is one."""
        element, _, inner = path.partition(".")
        found = resource.body.get(element)
        found = found.get(inner) if inner and isinstance(found, Mapping) else found
        when = read_date(found)
        if found is not None and when is None:
            self.problems.append(Problem(resource.at(path), "no date of FHIR", accepted="such as 2024-05-31"))
        return when

    # -- one code of a resource

    def match(
        self, resource: Resource, element: str, match: Match, claim: Claim, words: str, when: When | None
    ) -> None:
        """What a resource comes to for one subject of its code."""
        of, report, policies = match.subject, self.report, self.policies
        ignored = report.ignored
        said = f"{match.system}|{match.code} ({match.label}): {match.relation}"
        said += f", {match.comment}" if match.comment else ""
        said += " (editorial)" if match.editorial else ""
        allergy = policies.allergies.get(of) if resource.type == "AllergyIntolerance" else None
        kind = self.kind(of)
        if resource.type == "AllergyIntolerance" and kind == "Treatment":
            if allergy is None:
                self.list(ignored, resource, of, f"{said}; no policy says what an allergy to it is")
                return
            of, kind = allergy, "OutsideSourceConcept"
        elif match.establishes and kind not in policies.supplies[resource.type]:
            self.list(ignored, resource, of, f"{said}; nothing of this kind is taken from a {resource.type}")
            return
        if claim in ("erroneous", "silent") or (claim == "excluded" and not match.establishes):
            self.list(ignored, resource, of, words)
        elif not match.establishes or claim == "uncertain":
            self.list(report.may_suggest, resource, of, f"{said}; {words}" if claim != "holds" else said)
        elif kind == "Measurable":
            self.measure(resource, element, of, when, said)
        elif kind == "Treatment":
            status, reason = policies.treatments.get((of, resource.type, claim), (None, words))
            if status is None:
                self.list(ignored, resource, of, reason)
            else:
                self.state(resource, "treatments", of, {"status": status}, f"{said}; {reason}", when)
        elif kind == "Event" and claim == "excluded":
            self.list(ignored, resource, of, words)
        elif kind == "Event":
            self.events.append((of, resource, when))
        else:
            if resource.type == "Observation" and claim == "holds":
                value = (self.part(resource, element)).get("valueBoolean")
                if not isinstance(value, bool):
                    self.list(ignored, resource, of, "its value does not say whether it is so")
                    return
                claim, words = ("holds", words) if value else ("excluded", "its value says that it is not so")
            self.concept(resource, of, kind, match.relation, claim, words, said, when)

    def concept(
        self,
        resource: Resource,
        of: str,
        kind: str,
        relation: Relation,
        claim: Claim,
        words: str,
        said: str,
        when: When | None,
    ) -> None:
        """A concept that is present or absent, or a circumstance."""
        over = claim == "ended"
        if claim == "holds":
            key = "present" if kind == "Concept" else "outsideSource"
            self.state(resource, key, of, {}, said, when)
            return
        if over and kind == "Concept":
            claim, reason = self.policies.endings.get(of, ("silent", "no policy says what that means now"))
            words = f"{words}; {reason}"
        if kind != "Concept" or claim != "excluded":
            self.list(self.report.ignored, resource, of, words)
        elif relation != "exactMatch":
            self.list(self.report.ignored, resource, of, f"{words}, but only what the code says, which is narrower")
        else:
            self.state(resource, "absent", of, {}, f"{said}; {words}", when, over=over)

    def measure(self, resource: Resource, element: str, of: str, when: When | None, said: str) -> None:
        """A value of a quantity, in a unit that it has."""
        quantity, place = self.guideline.quantities[of], resource.at(f"{element}.valueQuantity".strip("."))
        found = self.part(resource, element).get("valueQuantity")
        value = found.get("value") if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping) or not isinstance(value, Decimal):
            self.list(self.report.ignored, resource, of, "it has no value that is a number with a unit")
            return
        coded = found.get("system") is None or self.policies.aliases.get(found["system"], found["system"]) == _UCUM
        written = found.get("code") if coded and "code" in found else found.get("unit")
        unit = ucum(written) if isinstance(written, str) else ""
        factors = {**quantity.factors, **self.policies.units.get(of, {})}
        comparator = found.get("comparator")
        if unit not in factors:
            message = f"{of} has no unit; a unit is never guessed" if not unit else f"no unit of {of}"
            shown = unit if _UNIT.match(unit) else ""
            self.problems.append(Problem(place, message, shown, ", ".join(sorted(factors))))
        elif not exact(value):
            self.problems.append(Problem(place, "no number that JSON carries exactly", "", "at most 15 digits"))
        elif comparator not in (None, *get_args(Comparator)):
            self.problems.append(Problem(place, "unknown comparator", "", ", ".join(get_args(Comparator))))
        else:
            if unit not in quantity.factors:
                value, unit = convert(value, factors[unit]), quantity.unit
            if not exact(value):
                message = f"in {unit} it has more digits than JSON carries exactly"
                self.problems.append(Problem(place, message, "", "at most 15 digits; or a value in " + unit))
                return
            entry = {"value": value, "unit": unit} | ({"comparator": comparator} if comparator else {})
            self.state(resource, "measurements", of, entry, said, when)

    @staticmethod
    def part(resource: Resource, element: str) -> Mapping[str, Any]:
        """The resource, or the component of it that an element names."""
        if not element:
            return resource.body
        found: Mapping[str, Any] = resource.body["component"][int(element.partition("[")[2].rstrip("]"))]
        return found

    def kind(self, of: str) -> str:
        """The class of the vocabulary that a subject is of."""
        guideline = self.guideline
        for class_, names in (
            ("Concept", guideline.concepts),
            ("Measurable", guideline.quantities),
            ("Treatment", guideline.treatments),
            ("OutsideSourceConcept", guideline.circumstances),
        ):
            if of in names:
                return class_
        return "Event"

    # -- what it came to

    def list(self, entries: list[Entry], resource: Resource, of: str | None, reason: str) -> None:
        """Put a resource into one of the lists of the report."""
        entries.append(Entry(resource.name, resource.place, of, reason))

    def state(
        self,
        resource: Resource,
        key: str,
        of: str,
        entry: Mapping[str, Any],
        reason: str,
        when: When | None,
        *,
        over: bool = False,
    ) -> None:
        """Take note of a fact; whether it counts is seen when all are known."""
        form = {"of": of, **entry, "source": resource.name}
        if when is not None and when.day is not None:
            form["on"] = when.day.isoformat()
        self.facts.append(Fact(resource, key, of, form, reason, when, over))


def _codes_of(element: object) -> list[tuple[str, str]]:
    """The codes of a status element with their systems: of a CodeableConcept; of a code or a boolean without one."""
    if isinstance(element, bool):
        return [("", "true" if element else "false")]
    if isinstance(element, str):
        return [("", element)]
    codings = element.get("coding") if isinstance(element, Mapping) else None
    pairs = [
        (coding.get("system"), coding.get("code"))
        for coding in (codings if isinstance(codings, list) else ())
        if isinstance(coding, Mapping)
    ]
    return [(system, code) for system, code in pairs if isinstance(system, str) and isinstance(code, str)]


def _changed(element: str) -> str:
    return f"its {element} can change what it says, and is not understood"
