"""The views of SQL-on-FHIR: their structure, and what a runner of others makes of them beside the FHIR reader."""

from __future__ import annotations

import copy
import json
import re
from datetime import date
from typing import Any

import pytest

from b12kg.codes import load_codes
from b12kg.export_views import views
from b12kg.guideline import Guideline
from b12kg.records.fhir import read_fhir
from tests.fhir_resources import (
    DEFICIENCY,
    OWN,
    PATIENT,
    PERNICIOUS,
    TODAY,
    bundle,
    condition,
    medication,
    observation,
    procedure,
    refuted,
    status,
)

Json = dict[str, Any]
# What the profile for views that are shared asks of a view and of a column, and the functions that each runner has.
WANTED, OF_COLUMN = (
    {"url", "name", "fhirVersion", "resource", "status", "select"},
    {"name", "path", "type", "collection"},
)
FUNCTIONS = {
    "where",
    "exists",
    "empty",
    "not",
    "first",
    "ofType",
    "getResourceKey",
    "getReferenceKey",
    "extension",
    "join",
}


def test_each_view_is_as_the_specification_has_it(guideline: Guideline) -> None:
    found = views(guideline)
    assert len(found) > 50
    assert len({view["name"] for view in found}) == len({view["url"] for view in found}) == len(found)
    for view in found:
        assert view.keys() > WANTED
        assert view["resourceType"] == "ViewDefinition"
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", view["name"])
        assert view["resource"] in load_codes().policies.supplies
        columns = [column for select in view["select"] for column in select["column"]]
        assert all(column.keys() == OF_COLUMN for column in columns)
        assert len({column["name"] for column in columns}) == len(columns) >= 3
        paths = [*(column["path"] for column in columns), *(part["path"] for part in view["where"])]
        assert {name for path in paths for name in re.findall(r"(\w+)\(", path)} <= FUNCTIONS
        json.dumps(view, allow_nan=False)


def test_every_code_that_establishes_a_feature_is_in_a_view_of_it(guideline: Guideline) -> None:
    texts: dict[str, str] = {}
    for view in views(guideline):
        of = view["name"].partition("_")[0]
        texts[of] = texts.get(of, "") + json.dumps(view["where"])
    known = {*guideline.concepts, *guideline.quantities, *guideline.treatments, *guideline.circumstances}
    matches = [m for found in load_codes().matches.values() for m in found if m.establishes and m.subject in known]
    assert len(matches) > 50
    for match in matches:
        assert f"code = '{match.code}'" in texts[match.subject], match
    for match in (m for found in load_codes().matches.values() for m in found if not m.establishes):
        assert f"code = '{match.code}'" not in texts.get(match.subject, ""), match


# ---- by a runner of others ---------------------------------------------------------------------------


def no_finding(of: str, value: bool) -> Json:
    found = observation(of, 1, "1", id="b", system=OWN, valueBoolean=value)
    del found["valueQuantity"]
    return found


EACH = [
    condition(PERNICIOUS),
    condition(DEFICIENCY, system="urn:oid:2.16.840.1.113883.6.96"),
    condition(DEFICIENCY, verificationStatus=status("provisional")),
    condition(DEFICIENCY, clinical="resolved"),
    condition(DEFICIENCY, abatementDateTime="2020-01-01"),
    condition("53165003"),
    refuted(DEFICIENCY),
    refuted(PERNICIOUS),
    refuted("49472006"),
    condition("77386006"),
    condition(DEFICIENCY, modifierExtension=[{"url": "http://x.example/y", "valueBoolean": True}]),
    procedure("430715008"),
    procedure("430715008", status="not-done"),
    observation("4544-3", 34.9, "%"),
    observation("4544-3", 0.3, "L/L", status="preliminary"),
    observation("2132-9", 200, "pg/mL"),
    no_finding("NeurologicalInvolvement", False),
    no_finding("NeurologicalInvolvement", True),
    medication("MedicationRequest", "4511", "active"),
    medication("MedicationRequest", "4511", "active", intent="proposal"),
    medication("MedicationRequest", "11248", "active"),
    medication("MedicationAdministration", "309594", "completed"),
    medication("MedicationStatement", "309594", "active"),
    medication("MedicationStatement", "6809", "active"),
]


@pytest.mark.parametrize("resource", EACH, ids=lambda r: f"{r['resourceType']}-{EACH.index(r)}")
def test_a_view_has_the_resources_that_state_its_fact(resource: Json, guideline: Guideline) -> None:
    sqlonfhir = pytest.importorskip("sqlonfhir")
    rows: list[str] = []
    for view in views(guideline):
        rows += [view["name"]] * len(sqlonfhir.evaluate([copy.deepcopy(resource)], view))
    assert rows == stated(resource, guideline)


def stated(resource: Json, guideline: Guideline, as_of: date = TODAY) -> list[str]:
    """The names of the views in which the resource should be, by the reader."""
    record, _ = read_fhir(bundle(PATIENT, resource), guideline, as_of)
    type_ = resource["resourceType"]
    names = [f"{m.of}_{type_}_value" for m in record.measurements]
    names += [f"{c.of}_{type_}_outside" for c in record.outside]
    for statement in record.statements:
        of, states = statement.said_by or (statement.of, "present" if statement.present else "absent")
        names.append(f"{of}_{type_}_{states}")
    return sorted(names)


def test_the_resources_state_something_in_most_kinds(guideline: Guideline) -> None:
    names = [name for resource in EACH for name in stated(resource, guideline)]
    assert {name.rpartition("_")[2] for name in names} == {
        "present",
        "absent",
        "value",
        "outside",
        "started",
        "planned",
    }
    assert len([resource for resource in EACH if not stated(resource, guideline)]) >= 8
