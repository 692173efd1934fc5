"""FHIR in: who each resource is about, what a reference points to, and what stands there twice."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from b12kg.errors import InvalidRecord
from b12kg.guideline import Guideline
from b12kg.records.fhir import read_fhir, read_patients
from tests.fhir_resources import DEFICIENCY, PATIENT, PERNICIOUS, TODAY, Json, Reads, condition, medication, names

A, B = "http://a.example/fhir", "https://b.example/r4"
COBALAMIN, FOLIC = "5514", "4511"


def entry(resource: Json, url: str | None = None) -> Json:
    return {"resource": resource} if url is None else {"fullUrl": url, "resource": resource}


def of(*entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": "collection", "entry": [*entries]}


def at(server: str, resource: Json) -> Json:
    return entry(resource, f"{server}/{resource['resourceType']}/{resource['id']}")


def about(reference: str, code: str = PERNICIOUS, id: str = "c", **more: Any) -> Json:
    return condition(code, id, subject={"reference": reference}, **more)


def patients(guideline: Guideline, *entries: Json) -> dict[str, dict[str, Any]]:
    """What each patient's record states, the same for every order of the entries."""
    every = []
    for order in itertools.permutations(entries):
        found = read_patients(of(*order), guideline, TODAY)
        assert all(not isinstance(one, InvalidRecord) for one in found.values())
        every.append({name: names(one[0]) for name, one in found.items() if not isinstance(one, InvalidRecord)})
    assert all(one == every[0] for one in every)
    return every[0]


def refused(guideline: Guideline, message: str, *entries: Json) -> None:
    """That it is refused in every order of the entries."""
    for order in itertools.permutations(entries):
        with pytest.raises(InvalidRecord, match=message):
            read_fhir(of(*order), guideline, TODAY)


PERNICIOUS_ONLY = {"PerniciousAnemia": True}


def test_patients_of_two_servers_are_two(guideline: Guideline) -> None:
    entries = [at(A, PATIENT), at(B, PATIENT), at(A, about("Patient/p")), at(B, about("Patient/p", DEFICIENCY))]
    assert patients(guideline, *entries) == {
        f"{A}/Patient/p": PERNICIOUS_ONLY,
        f"{B}/Patient/p": {"VitaminB12Deficiency": True},
    }
    refused(guideline, "about 2 patients", *entries)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        (f"{B}/Patient/p", f"{B}/Patient/p"),
        (f"{A}/Patient/q", "Patient/q"),
        ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"),
    ],
)
def test_a_reference_to_another_server_or_id_is_to_another_patient(
    reference: str, name: str, guideline: Guideline
) -> None:
    found = patients(guideline, at(A, PATIENT), at(A, about(reference)))
    here = f"{A}/Patient/p" if name.startswith("http") else "Patient/p"
    assert found == {here: {}, name: PERNICIOUS_ONLY}


@pytest.mark.parametrize(
    "reference", ["Patient/p", "Patient/p/_history/3", f"{A}/Patient/p", f"{A}/Patient/p/_history/3"]
)
@pytest.mark.parametrize("url", [f"{A}/Patient/p", "urn:uuid:7", None])
@pytest.mark.parametrize("own", [f"{A}/Condition/c", "urn:uuid:8", None])
def test_a_reference_within_one_server_finds_its_patient(
    reference: str, url: str | None, own: str | None, guideline: Guideline
) -> None:
    assert patients(guideline, entry(PATIENT, url), entry(about(reference), own)) == {"Patient/p": PERNICIOUS_ONLY}


def test_a_reference_by_the_address_of_the_entry_finds_its_patient(guideline: Guideline) -> None:
    nameless = {key: value for key, value in PATIENT.items() if key != "id"}
    for patient, name in ((PATIENT, "Patient/p"), (nameless, "urn:uuid:7")):
        found = patients(guideline, entry(patient, "urn:uuid:7"), entry(about("urn:uuid:7")))
        assert found == {name: PERNICIOUS_ONLY}


def test_a_patient_without_an_address_belongs_to_none_of_two_servers(guideline: Guideline) -> None:
    one, two = about(f"{A}/Patient/p"), about(f"{B}/Patient/p", DEFICIENCY, "d")
    found = patients(guideline, entry(PATIENT), entry(one), entry(two))
    assert found == {
        "Patient/p": {},
        f"{A}/Patient/p": PERNICIOUS_ONLY,
        f"{B}/Patient/p": {"VitaminB12Deficiency": True},
    }


