"""FHIR in: real bundles, what each change to one does to the answer, and input that is not as it should be."""

from __future__ import annotations

import copy
import json
import random
import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b12kg.errors import InvalidRecord, Problem, UsageError
from b12kg.guideline import Guideline
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.records import read
from b12kg.records.fhir import read_fhir, read_patients
from tests.cases import SHARED
from tests.fhir_resources import (
    BARIATRIC,
    DEFICIENCY,
    ICD10CM,
    LOINC,
    NO_NEURO,
    OWN,
    PATIENT,
    PERNICIOUS,
    POOL,
    RXNORM,
    TODAY,
    UCUM,
    Json,
    Reads,
    bundle,
    coded,
    condition,
    each,
    listed,
    medication,
    names,
    observation,
    procedure,
    refuted,
    status,
)

pytest.importorskip("fhir.resources")

FILES = sorted((SHARED / "fhir").rglob("*.*json")) if SHARED.is_dir() else []
BUNDLES = [path for path in FILES if path.parent.name == "bundles"]
real = pytest.mark.skipif(not FILES, reason="the real input is not here")


# ---- real input ----------------------------------------------------------------------------------


@real
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_real_file_is_read_and_leaves_initial_treatment_open(path: Path, executable: ExecutableGuideline) -> None:
    found = executable.recommend_each(path.read_bytes(), as_of=TODAY)
    assert found
    for answer in found.values():
        assert isinstance(answer, Recommendation)
        assert answer.imported is not None
        decision = answer.decisions["InitialTreatment"]
        assert decision.status == "undetermined"
        assert decision.missing == ("NeurologicalInvolvement", "VitaminB12Deficiency")
        assert sum(map(len, listed(answer.imported).values())) >= 1


@real
def test_a_bulk_export_is_read_as_one_input(guideline: Guideline) -> None:
    lines = [line for path in FILES if path.suffix == ".ndjson" for line in path.read_bytes().splitlines()]
    found = each(b"\n".join(lines), guideline)
    assert len(found) == 13
    count = sum(len(entries) for _, report in found for entries in listed(report).values())
    assert count >= len(lines)  # one that states two things stands in two lists


@real
@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_the_traps_of_the_real_bundles(path: Path, guideline: Guideline) -> None:
    record, report = read_fhir(path.read_bytes(), guideline, TODAY)
    assert {s.of for s in record.statements} == set()
    assert [m.of for m in record.measurements] in ([], ["Hematocrit"])
    orders = [entry for entry in report.ignored if entry.of == "B12Treatment"]
    assert len(orders) == 1
    assert orders[0].reason == "an order does not say whether treatment has started"
    document = json.loads(path.read_bytes())
    stages = {"431855005", "431856006"}
    early = [
        f"Condition/{e['resource']['id']}"
        for e in document["entry"]
        if {c["code"] for c in e["resource"].get("code", {}).get("coding", [])} & stages
    ]
    unsettled = {entry.resource for entry in [*report.may_suggest, *report.ignored]}
    assert set(early) <= unsettled
    every = {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in document["entry"]}
    entries = listed(report)
    assert {resource for found in entries.values() for resource, _ in found} == every
    elsewhere = {r for key, found in entries.items() if key != "ignored" for r, _ in found}
    assert elsewhere.isdisjoint(r for r, of in entries["ignored"] if of is None)


# ---- metamorphic: one resource more, and the answer changes as it should and in nothing else --------

Decisions = dict[str, Any]


def decisions(answer: Recommendation) -> Decisions:
    form: Any = answer.to_dict()
    return {
        name: (found["status"], found["recommended"], found["missing"]) for name, found in form["decisions"].items()
    }


@pytest.fixture(scope="module")
def real_bundle() -> Json:
    if not BUNDLES:
        pytest.skip("the real input is not here")
    found: Json = json.loads(BUNDLES[0].read_bytes())
    return found


def added(document: Json, *resources: Json) -> Json:
    who = next(e["fullUrl"] for e in document["entry"] if e["resource"]["resourceType"] == "Patient")
    mine = [
        {**r, "subject": {"reference": who}}
        if r["resourceType"] != "AllergyIntolerance"
        else {**r, "patient": {"reference": who}}
        for r in resources
    ]
    entries = [{"fullUrl": f"urn:uuid:{r['resourceType']}-{r['id']}", "resource": r} for r in mine]
    return {**document, "entry": [*document["entry"], *entries]}


@pytest.mark.parametrize(
    ("more", "decision", "status", "recommended"),
    [
        ([refuted(DEFICIENCY)], "InitialTreatment", "not-applicable", []),
        ([condition(PERNICIOUS)], "PotassiumMonitoring", "recommended", ["potassium-first-48-hours"]),
        ([condition("D51.0", system=ICD10CM)], "PotassiumMonitoring", "recommended", ["potassium-first-48-hours"]),
        (
            [condition(DEFICIENCY), NO_NEURO],
            "InitialTreatment",
            "recommended",
            ["im-1mg-3-per-week-2-weeks"],
        ),
        (
            [condition("G32.0", system=ICD10CM), condition(DEFICIENCY, id="d")],
            "InitialTreatment",
            "recommended",
            ["im-1mg-alternate-days-until-no-further-improvement"],
        ),
        ([condition("E53.8", system=ICD10CM)], "InitialTreatment", "undetermined", []),
        ([condition("442338001")], "MaintenanceTreatment", "undetermined", []),
        ([observation("13965-9", 14, "umol/L")], "HomocysteineTarget", "recommended", ["homocysteine-above-target"]),
        ([observation("13965-9", 9.9, "nmol/mL")], "HomocysteineTarget", "not-applicable", []),
        ([observation("13965-9", "<10", "umol/L")], "HomocysteineTarget", "not-applicable", []),
    ],
)
def test_one_resource_more(
    more: list[Json],
    decision: str,
    status: str,
    recommended: list[str],
    real_bundle: Json,
    executable: ExecutableGuideline,
) -> None:
    answer = executable.recommend(added(real_bundle, *more), as_of=TODAY)
    assert answer.decisions[decision].status == status
    assert list(answer.decisions[decision].recommended) == recommended


