"""Whether a record can be answered: shapes over its normal form, in the record's own terms.

Owns the normal form that ``shapes/record.ttl`` looks at, and the step from a validation result to
a problem that names the entries. What is wrong is for the shapes to say, but for one thing that
SHACL Core cannot: a bound that leaves open on which side of a threshold a value lies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from b12kg.errors import InvalidGuideline, Problem
from b12kg.guideline import Guideline
from b12kg.iris import B12, RDFS, XSD
from b12kg.record import Circumstance, Measurement, Record, Statement, facts, within
from b12kg.shacl import TYPE, Iri, Nodes, Result, Shapes, Term, check, compile_shapes

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node


def validate(record: Record, guideline: Guideline, shapes: Shapes | None = None) -> list[Problem]:
    """What is wrong with a record (errors) or odd about it (warnings), in the order of its entries.

    Args:
        shapes: the guideline's shapes, compiled; None for pySHACL on the shapes themselves, the reference.

    Raises:
        InvalidGuideline: the shapes looked at nothing, so that they would accept anything.
    """
    nodes = normal_form(record, guideline)
    results = _by_pyshacl(guideline, nodes) if shapes is None else check(shapes, nodes)
    if not results and not any(measurement.comparator for measurement in record.measurements):
        return []
    return sorted({*_problems(record, guideline, nodes, results), *_straddling(record, guideline)}, key=_place)


def compiled(guideline: Guideline) -> Shapes:
    """The guideline's shapes of records, compiled.

    Raises:
        UnsupportedConstruct: a shape uses what cannot be compiled.
        InvalidGuideline: a shape looks at nothing.
    """
    shapes = compile_shapes(guideline.shapes)
    _refuse_idle(guideline, set(map(str, shapes)))
    return shapes


def _place(problem: Problem) -> tuple[int, int, str]:
    """By the order in which a record is written."""
    head, _, rest = problem.path.partition("[")
    number = rest.partition("]")[0]
    known = head in _ORDER
    return _ORDER.index(head) if known else -1, int(number) if number.isdigit() else -1, str(problem)


_ORDER = ("present", "absent", "measurements", "treatments", "outsideSource")


# ---- by shapes ---------------------------------------------------------------------------------


def _by_pyshacl(guideline: Guideline, nodes: Nodes) -> list[Result]:
    from urllib.parse import unquote

    from pyshacl import validate as shacl
    from rdflib import RDF, SH, URIRef

    shapes = _shapes(guideline.digest, guideline.shapes)
    _refuse_idle(guideline, {str(class_) for class_ in shapes.objects(None, SH.targetClass)})
    _, report, _ = shacl(graph_of(nodes), shacl_graph=shapes, inference="none", advanced=False, js=False)
    results = []
    for result in report.subjects(RDF.type, SH.ValidationResult):
        path = report.value(result, SH.resultPath)
        value = report.value(result, SH.value)
        focus = str(report.value(result, SH.focusNode))
        results.append(
            Result(
                unquote(focus) if focus.startswith(_TOP) else focus,
                str(path) if isinstance(path, URIRef) else None,
                None if value is None else Iri(value) if isinstance(value, URIRef) else value.toPython(),
                "warning" if report.value(result, SH.resultSeverity) == SH.Warning else "error",
                str(report.value(result, SH.resultMessage)),
            )
        )
    return results


@lru_cache(maxsize=4)
def _shapes(digest: str, paths: tuple[Path, ...]) -> Graph:
    from rdflib import Graph

    graph = Graph()
    for path in paths:
        graph.parse(path, format="turtle")
    return graph


def _refuse_idle(guideline: Guideline, targets: set[str]) -> None:
    """A shape whose target is misspelt looks at nothing, and so accepts everything."""
    known = {B12 + class_ for class_ in ("Record", "Statement", "Readings")}
    known |= {quantity.iri for quantity in guideline.quantities.values()}
    if B12 + "Record" not in targets or not targets <= known:
        odd = ", ".join(sorted(targets - known)) or "none looks at b12:Record"
        places = ", ".join(path.name for path in guideline.shapes)
        raise InvalidGuideline([Problem(places, "a shape looks at no part of a record", odd, ", ".join(sorted(known)))])


def _problems(record: Record, guideline: Guideline, nodes: Nodes, results: Iterable[Result]) -> Iterator[Problem]:
    """The results in the record's own terms."""
    problems = [_problem(record, guideline, nodes, result) for result in results]
    impossible = {problem.path for problem in problems if problem.severity == "error"}
    # What is impossible is not said to be odd as well.
    yield from (p for p in problems if p.severity == "error" or p.path not in impossible)


