"""The log of runs: its chain, what breaks it and is named, what a killed process or a full disk leaves of it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import resource
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785

import b12kg
from b12kg import runlog
from b12kg.errors import ReasonerError, UsageError
from b12kg.recommend import ExecutableGuideline
from b12kg.runlog import FILE, Entry, LogReport, append, check

ROOT = Path(__file__).parents[1]
START = datetime(2026, 1, 15, 9, 0, tzinfo=UTC)
CANARY: dict[str, Any] = {
    "id": "urn:example:canary-4711",
    "asOf": "2026-01-15",
    "jurisdiction": "GB",
    # Not in the order of the normal form, and one entry twice: the answer names entries by their place.
    "present": ["VitaminB12Deficiency", {"of": "PerniciousAnemia", "on": "2025-12-24", "source": "Dr Canary"}],
    "absent": ["NeurologicalInvolvement", {"of": "BariatricSurgery"}, "BariatricSurgery"],
    "measurements": [
        {"of": "Homocysteine", "value": 612.50, "unit": "umol/L", "on": "2026-01-02"},
        {"of": "Homocysteine", "value": 17.3, "unit": "umol/L", "on": "2026-01-03"},
        {"of": "SerumB12", "value": 1e20, "unit": "pmol/L"},
    ],
}
SECRETS = ["canary", "4711", "Canary", "Deficiency", "Pernicious", "2025-12-24", "612.5", "17.3", "GB"]


def keep(
    folder: Path, guideline: ExecutableGuideline, count: int, *, start: int = 0, with_record: bool = False
) -> list[Entry]:
    """Add entries of different patients, a minute from each other."""
    return [
        append(
            folder,
            guideline.recommend({"id": f"urn:example:{n}", "asOf": "2026-01-15", "absent": ["BariatricSurgery"]}),
            at=START + timedelta(minutes=n),
            with_record=with_record,
        )
        for n in range(start, start + count)
    ]


def lines_of(folder: Path) -> list[bytes]:
    return (folder / FILE).read_bytes().splitlines(keepends=True)


def rewrite(folder: Path, lines: list[bytes]) -> None:
    (folder / FILE).write_bytes(b"".join(lines))


def forged(line: bytes, **changes: object) -> bytes:
    """A line with other values and the hash that belongs to them."""
    stated = json.loads(line, parse_int=lambda text: int(text) if len(text) < 16 else float(text))
    form = {key: value for key, value in {**stated, **changes}.items() if key != "hash"}
    form["hash"] = "sha256:" + hashlib.sha256(rfc8785.dumps(form)).hexdigest()
    return rfc8785.dumps(form) + b"\n"


def told(report: LogReport, severity: str = "error") -> list[str]:
    return [str(problem) for problem in report.problems if problem.severity == severity]


# ---- the chain ---------------------------------------------------------------------------------


def test_every_entry_names_the_one_before_it(tmp_path: Path, executable: ExecutableGuideline) -> None:
    entries = keep(tmp_path, executable, 5)
    lines = lines_of(tmp_path)
    forms = [json.loads(line) for line in lines]
    assert [rfc8785.dumps(form) + b"\n" for form in forms] == lines
    assert forms == [entry.to_dict() for entry in entries]
    assert [form["previous"] for form in forms] == [None, *(entry.hash for entry in entries[:-1])]
    for form in forms:
        hash_ = form.pop("hash")
        assert hash_ == "sha256:" + hashlib.sha256(rfc8785.dumps(form)).hexdigest()
    report = check(tmp_path)
    assert (report.entries, report.problems, report.head, report.ok) == (5, (), entries[-1].hash, True)
    assert report.not_rerun == {"the record is not in the log": 5}


def test_an_entry_says_by_digests_what_was_answered(tmp_path: Path, executable: ExecutableGuideline) -> None:
    answer, content = executable.recommend(CANARY), executable.content
    local = START.astimezone(datetime.strptime("+0530", "%z").tzinfo)
    form = append(tmp_path, answer, at=local).to_dict()
    whole: Any = answer.to_dict()
    assert form.keys() == {
        *("format", "previous", "at", "record", "guideline", "engine", "b12kg", "asOf", "outcomes", "result", "hash")
    }
    assert form["at"] == "2026-01-15T09:00:00.000000Z"
    assert form["record"] == whole["recordDigest"]
    assert form["guideline"] == {"id": content.id, "version": content.version, "digest": content.digest}
    assert (form["engine"], form["b12kg"], form["asOf"]) == ("table", b12kg.__version__, "2026-01-15")
    assert form["result"] == "sha256:" + hashlib.sha256(rfc8785.dumps(whole)).hexdigest()
    assert form["outcomes"] == {
        name: "sha256:" + hashlib.sha256(rfc8785.dumps(part)).hexdigest() for name, part in whole["decisions"].items()
    }
    assert len(whole["decisions"]) > 5


def test_no_word_of_the_record_is_in_the_log_without_with_record(
    tmp_path: Path, executable: ExecutableGuideline
) -> None:
    append(tmp_path / "without", executable.recommend(CANARY), at=START)
    append(tmp_path / "with", executable.recommend(CANARY), at=START, with_record=True)
    without, with_ = ((tmp_path / name / FILE).read_text(encoding="utf-8") for name in ("without", "with"))
    assert [secret for secret in SECRETS if secret in without] == []
    assert [secret for secret in SECRETS if secret not in with_] == []


def test_a_time_has_a_zone(tmp_path: Path, executable: ExecutableGuideline) -> None:
    with pytest.raises(UsageError, match="no time zone"):
        append(tmp_path, executable.recommend(CANARY), at=START.replace(tzinfo=None))
    assert not (tmp_path / FILE).exists()


def test_a_time_that_goes_backwards_is_odd_and_no_error(tmp_path: Path, executable: ExecutableGuideline) -> None:
    keep(tmp_path, executable, 2, start=7)
    keep(tmp_path, executable, 1)
    report = check(tmp_path)
    assert report.ok
    assert [problem.path for problem in report.problems] == [f"{FILE} line 3"]
    assert "its time is before" in str(report.problems[0])


# ---- tampering ---------------------------------------------------------------------------------

# What is done to a log of eight entries, the line that is named first, and what is said of it. What
# breaks because of it further down is found as well, and named after it.
Tamper = Callable[[list[bytes]], list[bytes]]
TAMPERING: dict[str, tuple[Tamper, int, str]] = {
    "a value edited": (lambda x: [*x[:3], x[3].replace(b"2026-01-15T", b"2026-01-14T"), *x[4:]], 4, "edited: its hash"),
    "a hash edited": (lambda x: [*x[:3], x[3][:-9] + b'00000"}\n', *x[4:]], 4, "edited"),
    "a space added": (lambda x: [*x[:3], x[3].replace(b'","', b'", "', 1), *x[4:]], 4, "not in the form of RFC 8785"),
    "a key twice": (lambda x: [*x[:3], b'{"a":1,' + x[3][1:], *x[4:]], 4, "no entry of a log: a"),
    "a key gone": (lambda x: [*x[:3], x[3].replace(b'"engine":"table",', b""), *x[4:]], 4, "no entry of a log: engine"),
    "another format": (lambda x: [*x[:3], forged(x[3], format=2), *x[4:]], 4, "not of format 1"),
    "a format that is true": (lambda x: [*x[:3], forged(x[3], format=True), *x[4:]], 4, "not of format 1"),
    "a line that is empty": (lambda x: [*x[:3], b"\n", *x[3:]], 4, "not JSON"),
    "edited and hashed anew": (lambda x: [*x[:3], forged(x[3], asOf="2020-01-01"), *x[4:]], 5, "removed"),
    "the first removed": (lambda x: x[1:], 1, "removed"),
    "one removed": (lambda x: [*x[:3], *x[4:]], 4, "removed"),
    "two removed": (lambda x: [*x[:3], *x[5:]], 4, "removed"),
    "two swapped": (lambda x: [*x[:3], x[4], x[3], *x[5:]], 4, "reordered: it follows line 5"),
    "the last moved up": (lambda x: [*x[:3], x[7], *x[3:7]], 4, "reordered: it follows line 8"),
    "one moved down": (lambda x: [*x[:3], *x[4:7], x[3], x[7]], 4, "reordered: it follows line 7"),
    "all reversed": (lambda x: x[::-1], 1, "reordered: it follows line 2"),
    "a copy inserted": (lambda x: [*x[:5], x[1], *x[5:]], 6, "inserted: a copy of line 2"),
    "one of another log inserted": (lambda x: [*x[:3], forged(x[0], asOf="2020-01-01"), *x[3:]], 4, "first entry of"),
    "a stranger inserted": (
        lambda x: [*x[:3], forged(x[3], previous="sha256:" + "0" * 64), *x[3:]],
        4,
        "inserted: line 5 follows line 3",
    ),
    "one that fits inserted": (
        lambda x: [*x[:3], forged(x[3], asOf="2020-01-01"), *x[3:]],
        5,
        "inserted: it follows line 3",
    ),
    "not UTF-8": (lambda x: [*x[:3], b'{"a":"\xff"}\n', *x[4:]], 4, "not UTF-8"),
    "not a number": (lambda x: [*x[:3], b'{"a":NaN}\n', *x[4:]], 4, "not JSON, or with a number"),
    "infinite": (lambda x: [*x[:3], b'{"a":1e999}\n', *x[4:]], 4, "not JSON, or with a number"),
    "half a character": (lambda x: [*x[:3], b'{"a":"\\ud800"}\n', *x[4:]], 4, "not JSON, or with a number"),
    "a number of 100,000 digits": (lambda x: [*x[:3], b'{"a":' + b"1" * 10**5 + b"}\n", *x[4:]], 4, "not JSON, or"),
    "lists in lists": (lambda x: [*x[:3], b"[" * 10**5 + b"]" * 10**5 + b"\n", *x[4:]], 4, "nested too deeply"),
    "lists in lists, less deep": (lambda x: [*x[:3], b"[" * 900 + b"]" * 900 + b"\n", *x[4:]], 4, "edited or inserted"),
    "no object": (lambda x: [*x[:3], b"[]\n", *x[4:]], 4, "not of format 1"),
    "a guideline that is none": (lambda x: [*x[:3], forged(x[3], guideline="x"), *x[4:]], 4, "of a log: guideline"),
    "a hash that is null": (lambda x: [*x[:3], b'{"format":1,"hash":null}\n', *x[4:]], 4, "no entry of a log"),
    "a line without end": (lambda x: [*x[:3], b"x" * (3 * 2**20) + b"\n", *x[4:]], 4, "longer than"),
    "a last line without end": (lambda x: [*x[:3], b"x" * (3 * 2**20)], 4, "longer than"),
}


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory, executable: ExecutableGuideline) -> list[bytes]:
    folder = tmp_path_factory.mktemp("eight")
    keep(folder, executable, 8)
    return lines_of(folder)


@pytest.mark.parametrize(("tamper", "line", "message"), TAMPERING.values(), ids=list(TAMPERING))
def test_tampering_is_found_and_its_first_broken_link_named(
    tmp_path: Path, eight: list[bytes], tamper: Tamper, line: int, message: str
) -> None:
    rewrite(tmp_path, eight)
    assert check(tmp_path).ok
    changed = tamper(eight)
    assert changed != eight
    rewrite(tmp_path, changed)
    report = check(tmp_path)
    assert not report.ok
    first = told(report)[0]
    assert first.startswith(f"{FILE} line {line}: ")
    assert message in first
    json.dumps(report.to_dict(), allow_nan=False)


def test_every_byte_of_an_entry_counts(tmp_path: Path, eight: list[bytes]) -> None:
    two = b"".join(eight[:2])
    found = 0
    for place in range(len(two) - 1):
        changed = bytearray(two)
        changed[place] ^= 1
        (tmp_path / FILE).write_bytes(changed)
        found += not check(tmp_path).ok
    assert found == len(two) - 1 > 1000


def test_nothing_in_an_entry_breaks_the_asking_again(
    tmp_path: Path, eight: list[bytes], executable: ExecutableGuideline
) -> None:
    badly: dict[str, object] = {"id": [[]], "asOf": 5, "present": {"a": 1}, "measurements": [{"value": {}}]}
    odd: list[dict[str, object]] = [
        {"given": {}},
        {"given": badly},
        {"outcomes": {}},
        {"engine": "none"},
        {"healed": -1},
    ]
    odd += [{"guideline": {}}, {"guideline": {"digest": []}}]
    kept, previous = list[bytes](), None
    for change in odd:
        kept.append(forged(eight[0], **{"given": dict(CANARY), "previous": previous} | change))
        previous = json.loads(kept[-1])["hash"]
    rewrite(tmp_path, kept)
    report = check(tmp_path, executable)
    assert report.same == 0
    assert report.entries == 7 == report.different + sum(report.not_rerun.values())
    assert report.not_rerun == {
        "of another guideline, or of another version of it": 2,
        "of an engine that is not known": 1,
    }


def test_what_is_found_is_bounded(tmp_path: Path, eight: list[bytes]) -> None:
    rewrite(tmp_path, [*eight[:2], *([b"\n"] * 5000)])
    report = check(tmp_path)
    assert (report.entries, len(report.problems)) == (5002, 101)
    assert str(report.problems[-1]) == f"{FILE}: 4900 more errors are not listed"


def test_a_long_log_is_not_held_in_memory(tmp_path: Path, eight: list[bytes]) -> None:
    previous = None
    with (tmp_path / FILE).open("wb") as file:
        for _ in range(3000):
            file.write(line := forged(eight[0], previous=previous))
            previous = json.loads(line)["hash"]
    tracemalloc.start()
    report = check(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (report.entries, report.ok, report.head) == (3000, True, previous)
    assert peak < 500_000 < (tmp_path / FILE).stat().st_size


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_long_line_is_not_held_in_memory(tmp_path: Path, eight: list[bytes], end: bytes) -> None:
    rewrite(tmp_path, [*eight, b"x" * (32 * 2**20) + end])
    tracemalloc.start()
    report = check(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (report.entries, told(report)) == (9, [f"{FILE} line 9: edited or inserted: longer than 1048576 bytes"])
    assert peak < 8 * 2**20


# ---- the head ----------------------------------------------------------------------------------


def test_a_log_whose_end_was_cut_off_or_that_was_written_anew_is_found_by_its_head(
    tmp_path: Path, executable: ExecutableGuideline
) -> None:
    entries = keep(tmp_path, executable, 4)
    lines, head = lines_of(tmp_path), entries[-1].hash
    assert check(tmp_path, head=head).ok
    assert check(tmp_path, head=entries[1].hash).ok  # it has been added to since
    rewrite(tmp_path, lines[:-1])
    assert check(tmp_path).ok
    report = check(tmp_path, head=head)
    said = "no entry has the hash that was given: the end was cut off, or the log was written anew"
    assert told(report) == [f"{FILE}: {said} (found: {head})"]
    anew, previous = list[bytes](), None
    for line in lines:
        anew.append(forged(line, asOf="2020-01-01", previous=previous))
        previous = json.loads(anew[-1])["hash"]
    rewrite(tmp_path, anew)
    assert check(tmp_path).ok
    assert not check(tmp_path, head=head).ok


@pytest.mark.parametrize("head", ["", "sha256:12", "x" * 64])
def test_a_head_that_is_no_hash_is_refused(tmp_path: Path, executable: ExecutableGuideline, head: str) -> None:
    keep(tmp_path, executable, 1)
    with pytest.raises(UsageError, match="is no hash of an entry"):
        check(tmp_path, head=head)


# ---- asked again -------------------------------------------------------------------------------


def test_a_record_that_is_kept_is_asked_again(
    tmp_path: Path, executable: ExecutableGuideline, tied: ExecutableGuideline
) -> None:
    append(tmp_path, executable.recommend(CANARY), at=START, with_record=True)
    append(tmp_path, executable.recommend(CANARY), at=START)
    append(tmp_path, tied.recommend({"id": "p", "asOf": "2026-01-15"}), at=START, with_record=True)
    report = check(tmp_path, executable)
    assert (report.entries, report.same, report.different, report.problems) == (3, 1, 0, ())
    without, other = "the record is not in the log", "of another guideline, or of another version of it"
    assert report.not_rerun == {without: 1, other: 1}
    assert check(tmp_path, tied).not_rerun == {without: 1, other: 1}
    assert check(tmp_path).not_rerun == {without: 1, "no guideline was given": 2}
    assert report.to_dict()["rerun"] == {"same": 1, "different": 0, "not": {without: 1, other: 1}}


@pytest.mark.parametrize("form", ["json", "turtle"])
def test_the_answer_is_the_same_in_whatever_order_and_format_the_record_was_given(
    tmp_path: Path, executable: ExecutableGuideline, form: str
) -> None:
    record: Mapping[str, object] | bytes = CANARY
    if form == "turtle":
        from b12kg.records import read
        from b12kg.records.rdf import record_graph

        record = (
            record_graph(read(CANARY, executable.content).record, executable.content)
            .serialize(format="turtle")
            .encode()
        )
    answer = executable.recommend(record, format=form)
    assert any("612.5" in str(problem) for problem in answer.warnings)
    assert answer.unused
    append(tmp_path, answer, at=START, with_record=True)
    report = check(tmp_path, executable)
    assert (report.same, report.different, report.problems) == (1, 0, ())


def test_another_outcome_is_found_and_its_decision_named(
    tmp_path: Path, executable: ExecutableGuideline, copy: Path
) -> None:
    """The log of a changed guideline, made to look as if it were of the shipped one."""
    text = (copy / "rules.ttl").read_text(encoding="utf-8")
    changed = text.replace("b12:modality b12:recommends", "b12:modality b12:permits", 1)
    assert changed != text
    (copy / "rules.ttl").write_text(changed, encoding="utf-8")
    other = b12kg.load(copy)
    append(tmp_path, other.recommend(CANARY), at=START, with_record=True)
    assert check(tmp_path, other).same == 1
    assert check(tmp_path, executable).not_rerun == {"of another guideline, or of another version of it": 1}
    (line,) = lines_of(tmp_path)
    guideline = {**json.loads(line)["guideline"], "digest": executable.content.digest}
    rewrite(tmp_path, [forged(line, guideline=guideline)])
    assert check(tmp_path).ok
    report = check(tmp_path, executable)
    assert (report.same, report.different, report.ok) == (0, 1, False)
    was, now = (found.recommend(CANARY).to_dict()["decisions"] for found in (other, executable))
    assert isinstance(was, dict)
    assert isinstance(now, dict)
    differing = sorted(name for name in was if was[name] != now[name])
    assert differing
    assert told(report) == [f"{FILE} line 1: asked again, the answer is another in {', '.join(differing)}"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"result": "sha256:" + "0" * 64}, "the decisions are the same, and the rest of the answer is another"),
        ({"record": "sha256:" + "0" * 64}, "the record in it is another"),
        ({"given": {"id": "urn:example:canary-4711", "asOf": "2026-01-15"}}, "the record in it is another"),
        ({"given": {**CANARY, "present": ["Canary"]}}, "the record is not answered any more: present[0]"),
        ({"result": "sha256:" + "0" * 64, "b12kg": "0.0.1"}, f"(made by b12kg 0.0.1, this is {b12kg.__version__})"),
    ],
)
def test_an_entry_that_is_not_what_is_answered_is_found(
    tmp_path: Path, executable: ExecutableGuideline, changes: dict[str, object], message: str
) -> None:
    append(tmp_path, executable.recommend(CANARY), at=START, with_record=True)
    (line,) = lines_of(tmp_path)
    rewrite(tmp_path, [forged(line, **changes)])
    assert check(tmp_path).ok
    report = check(tmp_path, executable)
    assert (report.same, report.different) == (0, 1)
    (found,) = told(report)
    assert message in found
    assert [secret for secret in ("Canary", "canary") if secret in found] == []


def test_a_reasoner_that_fails_is_no_other_answer(
    tmp_path: Path, executable: ExecutableGuideline, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path, executable.recommend(CANARY), at=START, with_record=True)
    asked = list[object]()

    def fails(*arguments: object, **options: object) -> None:
        asked.append(options["engine"])
        raise ReasonerError("Java did not start")

    monkeypatch.setattr(ExecutableGuideline, "recommend", fails)
    report = check(tmp_path, executable)
    assert asked == ["table"]
    assert (report.same, report.different, report.not_rerun) == (0, 0, {"the reasoner failed": 1})


# ---- torn lines --------------------------------------------------------------------------------


def test_a_line_torn_at_any_byte_is_told_from_tampering_and_healed(
    tmp_path: Path, executable: ExecutableGuideline
) -> None:
    entries = keep(tmp_path, executable, 3)
    lines = lines_of(tmp_path)
    healed = 0
    for length in range(1, len(lines[2])):
        torn = lines[2][:length]
        rewrite(tmp_path, [*lines[:2], torn])
        report = check(tmp_path)
        assert (report.ok, report.entries, report.head) == (True, 2, entries[1].hash)
        (warning,) = told(report, "warning")
        assert warning == f"{FILE} line 3: torn: {length} bytes of an entry that was never finished"
        if length % 50 == 1:  # each is put on the disk
            (added,) = keep(tmp_path, executable, 1, start=5)
            assert added.form["healed"] == length
            assert lines_of(tmp_path)[:2] == lines[:2]
            report = check(tmp_path)
            assert (report.ok, report.entries, report.head) == (True, 3, added.hash)
            assert told(report, "warning") == [f"{FILE} line 3: {length} bytes of a torn entry were removed before it"]
            healed += 1
    assert healed > 10


def test_a_first_line_that_is_torn_is_healed(tmp_path: Path, executable: ExecutableGuideline) -> None:
    (tmp_path / FILE).touch(mode=0o600)
    (tmp_path / FILE).write_bytes(b'{"asOf":"2026')
    assert check(tmp_path).entries == 0
    (added,) = keep(tmp_path, executable, 1)
    assert (added.form["healed"], added.form["previous"]) == (13, None)
    assert check(tmp_path).head == added.hash


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (b"x" * (2**20 + 1), "are no line of such a log"),
        (b"x" * (5 * 2**20), "are no line of such a log"),
        (b"x" * (5 * 2**20) + b"\n", "longer than"),
        (b"not an entry\n", "not JSON"),
        (b"", "which was edited"),
    ],
)
def test_nothing_is_added_after_what_is_no_entry(
    tmp_path: Path, executable: ExecutableGuideline, end: bytes, message: str
) -> None:
    keep(tmp_path, executable, 2)
    lines = lines_of(tmp_path)
    before = b"".join([*lines, end] if end else [lines[0], lines[1].replace(b"2026-01-15T", b"2026-01-14T")])
    (tmp_path / FILE).write_bytes(before)
    with pytest.raises(UsageError, match=message):
        keep(tmp_path, executable, 1)
    assert (tmp_path / FILE).read_bytes() == before


# ---- kills, several at once, a full disk -------------------------------------------------------

ADDING = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
import b12kg
from b12kg.runlog import append
guideline = b12kg.load()
records = [{"id": f"urn:example:{n}", "asOf": "2026-01-15"} for n in range(5)]
answers = [guideline.recommend(record) for record in records]
for answer in answers:
    answer.to_dict()

def adding(most):
    for n in range(most):
        entry = append(Path(sys.argv[1]), answers[n % 5], at=datetime.now(UTC), with_record=bool(n % 2))
        os.write(1, f"{entry.hash}\\n".encode())
"""

