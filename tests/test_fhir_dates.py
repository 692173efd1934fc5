"""FHIR in: when what a resource states held, whether it is over, and what its status makes of it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from b12kg.errors import InvalidRecord
from b12kg.guideline import Guideline
from b12kg.records.dates import newest_of, read_date
from b12kg.records.fhir import read_fhir
from tests.fhir_resources import (
    DEFICIENCY,
    ICD10CM,
    OWN,
    PATIENT,
    PERNICIOUS,
    SNOMED,
    TODAY,
    UCUM,
    Json,
    Reads,
    bundle,
    coded,
    condition,
    medication,
    observation,
    procedure,
    refuted,
    status,
)

COBALAMIN, BARIATRIC = "5514", "430715008"
PLANNING = {"code": "PlanningPregnancy", "system": OWN}


def without(resource: Json, *elements: str) -> Json:
    return {key: value for key, value in resource.items() if key not in elements}


def day_of(guideline: Guideline, resource: Json) -> str | None:
    """The day that the one fact of a resource bears."""
    record, _ = read_fhir(bundle(PATIENT, resource), guideline, TODAY)
    form: Any = record.to_dict()
    lists = ("present", "absent", "measurements", "treatments", "outsideSource")
    (fact,) = [fact for key in lists for fact in form.get(key, [])]
    found: str | None = fact.get("on")
    return found


SERUM = without(observation("2132-9", 100, "pg/mL"), "effectiveDateTime")
DONE = without(procedure(BARIATRIC), "performedDateTime")
STATED = medication("MedicationStatement", COBALAMIN, "active")
GIVEN = without(medication("MedicationAdministration", COBALAMIN, "completed"), "effectiveDateTime")
ALLERGY: Json = {
    "resourceType": "AllergyIntolerance",
    "id": "a",
    "patient": {"reference": "Patient/p"},
    "code": coded("http://www.nlm.nih.gov/research/umls/rxnorm", COBALAMIN),
    "clinicalStatus": status("active", "allergyintolerance-clinical"),
    "verificationStatus": status("confirmed", "allergyintolerance-verification"),
}
PERIOD = {"start": "2024-03-01", "end": "2024-03-05"}
OF_ONE_DAY = {"start": "2024-03-01T08:00:00Z", "end": "2024-03-01T09:30:00Z"}


@pytest.mark.parametrize(
    ("resource", "dates", "day"),
    [
        (condition(PERNICIOUS), {"onsetDateTime": "2024-03-01", "recordedDate": "2024-04-01"}, "2024-03-01"),
        (condition(PERNICIOUS), {"onsetPeriod": PERIOD, "recordedDate": "2024-04-01"}, "2024-03-01"),
        (condition(PERNICIOUS), {"onsetString": "in spring", "recordedDate": "2024-04-01"}, "2024-04-01"),
        (condition(PERNICIOUS), {"onsetDateTime": "2024-03"}, None),
        (condition(PERNICIOUS), {}, None),
        (SERUM, {"effectiveDateTime": "2024-03-01T23:30:00-05:00", "issued": "2024-03-04T00:00:00Z"}, "2024-03-01"),
        (SERUM, {"effectiveInstant": "2024-03-01T10:00:00Z", "issued": "2024-03-04T00:00:00Z"}, "2024-03-01"),
        (SERUM, {"effectivePeriod": PERIOD}, None),
        (SERUM, {"effectivePeriod": OF_ONE_DAY}, "2024-03-01"),
        (SERUM, {"effectivePeriod": {"start": "2024-03-01"}}, None),
        (SERUM, {"effectivePeriod": {"end": "2024-03-01"}}, None),
        (SERUM, {"issued": "2024-03-04T00:00:00Z"}, None),
        (DONE, {"performedDateTime": "2024-03-01"}, "2024-03-01"),
        (DONE, {"performedPeriod": PERIOD}, "2024-03-05"),
        (DONE, {"performedPeriod": {"start": "2024-03-01"}}, None),
        (GIVEN, {"effectiveDateTime": "2024-03-01"}, "2024-03-01"),
        (GIVEN, {"effectivePeriod": PERIOD}, "2024-03-01"),
        (STATED, {"effectiveDateTime": "2024-03-01", "dateAsserted": "2024-04-01"}, "2024-03-01"),
        (STATED, {"effectivePeriod": {"start": "2024-03-01"}, "dateAsserted": "2024-04-01"}, "2024-03-01"),
        (STATED, {"dateAsserted": "2024-04-01"}, "2024-04-01"),
        (ALLERGY, {"onsetDateTime": "2024-03-01", "recordedDate": "2024-04-01"}, "2024-03-01"),
        (ALLERGY, {"onsetPeriod": PERIOD}, "2024-03-01"),
        (ALLERGY, {"recordedDate": "2024-04-01"}, "2024-04-01"),
        # What is absent was so from when that was seen, not from when the opposite began.
        (refuted(PERNICIOUS), {"onsetDateTime": "2024-03-01", "recordedDate": "2024-04-01"}, None),
        (condition(**PLANNING), {"onsetDateTime": "2024-03-01", "abatementDateTime": "2025-03-01"}, "2025-03-01"),
        (condition(**PLANNING), {"onsetDateTime": "2024-03-01", "abatementPeriod": PERIOD}, "2024-03-05"),
        (condition(**PLANNING), {"onsetDateTime": "2024-03-01", "abatementString": "in spring"}, None),
        (STATED | {"status": "stopped"}, {"effectivePeriod": PERIOD, "dateAsserted": "2024-04-01"}, "2024-03-05"),
        (STATED | {"status": "stopped"}, {"dateAsserted": "2024-04-01"}, None),
    ],
)
def test_the_date_of_a_fact(resource: Json, dates: Json, day: str | None, guideline: Guideline) -> None:
    assert day_of(guideline, {**resource, **dates}) == day


@pytest.mark.parametrize(
    ("dates", "counts"),
    [
        ({"effectiveDateTime": "2026-01-15"}, True),
        ({"effectiveDateTime": "2026-01-16"}, False),
        ({"effectiveDateTime": "2026-01"}, True),
        ({"effectivePeriod": {"start": "2026-01-15"}}, True),
        ({"effectivePeriod": {"start": "2026-01-16"}}, False),
        ({"effectivePeriod": {"end": "2026-01-15"}}, True),
        ({"effectivePeriod": {"end": "2026-01-16"}}, False),
        ({"issued": "2026-01-15T10:00:00Z"}, True),
        ({"issued": "2026-01-16T10:00:00Z"}, False),
        ({}, True),
    ],
)
def test_what_is_or_may_be_later_than_the_record_is_not_used(dates: Json, counts: bool, reads: Reads) -> None:
    found, report = reads({**SERUM, **dates})
    assert found == ({"SerumB12": "100"} if counts else {})
    reasons = [one.reason for one in report.ignored if one.resource == "Observation/o"]
    assert len(reasons) == (not counts)
    assert all("later than the date of the record" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("elements", "is_so", "where"),
    [
        ({}, True, "used"),
        ({"abatementDateTime": "2026-01-15"}, False, "used"),
        ({"abatementDateTime": "2026-01-16"}, True, "used"),
        ({"abatementDateTime": "2026-01"}, None, "may_suggest"),
        ({"abatementDateTime": "2026"}, None, "may_suggest"),
        ({"abatementDateTime": "2025"}, False, "used"),
        ({"abatementPeriod": {"start": "2025-01-01", "end": "2027-01-01"}}, True, "used"),
        ({"abatementPeriod": {"start": "2025-01-01"}}, None, "may_suggest"),
        ({"abatementString": "in spring"}, False, "used"),
        (
            {"abatementAge": {"value": 30, "unit": "a", "system": "http://unitsofmeasure.org", "code": "a"}},
            False,
            "used",
        ),
        ({"clinicalStatus": status("resolved", "condition-clinical")}, False, "used"),
        (
            {"clinicalStatus": status("resolved", "condition-clinical"), "abatementDateTime": "2026-01-16"},
            True,
            "used",
        ),
    ],
)
def test_whether_a_condition_is_over(elements: Json, is_so: bool | None, where: str, reads: Reads) -> None:
    found, report = reads(condition(**PLANNING) | elements)
    assert found == ({} if is_so is None else {"PlanningPregnancy": is_so})
    assert "PlanningPregnancy" in [one.of for one in getattr(report, where)]


@pytest.mark.parametrize(
    ("state", "end", "stated"),
    [
        ("active", None, {"B12TreatmentStarted": True}),
        ("active", "2027-01-01", {"B12TreatmentStarted": True}),
        ("active", "2026-01-15", {"B12TreatmentStarted": True, "stopped": True}),
        ("active", "2026", {}),
        ("completed", "2025-12-31", {"B12TreatmentStarted": True, "stopped": True}),
        ("stopped", "2027-01-01", {}),
        ("on-hold", "2027-01-01", {}),
        ("stopped", None, {"B12TreatmentStarted": True, "stopped": True}),
    ],
)
def test_whether_a_use_is_over(state: str, end: str | None, stated: Json, guideline: Guideline) -> None:
    period = {"start": "2024-01-01"} | ({} if end is None else {"end": end})
    used = medication("MedicationStatement", COBALAMIN, state, effectivePeriod=period)
    record, report = read_fhir(bundle(PATIENT, used), guideline, TODAY)
    form: Any = record.to_dict()
    statuses = [one["status"] for one in form.get("treatments", [])]
    assert statuses == (["stopped"] if "stopped" in stated else ["started"] if stated else [])
    if not stated:
        listed = [*report.ignored, *report.may_suggest]
        assert [one.of for one in listed if one.resource == "MedicationStatement/m"] == ["B12Treatment"]


# ---- which is the latest -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dates", "newest"),
    [
        (["2024-01-01", "2024-01-02"], [False, True]),
        (["2024-01-01", "2024-01-01"], [True, True]),
        (["2024-01", "2024-01-15"], [True, True]),
        (["2024", "2025-01-01"], [False, True]),
        (["2024-01-01T10:00:00Z", "2024-01-01T11:00:00Z"], [False, True]),
        (["2024-01-01T10:00:00Z", "2024-01-01T12:00:00+02:00"], [True, True]),
        (["2024-01-01T10:00:00Z", "2024-01-01"], [True, True]),
        (["2024-01-01T10:00:00Z", "2024-01-02"], [False, True]),
        (["2024-01-02T00:10:00+10:00", "2024-01-01T23:00:00Z", "2024-01-01"], [False, True, False]),
        (["2024-01-02", "2024-01-01T10:00:00Z", "2024-01-01T09:00:00Z"], [True, False, False]),
        ([None, "2024-01-01"], [True, True]),
        (["9999", "9999-12-31"], [True, True]),
        ([None], [True]),
    ],
)
def test_which_may_be_the_latest(dates: list[str | None], newest: list[bool]) -> None:
    assert newest_of([None if text is None else read_date(text) for text in dates]) == newest


@pytest.mark.parametrize(
    ("one", "other", "after"),
    [
        ("2024-01-02", "2024-01-01", True),
        ("2024-01-01", "2024-01-01", False),
        ("2024-02", "2024-01-31", True),
        ("2024-01", "2024-01-31", False),
        ("2024-01-01T10:00:00Z", "2024-01-01T09:59:59Z", True),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z", False),
        ("2024-01-01T10:00:00Z", "2024-01-01", False),
    ],
)
def test_what_is_certainly_later(one: str, other: str, after: bool) -> None:
    first, second = read_date(one), read_date(other)
    assert first is not None
    assert second is not None
    assert first.after(second) is after


def test_a_bound_and_a_value_of_one_day_contradict_each_other(reads: Reads) -> None:
    bound, value = observation("13965-9", "<10", "umol/L", id="b"), observation("13965-9", 10, "umol/L", id="v")
    found, report = reads(bound, value)
    assert found == {}
    assert [one.resource for one in report.conflicting] == ["Observation/b", "Observation/v"]


@pytest.mark.parametrize(
    ("other", "value"),
    [
        ({"issued": "2025-07-01T00:00:00Z"}, None),  # it can have been measured before the other or after it
        ({"issued": "2025-05-31T00:00:00Z"}, "100"),
        ({"effectivePeriod": {"start": "2025-05-01"}}, None),
        ({"effectivePeriod": {"start": "2025-06-02"}}, "50"),
        ({"effectivePeriod": {"start": "2025-05-01", "end": "2025-05-31"}}, "100"),
        ({"effectivePeriod": {"start": "2025-05-01", "end": "2025-06-01"}}, None),
    ],
)
def test_a_value_of_an_open_time_is_taken_only_if_it_is_certainly_the_latest(
    other: Json, value: str | None, reads: Reads
) -> None:
    known = {**SERUM, "effectiveDateTime": "2025-06-01"}
    unclear = without(observation("2132-9", 50, "pg/mL", id="other", **other), "effectiveDateTime")
    assert reads(known, unclear)[0] == ({} if value is None else {"SerumB12": value})


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", "2024-01-01", "2024-12-31"),
        ("2024-12", "2024-12-01", "2024-12-31"),
        ("9999-12", "9999-12-01", "9999-12-31"),
        ("2024-02-29T23:59:60Z", "2024-02-29", "2024-02-29"),
        ("2024-02-29T23:59:59.1234567890123Z", "2024-02-29", "2024-02-29"),
        ("2024-02-29T00:00:00+14:00", "2024-02-29", "2024-02-29"),
    ],
)
def test_a_date_of_fhir(text: str, first: str, last: str) -> None:
    when = read_date(text)
    assert when is not None
    assert (str(when.first), str(when.last)) == (first, last)


def test_a_leap_second_is_after_the_second_before_it() -> None:
    texts = ("2016-12-31T23:59:59Z", "2016-12-31T23:59:60Z", "2017-01-01T00:00:00.5Z")
    moments = [when.moment for text in texts if (when := read_date(text)) is not None and when.moment is not None]
    assert len(moments) == 3
    assert moments == sorted(set(moments))


@pytest.mark.parametrize(
    "text",
    ["", "24", "2024-13", "2023-02-29", "2024-01-01T10:00", "2024-01-01T10:00:00", "2024-01-01T24:00:00Z",
     "2024-01-01T10:00:61Z", "2024-01-01 ", "0000", 2024, None, "9999-12-31T23:00:00-10:00"],
)  # fmt: skip
def test_what_is_no_date_of_fhir(text: object) -> None:
    assert read_date(text) is None


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        (condition(PERNICIOUS, onsetDateTime="2024-13"), "Condition/c at .*onsetDateTime"),
        (condition(PERNICIOUS, abatementPeriod={"end": "0000"}), "Condition/c at .*abatementPeriod.end"),
        ({**SERUM, "effectivePeriod": {"start": "2024-02-02", "end": "2024-02-01"}}, "effectivePeriod.*start"),
    ],
)
def test_a_date_that_is_none_is_refused_by_its_place(resource: Json, place: str, reads: Reads) -> None:
    with pytest.raises(InvalidRecord, match=place):
        reads(resource)


@pytest.mark.parametrize("born", ["1960-13-01", 19600229, 0, 86400, 1.5, True, "tomorrow", "86400"])
def test_a_date_of_birth_that_is_none_is_refused(born: object, guideline: Guideline) -> None:
    with pytest.raises(InvalidRecord, match=r"Patient/p at Bundle.entry\[0\].resource.birthDate"):
        read_fhir(bundle({**PATIENT, "birthDate": born}), guideline, TODAY)


# ---- status --------------------------------------------------------------------------------------

LOCAL = coded("http://hospital.example/status", "refuted")["coding"][0]


def test_a_code_of_another_system_is_no_status(reads: Reads) -> None:
    confirmed = status("confirmed")["coding"][0]
    both = condition(PERNICIOUS, verificationStatus={"coding": [LOCAL, confirmed]})
    assert reads(both)[0] == {"PerniciousAnemia": True}
    for coding in (LOCAL, {"code": "refuted"}, {"system": confirmed["system"]}, {**confirmed, "code": "Confirmed"}):
        alone = condition(PERNICIOUS, verificationStatus={"coding": [coding]})
        with pytest.raises(InvalidRecord, match=r"verificationStatus: no code of it that R4 has.*accepted: confirmed"):
            reads(alone)


@pytest.mark.parametrize(
    "resource",
    [
        {**SERUM, "effectiveDateTime": "2025-01-01"},
        procedure(BARIATRIC),
        STATED,
        medication("MedicationAdministration", COBALAMIN, "completed"),
    ],
)
def test_a_status_that_is_withheld_says_nothing(resource: Json, reads: Reads) -> None:
    url = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
    withheld = without(resource, "status") | {"_status": {"extension": [{"url": url, "valueCode": "masked"}]}}
    assert reads(resource)[0] != {}
    found, report = reads(withheld)
    assert found == {}
    assert [one.reason for one in report.ignored if one.resource == f"{resource['resourceType']}/{resource['id']}"] == [
        "its status is withheld"
    ]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"focus": [{"reference": "Patient/fetus"}]}, "its focus is another than the patient"),
        ({"implicitRules": "urn:x"}, "its implicitRules can change what it says"),
        ({"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}, "its modifierExtension can change"),
    ],
)
def test_what_changes_what_a_resource_says_is_not_overlooked(more: Json, words: str, reads: Reads) -> None:
    found, report = reads({**SERUM, "effectiveDateTime": "2025-01-01", **more})
    assert found == {}
    assert [words in one.reason for one in report.ignored if one.resource == "Observation/o"] == [True]


def test_an_error_is_said_to_be_one_whatever_else_it_bears(reads: Reads) -> None:
    wrong = {**SERUM, "status": "entered-in-error", "focus": [{"reference": "Patient/fetus"}]}
    _, report = reads(wrong)
    assert [one.reason for one in report.ignored if one.resource == "Observation/o"] == ["entered in error"]


def test_what_may_have_ended_from_the_day_of_the_record_on(guideline: Guideline) -> None:
    over = condition(**PLANNING, abatementDateTime="2026-01")
    record, report = read_fhir(bundle(PATIENT, over), guideline, date(2026, 1, 1))
    assert record.statements == ()
    assert [one.of for one in report.may_suggest] == ["PlanningPregnancy"]


def test_a_circumstance_that_is_refuted_is_not_stated(reads: Reads) -> None:
    pregnant = condition("77386006", "x")
    assert "outside" in reads(pregnant)[0].values()
    found, report = reads(refuted("77386006", id="x"))
    assert found == {}
    assert [one.resource for one in report.ignored] == ["Condition/x"]


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_codes_the_one_that_says_more_counts(turned: bool, reads: Reads) -> None:
    codings = [{"system": SNOMED, "code": DEFICIENCY}, {"system": ICD10CM, "code": "E53.8"}]
    both = {"coding": codings[::-1] if turned else codings}
    assert reads({**condition(DEFICIENCY), "code": both})[0] == {"VitaminB12Deficiency": True}


def test_what_changes_one_component_leaves_the_others(reads: Reads) -> None:
    value = {"value": 33, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"}
    part = {"code": coded("http://loinc.org", "4544-3"), "valueQuantity": value}
    serum = {"code": coded("http://loinc.org", "2132-9"), "valueQuantity": SERUM["valueQuantity"]}
    changed = part | {"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}
    panel = without({**SERUM, "code": coded("http://loinc.org", "58410-2")}, "valueQuantity")
    assert reads({**panel, "component": [part, serum]})[0] == {"Hematocrit": "33", "SerumB12": "100"}
    found, report = reads({**panel, "component": [changed, serum]})
    assert found == {"SerumB12": "100"}
    assert [one.of for one in report.ignored if one.resource == "Observation/o"] == ["Hematocrit"]


def test_an_operation_that_was_refuted_leaves_nothing_open(reads: Reads) -> None:
    kidneys = condition("431857002", "k", onsetDateTime="2020-01-01")
    transplant = condition("161665007", "t", onsetDateTime="2022-01-01")
    assert reads(kidneys, transplant)[0] == {}
    found, report = reads(kidneys, without(transplant, "clinicalStatus") | {"verificationStatus": status("refuted")})
    assert found == {"RenalDysfunction": True}
    assert [one.of for one in report.ignored if one.resource == "Condition/t"] == ["KidneyTransplantation"]


def test_an_allergy_to_what_no_policy_names_is_ignored(reads: Reads) -> None:
    found, report = reads({**ALLERGY, "code": coded("http://www.nlm.nih.gov/research/umls/rxnorm", "310410")})
    assert found == {}
    assert report.may_suggest == []
    assert [one.of for one in report.ignored if one.resource == "AllergyIntolerance/a"] == ["FolicAcid"]


# ---- units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "value", "unit", "stated"),
    [
        ("2132-9", 100, "pg/ml", {"SerumB12": "100"}),
        ("2132-9", 100, "ng/l", {"SerumB12": "100"}),
        ("14685-2", 100, "pmol/l", {"SerumB12": "135.537"}),
        ("13965-9", 12, "\u00b5mol/l", {"Homocysteine": "12"}),
        ("13965-9", 0.012, "mmol/L", {"Homocysteine": "12"}),
        ("20570-8", 0.41, "l/l", {"Hematocrit": "41"}),
    ],
)
def test_the_litre_in_both_spellings(code: str, value: float, unit: str, stated: Json, reads: Reads) -> None:
    assert reads(observation(code, value, unit))[0] == stated


def test_the_code_of_a_unit_counts_before_its_words(reads: Reads) -> None:
    value = {"value": 41, "unit": "per cent", "system": UCUM, "code": "%"}
    assert reads(observation("4544-3", 41, "%", valueQuantity=value))[0] == {"Hematocrit": "41"}


def test_words_in_the_place_of_a_unit_stay_out_of_the_message(reads: Reads) -> None:
    with pytest.raises(InvalidRecord, match="no unit of Hematocrit") as error:
        reads(observation("4544-3", 41, "%", valueQuantity={"value": 41, "unit": "as told by Mrs Doe"}))
    assert "Doe" not in str(error.value)


def test_a_value_that_cannot_be_converted_exactly_is_told_by_its_unit(reads: Reads) -> None:
    with pytest.raises(InvalidRecord, match=r"valueQuantity: in ng/L it has more digits than JSON carries exactly"):
        reads(observation("2132-9", 0.07379999999999, "nmol/L"))