def changed(executable: ExecutableGuideline, document: Json, *more: Json) -> set[str]:
    """The decisions that are another with these resources added."""
    before = decisions(executable.recommend(document, as_of=TODAY))
    after = decisions(executable.recommend(added(document, *more), as_of=TODAY))
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (observation("13965-9", 14, "umol/L"), {"HomocysteineTarget"}),
        (observation("DistalIleumResected", 30, "cm", system=OWN), {"MaintenanceTreatment"}),
        (procedure(BARIATRIC), {"MaintenanceTreatment", "PregnancyPlanningMonitoring"}),
        (condition("N18.30", system=ICD10CM), {"Preparation"}),
        (refuted(PERNICIOUS), {"MaintenanceTreatment", "PotassiumMonitoring"}),
        (medication("MedicationRequest", "4511", "active"), set()),
        (medication("MedicationRequest", "11248", "active"), set()),
        (condition("53165003"), set()),
        (condition(DEFICIENCY, verificationStatus=status("entered-in-error"), id="e"), set()),
        (condition("399261000"), set()),
        (observation("2132-9", 120, "pg/mL"), set()),
    ],
)
def test_one_resource_more_changes_nothing_else(
    more: Json, expected: set[str], real_bundle: Json, executable: ExecutableGuideline
) -> None:
    if more.get("id") == "e":
        more = {key: value for key, value in more.items() if key != "clinicalStatus"}
    assert changed(executable, real_bundle, more) == expected


def test_an_order_of_folic_acid_raises_the_alert(real_bundle: Json, executable: ExecutableGuideline) -> None:
    order = medication("MedicationRequest", "4511", "active")
    sick = added(real_bundle, condition(DEFICIENCY))
    assert [a.rule for a in executable.recommend(sick, as_of=TODAY).alerts] == []
    with_order = executable.recommend(added(sick, order), as_of=TODAY)
    assert [(a.rule, a.certainty) for a in with_order.alerts] == [("folic-acid-after-b12", "possible")]
    dose = medication("MedicationAdministration", "309594", "completed", id="a")
    started = executable.recommend(added(sick, order, dose), as_of=TODAY)
    assert [a.rule for a in started.alerts] == []


def test_another_unit_is_the_same_answer(guideline: Guideline) -> None:
    found = [
        read_fhir(bundle(PATIENT, observation("4544-3", value, unit)), guideline, TODAY)[0].measurements[0].canonical
        for value, unit in ((34.9, "%"), (0.349, "L/L"))
    ]
    assert found[0] == found[1]
    found = [
        read_fhir(bundle(PATIENT, observation("2132-9", value, unit)), guideline, TODAY)[0].measurements[0].canonical
        for value, unit in ((271.074, "ng/L"), (271.074, "pg/mL"), (200, "pmol/L"), (0.2, "nmol/L"), (0.271074, "ug/L"))
    ]
    assert len(found) == 5
    assert len(set(found)) == 1


