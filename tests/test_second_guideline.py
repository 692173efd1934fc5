"""A guideline about something else works without a line of Python, and the six steps of the README do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import b12kg
from b12kg.errors import InvalidGuideline, UnsupportedConstruct, UsageError
from b12kg.recommend import ExecutableGuideline
from tests.conftest import SECOND


@pytest.fixture(scope="module")
def second() -> ExecutableGuideline:
    return b12kg.load(SECOND)


def decisions(second: ExecutableGuideline, **stated: Any) -> dict[str, Any]:
    form: Any = second.recommend({"id": "urn:second", "asOf": "2026-01-15", **stated}).to_dict()
    found: dict[str, Any] = form["decisions"]
    return found


def degrees(value: float) -> list[dict[str, Any]]:
    return [{"of": "Temperature", "value": value, "unit": "Cel"}]


@pytest.mark.parametrize(
    ("stated", "status", "offers"),
    [
        ({"absent": ["Cold"], "measurements": degrees(37)}, "not-applicable", []),
        ({"present": ["Cold"], "absent": ["Flu"], "measurements": degrees(37.9)}, "choice", ["bed", "tea"]),
        ({"present": ["Flu"], "measurements": degrees(37)}, "recommended", ["sage-tea"]),
        ({"absent": ["Cold"], "measurements": degrees(38)}, "recommended", ["doctor"]),
        ({"present": ["Cold"], "absent": ["Flu"], "measurements": degrees(38)}, "conflict", []),
        ({"absent": ["Cold"], "measurements": degrees(40), "jurisdiction": "FR"}, "recommended", ["doctor"]),
        ({"absent": ["Cold"], "measurements": degrees(40.1), "jurisdiction": "FR"}, "recommended", ["bed"]),
        ({"absent": ["Cold"], "measurements": degrees(40.1), "jurisdiction": "DE"}, "recommended", ["doctor"]),
    ],
)
def test_care(second: ExecutableGuideline, stated: dict[str, Any], status: str, offers: list[str]) -> None:
    found = decisions(second, **stated)["Care"]
    assert (found["status"], found["recommended"]) == (status, offers)


def test_refinement_is_transitive_and_what_is_refined_is_no_alternative(second: ExecutableGuideline) -> None:
    found = decisions(second, present=["Flu"], measurements=degrees(37))["Care"]
    assert found["recommended"] == ["sage-tea"]
    assert found["alternatives"] == ["bed"]


def test_permitted_offers_alone_are_a_choice(second: ExecutableGuideline) -> None:
    found = decisions(second, present=["Thirst"])["Drink"]
    assert (found["status"], found["recommended"], found["alternatives"]) == ("choice", ["tea"], [])


def test_a_quantity_with_two_thresholds_has_three_bins(second: ExecutableGuideline) -> None:
    assert [b.label for b in second.content.bins_of("Temperature")] == [
        "< 38 Cel",
        ">= 38 Cel and <= 40 Cel",
        "> 40 Cel",
    ]
    found = decisions(second, absent=["Cold"], jurisdiction="FR")["Care"]
    assert found["missing"] == ["Temperature"]
    assert len(found["possible"]) == 3


def test_its_own_names_are_asked_for(second: ExecutableGuideline) -> None:
    (problem,) = second.validate({"id": "x", "asOf": "2026-01-15", "present": ["Fluh"]})
    assert problem.path == "present[0]"
    assert problem.accepted.startswith("Flu (perhaps that is meant)")


def test_its_text_form_names_its_own_words(second: ExecutableGuideline) -> None:
    text = second.recommend(
        {"id": "x", "asOf": "2026-01-15", "present": ["Flu"], "outsideSource": ["Holiday"]}
    ).to_text()
    assert "Sage tea" in text
    assert "Outside the source: holiday" in text
    assert "B12" not in text


# ---- the six steps of the README ---------------------------------------------------------------


def add(folder: Path, name: str, turtle: str) -> None:
    path = folder / name
    path.write_text(path.read_text(encoding="utf-8") + turtle, encoding="utf-8")


def test_a_rule_is_added_without_python(copy: Path) -> None:
    add(
        copy,
        "phenotypes.ttl",
        """
