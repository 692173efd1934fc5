"""Records in: what each reader accepts, what it says of everything else, and that the formats agree."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b12kg.countries import COUNTRIES
from b12kg.errors import InvalidRecord, Problem, UsageError
from b12kg.guideline import Guideline
from b12kg.iris import BASE
from b12kg.record import Record
from b12kg.records import read as read_any
from b12kg.records.json import KEYS
from b12kg.records.rdf import record_graph
from b12kg.records.schema import json_schema, jsonld_context
from b12kg.resources import EXAMPLES, ONTOLOGY
from b12kg.turtle import load_guideline
from b12kg.units import spellings, ucum
from b12kg.validate import validate

GUIDELINE = load_guideline()
LEAST = {"id": "urn:example:p", "asOf": "2026-01-15"}
EXAMPLE_FILES = sorted(EXAMPLES.glob("*.json"))
RDF_FORMATS = {"turtle": "turtle", "nt": "nt", "jsonld": "json-ld"}


def read(
    data: dict[str, Any] | str | bytes | Path, guideline: Guideline, format: str = "json", as_of: date | None = None
) -> tuple[Record, list[Problem]]:
    """As the reader under test, but that a str is the text of a record here, not the path of a file."""
    found = read_any(data.encode() if isinstance(data, str) else data, guideline, format=format, as_of=as_of)
    return found.record, [*found.problems]


def problems_of(**form: Any) -> list[Problem]:
    """What is wrong with how a record is written, that has an id and a date beside what is given."""
    return read(LEAST | form, GUIDELINE)[1]


def record_of(**form: Any) -> Record:
    record, problems = read(LEAST | form, GUIDELINE)
    assert problems == []
    return record


def measured(of: str, number: str, unit: str) -> str:
    """The JSON text of a record with one measurement, its number in these very digits."""
    return (
        f'{{"id": "p", "asOf": "2026-01-15", "measurements": [{{"of": "{of}", "value": {number}, "unit": "{unit}"}}]}}'
    )


# ---- what is read ------------------------------------------------------------------------------


def test_a_record_is_read_as_it_says() -> None:
    record = record_of(
        jurisdiction="GB",
        present=["PerniciousAnemia"],
        absent=[{"of": "NeurologicalInvolvement", "on": "2026-01-10", "source": "clinic letter"}],
        measurements=[
            {"of": "DistalIleumResected", "value": 300, "unit": "mm", "comparator": ">=", "on": "2019-05-02"}
        ],
        treatments=[{"of": "B12Treatment", "status": "started", "startedOn": "2026-01-11"}],
        outsideSource=["Pregnancy"],
    )
    present, absent, treated = record.statements
    assert (present.of, present.present, present.path) == ("PerniciousAnemia", True, "present[0]")
    assert (absent.of, absent.present, absent.on, absent.source) == (
        "NeurologicalInvolvement",
        False,
        date(2026, 1, 10),
        "clinic letter",
    )
    assert (treated.of, treated.present, treated.path) == ("B12TreatmentStarted", True, "treatments[0]")
    assert (treated.said_by, treated.started_on) == (("B12Treatment", "started"), date(2026, 1, 11))
    (measurement,) = record.measurements
    assert (measurement.value, measurement.unit, measurement.comparator) == (Decimal(300), "mm", ">=")
    assert measurement.canonical == 30
    assert [circumstance.of for circumstance in record.outside] == ["Pregnancy"]
    assert (record.jurisdiction, record.as_of) == ("GB", date(2026, 1, 15))


@pytest.mark.parametrize(
    ("treatment", "status", "concept", "present"),
    [
        ("B12Treatment", "planned", "B12TreatmentStarted", False),
        ("B12Treatment", "started", "B12TreatmentStarted", True),
        ("B12Treatment", "stopped", "B12TreatmentStarted", True),
        ("B12Treatment", "never", "B12TreatmentStarted", False),
        ("FolicAcid", "planned", "FolicAcidTreatment", True),
        ("FolicAcid", "started", "FolicAcidTreatment", True),
        ("FolicAcid", "stopped", "FolicAcidTreatment", False),
        ("FolicAcid", "never", "FolicAcidTreatment", False),
    ],
)
def test_a_status_states_a_concept(treatment: str, status: str, concept: str, present: bool) -> None:
    (statement,) = record_of(treatments=[{"of": treatment, "status": status}]).statements
    assert (statement.of, statement.present) == (concept, present)


@pytest.mark.parametrize(
    ("of", "value", "unit", "canonical"),
    [
        ("DistalIleumResected", 305, "mm", "30.5"),
        ("Hematocrit", 0.35, "L/L", "35"),
        ("Homocysteine", 10, "\u00b5mol/L", "10"),
        ("Homocysteine", 10, "\u03bcmol/L", "10"),
        ("SerumB12", 150, "pg/mL", "150"),
        ("SerumB12", 100, "pmol/L", "135.537"),
    ],
)
def test_a_value_is_turned_into_the_canonical_unit_exactly(of: str, value: float, unit: str, canonical: str) -> None:
    (measurement,) = record_of(measurements=[{"of": of, "value": value, "unit": unit}]).measurements
    assert measurement.canonical == Decimal(canonical)
    assert measurement.unit == ucum(unit)


def test_a_value_of_many_digits_is_not_rounded_across_a_threshold() -> None:
    text = measured("DistalIleumResected", "20.0000000000001", "cm")
    record, problems = read(text, GUIDELINE)
    assert problems == []
    assert record.measurements[0].canonical == Decimal("20.0000000000001")


def test_its_own_date_goes_before_the_given_one() -> None:
    given_date = date(2030, 1, 1)
    assert read({"id": "p", "asOf": "2026-01-15"}, GUIDELINE, as_of=given_date)[0].as_of == date(2026, 1, 15)
    record, problems = read({"id": "p"}, GUIDELINE, as_of=given_date)
    assert (record.as_of, problems) == (given_date, [])


def test_there_are_249_countries() -> None:
    assert len(COUNTRIES) == 249
    assert {"GB", "US", "FR"} <= COUNTRIES
    assert "UK" not in COUNTRIES


# ---- each problem, by place and words ----------------------------------------------------------

QUANTITY = {"of": "Hematocrit", "value": 40, "unit": "%"}


@pytest.mark.parametrize(
    ("form", "path", "message", "found", "accepted"),
    [
        pytest.param({"pressent": []}, "pressent", "unknown key", "", "present (perhaps that is meant)", id="key"),
        pytest.param(
            {"present": [{"of": "PerniciousAnemia", "value": 1}]},
            "present[0].value",
            "unknown key",
            "",
            "of, on, source",
            id="entry key",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"comparatr": "<"}]},
            "measurements[0].comparatr",
            "unknown key",
            "",
            "comparator (perhaps",
            id="measurement key",
        ),
        pytest.param({"id": ""}, "id", "no identifier", "", "a text", id="empty id"),
        pytest.param({"id": 7}, "id", "no identifier", "7", "a text", id="id a number"),
        pytest.param({"asOf": "15.01.2026"}, "asOf", "not a date", "15.01.2026", "YYYY-MM-DD", id="date form"),
        pytest.param({"asOf": "20260115"}, "asOf", "not a date", "20260115", "YYYY-MM-DD", id="date without hyphens"),
        pytest.param(
            {"asOf": "2026-01-15T10:00"}, "asOf", "not a date", "2026-01-15T10:00", "YYYY-MM-DD", id="date and time"
        ),
        pytest.param({"asOf": "2026-02-30"}, "asOf", "not a date", "2026-02-30", "YYYY-MM-DD", id="no such day"),
        pytest.param(
            {"asOf": "\u0662\u0660\u0662\u0666-01-15"},
            "asOf",
            "not a date",
            "\u0662\u0660\u0662\u0666-01-15",
            "YYYY-MM-DD",
            id="other digits",
        ),
        pytest.param({"asOf": 20260115}, "asOf", "not a date", "20260115", "YYYY-MM-DD", id="date a number"),
        pytest.param(
            {"present": "PerniciousAnemia"}, "present", "not a list", "PerniciousAnemia", "a list", id="no list"
        ),
        pytest.param({"present": [7]}, "present[0]", "not an entry", "7", "a name, or an object", id="entry a number"),
        pytest.param(
            {"measurements": ["Hematocrit"]},
            "measurements[0]",
            "not an entry",
            "Hematocrit",
            "an object with of, value, unit",
            id="bare measurement",
        ),
        pytest.param(
            {"treatments": ["B12Treatment"]},
            "treatments[0]",
            "not an entry",
            "B12Treatment",
            "an object with of, status",
            id="bare treatment",
        ),
        pytest.param(
            {"present": [{"on": "2026-01-01"}]},
            "present[0].of",
            "missing",
            "",
            "a name of a concept",
            id="entry without name",
        ),
        pytest.param(
            {"present": ["PerniciousAnaemia"]},
            "present[0]",
            "unknown name of a concept",
            "PerniciousAnaemia",
            "PerniciousAnemia (perhaps that is meant)",
            id="concept",
        ),
        pytest.param(
            {"absent": ["RenalDisfunction"]},
            "absent[0]",
            "unknown name of a concept",
            "RenalDisfunction",
            "RenalDysfunction (perhaps that is meant)",
            id="absent concept",
        ),
        pytest.param(
            {"outsideSource": ["Pregnant"]},
            "outsideSource[0]",
            "unknown name of a circumstance",
            "Pregnant",
            "Pregnancy (perhaps that is meant)",
            id="circumstance",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"of": "Haematocrit"}]},
            "measurements[0]",
            "unknown name of a quantity",
            "Haematocrit",
            "Hematocrit (perhaps that is meant)",
            id="quantity",
        ),
        pytest.param(
            {"treatments": [{"of": "FolicAcids", "status": "never"}]},
            "treatments[0]",
            "unknown name of a treatment",
            "FolicAcids",
            "FolicAcid (perhaps that is meant)",
            id="treatment",
        ),
        pytest.param(
            {"present": ["DistalIleumResected"]},
            "present[0]",
            "DistalIleumResected is a quantity, which goes under measurements",
            "DistalIleumResected",
            "",
            id="quantity present",
        ),
        pytest.param(
            {"absent": ["DistalIleumResected"]},
            "absent[0]",
            "DistalIleumResected is a quantity, which goes under measurements",
            "DistalIleumResected",
            "",
            id="quantity absent",
        ),
        pytest.param(
            {"present": ["FolicAcid"]},
            "present[0]",
            "FolicAcid is a treatment: it goes under treatments, with a status",
            "FolicAcid",
            "",
            id="treatment present",
        ),
        pytest.param(
            {"present": ["Pregnancy"]},
            "present[0]",
            "Pregnancy is a circumstance outside the source: it goes under outsideSource",
            "Pregnancy",
            "",
            id="circumstance present",
        ),
        pytest.param(
            {"absent": ["Pregnancy"]},
            "absent[0]",
            "Pregnancy is a circumstance outside the source: it goes under outsideSource",
            "Pregnancy",
            "",
            id="circumstance absent",
        ),
        pytest.param(
            {"outsideSource": ["RenalDysfunction"]},
            "outsideSource[0]",
            "RenalDysfunction is a concept: it goes under present or absent",
            "RenalDysfunction",
            "",
            id="concept outside",
        ),
        pytest.param(
            {"outsideSource": ["Hematocrit"]},
            "outsideSource[0]",
            "Hematocrit is a quantity, which goes under measurements",
            "Hematocrit",
            "",
            id="quantity outside",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"of": "PerniciousAnemia"}]},
            "measurements[0]",
            "PerniciousAnemia is a concept: it goes under present or absent",
            "PerniciousAnemia",
            "",
            id="concept measured",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"of": "FolicAcid"}]},
            "measurements[0]",
            "FolicAcid is a treatment: it goes under treatments",
            "FolicAcid",
            "",
            id="treatment measured",
        ),
        pytest.param(
            {"measurements": [{"of": "Hematocrit", "unit": "%"}]},
            "measurements[0].value",
            "missing",
            "",
            "a number",
            id="no value",
        ),
        pytest.param(
            {"measurements": [{"of": "Hematocrit", "value": 40}]},
            "measurements[0].unit",
            "Hematocrit has no unit; a unit is never guessed",
            "",
            "L/L, %",
            id="no unit",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"unit": "mg/L"}]},
            "measurements[0].unit",
            "no unit of Hematocrit",
            "mg/L",
            "L/L, %",
            id="wrong unit",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"unit": ["%"]}]},
            "measurements[0].unit",
            "no unit of Hematocrit",
            '["%"]',
            "L/L, %",
            id="unit a list",
        ),
        pytest.param(
            {"measurements": [{"of": "DistalIleumResected", "value": 3, "unit": "CM"}]},
            "measurements[0].unit",
            "no unit of DistalIleumResected",
            "CM",
            "cm, mm",
            id="case of a unit",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"value": "40"}]},
            "measurements[0].value",
            "not a number",
            "40",
            "a number, without quotes",
            id="value a text",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"value": True}]},
            "measurements[0].value",
            "not a number",
            "true",
            "a number",
            id="value a boolean",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"value": float("nan")}]},
            "measurements[0].value",
            "no number that JSON carries exactly",
            "NaN",
            "a finite number",
            id="value not a number",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"value": float("inf")}]},
            "measurements[0].value",
            "no number that JSON carries exactly",
            "Infinity",
            "a finite number",
            id="value infinite",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"comparator": "~"}]},
            "measurements[0].comparator",
            "unknown comparator",
            "~",
            "<, <=, >=, >",
            id="comparator",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"comparator": ["<"]}]},
            "measurements[0].comparator",
            "unknown comparator",
            '["<"]',
            "<, <=, >=, >",
            id="comparator a list",
        ),
        pytest.param(
            {"measurements": [QUANTITY | {"on": "yesterday"}]},
            "measurements[0].on",
            "not a date",
            "yesterday",
            "YYYY-MM-DD",
            id="date of a measurement",
        ),
        pytest.param(
            {"present": [{"of": "PerniciousAnemia", "source": 3}]},
            "present[0].source",
            "not a text",
            "3",
            "words or an IRI",
            id="source a number",
        ),
        pytest.param(
            {"treatments": [{"of": "B12Treatment"}]},
            "treatments[0].status",
            "missing",
            "",
            "never, planned, started, stopped",
            id="no status",
        ),
        pytest.param(
            {"treatments": [{"of": "B12Treatment", "status": "ongoing"}]},
            "treatments[0].status",
            "unknown status",
            "ongoing",
            "never, planned, started, stopped",
            id="status",
        ),
        pytest.param(
            {"treatments": [{"of": "B12Treatment", "status": "planned", "startedOn": "2026-01-01"}]},
            "treatments[0].startedOn",
            "planned has no start",
            "2026-01-01",
            "a status of started, stopped",
            id="planned with a start",
        ),
        pytest.param(
            {"treatments": [{"of": "FolicAcid", "status": "never", "startedOn": "2026-01-01"}]},
            "treatments[0].startedOn",
            "never has no start",
            "2026-01-01",
            "a status of started, stopped",
            id="never with a start",
        ),
        pytest.param(
            {"jurisdiction": "UK"},
            "jurisdiction",
            "no country code",
            "UK",
            "GB, the code of the United Kingdom",
            id="UK",
        ),
        pytest.param({"jurisdiction": "uk"}, "jurisdiction", "no country code", "uk", "GB", id="uk in lower case"),
        pytest.param({"jurisdiction": "us"}, "jurisdiction", "no country code", "us", "US", id="lower case"),
        pytest.param(
            {"jurisdiction": "XX"}, "jurisdiction", "no country code", "XX", "ISO 3166-1 alpha-2", id="no country"
        ),
        pytest.param(
            {"jurisdiction": "GBR"}, "jurisdiction", "no country code", "GBR", "ISO 3166-1 alpha-2", id="three letters"
        ),
        pytest.param(
            {"jurisdiction": ["GB"]}, "jurisdiction", "no country code", '["GB"]', "ISO 3166-1 alpha-2", id="a list"
        ),
    ],
)
def test_each_fault_has_a_problem_of_its_own(
    form: dict[str, Any], path: str, message: str, found: str, accepted: str
) -> None:
    (problem,) = problems_of(**form)
    assert problem.path == path
    assert message in problem.message
    assert found in problem.found
    assert accepted in problem.accepted
    assert problem.severity == "error"


@pytest.mark.parametrize(
    ("form", "path", "accepted"),
    [({"asOf": "2026-01-15"}, "id", "a text"), ({"id": "p"}, "asOf", "a date, YYYY-MM-DD")],
)
def test_what_every_record_states(form: dict[str, Any], path: str, accepted: str) -> None:
    (problem,) = read(form, GUIDELINE)[1]
    assert problem.path == path
    assert problem.message.startswith("missing")
    assert accepted in problem.accepted


@pytest.mark.parametrize("number", ["1e400", "0.1234567890123456789", "9007199254740993", "1" * 400, "1e-400"])
def test_a_number_that_a_double_does_not_carry(number: str) -> None:
    text = measured("SerumB12", number, "ng/L")
    (problem,) = read(text, GUIDELINE)[1]
    assert problem.path == "measurements[0].value"
    assert problem.message == "no number that JSON carries exactly"


@pytest.mark.parametrize(
    ("data", "path", "message", "found"),
    [
        pytest.param("{", "line 1, column 2", "not JSON", "", id="cut off"),
        pytest.param('{"id": "p",\n "asOf" "2026-01-15"}', "line 2, column 9", "not JSON", "", id="no colon"),
        pytest.param("", "line 1, column 1", "not JSON", "", id="empty"),
        pytest.param("[]", "record", "not an object", "[]", id="a list"),
        pytest.param('"p"', "record", "not an object", "p", id="a text"),
        pytest.param('{"id": "p", "id": "q"}', "id", "key stated twice", "", id="key twice"),
        pytest.param('{"": "p", "": "q"}', "an empty key", "key stated twice", "", id="empty key twice"),
        pytest.param(
            '{"measurements": [{"unit": "%", "unit": "L/L"}]}',
            "unit",
            "key stated twice",
            "",
            id="key of an entry twice",
        ),
        pytest.param('{"measurements": [{"value": NaN}]}', "record", "no number of JSON", "NaN", id="NaN"),
        pytest.param(
            '{"measurements": [{"value": -Infinity}]}', "record", "no number of JSON", "-Infinity", id="infinity"
        ),
        pytest.param("[" * 100_000, "record", "nested too deeply", "", id="lists in lists"),
        pytest.param('{"a":' * 100_000, "record", "nested too deeply", "", id="objects in objects"),
        pytest.param(b'{"id": "\xe9"}', "byte 8", "not UTF-8", "", id="Latin-1"),
        pytest.param(" " * (10 * 1024 * 1024 + 1), "record", "too large", "10485761 bytes", id="too large"),
    ],
)
def test_data_of_which_nothing_can_be_made(data: str | bytes, path: str, message: str, found: str) -> None:
    with pytest.raises(InvalidRecord) as raised:
        read(data, GUIDELINE)
    (problem,) = raised.value.problems
    assert problem.path == path
    assert message in problem.message
    assert found in problem.found


def test_problems_are_reported_together_and_the_rest_is_read() -> None:
    record, problems = read(
        {
            "asof": "2026-01-15",
            "jurisdiction": "UK",
            "present": ["PerniciousAnaemia", "BariatricSurgery"],
            "measurements": [{"of": "Hematocrit", "value": 40}, {"of": "Homocysteine", "value": 9, "unit": "umol/L"}],
            "treatments": [{"of": "B12Treatment", "status": "ongoing"}],
        },
        GUIDELINE,
    )
    assert {problem.path for problem in problems} == {
        "asof", "id", "asOf", "jurisdiction", "present[0]", "measurements[0].unit", "treatments[0].status"
    }  # fmt: skip
    assert [(s.of, s.path) for s in record.statements] == [("BariatricSurgery", "present[1]")]
    assert [m.path for m in record.measurements] == ["measurements[1]"]


def test_problems_of_reading_and_of_validation_are_reported_together() -> None:
    form: dict[str, Any] = {"present": ["PerniciousAnemia", "Nothing"], "absent": ["VitaminB12Deficiency"]}
    record, unread = read({**LEAST, **form}, GUIDELINE)
    assert [problem.path for problem in (*unread, *validate(record, GUIDELINE))] == ["present[1]", "absent[0]"]


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="json, turtle, nt, jsonld"):
        read("<rdf:RDF/>", GUIDELINE, format="xml")


def test_a_path_is_read_by_its_suffix() -> None:
    (twin,) = EXAMPLES.glob("*.ttl")
    assert read_any(str(twin), GUIDELINE).record == read_any(twin.with_suffix(".json"), GUIDELINE).record


def test_a_file_that_is_not_there_is_a_mistake_of_the_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.json"):
        read_any(tmp_path / "none.json", GUIDELINE)


# ---- RDF ---------------------------------------------------------------------------------------

PREFIXES = """
@prefix b12: <https://w3id.org/b12kg/> .
@prefix clin: <https://w3id.org/b12kg/clinical/> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""
HEAD = PREFIXES + '<urn:example:p> a b12:Record ; b12:asOf "2026-01-15"^^xsd:date '