# ---- what a resource states ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "stated", "where"),
    [
        (condition(PERNICIOUS), {"PerniciousAnemia": True}, "used"),
        (condition(PERNICIOUS, clinical="recurrence"), {"PerniciousAnemia": True}, "used"),
        (condition(PERNICIOUS, clinical="resolved"), {}, "ignored"),
        (condition(PERNICIOUS, abatementDateTime="2020"), {}, "ignored"),
        (
            condition(PERNICIOUS, clinical="resolved", abatementDateTime="2026-02-01"),
            {"PerniciousAnemia": True},
            "used",
        ),
        (condition(PERNICIOUS, onsetDateTime="2026-01-16"), {}, "ignored"),
        (condition(PERNICIOUS, onsetDateTime="2026"), {"PerniciousAnemia": True}, "used"),
        (condition(PERNICIOUS, verificationStatus=status("provisional")), {}, "maySuggest"),
        (condition(PERNICIOUS, modifierExtension=[{"url": "urn:x", "valueBoolean": True}]), {}, "ignored"),
        (refuted(PERNICIOUS), {"PerniciousAnemia": False}, "used"),
        (refuted("D51.9", system=ICD10CM), {}, "ignored"),  # another deficiency can be there
        (refuted("E53.8", system=ICD10CM), {}, "ignored"),
        (condition("E53.8", system=ICD10CM), {}, "maySuggest"),
        (condition("PlanningPregnancy", system=OWN, clinical="resolved"), {"PlanningPregnancy": False}, "used"),
        (condition("77386006"), {"Pregnancy": "outside"}, "used"),
        (condition("77386006", clinical="resolved"), {}, "ignored"),
        (condition("431855005"), {}, "maySuggest"),
        (condition("431857002"), {"RenalDysfunction": True}, "used"),
        (condition("O99.841", system=ICD10CM), {"BariatricSurgery": True, "Pregnancy": "outside"}, "used"),
        (condition("4511", system=RXNORM), {}, "ignored"),
        (procedure("265764009"), {"RenalDysfunction": True}, "used"),
        (procedure(BARIATRIC, status="not-done"), {}, "ignored"),
        (procedure(BARIATRIC, status="in-progress"), {}, "ignored"),
        (procedure("442338001"), {}, "maySuggest"),
        (observation("4544-3", 40, "%", status="preliminary"), {}, "ignored"),
        (observation("4544-3", 40, "%", on="2026-02-01"), {}, "ignored"),
        (observation("4544-3", "<30", "%"), {"Hematocrit": "<30"}, "used"),
        (observation("4544-3", "<40", "%"), {}, "ignored"),
        (observation("2132-9", "<100", "pg/mL"), {"SerumB12": "<100"}, "used"),
        (observation("33914-3", 25, "mL/min/{1.73_m2}"), {}, "maySuggest"),
        (medication("MedicationRequest", "11248", "active"), {}, "ignored"),
        (medication("MedicationRequest", "11248", "completed"), {}, "ignored"),
        (medication("MedicationAdministration", "11248", "completed"), {"B12TreatmentStarted": True}, "used"),
        (medication("MedicationAdministration", "11248", "not-done"), {}, "ignored"),
        (medication("MedicationStatement", "5514", "active"), {"B12TreatmentStarted": True}, "used"),
        (medication("MedicationStatement", "5514", "completed"), {"B12TreatmentStarted": True}, "used"),
        (medication("MedicationStatement", "5514", "intended"), {}, "ignored"),
        (medication("MedicationRequest", "4511", "active"), {"FolicAcidTreatment": True}, "used"),
        (medication("MedicationRequest", "4511", "stopped"), {}, "ignored"),
        (medication("MedicationRequest", "4511", "active", intent="proposal"), {}, "ignored"),
        (medication("MedicationRequest", "4511", "active", doNotPerform=True), {}, "ignored"),
        (medication("MedicationRequest", "6809", "active"), {"MetforminTreatment": "outside"}, "used"),
    ],
    ids=lambda value: (
        None
        if isinstance(value, str)
        else str(next(iter(value), "nothing"))
        if len(value) < 3
        else value["resourceType"]
    ),
)
def test_what_a_resource_states(resource: Json, stated: dict[str, Any], where: str, reads: Reads) -> None:
    found, report = reads(resource)
    assert found == stated
    lists = [
        key
        for key, entries in listed(report).items()
        for name, _ in entries
        if name.startswith(resource["resourceType"])
    ]
    assert set(lists) == {where}


def test_an_error_is_ignored_and_listed(reads: Reads) -> None:
    wrong = condition(PERNICIOUS, verificationStatus=status("entered-in-error"))
    del wrong["clinicalStatus"]
    found, report = reads(wrong)
    assert found == {}
    assert [(entry.of, entry.reason) for entry in report.ignored] == [("PerniciousAnemia", "entered in error")]


def test_what_has_ended_is_listed_with_the_reason(reads: Reads) -> None:
    _, report = reads(condition(PERNICIOUS, abatementDateTime="2020"))
    reason = "a deficiency under treatment is often entered as resolved, and its cause can remain"
    assert [entry.reason for entry in report.ignored] == [f"stated to have ended; {reason}"]


def test_an_allergy_is_outside_the_source(reads: Reads) -> None:
    allergy: Json = {
        "resourceType": "AllergyIntolerance",
        "id": "a",
        "patient": {"reference": "Patient/p"},
        "code": coded(RXNORM, "5514"),
        "verificationStatus": status("confirmed", "allergyintolerance-verification"),
    }
    assert reads(allergy)[0] == {"CobalaminAllergy": "outside"}
    assert reads({**allergy, "code": coded(RXNORM, "1191")})[0] == {}
    assert reads({**allergy, "verificationStatus": status("refuted", "allergyintolerance-verification")})[0] == {}


@pytest.mark.parametrize(
    ("born", "stated", "suggested"),
    [("2010-01-16", ["Child"], 0), ("2010-01-15", [], 0), ("2010", [], 1), ("2009", [], 0), ("2011", ["Child"], 0)],
)
def test_a_child_is_under_sixteen(born: str, stated: list[str], suggested: int, guideline: Guideline) -> None:
    record, report = read_fhir({**PATIENT, "birthDate": born}, guideline, TODAY)
    assert [circumstance.of for circumstance in record.outside] == stated
    assert len(report.may_suggest) == suggested


def test_a_medicine_that_is_referred_to(reads: Reads) -> None:
    medicine: Json = {"resourceType": "Medication", "id": "med", "code": coded(RXNORM, "5514")}
    dose = medication("MedicationAdministration", "", "completed", medicationReference={"reference": "Medication/med"})
    del dose["medicationCodeableConcept"]
    assert reads(medicine, dose)[0] == {"B12TreatmentStarted": True}
    assert reads({**medicine, "status": "entered-in-error"}, dose)[0] == {}
    assert reads(dose)[0] == {}
    inside = {**dose, "contained": [medicine], "medicationReference": {"reference": "#med"}}
    assert reads(inside)[0] == {"B12TreatmentStarted": True}


def test_a_component_of_an_observation(reads: Reads) -> None:
    panel = observation("58410-2", 1, "1")
    del panel["valueQuantity"]
    panel["component"] = [{"code": coded(LOINC, "20570-8"), "valueQuantity": {"value": 33, "unit": "%"}}]
    assert reads(panel)[0] == {"Hematocrit": "33"}


def test_the_strength_of_a_product_is_no_dose(real_bundle: Json, executable: ExecutableGuideline) -> None:
    text = json.dumps(executable.recommend(real_bundle, as_of=TODAY).to_dict())
    assert "5 MG/ML" not in text


