"""The commands that take in and give out the forms of others, as they are typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from b12kg.cli import main
from b12kg.resources import ONTOLOGY
from tests.fhir_resources import (
    DEFICIENCY,
    PATIENT,
    PERNICIOUS,
    bundle,
    condition,
    medication,
    observation,
    procedure,
    refuted,
)

EXAMPLE = str(ONTOLOGY / "examples" / "pernicious-anemia-ileal-resection.json")
AS_OF = ("--as-of", "2026-01-15")

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Exit code, standard output and standard error of a command."""

    def typed(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return typed


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def file(*resources: Any, name: str = "bundle.json") -> str:
        path = tmp_path / name
        path.write_text(json.dumps(bundle(PATIENT, *resources)), encoding="utf-8")
        return str(path)

    return file


OF_Q: dict[str, Any] = {"subject": {"reference": "Patient/q"}}


# ---- in ------------------------------------------------------------------------------------------


def test_a_bundle_is_answered_and_the_answer_says_what_became_of_it(typed: Typed, file: Callable[..., str]) -> None:
    conflicting = (condition(DEFICIENCY, "yes"), refuted(DEFICIENCY, id="no"))
    stale = (observation("4544-3", 40, "%", "2024-01-01", "old"), observation("4544-3", 41, "%", "2025-01-01", "new"))
    name = file(*conflicting, *stale, condition("1", "other"))
    code, out, err = typed("recommend", name, *AS_OF)
    assert (code, err) == (0, "")
    assert "Read from FHIR: 2 used, 0 may suggest a fact, 2 contradict each other, 1 replaced, 1 not used." in " ".join(
        out.split()
    )
    assert "Condition/no at Bundle.entry[2].resource" in out
    assert "Observation/old at Bundle.entry[3].resource" in out
    assert "Condition/other" not in out
    code, out, err = typed("recommend", name, *AS_OF, "--format", "json")
    form = json.loads(out)
    assert (code, err) == (0, "")
    assert [entry["resource"] for entry in form["import"]["conflicting"]] == ["Condition/no", "Condition/yes"]
    assert [entry["resource"] for entry in form["import"]["ignored"]] == ["Condition/other"]
    for format_ in ("turtle", "fhir"):
        code, out, err = typed("recommend", name, *AS_OF, "--format", format_)
        assert code == 0
        assert "2 contradict each other" in err
        assert "Read from FHIR" not in out


def test_two_patients_are_refused_and_answered_by_each(typed: Typed, file: Callable[..., str]) -> None:
    name = file(condition(PERNICIOUS), condition(DEFICIENCY, "q", **OF_Q))
    code, out, err = typed("recommend", name, *AS_OF)
    assert (code, out) == (3, "")
    assert "about 2 patients (accepted: one; or each by itself, by `recommend --each" in err
    code, out, err = typed("recommend", name, *AS_OF, "--each")
    assert (code, err) == (0, "")
    assert f"===== {name}, Patient/p =====" in out
    assert f"\n===== {name}, Patient/q =====" in out
    code, out, err = typed("recommend", name, *AS_OF, "--each", "--format", "json")
    assert [json.loads(line)["record"] for line in out.splitlines()] == ["Patient/p", "Patient/q"]


def test_what_is_about_no_patient_is_said_once_for_all(typed: Typed, file: Callable[..., str]) -> None:
    claims = [{"resourceType": "Claim", "id": str(number)} for number in range(5)]
    name = file(condition(PERNICIOUS), condition(DEFICIENCY, "q", **OF_Q), *claims)
    code, out, err = typed("import", name, *AS_OF, "--each", "--format", "json")
    *patients, last = [json.loads(line) for line in out.splitlines()]
    assert [one["record"]["id"] for one in patients] == ["Patient/p", "Patient/q"]
    assert "Claim" not in json.dumps(patients)
    assert [one["resource"] for one in last["others"]] == [f"Claim/{number}" for number in range(5)]
    code, out, err = typed("import", name, *AS_OF, "--each")
    assert out.count("Claim/") == 3
    assert "Claim/0, Claim/1, Claim/2 and 2 more: no type of resource that is read" in out
    assert " ".join(out.split()).count("0 not used.") == 2
    code, out, err = typed("import", name, *AS_OF, "--each", "--all")
    assert out.count("Claim/") == 5
    for options in ([], ["--format", "json"], ["--format", "fhir"]):
        code, out, err = typed("recommend", name, *AS_OF, "--each", *options)
        assert (code, "Claim" in out) == (0, False)
        assert "5 resources are about no patient who is read" in err


def test_one_patient_that_is_wrong_stops_no_other(typed: Typed, file: Callable[..., str]) -> None:
    name = file(condition(PERNICIOUS), condition(DEFICIENCY, "q", **OF_Q, onsetDateTime="yesterday"))
    code, out, err = typed("recommend", name, *AS_OF, "--each", "--format", "json")
    assert code == 3
    assert [json.loads(line)["record"] for line in out.splitlines()] == ["Patient/p"]
    assert f"{name}, Patient/q is not answered:" in err
    assert "Condition/q at Bundle.entry[2].resource" in err
    assert "yesterday" not in err


def test_import_lists_each_resource_and_writes_the_record(
    typed: Typed, file: Callable[..., str], tmp_path: Path
) -> None:
    orders = [medication("MedicationRequest", "309594", "active", f"order{n}") for n in range(5)]
    name, written = file(condition(PERNICIOUS), *orders), tmp_path / "record.json"
    code, out, err = typed("import", name, *AS_OF, "-o", str(written))
    assert (code, err) == (0, "")
    assert "Condition/c at Bundle.entry[1].resource -> present[0]: PerniciousAnemia:" in " ".join(out.split())
    assert "MedicationRequest/order2 and 2 more: B12Treatment: an order does not say" in " ".join(out.split())
    code, out, _ = typed("import", name, *AS_OF, "--all")
    assert " ".join(out.split()).count("an order does not say") == 5
    code, out, _ = typed("import", name, *AS_OF, "--format", "json")
    form = json.loads(out)
    assert form["record"] == json.loads(written.read_text(encoding="utf-8"))
    assert len(form["import"]["ignored"]) == 5
    code, again, _ = typed("recommend", str(written), "--format", "json")
    code, first, _ = typed("recommend", name, *AS_OF, "--format", "json")
    assert {k: v for k, v in json.loads(first).items() if k != "import"} == json.loads(again)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["import", EXAMPLE], 3, "no FHIR resource"),
        (["import", "none.json"], 2, "none.json: No such file"),
        (["import", "BUNDLE", "--each", "-o", "x.json"], 2, "-o is for the record of one patient"),
        (["import", "BUNDLE", "-o", "none/x.json"], 2, "the record is not written"),
        (["recommend", EXAMPLE, "--each"], 3, "no FHIR resource"),
        (["recommend", EXAMPLE.replace(".json", ".ttl"), "--each"], 2, "--each is for FHIR"),
        (["ask", "BUNDLE", "--save", "BUNDLE"], 2, "is no record in JSON"),
        (["export", "--format", "fhir", "-o", "none"], 2, "is no folder"),
        (["schedule", EXAMPLE], 2, "--start"),
        (["schedule", EXAMPLE, "--start", "2026-02-30"], 2, "is no date"),
        (["schedule", EXAMPLE, "--start", "2026-02-01", "--until", "2026-01-01"], 2, "no plan from 2026-02-01 until"),
        (["schedule", EXAMPLE, "--start", "2026-02-01", "--previous", "x.ics"], 2, "--format ics"),
        (["schedule", EXAMPLE, "--start", "2026-02-01", "--format", "ics", "--previous", EXAMPLE], 2, "no iCalendar"),
        (["schedule", EXAMPLE, "--start", "2026-02-01", "-o", "none/x.txt"], 2, "the plan is not written"),
    ],
)
def test_usage(
    typed: Typed,
    file: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    name = file(condition(PERNICIOUS))
    before = Path(name).read_bytes()
    monkeypatch.chdir(tmp_path)
    found, _, err = typed(*(name if argument == "BUNDLE" else argument for argument in arguments))
    assert found == code
    assert message in err
    assert "Traceback" not in err
    assert Path(name).read_bytes() == before


def test_the_example_is_valid_and_has_one_of_each_kind(typed: Typed) -> None:
    path = ONTOLOGY / "examples" / "fhir" / "pernicious-anemia.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert json.loads(Bundle.model_validate(document).model_dump_json(exclude_none=True)) == document
    code, out, _ = typed("import", str(path), *AS_OF, "--format", "json")
    assert code == 0
    report = json.loads(out)["import"]
    assert {key: len(report[key]) for key in ("used", "maySuggest", "stale", "ignored")} == {
        "used": 6,
        "maySuggest": 2,
        "stale": 1,
        "ignored": 2,
    }


# ---- out -----------------------------------------------------------------------------------------


def test_the_answer_as_fhir_is_one_bundle_or_one_a_line(typed: Typed) -> None:
    code, out, err = typed("recommend", EXAMPLE, "--format", "fhir")
    assert (code, err) == (0, "")
    assert json.loads(out)["resourceType"] == "Bundle"
    code, lines, _ = typed("recommend", EXAMPLE, EXAMPLE, "--format", "fhir")
    assert [json.loads(line) for line in lines.splitlines()] == [json.loads(out)] * 2


def test_a_file_that_cannot_be_written_is_said(typed: Typed, tmp_path: Path) -> None:
    for format_, name in (("fhir", "droracle-2025.fhir.json"), ("owl", "droracle-2025.owl")):
        (tmp_path / name).mkdir()
        code, out, err = typed("export", "--format", format_, "-o", str(tmp_path))
        assert (code, out) == (2, "")
        assert "the guideline is not written" in err


def test_the_guideline_as_fhir(typed: Typed, tmp_path: Path) -> None:
    code, out, _ = typed("export", "--format", "fhir", "-o", str(tmp_path))
    assert code == 0
    assert out.strip() == str(tmp_path / "droracle-2025.fhir.json")
    document = json.loads(Path(out.strip()).read_text(encoding="utf-8"))
    types = [entry["resource"]["resourceType"] for entry in document["entry"]]
    assert types[:2] == ["PlanDefinition", "Library"]
    assert set(types[2:]) == {"ActivityDefinition"}


# ---- the calendar --------------------------------------------------------------------------------


def test_a_plan_in_words_and_as_a_calendar_that_the_next_one_changes(typed: Typed, tmp_path: Path) -> None:
    code, out, err = typed("schedule", EXAMPLE, "--start", "2026-02-01")
    assert (code, err) == (0, "")
    assert "2026-02-01 to 2026-02-07 Initial treatment, 3 times within these 7 days: 1 mg, intramuscularly" in " ".join(
        out.split()
    )
    first, second = tmp_path / "1.ics", tmp_path / "2.ics"
    code, out, err = typed("schedule", EXAMPLE, "--start", "2026-02-01", "--format", "ics", "-o", str(first))
    assert (code, out, err) == (0, f"{first}\n", "")
    code, printed, _ = typed("schedule", EXAMPLE, "--start", "2026-02-01", "--format", "ics")
    assert printed.encode() == first.read_bytes()
    later = ["schedule", EXAMPLE, "--start", "2026-02-03", "--format", "ics", "--previous", str(first)]
    assert typed(*later, "-o", str(second))[0] == 0
    assert first.read_text().count("SEQUENCE:0") == first.read_text().count("BEGIN:VEVENT") > 10
    assert second.read_text().count("SEQUENCE:1") == second.read_text().count("BEGIN:VEVENT")


def test_a_plan_from_fhir(typed: Typed, file: Callable[..., str]) -> None:
    name = file(condition(PERNICIOUS), procedure("ileal", system="https://w3id.org/b12kg/none"))
    code, out, _ = typed("schedule", name, "--start", "2026-02-01", *AS_OF)
    assert code == 0
    assert "record Patient/p" in " ".join(out.split())
