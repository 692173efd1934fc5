"""The shipped queries: header, answer on two engines, and the answer that is expected.

A query is asked of the guideline and of what its header says that it needs besides; where ``competency.yaml`` says
what is ``seeded``, also of the graph of its name in ``tests/competency`` alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache
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
from b12kg.recommendation import Recommendation
from b12kg.recommendation.prov import explained_graph
from b12kg.record import Statement
from b12kg.resources import EXAMPLES, QUERIES
from b12kg.verify import verify
from tests.cases import answered, cases

SEEDED = Path(__file__).parent / "competency"
EXPECTED: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "competency.yaml").read_text(encoding="utf-8"))
COMPETENCY = list(shipped("competency").values())
ALL = list(shipped().values())


GraphsFor = Callable[[Query], list[Graph]]


@pytest.fixture(scope="module")
def graphs_for(executable: ExecutableGuideline) -> GraphsFor:
    """The graphs that a query is asked of: the guideline's, and what its header says that it needs."""

    @cache
    def made(command: str, name: str) -> Graph:
        if command == "verify":
            return verify(executable.compiled).graph()
        answer = executable.recommend(str(EXAMPLES / f"{name}.json"))
        return answer.graph() if command == "recommend" else explained_graph(answer, ["MaintenanceTreatment"])

    def needed(query: Query) -> list[Graph]:
        found = [executable.content.graph()]
        if "needs --record" in query.text:
            names = EXPECTED[query.id].get("records", ["pernicious-anemia-ileal-resection"])
            found += [made("recommend", name) for name in names]
        if data := re.search(r"needs --data with what `b12kg (explain|verify) ", query.text):
            found.append(made(data[1], "pernicious-anemia-ileal-resection"))
        return found

    return needed


def words(term: object) -> str | None:
    """A term as the expected answers write it: an IRI by its name, a literal by its text."""
    text = str(getattr(term, "value", term) if not isinstance(term, URIRef) else term)
    return None if term is None else name_of(text.replace("#", "/")) if "://" in text else text


def iri(guideline: Guideline, name: str) -> str:
    graph = guideline.graph()
    found = {str(s) for s in graph.subjects() if isinstance(s, URIRef) and name_of(str(s)) == name}
    (one,) = found
    return one


def rows_by_both(query: Query, graphs: Sequence[Graph], values: dict[str, str]) -> list[list[str | None]]:
    """The rows by pyoxigraph, which rdflib has to find too."""
    by_oxigraph = [[words(row[c]) for c in query.columns] for row in run(store_of(graphs), query, values)]
    merged = Graph()
    for graph in graphs:
        merged += graph
    by_rdflib = []
    for row in merged.query(query.text, initBindings={param: URIRef(value) for param, value in values.items()}):
        assert isinstance(row, ResultRow)
        by_rdflib.append([words(row[column]) for column in query.columns])
    # Terms are compared as text: rdflib writes 10.0 where pyoxigraph writes 10.
    assert sorted(map(numbers, by_rdflib), key=str) == sorted(map(numbers, by_oxigraph), key=str)
    return by_oxigraph


@pytest.mark.parametrize("query", COMPETENCY, ids=lambda query: query.id)
def test_the_expected_answer_on_both_engines(query: Query, guideline: Guideline, graphs_for: GraphsFor) -> None:
    expected = EXPECTED[query.id]
    graphs = graphs_for(query)
    assert query.id.startswith("answer-") <= (len(graphs) > 1)
    values = {param: iri(guideline, name) for param, name in expected["params"].items()}
    assert rows_by_both(query, graphs, values) == expected["rows"]


@pytest.mark.parametrize("id_", [id_ for id_, expected in EXPECTED.items() if "seeded" in expected])
def test_the_expected_answer_of_a_seeded_graph(id_: str) -> None:
    seeded = Graph().parse(SEEDED / f"{id_}.ttl")
    assert rows_by_both(shipped("competency")[id_], [seeded], {}) == EXPECTED[id_]["seeded"] != []


def numbers(row: list[str | None]) -> list[object]:
    return [float(cell) if cell is not None and cell.replace(".", "", 1).isdigit() else cell for cell in row]