def refused(text: str, format: str = "turtle") -> tuple[Problem, ...]:
    """Every problem of an RDF text, whether it stops the reading or not; there is one at least."""
    try:
        record, problems = read(text, GUIDELINE, format=format)
    except InvalidRecord as error:
        return error.problems
    found = (*problems, *validate(record, GUIDELINE))
    assert found
    return found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(HEAD + "; b12:presnt clin:PerniciousAnemia .", "presnt", id="unknown property"),
        pytest.param(HEAD + "; <http://example.org/note> 1 .", "http://example.org/note", id="foreign property"),
        pytest.param(HEAD + "; a <http://example.org/Case> .", "http://example.org/Case", id="foreign class"),
        pytest.param(
            HEAD + "; b12:present [ b12:of clin:PerniciousAnemia ; b12:refuted true ] .",
            "refuted",
            id="unknown property of an entry",
        ),
        pytest.param(
            HEAD + '. <urn:example:other> <http://example.org/note> "x" .', "urn:example:other", id="another subject"
        ),
        pytest.param(
            HEAD + ". clin:PerniciousAnemia b12:status 'refuted' .", "PerniciousAnemia", id="something of a concept"
        ),
        pytest.param(HEAD + ', "2026-01-16"^^xsd:date .', "2026-01-16", id="two dates"),
        pytest.param(HEAD + ". <urn:example:q> a b12:Record .", "2 records", id="two records"),
        pytest.param(PREFIXES, "no record", id="no record"),
        pytest.param(
            HEAD + "; b12:present <http://example.org/PerniciousAnemia> .",
            "http://example.org/PerniciousAnemia",
            id="another namespace",
        ),
        pytest.param(HEAD + "; b12:present clin:Hematocrit .", "Hematocrit is a quantity", id="quantity present"),
        pytest.param(
            HEAD + '; b12:measurement [ b12:of clin:Hematocrit ; b12:value "x" ; b12:unit "%" ] .',
            "not a number",
            id="value a word",
        ),
        pytest.param(HEAD + "; b12:measurement [ b12:of clin:Hematocrit ; b12:value 40.0 ] .", "unit", id="no unit"),
        pytest.param(
            HEAD + "; b12:present clin:PerniciousAnemia ; b12:absent clin:PerniciousAnemia .",
            "present and as absent",
            id="contradiction",
        ),
        pytest.param(HEAD + "; .. ", "not turtle", id="not Turtle"),
        pytest.param(HEAD + "; b12:present " + "[" * 5000, "not turtle", id="nested"),
        pytest.param('<?xml version="1.0"?><rdf:RDF/>', "RDF/XML is not read", id="XML"),
    ],
)
def test_turtle_that_is_no_record(text: str, words: str) -> None:
    assert words in "\n".join(map(str, refused(text)))