# Each is killed at a random moment while it adds; what it has said is whole lines of its own pipe.
KILLED = (
    ADDING
    + """
import random, signal, time
chance = random.Random(int(sys.argv[2]))
for _ in range(int(sys.argv[3])):
    child = os.fork()
    if not child:
        adding(10**6)
    time.sleep(chance.uniform(0.0, 0.06))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    os.write(2, b"killed\\n")
"""
)


def run(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_kills_lose_no_entry_that_was_told_of(tmp_path: Path, executable: ExecutableGuideline) -> None:
    seed, kills = random.randrange(10**6), 40
    output, errors = run(KILLED, tmp_path, seed, kills).communicate(timeout=120)
    assert errors.count("killed") == kills, errors
    acknowledged = output.split()
    report = check(tmp_path, executable)
    assert told(report) == [], f"seed {seed}"
    hashes = [json.loads(line)["hash"] for line in lines_of(tmp_path) if line.endswith(b"\n")]
    assert len(acknowledged) > kills
    assert [hash_ for hash_ in hashes if hash_ in set(acknowledged)] == acknowledged, f"seed {seed}"
    # An entry that was added and not yet told of may be there too, one a kill.
    assert len(acknowledged) <= len(hashes) <= len(acknowledged) + kills
    assert report.same > 10
    keep(tmp_path, executable, 1, start=10**6)
    assert told(check(tmp_path)) == []


def test_four_processes_at_once_make_one_chain(tmp_path: Path) -> None:
    processes = [run(ADDING + "adding(50)", tmp_path) for _ in range(4)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    report = check(tmp_path)
    assert (report.entries, report.ok) == (200, True)
    hashes = [json.loads(line)["hash"] for line in lines_of(tmp_path)]
    assert sorted(hashes) == sorted(hash_ for output, _ in said for hash_ in output.split())
    assert len(set(hashes)) == 200


@pytest.mark.parametrize("room", [0, 1, 700])
def test_a_file_that_may_not_grow_keeps_its_entries(tmp_path: Path, executable: ExecutableGuideline, room: int) -> None:
    (entry,) = keep(tmp_path, executable, 1)
    before = (tmp_path / FILE).read_bytes()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, resource.RLIM_INFINITY))

    process = run(ADDING + "adding(1)", tmp_path, preexec_fn=limit, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert output == ""
    reason = "File too large" if room == 0 else f"only {room} of "
    assert f"b12kg.errors.UsageError: {tmp_path / FILE}: {reason}" in errors
    assert (tmp_path / FILE).read_bytes() == before
    report = check(tmp_path)
    assert (report.problems, report.head) == ((), entry.hash)


def _half_and_full(descriptor: int, data: bytes) -> int:
    WRITE(descriptor, data[: len(data) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _half(descriptor: int, data: bytes) -> int:
    return WRITE(descriptor, data[: len(data) // 2])


def _not_synced(_: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


WRITE = os.write


@pytest.mark.parametrize(
    ("call", "fails", "reason"),
    [
        ("write", _half_and_full, "No space left on device"),
        ("write", _half, r"only \d+ of \d+ bytes could be written"),
        ("fsync", _not_synced, "Input/output error"),
    ],
)
@pytest.mark.parametrize("torn", [b"", b'{"asOf":'])
def test_a_disk_that_is_full_leaves_the_earlier_entries_whole(
    tmp_path: Path,
    executable: ExecutableGuideline,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    fails: Callable[..., int],
    reason: str,
    torn: bytes,
) -> None:
    entries = keep(tmp_path, executable, 2)
    before = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(before + torn)
    with monkeypatch.context() as patch:
        patch.setattr(runlog.os, call, fails)  # type: ignore[attr-defined]
        with pytest.raises(UsageError, match=reason) as raised:
            keep(tmp_path, executable, 1, start=2)
    assert str(tmp_path / FILE) in str(raised.value)
    assert (tmp_path / FILE).read_bytes() == before
    (added,) = keep(tmp_path, executable, 1, start=2)
    assert added.form["previous"] == entries[-1].hash
    assert (check(tmp_path).entries, check(tmp_path).problems) == (3, ())


def test_an_entry_that_is_too_long_is_refused(tmp_path: Path, executable: ExecutableGuideline) -> None:
    (first,) = keep(tmp_path, executable, 1)
    long = executable.recommend({**CANARY, "present": [{"of": "VitaminB12Deficiency", "source": "x" * 2**20}]})
    with pytest.raises(UsageError, match="bytes is too long; at most 1048576"):
        append(tmp_path, long, at=START, with_record=True)
    assert check(tmp_path).head == first.hash
    append(tmp_path, long, at=START)
    assert check(tmp_path).entries == 2


# ---- the file ----------------------------------------------------------------------------------


def test_nobody_else_can_read_the_log(tmp_path: Path, executable: ExecutableGuideline) -> None:
    folder, before = tmp_path / "a" / "log", os.umask(0)
    try:
        keep(folder, executable, 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    (folder / FILE).chmod(0o640)
    with pytest.raises(UsageError, match="its mode has to be 0600"):
        keep(folder, executable, 1)
    assert check(folder).entries == 1


def _link(path: Path) -> None:
    (path.parent / "elsewhere").touch(mode=0o600)
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_link, "a symbolic link, which is not followed"),
        (lambda path: path.symlink_to(path.parent / "nothing"), "a symbolic link, which is not followed"),
        (lambda path: os.mkfifo(path, 0o600), "not a regular file"),
        (lambda path: path.mkdir(), "directory|not a regular file"),
    ],
)
def test_what_is_no_file_is_refused(
    tmp_path: Path, executable: ExecutableGuideline, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / FILE)
    with pytest.raises(UsageError, match=message):
        keep(tmp_path, executable, 1)
    with pytest.raises(UsageError, match=message):
        check(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    assert not (tmp_path / "nothing").exists()
    assert not elsewhere.exists() or elsewhere.read_bytes() == b""


def test_a_log_that_is_not_there_is_no_empty_log(tmp_path: Path, executable: ExecutableGuideline) -> None:
    with pytest.raises(UsageError, match=r"runs\.jsonl: No such file"):
        check(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not a folder"):
        keep(tmp_path / "file", executable, 1)


def test_a_platform_without_file_locks_is_told(
    tmp_path: Path, executable: ExecutableGuideline, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path, executable, 1)
    monkeypatch.setattr(runlog, "fcntl", None)
    for call in (lambda: keep(tmp_path, executable, 1), lambda: check(tmp_path)):
        with pytest.raises(UsageError, match="this platform does not have"):
            call()
    assert len(lines_of(tmp_path)) == 1