# ---- several resources about one thing --------------------------------------------------------------


def test_the_latest_value_counts(reads: Reads) -> None:
    early, late = observation("4544-3", 30, "%", "2025-01-01", "a"), observation("4544-3", 41, "%", "2025-06", "b")
    found, report = reads(late, early)
    assert found == {"Hematocrit": "41"}
    assert [entry.resource for entry in report.stale] == ["Observation/a"]


def test_each_of_several_equal_values_is_listed_as_used(reads: Reads) -> None:
    values = [observation("4544-3", 41, "%", "2025-06-01", id) for id in ("a", "b", "c")]
    found, report = reads(*values)
    assert found == {"Hematocrit": "41"}
    used = [entry for entry in report.used if entry.of == "Hematocrit"]
    assert sorted(entry.resource for entry in used) == ["Observation/a", "Observation/b", "Observation/c"]
    assert [entry.path for entry in used if entry.path] == ["measurements[0]"]


def test_what_is_not_confirmed_says_so(reads: Reads) -> None:
    _, report = reads(condition(PERNICIOUS, verificationStatus=status("provisional")))
    (entry,) = report.may_suggest
    assert entry.reason.endswith("; not confirmed")


@pytest.mark.parametrize("component", [[1], {"code": coded(LOINC, "4544-3")}, [{"code": "4544-3"}]])
def test_components_that_are_none_are_refused(component: Any, reads: Reads) -> None:
    panel = observation("58410-2", 1, "1", component=component)
    del panel["valueQuantity"]
    with pytest.raises(InvalidRecord, match="Observation/o at"):
        reads(panel)


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ("2025-06-01T10:00:00Z", "2025-06-01T11:30:00+02:00", "30"),  # the second is earlier, at 09:30Z
        ("2025-06-01T09:00:00Z", "2025-06-01T11:30:00+02:00", "41"),
        ("2025-06-01", "2025-06-01T11:30:00+02:00", None),
        ("2025-06", "2025-06-01", None),
        ("2025-05", "2025-06-01", "41"),
        (None, "2025-06-01", None),
    ],
)
def test_values_of_which_none_is_certainly_the_latest(
    first: str | None, second: str, value: str | None, reads: Reads
) -> None:
    found, report = reads(observation("4544-3", 30, "%", first, "a"), observation("4544-3", 41, "%", second, "b"))
    assert found == ({} if value is None else {"Hematocrit": value})
    assert len(report.conflicting) == (2 if value is None else 0)
    same, report = reads(observation("4544-3", 41, "%", first, "a"), observation("4544-3", 0.41, "L/L", second, "b"))
    assert same == {"Hematocrit": "41"}
    assert report.conflicting == []


def test_a_contradiction_leaves_it_open(reads: Reads) -> None:
    found, report = reads(condition(PERNICIOUS, "a"), refuted(DEFICIENCY, id="b"), condition("431857002", "k"))
    assert found == {"RenalDysfunction": True}
    assert {entry.resource for entry in report.conflicting} == {"Condition/a", "Condition/b"}


def test_what_is_over_yields_to_what_is(reads: Reads) -> None:
    over = condition("PlanningPregnancy", "a", OWN, clinical="resolved")
    found, report = reads(over, condition("PlanningPregnancy", "b", OWN))
    assert found == {"PlanningPregnancy": True}
    assert [entry.resource for entry in report.stale] == ["Condition/a"]


def test_what_is_of_the_moment_of_a_transplant_may_be_of_before_it(reads: Reads) -> None:
    moments = ("2020-01-01T10:00:00Z", "2020-01-01T12:00:00+02:00")
    disease, transplant = (
        condition("46177005", onsetDateTime=moments[0]),
        procedure("70536003", moments[1]),
    )
    assert reads(disease, transplant)[0] == {}
    assert reads({**disease, "onsetDateTime": "2020-01-01T10:00:01Z"}, transplant)[0] == {"RenalDysfunction": True}


@pytest.mark.parametrize(
    ("transplanted", "stated"),
    [("2020-01-01", {}), ("2018-01-01", {"RenalDysfunction": True}), ("2019", {})],
)
def test_a_transplant_leaves_open_what_was_before(transplanted: str, stated: dict[str, Any], reads: Reads) -> None:
    found, report = reads(condition("46177005", onsetDateTime="2019-05-01"), procedure("70536003", transplanted))
    assert found == stated
    assert len(report.conflicting) == (0 if stated else 1)


def test_each_fact_keeps_the_resource_that_it_came_from(guideline: Guideline, executable: ExecutableGuideline) -> None:
    document = bundle(PATIENT, condition(PERNICIOUS, "x", onsetDateTime="2024-03-02"), NO_NEURO)
    record, report = read_fhir(document, guideline, TODAY)
    assert {(s.of, s.source, s.on) for s in record.statements} == {
        ("PerniciousAnemia", "Condition/x", date(2024, 3, 2)),
        ("NeurologicalInvolvement", "Observation/n", date(2025, 6, 1)),
    }
    used = {entry.path: (entry.resource, entry.place) for entry in report.used if entry.path}
    assert used["present[0]"] == ("Condition/x", "Bundle.entry[1].resource")
    assert report.to_dict()["mapping"] == report.mapping
    text = executable.recommend(document, as_of=TODAY).to_text()
    assert "Condition/x" in text


# ---- patients and forms of input ---------------------------------------------------------------------


