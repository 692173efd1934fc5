"""A bulk export and the reader of single patients, patient by patient: the same facts, or the same refusal."""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b12kg.codes import load_codes
from b12kg.errors import InvalidRecord, UsageError
from b12kg.guideline import Guideline
from b12kg.record import facts
from b12kg.records.bundle import read_input
from b12kg.records.fhir import read_patients
from tests.cases import SHARED

pytest.importorskip("fhir.resources")
pytest.importorskip("duckdb")

from b12kg.records import bulk
from b12kg.records.bulk import Export, columns, number_of, read_bulk
from tests.fhir_resources import (
    BARIATRIC,
    DEFICIENCY,
    OWN,
    PERNICIOUS,
    RXNORM,
    SNOMED,
    TODAY,
    coded,
    condition,
    medication,
    observation,
    procedure,
    refuted,
    status,
)

Json = dict[str, Any]
Answer = tuple[dict[str, Any], set[str]] | tuple[str, ...]
REAL = SHARED / "fhir" / "bulk"
TYPES = frozenset(load_codes().policies.supplies)


# ---- both readers --------------------------------------------------------------------------------


def singly(lines: Iterable[str], guideline: Guideline, as_of: date = TODAY) -> dict[str, Answer]:
    """What the reader of single patients makes of each patient's own lines."""
    own: dict[str, list[str]] = {}
    named: dict[str, list[str]] = {}
    medicines: list[str] = []
    for line in lines:
        held = read_input(line.encode(), TYPES)
        for patient, (resource,) in held.patients.items():
            own.setdefault(patient, []).append(line)
            if "/" in resource.name:
                named.setdefault(resource.name, []).append(line)
        medicines += [line for resource, _ in held.others if resource.type == "Medication"]
    answers: dict[str, Answer] = {}
    for patient, mine in own.items():
        # A second resource of the name of one of the patient's is for both patients to be refused by.
        others = [line for twins in named.values() if {*twins} & {*mine} for line in twins]
        try:
            found = read_patients("\n".join({*mine, *others, *medicines}).encode(), guideline, as_of)[patient]
        except InvalidRecord as error:
            found = error
        if isinstance(found, InvalidRecord):
            answers[patient] = tuple(sorted(problem.message for problem in found.problems))
            continue
        record, _ = found
        known = facts(record, guideline)
        row: dict[str, Any] = {name: is_so for name, (is_so, _) in known.concepts.items()}
        row |= {name: number_of(measured, guideline) for name, measured in known.measurements.items()}
        answers[patient] = (row, {circumstance.of for circumstance in record.outside})
    return answers


def together(export: Export) -> dict[str, Answer]:
    """The same of an export."""
    names = export.features.columns[1:]
    answers: dict[str, Answer] = {
        patient: ({name: value for name, value in zip(names, values, strict=True) if value is not None}, set())
        for patient, *values in export.features.fetchall()
    }
    for patient, of in export.outside.fetchall():
        circumstances = answers[patient][1]
        assert isinstance(circumstances, set)
        circumstances.add(of)
    refused: dict[str, list[str]] = {}
    for patient, _, message, _, _ in export.rejects.fetchall():
        refused.setdefault(patient, []).append(message)
    assert answers.keys().isdisjoint(refused)
    return answers | {patient: tuple(sorted(messages)) for patient, messages in refused.items()}


def written(folder: Path, *resources: Json | str) -> list[str]:
    """The lines of an export of these resources, one file a type."""
    lines = [resource if isinstance(resource, str) else json.dumps(resource) for resource in resources]
    files: dict[str, list[str]] = {}
    for resource, line in zip(resources, lines, strict=True):
        name = "Odd" if isinstance(resource, str) else str(resource.get("resourceType", "Odd"))
        files.setdefault(name, []).append(line)
    for name, own in files.items():
        (folder / f"{name}.ndjson").write_text("\n".join(own) + "\n", encoding="utf-8")
    return lines


Compares = Callable[..., Export]


@pytest.fixture
def compares(guideline: Guideline, tmp_path: Path) -> Compares:
    """Writes an export of resources and compares both readers on it."""

    def compares(*resources: Json | str) -> Export:
        lines = written(tmp_path, *resources)
        export = read_bulk(tmp_path, guideline, TODAY)
        assert together(export) == singly(lines, guideline)
        return export

    return compares


