"""Resources of FHIR for tests, made with one line each, and what they come to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from b12kg.errors import InvalidRecord
from b12kg.guideline import Guideline
from b12kg.imported import ImportReport
from b12kg.record import Record
from b12kg.records.fhir import read_fhir, read_patients

Json = dict[str, Any]
TODAY = date(2026, 1, 15)
SNOMED, LOINC, UCUM = "http://snomed.info/sct", "http://loinc.org", "http://unitsofmeasure.org"
ICD10CM, RXNORM = "http://hl7.org/fhir/sid/icd-10-cm", "http://www.nlm.nih.gov/research/umls/rxnorm"
OWN = "https://w3id.org/b12kg/clinical"


def coded(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def status(code: str, kind: str = "condition-ver-status") -> Json:
    return coded(f"http://terminology.hl7.org/CodeSystem/{kind}", code)


def condition(code: str, id: str = "c", system: str = SNOMED, clinical: str = "active", **more: Any) -> Json:
    return {
        "resourceType": "Condition",
        "id": id,
        "code": coded(system, code),
        "subject": {"reference": "Patient/p"},
        "clinicalStatus": status(clinical, "condition-clinical"),
        "verificationStatus": status("confirmed"),
        **more,
    }


def refuted(code: str, **more: Any) -> Json:
    found = condition(code, **more, verificationStatus=status("refuted"))
    del found["clinicalStatus"]
    return found


def procedure(code: str, on: str = "2020-03-01", id: str = "op", system: str = SNOMED, **more: Any) -> Json:
    who = {"reference": "Patient/p"}
    body = {"resourceType": "Procedure", "id": id, "status": "completed", "code": coded(system, code)}
    return {**body, "subject": who, "performedDateTime": on, **more}


def observation(
    code: str, value: Any, unit: str, on: str | None = "2025-06-01", id: str = "o", system: str = LOINC, **more: Any
) -> Json:
    comparator = {}
    if isinstance(value, str):
        comparator, value = {"comparator": value[0]}, int(value[1:])
    body: Json = {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": coded(system, code),
        "subject": {"reference": "Patient/p"},
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit, **comparator},
    }
    return {**body, **({"effectiveDateTime": on} if on else {}), **more}


def medication(kind: str, code: str, state: str, id: str = "m", **more: Any) -> Json:
    body: Json = {"resourceType": kind, "id": id, "status": state, "subject": {"reference": "Patient/p"}}
    body["medicationCodeableConcept"] = coded(RXNORM, code)
    if kind == "MedicationRequest":
        body |= {"intent": "order", "authoredOn": "2025-05-01"}
    if kind == "MedicationAdministration":
        body["effectiveDateTime"] = "2025-05-01"
    return {**body, **more}


PATIENT: Json = {"resourceType": "Patient", "id": "p", "birthDate": "1960-02-29"}


def bundle(*resources: Json, type: str = "collection") -> Json:
    entries = [
        {"fullUrl": f"http://example.org/{r['resourceType']}/{r.get('id', i)}", "resource": r}
        for i, r in enumerate(resources)
    ]
    return {"resourceType": "Bundle", "type": type, "entry": entries}


def names(record: Record) -> dict[str, Any]:
    """What a record states, by name."""
    stated: dict[str, Any] = {s.of: s.present for s in record.statements}
    return (
        stated
        | {m.of: f"{m.comparator or ''}{m.canonical.normalize():f}" for m in record.measurements}
        | {c.of: "outside" for c in record.outside}
    )


def listed(report: ImportReport) -> dict[str, list[tuple[str, str | None]]]:
    form: Any = report.to_dict()
    keys = ("used", "ignored", "maySuggest", "conflicting", "stale")
    return {key: [(entry["resource"], entry.get("of")) for entry in form[key]] for key in keys}


def each(data: Any, guideline: Guideline) -> list[tuple[Record, ImportReport]]:
    """What every patient of an input comes to, where every one can be read."""
    found = [*read_patients(data, guideline, TODAY).values()]
    read = [one for one in found if not isinstance(one, InvalidRecord)]
    assert len(read) == len(found)
    return read


Reads = Callable[..., tuple[dict[str, Any], ImportReport]]


def reading(guideline: Guideline) -> Reads:
    """What resources about the one patient come to: what the record states, and the report."""

    def reads(*resources: Json) -> tuple[dict[str, Any], ImportReport]:
        record, report = read_fhir(bundle(PATIENT, *resources), guideline, TODAY)
        return names(record), report

    return reads


DEFICIENCY, PERNICIOUS, BARIATRIC = "190634004", "84027009", "430715008"
NO_NEURO = observation("NeurologicalInvolvement", 1, "1", id="n", system=OWN, valueBoolean=False)
del NO_NEURO["valueQuantity"]

POOL = [
    condition(PERNICIOUS, "1", onsetDateTime="2020-01-01"),
    condition(PERNICIOUS, "2", onsetDateTime="2021-05"),
    refuted(DEFICIENCY, id="3"),
    condition("431857002", "4"),
    procedure("70536003", "2022-01-01", "5"),
    procedure(BARIATRIC, "2019-01-01", "6"),
    observation("4544-3", 33, "%", "2025-01-01", "7"),
    observation("4544-3", 41, "%", "2025-01-01T10:00:00Z", "8"),
    observation("20570-8", 0.44, "L/L", "2025-02", "9"),
    observation("13965-9", "<10", "umol/L", None, "10"),
    medication("MedicationStatement", "5514", "active", "11"),
    medication("MedicationRequest", "4511", "active", "12"),
    medication("MedicationAdministration", "4511", "completed", "13"),
    condition("77386006", "14"),
    condition("PlanningPregnancy", "15", OWN, clinical="resolved"),
    NO_NEURO,
]
