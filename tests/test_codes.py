"""The mapping of codes: check digits, units, declared subjects, and what must not establish anything.

Each check is a function from the rows to its findings, and is shown a row that it must find.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rdflib import RDF, RDFS, SKOS, Graph, URIRef

from b12kg.codes import Match, load_codes, read_mapping, read_policies
from b12kg.errors import InvalidGuideline
from b12kg.guideline import Guideline
from b12kg.iris import B12
from b12kg.resources import CODES, FHIR, ONTOLOGY
from tests.cases import SHARED

SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
ICD10, ICD10CM = "http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/icd-10-cm"
RXNORM, ATC, UCUM = (
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://www.whocc.no/atc",
    "http://unitsofmeasure.org",
)
IMP = B12 + "fhir/"
ROWS = read_mapping(CODES.read_text(encoding="utf-8"), CODES.name)
ROW = next(row for row in ROWS if row.system == SNOMED)


def graph() -> Graph:
    found = Graph()
    for name in ("clinical.ttl", "fhir.ttl", "vocabulary.ttl"):
        found.parse(ONTOLOGY / name, format="turtle")
    return found


GRAPH = graph()


# ---- check digits ------------------------------------------------------------------------------

# The permutation of Verhoeff's scheme; its other table is multiplication in the dihedral group of order 10.
PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def verhoeff(digits: str) -> bool:
    check = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        for _ in range(place % 8):
            digit = PERMUTATION[digit]
        turned, number = divmod(check, 5)
        if turned:
            check = (number - digit) % 5 + (5 if digit < 5 else 0)
        else:
            check = (number + digit) % 5 + (5 if digit >= 5 else 0)
    return check == 0


def mod10(code: str) -> bool:
    number, _, check = code.partition("-")
    doubled = [digit * (2 if place % 2 == 0 else 1) for place, digit in enumerate(map(int, reversed(number)))]
    return -sum(d // 10 + d % 10 for d in doubled) % 10 == int(check)


def test_the_check_digits_are_computed_right() -> None:
    assert verhoeff("84027009")
    assert verhoeff("236")  # the example of Verhoeff's scheme
    assert not any(verhoeff(f"8402700{digit}") for digit in range(9))
    assert mod10("4544-3")
    assert not any(mod10(f"4544-{digit}") for digit in (0, 1, 2, 4, 5, 6, 7, 8, 9))


# ---- checks: rows in, findings out ---------------------------------------------------------------

FORMS = {
    SNOMED: r"\d{6,18}",
    LOINC: r"\d{1,7}-\d",
    ICD10: r"[A-Z]\d\d(\.\d)?",
    ICD10CM: r"[A-Z]\d[\dA-Z](\.[\dA-Z]{1,4})?",
    RXNORM: r"\d{1,8}",
    ATC: r"[A-Z]\d\d[A-Z]{2}(\d\d)?",
    UCUM: r"%|[munp]?(g|mol|L|m)(/[munp]?(L|mol))?|cm|L/L",
}


def wrong_codes(rows: Iterable[Match]) -> Iterator[str]:
    for row in rows:
        if row.system not in FORMS or not re.fullmatch(FORMS[row.system], row.code):
            yield f"{row.system} {row.code}"
        elif (row.system == SNOMED and not verhoeff(row.code)) or (row.system == LOINC and not mod10(row.code)):
            yield f"{row.code}: check digit"


def repeated(rows: Iterable[Match]) -> Iterator[str]:
    seen: set[tuple[str, str, str]] = set()
    for row in rows:
        key = (row.iri, row.system, row.code)  # one row a pair: two relations of one pair would contradict each other
        if key in seen:
            yield f"{row.subject} {row.code}"
        seen.add(key)


def undeclared(rows: Iterable[Match]) -> Iterator[str]:
    kinds = {URIRef(B12 + kind) for kind in KINDS} | {URIRef(IMP + "Event")}
    for row in rows:
        if not set(GRAPH.objects(URIRef(row.iri), RDF.type)) & kinds:
            yield row.subject


KINDS = ("Concept", "Measurable", "Treatment", "OutsideSourceConcept", "Preparation", "Route", "UnitConversion")


def establishing(rows: Iterable[Match]) -> Iterator[str]:
    """Codes that are said to establish what they must not, by what is told of them, in words."""
    unspecific = re.compile(
        r"neuropathy|paresthesia|paraesthesia|myelopathy|disease of spinal cord|gastrectomy|bypass of stomach"
        r"|macrocytic|stage [12]\b|kidney disease, unspecified|kidney disease$|procreation|GFR"
        r"|display not verified",
        re.IGNORECASE,
    )
    for row in rows:
        bare = re.fullmatch(r"megaloblastic anemia", row.label, re.IGNORECASE)
        if row.establishes and not row.declined and (unspecific.search(row.label) or bare or row.code == "E53.8"):
            yield f"{row.subject} {row.code}"


CHECKS: dict[Callable[[Iterable[Match]], Iterator[str]], Match] = {
    wrong_codes: replace(ROW, code="84027008"),
    repeated: replace(ROW, relation="relatedMatch", label="again"),
    undeclared: replace(ROW, iri=B12 + "clinical/PerniciousAnaemia"),
    establishing: replace(ROW, relation="narrowMatch", label="Gastrectomy"),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_rows_pass(check: Callable[[Iterable[Match]], Iterator[str]]) -> None:
    assert len(ROWS) > 140
    assert list(check(ROWS)) == []


@pytest.mark.parametrize(("check", "defect"), CHECKS.items(), ids=[check.__name__ for check in CHECKS])
def test_a_defect_is_found(check: Callable[[Iterable[Match]], Iterator[str]], defect: Match) -> None:
    assert len(list(check([*ROWS, defect]))) == 1


@pytest.mark.parametrize(
    ("system", "code"), [(SNOMED, "193001"), (SNOMED, "432102001"), (LOINC, "4544-2"), (UCUM, "mcg")]
)
def test_a_wrong_code_is_found(system: str, code: str) -> None:
    assert len(list(wrong_codes([replace(ROW, system=system, code=code)]))) == 1


def test_each_label_is_that_of_the_ontology() -> None:
    with CODES.open(encoding="utf-8") as file:
        rows = list(csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t"))
    labels = {str(s): str(o) for s, o in GRAPH.subject_objects(RDFS.label)}
    assert len(rows) == len(ROWS)
    for row, match in zip(rows, ROWS, strict=True):
        assert row["subject_label"] == labels[match.iri]
        assert row["mapping_justification"] == "semapv:ManualMappingCuration"
        assert 0 < float(row["confidence"]) <= 1
        assert row["display_confidence"] in ("high", "medium", "low")
        assert row["code_source"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["mapping_date"])
        if row["display_confidence"] == "low":
            assert not match.establishes
        if not match.establishes:
            assert row["comment"], row
    assert [row["subject_id"] for row in rows] == sorted(row["subject_id"] for row in rows)


def test_units_are_those_of_the_ontology() -> None:
    units = {
        str(node): str(GRAPH.value(node, URIRef(B12 + "unit")))
        for node in GRAPH.subjects(RDF.type, URIRef(B12 + "UnitConversion"))
    }
    assert {row.iri: row.code for row in ROWS if row.system == UCUM} == units
    assert len(units) == 12


# ---- codes that others have verified, or found wrong ------------------------------------------------


def shared() -> dict[str, Any]:
    path = SHARED / "codes.json"
    if not path.is_file():
        pytest.skip("the verified codes are not here")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


# Verified codes that have no row, and why.
LEFT_OUT = {
    **dict.fromkeys(("43644", "43775", "44160", "44205"), "CPT is no terminology of the mapping"),
    "427074001": "its display has not been seen",
    "427980007": "its display has not been seen",
    "190633005": "of folate deficiency, which no record states",
    "85649008": "of folate deficiency, which no record states",
    "D52.9": "of folate deficiency, which no record states",
    "43339004": "of hypokalaemia, which no record states",
    "E87.6": "of hypokalaemia, which no record states",
    "K90.9": "malabsorption of anything",
    "Z71.3": "counselling about any diet",
    "34000006": "its display has not been verified",
    "K50": "of a disease, and of no operation",
    "K29.40": "of gastritis, which no record states",
    "K29.4": "of gastritis, which no record states",
    "2823-3": "potassium is no quantity of a record",
    "718-7": "haemoglobin is no quantity of a record, and says little about any",
    "787-2": "the volume of red cells is no quantity of a record, and says little about any",
    "2284-8": "folate is no quantity of a record",
    "34206005": "no offer is given subcutaneously",
    "47625008": "no offer is given intravenously",
    "46713006": "no offer is given by the nose",
}


def verified(found: object) -> Iterator[str]:
    """Every code that was verified, but those of terminologies with prefixes in their codes, such as MONDO."""
    if isinstance(found, dict):
        if isinstance(found.get("code"), str) and "source" in found and ":" not in found["code"]:
            yield found["code"]
        for value in found.values():
            yield from verified(value)
    elif isinstance(found, list):
        for value in found:
            yield from verified(value)


def test_every_verified_code_has_a_row_or_a_reason() -> None:
    data = shared()
    codes = {code for part in ("conditions", "drugs", "labs", "routes") for code in verified(data[part])}
    assert len(codes) > 80
    assert codes - {row.code for row in ROWS} == set(LEFT_OUT)


def test_no_code_that_is_known_to_be_wrong_has_a_row() -> None:
    mapped = {row.code: row.label for row in ROWS}
    found = shared()["wrong_codes_seen_in_public_code"]
    failing = [entry["code"] for entry in found if entry["why"].startswith("fails Verhoeff")]
    assert len(failing) == 5
    assert not set(failing) & mapped.keys()
    assert not any(verhoeff(code) for code in failing)
    # Right codes of which others say something wrong.
    assert mapped["11248"] == "vitamin B12"
    assert "Cobalamin" in mapped["14685-2"]


# ---- what single codes establish -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "code", "established", "suggested"),
    [
        (SNOMED, "84027009", ["PerniciousAnemia"], []),
        (SNOMED, "190634004", ["VitaminB12Deficiency"], []),
        (ICD10CM, "D51.0", ["PerniciousAnemia"], []),
        (ICD10CM, "E53.8", [], ["VitaminB12Deficiency"]),
        (ICD10, "E53.8", [], ["VitaminB12Deficiency"]),
        (ICD10CM, "O99.841", ["BariatricSurgery", "Pregnancy"], []),
        (ICD10CM, "O99.84", ["BariatricSurgery"], ["Pregnancy"]),
        (ICD10CM, "N18.30", ["RenalDysfunction"], []),
        (ICD10CM, "N18.2", [], ["RenalDysfunction"]),
        (SNOMED, "46177005", ["RenalDysfunction"], []),
        (SNOMED, "444165004", [], ["DistalIleumResected"]),
        (ATC, "V03AB33", [], []),
        ("urn:oid:2.16.840.1.113883.6.96", "84027009", ["PerniciousAnemia"], []),
    ],
)
def test_what_a_code_establishes(system: str, code: str, established: list[str], suggested: list[str]) -> None:
    found = load_codes().of(system, code)
    assert sorted(match.subject for match in found if match.establishes) == established
    assert sorted(match.subject for match in found if not match.establishes) == suggested


def test_renal_dysfunction_is_marked_as_our_reading() -> None:
    rows = [row for row in ROWS if row.subject == "RenalDysfunction" and row.establishes]
    assert len(rows) > 15
    assert all(row.editorial for row in rows)


# ---- policies ----------------------------------------------------------------------------------------


def test_every_subject_has_its_policies(guideline: Guideline) -> None:
    policies = load_codes().policies
    assert policies.endings.keys() == guideline.concepts.keys()
    assert sorted(policies.precedence.values()) == list(range(6))
    for (treatment, _, _), (status, _) in policies.treatments.items():
        assert status is None or status in guideline.treatments[treatment].statuses
    both = {(name, type_) for name, type_, _ in policies.treatments}
    types = {type_ for type_, kinds in policies.supplies.items() if "Treatment" in kinds} - {"AllergyIntolerance"}
    assert both == {(name, type_) for name in guideline.treatments for type_ in types}
    assert set(policies.allergies.values()) | policies.ages.keys() <= guideline.circumstances.keys()
    assert set(policies.events.values()) <= guideline.concepts.keys()
    assert policies.units["SerumB12"]["nmol/L"] == 1000 * guideline.quantities["SerumB12"].factors["pmol/L"]
    assert all(isinstance(f, Decimal) and f > 0 for units in policies.units.values() for f in units.values())


@pytest.mark.parametrize("type_", ["Condition", "AllergyIntolerance", "Procedure", "Observation"])
def test_every_kind_of_resource_can_be_ignored_as_an_error(type_: str) -> None:
    meanings = load_codes().policies.meanings
    coded = type_ in ("Condition", "AllergyIntolerance")
    element = "verificationStatus" if coded else "status"
    (claim,) = (
        claim for (t, e, _, c), (claim, _) in meanings.items() if (t, e, c) == (type_, element, "entered-in-error")
    )
    assert claim == "erroneous"


def test_a_status_that_is_a_concept_has_the_system_that_r4_names() -> None:
    systems = {(type_, element): system for type_, element, system, _ in load_codes().policies.meanings}
    terminology = "http://terminology.hl7.org/CodeSystem/"
    assert {key: system.removeprefix(terminology) for key, system in systems.items() if system} == {
        ("Condition", "clinicalStatus"): "condition-clinical",
        ("Condition", "verificationStatus"): "condition-ver-status",
        ("AllergyIntolerance", "clinicalStatus"): "allergyintolerance-clinical",
        ("AllergyIntolerance", "verificationStatus"): "allergyintolerance-verification",
    }


def test_every_term_of_the_policies_is_defined() -> None:
    own = Graph().parse(FHIR, format="turtle")
    terms = set(own.subjects(RDFS.isDefinedBy, URIRef(B12 + "fhir")))
    assert len(terms) > 90
    assert all(own.value(s, RDFS.label) and own.value(s, SKOS.definition) for s in terms)
    used = {p for p in own.predicates() if str(p).startswith(IMP)} | {
        o for o in own.objects() if str(o).startswith(IMP)
    }
    assert used <= terms


# ---- files that are not as they have to be -----------------------------------------------------------

HEAD, BODY = CODES.read_text(encoding="utf-8").split("\nclin:", 1)
LINE = "clin:" + BODY.splitlines()[0]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"{HEAD}\n{LINE.replace('skos:relatedMatch', 'skos:closeMatch')}", "predicate_id"),
        (f"{HEAD}\n{LINE.replace('clin:', 'clinical:')}", "subject_id"),
        (f"{HEAD.replace('subject_label', 'subject')}\n{LINE}", "not these columns"),
    ],
)
def test_a_mapping_that_is_not_as_it_has_to_be_is_refused(text: str, place: str) -> None:
    assert len(read_mapping(f"{HEAD}\n{LINE}", "m.tsv")) == 1
    with pytest.raises(InvalidGuideline, match=place):
        read_mapping(text, "m.tsv")


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("imp:means imp:excluded", "imp:means imp:denied", "denied"),
        ("    imp:below 16 ;\n", "", "below"),
        ("owl:Ontology ;", "owl:Ontology ,", "not Turtle"),
    ],
)
def test_policies_that_are_not_as_they_have_to_be_are_refused(tmp_path: Path, old: str, new: str, place: str) -> None:
    text = FHIR.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "fhir.ttl"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InvalidGuideline, match=place):
        read_policies(path)