def about(patient: str, resource: Json) -> Json:
    """The resource, about another patient, under an id of that patient's."""
    who = {"reference": f"Patient/{patient}"}
    key = "patient" if resource["resourceType"] == "AllergyIntolerance" else "subject"
    return {**resource, "id": f"{patient}-{resource['id']}", key: who}


def person(id: str = "p", **more: Any) -> Json:
    return {"resourceType": "Patient", "id": id, "birthDate": "1960-02-29", **more}


def row(export: Export, patient: str = "Patient/p") -> dict[str, Any]:
    (known, _) = together(export)[patient]
    assert isinstance(known, dict)
    return known


# ---- real ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.is_dir(), reason="the real export is not here")
def test_the_real_export(guideline: Guideline) -> None:
    lines = [line for path in sorted(REAL.glob("*.ndjson")) for line in path.read_text("utf-8").split("\n") if line]
    export = read_bulk(REAL, guideline, TODAY)
    expected = singly(lines, guideline)
    assert len(expected) == 13
    assert together(export) == expected
    assert any(outside for _, outside in expected.values())
    assert export.counts["lines"] == len(lines) == 4380
    assert export.counts["patientsReadSingly"] < 3
    assert export.counts["forms"] < 40  # of 600 lines


# ---- one thing at a time ---------------------------------------------------------------------------

