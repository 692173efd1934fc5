"""The compiled shapes find what pySHACL finds, and what has no compiled meaning is refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyshacl import validate as shacl
from rdflib import RDF, SH, Graph, Literal, URIRef

from b12kg.codec import decode, encode
from b12kg.errors import InvalidGuideline, UnsupportedConstruct
from b12kg.guideline import Guideline
from b12kg.iris import B12
from b12kg.resources import SHAPES
from b12kg.shacl import Iri, Nodes, Result, Shapes, Term, check, compile_shapes
from b12kg.validate import compiled, graph_of

FILES = (SHAPES / "record.ttl", SHAPES / "clinical.ttl")
TWINS = sorted((Path(__file__).parent / "shapes" / "record").glob("*.ttl"))

Found = set[tuple[str, str | None, str | None, str, str]]


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    return compile_shapes(FILES)


def by_pyshacl(data: Graph, paths: tuple[Path, ...] = FILES) -> Found:
    shapes = Graph()
    for path in paths:
        shapes.parse(path)
    _, report, _ = shacl(data, shacl_graph=shapes)
    found = set()
    for result in report.subjects(RDF.type, SH.ValidationResult):
        path, value = report.value(result, SH.resultPath), report.value(result, SH.value)
        severity = "warning" if report.value(result, SH.resultSeverity) == SH.Warning else "error"
        found.add(
            (
                str(report.value(result, SH.focusNode)),
                str(path) if isinstance(path, URIRef) else None,
                None if value is None else str(value),
                severity,
                str(report.value(result, SH.resultMessage)),
            )
        )
    return found


def words(results: list[Result]) -> Found:
    return {(r.focus, r.path, None if r.value is None else str(r.value), r.severity, r.message) for r in results}


def nodes_of(graph: Graph) -> Nodes:
    """A graph as the compiled shapes take it."""
    nodes: dict[str, dict[str, dict[Term, None]]] = {}
    for subject, property_, value in graph:
        python = value.toPython() if isinstance(value, Literal) else None
        term = python if isinstance(python, Decimal | date | str) else Iri(value)
        nodes.setdefault(str(subject), {}).setdefault(str(property_), {})[term] = None
    return nodes


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.stem)
def test_each_violating_twin_is_found_by_both(twin: Path, shapes: Shapes) -> None:
    data = Graph().parse(twin)
    found = words(check(shapes, nodes_of(data)))
    assert found == by_pyshacl(data)
    assert found


NUMBERS = st.sampled_from([Decimal(text) for text in ("-1", "0", "0.5", "5", "75", "100", "100.5", "400", "10001")])
DATES = st.dates(date(2026, 1, 14), date(2026, 1, 16))
CONCEPTS = st.sampled_from([Iri(f"{B12}clinical/{name}") for name in ("A", "B", "C", "D")])
KINDS = {
    f"{B12}clinical/{kind}": {"http://www.w3.org/2000/01/rdf-schema#subClassOf": {Iri(f"{B12}clinical/{parent}"): None}}
    for kind, parent in (("A", "B"), ("B", "C"))
}


def one_of(values: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[dict[Any, None]]:
    return st.lists(values, max_size=most).map(dict.fromkeys)


ENTRIES = st.fixed_dictionaries(
    {
        str(RDF.type): st.sampled_from(
            [
                (Iri(B12 + "Statement"),),
                (Iri(B12 + "Readings"),),
                *((Iri(B12 + "Statement"), Iri(f"{B12}clinical/{name}")) for name in ("Hematocrit", "SerumB12")),
            ]
        )
    },
    optional={
        **{B12 + name: one_of(NUMBERS) for name in ("value", "below", "above")},
        **{B12 + name: one_of(DATES) for name in ("asOf", "on", "startedOn")},
        B12 + "reading": one_of(st.sampled_from(["1 cm", "2 cm"])),
    },
)
RECORD = st.fixed_dictionaries(
    {str(RDF.type): st.just((Iri(B12 + "Record"),))},
    optional={
        B12 + "asOf": one_of(st.one_of(DATES, st.just("today"))),
        B12 + "jurisdiction": one_of(st.sampled_from(["GB", "US"])),
        B12 + "statesPresent": one_of(CONCEPTS, 3),
        B12 + "statesAbsent": one_of(CONCEPTS, 3),
    },
)


@given(record=RECORD, entries=st.lists(ENTRIES, max_size=3))
def test_both_find_the_same_in_any_graph(record: Any, entries: list[Any]) -> None:
    nodes = {**KINDS, "urn:r": record, **{f"urn:e{index}": entry for index, entry in enumerate(entries)}}
    assert words(check(compile_shapes(FILES), nodes)) == by_pyshacl(graph_of(nodes))


def test_a_path_through_a_circle_of_kinds_comes_to_an_end(shapes: Shapes) -> None:
    of = "http://www.w3.org/2000/01/rdf-schema#subClassOf"
    nodes: Nodes = {
        "urn:a": {of: (Iri("urn:b"),)},
        "urn:b": {of: (Iri("urn:a"),)},
        "urn:r": {
            str(RDF.type): (Iri(B12 + "Record"),),
            B12 + "asOf": (date(2026, 1, 15),),
            B12 + "statesPresent": (Iri("urn:a"),),
            B12 + "statesAbsent": (Iri("urn:b"),),
        },
    }
    assert [result.value for result in check(shapes, nodes)] == ["urn:b"]


# ---- what is not compiled ------------------------------------------------------------------------

SHAPE = """
@prefix b12: <https://w3id.org/b12kg/> .
@prefix ex: <urn:ex:> .
@prefix sh: <http://www.w3.org/ns/shacl#> .
ex:Shape a sh:NodeShape ; {target} ; {node} sh:property ex:part .
ex:part a sh:PropertyShape ; sh:path {path} ; {constraint} {severity} sh:message "wrong" .
"""
SOUND = {
    "target": "sh:targetClass b12:Record",
    "node": "",
    "path": "b12:asOf",
    "constraint": "sh:maxCount 1 ;",
    "severity": "sh:severity sh:Violation ;",
}


def written(folder: Path, **parts: str) -> Path:
    path = folder / "shapes.ttl"
    path.write_text(SHAPE.format(**{**SOUND, **parts}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"constraint": 'sh:pattern "x" ;'}, r"urn:ex:part: unsupported constraint .*pattern x"),
        ({"constraint": "sh:maxCount 1 ; sh:equals b12:on ;"}, "unsupported constraint .*equals"),
        ({"constraint": 'sh:maxInclusive "x" ;'}, "unsupported value of maxInclusive .found: x"),
        ({"constraint": ""}, "shape without a path and a constraint"),
        ({"constraint": "sh:maxCount 1 ; sh:deactivated true ;"}, "unsupported constraint .*deactivated"),
        ({"path": "[ sh:inversePath b12:asOf ]"}, "unsupported path .*inversePath"),
        ({"path": "[ sh:zeroOrMorePath b12:asOf ]"}, "unsupported path .*zeroOrMorePath"),
        ({"severity": "sh:severity sh:Info ;"}, "without a message and a severity"),
        ({"severity": ""}, "without a message and a severity"),
        ({"node": "sh:closed true ;"}, "construct of a node shape .*closed"),
        ({"target": "sh:targetSubjectsOf b12:asOf"}, "shape without a targetClass"),
        ({"target": "sh:targetClass b12:Record ; sh:targetNode b12:x"}, "construct of a node shape .*targetNode"),
    ],
)
def test_what_has_no_meaning_here_is_refused_by_place(tmp_path: Path, parts: dict[str, str], message: str) -> None:
    assert compile_shapes([written(tmp_path)])
    with pytest.raises(UnsupportedConstruct, match=message):
        compile_shapes([written(tmp_path, **parts)])


def test_a_shape_that_looks_at_nothing_is_refused(tmp_path: Path, guideline: Guideline) -> None:
    import dataclasses

    path = written(tmp_path, target="sh:targetClass b12:Recordd")
    with pytest.raises(InvalidGuideline, match="looks at no part of a record"):
        compiled(dataclasses.replace(guideline, shapes=(*FILES, path)))


# ---- as JSON -------------------------------------------------------------------------------------


def test_shapes_come_back_from_json_as_they_were(shapes: Shapes) -> None:
    from b12kg import shacl as module

    classes = [class_ for class_ in vars(module).values() if isinstance(class_, type)]
    assert decode(encode(shapes), classes) == shapes


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    )
)
def test_any_plain_value_comes_back_from_json(value: Any) -> None:
    import json

    form = json.loads(json.dumps(encode(value)))
    assert repr(decode(form, [])) == repr(value)


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no JSON form for date"):
        encode(date(2026, 1, 15))
    with pytest.raises(KeyError):
        decode({"made": [["PosixPath", "x"]], "value": {"#": 0}}, [])
