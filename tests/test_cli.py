"""The command line as its user meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from b12kg.cli import main
from b12kg.resources import EXAMPLES
from tests.conftest import SECOND

SETTLED = str(EXAMPLES / "pernicious-anemia-ileal-resection.json")
UNKNOWNS = str(EXAMPLES / "several-unknowns.json")
CONFLICT = str(EXAMPLES / "conflict.json")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def broken(tmp_path: Path) -> str:
    path = tmp_path / "broken.json"
    path.write_text('{"id": "p", "asOf": "2026-01-15", "present": ["Nothing"]}')
    return str(path)


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "recommend", CONFLICT)
    assert (code, err) == (0, "")
    assert "Maintenance treatment: CONFLICT IN THE SOURCE" in out
    assert "content is pending human review" in " ".join(out.split())
    assert "\033[" not in out
    assert max(map(len, out.splitlines())) <= 120


def test_json_is_one_document_for_one_file_and_lines_for_several(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "recommend", "--format", "json", SETTLED)
    assert code == 0
    assert json.loads(out)["record"] == "urn:example:pernicious-anemia-ileal-resection"
    code, out, _ = run(capsys, "recommend", "--format", "json", SETTLED, UNKNOWNS)
    assert code == 0
    assert [json.loads(line)["record"].rpartition(":")[2] for line in out.splitlines()] == [
        "pernicious-anemia-ileal-resection",
        "several-unknowns",
    ]


def test_the_same_bytes_each_time_and_from_turtle(capsys: pytest.CaptureFixture[str]) -> None:
    _, first, _ = run(capsys, "recommend", "--format", "json", SETTLED)
    _, second, _ = run(capsys, "recommend", "--format", "json", SETTLED)
    assert first == second
    _, turtle, _ = run(capsys, "recommend", "--format", "json", SETTLED.replace(".json", ".ttl"))
    assert json.loads(turtle)["recordDigest"] == json.loads(first)["recordDigest"]
    one, other = json.loads(first), json.loads(turtle)
    assert {d: a["status"] for d, a in one["decisions"].items()} == {
        d: a["status"] for d, a in other["decisions"].items()
    }


def test_an_invalid_record_among_others(capsys: pytest.CaptureFixture[str], broken: str) -> None:
    code, out, err = run(capsys, "recommend", "--format", "json", broken, SETTLED)
    assert code == 3
    assert len(out.splitlines()) == 1
    assert f"{broken} is not answered" in err
    assert "present[0]: unknown name of a concept (found: Nothing" in err


def test_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b'{"id": "p", "present": ["PerniciousAnemia"]}')

    monkeypatch.setattr("sys.stdin", Stdin)
    code, out, _ = run(capsys, "recommend", "-", "--as-of", "2026-01-15", "--format", "json")
    assert code == 0
    assert json.loads(out)["asOf"] == "2026-01-15"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recommend", "nowhere.json"], "nowhere.json: No such file or directory"),
        (["recommend", "record.xml"], "no format goes by '.xml'"),
        (["recommend", SETTLED, "--guideline", "nothing"], "no such guideline is shipped: droracle-2025"),
        (["recommend", SETTLED, "--as-of", "yesterday"], "'yesterday' is no date; write YYYY-MM-DD"),
        (["recommend", SETTLED, "--engine", "guess"], "invalid choice: 'guess'"),
        (["query", "endingz"], "did you mean 'endings'?"),
        (["query", "nowhere.rq"], "nowhere.rq: cannot be read"),
        (["export", "-o", "/nowhere"], "'/nowhere' is no folder"),
        (["recommend", SETTLED, "--as-of", "20260101"], "'20260101' is no date; write YYYY-MM-DD"),
        (["recommend", "-", "-"], "can be named once only"),
        (["query", "uses-of-passage", "--set", "passage=urn:a b"], "Invalid IRI"),
        (["query", "uses-of-passage", "--set", "passage"], "write NAME=IRI"),
        ([], "required: COMMAND"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert message in err


def test_an_invalid_guideline(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "broken.ttl").write_text("nothing.")
    code, out, err = run(capsys, "recommend", SETTLED, "--guideline", str(tmp_path))
    assert (code, out) == (4, "")
    assert "broken.ttl: not Turtle" in err


def test_another_guideline(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    record.write_text('{"id": "r", "asOf": "2026-01-15", "present": ["Flu"]}')
    code, out, _ = run(capsys, "recommend", str(record), "--guideline", str(SECOND))
    assert code == 0
    assert "Sage tea" in out


def test_validate(capsys: pytest.CaptureFixture[str], broken: str) -> None:
    code, out, _ = run(capsys, "validate", SETTLED, broken)
    assert code == 3
    assert out.splitlines()[0] == f"{SETTLED}: valid"
    assert out.splitlines()[1] == f"{broken}: invalid"
    assert out.splitlines()[2].startswith("  error: present[0]: unknown name of a concept")
    code, out, _ = run(capsys, "validate", "--format", "json", broken)
    assert code == 3
    assert json.loads(out)["problems"][0]["path"] == "present[0]"


def test_a_warning_is_answered_and_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    measured = '[{"of": "Hematocrit", "value": 0.42, "unit": "%"}]'
    record.write_text(f'{{"id": "r", "asOf": "2026-01-15", "measurements": {measured}}}')
    code, out, _ = run(capsys, "validate", str(record))
    assert code == 0
    assert "warning: measurements[0]: outside 5 to 75 %" in out
    code, out, _ = run(capsys, "recommend", str(record))
    assert code == 0
    assert "! Odd in the record: measurements[0]: outside 5 to 75 %" in out
    _, out, _ = run(capsys, "recommend", str(record), "--format", "json")
    assert json.loads(out)["notices"][0]["kind"] == "warning"


# ---- queries -----------------------------------------------------------------------------------


@pytest.fixture
def query(tmp_path: Path) -> Any:
    def write(text: str) -> str:
        path = tmp_path / "q.rq"
        path.write_text("PREFIX b12: <https://w3id.org/b12kg/>\n" + text)
        return str(path)

    return write


COUNT = "SELECT (COUNT(?rule) AS ?rules) { ?rule a b12:Rule }"


def test_query_of_a_file(capsys: pytest.CaptureFixture[str], query: Any) -> None:
    code, out, _ = run(capsys, "query", query(COUNT))
    assert code == 0
    assert out.splitlines() == ["rules", "-----", "21", "1 row"]


@pytest.mark.parametrize(
    ("format_", "text"),
    [("csv", "rules\r\n21"), ("tsv", "?rules\n21"), ("json", '"value":"21"'), ("xml", "<sparql")],
)
def test_query_formats(capsys: pytest.CaptureFixture[str], query: Any, format_: str, text: str) -> None:
    code, out, _ = run(capsys, "query", query(COUNT), "--format", format_)
    assert code == 0
    assert text in out


def test_ask_and_construct(capsys: pytest.CaptureFixture[str], query: Any) -> None:
    assert run(capsys, "query", query("ASK { ?rule a b12:Rule }"))[1] == "yes\n"
    code, out, _ = run(
        capsys, "query", query("CONSTRUCT { ?r a b12:Rule } WHERE { ?r b12:modality b12:forbids ; a b12:Rule }")
    )
    assert code == 0
    assert "folic-acid-after-b12" in out
    code, _, err = run(capsys, "query", query("CONSTRUCT { ?r a b12:Rule } WHERE { ?r a b12:Rule }"), "--format", "csv")
    assert code == 2
    assert "triples" in err


def test_query_with_a_record(capsys: pytest.CaptureFixture[str], query: Any) -> None:
    asked = "SELECT ?d { ?o a b12:Outcome ; b12:decision ?d ; b12:outcomeStatus b12:outcome-conflict } ORDER BY ?d"
    code, out, _ = run(capsys, "query", query(asked), "--record", CONFLICT)
    assert code == 0
    assert [line.rpartition("/")[2] for line in out.splitlines()[2:-1]] == ["MaintenanceTreatment", "Preparation"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT * { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } }", "SERVICE is refused"),
        ("SELECT * { { SELECT * { SERVICE SILENT <http://127.0.0.1:9/> { ?s ?p ?o } } } }", "SERVICE is refused"),
        ("SELECT * { FILTER EXISTS { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } } }", "SERVICE is refused"),
        ("SELECT * FROM <http://127.0.0.1:9/> { ?s ?p ?o }", "FROM is refused"),
        ("ASK FROM NAMED <file:///etc/hostname> { ?s ?p ?o }", "FROM is refused"),
        ("LOAD <http://127.0.0.1:9/>", "an update is refused"),
        ("DELETE WHERE { ?s ?p ?o }", "an update is refused"),
        ("SELECT * {", "not a SPARQL query"),
    ],
)
def test_a_query_that_reaches_out_is_refused(
    capsys: pytest.CaptureFixture[str], query: Any, text: str, message: str
) -> None:
    code, out, err = run(capsys, "query", query(text))
    assert (code, out) == (2, "")
    assert message in err


def test_a_word_in_a_string_is_no_service(capsys: pytest.CaptureFixture[str], query: Any) -> None:
    code, _, _ = run(capsys, "query", query("SELECT * { ?s ?p 'SERVICE <http://127.0.0.1:9/> {} FROM' }  # LOAD"))
    assert code == 0


def test_a_violation_query_with_rows_is_a_finding(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "any-violation.rq"
    path.write_text(
        "# id:        any-violation\n# kind:      violation\nSELECT ?entity { ?entity a <https://w3id.org/b12kg/Rule> }"
    )
    assert run(capsys, "query", str(path))[0] == 1
    path.write_text("# id:        any-violation\n# kind:      violation\nSELECT ?entity { ?entity a <urn:nothing> }")
    assert run(capsys, "query", str(path))[0] == 0


def test_queries_are_listed_with_their_question(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "queries", "--group", "decide")
    assert code == 0
    assert len(out.splitlines()) == 9
    assert "On which offers do all remaining rules agree?" in out


def test_schema_and_context(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run(capsys, "schema")[1])["type"] == "object"
    assert "@context" in json.loads(run(capsys, "schema", "--context")[1])


def test_export(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, "export", "-o", str(tmp_path))
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["droracle-2025.owl", "droracle-2025.ttl"]
    assert len(out.splitlines()) == 2


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[1] == "b12kg 0.1.0\n"


def test_an_unreadable_file_among_others(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "recommend", "--format", "json", SETTLED, "nowhere.json", UNKNOWNS)
    assert code == 2
    assert len(out.splitlines()) == 2
    assert "nowhere.json: No such file or directory" in err
    code, out, _ = run(capsys, "validate", SETTLED, "nowhere.json", UNKNOWNS)
    assert (code, len(out.splitlines())) == (2, 2)


def test_a_terminal_that_cannot_show_a_character(tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    record.write_text('{"id": "caf\u00e9", "asOf": "2026-01-15"}', encoding="utf-8")
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "b12kg", "recommend", str(record)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\xe9" in done.stdout


# ---- explain, ask, build -----------------------------------------------------------------------------


def test_both_engines_answer_alike(capsys: pytest.CaptureFixture[str]) -> None:
    forms = []
    for engine in ("table", "reference"):
        code, out, err = run(capsys, "recommend", "--engine", engine, "--format", "json", UNKNOWNS)
        assert (code, err) == (0, "")
        form = json.loads(out)
        assert form.pop("engine") == engine
        forms.append(form)
    assert forms[0] == forms[1]


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "explain", SETTLED, "--decision", "MaintenanceTreatment", "--what-if")
    assert (code, err) == (0, "")
    for phrase in (
        "Why",
        "Why not 1 mg intramuscularly once every 2 months",
        "What would change it",
        "no medical device",
    ):
        assert phrase in " ".join(out.split())
    assert "Folic acid" not in out
    code, out, _ = run(capsys, "explain", SETTLED, "--offer", "oral-1-2mg-daily", "--format", "json")
    assert code == 0
    found = json.loads(out)["decisions"]
    assert list(found) == ["InitialTreatment", "MaintenanceTreatment"]
    assert [contrast["offer"] for contrast in found["InitialTreatment"]["whyNot"]] == ["oral-1-2mg-daily"]
    assert "whatIf" not in found["InitialTreatment"]


def test_explain_as_turtle(capsys: pytest.CaptureFixture[str]) -> None:
    code, once, _ = run(capsys, "explain", CONFLICT, "--what-if", "--format", "turtle")
    assert code == 0
    assert "eo:CounterfactualExplanation" in once
    assert run(capsys, "explain", CONFLICT, "--what-if", "--format", "turtle")[1] == once


def test_what_nobody_can_change_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    plain = run(capsys, "explain", SETTLED, "--decision", "MaintenanceTreatment", "--what-if")[1]
    asked = run(capsys, "explain", SETTLED, "--decision", "MaintenanceTreatment", "--what-if", "--immutable")[1]
    assert "(DistalIleumResected) were <= 20 cm" not in " ".join(plain.split())
    assert "(DistalIleumResected) were <= 20 cm" in " ".join(asked.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--decision", "Maintenance"), "no decision 'Maintenance'; did you mean 'MaintenanceTreatment'?"),
        (("--offer", "oral"), "no offer 'oral' in InitialTreatment"),
        (("--decision", "FolicAcid", "--offer", "oral-1mg-daily"), "no offer 'oral-1mg-daily' in FolicAcid; there are"),
    ],
)
def test_explain_names_what_is_not_there(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, "explain", SETTLED, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


@pytest.fixture
def deficient(tmp_path: Path) -> Path:
    path = tmp_path / "record.json"
    path.write_text('{"id": "p", "asOf": "2026-01-15", "present": ["VitaminB12Deficiency"]}')
    return path


def test_ask_asks_until_nothing_can_change_an_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, deficient: Path
) -> None:
    # neurological involvement, treatment started, bariatric surgery, pernicious anaemia, ileum, and the others
    type_in(monkeypatch, "no", "yes", "no", "no", "0 cm", "40 %", "5 umol/L", "no", "yes", "GB")
    saved = deficient.with_name("saved.json")
    code, out, err = run(capsys, "ask", str(deficient), "--save", str(saved))
    assert (code, err) == (0, "")
    assert "3 of 11 decisions settled; facts that can change an answer: 12" in out
    assert "Nothing that is still unknown can change an answer." in out
    assert "  initial treatment: recommended: 1 mg" in out
    assert "UNDETERMINED" not in out
    record = json.loads(saved.read_text())
    assert "B12TreatmentStarted" in record["present"]
    assert len(record["present"]) + len(record["absent"]) + len(record["measurements"]) < 15
    again = run(capsys, "recommend", str(saved))[1]
    assert out.endswith(again + f"\nThe record is in {saved}.\n")


def test_what_stays_unknown_is_not_asked_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, deficient: Path
) -> None:
    type_in(monkeypatch, *["unknown"] * 12)
    code, out, _ = run(capsys, "ask", str(deficient))
    assert code == 0
    assert out.count("unknown] unknown") == 12
    assert "Nothing else that is still unknown can change an answer." in out


def test_ask_says_what_it_does_not_understand_and_asks_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, deficient: Path
) -> None:
    type_in(
        monkeypatch,
        "perhaps",
        "no",
        "u",
        "u",
        "u",
        "30",
        "-1 cm",
        "thirty cm",
        "< 30 cm",
        "30 kg",
        f"{'9' * 5000} cm",
        "30 cm",
        "q",
    )
    out = run(capsys, "ask", str(deficient))[1]
    for message in (
        "'perhaps' is not understood; type yes, no, unknown, or stop",
        "'30' is no value with a unit; units: cm, mm; or type unknown, or stop",
        "a length cannot be negative",
        "'thirty cm' is no value with a unit",
        "only a bound is given, and it leaves open whether DistalIleumResected is > 20 cm",
        "no unit of DistalIleumResected (found: kg; accepted: cm, mm)",
        f"'{'9' * 60}' is no value with a unit",
    ):
        assert message in out, message
    assert out.count("length of distal ileum resected?") == 7


def test_ask_stops_where_nothing_more_is_typed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, deficient: Path
) -> None:
    type_in(monkeypatch, "no")
    code, out, err = run(capsys, "ask", str(deficient))
    assert (code, err) == (0, "")
    assert "Maintenance treatment: UNDETERMINED" in out


def test_ask_overwrites_no_other_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, deficient: Path
) -> None:
    other = deficient.with_name("other.json")
    other.write_text("mine")
    code, out, err = run(capsys, "ask", str(deficient), "--save", str(other))
    assert (code, out, other.read_text()) == (2, "", "mine")
    assert "is there already" in err
    type_in(monkeypatch, "stop")
    assert run(capsys, "ask", str(deficient), "--save", str(deficient))[0] == 0
    assert json.loads(deficient.read_text())["present"] == ["VitaminB12Deficiency"]
    code, _, err = run(capsys, "ask", "-")
    assert (code, "where the answers are typed" in err) == (2, True)


def test_a_record_that_cannot_be_saved_is_said_before_anything_is_asked(
    capsys: pytest.CaptureFixture[str], deficient: Path
) -> None:
    code, out, err = run(capsys, "ask", str(deficient), "--save", str(deficient.parent / "nowhere" / "x.json"))
    assert code == 2
    assert "there is no folder" in err
    assert "[yes, no, unknown]" not in out


def test_build(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "build", "-o", str(tmp_path))
    assert (code, err) == (0, "")
    assert "MaintenanceTreatment: 729 rows by BariatricSurgery, DistalIleumResected," in out
    assert "1165 rows in all" in out
    (file,) = tmp_path.iterdir()
    assert str(file) in out
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "build", "-o", str(tmp_path / "file"))
    assert (code, "the tables are not kept" in err) == (2, True)