NO_NEURO = observation("NeurologicalInvolvement", 1, "1", id="n", system=OWN, valueBoolean=False)
del NO_NEURO["valueQuantity"]
ORDER = medication("MedicationRequest", "4511", "active")
BY_REFERENCE = {k: v for k, v in ORDER.items() if k != "medicationCodeableConcept"} | {
    "medicationReference": {"reference": "Medication/folate"}
}
MEDICINE: Json = {"resourceType": "Medication", "id": "folate", "code": coded(RXNORM, "4511")}
CONTAINED = {**BY_REFERENCE, "medicationReference": {"reference": "#f"}, "contained": [{**MEDICINE, "id": "f"}]}
HCT = "4544-3"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([condition(PERNICIOUS)], {"PerniciousAnemia": True, "VitaminB12Deficiency": True}),
        (
            [refuted(DEFICIENCY)],
            dict.fromkeys(("PerniciousAnemia", "SevereVitaminB12Deficiency"), False) | {"VitaminB12Deficiency": False},
        ),
        ([condition(DEFICIENCY, verificationStatus=status("provisional"))], {}),
        ([condition(DEFICIENCY, clinical="resolved", abatementDateTime="2020-01-01")], {}),
        ([condition(DEFICIENCY, onsetDateTime="2026-01-16")], {}),
        ([condition(DEFICIENCY, onsetDateTime="2026-01-15T23:59:59Z")], {"VitaminB12Deficiency": True}),
        ([condition(DEFICIENCY), refuted(DEFICIENCY, id="r")], {}),
        ([condition(PERNICIOUS), refuted(DEFICIENCY, id="r")], {}),
        ([condition("46177005", onsetDateTime="2019-01-01"), procedure("70536003", on="2020-01-01")], {}),
        (
            [condition("46177005", onsetDateTime="2021-01-01"), procedure("70536003", on="2020-01-01")],
            {"RenalDysfunction": True},
        ),
        ([procedure(BARIATRIC)], {"BariatricSurgery": True}),
        (
            [NO_NEURO],
            dict.fromkeys(
                ("NeurologicalInvolvement", "SevereNeurologicalSymptoms", "SubacuteCombinedDegeneration"), False
            ),
        ),
        ([ORDER], {"FolicAcidTreatment": True}),
        ([BY_REFERENCE, MEDICINE], {"FolicAcidTreatment": True}),
        ([BY_REFERENCE, {**MEDICINE, "status": "entered-in-error"}], {}),
        ([BY_REFERENCE, {**MEDICINE, "code": coded(RXNORM, "1")}], {}),
        (
            [{**BY_REFERENCE, "medicationReference": {"reference": "http://x.example/Medication/folate"}}, MEDICINE],
            {"FolicAcidTreatment": True},
        ),
        ([CONTAINED], {"FolicAcidTreatment": True}),
        ([json.dumps(CONTAINED).replace("contained", r"cont\u0061ined")], {"FolicAcidTreatment": True}),
        (
            [json.dumps(BY_REFERENCE).replace("Medication/", r"Medication\/"), json.dumps(MEDICINE)],
            {"FolicAcidTreatment": True},
        ),
        (
            [{**BY_REFERENCE, "medicationReference": {"reference": "Medication/folate/_history/2"}}, MEDICINE],
            {"FolicAcidTreatment": True},
        ),
        ([observation(HCT, 0.349, "L/L")], {"Hematocrit": 34.9}),
        ([observation("2132-9", 0.2, "nmol/L")], {"SerumB12": 271.074}),
        (
            [observation(HCT, 34.9, "%", "2025-06-01"), observation(HCT, 36, "%", "2025-06-02", id="q")],
            {"Hematocrit": 36},
        ),
        ([observation(HCT, 34.9, "%", None), observation(HCT, 36, "%", "2025-06-02", id="q")], {}),
        ([observation(HCT, 34.9, "%", "2025-06"), observation(HCT, 36, "%", "2025-06-02", id="q")], {}),
        (
            [observation(HCT, 36, "%", "2025-06-02"), observation(HCT, 0.36, "L/L", "2025-06-02", id="q")],
            {"Hematocrit": 36},
        ),
        (
            [
                observation(HCT, 34, "%", "2025-06-02T23:00:00-10:00"),
                observation(HCT, 36, "%", "2025-06-03T01:00:00+10:00", id="q"),
            ],
            {"Hematocrit": 34},
        ),
        ([observation(HCT, "<35", "%")], {"Hematocrit": 34.99999999999999}),
        ([observation(HCT, "<36", "%")], {}),
        ([observation(HCT, 34, "%", "2020-01-01"), observation(HCT, "<36", "%", id="q")], {}),
        (
            [condition(DEFICIENCY, subject={"reference": "http://x.example/fhir/Patient/p"})],
            {"VitaminB12Deficiency": True},
        ),
        ([condition(DEFICIENCY, subject={"reference": "Patient/p/_history/2"})], {"VitaminB12Deficiency": True}),
        ([condition(DEFICIENCY, subject={"reference": "Group/p"})], {}),
        ([condition(DEFICIENCY, modifierExtension=[{"url": "http://x.example/not", "valueBoolean": True}])], {}),
        ([condition(DEFICIENCY, note=[{"text": "@ \u00e9 \u2028"}])], {"VitaminB12Deficiency": True}),
        ([json.dumps(condition(DEFICIENCY)).replace(DEFICIENCY, r"190\u003634004")], {"VitaminB12Deficiency": True}),
        (
            [json.dumps(condition("PerniciousAnemia", system=OWN)).replace("/", r"\/")],
            {"PerniciousAnemia": True, "VitaminB12Deficiency": True},
        ),
        (
            [condition("clinical/PerniciousAnemia", system="https://w3id.org/b12kg")],
            {"PerniciousAnemia": True, "VitaminB12Deficiency": True},
        ),
    ],
)
def test_what_resources_come_to(resources: list[Json | str], expected: Json, compares: Compares) -> None:
    assert row(compares(person(), *resources)) == expected


