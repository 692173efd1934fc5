"""``b12kg audit``: nothing unexpected in the shipped guideline, each seeded defect found, each form of report."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rdflib import RDF, SH, Graph

import b12kg
from b12kg.audit import Audit, audit
from b12kg.cli import main, report
from b12kg.errors import InvalidRecord, UsageError
from b12kg.findings import Finding, with_reasons
from b12kg.guideline import ExpectedAuditFinding
from b12kg.recommend import ExecutableGuideline
from b12kg.resources import EXAMPLES
from b12kg.source import CHECKS
from tests.cases import SHARED, answered, cases
from tests.conftest import SECOND
from tests.test_second_guideline import edit

DOCUMENT = SHARED / "sources" / "dr-oracle-2025-10-20.txt"


@pytest.fixture(scope="module")
def shipped(executable: ExecutableGuideline) -> Audit:
    return audit(executable)


def test_nothing_of_the_shipped_guideline_is_unexpected(shipped: Audit) -> None:
    assert shipped.unexpected == 0
    found = {finding.check for finding in shipped.findings}
    assert found == {expected.check for expected in shipped.guideline.expected_by_audit}
    assert len(found) == 10
    assert shipped.verification.findings
    assert shipped.unchecked == ("the document: no file was given", "test cases: none were given")


@pytest.mark.skipif(not DOCUMENT.is_file(), reason=f"the document {DOCUMENT.name} is not at hand")
def test_with_document_and_cases_nothing_is_left_unchecked(executable: ExecutableGuideline) -> None:
    records = (case.record(executable.content) for case in cases())
    answers = (answer for record in records if not isinstance(answer := answered(executable, record), InvalidRecord))
    found = audit(executable, source=DOCUMENT.read_bytes(), cases=answers)
    assert found.unexpected == 0
    assert found.unchecked == ()
    assert found.cases > 50
    assert found.source is not None
    assert all(sentence.passages for sentence in found.source.coverage)


@pytest.mark.parametrize(
    ("file", "old", "new", "check"),
    [
        # by a shape
        (
            "rules.ttl",
            'injections three times a week."@en',
            'injections three times a week"@en',
            "Term-definition-form",
        ),
        # by a query on defects, and by one on what limits the trust
        ("regimens.ttl", "b12:low 1.0 ;\n    b12:high 1.0", "b12:low 3.0 ;\n    b12:high 3.0", "dose-figure-violation"),
        ("thresholds.ttl", "xsd:minExclusive 20.0", "xsd:minExclusive 25.0", "threshold-figure-violation"),
        ("rules.ttl", "b12:modality b12:requires ;", "b12:modality b12:suggests ;", "override-basis-violation"),
        (
            "document.ttl",
            "b12:resolution b12:by-content ;",
            "b12:resolution b12:unresolved ;",
            "unresolved-citation-concern",
        ),
        (
            "rules.ttl",
            "dro:initial-without-neuro a owl:NamedIndividual , b12:Rule ;",
            'dro:initial-without-neuro a owl:NamedIndividual , b12:Rule ; b12:editorialReason "Ours."@en ;',
            "editorial-decision-concern",
        ),
        # an expected thing of which something else is said now
        (
            "document.ttl",
            "That both are one publisher is our reading of the two names.",
            "It is.",
            "expected-otherwise",
        ),
        # an error is never expected
        (
            "expected-findings.ttl",
            "dro:expected-self-citation a ",
            'dro:expected-dose a owl:NamedIndividual , b12:ExpectedAuditFinding ; b12:check "Term-definition-form" ;\n'
            '    b12:about dro:expected-dose ; b12:editorialReason "So it is."@en ; rdfs:label "x"@en ;\n'
            '    skos:definition "No full stop"@en ; rdfs:isDefinedBy dro:expected-findings .\n'
            "dro:expected-self-citation a ",
            "Term-definition-form",
        ),
        # by the reasoner
        (
            "rules.ttl",
            "b12:over dro:maintenance-neuro ;\n    b12:basis b12:stronger-modality",
            "b12:over dro:maintenance-neuro ;\n    b12:basis b12:narrower-population",
            "narrower-population",
        ),
        # an expectation that is not met
        (
            "expected-findings.ttl",
            "b12:about dro:marker-6 , dro:marker-8 ;",
            "b12:about dro:marker-6 , dro:marker-8 , dro:marker-7 ;",
            "unmet",
        ),
    ],
)
def test_a_seeded_defect_is_found(copy: Path, file: str, old: str, new: str, check: str) -> None:
    edit(copy, file, old, new)
    found = audit(b12kg.load(copy))
    unexpected = [finding for finding in found.findings if finding.expected is None]
    assert check in {finding.check for finding in unexpected}
    assert found.unexpected >= len(unexpected) > 0
    assert all(finding.message and finding.entity for finding in unexpected)


def test_a_rule_without_a_case_is_found(executable: ExecutableGuideline) -> None:
    answer = executable.recommend(str(EXAMPLES / "pernicious-anemia-ileal-resection.json"))
    found = audit(executable, cases=[answer])
    without = {finding.entity for finding in found.findings if finding.check == "rule-without-case"}
    assert "initial-neuro" in without
    assert "maintenance-ileal-resection" not in without
    assert found.unexpected == len(without)
    assert found.cases == 1
    with pytest.raises(UsageError, match="there is no test patient"):
        audit(executable, cases=[])


def test_an_expectation_covers_one_check_of_one_thing() -> None:
    one, other = (Finding("warning", "check", iri, "", value, "odd") for iri, value in (("urn:a", "1"), ("urn:b", "1")))
    expected = [
        ExpectedAuditFinding("check", ("urn:a", "urn:c"), "so it is", None),
        ExpectedAuditFinding("other", ("urn:b",), "no", None),
    ]
    found = {(f.check, f.iri): f.expected for f in with_reasons([one, other, one], expected)}
    assert found == {
        ("check", "urn:a"): "so it is",
        ("check", "urn:b"): None,
        ("unmet", "urn:c"): None,
        ("unmet", "urn:b"): None,
    }


def test_each_check_of_the_document_that_is_named_can_find_something() -> None:
    source = (Path(report.__file__).parents[1] / "source.py").read_text(encoding="utf-8")
    made = set(re.findall(r'self\.error\(\s*f?"([^"]+)"', source))
    named = {name.replace("{placed.kind}", kind) for name in made for kind in ("passage", "claim", "section")}
    assert named == CHECKS


# ---- forms -------------------------------------------------------------------------------------


def test_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit"]) == 0
    out = capsys.readouterr().out
    assert "UNEXPECTED" not in out
    assert "expected   self-citation-concern: 1\n           The document cites" in out
    assert "unchecked  the document: no file was given\n" in out
    assert "findings, none of them unexpected\n" in out
    assert main(["audit", "--all"]) == 0
    assert "           - marker-6 resolution unresolved\n" in capsys.readouterr().out
    assert main(["audit", "--guideline", str(SECOND)]) == 1
    assert "UNEXPECTED error: " in capsys.readouterr().out


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--guideline", str(SECOND), "--format", "json"]) == 1
    form = json.loads(capsys.readouterr().out)
    assert len(form["findings"]) > 20
    assert form["unexpected"] >= len(form["findings"])
    keys = {"severity", "check", "entity", "iri", "property", "value", "message", "expected"}
    assert all(finding.keys() == keys for finding in form["findings"])
    assert form["source"] is None
    assert [row["passage"] for row in form["uses"]] == ["P1"]


def test_as_csv(shipped: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--format", "csv"]) == 0
    rows = [*csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert len(rows) == len(shipped.findings) + len(shipped.verification.findings)
    assert {row["check"] for row in rows} >= {"conflict", "gap", "self-citation-concern"}
    assert all(row["expected"] for row in rows)


def test_a_cell_of_csv_is_no_formula(shipped: Audit) -> None:
    from dataclasses import replace

    file = io.StringIO()
    report.write_csv(replace(shipped, findings=(Finding("error", "=1+1", "@x", "", "-1", "+2"),)), file)
    row = next(csv.DictReader(io.StringIO(file.getvalue())))
    assert (row["check"], row["iri"], row["value"], row["message"]) == ("'=1+1", "'@x", "'-1", "'+2")


def test_as_a_shacl_validation_report(shipped: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--format", "turtle"]) == 0
    graph = Graph().parse(data=capsys.readouterr().out, format="turtle")
    (top,) = graph.subjects(RDF.type, SH.ValidationReport)
    assert len([*graph.objects(top, SH.result)]) == len(shipped.findings)
    for result in graph.objects(top, SH.result):
        assert len([*graph.objects(result, SH.focusNode)]) == 1
        assert len([*graph.objects(result, SH.resultSeverity)]) == 1


class Tags(HTMLParser):
    """Which tags are open, that each is closed, and what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["audit", "--format", "html"]
    if DOCUMENT.is_file():
        arguments += ["--source", str(DOCUMENT)]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert {address[0] for address in tags.fetched} == {"#"}
    assert "script" not in tags.seen
    assert "url(" not in text
    assert "@import" not in text
    for words in (
        "Review status of the source",
        "no medical device",
        "Nothing unexpected",
        "maintenance-ileal-resection",
    ):
        assert words in text