def test_every_competency_query_has_an_expected_answer_that_is_not_empty() -> None:
    assert EXPECTED.keys() == {query.id for query in COMPETENCY}
    assert len(COMPETENCY) >= 15
    assert all(expected["rows"] or expected.get("seeded") for expected in EXPECTED.values())
    seeded = {id_ for id_, expected in EXPECTED.items() if "seeded" in expected}
    assert seeded == {path.stem for path in SEEDED.glob("*.ttl")}


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
        assert query.kind in ("select", "violation", "concern")
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
    query: Query, guideline: Guideline, graphs_for: GraphsFor
) -> None:
    stated = dict(re.findall(r"^#(?: columns:)?\s+\?(\w+)\s+(IRI|decimal|text|date)\b", query.text, re.MULTILINE))
    values = {param: iri(guideline, name) for param, name in EXPECTED[query.id]["params"].items()}
    seeded = [Graph().parse(SEEDED / f"{query.id}.ttl")] if "seeded" in EXPECTED[query.id] else []
    looked_at = 0
    for row in run(store_of([*graphs_for(query), *seeded]), query, values):
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


def test_each_rule_is_fired_by_a_case(executable: ExecutableGuideline) -> None:
    answers = (answered(executable, case.record(executable.content)) for case in cases())
    fired = {
        (decision, finding.rule.name)
        for answer in answers
        if isinstance(answer, Recommendation)
        for decision, found in answer.decisions.items()
        for finding in found.rules
        if finding.state in ("applies", "overridden")
    }
    rules = executable.content.rules.values()
    assert fired == {(decision, rule.name) for rule in rules for decision in rule.decisions}


def followed(answer: Recommendation) -> set[tuple[str, str]]:
    """The concepts that rules which apply asked for and the record states otherwise, each with the entry's place."""
    findings = [finding for found in answer.decisions.values() for finding in found.rules]
    facts = [fact for finding in findings if finding.state == "applies" for fact in finding.because]
    return {
        (fact.of, fact.entry.path)
        for fact in facts
        if isinstance(fact.entry, Statement) and (fact.entry.of != fact.of or fact.entry.said_by is not None)
    }


def test_each_fact_that_follows_from_another_is_among_the_inferred(executable: ExecutableGuideline) -> None:
    """What the engine says that a rule asked for, against what the query finds in the axioms."""
    answers = [answered(executable, case.record(executable.content)) for case in cases()]
    some = [answer for answer in answers if isinstance(answer, Recommendation) and followed(answer)][:12]
    assert len(some) == 12
    for answer in some:
        store = store_of([executable.content.graph(), answer.graph()])
        rows = run(store, shipped("competency")["answer-inferred-facts"])
        found = {(words(row["inferred"]), words(row["path"])) for row in rows if row["state"] is not None}
        assert found == followed(answer)


@pytest.mark.parametrize(
    ("on", "as_of", "days"),
    [
        ("2024-02-28", "2024-03-01", 2),
        ("2023-02-28", "2023-03-01", 1),
        ("1900-02-28", "1900-03-01", 1),
        ("2000-02-29", "2000-03-01", 1),
        ("1999-12-31", "2000-01-01", 1),
        ("1926-01-15", "2026-01-15", 36525),
        ("2026-01-15", "2026-01-15", 0),
    ],
)
def test_the_age_of_a_fact_is_in_days_of_the_calendar(on: str, as_of: str, days: int) -> None:
    assert date.fromisoformat(as_of) - date.fromisoformat(on) == timedelta(days=days)
    record = f"""
        @prefix b12: <https://w3id.org/b12kg/> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
        <urn:x:r> b12:recordDigest "" ; b12:asOf "{as_of}"^^xsd:date ; b12:statement <urn:x:e> .
        <urn:x:e> b12:path "present[0]" ; b12:on "{on}"^^xsd:date .
        <urn:x:f> b12:because <urn:x:e> .
        """
    query = shipped("competency")["answer-age-of-facts"]
    ((*_, found),) = rows_by_both(query, [Graph().parse(data=record, format="turtle")], {})
    assert found == str(days)