@pytest.mark.parametrize(
    "resource",
    [
        condition(DEFICIENCY, subject={"reference": "Patient/p"}, foo=1),
        condition(DEFICIENCY, recordedDate="2024-13-01"),
        condition(DEFICIENCY, onsetDateTime="yesterday"),
        condition(DEFICIENCY, encounter={"reference": 5}),
        condition(DEFICIENCY, clinicalStatus=status("sleeping", "condition-clinical")),
        {**condition(DEFICIENCY), "code": {"coding": {"system": SNOMED, "code": DEFICIENCY}}},
        {**condition(DEFICIENCY), "code": {"coding": [{"system": SNOMED, "code": 190634004}, {"code": DEFICIENCY}]}},
        observation(HCT, 36, "mg"),
        observation(HCT, 36.00000000000000000001, "%", status="none"),
        json.dumps(observation(HCT, 36, "%")).replace(": 36,", ": 36.00000000000000000001,"),
        json.dumps(condition(DEFICIENCY)).replace('"id":', '"recordedDate": "2020-01-01", "recordedDate": null, "id":'),
        json.dumps(condition(DEFICIENCY)).replace('"Patient/p"}', '"Patient/p",}'),
        person(birthDate="1960-02-30"),
        person(birthDate=1960),
    ],
)
def test_what_is_refused(resource: Json | str, guideline: Guideline, tmp_path: Path) -> None:
    mine = [resource] if isinstance(resource, dict) and resource["resourceType"] == "Patient" else [person(), resource]
    others = [person("q"), about("q", condition(PERNICIOUS))]
    written(tmp_path, *others, *mine)
    export = read_bulk(tmp_path, guideline, TODAY)
    found = together(export)
    lines = [part if isinstance(part, str) else json.dumps(part) for part in mine]
    refused: object = None
    try:
        refused = read_patients(
            "\n".join([*lines, json.dumps({"resourceType": "Basic"})]).encode(), guideline, TODAY
        ).get("Patient/p")
    except InvalidRecord as error:
        refused = error
    assert isinstance(refused, InvalidRecord)
    assert found == {
        "Patient/p": tuple(sorted(problem.message for problem in refused.problems)),
        "Patient/q": ({"PerniciousAnemia": True, "VitaminB12Deficiency": True}, set()),
    }
    line = lines[-1]
    file = next(path for path in tmp_path.iterdir() if line in path.read_text("utf-8").split("\n"))
    number = file.read_text("utf-8").split("\n").index(line) + 1
    for _, place, *_ in export.rejects.fetchall():
        assert f"{file.name} line {number}" in place
    assert export.counts["patientsRejected"] == 1


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ('{"resourceType":', "Odd.ndjson line 2"),
        ("[1]", "Odd.ndjson line 2"),
        ('{"id": "x"}', "Odd.ndjson line 2"),
        ('{"resourceType": "patient"}', "Odd.ndjson line 2"),
        ('{"resourceType": "Basic"} {"resourceType": "Basic"}', "Odd.ndjson line 2"),
        ('{"resourceType": "Basic", "x": "\ud800"}'.encode("utf-8", "surrogatepass").decode("latin-1"), None),
    ],
)
def test_a_line_that_may_be_about_anybody_is_refused(
    line: str, place: str | None, guideline: Guideline, tmp_path: Path
) -> None:
    written(tmp_path, person(), '{"resourceType": "Basic"}', line)
    if place is None:  # latin-1 of a half character is text of another kind, and no fault
        assert row(read_bulk(tmp_path, guideline, TODAY)) == {}
        return
    with pytest.raises(InvalidRecord) as refused:
        read_bulk(tmp_path, guideline, TODAY)
    assert refused.value.problems[0].path.startswith(place)


def test_an_export_that_refers_to_two_servers_is_refused(guideline: Guideline, tmp_path: Path) -> None:
    a, b = ({"reference": f"https://{server}.example/r4/Patient/p"} for server in "ab")
    written(tmp_path, person(), condition(DEFICIENCY, subject=a))
    assert together(read_bulk(tmp_path, guideline, TODAY))["Patient/p"] == ({"VitaminB12Deficiency": True}, set())
    (tmp_path / "More.ndjson").write_text(json.dumps(condition(PERNICIOUS, "other", subject=b)))
    with pytest.raises(InvalidRecord, match=r"several servers .found: https://a\.example/r4, https://b.example/r4"):
        read_bulk(tmp_path, guideline, TODAY)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (34, "%"),
        (34.5, "%"),
        (0, "%"),
        (0.34, "L/L"),
        (35.0001, "%"),
        (34.99999, "%"),
        (-1, "%"),
        (1e9, "%"),
        (3.5e1, "%"),
    ],
)
def test_a_number_is_that_of_its_line(value: float, unit: str, twice: bool, compares: Compares) -> None:
    ranged: Json = {"referenceRange": [{"low": {"value": 36, "unit": "%"}, "high": {"value": 46, "unit": "%"}}]}
    one = {**observation("4544-3", value, unit, "2025-01-02", id="v"), **(ranged if twice else {})}
    before = observation("4544-3", 40, "%", "2025-01-01", id="w", **ranged)
    other = about("q", observation("4544-3", 28, "%", "2025-01-02", id="x"))
    export = compares(person(), person("q"), one, before, other)
    assert export.counts["patients"] == 2


