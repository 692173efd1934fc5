"""The guideline against its document, beyond the check of the source; and no sentence of it in the project.

The document itself is not part of the project. Where it is not at hand these tests are skipped.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from rdflib import RDF, RDFS, Graph
from rdflib.namespace import DCTERMS
from rdflib.term import Node

from tests.cases import SHARED
from tests.ontology.graphs import B12, DRO, OA, ONTOLOGY, ROOT, modules, parse

DOCUMENT = SHARED / "sources" / "dr-oracle-2025-10-20.txt"
# How many words in a row may be the document's. Titles, publishers and the status that it gives itself are excepted.
LONGEST_RUN = 4

pytestmark = pytest.mark.skipif(not DOCUMENT.is_file(), reason=f"the document {DOCUMENT.name} is not at hand")


@pytest.fixture(scope="module")
def graph() -> Graph:
    return parse(modules(ONTOLOGY / "guidelines" / "droracle-2025"))


@pytest.fixture(scope="module")
def text() -> str:
    return DOCUMENT.read_bytes().decode("utf-8")


def only(graph: Graph, subject: Node, property_: Node) -> Node:
    (found,) = graph.objects(subject, property_)
    return found


def whole(graph: Graph, subject: Node, property_: Node) -> int:
    return int(str(only(graph, subject, property_)))


def span(graph: Graph, node: Node) -> tuple[int, int]:
    return whole(graph, node, OA.start), whole(graph, node, OA.end)


def place(graph: Graph, node: Node) -> tuple[int, int]:
    return span(graph, only(graph, node, OA.hasSelector))


def of_class(graph: Graph, class_: Node, count: int) -> list[Node]:
    found = sorted(graph.subjects(RDF.type, class_), key=str)
    assert len(found) == count
    return found


def test_counts(graph: Graph) -> None:
    of_class(graph, B12.Passage, 25)
    of_class(graph, B12.CitationMarker, 9)
    of_class(graph, B12.Hypothesis, 3)
    of_class(graph, B12.ReviewClaim, 2)
    listed = [r for r in graph.subjects(RDF.type, B12.Reference) if (r, B12.number, None) in graph]
    assert sorted(whole(graph, reference, B12.number) for reference in listed) == list(range(1, 8))


def test_passage_is_its_line_without_bullet_and_markers(graph: Graph, text: str) -> None:
    for passage in of_class(graph, B12.Passage, 25):
        start, end = place(graph, passage)
        line = text.splitlines()[whole(graph, passage, B12.line) - 1]
        found = re.fullmatch(r"(?:  • )?(?P<said>\S.*?\S) (?P<markers>\d(?:, \d)*)", line)
        assert found, passage
        assert text[start:end] == found["said"], passage
        occurrences = sorted(graph.objects(passage, B12.hasMarker), key=lambda o: whole(graph, o, B12.order))
        numbers = [whole(graph, only(graph, o, B12.marker), B12.number) for o in occurrences]
        assert numbers == [int(number) for number in found["markers"].split(", ")], passage


def test_every_line_with_markers_is_a_passage(graph: Graph, text: str) -> None:
    lines = {n for n, line in enumerate(text.splitlines(), 1) if re.search(r"[a-z.%] \d(?:, \d)*$", line)}
    assert {whole(graph, passage, B12.line) for passage in of_class(graph, B12.Passage, 25)} == lines


# How the document writes a unit after a number, or the thing of which a rate is one.
UNITS = {
    "mg": r"(-\d+)? mg\b",
    "ug": r"(-\d+)? mcg\b",
    "cm": r" cm\b",
    "umol/L": r" μmol/L",
    "%": r"%",
    "h": r" hours\b",
    "d": r" days\b|( to \w+)? days\b",
    "wk": r" weeks\b",
    "mo": r"(-\d+)? months\b|-monthly\b",
    "/wk": r" times a week\b",
    "/d": r" day\b|(?<=daily)",
    "/a": r" a year\b",
    "1": r" normal\b",
}


def test_every_figure_has_the_unit_that_follows_it(graph: Graph, text: str) -> None:
    for figure in of_class(graph, B12.Figure, 55):
        start, end = span(graph, figure)
        unit = str(only(graph, figure, B12.unit))
        if text[start:end].lower() == "monthly":
            assert unit == "mo", figure
        else:
            assert re.compile(UNITS[unit]).match(text, end), (figure, unit, text[end : end + 12])


# ---- the words of the document stay out of the project ----------------------------------------


def words_of(text: str) -> list[str]:
    """The words; a name such as im-1mg-every-2-months is one."""
    return re.findall(r"[^\W_]+(?:-[^\W_]+)*", text.lower())


def runs(words: list[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i : i + LONGEST_RUN + 1]) for i in range(len(words) - LONGEST_RUN))


def exceptions(graph: Graph) -> Iterable[str]:
    """Titles, publishers and the status that the document gives itself."""
    for reference in graph.subjects(RDF.type, B12.Reference):
        yield from map(str, graph.objects(reference, DCTERMS.title))
        yield from map(str, graph.objects(reference, RDFS.label))
        yield from map(str, graph.objects(reference, DCTERMS.publisher))
    yield str(only(graph, DRO.article, DCTERMS.title))
    yield str(only(graph, DRO.article, B12.reviewStatus))


def tracked_text() -> dict[Path, str]:
    """Every text file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode("utf-8")
    found = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and path.suffix != ".png":
            found[path] = path.read_text(encoding="utf-8")
    return found


def test_no_run_of_words_of_the_document_stands_in_the_project(graph: Graph, text: str) -> None:
    allowed = {run for phrase in exceptions(graph) for run in runs(words_of(phrase))}
    assert len(allowed) > 20
    lines = [words_of(line) for line in text.splitlines()]
    forbidden = {run for line in lines for run in runs(line)} - allowed
    assert len(forbidden) > 500
    files = tracked_text()
    assert len(files) > 50
    copied = {
        (str(path.relative_to(ROOT)), " ".join(run))
        for path, content in files.items()
        for run in runs(words_of(content))
        if run in forbidden
    }
    assert copied == set()