def _problem(record: Record, guideline: Guideline, nodes: Nodes, result: Result) -> Problem:
    value, focus = result.value, nodes[result.focus]
    concept = next((name for name, c in guideline.concepts.items() if c.iri == value), None)
    if concept is not None:
        return _contradiction(record, guideline, concept, result.message, direct=result.path == _STATES_PRESENT)
    paths = sorted(str(path) for path in focus.get(_PATH, ()))
    found = "" if value is None else value.isoformat() if isinstance(value, date) else str(value)
    measured = [m for m in record.measurements if [m.path] == paths]
    if measured and result.path in {B12 + bound for bound in ("value", "below", "above")}:
        found = _as_reported(measured[0], guideline)
    readings = sorted(str(reading) for reading in focus.get(_READING, ()))
    if readings:
        found = f"{' and '.join(readings)} at {' and '.join(paths)}"
    return Problem(paths[-1] if paths else "record", result.message, found, "", result.severity)


def _as_reported(measurement: Measurement, guideline: Guideline) -> str:
    """The value as it stands in the record, and what that is in the canonical unit if it is another."""
    unit = guideline.quantities[measurement.of].unit
    reported = f"{measurement.comparator or ''}{measurement.value.normalize():f} {measurement.unit}"
    same = measurement.unit == unit
    return reported if same else f"{reported}, which is {measurement.canonical.normalize():f} {unit}"


def _contradiction(record: Record, guideline: Guideline, concept: str, message: str, *, direct: bool) -> Problem:
    """Both sides of a contradiction, each by its entry; the place is the entry that states absence.

    ``direct`` where the concept itself is stated as present, otherwise kinds of it are.
    """

    def entry(statement: Statement) -> str:
        said = f" by {' '.join(statement.said_by)}" if statement.said_by else ""
        return f"{statement.path} {statement.of}{said} {'present' if statement.present else 'absent'}"

    absent = [s for s in record.statements if s.of == concept and not s.present]
    same = [s for s in record.statements if s.present and s.of == concept]
    kinds = [s for s in record.statements if s.present and concept in guideline.parents_of(s.of)]
    both = " and ".join(map(entry, (*(same if direct else kinds), *absent)))
    because = "" if direct else f"; {', '.join(sorted({s.of for s in kinds}))} is a kind of {concept}"
    return Problem(absent[0].path, f"{concept} is {message}", both + because, "one of them")


def normal_form(record: Record, guideline: Guideline) -> Nodes:
    """The record as the shapes see it: entries, what they state, values in canonical units.

    Nodes are named by their place in the record; the record's own identifier is left out.
    """
    top: dict[str, dict[Term, None]] = {TYPE: {_RECORD: None}, _AS_OF: {record.as_of: None}}
    nodes: dict[str, Mapping[str, Collection[Term]]] = {**_kinds(guideline), _TOP: top}
    if record.jurisdiction is not None:
        top[_JURISDICTION] = {record.jurisdiction: None}
    stated: dict[bool, dict[Term, None]] = {True: {}, False: {}}
    iris = _iris(guideline)
    for statement in record.statements:
        stated[statement.present][iris[statement.of]] = None
        nodes[f"{_TOP}:{statement.path}"] = entry = _entry(statement, record.as_of)
        if statement.started_on is not None:
            entry[_STARTED_ON] = (statement.started_on,)
    top[_STATES_PRESENT], top[_STATES_ABSENT] = stated[True], stated[False]
    for measurement in record.measurements:
        nodes[f"{_TOP}:{measurement.path}"] = entry = _entry(measurement, record.as_of)
        entry[TYPE] = (_STATEMENT, iris[measurement.of])
        entry[_VALUE] = (measurement.canonical,)
        if measurement.comparator in ("<", ">"):
            entry[B12 + ("below" if measurement.comparator == "<" else "above")] = (measurement.canonical,)
    for circumstance in record.outside:
        nodes[f"{_TOP}:{circumstance.path}"] = _entry(circumstance, record.as_of)
    for key, readings in _readings(record.measurements):
        unit = guideline.quantities[readings[0].of].unit
        texts = (f"{m.comparator or ''}{m.canonical.normalize():f} {unit}" for m in readings)
        nodes[f"{_TOP}:{key}"] = {
            TYPE: (_READINGS,),
            _READING: dict.fromkeys(texts),
            _PATH: tuple(m.path for m in readings),
        }
    return nodes