def test_a_number_of_several_spellings_is_one(guideline: Guideline, tmp_path: Path) -> None:
    one, two = (json.dumps(observation("4544-3", 34.5, "%", "2025-01-02", id=id)) for id in "ab")
    lines = written(tmp_path, person(), one, two.replace("34.5", "34.50"))
    assert "34.50" in lines[2]
    export = read_bulk(tmp_path, guideline, TODAY)
    assert together(export) == singly(lines, guideline)
    assert row(export) == {"Hematocrit": 34.5}


def test_a_name_that_stands_there_twice(guideline: Guideline, tmp_path: Path) -> None:
    lines = written(
        tmp_path,
        person(),
        condition(DEFICIENCY),
        condition("399261000"),  # the same id, and no code of the mapping
        person("q"),
        about("q", condition(PERNICIOUS)),
        about("q", condition(PERNICIOUS)),
        person("r"),
        person("r", birthDate="1970-01-01"),
    )
    found = together(read_bulk(tmp_path, guideline, TODAY))
    assert (
        found["Patient/p"]
        == found["Patient/r"]
        == ("another resource of the same id or fullUrl, or of neither, differs from it",)
    )
    assert found["Patient/q"] == ({"PerniciousAnemia": True, "VitaminB12Deficiency": True}, set())
    expected = singly([line for line in lines if '"q' in line], guideline)
    assert found["Patient/q"] == expected["Patient/q"]


def test_who_is_only_named_by_a_resource_has_a_row_and_nobody_is_lost(compares: Compares) -> None:
    encounter = {"resourceType": "Encounter", "id": "e", "subject": {"reference": "Patient/nobody"}}
    nobody = condition(DEFICIENCY, subject={"identifier": {"value": "7"}}, id="x")
    export = compares(person(), about("q", condition("399261000")), encounter, nobody)
    assert {patient for patient, *_ in export.features.fetchall()} == {"Patient/p", "Patient/q"}
    assert (export.counts["linesOfOtherTypes"], export.counts["linesAboutNobody"]) == (1, 1)
    assert export.counts["lines"] == 4


def test_what_can_state_no_fact_is_not_validated(guideline: Guideline, tmp_path: Path) -> None:
    """The one difference from the reader of single patients, which refuses both."""
    lines = written(tmp_path, person(telecom="none"), {**condition("399261000"), "code": "a text"})
    assert together(read_bulk(tmp_path, guideline, TODAY)) == {"Patient/p": ({}, set())}
    assert len(singly(lines, guideline)["Patient/p"]) == 2


def test_ages_and_allergies_stand_apart(compares: Compares) -> None:
    allergy: Json = {
        "resourceType": "AllergyIntolerance",
        "id": "a",
        "patient": {"reference": "Patient/p"},
        "code": coded(RXNORM, "5514"),
        "clinicalStatus": status("active", "allergyintolerance-clinical"),
        "verificationStatus": status("confirmed", "allergyintolerance-verification"),
    }
    births = ["2010-01-15", "2010-01-16", "2010", "2010-01", "2011", "2026-01-15", "2026-01-16"]
    people = [person(f"b{number}", birthDate=born) for number, born in enumerate(births)]
    export = compares(person(), allergy, *people, {k: v for k, v in person("none").items() if k != "birthDate"})
    children = {patient for patient, of in export.outside.fetchall() if of == "Child"}
    assert children == {"Patient/b1", "Patient/b4", "Patient/b5"}
    assert ("Patient/p", "CobalaminAllergy") in export.outside.fetchall()


