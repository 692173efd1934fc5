"""What an answer and a guideline have in common as FHIR R4 (4.0.1): codes, doses, timings, marks of their source.

Owns the parts that resources of both are made of. Which resources there are is for recommendation/fhir.py and
export_fhir.py. Holds no code of a terminology: those are in ``ontology/codes.sssom.tsv``; a term for which that
file has no code that is as wide as it goes without one, in words.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from functools import lru_cache
from html import escape
from typing import Any

from b12kg.codes import Match, load_codes
from b12kg.errors import printable
from b12kg.guideline import Component, Guideline, Offer
from b12kg.iris import B12, name_of

# A resource, or a part of one, in FHIR's JSON.
Part = dict[str, Any]

UCUM = "http://unitsofmeasure.org"
# The system of identifiers that are IRIs.
URI = "urn:ietf:rfc:3986"
# Offers of this kind are medications, and this one is the medication alone.
REGIMEN, PREPARATION = "Regimen", "Preparation"


# ---- a resource as a whole -----------------------------------------------------------------------


def id_of(*key: str) -> str:
    """The id of a resource: a UUID that only what it is about decides.

    >>> id_of("a", "b") == id_of("a", "b") != id_of("a b")
    True
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, B12 + "\n".join(key)))


def reference_to(resource: Part) -> Part:
    """A reference to a resource of the same bundle, with its type."""
    return {"reference": f"urn:uuid:{resource['id']}", "type": resource["resourceType"]}


def canonical(iri: str, guideline: Guideline) -> str:
    """The address of what the guideline defines, with the guideline's version."""
    return f"{iri}|{guideline.version}"


def marked(guideline: Guideline, resource: Part, title: str) -> Part:
    """The resource with the review status as its tag, and with a narrative that ends with the disclaimer."""
    paragraphs = (title, guideline.preface, source_of(guideline))
    div = "".join(f"<p>{escape(text)}</p>" for text in paragraphs)
    tags = [review_tag(guideline), *resource.get("meta", {}).get("tag", [])]
    head = {"resourceType": resource["resourceType"], "id": resource["id"], "meta": {"tag": tags}}
    narrative = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{div}</div>'}
    return head | {"text": narrative} | {key: value for key, value in resource.items() if key not in head}


def review_tag(guideline: Guideline) -> Part:
    """The review status of the source, in its own words, as a tag."""
    return own_code(B12 + "reviewStatus", guideline.review_status)


def source_of(guideline: Guideline) -> str:
    """The source, its review status and the disclaimer in words."""
    return (
        f"Source: {guideline.title} {guideline.publisher}, {guideline.last_updated}. "
        f"Review status of the source: {guideline.review_status}. {guideline.disclaimer}"
    )


