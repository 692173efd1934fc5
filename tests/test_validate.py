"""What makes a record invalid or odd: each constraint of the shapes, and each problem in a record's own terms."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyshacl import validate as shacl
from rdflib import Graph, URIRef
from rdflib.namespace import OWL, RDF, SH

from b12kg.errors import InvalidGuideline, Problem
from b12kg.guideline import Guideline
from b12kg.iris import BASE, name_of
from b12kg.record import Record
from b12kg.records import read
from b12kg.resources import ONTOLOGY, SHAPES
from b12kg.validate import graph_of, normal_form, validate

TWINS = sorted((Path(__file__).parent / "shapes" / "record").glob("*.ttl"))
CONSTRAINTS = (
    "datatype",
    "minCount",
    "maxCount",
    "disjoint",
    "lessThanOrEquals",
    "minInclusive",
    "maxInclusive",
    "minExclusive",
    "maxExclusive",
)
LIMITS = ("minInclusive", "maxInclusive")


@pytest.fixture(scope="module")
def shapes() -> Graph:
    return Graph().parse(SHAPES / "record.ttl").parse(SHAPES / "clinical.ttl")


def problems_of(guideline: Guideline, **form: Any) -> list[Problem]:
    """What validation finds in a record that reads without a problem."""
    reading = read({"id": "urn:example:p", "asOf": "2026-01-15", **form}, guideline)
    assert reading.problems == ()
    return validate(reading.record, guideline)


def hematocrit(value: float, **more: str) -> dict[str, Any]:
    return {"of": "Hematocrit", "value": value, "unit": "%", **more}


def ileum(value: float, **more: str) -> dict[str, Any]:
    return {"of": "DistalIleumResected", "value": value, "unit": "cm", **more}


# ---- the shapes by themselves ------------------------------------------------------------------


def constraints_of(shapes: Graph) -> set[str]:
    return {
        f"{name_of(str(shape))}.{constraint}"
        for shape in shapes.subjects(RDF.type, SH.PropertyShape)
        for constraint in CONSTRAINTS
        if (shape, SH[constraint], None) in shapes
    }


def results(data: Graph, shapes: Graph) -> set[tuple[str, str, str]]:
    """Shape, constraint and severity of each result."""
    _, report, _ = shacl(data, shacl_graph=shapes)
    assert isinstance(report, Graph)
    found = set()
    for result in report.subjects(RDF.type, SH.ValidationResult):
        component = str(report.value(result, SH.sourceConstraintComponent)).removeprefix(str(SH))
        constraint = component[0].lower() + component.removesuffix("ConstraintComponent")[1:]
        shape = name_of(str(report.value(result, SH.sourceShape)))
        found.add((shape, constraint, str(report.value(result, SH.resultSeverity)).removeprefix(str(SH))))
    return found


def test_each_constraint_has_a_violating_twin(shapes: Graph) -> None:
    assert {twin.stem for twin in TWINS} == constraints_of(shapes)
    assert len(TWINS) == 27


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.stem)
def test_twin_violates_its_constraint(twin: Path, shapes: Graph) -> None:
    shape, _, constraint = twin.stem.partition(".")
    severity = "Warning" if shape.endswith("plausible") else "Violation"
    found = results(Graph().parse(twin), shapes)
    assert (shape, constraint, severity) in found
    # Nothing else is wrong with a twin, but that what is impossible is implausible as well.
    others = found - {(shape, constraint, severity)}
    assert others <= {(shape.replace("possible", "plausible"), constraint, "Warning")}


def test_a_limit_itself_is_within_it(shapes: Graph) -> None:
    checked = 0
    for shape in shapes.subjects(RDF.type, SH.PropertyShape):
        for constraint in LIMITS:
            limit = shapes.value(shape, SH[constraint])
            if limit is None:
                continue
            (node_shape,) = shapes.subjects(SH.property, shape)
            quantity = shapes.value(node_shape, SH.targetClass)
            assert quantity is not None
            data = Graph()
            data.add((URIRef("urn:x"), RDF.type, quantity))
            data.add((URIRef("urn:x"), URIRef(BASE + "value"), limit))
            assert (name_of(str(shape)), constraint) not in {found[:2] for found in results(data, shapes)}
            checked += 1
    assert checked == 12


def test_each_property_shape_says_what_is_wrong_and_how_badly(shapes: Graph) -> None:
    checked = list(shapes.subjects(RDF.type, SH.PropertyShape))
    assert len(checked) == 20
    for shape in checked:
        assert isinstance(shape, URIRef)
        assert all(shapes.value(shape, property_) is not None for property_ in (SH.name, SH.message, SH.severity))
        assert shapes.value(shape, SH.severity) in (SH.Violation, SH.Warning)


def test_shapes_use_the_core_language_only(shapes: Graph) -> None:
    beyond = (SH.sparql, SH.js, SH.rule, SH.target, SH.select, SH.expression)
    assert not [property_ for property_ in beyond if (None, property_, None) in shapes]


def test_each_target_is_a_class_that_exists(shapes: Graph, guideline: Guideline) -> None:
    declared = Graph().parse(ONTOLOGY / "vocabulary.ttl").parse(ONTOLOGY / "clinical.ttl")
    targets = set(shapes.objects(None, SH.targetClass))
    assert [target for target in targets if (target, RDF.type, OWL.Class) not in declared] == []
    assert {URIRef(quantity.iri) for quantity in guideline.quantities.values()} <= targets


# ---- problems in the record's own terms --------------------------------------------------------


def test_a_record_without_a_fault_has_no_problem(guideline: Guideline) -> None:
    form: dict[str, Any] = {
        "jurisdiction": "GB",
        "present": ["PerniciousAnemia", "PerniciousAnemia", {"of": "VitaminB12Deficiency", "on": "2026-01-15"}],
        "absent": ["NeurologicalInvolvement", "SevereVitaminB12Deficiency"],
        "measurements": [hematocrit(31, on="2026-01-14"), hematocrit(30, on="2026-01-15"), ileum(30)],
        "treatments": [{"of": "B12Treatment", "status": "started", "startedOn": "2026-01-15"}],
        "outsideSource": [{"of": "Pregnancy", "on": "2026-01-15"}],
    }
    assert problems_of(guideline, **form) == []


def test_present_and_absent_names_both_entries(guideline: Guideline) -> None:
    form = {"present": ["RenalDysfunction", "PlanningPregnancy"], "absent": ["BariatricSurgery", "PlanningPregnancy"]}
    (problem,) = problems_of(guideline, **form)
    assert problem.path == "absent[1]"
    assert problem.severity == "error"
    assert problem.message == "PlanningPregnancy is stated as present and as absent"
    assert "present[1] PlanningPregnancy" in problem.found
    assert "absent[1] PlanningPregnancy" in problem.found


def test_a_kind_present_with_its_parent_absent_names_both_and_the_relation(guideline: Guideline) -> None:
    (problem,) = problems_of(
        guideline, present=["PerniciousAnemia"], absent=["RenalDysfunction", "VitaminB12Deficiency"]
    )
    assert problem.path == "absent[1]"
    assert problem.severity == "error"
    assert "VitaminB12Deficiency is stated as absent while a kind of it is stated as present" in problem.message
    assert "present[0] PerniciousAnemia" in problem.found
    assert "absent[1] VitaminB12Deficiency" in problem.found
    assert "PerniciousAnemia is a kind of VitaminB12Deficiency" in problem.found


def test_a_parent_present_with_a_kind_absent_is_no_contradiction(guideline: Guideline) -> None:
    assert problems_of(guideline, present=["VitaminB12Deficiency"], absent=["PerniciousAnemia"]) == []


@pytest.mark.parametrize(
    ("status", "list_"), [("started", "absent"), ("stopped", "absent"), ("planned", "present"), ("never", "present")]
)
def test_a_treatment_that_contradicts_an_entry_names_both(status: str, list_: str, guideline: Guideline) -> None:
    form = {list_: ["B12TreatmentStarted"], "treatments": [{"of": "B12Treatment", "status": status}]}
    (problem,) = problems_of(guideline, **form)
    assert problem.message == "B12TreatmentStarted is stated as present and as absent"
    assert "treatments[0]" in problem.found
    assert f"B12Treatment {status}" in problem.found
    assert f"{list_}[0] B12TreatmentStarted" in problem.found


def test_two_treatments_that_contradict_each_other(guideline: Guideline) -> None:
    statuses = [{"of": "FolicAcid", "status": status} for status in ("planned", "never")]
    (problem,) = problems_of(guideline, treatments=statuses)
    assert problem.path == "treatments[1]"
    assert "treatments[0]" in problem.found


@pytest.mark.parametrize(
    ("list_", "entry"),
    [
        ("present", {"of": "PerniciousAnemia", "on": "2026-01-16"}),
        ("absent", {"of": "PerniciousAnemia", "on": "2026-01-16"}),
        ("outsideSource", {"of": "Pregnancy", "on": "2026-01-16"}),
        ("measurements", {"of": "Hematocrit", "value": 40, "unit": "%", "on": "2026-01-16"}),
        ("treatments", {"of": "B12Treatment", "status": "started", "on": "2026-01-16"}),
    ],
)
def test_an_entry_after_the_date_of_the_record(list_: str, entry: dict[str, Any], guideline: Guideline) -> None:
    (problem,) = problems_of(guideline, **{list_: [entry]})
    assert problem.path == f"{list_}[0]"
    assert problem.severity == "error"
    assert problem.message == "the entry is dated after the date of the record"
    assert "2026-01-16" in problem.found


def test_a_treatment_that_starts_after_the_date_of_the_record(guideline: Guideline) -> None:
    treatment = {"of": "B12Treatment", "status": "started", "startedOn": "2026-01-16"}
    (problem,) = problems_of(guideline, treatments=[treatment])
    assert problem.path == "treatments[0]"
    assert "starts after the date of the record" in problem.message
    assert "2026-01-16" in problem.found


@pytest.mark.parametrize(
    "entries",
    [
        [hematocrit(30, on="2026-01-10"), hematocrit(31, on="2026-01-10")],
        [hematocrit(30), hematocrit(31)],
        [hematocrit(30, on="2026-01-10"), hematocrit(31)],
        [hematocrit(31, comparator="<"), hematocrit(31)],
    ],
    ids=["same date", "no dates", "one date", "a bound"],
)
def test_different_values_that_no_date_tells_apart(entries: list[dict[str, Any]], guideline: Guideline) -> None:
    (problem,) = problems_of(guideline, measurements=entries)
    assert problem.path == "measurements[1]"
    assert problem.severity == "error"
    assert "different values of one quantity" in problem.message
    assert "measurements[0] and measurements[1]" in problem.found
    assert "31 %" in problem.found


@pytest.mark.parametrize(
    "entries",
    [
        [hematocrit(30, on="2026-01-10"), {"of": "Hematocrit", "value": 0.3, "unit": "L/L", "on": "2026-01-10"}],
        [hematocrit(30), hematocrit(30)],
        [hematocrit(30, on="2026-01-10"), hematocrit(31, on="2026-01-11")],
        [hematocrit(30), ileum(31)],
    ],
    ids=["same in another unit", "repeated", "two dates", "two quantities"],
)
def test_values_that_do_not_contradict(entries: list[dict[str, Any]], guideline: Guideline) -> None:
    assert problems_of(guideline, measurements=entries) == []


@pytest.mark.parametrize(
    ("of", "value", "unit", "message"),
    [
        ("DistalIleumResected", -1, "mm", "a length cannot be negative"),
        ("Homocysteine", -1, "umol/L", "a concentration cannot be negative"),
        ("SerumB12", -1, "pmol/L", "a concentration cannot be negative"),
        ("Hematocrit", -0.01, "L/L", "a share of a volume is from 0 to 100 %"),
        ("Hematocrit", 1.01, "L/L", "a share of a volume is from 0 to 100 %"),
    ],
)
def test_impossible_values_are_errors(of: str, value: float, unit: str, message: str, guideline: Guideline) -> None:
    errors = [
        problem
        for problem in problems_of(guideline, measurements=[{"of": of, "value": value, "unit": unit}])
        if problem.severity == "error"
    ]
    assert [problem.path for problem in errors] == ["measurements[0]"]
    assert message in errors[0].message


@pytest.mark.parametrize(
    ("of", "value", "unit", "found"),
    [
        ("DistalIleumResected", 4001, "mm", "4001 mm, which is 400.1 cm"),
        ("Homocysteine", 0.5, "umol/L", "0.5"),
        ("Homocysteine", 501, "µmol/L", "501"),
        ("Hematocrit", 0.04, "L/L", "0.04 L/L, which is 4 %"),
        ("Hematocrit", 76, "%", "76"),
        ("SerumB12", 9, "pg/mL", "9"),
        ("SerumB12", 10001, "ng/L", "10001"),
    ],
)
def test_implausible_values_are_warnings(of: str, value: float, unit: str, found: str, guideline: Guideline) -> None:
    (problem,) = problems_of(guideline, measurements=[{"of": of, "value": value, "unit": unit}])
    assert problem.severity == "warning"
    assert problem.path == "measurements[0]"
    assert problem.found.startswith(found)


@pytest.mark.parametrize(
    ("entry", "threshold", "found"),
    [
        (ileum(30, comparator="<"), "> 20 cm", "<30 cm"),
        (ileum(10, comparator=">"), "> 20 cm", ">10 cm"),
        (ileum(20, comparator=">="), "> 20 cm", ">=20 cm"),
        ({"of": "DistalIleumResected", "value": 300, "unit": "mm", "comparator": "<="}, "> 20 cm", "<=300 mm"),
        ({"of": "Homocysteine", "value": 10, "unit": "umol/L", "comparator": "<="}, ">= 10 umol/L", "<=10 umol/L"),
        (hematocrit(35, comparator="<="), "< 35 %", "<=35 %"),
    ],
)
def test_a_bound_that_straddles_a_threshold(
    entry: dict[str, Any], threshold: str, found: str, guideline: Guideline
) -> None:
    (problem,) = problems_of(guideline, measurements=[entry])
    assert problem.path == "measurements[0]"
    assert problem.severity == "error"
    assert problem.message.endswith(f"it leaves open whether {entry['of']} is {threshold}")
    assert problem.found == found


@pytest.mark.parametrize(
    "entry",
    [
        ileum(20, comparator="<="),
        ileum(20, comparator=">"),
        {"of": "Homocysteine", "value": 10, "unit": "umol/L", "comparator": "<"},
        {"of": "Homocysteine", "value": 10, "unit": "umol/L", "comparator": ">="},
        hematocrit(35, comparator=">="),
        hematocrit(35, comparator="<"),
        {"of": "SerumB12", "value": 150, "unit": "ng/L", "comparator": "<"},
    ],
)
def test_a_bound_on_one_side_of_each_threshold(entry: dict[str, Any], guideline: Guideline) -> None:
    assert problems_of(guideline, measurements=[entry]) == []


def test_problems_are_reported_together_in_the_same_order_each_time(guideline: Guideline) -> None:
    form: dict[str, Any] = {
        "present": ["PerniciousAnemia", {"of": "BariatricSurgery", "on": "2027-01-01"}],
        "absent": ["VitaminB12Deficiency"],
        "measurements": [ileum(-1), ileum(30, on="2026-01-01"), hematocrit(30, comparator=">")],
    }
    found = problems_of(guideline, **form)
    assert {problem.path for problem in found} == {
        "present[1]", "absent[0]", "measurements[0]", "measurements[1]", "measurements[2]"
    }  # fmt: skip
    assert [problems_of(guideline, **form) for _ in range(3)] == [found] * 3


# ---- validation that looked at nothing ---------------------------------------------------------


def with_shapes(guideline: Guideline, path: Path, text: str) -> Guideline:
    path.write_text(text)
    return dataclasses.replace(guideline, shapes=(path,))


def test_shapes_that_look_at_nothing_are_refused(tmp_path: Path, guideline: Guideline) -> None:
    text = "".join((SHAPES / name).read_text() for name in ("record.ttl", "clinical.ttl"))
    misspelt = text.replace("sh:targetClass b12:", "sh:targetClass b12:X").replace(
        "sh:targetClass clin:", "sh:targetClass b12:Y"
    )
    assert misspelt.count("sh:targetClass b12:X") == 3
    blind = with_shapes(guideline, tmp_path / "blind.ttl", misspelt)
    record = Record("urn:example:p", date(2026, 1, 15))
    assert validate(record, guideline) == []
    with pytest.raises(InvalidGuideline, match=r"blind\.ttl: a shape looks at no part of a record"):
        validate(record, blind)


def test_a_guideline_brings_shapes_of_its_own(tmp_path: Path, guideline: Guideline) -> None:
    path = tmp_path / "shapes.ttl"
    path.write_text(
        """
        @prefix b12: <https://w3id.org/b12kg/> .
        @prefix sh: <http://www.w3.org/ns/shacl#> .
        b12:Own a sh:NodeShape ; sh:targetClass b12:Record ; sh:property b12:Own-jurisdiction .
        b12:Own-jurisdiction a sh:PropertyShape ; sh:path b12:jurisdiction ; sh:minCount 1 ;
            sh:severity sh:Warning ; sh:message "no country is given" .
        """
    )
    own = dataclasses.replace(guideline, shapes=(*guideline.shapes, path))
    (problem,) = validate(Record("urn:example:p", date(2026, 1, 15)), own)
    assert (problem.message, problem.severity) == ("no country is given", "warning")


def test_the_normal_form_is_the_same_each_time(guideline: Guideline) -> None:
    form = {"id": "p", "asOf": "2026-01-15", "present": ["PerniciousAnemia"], "measurements": [ileum(30)]}
    record = read(form, guideline).record
    once, again = (
        sorted(graph_of(normal_form(record, guideline)).serialize(format="nt").splitlines()) for _ in range(2)
    )
    assert once == again
    assert len(once) > 15


# ---- what once went wrong ---------------------------------------------------------------------------


def test_a_single_misspelt_target_is_noticed(tmp_path: Path, guideline: Guideline) -> None:
    text = "".join((SHAPES / name).read_text() for name in ("record.ttl", "clinical.ttl"))
    blind = with_shapes(
        guideline,
        tmp_path / "one.ttl",
        text.replace("sh:targetClass clin:Hematocrit", "sh:targetClass clin:Hematocritt"),
    )
    record = read({"id": "p", "asOf": "2026-01-15", "measurements": [hematocrit(-3)]}, guideline).record
    with contextlib.suppress(InvalidGuideline):
        assert validate(record, blind) != []


@pytest.mark.parametrize(
    "entry", [ileum(0, comparator="<"), hematocrit(100, comparator=">")], ids=["below 0", "over 100 %"]
)
def test_a_bound_that_leaves_only_impossible_values(entry: dict[str, Any], guideline: Guideline) -> None:
    assert "error" in {problem.severity for problem in problems_of(guideline, measurements=[entry])}


def test_a_late_date_is_found_as_a_date(guideline: Guideline) -> None:
    (problem,) = problems_of(guideline, measurements=[hematocrit(40, on="2026-01-16")])
    assert problem.found == "2026-01-16"


def test_an_odd_value_is_found_as_reported(guideline: Guideline) -> None:
    (problem,) = problems_of(guideline, measurements=[{"of": "Hematocrit", "value": 0.04, "unit": "L/L"}])
    assert "0.04 L/L" in problem.found


def test_an_impossible_value_is_one_problem(guideline: Guideline) -> None:
    assert len(problems_of(guideline, measurements=[hematocrit(-3)])) == 1


def test_problems_stand_in_the_order_of_the_record(guideline: Guideline) -> None:
    late = {"on": "2026-01-16"}
    form: dict[str, Any] = {
        "present": [{"of": "PerniciousAnemia", **late}],
        "absent": [{"of": "PlanningPregnancy", **late}],
    }
    assert [problem.path for problem in problems_of(guideline, **form)] == ["present[0]", "absent[0]"]