@pytest.mark.parametrize("as_of", [date(2024, 2, 29), date(2025, 2, 28), date(2025, 3, 1), date(2024, 12, 31)])
def test_births_about_the_day_of_an_age(guideline: Guideline, tmp_path: Path, as_of: date) -> None:
    """Births are hidden between days of an age: each day about these, in leap years and others."""
    ages = {0, *load_codes().policies.ages.values()}
    assert len(ages) > 1
    days = {
        date(as_of.year - age - more, as_of.month, min(as_of.day, 28)) + timedelta(around)
        for age in ages
        for more in (0, 1)
        for around in range(-3, 5)
    }
    lines = written(tmp_path, *(person(f"b{day}", birthDate=day.isoformat()) for day in sorted(days)))
    found = together(read_bulk(tmp_path, guideline, as_of))
    assert found == singly(lines, guideline, as_of)
    assert len({str(sorted(map(str, answer))) for answer in found.values()}) > 1


def test_files_may_be_compressed_and_split(guideline: Guideline, tmp_path: Path) -> None:
    (tmp_path / "Patient.000.ndjson").write_text(json.dumps(person()) + "\n\n", encoding="utf-8")
    with gzip.open(tmp_path / "Condition.000.ndjson.gz", "wt") as file:
        file.write(
            json.dumps(condition(PERNICIOUS)) + "\r\n" + json.dumps(about("q", {**condition("1", id="d"), "code": 1}))
        )
    with gzip.open(tmp_path / "Condition.001.ndjson.gz", "wt") as file:
        file.write(json.dumps(about("q", condition(DEFICIENCY, foo=1))))
    export = read_bulk(tmp_path, guideline, TODAY)
    assert row(export) == {"PerniciousAnemia": True, "VitaminB12Deficiency": True}
    assert [place for _, place, *_ in export.rejects.fetchall()] == [
        "Condition.001.ndjson.gz line 1: Condition/q-c at Condition.foo"
    ]


