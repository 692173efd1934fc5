"""The shipped queries: header, answer on two engines, and the answer that is expected."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyoxigraph import NamedNode
from rdflib import RDF, XSD, Graph, URIRef
from rdflib.plugins.sparql import prepareQuery
from rdflib.query import ResultRow

from b12kg.errors import UsageError
from b12kg.guideline import Guideline
from b12kg.iris import BASE, name_of
from b12kg.queries import Query, refuse_all_but_reading, run, shipped, store_of
from b12kg.recommend import ExecutableGuideline
from b12kg.resources import EXAMPLES, QUERIES

EXPECTED: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "competency.yaml").read_text(encoding="utf-8"))
COMPETENCY = list(shipped("competency").values())
ALL = list(shipped().values())


@pytest.fixture(scope="module")
def answer(executable: ExecutableGuideline) -> Graph:
    return executable.recommend(str(EXAMPLES / "pernicious-anemia-ileal-resection.json")).graph()


def words(term: object) -> str | None:
    """A term as the expected answers write it: an IRI by its name, a literal by its text."""
    text = str(getattr(term, "value", term) if not isinstance(term, URIRef) else term)
    return None if term is None else name_of(text.replace("#", "/")) if "://" in text else text


def iri(guideline: Guideline, name: str) -> str:
    graph = guideline.graph()
    found = {str(s) for s in graph.subjects() if isinstance(s, URIRef) and name_of(str(s)) == name}
    (one,) = found
    return one


@pytest.mark.parametrize("query", COMPETENCY, ids=lambda query: query.id)
def test_the_expected_answer_on_both_engines(query: Query, guideline: Guideline, answer: Graph) -> None:
    expected = EXPECTED[query.id]
    needs_record = query.id.startswith("answer-")
    assert needs_record == ("needs --record" in query.text)
    graphs = [guideline.graph(), *([answer] if needs_record else [])]
    values = {param: iri(guideline, name) for param, name in expected["params"].items()}
    by_oxigraph = [[words(row[c]) for c in query.columns] for row in run(store_of(graphs), query, values)]
    merged = Graph()
    for graph in graphs:
        merged += graph
    by_rdflib = []
    for row in merged.query(query.text, initBindings={param: URIRef(value) for param, value in values.items()}):
        assert isinstance(row, ResultRow)
        by_rdflib.append([words(row[column]) for column in query.columns])
    assert by_oxigraph == expected["rows"]
    # Terms are compared as text: rdflib writes 10.0 where pyoxigraph writes 10.
    assert sorted(map(numbers, by_rdflib), key=str) == sorted(map(numbers, by_oxigraph), key=str)


def numbers(row: list[str | None]) -> list[object]:
    return [float(cell) if cell is not None and cell.replace(".", "").isdigit() else cell for cell in row]


def test_every_competency_query_has_an_expected_answer_that_is_not_empty() -> None:
    assert EXPECTED.keys() == {query.id for query in COMPETENCY}
    assert len(COMPETENCY) >= 15
    assert all(expected["rows"] for expected in EXPECTED.values())


@pytest.mark.parametrize("query", ALL, ids=lambda query: query.id)
def test_the_header_says_what_the_query_is(query: Query) -> None:
    refuse_all_but_reading(query.text, query.path.name)
    assert query.path.stem.lstrip("0123456789-") == query.id
    assert query.question.endswith("?")
    prepared = prepareQuery(query.text)
    if query.kind == "construct":
        assert prepared.algebra.name == "ConstructQuery"
    else:
        assert query.columns == tuple(str(variable) for variable in prepared.algebra.PV)
        assert query.kind in ("select", "violation")
    assert query.params.keys() <= set(query.columns)
    assert query.severity in ("error", "warning")


def test_no_query_file_is_left_out() -> None:
    assert len(ALL) == len(list(QUERIES.rglob("*.rq"))) > 60


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"needs a value for \?phenotype"),
        ({"phenotype": "everybody"}, "'everybody' is no IRI"),
        ({"phenotype": "urn:x", "patient": "urn:y"}, r"no parameter \?patient; it has \?phenotype"),
    ],
)
def test_parameters(values: dict[str, str], message: str, guideline: Guideline) -> None:
    with pytest.raises(UsageError, match=message):
        run(store_of([guideline.graph()]), shipped()["offers-for-population"], values)


def test_a_parameter_may_be_written_with_a_prefix(guideline: Guideline) -> None:
    store = store_of([guideline.graph()])
    rows = list(run(store, shipped()["uses-of-passage"], {"passage": "b12:droracle-2025/L39"}))
    assert len(rows) == 9
    assert list(run(store, shipped()["uses-of-passage"], {"passage": BASE + "droracle-2025/L39"}))


TYPES: dict[str, tuple[str, ...]] = {
    "IRI": (),
    "text": (str(XSD.string), str(RDF.langString)),
    "decimal": (str(XSD.decimal), str(XSD.integer)),
    "date": (str(XSD.date),),
}


@pytest.mark.parametrize("query", COMPETENCY, ids=lambda query: query.id)
def test_each_column_holds_terms_of_the_type_that_the_header_says(
    query: Query, guideline: Guideline, answer: Graph
) -> None:
    stated = dict(re.findall(r"^#(?: columns:)?\s+\?(\w+)\s+(IRI|decimal|text|date)\b", query.text, re.MULTILINE))
    values = {param: iri(guideline, name) for param, name in EXPECTED[query.id]["params"].items()}
    looked_at = 0
    for row in run(store_of([guideline.graph(), answer]), query, values):
        for column in query.columns:
            term = row[column]
            if term is not None:
                datatypes = TYPES[stated[column]]
                assert (isinstance(term, NamedNode)) == (not datatypes), (column, term)
                assert not datatypes or term.datatype.value in datatypes, (column, term)
                looked_at += 1
    assert looked_at


def test_offers_that_refine_the_same_third_offer_do_not_agree() -> None:
    rules = """
        @prefix b12: <https://w3id.org/b12kg/> . @prefix : <urn:x:> .
        :a a b12:Rule ; b12:decision :d ; b12:modality b12:recommends ; b12:appliesTo :p ; b12:offers :one .
        :b a b12:Rule ; b12:decision :d ; b12:modality b12:recommends ; b12:appliesTo :q ; b12:offers :two .
        :c a b12:Rule ; b12:decision :d ; b12:modality b12:recommends ; b12:appliesTo :r ; b12:offers :wide .
        :one b12:refines :wide . :two b12:refines :wide .
        """
    store = store_of([Graph().parse(data=rules, format="turtle")])
    rows = run(store, shipped()["rules-that-may-conflict"])
    assert [(row["one"].value, row["other"].value) for row in rows] == [("urn:x:a", "urn:x:b")]


def test_a_rule_depends_on_what_its_alert_asks(guideline: Guideline) -> None:
    store = store_of([guideline.graph()])
    rows = run(store, shipped()["rules-on-concept"], {"concept": iri(guideline, "FolicAcidTreatment")})
    assert [name_of(row["rule"].value) for row in rows] == ["folic-acid-after-b12"]