def test_two_patients_are_refused_or_read_each(guideline: Guideline) -> None:
    other = condition(PERNICIOUS, "z", subject={"reference": "Patient/q"})
    document = bundle(PATIENT, condition(DEFICIENCY), other)
    with pytest.raises(InvalidRecord, match=r"about 2 patients \(accepted: one; or each"):
        read_fhir(document, guideline, TODAY)
    found = {record.id: names(record) for record, _ in each(document, guideline)}
    assert found == {"Patient/p": {"VitaminB12Deficiency": True}, "Patient/q": {"PerniciousAnemia": True}}


def test_a_patient_who_cannot_be_read_or_answered_stops_no_other(executable: ExecutableGuideline) -> None:
    of_q: Json = {"subject": {"reference": "Patient/q"}}
    of_r: Json = {"subject": {"reference": "Patient/r"}}
    wrong = condition(PERNICIOUS, "wrong", **of_q, onsetDateTime="31.12.2020")
    impossible = observation("4544-3", -3, "%", id="low", **of_r)
    found = executable.recommend_each(bundle(PATIENT, condition(PERNICIOUS), wrong, impossible), as_of=TODAY)
    assert [*found] == ["Patient/p", "Patient/q", "Patient/r"]
    assert isinstance(found["Patient/p"], Recommendation)
    messages = {key: str(value) for key, value in found.items() if isinstance(value, InvalidRecord)}
    assert "Condition/wrong at Bundle.entry[2].resource" in messages["Patient/q"]
    assert "Observation/low at Bundle.entry[3].resource (measurements[0])" in messages["Patient/r"]


def test_the_report_comes_with_the_answer_and_is_no_part_of_it(executable: ExecutableGuideline) -> None:
    answer = executable.recommend(bundle(PATIENT, condition(PERNICIOUS), condition("1", "other")), as_of=TODAY)
    assert answer.imported is not None
    assert listed(answer.imported)["used"] == [("Condition/c", "PerniciousAnemia"), ("Patient/p", None)]
    again = executable.recommend(answer.record.to_dict())
    assert again.imported is None
    assert again.to_dict() == answer.to_dict()


@pytest.mark.parametrize("reference", ["Patient/p", "http://example.org/Patient/p", "Patient/p/_history/2"])
def test_references_to_one_patient(reference: str, guideline: Guideline) -> None:
    document = bundle(PATIENT, condition(PERNICIOUS, subject={"reference": reference}))
    assert names(read_fhir(document, guideline, TODAY)[0]) == {"PerniciousAnemia": True}


def test_the_forms_of_an_input_are_one_record(guideline: Guideline) -> None:
    resources = [PATIENT, condition(PERNICIOUS)]
    lines = "\n".join(json.dumps(resource) for resource in resources)
    inputs: list[Any] = [bundle(*resources, type=type) for type in ("collection", "searchset", "transaction")]
    inputs += [lines.encode(), f"\n{lines}\r\n\n".encode(), json.dumps(inputs[0], indent=2).encode(), resources[1]]
    digests = {read_fhir(data, guideline, TODAY)[0].digest for data in inputs}
    assert len(inputs) == 7
    assert len(digests) == 1


def test_a_page_of_several_says_so(guideline: Guideline) -> None:
    page = bundle(PATIENT, condition(PERNICIOUS), type="searchset")
    page["link"] = [{"relation": "self", "url": "a"}, {"relation": "next", "url": "b"}]
    record, report = read_fhir(page, guideline, TODAY)
    assert record == read_fhir({**page, "link": []}, guideline, TODAY)[0]
    (entry,) = report.others
    assert (entry.resource, entry.place) == ("Bundle", "Bundle.link[1]")
    assert "next page" in entry.reason


def test_what_an_answer_asks_for_can_be_answered_as_it_asks(executable: ExecutableGuideline) -> None:
    answer = executable.recommend(bundle(PATIENT), as_of=TODAY)
    asked = {
        requirement["id"]: requirement
        for entry in answer.to_fhir()["entry"]
        for requirement in entry["resource"].get("dataRequirement", [])
    }
    seen = 0
    for name, requirement in asked.items():
        if requirement["type"] == "Patient":
            continue
        own = requirement["codeFilter"][0]["code"][0]
        concept = {"coding": [{key: own[key] for key in ("system", "code")}]}
        of_type: dict[str, Json] = {
            "Condition": {**condition("x"), "code": concept},
            "MedicationStatement": {
                "resourceType": "MedicationStatement",
                "id": "m",
                "status": "active",
                "subject": {"reference": "Patient/p"},
                "medicationCodeableConcept": concept,
            },
            "Observation": {
                "resourceType": "Observation",
                "id": "o",
                "status": "final",
                "subject": {"reference": "Patient/p"},
                "code": concept,
            },
        }
        given = of_type[requirement["type"]]
        if requirement["type"] == "Observation":
            quantity = executable.content.quantities.get(name)
            value: Json = {"valueBoolean": True}
            if quantity is not None:
                value = {"valueQuantity": {"value": 9, "unit": quantity.unit, "code": quantity.unit}}
            given = given | value
        record, _ = read_fhir(bundle(PATIENT, given), executable.content, TODAY)
        assert name in names(record), name
        seen += 1
    assert seen > 8


def test_an_answer_that_is_read_back_states_nothing(executable: ExecutableGuideline) -> None:
    given = bundle(PATIENT, condition(PERNICIOUS), NO_NEURO, medication("MedicationRequest", "4511", "active"))
    answer = executable.recommend(given, as_of=TODAY)
    made = answer.to_fhir()["entry"]
    kinds = {entry["resource"]["resourceType"] for entry in made}
    assert {"MedicationRequest", "GuidanceResponse", "DetectedIssue"} <= kinds
    both = executable.recommend({**given, "entry": given["entry"] + made}, as_of=TODAY)
    assert both.record == answer.record
    assert both.imported is not None
    assert {entry.of for entry in both.imported.ignored if "proposal" in entry.reason} == {"B12Treatment"}