def test_a_folder_without_an_export(guideline: Guideline, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file of a bulk export"):
        read_bulk(tmp_path, guideline, TODAY)


def test_columns_are_the_features_of_the_guideline(guideline: Guideline, compares: Compares) -> None:
    export = compares(person())
    assert dict(zip(export.features.columns[1:], map(str, export.features.types[1:]), strict=True)) == columns(
        guideline
    )
    assert {*guideline.concepts, *guideline.quantities} < {*columns(guideline)}


# ---- exports of all sorts --------------------------------------------------------------------------

GOOD_DATES = ["2019-05-02", "2025-06-01", "2025-06-02", "2026-01-15", "2026-01-16", "2025-06-01T10:00:00Z"]
GOOD_DATES += ["2025-06-01T23:30:00-11:00", "2025-06-02T01:00:00+13:00", "2026-01-15T23:00:00-05:00"]
ODD_DATES = ["2020-02-29", "2024", "2025-06", "1850-01-01", "2025-06-01T10:00:00.5Z"]
BAD_DATES = ["2025-06-01T10:00:00", "2025-02-30", "", "soon", "2025-06-01T24:00:00Z"]


def mostly(*groups: list[Any]) -> st.SearchStrategy[Any]:
    """One of the first group in most cases, of each other in few."""
    return st.integers(0, 29).flatmap(lambda n: st.sampled_from(groups[max(0, n + len(groups) - 30)]))


DATES = mostly(GOOD_DATES, ODD_DATES, BAD_DATES)
OF_CONCEPTS = [
    (SNOMED, DEFICIENCY),
    (SNOMED, PERNICIOUS),
    ("http://hl7.org/fhir/sid/icd-10-cm", "D51.9"),
    (SNOMED, "46177005"),
    (SNOMED, "70536003"),
    (SNOMED, BARIATRIC),
    (SNOMED, "77386006"),
    (OWN, "PlanningPregnancy"),
    (OWN, "NeurologicalInvolvement"),
    (OWN, "SubacuteCombinedDegeneration"),
]
ANY = [*sorted({*load_codes().matches}), (SNOMED, "399261000")]
UNITS = {
    "4544-3": ["%", "L/L"],
    "13965-9": ["umol/L", "nmol/mL", "\u00b5mol/L"],
    "2132-9": ["pg/mL", "pmol/L", "nmol/L"],
}
VALUES = mostly([34, 35, 36.0, 34.99999999999999, 0.35, 10, 9.9999999999999], [20, 0, -1, 1e22, None])
STATUSES = {
    type_: sorted({code for t, element, _, code in load_codes().policies.meanings if (t, element) == (type_, "status")})
    for type_ in TYPES
}
ODDITIES = [
    {"modifierExtension": [{"url": "http://x.example/y", "valueBoolean": True}]},
    {"implicitRules": "http://x.example/y"},
    {"encounter": {"reference": "Encounter/7"}},
    {"context": 7},
]


@st.composite
def any_resource(draw: st.DrawFn) -> Json:
    """A resource that may state a fact, of any status, dated in any way; one in some is not as it should be."""
    kind = draw(st.sampled_from(["Condition", "Condition", "Observation", "Procedure", "MedicationRequest"]))
    kind = draw(st.sampled_from([kind, kind, "MedicationStatement"]))
    more = draw(mostly([{}, {"note": [{"text": "seen", "time": "2025-01-01T00:00:00Z"}]}], ODDITIES))
    dates = draw(st.lists(DATES, max_size=2))
    if kind == "Condition":
        system, code = draw(mostly(OF_CONCEPTS, ANY))
        made = condition(
            code, system=system, clinical=draw(mostly(["active"], ["resolved", "inactive"], ["odd"])), **more
        )
        made["verificationStatus"] = status(
            draw(mostly(["confirmed", "refuted"], ["provisional"], ["entered-in-error"]))
        )
        if made["verificationStatus"]["coding"][0]["code"] == "entered-in-error":
            del made["clinicalStatus"]
        made |= dict(
            zip(draw(mostly([["recordedDate"]], [["onsetDateTime", "abatementDateTime"]])), dates, strict=False)
        )
    elif kind == "Observation" and draw(st.booleans()):
        code = draw(st.sampled_from(sorted(UNITS)))
        made = observation(code, draw(VALUES), draw(mostly(UNITS[code], ["mg", ""])), None, **more)
        made["valueQuantity"] |= draw(mostly([{}], [{"comparator": "<"}, {"comparator": ">="}], [{"comparator": "~"}]))
        made["status"] = draw(mostly(["final"], STATUSES[kind]))
        made |= dict(zip(("effectiveDateTime", "issued"), dates, strict=False))
    elif kind == "Observation":
        system, code = draw(mostly(OF_CONCEPTS, ANY))
        made = observation(code, 1, "1", None, system=system, valueBoolean=draw(st.booleans()), **more)
        del made["valueQuantity"]
        made |= dict(zip(("effectiveDateTime",), dates, strict=False))
    elif kind == "Procedure":
        system, code = draw(mostly(OF_CONCEPTS, ANY))
        made = procedure(code, system=system, **more)
        made["status"] = draw(mostly(["completed"], STATUSES[kind]))
        made |= dict(zip(("performedDateTime",), dates, strict=False))
    else:
        made = medication(kind, draw(st.sampled_from(["4511", "309594", "6809", "1"])), "active", **more)
        made["status"] = draw(mostly(["active"], STATUSES[kind]))
        made |= dict(zip(("authoredOn" if kind == "MedicationRequest" else "effectiveDateTime",), dates, strict=False))
    return made


@st.composite
def any_export(draw: st.DrawFn) -> list[Json]:
    births = mostly(["1960-01-01", "2015-02-03", None], ["2010", "2009-12"], ["", "1960-02-31", 7])
    resources: list[Json] = []
    for number in range(draw(st.integers(1, 12))):
        patient = f"p{number}"
        born = draw(births)
        resources.append(
            person(patient, birthDate=born) if born is not None else {"resourceType": "Patient", "id": patient}
        )
        for place, resource in enumerate(draw(st.lists(any_resource(), max_size=4))):
            resources.append(about(patient, {**resource, "id": f"{place}"}))
    return resources


@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
@given(resources=any_export())
def test_any_export_is_as_read_singly(
    resources: list[Json], guideline: Guideline, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("export")
    lines = written(folder, *resources)
    assert together(read_bulk(folder, guideline, TODAY)) == singly(lines, guideline)


def test_exports_of_all_sorts_are_of_all_sorts(guideline: Guideline) -> None:
    """So that the comparison above is one of facts and of refusals."""
    found: list[Answer] = []

    @settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=[*HealthCheck])
    @given(resources=any_export())
    def gather(resources: list[Json]) -> None:
        found.extend(singly(map(json.dumps, resources), guideline).values())

    gather()
    assert len(found) > 100
    assert sum(isinstance(known, dict) and bool(known) for known, *_ in found) > len(found) / 4
    assert sum(isinstance(known, str) for known, *_ in found) > len(found) / 50


# ---- an export made up for load ----------------------------------------------------------------------


def test_an_export_made_up_for_load(guideline: Guideline, tmp_path: Path) -> None:
    path = Path(__file__).parents[1] / "benchmarks" / "bulk_export.py"
    spec = importlib.util.spec_from_file_location("bulk_export", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    count = module.write_export(tmp_path, 400)
    lines = [line for file in sorted(tmp_path.iterdir()) for line in file.read_text("utf-8").splitlines()]
    assert len(lines) == count
    export = read_bulk(tmp_path, guideline, TODAY)
    expected = singly(lines, guideline)
    assert together(export) == expected
    assert len(expected) == 400
    assert sum(1 for known, *_ in expected.values() if known) > 100
    assert export.counts["patientsReadSingly"] < 5
    module.write_export(tmp_path / "again", 400)
    again = [line for file in sorted((tmp_path / "again").iterdir()) for line in file.read_text("utf-8").splitlines()]
    assert again == lines


# ---- seeded defects ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("_STATING", "moment[2:11] > $as_of", "$as_of = ''"),  # what is later than the record counts
        ("_STATING", "born <= day", "true"),  # nobody is a child
        ("_SETTLED", "bool_and(is_so) <> bool_or(is_so)", "false"),  # what contradicts is not noticed
        ("_SETTLED", "instant = max(instant)", "instant = min(instant)"),  # the first value counts
        ("_SETTLED", "bool_or(instant IS NULL) OR bool_or(is_timed) <> bool_and(is_timed)", "false"),
        ("_SETTLED", "UNION SELECT patient FROM stated JOIN facts USING (patient, of) WHERE kind = 'opens'", ""),
        ("_SETTLED", "UNION SELECT patient FROM facts WHERE kind = 'odd'", ""),
        ("_FACTS", "numbers[value_place]::DOUBLE) AS value", "1.0) AS value"),  # each value is that of the form
        ("_WITH_NUMBERS", "form_with_numbers(own.text)", "form_of(own.text)"),  # a number is not taken again
        (
            "_TEXTS",
            "WHERE has_code OR contains(text, '\\u')",
            "WHERE has_code",
        ),  # escaped codes are overlooked
        ("_TEXTS", "$with_medicines AND", "$with_medicines AND false AND"),  # and so are medicines that are referred to
    ],
)
def test_a_defect_is_noticed(
    name: str, right: str, wrong: str, guideline: Guideline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people: list[list[Json | str]] = [
        [condition(DEFICIENCY, onsetDateTime="2026-01-16")],
        [condition(DEFICIENCY), refuted(DEFICIENCY, id="r")],
        [observation(HCT, 34, "%", "2020-01-01"), observation(HCT, 36, "%", id="q")],
        [observation(HCT, 34, "%", None), observation(HCT, 36, "%", id="q")],
        [condition("46177005", onsetDateTime="2019-01-01"), procedure("70536003", on="2020-01-01")],
        [condition(DEFICIENCY, foo=1)],
        [observation("20570-8", 0.41, "L/L")],
        [json.dumps(condition(DEFICIENCY)).replace(DEFICIENCY, r"190\u003634004")],
        [BY_REFERENCE],
    ]
    resources: list[Json | str] = [MEDICINE, person("child", birthDate="2020-01-01")]
    for number, own in enumerate(people):
        patient = f"p{number}"
        resources.append(person(patient))
        for resource in own:
            if isinstance(resource, str):
                resources.append(resource.replace("Patient/p", f"Patient/{patient}"))
            else:
                resources.append(about(patient, resource))
    lines = written(tmp_path, *resources)
    expected = singly(lines, guideline)
    assert together(read_bulk(tmp_path, guideline, TODAY)) == expected
    query = getattr(bulk, name)
    assert query.count(right) == 1
    monkeypatch.setattr(bulk, name, query.replace(right, wrong))
    assert together(read_bulk(tmp_path, guideline, TODAY)) != expected