@pytest.mark.parametrize(
    "context",
    [
        "http://example.org/context.jsonld",
        ["http://example.org/context.jsonld"],
        {"@import": "http://example.org/context.jsonld"},
        {"x": {"@id": "http://example.org/x", "@context": "http://example.org/context.jsonld"}},
    ],
    ids=["remote", "in a list", "import", "scoped"],
)
def test_a_context_is_not_fetched(context: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", connect)
    for form in (LEAST | {"@context": context}, LEAST | {"present": [{"of": "PerniciousAnemia", "@context": context}]}):
        (problem,) = refused(json.dumps(form), "jsonld")
        assert "@context" in problem.path
        assert "not fetched" in problem.message or problem.message == "unknown key"


def test_a_record_without_a_context_and_with_the_shipped_one_are_the_same_json_ld() -> None:
    form = LEAST | {"present": ["PerniciousAnemia"]}
    for context in ({}, {"@context": BASE + "record.context.jsonld"}, jsonld_context(GUIDELINE)):
        record, problems = read(json.dumps(context | form), GUIDELINE, format="jsonld")
        assert problems == []
        assert record.to_dict() == record_of(present=["PerniciousAnemia"]).to_dict()


# ---- schema, context, examples -----------------------------------------------------------------


def test_the_shipped_schema_and_context_are_those_of_the_shipped_guideline() -> None:
    assert json.loads((ONTOLOGY / "record.schema.json").read_text()) == json_schema(GUIDELINE)
    assert json.loads((ONTOLOGY / "record.context.jsonld").read_text()) == jsonld_context(GUIDELINE)


def test_the_schema_is_one_and_names_everything() -> None:
    schema = json_schema(GUIDELINE)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(KEYS) <= set(schema["properties"])
    text = json.dumps(schema)
    things = (GUIDELINE.concepts, GUIDELINE.quantities, GUIDELINE.treatments, GUIDELINE.circumstances)
    names = [name for known in things for name in known]
    assert len(names) == 29
    assert [name for name in names if f'"{name}"' not in text] == []
    assert [q.name for q in GUIDELINE.quantities.values() if q.definition not in text] == []


@pytest.mark.parametrize(
    "form",
    [
        {"present": ["PerniciousAnaemia"]},
        {"present": ["Hematocrit"]},
        {"pressent": []},
        {"asOf": "15.01.2026"},
        {"measurements": [{"of": "Hematocrit", "value": 40}]},
        {"measurements": [QUANTITY | {"unit": "cm"}]},
        {"measurements": [QUANTITY | {"value": "40"}]},
        {"measurements": [QUANTITY | {"value": True}]},
        {"measurements": [QUANTITY | {"comparator": "~"}]},
        {"treatments": [{"of": "B12Treatment", "status": "ongoing"}]},
        {"outsideSource": ["RenalDysfunction"]},
        {"jurisdiction": "gb"},
    ],
    ids=str,
)
def test_the_schema_rejects_what_it_can(form: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(json_schema(GUIDELINE))
    assert validator.is_valid(LEAST)
    assert not validator.is_valid(LEAST | form)
    assert problems_of(**form) != []


def test_every_spelling_of_a_unit_is_read_as_that_unit() -> None:
    checked = [(unit, text) for q in GUIDELINE.quantities.values() for unit in q.factors for text in spellings(unit)]
    assert len(checked) > sum(len(q.factors) for q in GUIDELINE.quantities.values())
    assert [pair for pair in checked if ucum(pair[1]) != pair[0]] == []


def test_there_are_three_examples() -> None:
    assert len(EXAMPLE_FILES) == 3


@pytest.mark.parametrize("file", EXAMPLE_FILES, ids=lambda file: file.stem)
def test_an_example_is_valid_and_the_same_in_json_and_rdf(file: Path) -> None:
    record, problems = read(file, GUIDELINE)
    assert problems == []
    assert validate(record, GUIDELINE) == []
    jsonschema.Draft202012Validator(json_schema(GUIDELINE)).validate(json.loads(file.read_text()))
    as_rdf, problems = read(file.read_bytes(), GUIDELINE, format="jsonld")
    assert problems == []
    assert as_rdf.to_dict() == record.to_dict()


def test_the_turtle_twin_is_the_same_record_to_its_digest() -> None:
    (twin,) = EXAMPLES.glob("*.ttl")
    record, problems = read(twin, GUIDELINE)
    assert problems == []
    assert record.digest == read(twin.with_suffix(".json"), GUIDELINE)[0].digest


# ---- any valid record --------------------------------------------------------------------------

# What both JSON and XML allow; the control characters are for the known defects below.
TEXTS = st.text(st.characters(categories=("L", "M", "N", "P", "S", "Zs")), min_size=1, max_size=20).filter(str.strip)
DATES = st.dates(date(1900, 1, 1), date(2026, 1, 15)).map(date.isoformat)
DATED = {"on": DATES, "source": TEXTS | st.just("https://example.org/letter/7")}
# Numbers as people report them: integers, and decimals of few digits.
NUMBERS = st.integers(0, 10_000) | st.decimals(0, 1000, places=3).map(float)


def entries(names: Any) -> Any:
    name = st.sampled_from(sorted(names))
    return st.lists(name | st.fixed_dictionaries({"of": name}, optional=DATED), max_size=4)


def measurements(guideline: Guideline) -> Any:
    comparators = {"comparator": st.sampled_from(["<", "<=", ">=", ">"])}
    return st.lists(
        st.one_of(
            *(
                st.fixed_dictionaries(
                    {
                        "of": st.just(quantity.name),
                        "value": NUMBERS,
                        "unit": st.sampled_from([text for unit in quantity.factors for text in spellings(unit)]),
                    },
                    optional=comparators | DATED,
                )
                for quantity in guideline.quantities.values()
            )
        ),
        max_size=4,
    )


def treatments(guideline: Guideline) -> Any:
    return st.lists(
        st.one_of(
            *(
                st.fixed_dictionaries(
                    {"of": st.just(treatment.name), "status": st.just(name)},
                    optional=(DATED | {"startedOn": DATES}) if status.has_begun else DATED,
                )
                for treatment in guideline.treatments.values()
                for name, status in treatment.statuses.items()
            )
        ),
        max_size=3,
    )


FORMS = st.fixed_dictionaries(
    {"id": st.sampled_from(["urn:example:p", "https://example.org/patients/7", "p1", "ward-7_3"]), "asOf": DATES},
    optional={
        "jurisdiction": st.sampled_from(sorted(COUNTRIES)),
        "present": entries(GUIDELINE.concepts),
        "absent": entries(GUIDELINE.concepts),
        "measurements": measurements(GUIDELINE),
        "treatments": treatments(GUIDELINE),
        "outsideSource": entries(GUIDELINE.circumstances),
    },
)
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@SETTINGS
@given(FORMS)
def test_a_record_that_is_read_passes_the_schema(form: dict[str, Any]) -> None:
    assert read(form, GUIDELINE)[1] == []
    jsonschema.Draft202012Validator(json_schema(GUIDELINE)).validate(form)


@SETTINGS
@given(FORMS)
def test_the_canonical_form_is_a_record_that_reads_back_to_itself(form: dict[str, Any]) -> None:
    record, _ = read(form, GUIDELINE)
    again, problems = read(json.dumps(record.to_dict()), GUIDELINE)
    assert problems == []
    assert again.to_dict() == record.to_dict()
    assert again.digest == record.digest


@SETTINGS
@given(FORMS, st.randoms(use_true_random=False))
def test_the_order_of_entries_does_not_count(form: dict[str, Any], random: Any) -> None:
    shuffled = {
        key: random.sample(value, len(value)) if isinstance(value, list) else value for key, value in form.items()
    }
    assert read(shuffled, GUIDELINE)[0].digest == read(form, GUIDELINE)[0].digest


@SETTINGS
@given(FORMS, st.sampled_from(sorted(RDF_FORMATS)))
def test_a_record_survives_the_way_through_rdf(form: dict[str, Any], format: str) -> None:
    record, _ = read(form, GUIDELINE)
    text = record_graph(record, GUIDELINE).serialize(format=RDF_FORMATS[format])
    if format == "jsonld":
        text = json.dumps({"@graph": json.loads(text)})
    again, problems = read(text, GUIDELINE, format=format)
    assert problems == []
    assert again.to_dict() == record.to_dict()


@SETTINGS
@given(FORMS)
def test_a_json_record_is_the_same_record_as_json_ld(form: dict[str, Any]) -> None:
    again, problems = read(json.dumps(form), GUIDELINE, format="jsonld")
    assert problems == []
    assert again.to_dict() == read(form, GUIDELINE)[0].to_dict()


@SETTINGS
@given(FORMS)
def test_every_entry_is_in_the_record(form: dict[str, Any]) -> None:
    record, _ = read(form, GUIDELINE)
    read_paths = Counter(
        [s.path for s in record.statements] + [m.path for m in record.measurements] + [c.path for c in record.outside]
    )
    stated = Counter(
        f"{key}[{index}]" for key, found in form.items() if isinstance(found, list) for index in range(len(found))
    )
    assert read_paths == stated


def test_reading_json_loads_no_rdf_library() -> None:
    code = """
import sys
import b12kg.records, b12kg.records.json, b12kg.records.rdf, b12kg.records.schema, b12kg.validate
heavy = {"rdflib", "pyoxigraph", "pyshacl", "owlready2", "hypothesis"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_small_number_survives_the_way_through_rdf() -> None:
    record = record_of(measurements=[{"of": "SerumB12", "value": 1e-7, "unit": "ng/L"}])
    again, problems = read(record_graph(record, GUIDELINE).serialize(format="nt"), GUIDELINE, format="nt")
    assert problems == []
    assert again.measurements[0].value == Decimal("1e-7")


# ---- what once went wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        {"pressent": ["PerniciousAnemia"]},
        {"measurements": [{"of": "DistalIleumResected", "value": 10, "unit": "cm", "comparatr": ">"}]},
        {"@context": {"id": "@id", "asOf": {"@id": BASE + "asOf"}}, "absent": ["PerniciousAnemia"]},
    ],
    ids=["key", "comparator", "context without a key"],
)
def test_json_ld_drops_no_key(form: dict[str, Any]) -> None:
    assert refused(json.dumps(LEAST | form), "jsonld")


def test_json_ld_drops_no_name() -> None:
    assert refused(json.dumps(LEAST | {"present": ["Pernicious Anemia"]}), "jsonld")


def test_json_ld_rounds_no_number() -> None:
    text = measured("DistalIleumResected", "20.0000000000000000001", "cm")
    assert refused(text, "jsonld")


@pytest.mark.parametrize("format", ["json", "jsonld"])
@pytest.mark.parametrize(
    "form",
    [
        {"jurisdiction": None},
        {"measurements": [QUANTITY | {"comparator": None}]},
        {"present": [{"of": "PerniciousAnemia", "on": None}]},
    ],
    ids=["jurisdiction", "comparator", "date"],
)
def test_null_is_a_problem(form: dict[str, Any], format: str) -> None:
    assert refused(json.dumps(LEAST | form), format)


@pytest.mark.parametrize(
    "object_",
    ['"PerniciousAnemia"', "<https://w3id.org/b12kg/record/PerniciousAnemia>", '[ b12:of "PerniciousAnemia" ]'],
    ids=["text", "record namespace", "text of an entry"],
)
def test_turtle_names_a_concept_by_its_iri(object_: str) -> None:
    assert refused(HEAD + f"; b12:present {object_} .")


@pytest.mark.parametrize(
    "rest",
    [
        '; b12:measurement [ b12:of clin:Hematocrit ; b12:value "40" ; b12:unit "%" ] .',
        '; b12:present [ b12:of clin:PerniciousAnemia ; b12:source "Brief"@de ] .',
        '; b12:present [ b12:of clin:PerniciousAnemia ; b12:on "2026-01-01" ] .',
    ],
    ids=["number a text", "language", "date a text"],
)
def test_turtle_literals_are_typed(rest: str) -> None:
    assert refused(HEAD + rest)


def test_nothing_of_a_patient_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    refused(PREFIXES + "<urn:example:Jane Doe> a b12:Record .")
    assert "Jane Doe" not in caplog.text


def test_json_ld_may_be_an_array() -> None:
    record = record_of(present=["PerniciousAnemia"])
    text = record_graph(record, GUIDELINE).serialize(format="json-ld")
    assert read(text, GUIDELINE, format="jsonld")[0].to_dict() == record.to_dict()


@pytest.mark.parametrize("id_", ["ward 7", "a/../b", "a%20b"])
def test_an_id_is_the_same_as_json_ld(id_: str) -> None:
    record, problems = read(json.dumps(LEAST | {"id": id_}), GUIDELINE, format="jsonld")
    assert problems or record.id == id_


@pytest.mark.parametrize("id_", ["ward 7: bed 3", "7:3 <x>"])
@pytest.mark.filterwarnings("default")
def test_an_id_with_a_colon_survives_the_way_through_rdf(id_: str) -> None:
    record = record_of(id=id_)
    text = record_graph(record, GUIDELINE).serialize(format="turtle")
    assert read(text, GUIDELINE, format="turtle")[0].id == id_


@pytest.mark.parametrize(
    "form", [{"id": "\ud800"}, {"present": [{"of": "PerniciousAnemia", "source": "\ud800"}]}], ids=["id", "source"]
)
def test_half_a_character_is_a_problem(form: dict[str, Any]) -> None:
    assert refused(json.dumps(LEAST | form), "json")


def test_a_number_beyond_decimal_is_a_problem() -> None:
    with pytest.raises(InvalidRecord):
        read('{"id": "p", "measurements": [{"value": 1e99999999999999999999}]}', GUIDELINE)


def test_rdf_is_limited_in_size() -> None:
    with pytest.raises(InvalidRecord, match="too large"):
        read(PREFIXES + "#" * (10 * 1024 * 1024), GUIDELINE, format="turtle")


def test_xml_is_refused_by_name() -> None:
    with pytest.raises(InvalidRecord, match="XML"):
        read('<?xml version="1.0"?><rdf:RDF/>', GUIDELINE, format="turtle")


def test_a_quantity_that_is_absent_is_told_how_to_be_given() -> None:
    (problem,) = problems_of(absent=["DistalIleumResected"])
    assert "0 where none has" in problem.message + problem.accepted
    assert '"unit": "cm"' in problem.accepted


def test_a_record_may_name_the_shipped_context() -> None:
    assert problems_of(**{"@context": BASE + "record.context.jsonld"}) == []


def test_the_schema_knows_the_countries() -> None:
    assert not jsonschema.Draft202012Validator(json_schema(GUIDELINE)).is_valid(LEAST | {"jurisdiction": "UK"})


def test_an_unknown_suffix_names_the_known_formats(tmp_path: Path) -> None:
    file = tmp_path / "record.rdf"
    file.write_text("<rdf:RDF/>")
    with pytest.raises(UsageError, match="json, turtle, nt, jsonld"):
        read_any(file, GUIDELINE)


@pytest.mark.parametrize(
    "form",
    [
        {"@type": BASE + "Record", "present": ["VitaminB12Deficiency", "Pernicious Anemia"]},
        {"@type": BASE + "Record", "outsideSource": ["Cobalamin Allergy"]},
        {"@type": BASE + "Record", "a b": "x"},
        {"@type": "a b"},
        {"@graph": [{"@value": "Jane"}]},
        {"@graph": ["x"]},
        {"@graph": [{"id": "urn:other"}]},
        {"@id": "urn:a", BASE + "absent": [{"@id": "a b"}]},
        {"@id": "urn:a", BASE + "absent": ["http://a b"]},
        {"@id": "urn:a", BASE + "absent": [{"@id": "urn:b", BASE + "of": []}]},
        {"@id": "urn:a", BASE + "source": [{"@value": "x", "@language": "de"}]},
        [{"@graph": [{"@id": "urn:a"}], "@id": "urn:g"}],
        [None],
    ],
    ids=lambda form: json.dumps(form)[:60],
)
@pytest.mark.parametrize("context", [None, "inlined"])
def test_json_ld_that_could_lose_something_is_refused(form: Any, context: str | None) -> None:
    if context is not None and isinstance(form, dict):
        form = {**jsonld_context(GUIDELINE), **LEAST, **form}
    assert refused(json.dumps(form), "jsonld")


@pytest.mark.parametrize(
    "literal",
    [
        '"3_0"^^xsd:decimal',
        '"2_0"^^xsd:integer',
        '"30.5"^^xsd:integer',
        '"1e3"^^xsd:decimal',
        '"\u0663"^^xsd:decimal',
    ],
)
def test_a_number_outside_the_lexical_space_of_its_datatype_is_refused(literal: str) -> None:
    text = HEAD + f'; b12:measurement [ b12:of clin:DistalIleumResected ; b12:value {literal} ; b12:unit "cm" ] .'
    assert "not a number" in "\n".join(map(str, refused(text)))


def test_an_entry_repeated_a_thousand_times_is_one_fact_and_more_are_refused() -> None:
    record = record_of(present=["PerniciousAnemia"] * 1000)
    assert len(record.statements) == 1000
    (problem,) = problems_of(present=["PerniciousAnemia"] * 1001)
    assert (problem.path, problem.found) == ("present", "1001")


def test_a_huge_integer_is_a_problem() -> None:
    (problem,) = problems_of(measurements=[{"of": "SerumB12", "value": 10**400, "unit": "ng/L"}])
    assert problem.path == "measurements[0].value"


def test_a_path_that_no_file_system_has_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="passed as bytes"):
        read_any("a\0b.json", GUIDELINE)


def test_half_a_character_in_a_key_can_be_printed() -> None:
    _, problems = read('{"id": "p", "asOf": "2026-01-15", "\\ud800": 1}', GUIDELINE)
    (problem,) = problems
    assert str(problem).encode()
    assert json.dumps(problem.to_dict(), ensure_ascii=False).encode()


def test_a_text_that_was_meant_as_a_record_is_not_repeated(guideline: Guideline) -> None:
    with pytest.raises(UsageError, match=r"a text that is no path: .*passed as bytes") as caught:
        read_any('{"id": "urn:canary", "asOf": "2026-01-15"}', guideline)
    assert "canary" not in str(caught.value)
