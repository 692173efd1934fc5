"""Whether a record can be answered: pySHACL over its normal form, in the record's own terms.

Owns the normal form that ``shapes/record.ttl`` looks at, and the step from a validation result to
a problem that names the entries. What is wrong is for the shapes to say, but for one thing that
SHACL Core cannot: a bound that leaves open on which side of a threshold a value lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from b12kg.errors import InvalidGuideline, Problem, Severity
from b12kg.expression import DataSomeValuesFrom
from b12kg.guideline import Guideline
from b12kg.iris import B12, RDF, RDFS, SH, XSD
from b12kg.record import Circumstance, Measurement, Record, Statement, facts, within

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

_NODES = "urn:b12kg:record"


def validate(record: Record, guideline: Guideline) -> list[Problem]:
    """What is wrong with a record (errors) or odd about it (warnings), in the order of its entries.

    Raises:
        InvalidGuideline: the shapes looked at nothing, so that they would accept anything.
    """
    return sorted({*_by_shapes(record, guideline), *_straddling(record, guideline)}, key=_place)


def _place(problem: Problem) -> tuple[int, int, str]:
    """By the order in which a record is written."""
    head, _, rest = problem.path.partition("[")
    number = rest.partition("]")[0]
    known = head in _ORDER
    return _ORDER.index(head) if known else -1, int(number) if number.isdigit() else -1, str(problem)


_ORDER = ("present", "absent", "measurements", "treatments", "outsideSource")


# ---- by shapes ---------------------------------------------------------------------------------


def _by_shapes(record: Record, guideline: Guideline) -> Iterator[Problem]:
    from pyshacl import validate as shacl
    from rdflib import URIRef

    graph, shapes = normal_form(record, guideline), _shapes(guideline.digest, guideline.shapes)
    a = URIRef(RDF + "type")
    targets = {str(class_) for class_ in shapes.objects(None, URIRef(SH + "targetClass"))}
    known = {B12 + class_ for class_ in ("Record", "Statement", "Readings")}
    known |= {quantity.iri for quantity in guideline.quantities.values()}
    if B12 + "Record" not in targets or not targets <= known:
        # A shape whose target is misspelt looks at nothing, and so accepts everything.
        odd = ", ".join(sorted(targets - known)) or "none looks at b12:Record"
        places = ", ".join(path.name for path in guideline.shapes)
        raise InvalidGuideline([Problem(places, "a shape looks at no part of a record", odd, ", ".join(sorted(known)))])
    _, report, _ = shacl(graph, shacl_graph=shapes, inference="none", advanced=False, js=False, meta_shacl=False)
    results = report.subjects(a, URIRef(SH + "ValidationResult"))
    problems = [_problem(record, guideline, graph, report, result) for result in results]
    impossible = {problem.path for problem in problems if problem.severity == "error"}
    # What is impossible is not said to be odd as well.
    yield from (p for p in problems if p.severity == "error" or p.path not in impossible)


@lru_cache(maxsize=4)
def _shapes(digest: str, paths: tuple[Path, ...]) -> Graph:
    from rdflib import Graph

    graph = Graph()
    for path in paths:
        graph.parse(path, format="turtle")
    return graph


def _problem(record: Record, guideline: Guideline, graph: Graph, report: Graph, result: Node) -> Problem:
    from rdflib import URIRef

    def of(property_: str) -> Node | None:
        return report.value(result, URIRef(SH + property_))

    message = str(of("resultMessage"))
    severity: Severity = "warning" if of("resultSeverity") == URIRef(SH + "Warning") else "error"
    focus, value = of("focusNode"), of("value")
    concept = next((name for name, c in guideline.concepts.items() if c.iri == str(value)), None)
    if concept is not None:
        direct = of("resultPath") == URIRef(B12 + "statesPresent")
        return _contradiction(record, guideline, concept, message, direct)
    paths = sorted(str(path) for path in graph.objects(focus, URIRef(B12 + "path")))
    found = "" if value is None else str(value)
    measured = [m for m in record.measurements if [m.path] == paths]
    if measured and of("resultPath") in {URIRef(B12 + bound) for bound in ("value", "below", "above")}:
        found = _as_reported(measured[0], guideline)
    readings = sorted(str(reading) for reading in graph.objects(focus, URIRef(B12 + "reading")))
    if readings:
        found = f"{' and '.join(readings)} at {' and '.join(paths)}"
    return Problem(paths[-1] if paths else "record", message, found, "", severity)


def _as_reported(measurement: Measurement, guideline: Guideline) -> str:
    """The value as it stands in the record, and what that is in the canonical unit if it is another."""
    unit = guideline.quantities[measurement.of].unit
    reported = f"{measurement.comparator or ''}{measurement.value:f} {measurement.unit}"
    same = measurement.unit == unit
    return reported if same else f"{reported}, which is {measurement.canonical.normalize():f} {unit}"


def _contradiction(record: Record, guideline: Guideline, concept: str, message: str, direct: bool) -> Problem:
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


def normal_form(record: Record, guideline: Guideline) -> Graph:
    """The record as the shapes see it: entries, what they state, values in canonical units.

    Nodes are named by their place in the record; the record's own identifier is left out.
    """
    from rdflib import Graph, Literal, URIRef

    graph = Graph()
    top = URIRef(_NODES)
    dates, decimals, a = URIRef(XSD + "date"), URIRef(XSD + "decimal"), URIRef(RDF + "type")

    def b12(name: str) -> URIRef:
        return URIRef(B12 + name)

    def add(subject: Node, property_: str, value: Node) -> None:
        graph.add((subject, b12(property_), value))

    def node(path: str) -> URIRef:
        return URIRef(f"{_NODES}:{quote(path)}")

    def dated(entry: URIRef, property_: str, on: date | None) -> None:
        if on is not None:
            add(entry, property_, Literal(on.isoformat(), datatype=dates))

    as_of = Literal(record.as_of.isoformat(), datatype=dates)
    graph.add((top, a, b12("Record")))
    add(top, "asOf", as_of)
    if record.jurisdiction is not None:
        add(top, "jurisdiction", Literal(record.jurisdiction, datatype=URIRef(XSD + "string")))
    entries: list[Statement | Measurement | Circumstance] = [*record.statements, *record.measurements, *record.outside]
    for entry in entries:
        place = node(entry.path)
        graph.add((place, a, b12("Statement")))
        add(top, "statement", place)
        add(place, "path", Literal(entry.path))
        add(place, "asOf", as_of)
        dated(place, "on", entry.on)
        if isinstance(entry, Statement):
            iri = URIRef(guideline.concepts[entry.of].iri)
            add(top, "statesPresent" if entry.present else "statesAbsent", iri)
            dated(place, "startedOn", entry.started_on)
        elif isinstance(entry, Measurement):
            quantity = guideline.quantities[entry.of]
            graph.add((place, a, URIRef(quantity.iri)))
            value = Literal(f"{entry.canonical:f}", datatype=decimals)
            add(place, "value", value)
            if entry.comparator in ("<", ">"):
                add(place, "below" if entry.comparator == "<" else "above", value)
            add(place, "unit", Literal(quantity.unit))
    for key, readings in _readings(record.measurements):
        place = node(key)
        graph.add((place, a, b12("Readings")))
        for measurement in readings:
            unit = guideline.quantities[measurement.of].unit
            text = f"{measurement.comparator or ''}{measurement.canonical.normalize():f} {unit}"
            add(place, "reading", Literal(text))
            add(place, "path", Literal(measurement.path))
    for concept in guideline.concepts.values():
        for parent in concept.parents:
            parent_iri = URIRef(guideline.concepts[parent].iri)
            graph.add((URIRef(concept.iri), URIRef(RDFS + "subClassOf"), parent_iri))
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
    leaves = guideline.leaves_of(sorted(guideline.phenotypes))
    thresholds = [leaf for leaf in leaves if isinstance(leaf, DataSomeValuesFrom)]
    for measurement in facts(record, guideline).measurements.values():
        for leaf in thresholds:
            if leaf.quantity == measurement.of and within(measurement.range, leaf.restrictions) is None:
                unit = guideline.quantities[measurement.of].unit
                wanted = " and ".join(bound.words(unit) for bound in leaf.restrictions)
                yield Problem(
                    measurement.path,
                    f"only a bound is given, and it leaves open whether {measurement.of} is {wanted}",
                    f"{measurement.comparator}{measurement.value:f} {measurement.unit}",
                    "a value, or a bound on one side of the threshold",
                )