def test_what_a_graph_says_is_escaped_on_the_page(copy: Path) -> None:
    edit(copy, "document.ttl", 'b12:paraphrase "', 'b12:paraphrase "<script>alert(1)</script>')
    text = report.page(audit(b12kg.load(copy)))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


Arguments = Callable[[Path], list[str]]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (lambda folder: ["--source", str(folder / "none.txt")], 2, "none.txt: No such file or directory"),
        (lambda folder: ["--source", str(folder)], 2, "Is a directory"),
        (lambda folder: ["--source", str(folder / "odd.txt")], 2, "the document is not UTF-8 (byte 0)"),
        (lambda folder: ["--cases", str(folder / "none.json")], 2, "none.json: No such file or directory"),
        (lambda folder: ["--cases", str(folder / "empty.ndjson")], 2, "there is no test patient"),
        (lambda folder: ["--cases", str(folder / "wrong.ndjson")], 3, "wrong.ndjson, line 2: present[0]: unknown"),
    ],
)
def test_wrong_input(
    arguments: Arguments, code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.txt").write_bytes(b"\xff")
    (tmp_path / "empty.ndjson").write_text("\n")
    good = {"id": "urn:p", "asOf": "2026-01-15"}
    lines = [json.dumps(good), json.dumps({**good, "present": ["Nonsense"]})]
    (tmp_path / "wrong.ndjson").write_text("\n".join(lines))
    assert main(["audit", *arguments(tmp_path)]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