def test_who_is_not_in_the_input_is_one_by_the_address(guideline: Guideline) -> None:
    one, two = about("Patient/x"), about("Patient/x", DEFICIENCY)
    assert patients(guideline, at(A, one), at(B, two)) == {
        f"{A}/Patient/x": PERNICIOUS_ONLY,
        f"{B}/Patient/x": {"VitaminB12Deficiency": True},
    }
    both = {"PerniciousAnemia": True, "VitaminB12Deficiency": True}
    by_address = about(f"{A}/Patient/x", DEFICIENCY, "d")
    assert patients(guideline, entry(one), entry(by_address)) == {"Patient/x": both}
    assert patients(guideline, entry(one), entry({**two, "id": "d"})) == {"Patient/x": both}


def test_a_group_is_no_patient(guideline: Guideline) -> None:
    group = {"resourceType": "Group", "id": "p", "type": "person", "actual": True}
    assert patients(guideline, entry(PATIENT), entry(group), entry(about("Group/p"))) == {"Patient/p": {}}


def test_a_reference_that_may_be_to_several_is_refused(guideline: Guideline) -> None:
    entries = [at(A, PATIENT), at(B, PATIENT), entry(about("Patient/p"), "urn:uuid:1")]
    refused(guideline, r"Condition/c at Bundle.entry\[\d\].resource.subject: it may point to several", *entries)


def test_two_patients_without_an_id_are_not_taken_for_one(guideline: Guideline) -> None:
    one, two = ({"resourceType": "Patient", "birthDate": born} for born in ("1960-01-01", "2020-01-01"))
    refused(guideline, "of the same id or fullUrl, or of neither", entry(one), entry(two))
    assert patients(guideline, entry(one), entry(dict(one))) == {"Patient": {}}


@pytest.mark.parametrize("url", [f"{A}/Condition/c", "urn:uuid:8", None])
def test_one_id_with_and_without_an_address_is_one_resource(url: str | None, guideline: Guideline) -> None:
    same, other = about("Patient/p"), about("Patient/p", DEFICIENCY)
    assert patients(guideline, entry(PATIENT), entry(same, url), entry(same)) == {"Patient/p": PERNICIOUS_ONLY}
    refused(guideline, "another resource of the same id", entry(PATIENT), entry(same, url), entry(other))
    if url is not None:
        refused(guideline, "another resource of the same id", entry(PATIENT), entry(same, url), entry(other, url))


def test_one_id_at_two_addresses_is_two_resources(guideline: Guideline) -> None:
    one, two = about("Patient/p"), about("Patient/p", DEFICIENCY)
    found = patients(guideline, entry(PATIENT), entry(one, "urn:uuid:1"), entry(two, "urn:uuid:2"))
    assert found == {"Patient/p": {"PerniciousAnemia": True, "VitaminB12Deficiency": True}}


def test_what_stands_there_again_is_listed(guideline: Guideline) -> None:
    _, report = read_fhir(of(at(A, PATIENT), at(A, about("Patient/p")), at(A, about("Patient/p"))), guideline, TODAY)
    (again,) = report.others
    assert (again.resource, again.place) == ("Condition/c", "Bundle.entry[2].resource")
    assert again.reason == "the same as Condition/c at Bundle.entry[1].resource"


def test_a_patient_within_a_resource_is_known_by_that_one_only(guideline: Guideline) -> None:
    child = {"resourceType": "Patient", "id": "in", "birthDate": "2020-01-01"}
    one = about("#in", contained=[child])
    assert patients(guideline, entry(one)) == {"Condition/c#in": {"PerniciousAnemia": True, "Child": "outside"}}
    two = about("#in", DEFICIENCY, "d", contained=[child])
    assert patients(guideline, entry(one), entry(two)) == {
        "Condition/c#in": {"PerniciousAnemia": True, "Child": "outside"},
        "Condition/d#in": {"VitaminB12Deficiency": True, "Child": "outside"},
    }
    (reason,) = {why for r, why in _others(guideline, about("#out", contained=[child])) if r == "Condition/c"}
    assert reason == "it names no patient that it is about by a reference"


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Group/p"},
        {"reference": f"{A}/Group/p"},
        {"reference": "#p"},
        {"reference": "Patient?identifier=1"},
        {"reference": ""},
        {"identifier": {"value": "p"}},
        {"display": "p"},
    ],
)
def test_what_names_no_patient_is_listed_as_such(subject: Json, guideline: Guideline) -> None:
    assert ("Condition/c", "it names no patient that it is about by a reference") in _others(
        guideline, condition(PERNICIOUS, subject=subject)
    )


def _others(guideline: Guideline, resource: Json) -> list[tuple[str, str]]:
    _, report = read_fhir(of(entry(PATIENT), entry(resource)), guideline, TODAY)
    return [(one.resource, one.reason) for one in report.others]


