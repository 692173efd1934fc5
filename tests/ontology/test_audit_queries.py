"""No audit query finds anything unexpected in a shipped guideline, and each finds its own defect, on both engines.

The first line of a defect file names the things that the query has to find in it, and no others.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyoxigraph
import pytest
from rdflib import RDF, Graph
from rdflib.plugins.sparql import prepareQuery
from rdflib.query import ResultRow

from b12kg.guideline import Guideline
from tests.ontology.graphs import ROOT, parse

AUDIT = ROOT / "queries" / "audit"
DEFECTS = ROOT / "tests" / "defects"
CHECKS = sorted(AUDIT.glob("*.rq"))
Rows = list[tuple[str, ...]]


def stem(path: Path) -> str:
    return path.stem


def plain(value: object) -> str:
    """A value as both engines would write it: they differ in the zeros of a decimal."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", str(value))


def asked_of_rdflib(graph: Graph, query: str) -> Rows:
    rows = [row for row in graph.query(query) if isinstance(row, ResultRow)]
    return [tuple(map(plain, row)) for row in rows]


def asked_of_pyoxigraph(store: pyoxigraph.Store, query: str) -> Rows:
    solutions = store.query(query)
    assert isinstance(solutions, pyoxigraph.QuerySolutions)
    found = []
    for solution in solutions:
        values = [solution[variable] for variable in solutions.variables]
        assert all(isinstance(value, pyoxigraph.NamedNode | pyoxigraph.Literal) for value in values)
        found.append(tuple(plain(value.value) for value in values))
    return found


def store_of(graph: Graph) -> pyoxigraph.Store:
    store = pyoxigraph.Store()
    store.load(graph.serialize(format="nt", encoding="utf-8"), format=pyoxigraph.RdfFormat.N_TRIPLES)
    return store


@pytest.fixture(scope="session")
def stored(merged: Graph) -> pyoxigraph.Store:
    return store_of(merged)


def header(query: Path) -> dict[str, str]:
    """The fields of the header comment; the lines of one field are joined by spaces."""
    fields: dict[str, str] = {}
    field = ""
    for line in query.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if heading := re.match(r"# (\w+):\s+(.*)", line):
            field = heading[1]
            assert field not in fields
            fields[field] = heading[2]
        else:
            fields[field] += " " + line.removeprefix("#").strip()
    return fields


def test_there_are_audit_queries() -> None:
    assert len(CHECKS) >= 35


def test_each_defect_file_belongs_to_a_query() -> None:
    assert {path.stem for path in DEFECTS.glob("*.ttl")} == {path.stem for path in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=stem)
def test_header_says_what_the_query_is(check: Path) -> None:
    fields = header(check)
    assert fields.keys() - {"notes"} == {"id", "question", "kind", "severity", "params", "columns"}
    assert fields["id"] == check.stem
    assert check.stem.endswith(f"-{fields['kind']}")
    assert fields["question"].endswith("?")
    assert fields["kind"] in ("violation", "concern")
    assert fields["severity"] in ("error", "warning")
    assert fields["params"] == "none"


@pytest.mark.parametrize("check", CHECKS, ids=stem)
def test_header_names_the_selected_columns(check: Path) -> None:
    named = re.findall(r"\?(\w+)", header(check)["columns"])
    selected = [str(variable) for variable in prepareQuery(check.read_text(encoding="utf-8")).algebra.PV]
    assert named == selected == ["entity", "property", "value"]


@pytest.mark.parametrize("check", CHECKS, ids=stem)
def test_shipped_guideline_has_no_violation_but_those_expected(
    check: Path, merged: Graph, stored: pyoxigraph.Store, guideline: Guideline
) -> None:
    query = check.read_text(encoding="utf-8")
    expected = {iri for one in guideline.expected_by_audit if one.check == check.stem for iri in one.about}
    assert bool(expected) == check.stem.endswith("-concern")
    assert {entity for entity, _, _ in asked_of_rdflib(merged, query)} == expected
    assert {entity for entity, _, _ in asked_of_pyoxigraph(stored, query)} == expected


@pytest.mark.parametrize("check", CHECKS, ids=stem)
def test_query_finds_its_defect_and_nothing_else(check: Path) -> None:
    defect = DEFECTS / f"{check.stem}.ttl"
    graph = parse([defect])
    announced = defect.read_text(encoding="utf-8").splitlines()[0].removeprefix("# finds: ").split()
    assert announced
    expected = {str(graph.namespace_manager.expand_curie(name)) for name in announced if not name.startswith("<")}
    expected |= {name.strip("<>") for name in announced if name.startswith("<")}
    query = check.read_text(encoding="utf-8")
    by_rdflib = asked_of_rdflib(graph, query)
    by_pyoxigraph = asked_of_pyoxigraph(store_of(graph), query)
    assert {entity for entity, _, _ in by_rdflib} == expected
    assert sorted(by_pyoxigraph) == sorted(by_rdflib)
    # Blank nodes aside, both engines sort IRIs alike.
    assert [entity for entity, _, _ in by_pyoxigraph] == [entity for entity, _, _ in by_rdflib]


@pytest.mark.parametrize("check", CHECKS, ids=stem)
def test_query_uses_terms_that_are_declared(check: Path, merged: Graph) -> None:
    """A misspelt term would find nothing, and nothing is what a sound guideline has."""
    declared = {str(term) for term in merged.subjects(RDF.type)}
    lines = [line for line in check.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    prefixes = dict(re.findall(r"PREFIX (\w+): *<(.*)>", "\n".join(lines)))
    body = re.sub(r'"[^"]*"|<[^>]*>', "", "\n".join(line for line in lines if not line.startswith("PREFIX")))
    used = set(re.findall(r"(\w+):([\w-]+)", body))
    assert {prefix for prefix, _ in used} == set(prefixes)
    for prefix, local in used:
        if prefix not in ("owl", "rdf", "rdfs", "xsd"):
            assert prefixes[prefix] + local in declared
