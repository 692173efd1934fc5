"""The commands that take an answer apart, as somebody types them: log, evidence, diff, and queries of their graphs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from b12kg.cli import main
from b12kg.resources import EXAMPLES
from b12kg.runlog import FILE
from tests.conftest import SECOND
from tests.test_second_guideline import edit

PATIENT = str(EXAMPLES / "pernicious-anemia-ileal-resection.json")
CONFLICT = str(EXAMPLES / "conflict.json")


@pytest.fixture(autouse=True)
def config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config folder of the tests' own, for the key that signs."""
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return folder


# ---- the log -----------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A log of three runs, one with its record."""
    folder = tmp_path / "log"
    assert main(["recommend", PATIENT, CONFLICT, "--record-to", str(folder), "--format", "json"]) == 0
    assert main(["recommend", PATIENT, "--record-to", str(folder), "--with-record"]) == 0
    capsys.readouterr()
    return folder


def test_a_log_is_kept_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["recommend", PATIENT]) == 0
    assert [*tmp_path.iterdir()] == []


def test_a_log_is_checked(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "log", str(log)]) == 0
    out = capsys.readouterr().out
    assert "3 entries; the chain is whole\n" in out
    assert "asked again: 1 the same, 0 different\n" in out
    assert "not asked again: 2 (the record is not in the log)\n" in out
    head = out.splitlines()[-1].removeprefix("head: ")
    assert main(["audit", "log", str(log), "--head", head, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["head"] == head
    assert main(["audit", "log", str(log), "--head", "sha256:" + "0" * 64]) == 1
    assert "no entry has the hash that was given" in capsys.readouterr().out


def test_a_broken_log_is_named(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (log / FILE).read_bytes().splitlines(keepends=True)
    (log / FILE).write_bytes(lines[0] + lines[2])
    assert main(["audit", "log", str(log)]) == 1
    out = capsys.readouterr().out
    assert f"error: {FILE} line 2: removed" in out
    assert "NOT as they were written" in out


def test_a_refused_record_is_not_in_the_log(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"id": "p", "asOf": "2026-01-15", "present": ["Nonsense"]}')
    assert main(["recommend", str(wrong), "--record-to", str(log)]) == 3
    assert len((log / FILE).read_bytes().splitlines()) == 3
    capsys.readouterr()


# ---- evidence ----------------------------------------------------------------------------------


def test_a_pack_is_written_and_verified(tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = tmp_path / "pack.zip"
    assert main(["evidence", PATIENT, "-o", str(pack)]) == 0
    out = capsys.readouterr().out
    signer = next(word.rstrip(";") for word in out.split() if word.startswith("sha256:"))
    assert [path.name for path in config.rglob("*.pem")] == ["signing-key.pem"]
    assert main(["evidence", "verify", str(pack), "--signer", signer]) == 0
    out = capsys.readouterr().out
    assert "as it was signed\nasked again: the same bytes\n" in out
    assert f"signed by: {signer} (the one that you named)" in out
    assert main(["evidence", "verify", str(pack), "--signer", "sha256:0", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_a_changed_pack_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = tmp_path / "pack.zip"
    assert main(["evidence", CONFLICT, "-o", str(pack)]) == 0
    data = bytearray(pack.read_bytes())
    data[data.index(b'"conflict"') + 1] ^= 1
    pack.write_bytes(data)
    assert main(["evidence", "verify", str(pack)]) == 1
    out = capsys.readouterr().out
    assert "error: result.json: damaged" in out
    assert "NOT as it was signed" in out


# ---- diff --------------------------------------------------------------------------------------


def test_what_a_new_version_changes(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(copy, "thresholds.ttl", "xsd:minExclusive 20.0", "xsd:minExclusive 25.0")
    cohort = tmp_path / "cohort.ndjson"
    record = {"id": "urn:p", "asOf": "2026-01-15", "absent": ["VitaminB12Deficiency", "BariatricSurgery"]}
    lengths = ({"of": "DistalIleumResected", "value": value, "unit": "cm"} for value in (22, 30))
    cohort.write_text("\n".join(json.dumps({**record, "measurements": [length]}) for length in lengths))
    assert main(["diff", "droracle-2025", str(copy), "--cohort", str(cohort)]) == 0
    out = capsys.readouterr().out
    assert "Advice: major." in out
    assert "DistalIleumResected > 20 cm and <= 25 cm" in out
    assert "Cohort: 1 of 2 records change" in out
    assert main(["diff", "droracle-2025", str(copy), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["advice"] == "major"


def test_that_nothing_changes_is_proven(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "droracle-2025", "droracle-2025"]) == 0
    assert "No patient's outcome changes: proven over " in capsys.readouterr().out


# ---- queries of these graphs -------------------------------------------------------------------


def test_the_graph_of_a_diff_is_asked(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(copy, "thresholds.ttl", "xsd:minExclusive 20.0", "xsd:minExclusive 25.0")
    assert main(["diff", "droracle-2025", str(copy), "--format", "turtle"]) == 0
    data = tmp_path / "diff.ttl"
    data.write_text(capsys.readouterr().out)
    assert main(["query", "what-changed", "--data", str(data), "--format", "csv"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert any("LongDistalIlealResection" in row and "20" in row and "25" in row for row in rows)
    assert any(row.startswith("changed") and "MaintenanceTreatment" in row for row in rows)


def test_the_graph_of_an_audit_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Something else.")
    assert main(["audit", "--source", str(text), "--format", "turtle"]) == 1
    data = tmp_path / "audit.ttl"
    data.write_text(capsys.readouterr().out)
    assert main(["query", "passages-not-found", "--data", str(data)]) == 0
    assert capsys.readouterr().out.endswith("35 rows\n")


def test_a_question_of_several_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "answer-unfired-rules", "--record", PATIENT, "--record", CONFLICT]) == 0
    both = capsys.readouterr().out
    assert main(["query", "answer-unfired-rules", "--record", PATIENT]) == 0
    assert len(both.splitlines()) < len(capsys.readouterr().out.splitlines())


# ---- wrong input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["recommend", PATIENT, "--with-record"], 2, "name its folder with --record-to"),
        (["recommend", PATIENT, "--record-to", "FILE"], 2, "FILE: not a folder"),
        (["audit", "log", "NONE"], 2, "runs.jsonl: No such file or directory"),
        (["audit", "log", ".", "--head", "abc"], 2, "'abc' is no hash of an entry"),
        (["evidence", PATIENT], 2, "name the file for the pack with -o"),
        (["evidence", PATIENT, "x", "-o", "y"], 2, "write `b12kg evidence FILE -o PACK`"),
        (["evidence", "verify", "NONE"], 2, "NONE: No such file or directory"),
        (["evidence", "verify", "FILE", "-o", "x"], 2, "-o is for writing a pack"),
        (["evidence", PATIENT, "-o", "NONE/pack.zip"], 2, "the pack is not written"),
        (["evidence", "verify", "FILE"], 1, ""),
        (["diff", "NONE", "droracle-2025"], 2, "no folder of Turtle at 'NONE'"),
        (["diff", "a" * 5000, "droracle-2025"], 2, "is no folder, guideline or revision"),
        (["audit", "--guideline", "a" * 5000], 2, "File name too long"),
        (["recommend", PATIENT, "--record-to", ""], 2, "--record-to names no folder"),
        (["diff", "droracle-2025", str(SECOND), "--cohort", "NONE"], 2, "NONE: No such file or directory"),
        (["query", "what-changed", "--data", "NONE"], 2, "NONE: No such file or directory"),
        (["query", "what-changed", "--data", "FILE"], 2, "FILE: not Turtle"),
    ],
)
def test_wrong_input_is_named(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("no zip, no Turtle")
    assert main(arguments) == code
    assert message in capsys.readouterr().err


def test_a_revision_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q", "."], check=True)
    assert main(["diff", "v9.9.9", "droracle-2025"]) == 2
