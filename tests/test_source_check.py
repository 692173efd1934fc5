"""A guideline held against its document: each thing that can differ is found, and nothing is where nothing does.

The document of most of these tests is their own, and so CI needs no other.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from b12kg.errors import InvalidGuideline, UsageError
from b12kg.guideline import Guideline
from b12kg.source import LARGEST, SourceReport, check_source, likeness_digest, sha256_of, similarity, uses
from b12kg.turtle import load_guideline
from tests.cases import SHARED
from tests.conftest import SECOND

DOCUMENT = SHARED / "sources" / "dr-oracle-2025-10-20.txt"

FIRST = "Who has caught a cold should drink two cups of hot tea every evening for 5 days"
OTHER = "A fever of 38 degrees or more calls for a visit to the doctor within the day"
THIRD = "Sage tea seems to soothe a sore throat better than any other herb of the garden"
TEXT = f"""Everything about tea

All of it was read by somebody.

What to do

  • {FIRST} 1
  • {OTHER} 2, 1

More on tea

{THIRD}. 2

Books

A book on tea
"""


def graph_of(text: str) -> str:
    """What a guideline says of the text, in Turtle."""
    parts = []

    def placed(name: str, class_: str, words: str, more: str = "") -> None:
        start = text.index(words)
        parts.append(
            f"ex:{name} a b12:{class_} ; b12:line {text.count(chr(10), 0, start) + 1} ; oa:hasSource ex:text ;\n"
            f"    oa:hasSelector ex:{name}.at ; b12:sha256 '{sha256_of(words)}' ;\n"
            f"    b12:likenessDigest '{likeness_digest(words):064x}' {more} .\n"
            f"ex:{name}.at a oa:TextPositionSelector ; oa:start {start} ; oa:end {start + len(words)} .\n"
        )

    def part(name: str, words: str, after: str, more: str) -> None:
        start = text.index(words, text.index(after))
        parts.append(f"ex:{name} oa:start {start} ; oa:end {start + len(words)} ; {more} .\n")

    placed("claim", "ReviewClaim", "All of it was read by somebody.")
    placed("section-1", "Section", "What to do", "; b12:toBeCovered true")
    placed("section-2", "Section", "More on tea", "; b12:toBeCovered true")
    placed("section-3", "Section", "Books", "; b12:toBeCovered false")
    own = "; b12:paraphrase 'Ours.'@en ; b12:hasMarker {0}.m ; b12:hasFigure {1}"
    placed("P1", "Passage", FIRST, own.format("ex:P1", "ex:P1.two , ex:P1.five"))
    placed("P2", "Passage", OTHER, own.format("ex:P2", "ex:P2.38") + " ; b12:hasMarker ex:P2.n")
    placed("P3", "Passage", THIRD, "; b12:paraphrase 'Ours.'@en ; b12:hasMarker ex:P3.m")
    part("P1.two", "two", FIRST, "b12:value 2 ; b12:unit '1' ; b12:form b12:number-word")
    part("P1.five", "5", FIRST, "b12:value 5 ; b12:unit 'd' ; b12:form b12:digits")
    part("P2.38", "38", OTHER, "b12:value 38.0 ; b12:unit 'deg' ; b12:form b12:digits")
    part("P1.m", "1\n", FIRST, "b12:marker ex:marker-1")
    part("P2.m", "2, 1", OTHER, "b12:marker ex:marker-2")
    part("P2.n", "1\n", OTHER, "b12:marker ex:marker-1")
    part("P3.m", "2\n", THIRD, "b12:marker ex:marker-2")
    text_of_parts = "".join(parts)
    # A marker ends where its number does.
    return re.sub(
        r"(ex:P\d\.[mn] oa:start )(\d+) ; oa:end \d+", lambda m: f"{m[1]}{m[2]} ; oa:end {int(m[2]) + 1}", text_of_parts
    )


Edit = Callable[[str], str]


def same(turtle: str) -> str:
    return turtle


def held(tmp_path: Path, data: bytes, edit: Edit = same) -> SourceReport:
    """The report on some bytes, of a guideline that was read from the text, edited."""
    second = (SECOND / "guideline.ttl").read_text(encoding="utf-8")
    (kept,) = re.findall(r"(?s)\A.*?(?=ex:P1 a )", second)
    (rest,) = re.findall(r"(?s)ex:marker-1 a .*\Z", second)
    more = f"""
        ex:text b12:sha256 '{sha256_of(TEXT)}' .
        ex:marker-2 a b12:CitationMarker ; b12:number 2 ; b12:resolution b12:unresolved .
        ex:word-two a b12:NumberWord ; b12:name 'two' ; b12:number 2 .
        ex:unit-cups a b12:UnitWord ; b12:name 'cups of hot tea' ; b12:unit '1' .
        ex:unit-days a b12:UnitWord ; b12:name 'days' ; b12:unit 'd' .
        ex:unit-degrees a b12:UnitWord ; b12:name 'Degrees' ; b12:unit 'deg' .
        """
    folder = tmp_path / "guideline"
    folder.mkdir(exist_ok=True)
    (folder / "guideline.ttl").write_text(kept + edit(graph_of(TEXT)) + rest + more, encoding="utf-8")
    return check_source(load_guideline(folder), data)


def found(report: SourceReport) -> set[tuple[str, str]]:
    """The checks that found something, and of what, but for the digest of the whole document."""
    return {(f.check, f.entity) for f in report.findings if f.check != "document-digest"}


def test_nothing_is_found_where_nothing_differs(tmp_path: Path) -> None:
    report = held(tmp_path, TEXT.encode())
    assert report.findings == ()
    assert report.checked == {"claim": 1, "section": 3, "passage": 3, "figure": 3, "marker": 4, "sentence": 3}
    assert [place.state for place in report.places] == ["there"] * 7
    assert [(sentence.line, sentence.passages) for sentence in report.coverage] == [
        (7, ("P1",)),
        (8, ("P2",)),
        (12, ("P3",)),
    ]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        # figures and markers
        (
            lambda t: t.replace("b12:value 38.0", "b12:value 39.0"),
            {("figure-place", "P2.38")},
        ),
        (
            lambda t: t.replace("b12:unit '1' ; b12:form b12:number-word", "b12:unit '1' ; b12:form b12:digits"),
            {("figure-place", "P1.two")},
        ),
        (lambda t: t.replace("b12:unit 'd'", "b12:unit 'h'"), {("figure-unit", "P1.five")}),
        (lambda t: t.replace("b12:unit '1'", "b12:unit 'd'"), {("figure-unit", "P1.two")}),
        (lambda t: t.replace("b12:hasFigure ex:P2.38", "b12:hasFigure ex:P1.five"), None),
        (
            lambda t: t.replace("b12:hasFigure ex:P1.two , ex:P1.five", "b12:hasFigure ex:P1.two"),
            {("figure-missing", "P1")},
        ),
        (
            lambda t: re.sub(r"(ex:P2.n .*)ex:marker-1", r"\1ex:marker-2", t),
            {("marker-place", "P2.n"), ("sentence-uncovered", "text")},
        ),
        (lambda t: t.replace("b12:hasMarker ex:P3.m", "b12:hasMarker ex:P1.m"), None),
        # ranges and digests
        (
            lambda t: re.sub(r"(ex:P3.at .*oa:start )(\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}", t),
            {("passage-edited", "P3")},
        ),
        (lambda t: t.replace(sha256_of(THIRD), "0" * 64), {("passage-edited", "P3")}),
        (lambda t: t.replace("b12:line 12", "b12:line 13"), {("passage-line", "P3")}),
        (lambda t: t.replace(sha256_of("Books"), "0" * 64), {("section-edited", "section-3")}),
        (lambda t: t.replace(f"{likeness_digest(THIRD):064x}", "0" * 64), {("passage-likeness", "P3")}),
        (
            lambda t: t.replace("b12:toBeCovered true", "b12:toBeCovered false"),
            {("section-not-covered", "section-1"), ("section-not-covered", "section-2")},
        ),
    ],
)
def test_a_graph_that_says_something_else_is_found(
    tmp_path: Path, edit: Edit, expected: set[tuple[str, str]] | None
) -> None:
    assert edit(graph_of(TEXT)) != graph_of(TEXT)
    seen = found(held(tmp_path, TEXT.encode(), edit))
    if expected is None:
        assert seen
    else:
        assert expected <= seen
        assert {check for check, _ in seen} <= {check for check, _ in expected} | {"sentence-uncovered"}


@pytest.mark.parametrize(
    ("old", "new", "expected", "state"),
    [
        # One letter at the top moves everything below it.
        (
            "Everything",
            "Everythings",
            {("passage-moved", "P1"), ("passage-moved", "P3"), ("claim-moved", "claim")},
            "moved",
        ),
        # A number, a number word, and other words.
        (
            "for 5 days",
            "for 7 days",
            {("passage-edited", "P1"), ("figure-changed", "P1"), ("sentence-uncovered", "text")},
            "edited",
        ),
        ("two cups", "some cups", {("passage-edited", "P1"), ("figure-changed", "P1")}, "edited"),
        ("every evening", "each morning", {("passage-edited", "P1"), ("sentence-uncovered", "text")}, "edited"),
        # A passage that is not there any more, and another that is like none.
        (FIRST, "Ask your pharmacist", {("passage-lost", "P1"), ("sentence-uncovered", "text")}, "lost"),
        # Two passages that changed places: the words of both are there.
        (None, None, {("passage-moved", "P1"), ("passage-moved", "P2")}, "moved"),
    ],
)
def test_a_text_that_differs_is_found(
    tmp_path: Path, old: str | None, new: str | None, expected: set[tuple[str, str]], state: str
) -> None:
    if old is None or new is None:
        text = TEXT.replace(FIRST, "§").replace(OTHER, FIRST).replace("§", OTHER)
    else:
        assert TEXT.count(old) >= 1
        text = TEXT.replace(old, new, 1)
    report = held(tmp_path, text.encode())
    assert expected <= found(report)
    assert "document-digest" in {finding.check for finding in report.findings}
    (place,) = (place for place in report.places if place.id == "P1")
    assert place.state == state
    if state == "moved":
        assert place.similarity == 1
        assert text[place.start : place.end] == FIRST
    elif state == "edited":
        assert 0.5 < place.similarity < 1
        assert text[place.start : place.end].startswith("Who has caught")
    else:
        assert (place.line, place.start, place.end, place.similarity) == (0, 0, 0, 0)


def test_what_begins_within_a_word_is_found_elsewhere(tmp_path: Path) -> None:
    words = "All of it was read by somebody."
    start = TEXT.index(words)
    report = held(tmp_path, ("Tea " + TEXT[:start] + "Board" + TEXT[start:]).encode())
    (claim,) = (place for place in report.places if place.id == "claim")
    assert (claim.state, claim.start) == ("moved", start + len("Tea Board"))


def test_a_changed_number_is_named(tmp_path: Path) -> None:
    report = held(tmp_path, TEXT.replace("for 5 days", "for 7 days").encode())
    changed = [finding for finding in report.findings if finding.check == "figure-changed"]
    assert [(finding.value, "any more" in finding.message) for finding in changed] == [("5", True), ("7", False)]


@pytest.mark.parametrize("section", ["What to do", "More on tea", "Books"])
def test_a_new_sentence_has_to_be_covered_in_a_section_that_says_so(tmp_path: Path, section: str) -> None:
    report = held(tmp_path, TEXT.replace(f"{section}\n", f"{section}\n\nNobody should go without tea.\n").encode())
    uncovered = [sentence for sentence in report.coverage if sentence.uncovered]
    assert len(uncovered) == (0 if section == "Books" else 1)
    assert all(sentence.passages == () for sentence in uncovered)


def test_a_second_sentence_in_the_line_of_a_passage_is_not_covered(tmp_path: Path) -> None:
    report = held(tmp_path, TEXT.replace(f"{THIRD}. 2", f"{THIRD}. 2 Take none at night.").encode())
    assert [sentence.uncovered for sentence in report.coverage if sentence.line == 12] == [True]


def test_without_headings_it_is_said_that_nothing_tells_what_has_to_be_covered(tmp_path: Path) -> None:
    report = held(tmp_path, TEXT.encode(), lambda t: re.sub(r"a b12:Section", "a b12:UndefinedTerm", t))
    assert found(report) == {("sections-unknown", "text")}
    assert report.coverage == ()


# ---- files of another form ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "checks"),
    [
        (b"\xef\xbb\xbf" + TEXT.encode(), {"document-digest", "document-form"}),
        (TEXT.replace("\n", "\r\n").encode(), {"document-digest", "document-form"}),
        ((TEXT + "\n").encode(), {"document-digest"}),
    ],
)
def test_another_form_of_the_same_text_is_said_and_read(tmp_path: Path, data: bytes, checks: set[str]) -> None:
    report = held(tmp_path, data)
    assert {finding.check for finding in report.findings} == checks
    assert {place.state for place in report.places} == {"there"}


def test_an_empty_file_has_lost_everything(tmp_path: Path) -> None:
    report = held(tmp_path, b"")
    assert {place.state for place in report.places} == {"lost"}
    assert {check for check, _ in found(report)} == {"passage-lost", "claim-lost", "section-lost", "sections-unknown"}


def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not UTF-8 \(byte 3\)"):
        held(tmp_path, b"abc\xff")
    with pytest.raises(UsageError, match=f"{LARGEST + 1} bytes; at most {LARGEST}"):
        held(tmp_path, b"a" * (LARGEST + 1))


@pytest.mark.parametrize("kind", ["words", "one line", "no space"])
def test_a_file_of_the_largest_size_takes_seconds(tmp_path: Path, kind: str) -> None:
    unit = {"words": "tea is good. Tea 12\n", "one line": "Tea is good. ", "no space": "tea"}[kind]
    start = time.perf_counter()
    report = held(tmp_path, (unit * (LARGEST // len(unit))).encode())
    assert time.perf_counter() - start < 60  # a bound against what never ends; some seconds is usual
    assert "lost" in {place.state for place in report.places}


def test_a_graph_that_does_not_say_where_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidGuideline, match=r"claim sha256: it takes one value"):
        held(
            tmp_path,
            TEXT.encode(),
            lambda t: t.replace(f"b12:sha256 '{sha256_of('All of it was read by somebody.')}' ;", ""),
        )


def test_no_word_of_the_text_is_in_the_report(tmp_path: Path) -> None:
    report = held(tmp_path, TEXT.replace("tea", "chamomile").encode())
    assert report.findings
    form = json.dumps([report.to_dict(), [finding.to_dict() for finding in report.findings]])
    for word in ("chamomile", "evening", "soothe", "doctor"):
        assert word not in form


# ---- likeness ----------------------------------------------------------------------------------


def test_likeness_tells_an_edited_sentence_from_another_one() -> None:
    assert similarity(likeness_digest(FIRST), likeness_digest(FIRST.upper())) == 1
    edited = similarity(likeness_digest(FIRST), likeness_digest(FIRST.replace("every evening", "each morning")))
    assert 0.6 < edited < 0.95
    for other in (OTHER, THIRD, "", "a"):
        assert similarity(likeness_digest(FIRST), likeness_digest(other)) < 0.4


# ---- the shipped guideline ---------------------------------------------------------------------


def test_each_passage_has_its_row(guideline: Guideline) -> None:
    rows = {use.passage: use for use in uses(guideline)}
    assert rows.keys() == guideline.passages.keys()
    assert all(use.rules or use.arguments or use.offers for use in rows.values())
    assert rows["L39"].to_dict() == {
        "passage": "L39",
        "rules": ["maintenance-ileal-resection"],
        "arguments": [],
        "offers": ["im-1mg-monthly-lifelong"],
        "thresholds": ["LongDistalIlealResection"],
        "references": ["reference-1"],
    }
    assert rows["L34"].references == ()


@pytest.mark.skipif(not DOCUMENT.is_file(), reason=f"the document {DOCUMENT.name} is not at hand")
def test_the_shipped_guideline_is_as_its_document(guideline: Guideline) -> None:
    report = check_source(guideline, DOCUMENT.read_bytes())
    assert report.findings == ()
    assert report.checked == {"claim": 2, "section": 8, "passage": 25, "figure": 55, "marker": 35, "sentence": 25}
    assert {len(sentence.passages) for sentence in report.coverage} == {1}


@pytest.mark.skipif(not DOCUMENT.is_file(), reason=f"the document {DOCUMENT.name} is not at hand")
def test_every_passage_of_the_document_that_loses_a_word_is_found_again(guideline: Guideline) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    looked_at = 0
    for passage in guideline.passages.values():
        middle = text.index(" ", (passage.start + passage.end) // 2)
        end = text.index(" ", middle + 1)
        report = check_source(guideline, (text[:middle] + text[end:]).encode())
        places = {place.id: place for place in report.places}
        assert places[passage.id].state == "edited", passage.id
        assert {p.state for p in report.places if p.id != passage.id} <= {"there", "moved"}
        assert abs(places[passage.id].start - passage.start) <= 1
        looked_at += 1
    assert looked_at == 25