def test_fhir_is_a_format_of_records(guideline: Guideline, executable: ExecutableGuideline, tmp_path: Path) -> None:
    document = bundle(PATIENT, condition(PERNICIOUS))
    wanted = read_fhir(document, guideline, TODAY)[0]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    lines = tmp_path / "p.ndjson"
    lines.write_text("\n".join(json.dumps(e["resource"]) for e in document["entry"]), encoding="utf-8")
    inputs: list[Any] = [document, path, lines, path.read_bytes()]
    for data in inputs:
        assert read(data, guideline, as_of=TODAY).record == wanted
    assert read(lines.read_bytes(), guideline, format="fhir", as_of=TODAY).record == wanted
    assert executable.validate(document, as_of=TODAY) == []
    with pytest.raises(InvalidRecord, match="asOf"):
        read(document, guideline)


def test_without_the_extra_it_is_said_what_to_install(guideline: Guideline, monkeypatch: pytest.MonkeyPatch) -> None:
    from b12kg.records import r4

    r4._model.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("fhir", "pydantic")]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("fhir", "pydantic"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=re.escape("b12kg[fhir]")):
        read_fhir(PATIENT, guideline, TODAY)


# ---- properties ------------------------------------------------------------------------------------

UNRELATED: list[Json] = [
    {"resourceType": "Claim", "id": "u1", "status": "active"},
    condition("195662009", "u2"),
    observation("8302-2", 183.9, "cm", id="u3"),
    {"resourceType": "Encounter", "id": "u4", "anything": [1, None, {"x": "y"}]},
    medication("MedicationRequest", "314076", "active", "u5"),
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, len(POOL) - 1)), st.randoms(use_true_random=False), st.data())
def test_order_repetition_and_unrelated_resources_change_nothing(
    executable: ExecutableGuideline, chosen: set[int], shuffled: random.Random, data: st.DataObject
) -> None:
    resources = [PATIENT, *(POOL[i] for i in sorted(chosen))]
    before = executable.recommend(bundle(*resources), as_of=TODAY)
    again = data.draw(st.lists(st.sampled_from([*resources, *UNRELATED]), max_size=6))
    more = [*resources, *copy.deepcopy(again)]
    shuffled.shuffle(more)
    after = executable.recommend(bundle(*more), as_of=TODAY)
    assert after.to_dict() == before.to_dict()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, len(POOL) - 1)))
def test_a_record_from_fhir_is_valid_and_reads_back(executable: ExecutableGuideline, chosen: set[int]) -> None:
    record, report = read_fhir(bundle(PATIENT, *(POOL[i] for i in sorted(chosen))), executable.content, TODAY)
    assert executable.recommend(record.as_given()).record.digest == record.digest
    in_report = {name for entries in listed(report).values() for name, _ in entries}
    wanted = {f"{POOL[i]['resourceType']}/{POOL[i]['id']}" for i in chosen} | {"Patient/p"}
    assert in_report == wanted


