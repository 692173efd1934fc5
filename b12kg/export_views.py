"""The mapping of codes as SQL-on-FHIR v2 ViewDefinitions: rows of what single resources state for a record.

Owns the translation of the mapping and the policies into views, one for each subject and kind of resource that
states it. Holds no code and no policy. What the rows of a patient come to together (the latest value, what
contradicts, what a later event leaves open) is not for a view, which sees one resource at a time: the columns hold
what that takes.

A view is sound and not complete: each of its rows is a fact that the FHIR reader finds in that resource as of a
date that is not before ``held``, or one that it sets aside for another resource. A resource that a view leaves out
may state more: whose status is another code than those of R4, that refers to its medicine, or that has an end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from b12kg.codes import Claim, Codes, Match, load_codes
from b12kg.guideline import Guideline
from b12kg.iris import B12

Json = dict[str, Any]

# In FHIR R4: elements that are a CodeableConcept, and those that are a boolean; any other status is a code.
_CONCEPTS, _BOOLEANS = frozenset({"clinicalStatus", "verificationStatus"}), frozenset({"doNotPerform"})
# When what a kind of resource states held, as the reader of single resources has it, and what says that it is over.
_HELD = {
    "Condition": ("onset.ofType(dateTime)", "onset.ofType(Period).start", "recordedDate"),
    "Procedure": ("performed.ofType(dateTime)", "performed.ofType(Period).end", "performed.ofType(Period).start"),
    "Observation": (
        "effective.ofType(dateTime)",
        "effective.ofType(instant)",
        "effective.ofType(Period).start",
        "effective.ofType(Period).end",
        "issued",
    ),
    "MedicationRequest": ("authoredOn",),
    "MedicationAdministration": ("effective.ofType(dateTime)", "effective.ofType(Period).start"),
    "MedicationStatement": ("effective.ofType(dateTime)", "effective.ofType(Period).start", "dateAsserted"),
    "AllergyIntolerance": ("onset.ofType(dateTime)", "onset.ofType(Period).start", "recordedDate"),
}
_OVER = {"Condition": "abatement", "MedicationStatement": "effective.ofType(Period).end"}
_REFUTED = ("recordedDate",)
_VALUE = "value.ofType(Quantity)"


def views(guideline: Guideline, codes: Codes | None = None) -> list[Json]:
    """Every view, sorted by name, as JSON: resources that any runner of SQL-on-FHIR v2 takes.

    Columns are ``patient`` and ``resource`` (keys), ``held`` (one column for each element that may say when, in the
    order in which the reader takes the first that is there, a period as a whole) and, of a quantity, ``value``,
    ``unit`` and ``comparator``. The name of a view is the subject, the kind of resource, and what a row states.

    >>> import b12kg
    >>> [view["name"] for view in views(b12kg.load().content) if view["resource"] == "MedicationRequest"][-1]
    'Thrombocytopenia_MedicationRequest_outside'
    """
    codes = codes or load_codes()
    return sorted(_views(guideline, codes), key=lambda view: str(view["name"]))


def write_views(guideline: Guideline, folder: Path) -> tuple[Path, ...]:
    """The views written into a folder, each as ``NAME.json``: their paths.

    Raises:
        OSError: a file cannot be written.
    """
    made = {folder / f"{view['name']}.json": view for view in views(guideline)}
    for path, view in made.items():
        path.write_text(json.dumps(view, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return (*made,)


def _views(guideline: Guideline, codes: Codes) -> Iterator[Json]:
    policies = codes.policies
    matches: dict[str, list[Match]] = {}
    for found in codes.matches.values():
        for match in found:
            if match.establishes:
                matches.setdefault(match.subject, []).append(match)
    for type_ in sorted(policies.supplies):
        for of, kind, iri in _subjects(guideline):
            own = [*matches.get(of, ()), _own(of, iri)]
            if type_ == "AllergyIntolerance":
                if kind == "Treatment" and of in policies.allergies:
                    yield _view(codes, policies.allergies[of], type_, "outside", own, "holds")
            elif kind not in policies.supplies[type_]:
                continue
            elif kind == "Measurable":
                yield _view(codes, of, type_, "value", own, "holds")
            elif kind == "Treatment":
                for (treatment, source, claim), (status, _) in policies.treatments.items():
                    if (treatment, source) == (of, type_) and status is not None and claim == "holds":
                        yield _view(codes, of, type_, status, own, claim)
            else:
                yield _view(codes, of, type_, "present" if kind == "Concept" else "outside", own, "holds")
                exact = [match for match in own if match.relation == "exactMatch"]
                if kind == "Concept" and any(
                    claim == "excluded" for (t, *_), (claim, _) in policies.meanings.items() if t == type_
                ):
                    yield _view(codes, of, type_, "absent", exact, "excluded")
                if kind == "Concept" and type_ == "Observation":
                    yield _view(codes, of, type_, "absent", exact, "holds", negated=True)


def _subjects(guideline: Guideline) -> Iterator[tuple[str, str, str]]:
    """The name, class and IRI of whatever a resource can be about."""
    yield from ((name, "Concept", concept.iri) for name, concept in guideline.concepts.items())
    yield from ((name, "Measurable", quantity.iri) for name, quantity in guideline.quantities.items())
    yield from ((name, "Treatment", treatment.iri) for name, treatment in guideline.treatments.items())
    yield from ((name, "OutsideSourceConcept", outside.iri) for name, outside in guideline.circumstances.items())


def _own(of: str, iri: str) -> Match:
    system, _, code = iri.rpartition("/")
    return Match(of, iri, "exactMatch", system, code, code)


def _view(
    codes: Codes, of: str, type_: str, states: str, matches: Iterable[Match], claim: Claim, *, negated: bool = False
) -> Json:
    who = "patient" if type_ == "AllergyIntolerance" else "subject"
    columns = [
        _column("patient", f"{who}.getReferenceKey(Patient)", "string"),
        _column("resource", "getResourceKey()", "string"),
    ]
    for number, path in enumerate(_REFUTED if claim == "excluded" else _HELD[type_], 1):
        columns.append(
            _column(
                f"held_{number}", path, "instant" if path in ("issued", "effective.ofType(instant)") else "dateTime"
            )
        )
    where = [_coded(codes, type_, matches), *_claimed(codes, type_, claim)]
    changes = ("modifierExtension", "implicitRules", *sorted(codes.policies.changes.get(type_, ())))
    where += [f"{element}.empty()" for element in changes]
    if type_ in _OVER and claim == "holds":
        where.append(f"{_OVER[type_]}.empty()")
    if states == "value":
        where.append(f"{_VALUE}.value.exists()")
        columns += [
            _column("value", f"{_VALUE}.value", "decimal"),
            _column("unit", f"{_VALUE}.code", "code"),
            _column("unit_in_words", f"{_VALUE}.unit", "string"),
            _column("comparator", f"{_VALUE}.comparator", "code"),
        ]
    elif type_ == "Observation":
        where.append(f"value.ofType(boolean) = {'false' if negated else 'true'}")
    name = f"{of}_{type_}_{states}"
    return {
        "resourceType": "ViewDefinition",
        "url": f"{B12}view/{name}",
        "name": name,
        "title": f"{of}: {states}, by a {type_}",
        "status": "draft",
        "fhirVersion": ["4.0.1"],
        "resource": type_,
        "select": [{"column": columns}],
        "where": [{"path": path} for path in where],
    }


def _column(name: str, path: str, type_: str) -> Json:
    return {"name": name, "path": path, "type": type_, "collection": False}


def _coded(codes: Codes, type_: str, matches: Iterable[Match]) -> str:
    """Whether a coding of the resource is one of these codes."""
    aliases: dict[str, list[str]] = {}
    for alias, system in codes.policies.aliases.items():
        aliases.setdefault(system, []).append(alias)
    systems: dict[str, list[str]] = {}
    for match in matches:
        systems.setdefault(match.system, []).append(match.code)
    parts = []
    for system, own in sorted(systems.items()):
        at = " or ".join(f"system = {_text(address)}" for address in (system, *sorted(aliases.get(system, ()))))
        which = " or ".join(f"code = {_text(code)}" for code in sorted(set(own)))
        parts.append(f"(({at}) and ({which}))")
    element = "medication.ofType(CodeableConcept)" if type_.startswith("Medication") else "code"
    return f"{element}.coding.where({' or '.join(parts)}).exists()"


def _claimed(codes: Codes, type_: str, claim: Claim) -> Iterator[str]:
    """Whether the status elements come to this claim: one makes it, and none makes a stronger one."""
    policies = codes.policies
    makers = []
    for element in policies.elements(type_):
        claims = {
            (system, code): made
            for (t, e, system, code), (made, _) in policies.meanings.items()
            if (t, e) == (type_, element)
        }
        rank = policies.precedence[claim]
        weaker = sorted(key for key, made in claims.items() if policies.precedence[made] <= rank)
        stronger = sorted(claims.keys() - {*weaker})
        yield f"{element}.empty() or {_is_one_of(element, weaker)}"
        if element in _CONCEPTS and stronger:  # which can have several codings
            yield f"{_is_one_of(element, stronger)}.not()"
        makers += [_is_one_of(element, [key]) for key, made in sorted(claims.items()) if made == claim]
    if claim != "holds":  # which is made by whatever makes no other
        yield " or ".join(makers)


def _is_one_of(element: str, codes: Iterable[tuple[str, str]]) -> str:
    if element in _CONCEPTS:
        each = " or ".join(f"(system = {_text(system)} and code = {_text(code)})" for system, code in codes)
        return f"{element}.coding.where({each}).exists()"
    values = [code if element in _BOOLEANS else _text(code) for _, code in codes]
    return "(" + " or ".join(f"{element} = {value}" for value in values) + ")"


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