dro:PatientWithDeficiencyPlanningPregnancy a owl:Class , owl:NamedIndividual , b12:Phenotype ;
    rdfs:label "patient with deficiency who plans pregnancy"@en ;
    skos:definition "A patient with vitamin B12 deficiency who plans to become pregnant."@en ;
    b12:editorialReason "An example."@en ;
    owl:equivalentClass [ a owl:Class ; owl:intersectionOf (
        b12:Patient
        [ a owl:Restriction ; owl:onProperty b12:hasFinding ; owl:someValuesFrom clin:VitaminB12Deficiency ]
        [ a owl:Restriction ; owl:onProperty b12:hasFinding ; owl:someValuesFrom clin:PlanningPregnancy ] ) ] ;
    rdfs:isDefinedBy <https://w3id.org/b12kg/droracle-2025/phenotypes> .
""",
    )
    add(
        copy,
        "rules.ttl",
        """
dro:periodic-planning-pregnancy a owl:NamedIndividual , b12:Rule ;
    rdfs:label "periodic monitoring while planning pregnancy"@en ;
    skos:definition "Whoever plans pregnancy is checked every 3 months."@en ;
    b12:decision dro:PeriodicMonitoring ;
    b12:appliesTo dro:PatientWithDeficiencyPlanningPregnancy ;
    b12:modality b12:recommends ;
    b12:offers dro:b12-level-every-3-months ;
    prov:wasDerivedFrom dro:L40 ;
    rdfs:isDefinedBy <https://w3id.org/b12kg/droracle-2025/rules> .
""",
    )
    record = {"id": "x", "asOf": "2026-01-15", "present": ["VitaminB12Deficiency", "PlanningPregnancy"]}
    shipped, mine = b12kg.load(), b12kg.load(copy)
    assert shipped.recommend(record).decisions["PeriodicMonitoring"].status == "recommended"
    answer = mine.recommend(record).decisions["PeriodicMonitoring"]
    assert answer.status == "conflict"
    assert shipped.content.digest != mine.content.digest


# ---- guidelines that cannot be worked with -----------------------------------------------------


def edit(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("rules.ttl", "b12:modality b12:forbids ;", "", "folic-acid-after-b12 modality: missing"),
        ("rules.ttl", "dro:InitialTreatment a", "dro:InitialTreatmant a", "points to something that is not declared"),
        ("rules.ttl", "b12:order 1 ;", 'b12:order "first" ;', "InitialTreatment order: not a number (found: first"),
        ("phenotypes.ttl", "owl:unionOf", "owl:disjointUnionOf", "unsupported class expression"),
        ("thresholds.ttl", "xsd:minExclusive 20.0", "xsd:totalDigits 20", "unsupported facet"),
        ("document.ttl", "@prefix b12:", "@prefix b12", "document.ttl: not Turtle"),
        (
            "document.ttl",
            "dro:article a owl:NamedIndividual , b12:Document",
            "dro:article a owl:NamedIndividual",
            "a guideline has exactly one",
        ),
    ],
)
def test_a_broken_guideline_is_refused_by_name(copy: Path, name: str, old: str, new: str, message: str) -> None:
    edit(copy, name, old, new)
    with pytest.raises(InvalidGuideline) as caught:
        b12kg.load(copy)
    assert message in str(caught.value)


def test_an_owl_construct_without_meaning_is_refused_with_class_and_axiom(copy: Path) -> None:
    edit(copy, "phenotypes.ttl", "owl:someValuesFrom clin:PerniciousAnemia", "owl:allValuesFrom clin:PerniciousAnemia")
    with pytest.raises(
        UnsupportedConstruct, match=r"PatientWithPerniciousAnemia: unsupported class expression .*allValuesFrom"
    ):
        b12kg.load(copy)


def test_a_folder_without_turtle_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="droracle-2025"):
        b12kg.load(tmp_path)