_TOP = "urn:b12kg:record"
_RECORD, _STATEMENT, _READINGS = Iri(B12 + "Record"), Iri(B12 + "Statement"), Iri(B12 + "Readings")
# Made once: a record has some dozens of entries.
_AS_OF, _ON, _STARTED_ON, _PATH = B12 + "asOf", B12 + "on", B12 + "startedOn", B12 + "path"
_STATES_PRESENT, _STATES_ABSENT = B12 + "statesPresent", B12 + "statesAbsent"
_JURISDICTION, _VALUE, _READING = B12 + "jurisdiction", B12 + "value", B12 + "reading"


def _entry(entry: Statement | Measurement | Circumstance, as_of: date) -> dict[str, Collection[Term]]:
    form: dict[str, Collection[Term]] = {TYPE: (_STATEMENT,), _PATH: (entry.path,), _AS_OF: (as_of,)}
    if entry.on is not None:
        form[_ON] = (entry.on,)
    return form


@lru_cache(maxsize=4)
def _iris(guideline: Guideline) -> dict[str, Iri]:
    """The IRI of each concept and quantity."""
    concepts = {name: Iri(concept.iri) for name, concept in guideline.concepts.items()}
    return concepts | {name: Iri(quantity.iri) for name, quantity in guideline.quantities.items()}


@lru_cache(maxsize=4)
def _kinds(guideline: Guideline) -> Nodes:
    """Which concept is a kind of which."""
    concepts = guideline.concepts
    return {
        concept.iri: {RDFS + "subClassOf": tuple(Iri(concepts[parent].iri) for parent in concept.parents)}
        for concept in concepts.values()
        if concept.parents
    }


def graph_of(nodes: Nodes) -> Graph:
    """The same as RDF."""
    from urllib.parse import quote

    from rdflib import Graph, Literal, URIRef

    def node(name: str) -> URIRef:
        return URIRef(quote(name, safe=":") if name.startswith(_TOP) else name)

    def term(value: Term) -> Node:
        if isinstance(value, Iri):
            return URIRef(value)
        return Literal(f"{value:f}", datatype=URIRef(XSD + "decimal")) if isinstance(value, Decimal) else Literal(value)

    graph = Graph()
    for focus, properties in nodes.items():
        for property_, values in properties.items():
            for value in values:
                graph.add((node(focus), URIRef(property_), term(value)))
    return graph


def _readings(measurements: Iterable[Measurement]) -> Iterator[tuple[str, list[Measurement]]]:
    """The measurements of each quantity that no date tells apart: of one day, or all if one has no date."""
    groups: dict[str, dict[date | None, list[Measurement]]] = {}
    for measurement in measurements:
        groups.setdefault(measurement.of, {}).setdefault(measurement.on, []).append(measurement)
    for quantity, by_date in groups.items():
        if None in by_date:
            yield quantity, [measurement for found in by_date.values() for measurement in found]
        else:
            yield from ((f"{quantity} {on}", found) for on, found in by_date.items())


# ---- bounds ------------------------------------------------------------------------------------


def _straddling(record: Record, guideline: Guideline) -> Iterator[Problem]:
    """Bounds that count and leave open on which side of a threshold the value lies."""
    for measurement in facts(record, guideline).measurements.values():
        for restrictions in guideline.thresholds_of(measurement.of):
            if within(measurement.range, restrictions) is None:
                unit = guideline.quantities[measurement.of].unit
                wanted = " and ".join(bound.words(unit) for bound in restrictions)
                yield Problem(
                    measurement.path,
                    f"only a bound is given, and it leaves open whether {measurement.of} is {wanted}",
                    f"{measurement.comparator}{measurement.value:f} {measurement.unit}",
                    "a value, or a bound on one side of the threshold",
                )