# Half a character; numbers that no Python value is written as stand between "@".
ODD = st.sampled_from(["\ud800", "a\udfff", "@1e999999999@", "@-0@", "@1E-400@", "@1e5@", "@" + "9" * 5000 + "@"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats(allow_nan=False) | st.text(max_size=8) | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


# Elements that a resource of the pool may lack, and what trips who expects them to be well-formed.
KEYS = ["contained", "_status", "_birthDate", "_id", "extension", "modifierExtension", "focus", "component", "meta"]
KEYS += ["medicationReference", "subject", "abatementPeriod", "effectivePeriod", "issued", "id", "resourceType", "text"]
WELL_NEARLY: list[Any] = [
    [{"resourceType": "Foo"}],
    [{"resourceType": 5}],
    [{"resourceType": None, "id": "a"}],
    [{"resourceType": "Patient", "id": "a"}],
    {"reference": "#a"},
    {"reference": "Medication/a"},
    {"start": "2024", "end": "2023"},
    {"extension": [{"url": "urn:x"}]},
    [{"url": "urn:x", "valueBoolean": True}],
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def assert_clear(reading: Callable[[], object]) -> None:
    """That it gives an answer, or an error with a place and a message."""
    problems: tuple[Problem, ...] = ()
    try:
        reading()
    except InvalidRecord as error:
        problems = error.problems
    assert all(problem.path and problem.message for problem in problems)


ODDITIES = JSON | st.sampled_from(WELL_NEARLY).map(copy.deepcopy)
CHANGES = st.tuples(
    st.integers(0, 1000), st.sampled_from(["change", "take away", "add"]), st.sampled_from(KEYS), ODDITIES
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(POOL), st.lists(CHANGES, min_size=1, max_size=3))
def test_a_change_anywhere_is_an_answer_or_a_clear_error(
    executable: ExecutableGuideline, resource: Json, changes: list[tuple[int, str, str, Any]]
) -> None:
    document = copy.deepcopy(bundle(PATIENT, resource))
    for number, change, new_key, value in changes:
        found = places(document)[1:]
        if not found:
            break
        path = found[number % len(found)]
        at: Any = document
        for key in path[:-1]:
            at = at[key]
        if change == "change":
            at[path[-1]] = value
        elif change == "take away":
            del at[path[-1]]
        elif isinstance(at, dict):
            at[new_key] = value
    text = json.dumps(document).replace('"@', "").replace('@"', "").encode()
    assert_clear(lambda: executable.recommend(text, format="fhir", as_of=TODAY))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.integers(0, 10_000), st.integers(0, 40))
def test_bytes_are_an_answer_or_a_clear_error(guideline: Guideline, junk: bytes, at: int, cut: int) -> None:
    whole = json.dumps(bundle(PATIENT, *POOL)).encode()
    at %= len(whole)
    for data in (junk, whole[:at] + junk + whole[at + cut :]):
        assert_clear(partial(read_fhir, data, guideline, TODAY))


@pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris, of which there is no wheel for this machine")
def test_bytes_that_take_new_paths_are_an_answer_or_a_clear_error(tmp_path: Path) -> None:
    runs = 30_000
    limits = ["-seed=1", f"-runs={runs}", "-max_total_time=120"]
    command = [sys.executable, "-m", "tests.fuzz_fhir", str(tmp_path), *limits]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"Done {runs} runs" in done.stderr
    assert len([*tmp_path.glob("*")]) > len(POOL)  # it found inputs that take other paths than the seeds


# ---- input that is refused ---------------------------------------------------------------------------

GOOD = json.dumps(bundle(PATIENT, condition(PERNICIOUS)))


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ("[]", "record: no FHIR resource"),
        ('{"resourceType": "Bundle", "type": "message"}', "Bundle.type"),
        ('{"resourceType": "Bundle", "type": "collection", "entry": {}}', "Bundle.entry: not a list"),
        ('{"resourceType": "Bundle", "type": "collection", "entry": [1]}', r"Bundle.entry\[0\]"),
        ('{"resourceType": "Bundle", "type": "collection"}', "about no patient"),
        (GOOD.replace('"Condition"', "7"), r"Bundle.entry\[1\].resource"),
        (GOOD.replace('"Condition"', '"condition"'), r"Bundle.entry\[1\].resource: no FHIR resource"),
        (GOOD.replace('"code": "84027009"', '"code": 84027009'), r"Condition/c at Bundle.entry\[1\].resource.code"),
        (GOOD.replace('"clinicalStatus"', '"clinicalState"'), "clinicalState: not valid in FHIR R4"),
        (GOOD.replace('"code": "active"', '"code": "lively"'), "clinicalStatus: no code of it"),
        (GOOD.replace('"id": "c"', '"id": "c", "onsetDateTime": "yesterday"'), "onsetDateTime"),
        (GOOD.replace('"id": "c"', '"id": "c", "id": "d"'), "key stated twice"),
        ('{"resourceType": "Patient", "id": "p"}\n{"resourceType": }', "line 2: line 1, column"),
        (GOOD.replace("1960-02-29", "1961-02-29"), "Patient/p at .*birthDate"),
    ],
)
def test_what_is_not_as_it_should_be_is_refused_by_its_place(data: str, place: str, guideline: Guideline) -> None:
    read_fhir(GOOD.encode(), guideline, TODAY)
    with pytest.raises(InvalidRecord, match=place):
        read_fhir(data.encode(), guideline, TODAY)


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        ({"value": 41, "unit": "g/dL"}, r"no unit of Hematocrit \(found: g/dL; accepted: %, L/L\)"),
        ({"value": 41}, "Hematocrit has no unit"),
        ({"value": 41, "unit": "per cent of Mrs Doe", "system": UCUM, "code": "%%"}, "no unit of Hematocrit"),
        ({"value": 41, "unit": "%", "system": "urn:other", "code": "p"}, None),
        ({"value": 41, "unit": "%", "comparator": "~"}, "comparator"),
    ],
)
def test_a_unit_is_never_guessed(quantity: Json, message: str | None, reads: Reads) -> None:
    seen = observation("4544-3", 41, "%", valueQuantity=quantity)
    if message is None:
        assert reads(seen)[0] == {"Hematocrit": "41"}
        return
    with pytest.raises(InvalidRecord, match=message) as error:
        reads(seen)
    assert "Observation/o at Bundle.entry[1].resource" in str(error.value)
    assert "Doe" not in str(error.value)


def test_objects_are_counted_over_all_patients(guideline: Guideline, monkeypatch: pytest.MonkeyPatch) -> None:
    document = bundle(PATIENT, condition(PERNICIOUS), condition(PERNICIOUS, "d", subject={"reference": "Patient/q"}))
    objects = 1 + 2 * 11  # of the Patient, and of each Condition
    monkeypatch.setattr("b12kg.records.fhir._OBJECTS", objects)
    assert len(read_patients(document, guideline, TODAY)) == 2
    monkeypatch.setattr("b12kg.records.fhir._OBJECTS", objects - 1)
    with pytest.raises(InvalidRecord, match="too many objects"):
        read_patients(document, guideline, TODAY)


@pytest.mark.parametrize("kind", ["Condition", "Medication"])
def test_levels_are_counted_before_a_resource_is_validated(kind: str, reads: Reads) -> None:
    def nested(times: int) -> Any:
        inner: Any = {"url": "urn:x", "valueBoolean": True}
        for _ in range(times):
            inner = {"url": "urn:x", "extension": [inner]}
        return [inner]

    given = medication("MedicationAdministration", "", "completed", medicationReference={"reference": "Medication/med"})
    del given["medicationCodeableConcept"]
    cobalamin = {"resourceType": "Medication", "id": "med", "code": coded(RXNORM, "5514")}
    one = condition(PERNICIOUS) if kind == "Condition" else cobalamin
    for times, message in ((28, ""), (29, r"nested too deeply \(found: 61; accepted: at most 60 levels\)")):
        resources = (one | {"extension": nested(times)}, *((given,) if one is cobalamin else ()))
        if message:
            with pytest.raises(InvalidRecord, match=message) as error:
                reads(*resources)
            assert len(error.value.problems) == 1
        else:
            assert len(reads(*resources)[0]) == 1