def collected(guideline: Guideline, identifier: str, resources: Iterable[Part]) -> Part:
    """A bundle of the resources, by an IRI that identifies it."""
    return {
        "resourceType": "Bundle",
        "id": id_of(identifier),
        "meta": {"tag": [review_tag(guideline), own_code(B12 + "disclaimer", guideline.disclaimer)]},
        "identifier": {"system": URI, "value": identifier},
        "type": "collection",
        "entry": [{"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource} for resource in resources],
    }


# ---- codes ---------------------------------------------------------------------------------------


def own_code(iri: str, display: str) -> Part:
    """A term of ours as a Coding: its namespace is the system."""
    name = name_of(iri)
    return {"system": iri.removesuffix(f"/{name}"), "code": name, "display": display}


def matches_of(name: str, iri: str | None = None) -> tuple[Match, ...]:
    """What the mapping has on a subject, by its name, and its IRI where that is known; sorted."""
    return tuple(match for match in _matches().get(name, ()) if iri in (None, match.iri))


@lru_cache(maxsize=1)
def _matches() -> dict[str, tuple[Match, ...]]:
    found: dict[str, tuple[Match, ...]] = {}
    for match in sorted((m for ms in load_codes().matches.values() for m in ms), key=lambda m: (m.system, m.code)):
        found[match.subject] = (*found.get(match.subject, ()), match)
    return found


def coding(match: Match) -> Part:
    """The code of a match, as a Coding."""
    return {"system": match.system, "code": match.code, "display": match.label}


def coded(text: str, name: str, iri: str | None = None) -> Part:
    """A CodeableConcept: the codes that mean just this subject, if there are any, and the words.

    >>> coded("by injection", "injection")
    {'text': 'by injection'}
    """
    exact = [coding(match) for match in matches_of(name, iri) if match.relation == "exactMatch"]
    return {"coding": exact, "text": text} if exact else {"text": text}


def medication_of(guideline: Guideline, offer: Offer) -> Part:
    """The medication that a regimen or preparation gives, as a CodeableConcept.

    Where the source states no preparation, it is the treatment as a whole, by its codes if they are as wide.
    """
    if offer.treatment is None:
        return coded(offer.label, offer.id, offer.iri)
    for component in _of_kind(offer, "preparation"):
        if component.text is not None:
            name = str(component.values["preparation"])
            known = guideline.offers.get(name)
            return coded(component.text, name, known.iri if known else None)
    treatment = guideline.treatments[offer.treatment]
    return coded(f"{treatment.label}; preparation not stated by the source", treatment.name, treatment.iri)


# ---- doses and timings ---------------------------------------------------------------------------


def dosages(offer: Offer) -> list[Part]:
    """How a regimen is given: one Dosage for each of its timings, in their order; all that it says, in words too."""
    said = "; ".join(_words(component) for component in offer.components if component.kind != "preparation")
    conditions = [{"text": words} for words in conditions_of(offer)]
    timings = timings_of(offer)
    found = []
    for number, timing in enumerate(timings or [{}], 1):
        form: Part = {"sequence": number, "text": said}
        if conditions:
            form["additionalInstruction"] = conditions
        if timing:
            form["timing"] = timing
        for component in _of_kind(offer, "route"):
            if component.text is not None:
                form["route"] = coded(component.text, str(component.values["route"]))
        for component in _of_kind(offer, "dose"):
            if component.text is not None:
                form["doseAndRate"] = [_dose(component)]
        found.append(form)
    return found


def timings_of(offer: Offer) -> list[Part]:
    """The timings of an offer, in their order, each bounded by its duration where one is stated as a length."""
    durations = [component for component in _of_kind(offer, "duration") if component.text is not None]
    found = []
    for component in _of_kind(offer, "timing"):
        if component.text is None:
            continue
        values = component.values
        repeat: Part = {key: values[key] for key in ("frequency", "period", "periodMax", "periodUnit") if key in values}
        if "fromDay" in values:
            # The structure has no first day: the words have it, and the bounds are as long as those days.
            repeat["boundsDuration"] = quantity(int(values["toDay"]) - int(values["fromDay"]) + 1, "d")
        for part in (component, *durations):
            if "boundValue" in part.values:
                repeat.setdefault("boundsDuration", quantity(part.values["boundValue"], str(part.values["boundUnit"])))
        words = ", ".join(part.text for part in (component, *durations) if part.text)
        found.append({"repeat": repeat, "code": {"text": words}} if repeat else {"code": {"text": words}})
    return found


def conditions_of(offer: Offer) -> list[str]:
    """What an offer starts with, ends with or presupposes, in words."""
    kinds = ("precondition", "start", "until")
    return [c.text for kind in kinds for c in _of_kind(offer, kind) if c.text is not None]


def unstated_in(offer: Offer) -> list[str]:
    """The kinds of components of an offer that no passage states."""
    return [component.kind for component in offer.components if component.text is None]


def quantity(value: Any, unit: str) -> Part:
    """A number and its UCUM unit, as a Quantity."""
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def _dose(component: Component) -> Part:
    low, high, unit = component.values["low"], component.values["high"], str(component.values["unit"])
    if low == high:
        return {"doseQuantity": quantity(low, unit)}
    return {"doseRange": {"low": quantity(low, unit), "high": quantity(high, unit)}}


def _words(component: Component) -> str:
    return f"{component.kind} not stated by the source" if component.text is None else component.text


def _of_kind(offer: Offer, kind: str) -> list[Component]:
    return [component for component in offer.components if component.kind == kind]


# ---- the record ----------------------------------------------------------------------------------

# How a record that was read from FHIR names its patient, and the resource that stated an entry.
_RESOURCE = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}")


def patient_reference(record: str) -> Part:
    """The patient: the resource that the record was read from, or whom its identifier names.

    >>> patient_reference("Patient/7"), patient_reference("urn:example:p")
    ({'reference': 'Patient/7'}, {'type': 'Patient', 'identifier': {'value': 'urn:example:p'}})
    """
    named = _RESOURCE.fullmatch(record)
    if named and named[1] == "Patient":
        return {"reference": record}
    return {"type": "Patient", "identifier": {"value": printable(record)}}


def entry_reference(of: str, path: str, source: str) -> Part:
    """What stated a fact: the resource that the record's entry was read from, or the entry by its place.

    Args:
        of: the name of the fact.
        path: the entry's place in the record.
        source: where the entry comes from, by its own word; empty if it does not say.
    """
    named = _RESOURCE.fullmatch(source)
    if named and named[1] in load_codes().policies.supplies:
        return {"reference": source, "display": printable(f"{of} ({path})")}
    words = f"{of} ({path}), from {source}" if source else f"{of} ({path})"
    return {"identifier": {"system": B12 + "path", "value": printable(path)}, "display": printable(words)}