def test_an_entry_without_a_resource_is_listed(guideline: Guideline) -> None:
    deletion = {"request": {"method": "DELETE", "url": "Condition/c"}}
    _, report = read_fhir(of(entry(PATIENT), deletion), guideline, TODAY)
    assert [(one.resource, one.place, one.reason) for one in report.others] == [
        ("entry", "Bundle.entry[1]", "it has no resource")
    ]


def test_an_address_that_is_none_is_refused(guideline: Guideline) -> None:
    with pytest.raises(InvalidRecord, match=r"Bundle.entry\[0\].fullUrl: no address"):
        read_fhir(of({"fullUrl": 1, "resource": PATIENT}), guideline, TODAY)


# ---- medicines -----------------------------------------------------------------------------------


def medicine(code: str, id: str = "med", **more: Any) -> Json:
    coding = {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": code}
    return {"resourceType": "Medication", "id": id, "code": {"coding": [coding]}, **more}


def given(reference: str, id: str = "m", **more: Any) -> Json:
    body = medication("MedicationAdministration", "", "completed", id, **more)
    del body["medicationCodeableConcept"]
    return {**body, "medicationReference": {"reference": reference}}


def test_medicines_of_two_servers_are_two(guideline: Guideline) -> None:
    entries = [at(A, PATIENT), at(A, medicine(COBALAMIN)), at(B, medicine(FOLIC)), at(A, given("Medication/med"))]
    assert patients(guideline, *entries) == {"Patient/p": {"B12TreatmentStarted": True}}
    entries[3] = at(A, given(f"{B}/Medication/med"))
    assert patients(guideline, *entries) == {"Patient/p": {"FolicAcidTreatment": True}}


@pytest.mark.parametrize("reference", ["Medication/other", f"{B}/Medication/med", "#med", "Patient/p"])
def test_a_medicine_that_is_not_found_is_said_to_be_so(reference: str, guideline: Guideline) -> None:
    document = of(at(A, PATIENT), at(A, medicine(COBALAMIN)), at(A, given(reference)))
    record, report = read_fhir(document, guideline, TODAY)
    assert names(record) == {}
    (reason,) = [one.reason for one in report.ignored if one.resource == "MedicationAdministration/m"]
    assert reason == "the medicine that it refers to is not in the input, or it is unclear which is meant"


def test_a_medicine_that_may_be_one_of_two_states_nothing(guideline: Guideline) -> None:
    two = [entry(medicine(COBALAMIN), "urn:uuid:1"), entry(medicine(FOLIC), "urn:uuid:2")]
    assert patients(guideline, entry(PATIENT), *two, entry(given("Medication/med"))) == {"Patient/p": {}}
    assert patients(guideline, entry(PATIENT), *two, entry(given("urn:uuid:2"))) == {
        "Patient/p": {"FolicAcidTreatment": True}
    }


def test_a_medicine_within_a_resource(reads: Reads) -> None:
    other = medicine(FOLIC, "other")
    assert reads(given("#med", contained=[other, medicine(COBALAMIN)]))[0] == {"B12TreatmentStarted": True}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"status": "wrong"}, r"Medication/med at Bundle.entry\[1\].resource.status: no code of it"),
        ({"form": "tablet"}, r"Medication/med at Bundle.entry\[1\].resource.form: not valid in FHIR R4"),
    ],
)
def test_what_is_wrong_with_a_medicine_is_told_by_its_place(more: Json, message: str, reads: Reads) -> None:
    with pytest.raises(InvalidRecord, match=message):
        reads(medicine(COBALAMIN, **more), given("Medication/med"))


@pytest.mark.parametrize(
    "more", [{"status": "entered-in-error"}, {"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}]
)
def test_a_medicine_that_is_not_what_it_says_states_nothing(more: Json, reads: Reads) -> None:
    found, report = reads(medicine(COBALAMIN, **more), given("Medication/med"))
    assert found == {}
    assert [one.of for one in report.ignored if one.resource == "MedicationAdministration/m"] == ["B12Treatment"]


# ---- lines ---------------------------------------------------------------------------------------


def test_a_text_over_several_lines_is_told_from_one_resource_a_line(guideline: Guideline) -> None:
    start, *rest = json.dumps(of(entry(PATIENT), entry(about("Patient/p")))).split('"type"')
    broken = ('{"meta": {},\n' + start[1:] + '"type"' + '"type"'.join(rest)).encode()
    wrapped = broken.replace(b'"meta": {},\n', b'"meta": {}\n,')
    assert wrapped.split(b"\n")[0].endswith(b"}")
    for data in (broken, wrapped):
        assert names(read_fhir(data, guideline, TODAY)[0]) == PERNICIOUS_ONLY