def test_no_data_of_the_patient_is_in_a_message(guideline: Guideline) -> None:
    secret = "Zaphod"
    wrong = {**PATIENT, "name": [{"family": secret, "given": secret}], "birthDate": secret, "gender": [secret]}
    with pytest.raises(InvalidRecord) as error:
        read_fhir(bundle(wrong, condition(PERNICIOUS, note=secret)), guideline, TODAY)
    assert len(error.value.problems) >= 3
    assert secret not in str(error.value)


def filled(entry: str, start: str = '{"resourceType":"Bundle","type":"collection","entry":[', end: str = "]}") -> bytes:
    return (start + ",".join([entry] * (9_900_000 // (len(entry) + 1))) + end).encode()


def contradictions() -> bytes:
    """Half of them say that it is so and half that it is not; and each by itself is as it should be."""
    return json.dumps(
        bundle(*(one(PERNICIOUS, id=f"{n}-{one.__name__}") for n in range(6000) for one in (condition, refuted)))
    ).encode()


def operations() -> bytes:
    """Each of many operations may have come after each of many facts."""
    pairs = [
        (procedure("70536003", f"20{n % 20:02}-{n % 12 + 1:02}", f"t{n}"), condition("431857002", f"k{n}"))
        for n in range(5500)
    ]
    return json.dumps(bundle(*(one for pair in pairs for one in pair))).encode()


def references() -> bytes:
    """Many references that may each be to one of many medicines."""
    medicines = [
        {"fullUrl": f"urn:uuid:{n}", "resource": {"resourceType": "Medication", "id": "m"}} for n in range(20_000)
    ]
    given: Json = {"resourceType": "MedicationStatement", "medicationReference": {"reference": "Medication/m"}}
    used = [{"resource": given | {"id": f"s{n}", "subject": {"reference": "Patient/p"}}} for n in range(20_000)]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [*medicines, *used]}).encode()


CODED = '"code":{"coding":[{"system":"http://snomed.info/sct","code":"84027009"}]},"subject":{"reference":"Patient/1"}'
HOSTILE: dict[str, Callable[[], bytes]] = {
    "deep lists": lambda: b"[" * 10_000_000,
    "deep enough to parse": lambda: b'{"resourceType":"Condition","extension":' + b"[" * 900 + b"]" * 900 + b"}",
    "deep extensions": lambda: (
        f'{{"resourceType":"Condition","id":"x",{CODED},"extension":'
        + '[{"url":"a","extension":' * 300
        + "[]"
        + "}]" * 300
        + "}"
    ).encode(),
    "too large": lambda: b" " * 20_000_000,
    "many numbers": lambda: b"[" + b"0," * 4_900_000 + b"0]",
    "many conditions": lambda: filled(f'{{"resource":{{"resourceType":"Condition",{CODED}}}}}'),
    "many bad conditions": lambda: filled(f'{{"resource":{{"resourceType":"Condition","x":1,{CODED}}}}}'),
    "many codings": lambda: filled(
        '{"system":"http://loinc.org","code":"4544-3"}',
        '{"resourceType":"Observation","subject":{"reference":"Patient/1"},"code":{"coding":[',
        "]}}",
    ),
    "many patients": lambda: filled('{"resource":{"resourceType":"Patient"},"fullUrl":"urn:uuid:1"}').replace(
        b':1"', b':2"', 1
    ),
    "many other lines": lambda: b'{"resourceType":"Claim","id":"1"}\n' * 299_000,
    "contradictions": lambda: contradictions(),
    "operations": lambda: operations(),
    "references to one of many": lambda: references(),
    "a number without end": lambda: f'{{"resourceType":"Observation",{CODED},"x":1e999999999}}'.encode(),
    "a long number": lambda: b'{"resourceType":"Observation","x":' + b"9" * 9_900_000 + b"}",
    "many lines": lambda: b'{"resourceType":"Patient"}' + b"\n" * 9_000_000 + b"1",
}


# Inputs that are as they should be, and hostile by what they say.
VALID = {"contradictions", "operations", "references to one of many"}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_input_is_refused_at_once(kind: str, guideline: Guideline) -> None:
    read_fhir(PATIENT, guideline, TODAY)
    data = HOSTILE[kind]()
    start = time.perf_counter()
    if kind in VALID:
        assert names(read_fhir(data, guideline, TODAY)[0]) == {}
    else:
        with pytest.raises(InvalidRecord):
            read_fhir(data, guideline, TODAY)
    assert time.perf_counter() - start < (4 if kind in VALID else 2)


@real
def test_ten_megabytes_are_read_in_time(executable: ExecutableGuideline) -> None:
    document = json.loads(BUNDLES[0].read_bytes())
    entries = [e for e in document["entry"] if e["resource"]["resourceType"] != "Patient"]
    copies = 10_000_000 // len(json.dumps(document))
    for number in range(copies - 1):
        for entry in copy.deepcopy(entries):
            entry["fullUrl"] += f"-{number}"
            document["entry"].append(entry)
    data = json.dumps(document, separators=(",", ":")).encode()
    assert len(data) > 8_000_000
    start = time.perf_counter()
    executable.recommend(data, as_of=TODAY)
    assert time.perf_counter() - start < 4
    tracemalloc.start()
    read_fhir(data, executable.content, TODAY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500 * 2**20
