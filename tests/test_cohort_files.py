"""Files of rows: every format and backend, parts that are gone on with, and what is counted of them."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from b12kg.cli import cohort as command
from b12kg.cli import main
from b12kg.cohort.files import Counts, Job, run
from b12kg.cohort.summary import STATUSES, as_page, as_text, summary
from b12kg.errors import UsageError
from b12kg.recommend import ExecutableGuideline
from tests.cohort_rows import Row, differences, random_rows, record_of, single
from tests.test_cohort import Singles, frame_of, singles

ROWS = 1200


@pytest.fixture(scope="module")
def rows(executable: ExecutableGuideline) -> list[Row]:
    # Some are text that is not what it should be, in a file of text; here each is a value of its type.
    return list(random_rows(executable.content, ROWS, seed=11))


@pytest.fixture(scope="module")
def expected(executable: ExecutableGuideline, rows: list[Row]) -> Singles:
    return singles(executable, rows)


def ran(executable: ExecutableGuideline, job: Job, report: Any = lambda *_: None) -> Counts:
    return run(executable.cohorts(), job, executable.row, report)


def came_out(output: Path, key: str = "row") -> tuple[dict[Any, dict[str, int]], dict[Any, str]]:
    codes = pl.read_parquet(output / "codes" / "*.parquet").to_dicts()
    rejects = pl.read_parquet(output / "rejects" / "*.parquet").to_dicts()
    return {row.pop(key): row for row in codes}, {row[key]: row["reason"] for row in rejects}


@pytest.mark.parametrize("backend", ["polars", "duckdb"])
@pytest.mark.parametrize("key", [None, "id"])
def test_a_folder_of_parquet(
    executable: ExecutableGuideline, rows: list[Row], expected: Singles, tmp_path: Path, backend: Any, key: str | None
) -> None:
    frame = frame_of(executable, rows)
    frame = frame.with_row_index("id") if key else frame
    (tmp_path / "in").mkdir()
    frame[:700].write_parquet(tmp_path / "in" / "a.parquet", row_group_size=100)
    frame[700:].write_parquet(tmp_path / "in" / "b.parquet", row_group_size=100)
    counts = ran(executable, Job(tmp_path / "in", tmp_path / "out", key, backend, rows=300))
    codes, reasons = came_out(tmp_path / "out", key or "row")
    assert list(differences(executable, expected, codes, reasons)) == []
    assert len(codes) + len(reasons) == counts.rows == ROWS
    assert counts.refused == len(reasons) > 10
    assert len(list((tmp_path / "out" / "codes").iterdir())) == 5  # three of the first file, two of the second
    said = [json.loads(line) for line in (tmp_path / "out" / "outcomes.ndjson").read_text().splitlines()]
    assert said == executable.outcomes()


def test_csv_is_read_by_the_schema(
    executable: ExecutableGuideline, rows: list[Row], expected: Singles, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    # A CSV file has no null apart from the empty text, which is no jurisdiction in a record.
    kept = {n: row for n, row in enumerate(rows) if row["jurisdiction"] != "" and not any(map(_long, row.values()))}
    assert len(kept) > ROWS / 3
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", *executable.cohort_schema()])
        writer.writeheader()
        writer.writerows({"id": n} | {name: _cell(value) for name, value in row.items()} for n, row in kept.items())
    ran(executable, Job(path, tmp_path / "out", "id", rows=500))
    by_code, by_reason = came_out(tmp_path / "out", "id")
    codes, reasons = {int(n): c for n, c in by_code.items()}, {int(n): r for n, r in by_reason.items()}
    assert codes.keys() | reasons.keys() == kept.keys()
    finite = {n: expected[n] for n, row in kept.items() if not any(map(_odd, row.values()))}
    assert len(finite) > ROWS / 4
    assert list(differences(executable, finite, codes, reasons)) == []
    assert {n for n in kept if n not in finite} <= reasons.keys()


def _cell(value: object) -> object:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def _long(value: object) -> bool:
    return isinstance(value, float) and len(re.sub(r"\D", "", repr(value).partition("e")[0])) > 15


def _odd(value: object) -> bool:
    return isinstance(value, float) and (value != value or abs(value) == float("inf") or 0 < abs(value) < 1e-99)


@pytest.mark.parametrize(
    ("column", "cell", "answered"),
    [
        ("Hematocrit", "41", True),
        ("Hematocrit", "4.1e1", True),
        ("Hematocrit", "+041.50", True),
        ("Hematocrit", "", True),
        ("Hematocrit", "0.000000000000000000412", True),
        ("Hematocrit", "41,5", False),
        ("Hematocrit", " 41", False),
        ("Hematocrit", "0x29", False),
        ("Hematocrit", "4_1", False),
        ("Hematocrit", "nan", False),
        ("Hematocrit", "inf", False),
        ("Hematocrit", "34.9999999999999999", False),
        ("Hematocrit", "n/a", False),
        ("BariatricSurgery", "true", True),
        ("BariatricSurgery", "", True),
        ("BariatricSurgery", "True", True),
        ("BariatricSurgery", "FALSE", True),
        ("BariatricSurgery", "yes", False),
        ("BariatricSurgery", "1", False),
        ("jurisdiction", "GB", True),
        ("jurisdiction", "GB ", False),
    ],
)
def test_a_cell_of_csv(executable: ExecutableGuideline, tmp_path: Path, column: str, cell: str, answered: bool) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f'id,{column}\n1,"{cell}"\n' if cell else f"id,{column}\n1,\n", encoding="utf-8")
    counts = ran(executable, Job(path, tmp_path / "out", "id"))
    assert (counts.rows, counts.refused) == (1, 0 if answered else 1)


def test_records_a_line(executable: ExecutableGuideline, rows: list[Row], expected: Singles, tmp_path: Path) -> None:
    path = tmp_path / "records.ndjson"
    odd = {
        n
        for n, row in enumerate(rows)
        if any(isinstance(v, float) and (v != v or abs(v) == float("inf")) for v in row.values())
    }
    lines = [json.dumps(record_of(executable.content, row)) for row in rows]
    bound = {
        "id": "b",
        "asOf": "2026-01-15",
        "measurements": [{"of": "Homocysteine", "value": 50, "unit": "umol/L", "comparator": ">"}],
    }
    unit = {
        "id": "u",
        "asOf": "2026-01-15",
        "measurements": [{"of": "Hematocrit", "value": 0.29, "unit": "L/L"}],
        "treatments": [{"of": "B12Treatment", "status": "stopped"}],
    }
    path.write_text("\n".join([*lines, json.dumps(bound), json.dumps(unit), "no record"]) + "\n", encoding="utf-8")
    counts = ran(executable, Job(path, tmp_path / "out", rows=500))
    codes, reasons = came_out(tmp_path / "out")
    assert counts.rows == ROWS + 3 == len(codes) + len(reasons)
    readable = {n: found for n, found in expected.items() if n not in odd}
    wrong = [text for text in differences(executable, readable, codes, reasons) if "refused for" not in text]
    assert wrong == []
    assert {n for n, found in expected.items() if isinstance(found, frozenset)} | {ROWS + 2} == reasons.keys()
    outcomes = executable.cohorts().codes.outcomes
    for n, record in ((ROWS, bound), (ROWS + 1, unit)):
        answer = executable.recommend(record)
        for name, decision in answer.decisions.items():
            assert outcomes[name][codes[n][name]].verdict.outcome == decision.outcome
    assert "not JSON" in reasons[ROWS + 2]


# ---- going on ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["polars", "duckdb"])
def test_a_run_that_was_killed_goes_on(
    executable: ExecutableGuideline, rows: list[Row], tmp_path: Path, backend: Any
) -> None:
    frame_of(executable, rows).write_parquet(tmp_path / "in.parquet")
    job = Job(tmp_path / "in.parquet", tmp_path / "out", backend=backend, rows=300)

    def killed(done: int, of: int | None) -> None:
        assert of == ROWS
        if done == 600:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ran(executable, job, killed)
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "codes").iterdir()}
    assert first.keys() == {"00000.parquet", "00001.parquet"}
    (tmp_path / "out" / "done" / "00001.json").unlink()  # killed between the rows of a part and its mark
    (tmp_path / "out" / "codes" / "00002.part").write_bytes(b"half")
    counts = ran(executable, job)
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "codes").glob("*.parquet")}
    assert len(again) == 4
    assert again["00000.parquet"] == first["00000.parquet"]
    assert again["00001.parquet"] != first["00001.parquet"]
    whole = ran(executable, Job(job.input, tmp_path / "whole", backend=backend, rows=300))
    assert counts.to_dict() == whole.to_dict() == Counts.of(json.loads(json.dumps(whole.to_dict()))).to_dict()
    assert came_out(tmp_path / "out") == came_out(tmp_path / "whole")


def test_a_run_that_had_done_nothing_leaves_nothing_to_another(
    executable: ExecutableGuideline, rows: list[Row], tmp_path: Path
) -> None:
    frame_of(executable, rows).write_parquet(tmp_path / "in.parquet")
    frame_of(executable, rows[:100]).write_parquet(tmp_path / "few.parquet")
    ran(executable, Job(tmp_path / "in.parquet", tmp_path / "out", rows=300))
    with pytest.raises(UsageError, match="made from another input"):
        ran(executable, Job(tmp_path / "few.parquet", tmp_path / "out", rows=300))
    for mark in (tmp_path / "out" / "done").iterdir():
        mark.unlink()
    (tmp_path / "out" / "codes" / "00003.part").write_bytes(b"half")
    assert ran(executable, Job(tmp_path / "few.parquet", tmp_path / "out", rows=300)).rows == 100
    codes, reasons = came_out(tmp_path / "out")
    assert len(codes) + len(reasons) == 100
    assert [path.name for path in (tmp_path / "out" / "codes").iterdir()] == ["00000.parquet"]


@pytest.mark.parametrize("after", [0, 3])
def test_a_process_that_was_killed_leaves_nothing_half_done(
    executable: ExecutableGuideline, rows: list[Row], tmp_path: Path, after: int
) -> None:
    frame_of(executable, rows).write_parquet(tmp_path / "rows.parquet")
    options = [str(tmp_path / "rows.parquet"), "-o", str(tmp_path / "out"), "--rows", "100"]
    command = [sys.executable, "-m", "b12kg", "cohort", *options]
    out, marks, pipe = tmp_path / "out", tmp_path / "out" / "done", subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, cwd=Path(__file__).parents[1]) as killed:
        deadline = time.monotonic() + 60
        while not (out / "run.json").exists() or len(list(marks.glob("*.json"))) < after:
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        killed.kill()
    done = {path: path.stat().st_mtime_ns for path in marks.glob("*.json")}
    assert after <= len(done) < 12
    counts = ran(executable, Job(tmp_path / "rows.parquet", tmp_path / "out", rows=100))
    assert {path: path.stat().st_mtime_ns for path in done} == done  # what was done is not done again
    whole = ran(executable, Job(tmp_path / "rows.parquet", tmp_path / "whole", rows=100))
    assert counts == whole
    assert came_out(tmp_path / "out") == came_out(tmp_path / "whole")
    assert counts.rows == ROWS


def test_another_run_does_not_go_on_with_it(executable: ExecutableGuideline, rows: list[Row], tmp_path: Path) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out"
    frame_of(executable, rows).write_parquet(path)
    ran(executable, Job(path, out))
    with pytest.raises(UsageError, match="made from another options"):
        ran(executable, Job(path, out, explain=True))
    frame_of(executable, rows[:-1]).write_parquet(path)
    with pytest.raises(UsageError, match="made from another input"):
        ran(executable, Job(path, out))
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        ran(executable, Job(path, tmp_path / "else"))


@pytest.mark.parametrize(
    ("name", "content", "backend", "said"),
    [
        ("rows.txt", "x", "polars", "rows are in files of .parquet"),
        ("rows.csv", "PerniciousAnaemia\ntrue\n", "polars", "perhaps 'PerniciousAnemia' is meant"),
        ("rows.csv", "Hematocrit\n41\n", "duckdb", "the backend is polars"),
        ("rows.csv", "Hematocrit,row\n41,1\n", "polars", "there is such a column"),
        ("rows.csv", "Hematocrit\n41\n", "spark", "Spark reads Parquet"),
        ("rows.csv", "", "polars", r"rows.csv: cannot be read as what its name says \(NoDataError\)"),
        ("rows.csv", "PerniciousAnaemia\n", "polars", "perhaps 'PerniciousAnemia' is meant"),
        ("rows.csv", "Hematocrit\n41,Mrs Doe\n", "polars", "rows.csv: cannot be read"),
        ("rows.parquet", "PAR1", "polars", "rows.parquet: cannot be read"),
        ("rows.parquet", "PAR1", "duckdb", "rows.parquet: cannot be read"),
    ],
)
def test_what_cannot_be_read_is_an_error(
    executable: ExecutableGuideline, tmp_path: Path, name: str, content: str, backend: Any, said: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        ran(executable, Job(tmp_path / name, tmp_path / "out", backend=backend))
    assert not (tmp_path / "out" / "codes").exists() or not [*(tmp_path / "out" / "codes").iterdir()]
    (tmp_path / "good.csv").write_text("id,Hematocrit\n1,41\n", encoding="utf-8")
    assert ran(executable, Job(tmp_path / "good.csv", tmp_path / "out", "id")).rows == 1  # nothing stands in its way
    with pytest.raises(UsageError, match="no such file"):
        ran(executable, Job(tmp_path / "nothing", tmp_path / "out2"))


@pytest.mark.parametrize("backend", ["polars", "duckdb"])
def test_a_file_is_that_of_its_name_and_no_other(executable: ExecutableGuideline, tmp_path: Path, backend: Any) -> None:
    folder = tmp_path / "k=9"
    folder.mkdir()
    three = pl.DataFrame({"k": ["a", "b", "c"], "Hematocrit": [31.0, 41.0, 310.0]})
    three.write_parquet(folder / "p[1].parquet")
    pl.DataFrame({"k": ["z"], "Hematocrit": [30.0]}).write_parquet(folder / "p1.parquet")
    counts = ran(executable, Job(folder / "p[1].parquet", tmp_path / "out", "k", backend))
    codes, reasons = came_out(tmp_path / "out", "k")
    assert (counts.rows, {*codes}, {*reasons}) == (3, {"a", "b"}, {"c"})


@pytest.mark.parametrize("other", ["b.CSV.gz", "notes.txt", "inner/"])
def test_nothing_in_a_folder_is_passed_over(executable: ExecutableGuideline, tmp_path: Path, other: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.csv", "B.CSV", "_SUCCESS", ".crc"):
        (folder / name).write_text("id,Hematocrit\n1,41\n", encoding="utf-8")
    assert ran(executable, Job(folder, tmp_path / "out", "id")).rows == 2
    if other.endswith("/"):
        (folder / other).mkdir()
    else:
        (folder / other).write_text("id,Hematocrit\n1,41\n", encoding="utf-8")
    with pytest.raises(UsageError, match=rf"a folder of such alone \(found: {other.rstrip('/')}\)"):
        ran(executable, Job(folder, tmp_path / "out2", "id"))


def test_rows_are_numbered_over_all_files(executable: ExecutableGuideline, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, values in (("a", [31, 310, 32]), ("b", [33, 330])):
        (tmp_path / "in" / f"{name}.csv").write_text("\n".join(map(str, ["Hematocrit", *values])), encoding="utf-8")
    ran(executable, Job(tmp_path / "in", tmp_path / "out", rows=2))
    codes, reasons = came_out(tmp_path / "out")
    assert ({*codes}, {*reasons}) == ({0, 2, 3}, {1, 4})
    with pytest.raises(UsageError, match="made from another options"):
        ran(executable, Job(tmp_path / "in", tmp_path / "out", rows=3))


def test_cells_with_other_separators_are_refused(executable: ExecutableGuideline, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id;Hematocrit\n1;41\n", encoding="utf-8")
    with pytest.raises(UsageError, match="commas between them"):
        ran(executable, Job(tmp_path / "rows.csv", tmp_path / "out", "id"))


@pytest.mark.parametrize("name", ["run.json", "done/00000.json"])
@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_a_mark_that_is_none_is_refused(
    executable: ExecutableGuideline, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / "rows.csv").write_text("id,Hematocrit\n1,41\n", encoding="utf-8")
    job = Job(tmp_path / "rows.csv", tmp_path / "out", "id")
    ran(executable, job)
    (tmp_path / "out" / name).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="give a new folder"):
        ran(executable, job)


def test_the_rows_of_records_bear_their_identifiers(executable: ExecutableGuideline, tmp_path: Path) -> None:
    lines = ['{"id": "urn:a", "asOf": "2026-01-15"}', "", "{", '{"id": "urn:b", "asOf": "2026-01-15"}']
    (tmp_path / "r.ndjson").write_text("\n".join(lines), encoding="utf-8")
    ran(executable, Job(tmp_path / "r.ndjson", tmp_path / "out"))
    found = pl.read_parquet(tmp_path / "out" / "codes" / "*.parquet")
    assert found.select("row", "id").rows() == [(0, "urn:a"), (2, "urn:b")]
    (refused,) = pl.read_parquet(tmp_path / "out" / "rejects" / "*.parquet").rows()
    assert refused[0] == 1
    assert refused[1].startswith("column 2: not JSON")


@pytest.mark.parametrize("content", [b"no gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x01"])
def test_an_export_that_is_damaged_is_refused_by_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Patient.ndjson.gz").write_bytes(content)
    assert main(["cohort", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    assert str(tmp_path / "in") in capsys.readouterr().err


def test_an_export_is_one_by_any_of_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Allergy.ndjson").write_text("", encoding="utf-8")
    (tmp_path / "in" / "Patient.ndjson").write_text('\n{"resourceType": "Patient", "id": "p"}', encoding="utf-8")
    assert main(["cohort", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--as-of", "2026-01-15"]) == 0
    assert "1 patients" in capsys.readouterr().out
    (tmp_path / "in" / "Marked.ndjson").write_text("\ufeff{}", encoding="utf-8")
    assert main(["cohort", str(tmp_path / "in"), "-o", str(tmp_path / "out2"), "--as-of", "2026-01-15"]) == 2
    assert "Marked.ndjson: begins with a byte order mark" in capsys.readouterr().err


def test_an_export_is_not_written_beside_what_is_another_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Patient.ndjson").write_text('{"resourceType": "Patient", "id": "p"}', encoding="utf-8")
    (tmp_path / "out" / "facts").mkdir(parents=True)
    (tmp_path / "out" / "facts" / "features.parquet").write_text("mine")
    command = ["cohort", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--as-of", "2026-01-15"]
    assert main(command) == 2
    assert "not empty" in capsys.readouterr().err
    assert (tmp_path / "out" / "facts" / "features.parquet").read_text() == "mine"
    command[3] = str(tmp_path / "new")
    for _ in range(2):
        assert main(command) == 0
    command[5] = "2026-01-16"
    assert main(command) == 2
    assert "made from another export" in capsys.readouterr().err


# ---- counting ----------------------------------------------------------------------------------


def counted(executable: ExecutableGuideline, rows: list[Row], tmp_path: Path) -> Counts:
    frame_of(executable, rows).write_parquet(tmp_path / "in.parquet")
    return ran(executable, Job(tmp_path / "in.parquet", tmp_path / "out"))


def test_the_summary_counts_what_single_records_are_answered(
    executable: ExecutableGuideline, rows: list[Row], expected: Singles, tmp_path: Path
) -> None:
    found = summary(executable.outcomes(), counted(executable, rows, tmp_path))
    answered = [answer for answer in expected.values() if isinstance(answer, dict)]
    assert (found.rows, found.answered) == (ROWS, len(answered))
    conflicts, alerts, first, any_ = Counter[Any](), Counter[str](), Counter[str](), Counter[str]()
    for decision in executable.content.decisions:
        outcomes = [answer[decision][0].outcome for answer in answered]
        assert found.statuses[decision] == {s: sum(o.status == s for o in outcomes) for s in STATUSES}
        conflicts.update((decision, ", ".join(o.conflicting)) for o in outcomes if o.status == "conflict")
        first.update(o.missing[0] for o in outcomes if o.missing)
        any_.update(fact for o in outcomes for fact in o.missing)
        alerts.update(f"{r} {certainty}" for answer in answered for r, certainty in answer[decision][1])
    assert conflicts
    assert alerts
    assert (found.conflicts, found.alerts) == (conflicts, alerts)
    assert found.missing == {fact: (first[fact], number) for fact, number in any_.items()}
    assert list(found.missing.values()) == sorted(found.missing.values(), key=lambda pair: -pair[1])


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_by_itself_and_has_a_table_for_each_plot(
    executable: ExecutableGuideline, rows: list[Row], tmp_path: Path
) -> None:
    found = summary(executable.outcomes(), counted(executable, rows, tmp_path))
    text = as_page(executable.content, found)
    page = Page(text)
    tags = Counter(tag for tag, _ in page.tags)
    assert tags["svg"] == tags["table"] == 5
    assert not {"script", "link", "img", "iframe"} & tags.keys()
    assert not [a for _, a in page.tags if {"src", "href", "onclick"} & a.keys()]
    assert "url(" not in text
    assert all(a.get("role") == "img" and a.get("aria-label") for tag, a in page.tags if tag == "svg")
    assert all(a.get("scope") for tag, a in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags
    content = executable.content
    for said in (content.disclaimer, content.review_status, content.digest, f"{found.answered:,} answered"):
        assert said in page.text
    for by in found.statuses.values():
        assert all(f"{number:,}" in page.text for number in by.values())


def test_what_the_guideline_says_is_escaped_and_nothing_is_said_to_be_none(executable: ExecutableGuideline) -> None:
    import dataclasses

    odd = dataclasses.replace(executable.content, disclaimer="<script>alert(1)</script>")
    empty = summary(executable.outcomes(), Counts(codes={name: Counter() for name in odd.decisions}))
    page = as_page(odd, empty)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("There are none.") == 4
    assert as_text(odd, empty).count("none") >= 4


# ---- the command -------------------------------------------------------------------------------


def arguments(**given: Any) -> Namespace:
    usual = {"key": None, "backend": "polars", "explain": False, "summary": False, "rows": 500, "as_of": None}
    return Namespace(**{**usual, "guideline": None, **given})


def test_the_command_answers_and_says_how_many(
    executable: ExecutableGuideline, rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame_of(executable, rows).write_parquet(tmp_path / "in.parquet")
    code = command.cohort(arguments(input=tmp_path / "in.parquet", output=tmp_path / "out", explain=True, summary=True))
    out = capsys.readouterr().out
    refused = sum(isinstance(single(executable, row), frozenset) for row in rows)
    assert code == 1
    assert f"{ROWS:,} rows: {ROWS - refused:,} answered, {refused:,} refused" in out
    assert executable.content.disclaimer in out
    assert (tmp_path / "out" / "summary.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    decoded = pl.read_parquet(tmp_path / "out" / "codes" / "*.parquet")
    assert decoded["FolicAcid_status"].is_in(STATUSES).all()
    assert decoded["FolicAcid_applies"].n_unique() > 1


def test_the_command_prints_the_columns(executable: ExecutableGuideline, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.schema(Namespace(guideline=None)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {column["name"]: column["type"] for column in printed["columns"]} == executable.cohort_schema()
    assert {c["name"]: c["unit"] for c in printed["columns"] if "unit" in c} == executable.cohort_units()
